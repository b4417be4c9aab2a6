//! What RFC 9112 and RFC 9110 demand of the request, and of its answer.

use super::*;

/// What is said instead of the whole valid request is answered with this status.
#[track_caller]
fn assert_answer(request: &str, status: u16) {
    assert_status(REQUEST, request, status);
}

// RFC 9110, sections 5.1, 7.6.1 and 7.8: names of fields, options and protocols have no case.
#[test]
fn names_and_tokens_are_read_in_any_case() {
    for (from, to) in [
        ("Host", "hOST"),
        ("Upgrade: websocket", "UPGRADE: WebSocket"),
        ("Connection: Upgrade", "CONNECTION: uPGRADE"),
        ("Sec-WebSocket-Key", "SEC-WEBSOCKET-KEY"),
        ("Sec-WebSocket-Version", "sec-websocket-version"),
    ] {
        assert_status(from, to, 101);
    }
    assert_status("GET", "Get", 405);
}

// RFC 9112, section 5: what surrounds a value is no part of it.
#[test]
fn space_around_a_value_is_not_part_of_it() {
    assert_status("Host: example.com", "Host:example.com", 101);
    assert_status("Host: example.com", "Host: \t example.com \t", 101);
    assert_status("Version: 13", "Version:\t13 ", 101);
    let answer = answer_with(
        "Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Key:\tdGhlIHNhbXBsZSBub25jZQ== ",
    );
    assert_eq!(answer, answer_with("", ""));
}

// RFC 9110, sections 5.3 and 5.6.1: lines of a list are one list, and empty elements are ignored.
#[test]
fn lists_are_read_over_their_lines_and_without_empty_elements() {
    for (from, to) in [
        ("Upgrade: websocket", "Upgrade: h2c, websocket"),
        ("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"),
        ("Upgrade: websocket", "Upgrade:,,\t,websocket,"),
        ("Connection: Upgrade", "Connection: keep-alive , Upgrade"),
        (
            "Connection: Upgrade",
            "Connection:\r\nX: y\r\nConnection: Upgrade",
        ),
        (
            "Connection: Upgrade",
            &format!("Connection: {}Upgrade", ", ".repeat(1000)),
        ),
    ] {
        assert_status(from, to, 101);
    }
    for (from, to) in [
        ("Upgrade: websocket", "Upgrade: h2c websocket"),
        ("Upgrade: websocket", "Upgrade: \"websocket\""),
        ("Connection: Upgrade", "Connection: keep-alive; Upgrade"),
        ("Connection: Upgrade", "Connection: Up\r\nConnection: grade"),
    ] {
        assert_status(from, to, 426);
    }
}

// RFC 9110, section 5.3: a field that is no list occurs once, even where both say the same.
#[test]
fn fields_that_are_no_lists_may_not_be_repeated() {
    for field in [
        "Host: example.com",
        "Origin: http://example.com",
        "Content-Length: 0",
    ] {
        let repeated = format!("{field}\r\nX: y\r\n{}", field.to_ascii_uppercase());
        let others = REQUEST.replace("Host: example.com\r\n", "");
        let host = if field.starts_with("Host") {
            ""
        } else {
            "Host: example.com\r\n"
        };
        let fields = format!("HTTP/1.1\r\n{host}{repeated}\r\n");
        assert_answer(&others.replace("HTTP/1.1\r\n", &fields), 400);
    }
}

// RFC 9112, sections 2.2, 3, 5.1 and 5.2.
#[test]
fn space_where_none_belongs_is_refused() {
    for (from, to) in [
        // Between the request line and the first field; a folded line; before a colon.
        ("Host", " X: y\r\nHost"),
        ("Host", "\tX: y\r\nHost"),
        ("Upgrade: ", " folded\r\nUpgrade: "),
        ("Upgrade: ", "\tfolded\r\nUpgrade: "),
        ("Host:", "Host :"),
        ("Host:", "Host\t:"),
        ("Host:", "Ho st:"),
        ("GET ", "GET  "),
        ("GET ", "GET\t"),
        ("GET ", " GET "),
        ("HTTP/1.1", "HTTP/1.1 "),
        (" HTTP", "  HTTP"),
    ] {
        assert_status(from, to, 400);
    }
}

