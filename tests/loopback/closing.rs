//! How connections end: the closing handshake, half-closes and resets at every phase.

use std::time::Duration;

use fanfare::{CloseCode, Disconnect};

use crate::peer::{CLOSE, PING, PONG, TEXT, close_payload, frame, unmasked, upgrade};
use crate::running::{Event, Running, read_flood};

/// What the witness says to "close me".
const AS_YOU_WISH: CloseCode = CloseCode::from_wire(4001).expect("it is an application's");

#[test]
fn answers_come_in_the_order_of_what_they_answer() {
    let server = Running::start(|_| {});
    let mut other = server.open("/ws");
    let mut peer = server.open("/ws");
    let said = [
        frame(TEXT, b"one"),
        frame(PING, b"two"),
        frame(TEXT, b"three"),
        frame(CLOSE, &close_payload(1000, "four")),
        frame(TEXT, b"nobody hears this"),
        frame(PING, b"nor this"),
    ];
    peer.send(said.concat());
    let heard = [
        unmasked(TEXT, b"one"),
        unmasked(PONG, b"two"),
        unmasked(TEXT, b"three"),
        unmasked(CLOSE, &close_payload(1000, "")),
    ];
    let end = peer.read_to_end();
    assert_eq!(
        String::from_utf8_lossy(&end),
        String::from_utf8_lossy(&heard.concat())
    );
    other.expect_text("one");
    other.expect_text("three");
    other.check_echo();
    drop((peer, other));
    server.check_ends_empty();
}

#[test]
fn a_close_is_echoed() {
    let server = Running::start(|_| {});
    for (payload, code, answer) in [
        (vec![], None, 1000),
        (close_payload(1000, ""), Some(1000), 1000),
        (close_payload(1001, "leaving"), Some(1001), 1001),
        (close_payload(3000, ""), Some(3000), 3000),
        (close_payload(4999, &"x".repeat(123)), Some(4999), 4999),
    ] {
        let mut peer = server.open("/ws");
        peer.send_frame(CLOSE, payload);
        assert_eq!(peer.expect_close(answer), "");
        peer.expect_end();
        peer.half_close();
        let code = code.and_then(CloseCode::from_wire);
        assert_eq!(server.left(), (Disconnect::Closed(code), 0));
    }
    // In the middle of a message as well.
    let mut peer = server.open("/ws");
    peer.send([frame(0x01, b"unfinished"), frame(CLOSE, b"")].concat());
    peer.expect_close(1000);
    peer.expect_end();
    drop(peer);
    server.check_ends_empty();
}

#[test]
fn a_handler_closes_a_client_and_nothing_follows() {
    let server = Running::start(|_| {});
    let mut other = server.open("/ws");
    let mut peer = server.open("/ws");
    peer.send_text("close me");
    assert_eq!(peer.expect_close(4001), "as you wish");
    // What it said before it saw the Close is nobody's business any more, and no ping is answered.
    peer.send([frame(TEXT, b"too late"), frame(PING, b"")].concat());
    peer.send_frame(CLOSE, close_payload(4001, ""));
    peer.expect_end();
    other.expect_text("somebody was closed");
    other.check_echo();
    drop(peer);
    assert_eq!(server.left(), (Disconnect::Ended(AS_YOU_WISH), 1));
    drop(other);
    server.check_ends_empty();
}

/// RFC 6455, section 5.5.1: no data follows a Close. The room goes on talking in the same turn, and
/// the client's own end arrives in it, too.
#[test]
fn nothing_follows_our_close_whatever_the_turn_still_brings() {
    let server = Running::start(|_| {});
    let mut other = server.open("/ws");
    let close = frame(CLOSE, &close_payload(1000, ""));
    for end in [&close[..], &frame(0xB, b""), &[TEXT, 0], b""] {
        for before in [&[][..], &["one"], &["one", "two"]] {
            let mut peer = server.open("/ws");
            let mut said = Vec::new();
            for text in before {
                said.extend(frame(TEXT, text.as_bytes()));
            }
            said.extend(frame(TEXT, b"close me"));
            said.extend(end);
            peer.send(said);
            for text in before {
                peer.expect_text(text);
                other.expect_text(text);
            }
            peer.expect_close(4001);
            peer.half_close();
            peer.expect_end();
            other.expect_text("somebody was closed");
            assert_eq!(server.left(), (Disconnect::Ended(AS_YOU_WISH), 1));
        }
    }
    drop(other);
    server.check_ends_empty();
}

