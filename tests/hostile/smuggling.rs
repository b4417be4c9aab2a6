//! Requests that two readers would read differently: RFC 9112, sections 3.2, 6 and 11.2.

use crate::case::{Case, PATH, case, failed, legal, raw, refused};
use crate::head::{HOST, MALFORMED, replaced, with};
use crate::peer::upgrade;

const BODY: &str = "request with a body";

pub(crate) fn hosts() -> Vec<Case> {
    let host = |value: &str| raw(replaced("Host: test", &format!("Host: {value}")));
    vec![
        case(
            "no Host",
            raw(replaced("Host: test\r\n", "")),
            refused(400, HOST),
        ),
        case(
            "the same Host twice",
            raw(with("Host: test\r\n")),
            refused(400, HOST),
        ),
        case(
            "two Hosts",
            raw(with("Host: evil.test\r\n")),
            refused(400, HOST),
        ),
        case(
            "two Hosts, one of them in capitals",
            raw(with("HOST: evil.test\r\n")),
            refused(400, HOST),
        ),
        case("an empty Host", host(""), refused(400, HOST)),
        case(
            "two names in a Host",
            host("test evil.test"),
            refused(400, HOST),
        ),
        case(
            "a list in a Host",
            host("test, evil.test"),
            refused(400, HOST),
        ),
        case("a path in a Host", host("test/ws"), refused(400, HOST)),
        case(
            "user information in a Host",
            host("evil@test"),
            refused(400, HOST),
        ),
        case("a Host beyond ASCII", host("tést"), refused(400, HOST)),
        case(
            "a Host with a port that is none",
            host("test:8o"),
            refused(400, HOST),
        ),
        case(
            "a Host with two ports",
            host("test:80:80"),
            refused(400, HOST),
        ),
        case(
            "a Host in brackets that is no address",
            host("[test]"),
            refused(400, HOST),
        ),
        legal(
            "a Host with a port",
            replaced("Host: test", "Host: test:8080"),
        ),
        legal("a Host of IPv6", replaced("Host: test", "Host: [::1]:8080")),
    ]
}

/// What would let a request hide in another: RFC 9112, section 11.2.
pub(crate) fn bodies() -> Vec<Case> {
    let length = |fields: &str| raw(with(fields));
    let second = format!("{0}{0}", upgrade(PATH));
    let behind = |first: String| raw(first + &upgrade(PATH));
    vec![
        case(
            "a body",
            length("Content-Length: 5\r\n"),
            refused(400, BODY),
        ),
        legal("a body of nothing", with("Content-Length: 0\r\n")),
        case(
            "a negative length",
            length("Content-Length: -1\r\n"),
            refused(400, BODY),
        ),
        case(
            "a length with a sign",
            length("Content-Length: +0\r\n"),
            refused(400, BODY),
        ),
        case(
            "a length in hexadecimal",
            length("Content-Length: 0x0\r\n"),
            refused(400, BODY),
        ),
        case(
            "an empty length",
            length("Content-Length:\r\n"),
            refused(400, BODY),
        ),
        case(
            "a list of lengths",
            length("Content-Length: 0, 0\r\n"),
            refused(400, BODY),
        ),
        case(
            "two lengths",
            length("Content-Length: 0\r\nContent-Length: 5\r\n"),
            refused(400, BODY),
        ),
        case(
            "a length that is too long",
            length("Content-Length: 18446744073709551616\r\n"),
            refused(400, BODY),
        ),
        case(
            "a body in chunks",
            length("Transfer-Encoding: chunked\r\n"),
            refused(400, BODY),
        ),
        case(
            "a body as it is",
            length("Transfer-Encoding: identity\r\n"),
            refused(400, BODY),
        ),
        case(
            "a coding that nobody knows",
            length("Transfer-Encoding: xchunked\r\n"),
            refused(400, BODY),
        ),
        case(
            "a length and chunks",
            length("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
            refused(400, BODY),
        ),
        case(
            "chunks behind a space",
            length("Transfer-Encoding : chunked\r\n"),
            refused(400, MALFORMED),
        ),
        legal("an expectation", with("Expect: 100-continue\r\n")),
        // Its letters are a frame's first byte: FIN is not set, RSV1 is.
        case(
            "a second upgrade behind the first",
            raw(second),
            failed(1002, "reserved bits set"),
        ),
        case(
            "a second request behind a page's",
            behind("POST /healthz HTTP/1.1\r\nHost: test\r\n\r\n".to_owned()),
            refused(405, "only GET is allowed"),
        ),
        case(
            "a request behind a malformed one",
            behind("nonsense\r\n\r\n".to_owned()),
            refused(400, MALFORMED),
        ),
        case(
            "a request in a body",
            behind(with("Content-Length: 200\r\n")),
            refused(400, BODY),
        ),
        legal(
            "addresses that a proxy would add",
            with("X-Forwarded-For: 127.0.0.1\r\nForwarded: for=localhost\r\n"),
        ),
    ]
}