// RFC 9112, section 2.2: lines end with CRLF, and some may precede the request.
#[test]
fn lines_end_with_cr_and_lf() {
    assert_answer(&format!("\r\n\r\n{REQUEST}"), 101);
    for at in REQUEST.match_indices("\r\n").map(|(at, _)| at) {
        let (before, behind) = (&REQUEST[..at], &REQUEST[at + 2..]);
        for line_end in ["\n", "\r", "\r\r\n", "\n\r"] {
            assert_answer(&format!("{before}{line_end}{behind}\r\n\r\n"), 400);
        }
    }
    assert_answer(&format!("\n{REQUEST}"), 400);
}

// RFC 9110, sections 5.1 and 5.5: names are tokens, values have no control characters.
#[test]
fn odd_bytes_are_refused() {
    for byte in (0..=0x1F).chain([0x7F]).map(char::from) {
        if !matches!(byte, '\t' | '\r' | '\n') {
            assert_status("Host", &format!("X: a{byte}b\r\nHost"), 400);
            assert_status("/ws", &format!("/ws{byte}"), 400);
        }
    }
    for name in ["", "(", "\"X\"", "X/Y", "X{", "é", "X\0", "X\u{9b}"] {
        assert_status("Host", &format!("{name}: y\r\nHost"), 400);
    }
    assert_status("Host", "X: \t\u{80}\u{9b}\u{ff}\u{2028}\r\nHost", 101);
}

// RFC 9112, section 3.2: origin-form and absolute-form are a request's, the others are not GET's.
#[test]
fn a_target_is_a_path_or_absolute() {
    for target in [
        "/ws?token=a/b?c",
        "http://example.com/ws",
        "HTTPS://EXAMPLE.com:443/ws?x",
        "ws://[::1]:8080/ws",
    ] {
        assert_status("/ws", target, 101);
    }
    for target in [
        "*",
        "example.com:80",
        "ws",
        "/ws#fragment",
        "ftp://example.com/ws",
        "http:///ws",
        "http://user@example.com/ws",
        "http://user:password@example.com/ws",
    ] {
        assert_status("/ws", target, 400);
    }
    assert_status("/ws", "http://example.com", 404);
}

// RFC 9112, section 3.2.2: the authority of an absolute target counts, and Host does not.
#[test]
fn an_absolute_target_overrides_the_host() {
    for (origin, status) in [("other.example", 101), ("example.com", 403)] {
        let line = format!("http://other.example/ws HTTP/1.1\r\nOrigin: http://{origin}");
        assert_status("/ws HTTP/1.1", &line, status);
    }
    // It does not excuse a missing Host.
    let request = REQUEST.replace("/ws", "http://example.com/ws");
    assert_answer(&request.replace("Host: example.com\r\n", ""), 400);
}

// RFC 9112, section 3.2: 400 unless there is exactly one, and it is a host and perhaps a port.
#[test]
fn a_request_has_one_valid_host() {
    for host in [
        "example.com",
        "EXAMPLE.com:8080",
        "127.0.0.1",
        "[::1]:80",
        "a_b",
    ] {
        assert_status("example.com", host, 101);
    }
    for host in [
        "", "a b", "a, b", "a/b", "user@a", "a?b", "a#b", "\"a\"", "http://a", "é",
    ] {
        assert_status("example.com", host, 400);
    }
    assert_status("Host: example.com\r\n", "", 400);
    assert_status("Host:", "Hosts:", 400);
}

// RFC 9112, section 2.3; RFC 9110, sections 7.8 and 15.2: nothing is upgraded in another version.
#[test]
fn only_http_1_1_is_upgraded() {
    for version in ["1.0", "0.9", "1.2", "2.0", "3.0"] {
        let answer = answer_with("HTTP/1.1", &format!("HTTP/{version}"));
        assert!(answer.starts_with("HTTP/1.1 505 "), "{version}: {answer}");
    }
    // What is no version of HTTP is no request line (section 3).
    assert_status("HTTP/1.1", "http/1.1", 400);
    assert_status(" HTTP/1.1", "", 400);
    assert_status("HTTP/1.1", "HTTP/1.10", 400);
}

// RFC 9110, section 15.5.6: a 405 names what is allowed.
#[test]
fn another_method_is_told_which_is_allowed() {
    for method in [
        "HEAD", "POST", "OPTIONS", "CONNECT", "DELETE", "TRACE", "BREW", "get",
    ] {
        let answer = answer_with("GET", method);
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
        assert!(answer.contains("\r\nAllow: GET\r\n"), "{method}: {answer}");
    }
}

