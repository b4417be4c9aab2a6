//! The process is stopped for longer than its clients may be silent: SIGSTOP, a suspended machine.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::binary::{Process, now};
use crate::peer::{CLOSE, DEADLINE, PING, PONG, Peer, TEXT, close_payload, frame, upgrade};

/// Clients who answer pings, each in a thread of its own.
struct Answering {
    /// Who has heard a message, or why one hears nothing more.
    heard: Receiver<Result<usize, String>>,
    /// The socket of the first, to speak with.
    speaker: TcpStream,
    count: usize,
}

impl Answering {
    fn open(count: usize, address: SocketAddr) -> Self {
        let (hear, heard) = channel();
        let peers: Vec<Peer> = (0..count).map(|_| Peer::open(address, "/ws")).collect();
        let speaker = peers[0].stream.try_clone().expect("a free descriptor");
        for (index, peer) in peers.into_iter().enumerate() {
            // Longer than any stop.
            peer.set_patience(DEADLINE * 30);
            let hear = hear.clone();
            std::thread::spawn(move || answer(peer, index, &hear));
        }
        Self {
            heard,
            speaker,
            count,
        }
    }

    /// Everybody is there and hears something.
    fn check(&mut self) {
        let sent = self.speaker.write_all(&frame(TEXT, b"are you there?"));
        sent.expect("the server reads");
        let mut who: Vec<usize> = (0..self.count)
            .map(|_| {
                let heard = self.heard.recv_timeout(DEADLINE);
                heard.expect("a message or an end").expect("it is there")
            })
            .collect();
        who.sort_unstable();
        assert!(who.into_iter().eq(0..self.count));
    }
}

fn answer(mut peer: Peer, index: usize, hear: &Sender<Result<usize, String>>) {
    loop {
        let done = match peer.try_read_frame() {
            Ok(frame) if frame.first == PING => {
                peer.send_frame(PONG, frame.payload);
                continue;
            }
            Ok(frame) if frame.first == TEXT => hear.send(Ok(index)),
            Ok(frame) if frame.first == CLOSE => {
                peer.send_frame(CLOSE, close_payload(1001, ""));
                return;
            }
            Ok(frame) => return drop(hear.send(Err(format!("client {index}: {frame:?}")))),
            Err(error) => return drop(hear.send(Err(format!("client {index}: {error}")))),
        };
        if done.is_err() {
            return;
        }
    }
}

/// Rests; the process must not end meanwhile.
fn rest(process: &Process, duration: Duration) {
    let end = now() + duration;
    process.wait_for("rested", duration + DEADLINE, || {
        end.checked_duration_since(now()).map_or(Ok(()), Err)
    });
}

/// A crowd that answers, and one who does not.
fn stop_and_go_on(duration: Duration) {
    const CLIENTS: usize = 20;
    const PING_INTERVAL: Duration = Duration::from_secs(4);
    const PONG_TIMEOUT: Duration = Duration::from_secs(3);

    let arguments = ["--ping-interval=4s", "--pong-timeout=3s", "-v"];
    let (mut process, address) = Process::serve("", &arguments);
    let mut answering = Answering::open(CLIENTS, address);
    answering.check();
    let silent = Peer::open(address, "/ws/silent");
    process.wait_until_idle();
    process.signal("STOP");
    rest(&process, duration);
    process.signal("CONT");
    let (pinged, ended) = watch(silent);
    let gone = process.line(" cause=timed_out ");
    assert!(gone.contains("room=\"silent\""), "{gone}");
    // Another round.
    rest(&process, PING_INTERVAL);
    answering.check();
    println!(
        "stopped for {duration:?}, {:.1} intervals of silence: none of {CLIENTS} clients who \
         answer is lost; who says nothing was pinged {pinged:.1?} and dropped {ended:.1?} after it",
        duration.as_secs_f64() / PING_INTERVAL.as_secs_f64()
    );
    assert!(ended >= pinged + PONG_TIMEOUT / 2);
    process.signal("TERM");
    assert_eq!(process.end(), Some(0));
    let last = process.lines.iter().last().unwrap_or_default();
    let causes = format!(" ended={CLIENTS} timed_out=1");
    let is_right = last.contains(" outcome=drained ") && last.ends_with(&causes);
    assert!(is_right, "{last}");
}

