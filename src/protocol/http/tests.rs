//! Heads, requests and answers, by bytes.

use super::*;
use crate::protocol::error::HandshakeError;
use crate::protocol::input::Input;

const HEAD: &[u8] = b"GET /ws HTTP/1.1\r\nHost: example.com\r\n\r\n";

/// The head that comes out when `bytes` arrive cut at `cut`, and how many bytes it leaves.
fn collect(bytes: &[u8], cut: usize) -> Option<(Vec<u8>, usize)> {
    let mut bytes = bytes.to_vec();
    let (first, second) = bytes.split_at_mut(cut);
    let (mut first, mut second) = (Input::new(first), Input::new(second));
    let mut buffer = HeadBuffer::default();
    let head = match buffer.receive(&mut first).unwrap() {
        Some(head) => Some(head),
        None => buffer.receive(&mut second).unwrap(),
    };
    head.map(|head| (head, first.len() + second.len()))
}

/// The first byte that is refused when `bytes` arrive one by one, and why.
fn first_bad_byte(bytes: &[u8]) -> Option<(usize, HandshakeError)> {
    let mut buffer = HeadBuffer::default();
    bytes.iter().enumerate().find_map(|(i, byte)| {
        buffer
            .receive(&mut Input::new(&mut [*byte]))
            .err()
            .map(|error| (i, error))
    })
}

/// A head of this request line and these lines of fields.
fn head(request_line: &str, fields: &[&str]) -> Vec<u8> {
    let mut head = format!("{request_line}\r\n");
    for field in fields {
        head.extend([field, "\r\n"]);
    }
    (head + "\r\n").into_bytes()
}

/// Why a head with this request line and a good `Host` is refused.
fn refusal_of_line(request_line: &str) -> Option<HandshakeError> {
    Request::parse(&head(request_line, &["Host: example.com"])).err()
}

/// Why a good request with these lines of fields is refused.
fn refusal_of_fields(fields: &[&str]) -> Option<HandshakeError> {
    Request::parse(&head("GET /ws HTTP/1.1", fields)).err()
}

#[test]
fn however_the_head_is_cut_it_comes_out_whole_and_the_rest_stays() {
    // The frames behind a head belong to the connection: one byte too many would garble them.
    let bytes = [HEAD, b"\x81\x80\r\n\r\n"].concat();
    for cut in 0..=bytes.len() {
        assert_eq!(
            collect(&bytes, cut),
            Some((HEAD.to_vec(), 6)),
            "cut at {cut}"
        );
    }
    for end in 0..HEAD.len() {
        assert_eq!(
            collect(&HEAD[..end], end / 2),
            None,
            "{end} bytes are no head"
        );
    }
}

#[test]
fn empty_lines_before_the_request_are_skipped() {
    // RFC 9112, section 2.2.
    let bytes = [b"\r\n\r\n", HEAD].concat();
    for cut in 0..=bytes.len() {
        assert_eq!(
            collect(&bytes, cut),
            Some((HEAD.to_vec(), 0)),
            "cut at {cut}"
        );
    }
    let mut buffer = HeadBuffer::default();
    assert!(buffer.is_empty());
    assert_eq!(
        buffer.receive(&mut Input::new(&mut b"\r\n".to_owned())),
        Ok(None)
    );
    assert!(
        !buffer.is_empty(),
        "a skipped line is a byte that came: 408, not silence"
    );
}

#[test]
#[cfg_attr(miri, ignore = "heads of 16 KiB, byte by byte, take minutes there")]
fn empty_lines_are_bounded_like_a_head() {
    let most = "\r\n".repeat((MAX_HEAD - HEAD.len()) / 2).into_bytes();
    assert!(collect(&[&most, HEAD].concat(), 0).is_some());
    let endless = "\r\n".repeat(MAX_HEAD).into_bytes();
    assert_eq!(
        first_bad_byte(&endless),
        Some((MAX_HEAD, HandshakeError::HeadTooLarge))
    );
}

#[test]
#[cfg_attr(miri, ignore = "heads of 16 KiB, byte by byte, take minutes there")]
fn both_sides_of_the_longest_request_line() {
    assert_eq!(MAX_REQUEST_LINE, 8192);
    let line = |len: usize| format!("GET /{} HTTP/1.1", "a".repeat(len - 14));
    let longest = head(&line(MAX_REQUEST_LINE), &["Host: example.com"]);
    assert_eq!(first_bad_byte(&longest), None);
    assert!(Request::parse(&longest).is_ok());
    let longer = head(&line(MAX_REQUEST_LINE + 1), &["Host: example.com"]);
    let expected = Some((MAX_REQUEST_LINE, HandshakeError::TargetTooLong));
    assert_eq!(first_bad_byte(&longer), expected);
    // A field may be longer than that.
    let field = format!("Cookie: {}", "a".repeat(MAX_REQUEST_LINE));
    assert_eq!(first_bad_byte(&head("GET /ws HTTP/1.1", &[&field])), None);
}

