//! Requests that are refused: the status, the fields that belong to it, one line that says why,
//! and an end that is no reset.

use std::time::Duration;

use fanfare::Disconnect;
use fanfare::protocol::HandshakeError;

use crate::peer::{CLOSE, Peer, upgrade, upgrade_with};
use crate::running::Running;

/// The size limits of a request head.
const MAX_REQUEST_LINE: usize = 8 * 1024;
const MAX_HEAD: usize = 16 * 1024;
const MAX_FIELDS: usize = 100;

/// Sends a request and checks the whole answer.
fn check_refused(server: &Running, request: impl AsRef<[u8]>, status: u16, line: &str) {
    let mut peer = server.connect();
    peer.send(&request);
    let request = String::from_utf8_lossy(request.as_ref());
    let answer = expect_refusal(&mut peer, status, line);
    let start: String = request.chars().take(200).collect();
    let check = |is_there: bool| assert!(is_there, "{start}\n{answer}");
    match status {
        405 => check(answer.contains("\r\nAllow: GET\r\n")),
        426 => {
            check(answer.contains("\r\nUpgrade: websocket\r\n"));
            check(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"));
        }
        503 => check(answer.contains("\r\nRetry-After: 5\r\n")),
        _ => check(!answer.contains("Upgrade:") && !answer.contains("Retry-After:")),
    }
}

/// Reads a refusal to its end, and checks what all of them have.
fn expect_refusal(peer: &mut Peer, status: u16, line: &str) -> String {
    let answer = String::from_utf8(peer.read_to_end()).expect("answers are UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    assert!(
        head.starts_with(&format!("HTTP/1.1 {status} ")),
        "{status} {line} was to come, but: {answer}"
    );
    assert_eq!(body, format!("{line}\n"), "{answer}");
    let connection = match status {
        426 => "\r\nConnection: Upgrade, close\r\n",
        _ => "\r\nConnection: close\r\n",
    };
    assert!(answer.contains(connection), "{answer}");
    let length = format!("\r\nContent-Length: {}\r\n", body.len());
    assert!(answer.contains(&length), "{answer}");
    assert!(
        head.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"),
        "{answer}"
    );
    answer
}

#[test]
fn malformed_heads_are_bad_requests() {
    let server = Running::start(|_| {});
    let malformed = "malformed request head";
    for (request, line) in [
        ("nonsense\r\n\r\n", malformed),
        ("GET  /ws HTTP/1.1\r\nHost: test\r\n\r\n", malformed),
        ("GET /ws HTTP/1.1\r\nHost : test\r\n\r\n", malformed),
        (
            "GET /ws HTTP/1.1\r\nHost: test\r\n folded\r\n\r\n",
            malformed,
        ),
        ("GET /ws HTTP/1.1\r\n: test\r\n\r\n", malformed),
        // Not waited for: there is no end of the head behind these.
        ("GET /ws HTTP/1.1\r\nHost: te\0st", malformed),
        ("GET /ws HTTP/1.1\rHost: test", malformed),
        ("GET /ws HTTP/1.1\r\nHost: \x1b[31m", malformed),
        ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}", malformed),
        ("GET /ws HTTP/1.1\n", "line feed without carriage return"),
        ("\n", "line feed without carriage return"),
    ] {
        check_refused(&server, request, 400, line);
    }
    server.check_serves();
    let metrics = server.check_ends_empty();
    let refused = Disconnect::Refused(HandshakeError::MalformedHead);
    assert_eq!(metrics.departures(refused), 11);
}

#[test]
fn requests_that_http_forbids_are_bad_requests() {
    let server = Running::start(|_| {});
    let host = "exactly one valid Host field is required";
    let target = "request target is not a path";
    let body = "request with a body";
    for (request, line) in [
        (upgrade("/ws").replace("Host: test\r\n", ""), host),
        (upgrade_with("/ws", "Host: test\r\n"), host),
        (upgrade("/ws").replace("Host: test", "Host:"), host),
        (upgrade("/ws").replace("Host: test", "Host: a/b"), host),
        (upgrade("*"), target),
        (upgrade("/ws#a"), target),
        (upgrade("ws"), target),
        (upgrade("ftp://test/ws"), target),
        (upgrade_with("/ws", "Content-Length: 1\r\n"), body),
        (upgrade_with("/ws", "Content-Length: -1\r\n"), body),
        (
            upgrade_with("/ws", "Content-Length: 0\r\nContent-Length: 0\r\n"),
            body,
        ),
        (upgrade_with("/ws", "Transfer-Encoding: chunked\r\n"), body),
    ] {
        check_refused(&server, request, 400, line);
    }
    server.check_serves();
    server.check_ends_empty();
}

