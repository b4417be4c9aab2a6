//! Much to hear at once, after a break: who reads it is not slow.

use std::io::Read;
use std::sync::mpsc::channel;
use std::time::Duration;

use fanfare::Disconnect;
use socket2::SockRef;

use super::{Probe, joined};
use crate::fake_redis::{CHANNEL, envelope, message, now};
use crate::peer::{BINARY, DEADLINE, Peer, unmasked, upgrade};
use crate::running::{Event, Running};

const MESSAGES: u64 = 20_000;
const LEN: usize = 1000;

/// What a client's kernel holds for it: little, so that it matters whether the client reads.
const RECEIVE_BUFFER: usize = 32 * 1024;

/// What a client that takes its time reads at once, and how long it pauses then.
const AT_ONCE: usize = 64 * 1024;
const PAUSE: Duration = Duration::from_millis(10);

/// A client whose kernel holds little for it.
fn open_small(server: &Running) -> Peer {
    let peer = server.connect();
    let socket = SockRef::from(&peer.stream);
    socket.set_recv_buffer_size(RECEIVE_BUFFER).expect("small");
    let mut peer = peer;
    peer.send(upgrade("/ws"));
    peer.expect_upgrade();
    peer
}

fn payload(number: u64) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(LEN, b'x');
    payload
}

fn backlog() -> Vec<u8> {
    let numbers = 0..MESSAGES;
    let messages = numbers.map(|i| message(CHANNEL, &envelope(7, i + 1, "", &payload(i))));
    messages.flatten().collect()
}

/// All that a client hears of it.
fn heard() -> Vec<u8> {
    let frames = (0..MESSAGES).map(|i| unmasked(BINARY, &payload(i)));
    frames.flatten().collect()
}

/// Reads all of it in order, and after each so many bytes pauses as long as is said.
fn read_all(peer: &mut Peer, expected: &[u8], pause: Duration) {
    let mut buffer = vec![0; AT_ONCE];
    let (_never, pauses) = channel::<()>();
    for chunk in expected.chunks(buffer.len()) {
        let _ = pauses.recv_timeout(pause);
        let buffer = &mut buffer[..chunk.len()];
        peer.stream.read_exact(buffer).expect("it is not dropped");
        assert!(*buffer == *chunk, "something else was heard");
    }
}

/// Slower than Redis speaks, and faster than is waited for in any case: 6 MB a second.
#[test]
fn who_reads_all_of_a_backlog_is_not_slow() {
    let (server, _fake, redis) = joined(|_| {});
    let probe = Probe::start(server.address());
    let mut peer = open_small(&server);
    let voice = redis.voice.clone();
    let saying = std::thread::spawn(move || voice.send(backlog()));
    read_all(&mut peer, &heard(), PAUSE);
    saying.join().expect("the server reads");
    probe.check();
    let slow = "fanfare_clients_departed_total{cause=\"too_slow\"}";
    assert_eq!(server.metric(slow), 0);
}

/// Whoever reads nothing goes as ever, and holds up the others for a moment.
#[test]
fn who_does_not_read_holds_nobody_up_for_long() {
    let (server, _fake, redis) = joined(|config| {
        config.hub.close_timeout = Duration::from_millis(100);
    });
    let stuck = open_small(&server);
    let mut peer = server.open("/ws");
    let (backlog, heard) = (backlog(), heard());
    let voice = redis.voice.clone();
    let begun = now();
    let saying = std::thread::spawn(move || voice.send(backlog));
    read_all(&mut peer, &heard, Duration::ZERO);
    let took = begun.elapsed();
    saying.join().expect("the server reads");
    assert!(took < DEADLINE / 2, "{took:?}");
    let slow = |event: &Event| matches!(event, Event::Left(Disconnect::TooSlow, _));
    let left = server.events().iter().find(slow);
    assert!(left.is_some());
    drop(stuck);
}