#[test]
#[cfg_attr(miri, ignore = "heads of 16 KiB, byte by byte, take minutes there")]
fn both_sides_of_the_largest_head() {
    assert_eq!(MAX_HEAD, 16_384);
    let sized = |len: usize| {
        let empty = head("GET /ws HTTP/1.1", &["Host: a", "Cookie: "]).len();
        let field = format!("Cookie: {}", "a".repeat(len - empty));
        head("GET /ws HTTP/1.1", &["Host: a", &field])
    };
    let largest = sized(MAX_HEAD);
    assert_eq!(largest.len(), MAX_HEAD);
    assert_eq!(collect(&largest, 0), Some((largest.clone(), 0)));
    let expected = Some((MAX_HEAD, HandshakeError::HeadTooLarge));
    assert_eq!(first_bad_byte(&sized(MAX_HEAD + 1)), expected);
}

#[test]
fn both_sides_of_the_most_fields() {
    let with_fields = |count: usize| {
        let mut fields = vec!["a: b"; count];
        fields[0] = "Host: example.com";
        refusal_of_fields(&fields)
    };
    assert_eq!(with_fields(MAX_FIELDS), None);
    assert_eq!(
        with_fields(MAX_FIELDS + 1),
        Some(HandshakeError::HeadTooLarge)
    );
}

