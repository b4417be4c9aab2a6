//! Request heads that are no HTTP/1.1, or too much of it: RFC 9112.

use crate::case::{Case, PATH, Step, case, legal, nothing, raw, refused};
use crate::ground::Ground;
use crate::peer::{upgrade, upgrade_with};
use crate::{request_line, smuggling};

pub(crate) const MALFORMED: &str = "malformed request head";
pub(crate) const HOST: &str = "exactly one valid Host field is required";
const BARE_LF: &str = "line feed without carriage return";
const LONG_LINE: &str = "request line too long";
const LARGE: &str = "request head too large";

/// The longest request line and head, and the most fields.
const MAX_REQUEST_LINE: usize = 8 * 1024;
const MAX_HEAD: usize = 16 * 1024;
const MAX_FIELDS: usize = 100;

/// A good request with something else in it.
pub(crate) fn replaced(from: &str, to: &str) -> String {
    let request = upgrade(PATH);
    assert!(request.contains(from), "{from}");
    request.replace(from, to)
}

/// A good request with more fields.
pub(crate) fn with(fields: &str) -> String {
    upgrade_with(PATH, fields)
}

/// A request with a field in the middle of it, byte by byte as given.
fn raw_field(field: &[u8]) -> Vec<Step> {
    let request = upgrade(PATH);
    let (start, end) = request.split_once("Upgrade:").expect("it has one");
    raw([start.as_bytes(), field, b"Upgrade:", end.as_bytes()].concat())
}
fn sizes() -> Vec<Case> {
    let start = format!("GET {PATH} HTTP/1.1\r\nHost: test\r\n");
    let long = "x".repeat(10 << 20);
    let fields = |count: usize| "X: x\r\n".repeat(count);
    let path = |len: usize| format!("/{}", "x".repeat(len - "GET / HTTP/1.1".len()));
    let filling = MAX_HEAD - upgrade(PATH).len() - "X: \r\n".len();
    // Fields of the request itself.
    let own = 5;
    vec![
        case(
            "a field of 10 MB",
            raw(format!("{start}X: {long}\r\n\r\n")),
            refused(431, LARGE),
        ),
        case(
            "a field name of 10 MB",
            raw(format!("{start}{long}: x\r\n\r\n")),
            refused(431, LARGE),
        ),
        case(
            "10,000 fields",
            raw(with(&fields(10_000))),
            refused(431, LARGE),
        ),
        case(
            "a field too many",
            raw(with(&fields(MAX_FIELDS - own + 1))),
            refused(431, LARGE),
        ),
        legal("as many fields as may be", with(&fields(MAX_FIELDS - own))),
        case(
            "a byte too many",
            raw(with(&format!("X: {}\r\n", "x".repeat(filling + 1)))),
            refused(431, LARGE),
        ),
        legal(
            "as many bytes as may be",
            with(&format!("X: {}\r\n", "x".repeat(filling))),
        ),
        case(
            "10,000 empty lines",
            raw("\r\n".repeat(10_000)),
            refused(431, LARGE),
        ),
        legal("an empty line in front", format!("\r\n{}", upgrade(PATH))),
        case(
            "a request line of 10 MB",
            raw(format!("GET /{long} HTTP/1.1\r\n")),
            refused(414, LONG_LINE),
        ),
        case(
            "10 MB without a line end",
            raw(&long),
            refused(414, LONG_LINE),
        ),
        case(
            "a request line that is a byte too long",
            raw(upgrade(&path(MAX_REQUEST_LINE + 1))),
            refused(414, LONG_LINE),
        ),
        case(
            "the longest request line",
            raw(upgrade(&path(MAX_REQUEST_LINE))),
            refused(404, "not found"),
        ),
        legal(
            "a query of 6000 bytes",
            upgrade(&format!("{PATH}?{}", "q".repeat(6000))),
        ),
        case(
            "a query of 9000 bytes",
            raw(upgrade(&format!("{PATH}?{}", "q".repeat(9000)))),
            refused(414, LONG_LINE),
        ),
    ]
}

