//! Requests that are answered as they want to be, however they arrive.

use fanfare::OriginPattern;

use crate::peer::{CLOSE, PING, PONG, TEXT, close_payload, frame, unmasked, upgrade, upgrade_with};
use crate::running::Running;

#[test]
fn an_upgrade_is_answered_in_full() {
    let server = Running::start(|config| {
        config.hub.handshake.subprotocols = vec!["v2".to_owned(), "v1".to_owned()];
    });
    let mut peer = server.connect();
    peer.send(upgrade_with(
        "/ws",
        "Sec-WebSocket-Protocol: v0, v1\r\nSec-WebSocket-Protocol: v2\r\n",
    ));
    let head = peer.read_head();
    assert_eq!(
        head,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: v2\r\n\r\n"
    );
    peer.check_echo();
    drop(peer);
    let metrics = server.check_ends_empty();
    assert_eq!(
        (metrics.handshakes_completed, metrics.messages_received),
        (1, 1)
    );
}

#[test]
fn a_head_may_come_byte_by_byte_behind_empty_lines() {
    let server = Running::start(|_| {});
    let mut peer = server.connect();
    for byte in format!("\r\n\r\n{}", upgrade("/ws")).bytes() {
        peer.send([byte]);
    }
    peer.expect_upgrade();
    for byte in frame(TEXT, "piecemeal".as_bytes()) {
        peer.send([byte]);
    }
    peer.expect_text("piecemeal");
}

#[test]
fn other_spellings_of_an_upgrade_are_accepted() {
    let server = Running::start(|_| {});
    let plain = upgrade("/ws");
    for request in [
        plain.replace(
            "Upgrade: websocket",
            "uPGRADE: h2c,, WebSocket\r\nUpgrade: x",
        ),
        plain.replace("Connection: Upgrade", "connection: keep-alive , upgrade"),
        plain.replace("/ws", "http://test/ws?token=a/b?c"),
        plain.replace(
            "Host: test\r\n",
            "Content-Length: 0\r\nHost: [::1]:8080\r\n",
        ),
        upgrade_with("/ws", "Origin: http://test\r\n"),
        upgrade_with("/ws", "X-Binary: \u{9b}\t\u{fc}\r\n"),
    ] {
        let mut peer = server.connect();
        peer.send(&request);
        let head = peer.read_head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{request}{head}");
        peer.check_echo();
    }
}

#[test]
fn frames_in_the_segment_of_the_request_are_answered() {
    let server = Running::start(|_| {});
    let mut peer = server.connect();
    let [text, ping, close] = [
        frame(TEXT, b"early"),
        frame(PING, b"bird"),
        frame(CLOSE, &close_payload(3000, "done")),
    ];
    peer.send([upgrade("/ws").as_bytes(), &text, &ping, &close].concat());
    peer.expect_upgrade();
    let expected = [
        unmasked(TEXT, b"early"),
        unmasked(PONG, b"bird"),
        unmasked(CLOSE, &close_payload(3000, "")),
    ];
    assert_eq!(peer.read_to_end(), expected.concat());

    // A frame that is cut in two by the end of the request's segment.
    let mut peer = server.connect();
    peer.send([upgrade("/ws").as_bytes(), &text[..4]].concat());
    peer.expect_upgrade();
    peer.send(&text[4..]);
    peer.expect_text("early");
}

#[test]
fn origins_are_judged() {
    let server = Running::start(|config| {
        let pattern: OriginPattern = "https://*.example.com".parse().expect("it is a pattern");
        config.hub.handshake.allowed_origins.push(pattern);
    });
    for (origin, status) in [
        ("http://test", 101),
        ("https://test", 101),
        ("https://www.example.com", 101),
        ("https://example.com.evil.test", 403),
        ("http://evil.test", 403),
        ("http://test:81", 403),
        ("null", 403),
    ] {
        let mut peer = server.connect();
        peer.send(upgrade_with("/ws", &format!("Origin: {origin}\r\n")));
        let head = peer.read_head();
        let start = format!("HTTP/1.1 {status} ");
        assert!(head.starts_with(&start), "{origin}: {head}");
    }
}

#[test]
fn plain_pages_are_served_and_the_connection_ends() {
    let server = Running::start(|_| {});
    for (request, body) in [
        (
            "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n",
            "\r\n\r\nok\n",
        ),
        (
            "GET /?x HTTP/1.1\r\nHost: test\r\n\r\n",
            "data-path=\"/ws\"",
        ),
    ] {
        for is_half_closed in [false, true] {
            let mut peer = server.connect();
            peer.send(request);
            if is_half_closed {
                peer.half_close();
            }
            let answer = String::from_utf8(peer.read_to_end()).expect("pages are UTF-8");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
            assert!(answer.contains(body), "{answer}");
            let (head, body) = answer.split_once("\r\n\r\n").expect("it has a head");
            let length = format!("\r\nContent-Length: {}", body.len());
            assert!(head.contains(&length), "{head} for {} bytes", body.len());
        }
    }
    server.check_ends_empty();
}