#[test]
fn a_client_that_never_answers_our_close_is_gone_after_close_timeout() {
    let server = Running::start(|config| {
        config.hub.close_timeout = Duration::from_millis(200);
    });
    let mut peer = server.open("/ws");
    peer.send_text("close me");
    peer.expect_close(4001);
    peer.expect_end();
    assert_eq!(server.left(), (Disconnect::Ended(AS_YOU_WISH), 0));

    // The same for one that does answer, and one that broke the protocol, but stay connected.
    for (bytes, code) in [
        (frame(CLOSE, &close_payload(1000, "")), 1000),
        (frame(0xB, b""), 1002),
    ] {
        let mut peer = server.open("/ws");
        peer.send(bytes);
        peer.expect_close(code);
        peer.expect_end();
        let (why, members) = server.left();
        assert!(
            matches!(why, Disconnect::Closed(_) | Disconnect::Protocol(_)) && members == 0,
            "{why}"
        );
    }
    server.check_ends_empty();
}

/// Whatever still arrives from a client that has been told to go is read and does not keep it.
#[test]
fn a_client_that_keeps_sending_behind_our_close_is_gone_after_close_timeout() {
    let server = Running::start(|config| {
        config.hub.close_timeout = Duration::from_millis(200);
    });
    for (bytes, code) in [(frame(TEXT, b"close me"), 4001), (vec![TEXT, 0], 1002)] {
        let mut peer = server.open("/ws");
        peer.send(bytes);
        peer.expect_close(code);
        let is_gone = (0..1000).any(|_| {
            let more = frame(TEXT, &[b'x'; 4096]);
            let _ = std::io::Write::write_all(&mut peer.stream, &more);
            let event = server.events().recv_timeout(Duration::from_millis(10));
            matches!(event, Ok(Event::Left(..)))
        });
        assert!(is_gone, "closed with {code}, it is still there");
    }
    server.check_ends_empty();
}

#[test]
fn a_half_close_before_the_closing_handshake_ends_the_connection() {
    let server = Running::start(|_| {});
    let mut peer = server.open("/ws");
    peer.half_close();
    peer.expect_end();
    assert_eq!(server.left(), (Disconnect::Gone, 0));

    // What was said before it is answered.
    let mut peer = server.open("/ws");
    peer.send([frame(TEXT, b"last"), frame(PING, b"words")].concat());
    peer.half_close();
    peer.expect_text("last");
    peer.expect_frame(PONG, b"words");
    peer.expect_end();
    assert_eq!(server.left(), (Disconnect::Gone, 0));

    // In the middle of a frame, of a message, of a head, before anything.
    for bytes in [&frame(TEXT, b"half")[..7], &frame(0x01, b"half")] {
        let mut peer = server.open("/ws");
        peer.send(bytes);
        peer.half_close();
        peer.expect_end();
        assert_eq!(server.left(), (Disconnect::Gone, 0));
    }
    for head in ["", "GET /ws HTTP/1.1\r\n"] {
        let mut peer = server.connect();
        peer.send(head);
        peer.half_close();
        peer.expect_end();
    }
    server.check_serves();
    server.check_ends_empty();
}

#[test]
fn a_half_close_during_the_closing_handshake_loses_nothing() {
    let server = Running::start(|_| {});
    // Right behind the client's Close.
    let mut peer = server.open("/ws");
    peer.send([frame(TEXT, b"last"), frame(CLOSE, b"")].concat());
    peer.half_close();
    peer.expect_text("last");
    peer.expect_close(1000);
    peer.expect_end();
    assert_eq!(server.left(), (Disconnect::Closed(None), 0));

    // Instead of an answer to ours.
    let mut peer = server.open("/ws");
    peer.send_text("close me");
    peer.expect_close(4001);
    peer.half_close();
    peer.expect_end();
    assert_eq!(server.left(), (Disconnect::Ended(AS_YOU_WISH), 0));

    // Right behind what makes us close.
    for (bytes, code) in [(frame(TEXT, b"close me"), 4001), (frame(0xB, b""), 1002)] {
        let mut peer = server.open("/ws");
        peer.send(bytes);
        peer.half_close();
        peer.expect_close(code);
        peer.expect_end();
        server.left();
    }
    server.check_ends_empty();
}