#[test]
fn what_is_no_http_is_refused_at_its_first_bad_byte() {
    let malformed = HandshakeError::MalformedHead;
    let cases: [(&[u8], usize, HandshakeError); 12] = [
        (b"GET / HTTP/1.1\n", 14, HandshakeError::BareLineFeed),
        (b"\n", 0, HandshakeError::BareLineFeed),
        (
            b"GET / HTTP/1.1\r\nHost: a\n",
            23,
            HandshakeError::BareLineFeed,
        ),
        (b"GET / HTTP/1.1\rHost: a", 15, malformed),
        (b"GET / HTTP/1.1\r\r\n", 15, malformed),
        (b"GET / HTTP/1.1\r\nA: \0", 19, malformed),
        (b"GET / HTTP/1.1\r\nA: \x1b[2J", 19, malformed),
        (b"GET / HTTP/1.1\r\nA: \x7f", 19, malformed),
        (b"GET /\x07", 5, malformed),
        // A TLS hello, a PROXY line of version 2, and RFC 9112's empty line cut short.
        (b"\x16\x03\x01\x02\0", 0, malformed),
        (b"\r\n\r\n\0\r\nQUIT\n", 4, malformed),
        (b"\r\rGET / HTTP/1.1\r\n", 1, malformed),
    ];
    for (bytes, at, error) in cases {
        assert_eq!(
            first_bad_byte(bytes),
            Some((at, error)),
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn a_request_knows_its_parts() {
    let head = head(
        "GET /ws/a%20b?token=1?2 HTTP/1.1",
        &[
            "HOST:example.com:8080",
            "Empty:",
            "X: \u{9b}",
            "Name: \t spaced out \t",
        ],
    );
    let request = Request::parse(&head).unwrap();
    assert_eq!(request.method(), "GET");
    assert_eq!(request.path(), "/ws/a%20b");
    assert_eq!(request.query(), Some("token=1?2"));
    assert_eq!(request.host(), "example.com:8080");
    let value = |name| request.value(name, HandshakeError::InvalidKey);
    assert_eq!(value("empty"), Ok(Some(&b""[..])));
    assert_eq!(value("x"), Ok(Some(&b"\xc2\x9b"[..])));
    assert_eq!(value("nAmE"), Ok(Some(&b"spaced out"[..])));
    assert_eq!(value("none"), Ok(None));
}

#[test]
fn only_version_1_1_is_supported() {
    for version in ["HTTP/0.9", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/9.9"] {
        let refusal = refusal_of_line(&format!("GET /ws {version}"));
        assert_eq!(
            refusal,
            Some(HandshakeError::UnsupportedHttpVersion),
            "{version}"
        );
    }
    let preface = b"PRI * HTTP/2.0\r\n\r\n";
    assert_eq!(
        Request::parse(preface).err(),
        Some(HandshakeError::UnsupportedHttpVersion)
    );
}

#[test]
fn a_malformed_request_line_is_refused() {
    for line in [
        "GET /ws",
        "GET",
        "GET  HTTP/1.1",
        "GET  /ws HTTP/1.1",
        "GET\t/ws HTTP/1.1",
        "GET /w\ts HTTP/1.1",
        " GET /ws HTTP/1.1",
        "G(T /ws HTTP/1.1",
        "GET /ws HTTP/1.1 ",
        "GET /ws HTTP/2.0 ",
        "GET /ws  HTTP/1.1",
        "GET /w s HTTP/1.1",
        "GET /w s HTTP/2.0",
        "GET /ws http/1.1",
        "GET /ws HTTP/1.10",
        "GET /ws HTTP/2",
        "GET /ws HTTP/a.1",
        "GET /ws HTTP/1.a",
        "GET /ws HTTP/1-1",
        "GET /ws RTSP/1.0",
        "GET /ws ",
        "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443",
    ] {
        let refusal = refusal_of_line(line);
        assert_eq!(refusal, Some(HandshakeError::MalformedHead), "{line:?}");
    }
}

#[test]
fn the_target_must_be_a_path() {
    let invalid = [
        "*",
        "example.com:80",
        "ws",
        "/ws#top",
        "/ws?q#top",
        "/w\u{e9}",
        "ftp://example.com/ws",
        "http:/ws",
        "http://example.com#top",
        "ws//example.com",
    ];
    for target in invalid {
        let refusal = refusal_of_line(&format!("GET {target} HTTP/1.1"));
        assert_eq!(refusal, Some(HandshakeError::InvalidTarget), "{target}");
    }
}

#[test]
fn an_absolute_target_overrides_the_host() {
    // RFC 9112, section 3.2.2.
    let cases = [
        (
            "http://other.example/ws?q",
            "other.example",
            "/ws",
            Some("q"),
        ),
        ("HTTP://other.example/ws", "other.example", "/ws", None),
        ("https://[::1]:8443/", "[::1]:8443", "/", None),
        ("ws://other.example:80", "other.example:80", "/", None),
        ("WSS://other.example/a/b", "other.example", "/a/b", None),
        (
            "/http://other.example/",
            "example.com",
            "/http://other.example/",
            None,
        ),
        (
            "//other.example/ws",
            "example.com",
            "//other.example/ws",
            None,
        ),
    ];
    for (target, host, path, query) in cases {
        let head = head(&format!("GET {target} HTTP/1.1"), &["Host: example.com"]);
        let request = Request::parse(&head).unwrap();
        let parts = (request.host(), request.path(), request.query());
        assert_eq!(parts, (host, path, query), "{target}");
    }
    // It does not excuse a missing Host, and is held to the same alphabet.
    let missing = head("GET http://example.com/ws HTTP/1.1", &[]);
    assert_eq!(
        Request::parse(&missing).err(),
        Some(HandshakeError::InvalidHost)
    );
    for target in ["http:///ws", "http://user@example.com/ws", "http://a\\b/ws"] {
        let refusal = refusal_of_line(&format!("GET {target} HTTP/1.1"));
        assert_eq!(refusal, Some(HandshakeError::InvalidHost), "{target}");
    }
}

#[test]
fn exactly_one_valid_host_is_required() {
    for host in [
        "example.com",
        "EXAMPLE.com:8080",
        "127.0.0.1",
        "[::1]:80",
        "a_b",
        "%C3%A9",
    ] {
        assert_eq!(
            refusal_of_fields(&[&format!("Host: {host}")]),
            None,
            "{host}"
        );
    }
    let invalid: [&[&str]; 13] = [
        &[],
        &["Hosts: a"],
        &["Host:"],
        &["Host: a", "Host: a"],
        &["Host: a", "hOST: b"],
        &["Host: a, b"],
        &["Host: user@a"],
        &["Host: a/b"],
        &["Host: \u{e9}"],
        &["Host: [::1"],
        &["Host: [::g]:80"],
        &["Host: [::1]80"],
        &["Host: [::1]:8x"],
    ];
    for fields in invalid {
        let refusal = refusal_of_fields(fields);
        assert_eq!(refusal, Some(HandshakeError::InvalidHost), "{fields:?}");
    }
    let not_utf8 = b"GET /ws HTTP/1.1\r\nHost: a\x80\r\n\r\n";
    assert_eq!(
        Request::parse(not_utf8).err(),
        Some(HandshakeError::InvalidHost)
    );
}

#[test]
fn a_request_with_a_body_is_refused() {
    assert_eq!(refusal_of_fields(&["Host: a", "Content-Length: 0"]), None);
    let bodies: [&[&str]; 12] = [
        &["Content-Length: 5"],
        &["Content-Length: +0"],
        &["Content-Length: -1"],
        &["Content-Length: 00"],
        &["Content-Length:"],
        &["Content-Length: 0, 0"],
        &["Content-Length: 0x0"],
        &["Content-Length: 18446744073709551616"],
        &["Content-Length: 0", "content-length: 0"],
        &["Transfer-Encoding: chunked"],
        &["transfer-encoding: identity"],
        &["Content-Length: 0", "Transfer-Encoding:"],
    ];
    for body in bodies {
        let refusal = refusal_of_fields(&[&["Host: a"], body].concat());
        assert_eq!(refusal, Some(HandshakeError::UnexpectedBody), "{body:?}");
    }
}

#[test]
fn a_malformed_field_is_refused() {
    for field in [
        "A : b",
        " folded",
        "\tfolded",
        "A",
        ": b",
        "A B: c",
        "A(: b",
        "\u{e9}: b",
        "A: b\0",
        "A: \x1b",
        "A: b\rC: d",
    ] {
        let refusal = refusal_of_fields(&["Host: a", field]);
        assert_eq!(refusal, Some(HandshakeError::MalformedHead), "{field:?}");
    }
}

#[test]
fn a_head_that_is_cut_short_is_malformed() {
    for end in 0..HEAD.len() {
        assert!(Request::parse(&HEAD[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn a_list_is_read_over_all_its_lines_without_empty_elements() {
    let head = head(
        "GET /ws HTTP/1.1",
        &[
            "Host: a",
            "List: one,two \t, ,",
            "Other: x",
            "list:",
            "LIST: ,three four",
        ],
    );
    let request = Request::parse(&head).unwrap();
    let list: Vec<_> = request.list("lIST").collect();
    assert_eq!(list, [&b"one"[..], b"two", b"three four"]);
    assert_eq!(request.values("list").count(), 3);
    let repeated = request.value("list", HandshakeError::RepeatedOrigin);
    assert_eq!(repeated, Err(HandshakeError::RepeatedOrigin));
}

fn encode(response: &Response) -> String {
    let mut output = b"before".to_vec();
    response.encode(&mut output);
    let text = String::from_utf8(output).unwrap();
    text.strip_prefix("before")
        .expect("encode appends")
        .to_owned()
}

#[test]
fn an_answer_by_bytes() {
    let response = Response::text(200, "\u{e9}\n").field("Cache-Control", "no-store");
    assert_eq!(
        encode(&response),
        "HTTP/1.1 200 OK\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         X-Content-Type-Options: nosniff\r\n\
         Cache-Control: no-store\r\n\
         Content-Length: 3\r\n\
         \r\n\
         \u{e9}\n"
    );
    assert_eq!(
        encode(&Response::new(404)),
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn switching_protocols_has_no_content_length() {
    // RFC 9110, section 8.6; a client that believed one would wait for a body.
    assert_eq!(
        encode(&Response::new(101)),
        "HTTP/1.1 101 Switching Protocols\r\n\r\n"
    );
}

#[test]
fn an_unknown_status_has_an_empty_phrase() {
    assert!(encode(&Response::new(299)).starts_with("HTTP/1.1 299 \r\n"));
}

#[test]
fn every_refusal_says_why_and_nothing_of_the_peers() {
    use HandshakeError::*;
    let cases = [
        (
            400,
            "Bad Request",
            vec![MalformedHead, BareLineFeed, InvalidTarget, InvalidHost],
        ),
        (
            400,
            "Bad Request",
            vec![UnexpectedBody, RepeatedOrigin, RepeatedVersion],
        ),
        (400, "Bad Request", vec![InvalidKey, InvalidRoom]),
        (403, "Forbidden", vec![OriginNotAllowed]),
        (404, "Not Found", vec![NotFound]),
        (405, "Method Not Allowed", vec![MethodNotAllowed]),
        (408, "Request Timeout", vec![TimedOut]),
        (414, "URI Too Long", vec![TargetTooLong]),
        (
            426,
            "Upgrade Required",
            vec![UpgradeRequired, UnsupportedVersion],
        ),
        (431, "Request Header Fields Too Large", vec![HeadTooLarge]),
        (
            503,
            "Service Unavailable",
            vec![Full, TooManyRooms, Draining],
        ),
        (
            505,
            "HTTP Version Not Supported",
            vec![UnsupportedHttpVersion],
        ),
    ];
    for (status, phrase, errors) in cases {
        let fields = match status {
            405 => "Allow: GET\r\nConnection: close\r\n",
            426 => {
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Connection: Upgrade, close\r\n"
            }
            503 => "Retry-After: 5\r\nConnection: close\r\n",
            _ => "Connection: close\r\n",
        };
        for error in errors {
            let response = Response::refusal(error);
            assert_eq!(response.status(), status);
            let (reason, len) = (error.reason(), error.reason().len() + 1);
            let expected = format!(
                "HTTP/1.1 {status} {phrase}\r\n\
                 Content-Type: text/plain; charset=utf-8\r\n\
                 X-Content-Type-Options: nosniff\r\n\
                 {fields}\
                 Content-Length: {len}\r\n\
                 \r\n\
                 {reason}\n"
            );
            assert_eq!(encode(&response), expected);
        }
    }
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "a field is one line")]
fn a_field_of_two_lines_is_our_own_fault() {
    let _ = Response::new(200).field("A", "b\r\nC: d");
}