#[test]
fn requests_that_rfc_6455_forbids_are_refused() {
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

    let server = Running::start(|_| {});
    let plain = upgrade("/ws");
    let key = "Sec-WebSocket-Key is not one field of 16 bytes in base64";
    for (request, line) in [
        (plain.replace(KEY, "X-Key: none"), key),
        (plain.replace(KEY, &format!("{KEY}\r\n{KEY}")), key),
        (plain.replace("b25jZQ==", "b25jZQ"), key),
        (plain.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), key),
        (
            upgrade_with("/ws", "Origin: http://test\r\nOrigin: http://test\r\n"),
            "repeated Origin field",
        ),
        (
            upgrade_with("/ws", "Sec-WebSocket-Version: 13\r\n"),
            "repeated Sec-WebSocket-Version field",
        ),
    ] {
        check_refused(&server, request, 400, line);
    }
    let wanted = "this path speaks WebSocket";
    let version = "only version 13 of WebSocket is supported";
    for (request, line) in [
        ("GET /ws HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(), wanted),
        (plain.replace("Upgrade: websocket", "Upgrade: h2c"), wanted),
        (
            plain.replace("Connection: Upgrade", "Connection: close"),
            wanted,
        ),
        (plain.replace("Version: 13", "Version: 8"), version),
        (plain.replace("Version: 13", "Version: 013"), version),
        (plain.replace("Sec-WebSocket-Version: 13\r\n", ""), version),
    ] {
        check_refused(&server, request, 426, line);
    }
    let origin = upgrade_with("/ws", "Origin: http://evil.test\r\n");
    check_refused(&server, origin, 403, "origin not allowed");
    server.check_serves();
    server.check_ends_empty();
}

#[test]
fn methods_paths_and_versions_are_refused() {
    let server = Running::start(|config| config.hub.demo = false);
    for method in ["POST", "PUT", "get", "OPTIONS"] {
        for path in ["/ws", "/ws/room", "/healthz"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n");
            check_refused(&server, request, 405, "only GET is allowed");
        }
    }
    for path in ["/", "/wsx", "/nothing", "/healthz/", "/%77s"] {
        check_refused(&server, upgrade(path), 404, "not found");
    }
    for version in ["1.0", "2.0", "1.2", "0.9"] {
        let request = upgrade("/ws").replace("HTTP/1.1", &format!("HTTP/{version}"));
        check_refused(&server, request, 505, "only HTTP/1.1 is supported");
    }
    server.check_serves();
    server.check_ends_empty();
}

#[test]
fn names_of_rooms_are_judged() {
    let server = Running::start(|_| {});
    let line = "room name is empty, too long or has forbidden characters";
    let too_long = "x".repeat(129);
    let encoded_too_long = format!("x{}", "%C3%A9".repeat(64));
    for name in [
        "",
        "%",
        "%4",
        "%zz",
        "%+1",
        "%ff",
        "%C3",
        "%00",
        "a%0Ab",
        "%7f",
        "%C2%85",
        &too_long,
        &encoded_too_long,
    ] {
        check_refused(&server, upgrade(&format!("/ws/{name}")), 400, line);
    }
    for path in [format!("/ws/{}", &too_long[1..]), "/ws/%C3%A9".to_owned()] {
        server.open(&path).check_echo();
    }
    server.check_ends_empty();
}