#[test]
fn a_half_close_after_the_closing_handshake_is_the_end() {
    let server = Running::start(|_| {});
    let mut peer = server.open("/ws");
    peer.send_frame(CLOSE, close_payload(1000, ""));
    peer.expect_close(1000);
    peer.expect_end();
    peer.half_close();
    let normal = Disconnect::Closed(Some(CloseCode::NORMAL));
    assert_eq!(server.left(), (normal, 0));
    server.check_ends_empty();
}

#[test]
fn a_half_close_right_behind_the_request_loses_nothing() {
    let server = Running::start(|_| {});
    for (behind, end) in [
        (vec![], vec![]),
        (frame(TEXT, b"hi"), unmasked(TEXT, b"hi")),
        (
            [frame(TEXT, b"hi"), frame(CLOSE, b"")].concat(),
            [
                unmasked(TEXT, b"hi"),
                unmasked(CLOSE, &close_payload(1000, "")),
            ]
            .concat(),
        ),
    ] {
        let mut peer = server.connect();
        peer.send([upgrade("/ws").as_bytes(), &behind].concat());
        peer.half_close();
        peer.expect_upgrade();
        assert_eq!(peer.read_to_end(), end);
        server.left();
    }
    server.check_ends_empty();
}

#[test]
fn whoever_closes_behind_a_backlog_gets_all_of_it() {
    let server = Running::start(|config| config.hub.max_client_buffer = 16 << 20);
    for is_half_closed in [false, true] {
        let mut peer = server.open_flooded();
        peer.send_frame(CLOSE, close_payload(1000, ""));
        if is_half_closed {
            peer.half_close();
        }
        // By the time a newcomer is served, the Close has been read.
        server.check_serves();
        read_flood(&mut peer);
        peer.expect_close(1000);
        peer.expect_end();
        drop(peer);
        let normal = Disconnect::Closed(Some(CloseCode::NORMAL));
        assert_eq!(server.left(), (normal, 0));
    }
    server.check_ends_empty();
}

#[test]
fn a_reset_at_any_phase_frees_the_place() {
    let server = Running::start(|config| config.hub.max_client_buffer = 16 << 20);
    let head = 4
        + "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            .len();
    // While it lingers behind a refusal.
    let mut peer = server.connect();
    peer.send("nonsense\r\n\r\n");
    peer.reset(100);
    // Open, with the 101 unread; within a frame; within a message.
    for behind in [&b""[..], &frame(TEXT, b"half")[..7], &frame(0x01, b"half")] {
        let mut peer = server.connect();
        peer.send([upgrade("/ws").as_bytes(), behind].concat());
        peer.reset(head);
        assert_eq!(server.left(), (Disconnect::Reset, 0));
    }
    // With more queued than the kernel takes.
    let peer = server.open_flooded();
    peer.reset(1000);
    assert_eq!(server.left(), (Disconnect::Reset, 0));
    // While our Close is not answered; when both are said; when the connection has failed.
    for (bytes, why) in [
        (frame(TEXT, b"close me"), Disconnect::Ended(AS_YOU_WISH)),
        (frame(CLOSE, b""), Disconnect::Closed(None)),
    ] {
        let mut peer = server.open("/ws");
        peer.send(bytes);
        peer.reset(4);
        assert_eq!(server.left(), (why, 0));
    }
    let mut peer = server.open("/ws");
    peer.send(frame(0xB, b""));
    peer.reset(4);
    assert!(matches!(server.left(), (Disconnect::Protocol(_), 0)));

    let mut peer = server.open("/ws");
    peer.send_text("members?");
    peer.expect_text("1");
    drop(peer);
    server.left();
    server.check_serves();
    let metrics = server.check_ends_empty();
    assert_eq!(metrics.departures(Disconnect::Reset), 4);
}