/// What reaches the kernel while the process is stopped has been said in time, whatever the clock
/// shows when it is read.
#[test]
#[ignore = "20 s: run by ./test faults"]
fn what_arrives_while_the_process_is_stopped_is_in_time() {
    const MESSAGES: usize = 120;
    const STOP: Duration = Duration::from_secs(12);

    // When the server goes on, the deadlines of a and b have passed by less than a second, and no
    // other has. The first client's first Ping would come after 10 s, the second's after 7 s.
    let arguments = [
        "--ping-interval=10s",
        "--pong-timeout=2500ms",
        "--write-timeout=9s",
        "--handshake-timeout=30s",
        "--max-client-buffer=16M",
        "-v",
    ];
    let (mut process, address) = Process::serve("", &arguments);
    let message = "x".repeat(64 * 1024);
    let mut slow = Peer::open(address, "/ws/slow");
    let mut late = Peer::open(address, "/ws/late");
    // a. One cannot be written any more, and takes it all while the server is stopped.
    let mut fast = Peer::open(address, "/ws/slow");
    for _ in 0..MESSAGES {
        fast.send_text(&message);
        fast.expect_text(&message);
    }
    close(fast);
    // b. One owes an answer to a Ping, and gives it while the server is stopped.
    late.expect_frame(PING, b"");
    // c. One says its last words while the server is stopped; and half a request of one is there.
    let mut leaving = Peer::open(address, "/ws/leaving");
    let mut opening = Peer::connect(address);
    let head = upgrade("/ws/opening");
    opening.send(&head[..50]);

    // Within a wait, which ends by EINTR then, with not a word of what has arrived.
    process.wait_until_idle();
    process.signal("STOP");
    late.send_frame(PONG, b"");
    leaving.send_text("last words");
    leaving.send_frame(CLOSE, b"");
    let reader = std::thread::spawn(move || {
        slow.set_patience(STOP + DEADLINE);
        for _ in 0..MESSAGES {
            hear(&mut slow, &message);
        }
        close(slow);
    });
    rest(&process, STOP);
    process.signal("CONT");
    close(late);
    leaving.expect_text("last words");
    leaving.expect_close(1000);
    leaving.expect_end();
    opening.send(&head[50..]);
    opening.expect_upgrade();
    close(opening);
    reader.join().expect("it hears all");
    process.signal("TERM");
    assert_eq!(process.end(), Some(0));
    let last = process.lines.iter().last().unwrap_or_default();
    println!(
        "stopped for {STOP:?} with a Pong, a Close, half a request and {MESSAGES} messages under \
         way: all arrive"
    );
    assert!(last.ends_with(" closed=5"), "{last}");
}

/// Hears a message, and answers the pings that come before it.
fn hear(peer: &mut Peer, message: &str) {
    loop {
        let frame = peer.read_frame();
        if frame.first != PING {
            return assert_eq!(
                (frame.first, &frame.payload[..]),
                (TEXT, message.as_bytes())
            );
        }
        peer.send_frame(PONG, frame.payload);
    }
}

/// Says Close, and hears it, whatever comes before.
fn close(mut peer: Peer) {
    peer.send_frame(CLOSE, b"");
    while peer.read_frame().first != CLOSE {}
    peer.expect_end();
}

/// When a client that says nothing is sent a Ping, and when the connection ends.
fn watch(mut peer: Peer) -> (Duration, Duration) {
    let begun = now();
    peer.expect_frame(PING, b"");
    let pinged = begun.elapsed();
    assert_eq!(peer.read_to_any_end(), []);
    (pinged, begun.elapsed())
}

#[test]
#[ignore = "20 s: run by ./test faults"]
fn a_stop_of_some_intervals_costs_nobody_the_connection() {
    stop_and_go_on(Duration::from_secs(10));
}

/// More clients than one wait tells of have answered their Ping when the server goes on, and for
/// many of them it is too late by the clock.
#[test]
#[ignore = "3000 clients and 30 s: run by ./test faults"]
fn a_stop_with_many_answers_under_way_costs_nobody_the_connection() {
    const CLIENTS: usize = 3000;
    const STOP: Duration = Duration::from_secs(12);

    // The first Pings come after 5 to 10 s, and the first deadline after 14 s.
    let arguments = ["--ping-interval=10s", "--pong-timeout=9s"];
    let (mut process, address) = Process::serve("", &arguments);
    let mut peers: Vec<Peer> = (0..CLIENTS).map(|_| Peer::open(address, "/ws")).collect();
    for peer in &mut peers {
        peer.set_patience(DEADLINE * 2);
        peer.expect_frame(PING, b"");
    }
    process.wait_until_idle();
    process.signal("STOP");
    for peer in &mut peers {
        peer.send_frame(PONG, b"");
    }
    rest(&process, STOP);
    process.signal("CONT");
    for peer in [0, CLIENTS / 2, CLIENTS - 1] {
        peers[peer].send_frame(PING, b"?");
        while peers[peer].read_frame().first != PONG {}
    }
    process.signal("TERM");
    let line = process.line("stopping clients=");
    let (_, rest) = line.split_once("clients=").expect("it was looked for");
    let left = rest.split(' ').next().expect("a figure");
    println!(
        "{CLIENTS} clients answer a Ping while the server is stopped for {STOP:?}: {left} left"
    );
    assert_eq!(left.parse(), Ok(CLIENTS));
    drop(peers);
    assert_eq!(process.end(), Some(0));
}

#[test]
#[ignore = "100 s: run by ./test faults-long"]
fn a_stop_of_ninety_seconds_costs_nobody_the_connection() {
    stop_and_go_on(Duration::from_secs(90));
}