#[test]
fn both_sides_of_the_size_limits() {
    let server = Running::start(|_| {});
    let line = |len: usize| {
        let path = "x".repeat(len - "GET / HTTP/1.1".len());
        format!("GET /{path} HTTP/1.1\r\n")
    };
    let behind = "Host: test\r\n\r\n";
    let fits = line(MAX_REQUEST_LINE) + behind;
    check_refused(&server, fits, 404, "not found");
    let too_long = "request line too long";
    let request = line(MAX_REQUEST_LINE + 1) + behind;
    check_refused(&server, request, 414, too_long);
    // Nobody waits for the end of a line that is too long already.
    let endless = "x".repeat(MAX_REQUEST_LINE + 10);
    check_refused(&server, endless, 414, too_long);

    let head = |len: usize| {
        let start = "GET /x HTTP/1.1\r\nHost: test\r\nX: ";
        let filling = "x".repeat(len - start.len() - 4);
        format!("{start}{filling}\r\n\r\n")
    };
    let too_large = "request head too large";
    check_refused(&server, head(MAX_HEAD), 404, "not found");
    check_refused(&server, head(MAX_HEAD + 1), 431, too_large);
    let empty_lines = "\r\n".repeat(MAX_HEAD / 2 + 1);
    check_refused(&server, empty_lines, 431, too_large);

    let fields = |count: usize| {
        let fields = "X: x\r\n".repeat(count - 1);
        format!("GET /x HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
    };
    check_refused(&server, fields(MAX_FIELDS), 404, "not found");
    check_refused(&server, fields(MAX_FIELDS + 1), 431, too_large);
    server.check_serves();
    server.check_ends_empty();
}

/// A socket closed with unread input resets the connection, and the reset can overtake the answer.
#[test]
fn whoever_keeps_sending_still_reads_the_whole_answer() {
    let server = Running::start(|_| {});
    let junk = vec![b'x'; 1 << 20];
    let malformed = "malformed request head";
    for (start, status, line) in [
        ("nonsense\r\n\r\n", 400, malformed),
        ("", 414, "request line too long"),
        (
            "GET /ws HTTP/1.1\r\nHost: test\r\nX: ",
            431,
            "request head too large",
        ),
        (
            "POST /ws HTTP/1.1\r\nHost: test\r\n\r\n",
            405,
            "only GET is allowed",
        ),
    ] {
        let mut peer = server.connect();
        peer.send([start.as_bytes(), &junk].concat());
        expect_refusal(&mut peer, status, line);
        // And still has a connection to send more.
        peer.send(&junk);
        server.check_serves();
    }
    server.check_ends_empty();
}

#[test]
fn a_lingering_client_is_not_waited_for_for_ever() {
    let server = Running::start(|config| {
        config.hub.close_timeout = Duration::from_millis(200);
    });
    let mut peer = server.connect();
    peer.send("nonsense\r\n\r\n");
    expect_refusal(&mut peer, 400, "malformed request head");
    let mut watcher = server.open("/ws");
    // More than the timeout's worth of signs of life do not help.
    let is_cut = (0..1000).any(|_| {
        watcher.set_patience(Duration::from_millis(10));
        let nothing = watcher.try_read_frame().map_err(|error| error.kind());
        assert!(nothing.is_err(), "nobody speaks: {nothing:?}");
        std::io::Write::write_all(&mut peer.stream, b"more").is_err()
    });
    assert!(is_cut, "the client may still send");
    drop(watcher);
    server.check_ends_empty();
}

#[test]
fn a_slow_head_is_told_so_and_silence_is_not() {
    let server = Running::start(|config| {
        config.hub.handshake_timeout = Duration::from_millis(300);
    });
    let mut silent = server.connect();
    let mut blank = server.connect();
    let mut slow = server.connect();
    blank.send("\r\n");
    slow.send("GET /ws HTTP/1.1\r\nHost: te");
    let line = "request head did not arrive in time";
    silent.expect_end();
    expect_refusal(&mut slow, 408, line);
    expect_refusal(&mut blank, 408, line);

    // A trickle does not extend the deadline.
    let mut trickle = server.connect();
    trickle.send("GET /ws HTTP/1.1\r\nX: ");
    trickle.set_patience(Duration::from_millis(10));
    let is_answered = (0..1000).any(|_| {
        trickle.send("x");
        trickle.stream.peek(&mut [0]).is_ok()
    });
    assert!(is_answered, "it was to be answered while it trickles");
    trickle.set_patience(crate::peer::DEADLINE);
    expect_refusal(&mut trickle, 408, line);
    drop((silent, blank, slow, trickle));
    server.check_serves();
    let metrics = server.check_ends_empty();
    let refused = Disconnect::Refused(HandshakeError::TimedOut);
    assert_eq!(metrics.departures(refused), 4);
}

#[test]
fn a_client_too_many_is_told_so_and_health_is_still_known() {
    let server = Running::start(|config| config.hub.max_connections = 1);
    let mut first = server.open("/ws");
    for _ in 0..3 {
        check_refused(&server, upgrade("/ws"), 503, "no place for another client");
        let mut peer = server.connect();
        peer.send("GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n");
        let answer = String::from_utf8_lossy(&peer.read_to_end()).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    first.check_echo();
    // The place is free again as soon as it has left.
    first.send_frame(CLOSE, b"");
    first.expect_close(1000);
    first.half_close();
    assert_eq!(server.left(), (Disconnect::Closed(None), 0));
    check_place_becomes_free(&server, "/ws", "no place for another client");
    server.check_ends_empty();
}

#[test]
fn a_room_too_many_is_refused() {
    let server = Running::start(|config| config.hub.max_rooms = 1);
    let first = server.open("/ws/a");
    let line = "no place for another room";
    check_refused(&server, upgrade("/ws/b"), 503, line);
    server.open("/ws/a").check_echo();
    server.left();
    first.half_close();
    server.left();
    server.open("/ws/b").check_echo();
    server.left();
    server.check_ends_empty();
}

/// Clients that were refused a moment ago may still count: those whose end the server has not seen.
fn check_place_becomes_free(server: &Running, path: &str, line: &str) {
    for _ in 0..100 {
        let mut peer = server.connect();
        peer.send(upgrade(path));
        if peer.read_head().starts_with("HTTP/1.1 101 ") {
            return peer.check_echo();
        }
        assert_eq!(
            String::from_utf8_lossy(&peer.read_to_end()),
            format!("{line}\n")
        );
    }
    panic!("there is never a place again");
}

#[test]
fn who_is_half_way_in_when_the_server_stops_is_told_so() {
    let server = Running::start(|_| {});
    let mut silent = server.connect();
    let mut half = server.connect();
    half.send("GET /ws HTTP/1.1\r\n");
    // What came before is read by the time a newcomer is open.
    let mut open = server.open("/ws");
    server.handle.stop();
    let answer = expect_refusal(&mut half, 503, "the server is stopping");
    assert!(answer.contains("\r\nRetry-After: 5\r\n"), "{answer}");
    silent.expect_end();
    open.expect_close(1001);
    drop((silent, half, open));
    server.check_ends_empty();
}