// RFC 9112, sections 6.1 and 6.3: 400 where a length is unclear, and here where there is one.
#[test]
fn a_body_is_refused_however_it_is_announced() {
    assert_status("Host", "Content-Length: 0\r\nHost", 101);
    for body in [
        "Content-Length: 1",
        "Content-Length: -1",
        "Content-Length: +0",
        "Content-Length: 0x0",
        "Content-Length: 0, 0",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 18446744073709551616",
        "Content-Length:",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: \tchunked, chunked",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
    ] {
        assert_status("Host", &format!("{body}\r\nHost"), 400);
    }
}

// RFC 9112, section 3: 414 for the target; RFC 9110, section 5.4: 4xx for fields.
#[test]
fn what_is_too_long_has_a_status_of_its_own() {
    assert_status("/ws", &format!("/ws?{}", "x".repeat(8192)), 414);
    assert_status("Host", &format!("X: {}\r\nHost", "x".repeat(16_384)), 431);
    assert_status("Host", &format!("{}Host", "X: y\r\n".repeat(100)), 431);
    // RFC 9112, section 3, recommends to take request lines of 8000 bytes.
    assert_status("/ws", &format!("/ws?{}", "x".repeat(8000)), 101);
}

// RFC 9112, sections 6.3 and 9.6; RFC 9110, sections 7.8, 8.6 and 15.5.22.
#[test]
fn every_refusal_says_where_it_ends_and_that_the_connection_does() {
    for (from, to, status) in [
        ("Host:", "Host :", 400),
        ("Host", "Origin: null\r\nHost", 403),
        ("/ws", "/", 404),
        ("GET", "PUT", 405),
        ("/ws", &"/".repeat(9000), 414),
        ("Upgrade: websocket", "X: y", 426),
        ("Version: 13", "Version: 8", 426),
        ("Host", &"X: y\r\n".repeat(101), 431),
        ("HTTP/1.1", "HTTP/1.0", 505),
    ] {
        assert_status(from, to, status);
        let answer = answer_with(from, to);
        let (head, body) = answer.split_once("\r\n\r\n").expect("it has a head");
        let length = format!("\r\nContent-Length: {}", body.len());
        assert!(head.ends_with(&length) && !body.is_empty(), "{answer}");
        let connection = match status {
            426 => {
                "\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Connection: Upgrade, close\r\n"
            }
            _ => "\r\nConnection: close\r\n",
        };
        assert!(head.contains(connection), "{answer}");
        assert_eq!(head.contains("\r\nUpgrade"), status == 426, "{answer}");
    }
    let answer = answer_with("", "");
    assert!(!answer.contains("Content-Length") && !answer.contains("Transfer-Encoding"));
}

// RFC 9110, section 7.8: behind a 101 the new protocol is spoken and nothing else.
#[test]
fn a_second_request_behind_the_first_is_a_broken_frame() {
    let mut bytes = REQUEST.repeat(2).into_bytes();
    let mut input = Input::new(&mut bytes);
    let head = HeadBuffer::default().receive(&mut input);
    let head = head.expect("it is well-formed").expect("it is whole");
    assert_eq!(head, REQUEST.as_bytes());
    assert_eq!(input.len(), REQUEST.len());
    assert_fails(&[REQUEST.as_bytes().to_vec()], ReservedBits);
}

// A TLS hello, HTTP/2, a PROXY line, an RTSP client: each is answered at once, and never upgraded.
#[test]
fn other_protocols_are_refused() {
    assert_answer("\x16\x03\x01\x02\0\x01\0\x01", 400);
    assert_answer("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    assert_answer("\r\n\r\n\0\r\nQUIT\n", 400);
    let line = "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n\r\n";
    assert_answer(line, 400);
    assert_status("HTTP/1.1", "RTSP/1.0", 400);
}

// RFC 9112, section 3.2: an invalid Host is answered with 400.
#[test]
fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
    for host in [
        "a",
        "a.example:8080",
        "a%2db",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:8080",
        "a:",
    ] {
        assert_status("example.com", host, 101);
    }
    for host in [
        "a:b", ":80", "a:1:2", "[", "[::1", "[::1]x", "[::1]80", "[a]", "%zz", "%2", "a/b", "a@b",
    ] {
        assert_status("example.com", host, 400);
    }
}

// RFC 9110, section 4.2.1: a path may be empty before a query.
#[test]
fn an_absolute_target_with_a_query_has_a_path() {
    assert_status("/ws", "http://example.com?query", 404);
    assert_status("/ws", "http://example.com/ws?query", 101);
}
