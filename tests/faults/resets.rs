//! Peers who reset the connection, or end their side, in each phase.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;

use crate::binary::{Process, now};
use crate::check_serves;
use crate::peer::{CLOSE, DEADLINE, PING, PONG, Peer, TEXT, close_payload, frame, upgrade};

/// Long messages: more than the kernel buffers, and less than what makes a client too slow.
const FLOOD: usize = 160;

/// Ends the connection by a reset, whatever is unread.
fn reset(peer: Peer) {
    let done = SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO));
    done.expect("it is TCP");
    drop(peer.stream);
}

/// A client of whom more is owed than the kernel takes, in the room "flood". The flooder is gone.
fn flooded(address: SocketAddr) -> Peer {
    let peer = Peer::open(address, "/ws/flood");
    let mut flooder = Peer::open(address, "/ws/flood");
    let message = "x".repeat(64 * 1024);
    for _ in 0..FLOOD {
        flooder.send_text(&message);
        flooder.expect_text(&message);
    }
    flooder.send_frame(CLOSE, b"");
    flooder.expect_close(1000);
    flooder.expect_end();
    peer
}

#[test]
fn a_reset_in_any_phase_frees_the_place_and_loses_nothing_said() {
    const ROUNDS: usize = 5;

    let (mut process, address) = Process::serve("", &["--max-client-buffer", "16M"]);
    check_serves(&process, address);
    let mut witness = Peer::open(address, "/ws");
    witness.check_echo();
    let descriptors = process.descriptors();
    let head = upgrade("/ws");
    // What the witness hears, and what comes behind it.
    let said = [head.as_bytes(), &frame(TEXT, b"said")].concat();
    let and = |more: &[u8]| [&said, more].concat();
    let close = frame(CLOSE, &close_payload(1000, ""));
    let phases = [
        ("connected", vec![]),
        ("half a head", head.as_bytes()[..60].to_vec()),
        ("refused", b"nonsense\r\n\r\n".to_vec()),
        ("answered", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("open", head.clone().into_bytes()),
        ("said", said.clone()),
        ("half a frame", and(&frame(TEXT, b"half")[..7])),
        ("half a message", and(&frame(0x01, b"begun"))),
        ("a ping", and(&frame(PING, b"?"))),
        ("closing", and(&close)),
        ("failed", and(&[0x8B, 0x80])),
        ("data behind a close", and(&[&close[..], b"more"].concat())),
    ];
    let mut resets = 0;
    for (phase, bytes) in &phases {
        for waits in [false, true] {
            for _ in 0..ROUNDS {
                let mut peer = Peer::connect(address);
                peer.send(bytes);
                if waits && !bytes.is_empty() && *phase != "half a head" {
                    // It has read what there is to read, so the phase is reached.
                    peer.stream.peek(&mut [0]).expect("an answer");
                }
                reset(peer);
                resets += 1;
                if bytes.starts_with(&said) {
                    witness.expect_text("said");
                }
            }
        }
        process.wait_for_descriptors(descriptors);
    }
    for _ in 0..ROUNDS {
        reset(flooded(address));
        resets += 1;
        process.wait_for_descriptors(descriptors);
    }
    witness.check_echo();
    check_serves(&process, address);
    println!(
        "{resets} resets in {} phases: descriptors {descriptors} -> {}",
        phases.len() + 1,
        process.descriptors()
    );
    drop(witness);
    process.stop();
}

#[test]
fn a_reset_instead_of_an_answer_to_our_close_holds_up_no_stop() {
    let (mut process, address) = Process::serve("", &["--close-timeout", "20s"]);
    let mut closing = Peer::open(address, "/ws");
    let mut polite = Peer::open(address, "/ws");
    let begun = now();
    process.signal("TERM");
    closing.expect_close(1001);
    reset(closing);
    polite.expect_close(1001);
    polite.send_frame(CLOSE, close_payload(1001, ""));
    polite.expect_end();
    drop(polite);
    assert_eq!(process.end(), Some(0));
    let end = begun.elapsed();
    println!("SIGTERM, and a reset instead of an answer to our Close: exit 0 after {end:.1?}");
    assert!(
        end < DEADLINE,
        "close-timeout or shutdown-timeout had to help"
    );
}

#[test]
fn a_half_close_around_the_closing_handshake_frees_the_place_and_loses_nothing_said() {
    let (mut process, address) = Process::serve("", &["--max-client-buffer", "16M"]);
    check_serves(&process, address);
    let mut witness = Peer::open(address, "/ws");
    witness.check_echo();
    let descriptors = process.descriptors();
    let said = frame(TEXT, b"said");
    let close = frame(CLOSE, &close_payload(1000, ""));
    // Before it, in the same segment and in one of its own; during it; after it.
    for (phase, last) in [("before", &b""[..]), ("during", &close)] {
        for together in [true, false] {
            let mut peer = Peer::open(address, "/ws");
            if together {
                peer.send([&said, &frame(PING, b"?"), last].concat());
            } else {
                peer.send(&said);
                peer.send(frame(PING, b"?"));
                peer.send(last);
            }
            peer.half_close();
            peer.expect_text("said");
            peer.expect_frame(PONG, b"?");
            if phase == "during" {
                peer.expect_close(1000);
            }
            peer.expect_end();
            witness.expect_text("said");
            // The place is free although the peer has not closed its socket.
            process.wait_for_descriptors(descriptors);
        }
    }
    let mut peer = Peer::open(address, "/ws");
    peer.send([&said[..], &close].concat());
    peer.expect_text("said");
    peer.expect_close(1000);
    peer.expect_end();
    peer.half_close();
    witness.expect_text("said");
    process.wait_for_descriptors(descriptors);
    drop(peer);
    witness.check_echo();
    println!(
        "half-closes before, during and after the closing handshake: descriptors {descriptors} -> \
         {}",
        process.descriptors()
    );
    drop(witness);
    process.stop();
}

#[test]
fn a_half_close_behind_a_backlog_frees_the_place_when_it_is_heard() {
    let (mut process, address) = Process::serve("", &["--max-client-buffer", "16M"]);
    check_serves(&process, address);
    let descriptors = process.descriptors();
    let mut peer = flooded(address);
    peer.send_frame(CLOSE, close_payload(1000, ""));
    peer.half_close();
    check_serves(&process, address);
    let message = "x".repeat(64 * 1024);
    for _ in 0..FLOOD {
        peer.expect_text(&message);
    }
    peer.expect_close(1000);
    peer.expect_end();
    process.wait_for_descriptors(descriptors);
    println!(
        "{FLOOD} messages of 64 KiB, Close and a half-close: all were heard, descriptors \
         {descriptors} -> {}",
        process.descriptors()
    );
    drop(peer);
    process.stop();
}