fn lines() -> Vec<Case> {
    let mut no_end = raw(format!("GET {PATH} HTTP/1.1"));
    no_end.push(Step::HalfClose);
    vec![
        case("no line end, and the end", no_end, nothing()),
        case(
            "bare line feeds",
            raw(replaced("\r\n", "\n")),
            refused(400, BARE_LF),
        ),
        case(
            "a bare line feed behind a field",
            raw(with("X: x\n")),
            refused(400, BARE_LF),
        ),
        case(
            "a bare line feed at the end of the head",
            raw(upgrade(PATH).replace("\r\n\r\n", "\r\n\n")),
            refused(400, BARE_LF),
        ),
        case(
            "a line feed first",
            raw(format!("\n{}", upgrade(PATH))),
            refused(400, BARE_LF),
        ),
        case(
            "bare carriage returns",
            raw(replaced("\r\n", "\r")),
            refused(400, MALFORMED),
        ),
        case(
            "a bare carriage return in a value",
            raw_field(b"X: a\rb\r\n"),
            refused(400, MALFORMED),
        ),
        case(
            "two carriage returns",
            raw_field(b"X: a\r\r\n"),
            refused(400, MALFORMED),
        ),
        case(
            "a folded field",
            raw(with("X: a\r\n b\r\n")),
            refused(400, MALFORMED),
        ),
        case(
            "a field folded by a tab",
            raw(with("X: a\r\n\tb\r\n")),
            refused(400, MALFORMED),
        ),
        case(
            "a fold in front of the first field",
            raw(replaced("Host:", " Host:")),
            refused(400, MALFORMED),
        ),
        case(
            "a NUL in a value",
            raw_field(b"X: a\0b\r\n"),
            refused(400, MALFORMED),
        ),
        case(
            "a NUL in a name",
            raw_field(b"X\0: a\r\n"),
            refused(400, MALFORMED),
        ),
        case(
            "a NUL in the target",
            raw(replaced(PATH, "/ws\0")),
            refused(400, MALFORMED),
        ),
        case(
            "a NUL in the key",
            raw(replaced("==", "=\0=")),
            refused(400, MALFORMED),
        ),
        case(
            "an escape in a value",
            raw_field(b"X: \x1B[2J\r\n"),
            refused(400, MALFORMED),
        ),
        case(
            "a DEL in a value",
            raw_field(b"X: \x7F\r\n"),
            refused(400, MALFORMED),
        ),
        case(
            "a space behind a name",
            raw(replaced("Host:", "Host :")),
            refused(400, MALFORMED),
        ),
        case(
            "a field without a colon",
            raw(with("nonsense\r\n")),
            refused(400, MALFORMED),
        ),
        case(
            "a field without a name",
            raw(with(": x\r\n")),
            refused(400, MALFORMED),
        ),
        case(
            "a name with a slash",
            raw(with("a/b: x\r\n")),
            refused(400, MALFORMED),
        ),
        case(
            "a name beyond ASCII",
            raw_field("é: x\r\n".as_bytes()),
            refused(400, MALFORMED),
        ),
        legal("a value beyond ASCII", upgrade_with(PATH, "X: é\u{9B}\r\n")),
        legal(
            "tabs around a value",
            replaced("Host: test", "Host:\ttest\t"),
        ),
        legal("names in capitals", replaced("Upgrade: ", "UPGRADE: ")),
        legal("an empty value", with("X:\r\n")),
    ]
}

#[test]
fn heads() {
    let mut ground = Ground::start("heads", &[]);
    ground.run(sizes());
    ground.run(lines());
    ground.run(request_line::lines());
    ground.run(request_line::other_protocols());
    ground.run(smuggling::hosts());
    ground.run(smuggling::bodies());
    ground.end();
}
