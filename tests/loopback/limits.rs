//! The binary's flags that limit connections, what clients say, and what is owed to them: both
//! sides of each limit, over real sockets.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::binary::{Process, now};
use crate::peer::{BINARY, DEADLINE, PING, PONG, Peer, frame, upgrade};

/// Nobody answers for so long: the answer is not on its way.
const SILENCE: Duration = Duration::from_millis(300);

/// A message of this size, and so many of them, are more than the kernel buffers for a socket.
const LONG: usize = 32 * 1024;
const FLOOD: usize = 512;

fn serve(flags: &str) -> (Process, SocketAddr) {
    let flags: Vec<&str> = flags.split_whitespace().chain(["-v"]).collect();
    Process::serve("", &flags)
}

/// The first line of the answer to a request to open a room.
fn status(address: SocketAddr, path: &str) -> String {
    let mut peer = Peer::connect(address);
    peer.send(upgrade(path));
    let head = peer.read_head();
    head.lines().next().unwrap_or_default().to_owned()
}

/// Whether a peer is told nothing for a while.
fn is_silent(peer: &Peer) -> bool {
    peer.set_patience(SILENCE);
    let silent = peer
        .stream
        .peek(&mut [0])
        .is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    peer.set_patience(DEADLINE);
    silent
}

#[test]
fn connections_of_one_address_are_limited() {
    let (process, address) = serve("--max-connections-per-ip 2");
    let (first, mut second) = (Peer::open(address, "/ws"), Peer::open(address, "/ws"));
    assert_eq!(status(address, "/ws"), "HTTP/1.1 429 Too Many Requests");
    process.line("too many connections from this address");
    drop(first);
    process.line("cause=gone");
    let mut third = Peer::open(address, "/ws");
    third.send_text("room for one");
    second.expect_text("room for one");
}

#[test]
fn the_oldest_handshake_makes_way() {
    let (process, address) = serve("--max-handshakes 2");
    let mut silent = Peer::connect(address);
    let mut slow = Peer::connect(address);
    slow.send("GET /ws HTTP/1.1\r\n");
    assert!(is_silent(&silent) && is_silent(&slow));
    let mut third = Peer::connect(address);
    silent.expect_end();
    let _fourth = Peer::connect(address);
    assert!(
        slow.read_head()
            .starts_with("HTTP/1.1 503 Service Unavailable\r\n")
    );
    process.line("too many handshakes under way");
    third.upgrade("/ws");
    third.check_echo();
}

#[test]
fn members_of_one_room_are_limited() {
    let (process, address) = serve("--max-room-members 1");
    let (_a, _b) = (Peer::open(address, "/ws/a"), Peer::open(address, "/ws/b"));
    assert_eq!(status(address, "/ws/a"), "HTTP/1.1 503 Service Unavailable");
    process.line("no place in this room");
}

/// Whoever waits is in the kernel, and the loop has nothing to do meanwhile.
#[test]
fn accepting_rests_when_the_rate_is_used_up() {
    let (process, address) = serve("--accept-rate 1:3");
    let begun = now();
    let mut peers: Vec<Peer> = (0..6).map(|_| Peer::connect(address)).collect();
    for peer in &mut peers {
        peer.send(upgrade("/ws"));
    }
    for peer in &mut peers[..3] {
        peer.expect_upgrade();
    }
    let before = process.cpu_time();
    // A departure makes room, but no time.
    drop(peers.remove(0));
    for peer in &mut peers[2..] {
        peer.expect_upgrade();
    }
    let (waited, used) = (begun.elapsed(), process.cpu_time().saturating_sub(before));
    assert!(waited >= Duration::from_millis(2900), "{waited:?}");
    assert!(used < Duration::from_millis(100), "{used:?} of CPU time");
}

#[test]
fn one_message_more_than_the_rate_closes_with_1008() {
    let (process, address) = serve("--message-rate 1:3");
    let mut peer = Peer::open(address, "/ws");
    let mut other = Peer::open(address, "/ws");
    let messages = ["1", "2", "3", "4", "5"].map(|text| frame(0x81, text.as_bytes()));
    peer.send(messages.concat());
    for text in ["1", "2", "3"] {
        peer.expect_text(text);
        other.expect_text(text);
    }
    assert_eq!(peer.expect_close(1008), "over the message rate");
    process.line("client over its rate");
    other.send_text("still here");
    other.expect_text("still here");
}

#[test]
fn more_bytes_than_the_rate_close_with_1008() {
    let (_process, address) = serve("--byte-rate 1:100");
    let mut peer = Peer::open(address, "/ws");
    // A frame of 6 bytes more than its payload, whatever is in it.
    peer.send_frame(PING, [b'x'; 94]);
    peer.expect_frame(PONG, [b'x'; 94]);
    peer.send_frame(PING, b"");
    assert_eq!(peer.expect_close(1008), "over the byte rate");
}

