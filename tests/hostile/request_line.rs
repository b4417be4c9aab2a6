//! Request lines that are none, or none of ours: RFC 9112, section 3; and what other protocols
//! begin with.

use crate::case::{Case, PATH, case, legal, raw, refused, refused_without_body, visit};
use crate::head::{HOST, MALFORMED, replaced};

const TARGET: &str = "request target is not a path";
const VERSION: &str = "only HTTP/1.1 is supported";

pub(crate) fn lines() -> Vec<Case> {
    let line = |line: &str| raw(replaced(&format!("GET {PATH} HTTP/1.1"), line));
    let get = "only GET is allowed";
    let methods = [
        "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get", "QWERTY",
    ];
    let mut cases: Vec<Case> = methods
        .iter()
        .map(|method| {
            let steps = line(&format!("{method} {PATH} HTTP/1.1"));
            case(format!("the method {method}"), steps, refused(405, get))
        })
        .collect();
    cases.extend([
        case(
            "the method HEAD",
            line(&format!("HEAD {PATH} HTTP/1.1")),
            refused_without_body(405, get),
        ),
        case(
            "HTTP/1.0",
            line(&format!("GET {PATH} HTTP/1.0")),
            refused(505, VERSION),
        ),
        case(
            "HTTP/1.2",
            line(&format!("GET {PATH} HTTP/1.2")),
            refused(505, VERSION),
        ),
        case(
            "HTTP/2.0",
            line(&format!("GET {PATH} HTTP/2.0")),
            refused(505, VERSION),
        ),
        case(
            "HTTP/0.9",
            raw(format!("GET {PATH}\r\n\r\n")),
            refused(400, MALFORMED),
        ),
        case(
            "the preface of HTTP/2",
            raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            refused(505, VERSION),
        ),
        case(
            "a version in lower case",
            line(&format!("GET {PATH} http/1.1")),
            refused(400, MALFORMED),
        ),
        case(
            "a version of many digits",
            line(&format!("GET {PATH} HTTP/1.11")),
            refused(400, MALFORMED),
        ),
        case(
            "another protocol's version",
            line(&format!("GET {PATH} RTSP/1.0")),
            refused(400, MALFORMED),
        ),
        case(
            "no version",
            line(&format!("GET {PATH} ")),
            refused(400, MALFORMED),
        ),
        case(
            "two spaces",
            line(&format!("GET  {PATH} HTTP/1.1")),
            refused(400, MALFORMED),
        ),
        case(
            "a tab for a space",
            line(&format!("GET\t{PATH} HTTP/1.1")),
            refused(400, MALFORMED),
        ),
        case(
            "a space in the target",
            line("GET /ws/a b HTTP/1.1"),
            refused(400, MALFORMED),
        ),
        case(
            "a space in front",
            line(&format!(" GET {PATH} HTTP/1.1")),
            refused(400, MALFORMED),
        ),
        case(
            "a space behind",
            line(&format!("GET {PATH} HTTP/1.1 ")),
            refused(400, MALFORMED),
        ),
        case("no target", line("GET HTTP/1.1"), refused(400, MALFORMED)),
        case("an asterisk", line("GET * HTTP/1.1"), refused(400, TARGET)),
        case(
            "an asterisk with OPTIONS",
            line("OPTIONS * HTTP/1.1"),
            refused(400, TARGET),
        ),
        case(
            "an authority with CONNECT",
            line("CONNECT test:80 HTTP/1.1"),
            refused(400, TARGET),
        ),
        case(
            "an authority with GET",
            line("GET test:80 HTTP/1.1"),
            refused(400, TARGET),
        ),
        case(
            "another scheme",
            line("GET ftp://test/ws/pair HTTP/1.1"),
            refused(400, TARGET),
        ),
        case(
            "a file",
            line("GET file:///ws/pair HTTP/1.1"),
            refused(400, TARGET),
        ),
        case(
            "a fragment",
            line(&format!("GET {PATH}#x HTTP/1.1")),
            refused(400, TARGET),
        ),
        case(
            "user information in the target",
            line("GET http://a@test/ws/pair HTTP/1.1"),
            refused(400, HOST),
        ),
        case(
            "no authority in an absolute target",
            line("GET http:///ws/pair HTTP/1.1"),
            refused(400, HOST),
        ),
        legal(
            "an absolute target",
            replaced(PATH, &format!("http://test{PATH}")),
        ),
        legal(
            "an absolute target of ws:",
            replaced(PATH, &format!("WS://test:80{PATH}")),
        ),
        legal(
            "an absolute target of another host",
            replaced(PATH, &format!("http://other{PATH}")),
        ),
    ]);
    cases
}

/// The beginning of a client hello of TLS.
const TLS_HELLO: &[u8] = b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03";

pub(crate) fn other_protocols() -> Vec<Case> {
    vec![
        case("a hello of TLS", raw(TLS_HELLO), refused(400, MALFORMED)),
        case(
            "the PROXY protocol",
            raw("PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n\r\n"),
            refused(400, MALFORMED),
        ),
        case(
            "the PROXY protocol in binary",
            raw(b"\r\n\r\n\0\r\nQUIT\n\x21\x11"),
            refused(400, MALFORMED),
        ),
        case(
            "SSH",
            raw("SSH-2.0-OpenSSH_9.2\r\n\r\n"),
            refused(400, MALFORMED),
        ),
        case("SMTP", raw("EHLO test\r\n\r\n"), refused(400, MALFORMED)),
        case(
            "Redis",
            raw("*1\r\n$4\r\nPING\r\n\r\n"),
            refused(400, MALFORMED),
        ),
        case(
            "a frame of WebSocket first",
            raw(visit()),
            refused(400, MALFORMED),
        ),
    ]
}
