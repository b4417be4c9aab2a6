//! Who is silent is asked, and who does not answer is gone.

use std::io::ErrorKind;
use std::time::Duration;

use fanfare::{Disconnect, ServerConfig};

use crate::peer::{BINARY, DEADLINE, PING, PONG, TEXT, frame};
use crate::running::{Event, LONG, Running};

/// Long enough for a busy machine to answer in time.
fn fast(config: &mut ServerConfig) {
    config.hub.ping_interval = Duration::from_millis(500);
    config.hub.pong_timeout = Duration::from_millis(400);
}

#[test]
fn who_answers_stays_and_who_does_not_is_gone() {
    let server = Running::start(fast);
    let mut silent = server.open("/ws");
    let mut answers = server.open("/ws");
    for i in 0..4 {
        answers.expect_frame(PING, b"");
        // An answer is a whole frame of any kind.
        if i % 2 == 0 {
            answers.send_frame(PONG, b"");
        } else {
            answers.send_frame(TEXT, b"yes");
            answers.expect_text("yes");
        }
    }
    assert_eq!(server.left(), (Disconnect::TimedOut, 1));
    // It was asked, and got what was said until then.
    silent.expect_frame(PING, b"");
    silent.read_to_any_end();
    answers.send_frame(PING, b"still");
    let frame = answers.read_frame();
    if frame.first == PING {
        answers.expect_frame(PONG, b"still");
    } else {
        assert_eq!((frame.first, &frame.payload[..]), (PONG, &b"still"[..]));
    }
    drop((silent, answers));
    let metrics = server.check_ends_empty();
    assert_eq!(metrics.departures(Disconnect::TimedOut), 1);
}

/// A byte now and then inside a frame would keep a dead connection for ever.
#[test]
fn a_trickle_inside_a_frame_is_no_sign_of_life() {
    let server = Running::start(fast);
    let mut trickle = server.open("/ws");
    assert_eq!(server.event(), Event::Opened);
    let bytes = frame(BINARY, &[0; 1000]);
    let is_gone = bytes.iter().any(|byte| {
        let _ = std::io::Write::write_all(&mut trickle.stream, &[*byte]);
        let event = server.events().recv_timeout(Duration::from_millis(20));
        event.is_ok_and(|event| event == Event::Left(Disconnect::TimedOut, 0))
    });
    assert!(is_gone, "it is kept by its trickle");
    server.check_ends_empty();
}

#[test]
fn a_long_frame_that_makes_progress_is_a_sign_of_life() {
    let server = Running::start(fast);
    let mut peer = server.open("/ws");
    assert_eq!(server.event(), Event::Opened);
    peer.set_patience(Duration::from_millis(40));
    // 2 KiB now and then, for longer than it takes to be given up.
    for part in frame(BINARY, &vec![0; LONG]).chunks(2048) {
        peer.send(part);
        let nothing = peer.stream.peek(&mut [0]).map_err(|error| error.kind());
        assert!(
            matches!(
                nothing,
                Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) | Ok(1..)
            ),
            "{nothing:?}"
        );
    }
    peer.set_patience(DEADLINE);
    // A Ping may have come while the machine was busy; it is no reason to be gone.
    let mut heard = peer.read_frame();
    while heard.first == PING {
        heard = peer.read_frame();
    }
    assert_eq!((heard.first, heard.payload.len()), (BINARY, LONG));
}

#[test]
fn without_an_interval_nobody_is_asked() {
    let server = Running::start(|config| {
        config.hub.ping_interval = Duration::ZERO;
        config.hub.pong_timeout = Duration::from_millis(1);
    });
    let mut peer = server.open("/ws");
    peer.set_patience(Duration::from_millis(300));
    let nothing = peer.try_read_frame().map_err(|error| error.kind());
    assert!(
        matches!(nothing, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)),
        "{nothing:?}"
    );
    peer.set_patience(DEADLINE);
    peer.check_echo();
}

/// Reads that fill the whole buffer leave the server in doubt whether more is there; when there is
/// not, silence must count again.
#[test]
fn silence_after_full_reads_is_silence() {
    let server = Running::start(fast);
    let mut silent = server.open("/ws");
    // A frame of exactly what one read takes: two bytes of header, two of length, four of key.
    let bytes = frame(BINARY, &vec![0; LONG - 8]);
    assert_eq!(bytes.len(), LONG);
    for _ in 0..4 {
        std::io::Write::write_all(&mut silent.stream, &bytes).expect("it is taken");
        silent.expect_frame(BINARY, vec![0; LONG - 8]);
    }
    assert_eq!(server.left(), (Disconnect::TimedOut, 0));
}