/// Says so much to a room that one member who reads nothing lags, and another reads it all.
fn flood(sender: &mut Peer) {
    for number in 0..FLOOD {
        let mut message = vec![0; LONG];
        message[..8].copy_from_slice(&(number as u64).to_be_bytes());
        sender.send_frame(BINARY, &message);
        sender.expect_frame(BINARY, &message);
    }
}

/// The numbers of the messages of [`flood`] that a peer hears, up to a text.
fn numbers(peer: &mut Peer) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let frame = peer.read_frame();
        if frame.first != BINARY {
            assert_eq!(frame.payload, b"the end");
            return numbers;
        }
        assert_eq!(frame.payload.len(), LONG);
        let number = frame.payload[..8].try_into().expect("8 bytes");
        numbers.push(u64::from_be_bytes(number));
    }
}

#[test]
fn who_lags_misses_whole_messages_if_that_is_the_policy() {
    let (process, address) = serve("--slow-policy drop --write-timeout 60s");
    let (mut slow, mut sender) = (Peer::open(address, "/ws"), Peer::open(address, "/ws"));
    flood(&mut sender);
    // It reads again, and what it could not take is missing at the end.
    let reader = std::thread::spawn(move || (numbers(&mut slow), slow));
    // The end is said again until it fits.
    while !reader.is_finished() {
        sender.send_text("the end");
        sender.expect_text("the end");
    }
    let (heard, slow) = reader.join().expect("it hears the end");
    assert!(
        heard.is_sorted() && heard.len() < FLOOD,
        "{} messages",
        heard.len()
    );
    assert!(heard.windows(2).all(|two| two[0] < two[1]), "each once");
    drop(slow);
    let line = process.line("messages_dropped");
    assert!(!line.contains("messages_dropped=0 "), "{line}");
}

#[test]
fn who_lags_hears_the_newest_message_if_that_is_the_policy() {
    let (process, address) = serve("--slow-policy latest --write-timeout 60s");
    let (mut slow, mut sender) = (Peer::open(address, "/ws"), Peer::open(address, "/ws"));
    flood(&mut sender);
    let mut heard = Vec::new();
    while heard.last() != Some(&(FLOOD as u64 - 1)) {
        let frame = slow.read_frame();
        let number = frame.payload[..8].try_into().expect("8 bytes");
        heard.push(u64::from_be_bytes(number));
    }
    assert!(
        heard.is_sorted() && heard.len() < FLOOD,
        "{} messages",
        heard.len()
    );
    let newest = heard[heard.len() - 2..].to_vec();
    assert!(newest[1] - newest[0] > 10, "{newest:?}");
    slow.check_echo();
    drop(slow);
    let line = process.line("messages_dropped");
    assert!(!line.contains("messages_dropped=0 "), "{line}");
}

#[test]
fn when_too_much_is_owed_in_all_who_owes_the_most_goes() {
    let flags = "--max-client-buffer 16M --max-total-buffer 16M --write-timeout 60s";
    let (process, address) = serve(flags);
    let (slow, mut sender) = (Peer::open(address, "/ws/a"), Peer::open(address, "/ws/a"));
    let (slower, mut other) = (Peer::open(address, "/ws/b"), Peer::open(address, "/ws/b"));
    flood_until_evicted(&mut sender, &mut other, &process);
    // The one in the other room owed less, and lags as it did.
    drop((slow, slower));
    sender.check_echo();
}

/// Floods two rooms, one twice as much as the other, until somebody is given up.
fn flood_until_evicted(sender: &mut Peer, other: &mut Peer, process: &Process) {
    let message = vec![0; LONG];
    for number in 0..3 * FLOOD {
        let evicted = process
            .lines
            .try_iter()
            .find(|line| line.contains("too much is queued"));
        if let Some(line) = evicted {
            assert!(line.contains("backlog="), "{line}");
            return;
        }
        sender.send_frame(BINARY, &message);
        sender.expect_frame(BINARY, &message);
        if number % 2 == 0 {
            other.send_frame(BINARY, &message);
            other.expect_frame(BINARY, &message);
        }
    }
    panic!("nobody was given up");
}

/// The kernel takes connections that nobody has accepted, up to its own bound.
#[test]
fn connections_that_wait_are_not_lost() {
    let (_process, address) = serve("--accept-rate 10:1");
    let peers: Vec<TcpStream> = (0..5)
        .map(|_| TcpStream::connect(address).expect("the kernel takes it"))
        .collect();
    let mut last = Peer::open(address, "/ws");
    last.check_echo();
    drop(peers);
}
