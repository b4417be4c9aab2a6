//! Clients who say that they are somebody else, with the right to and without it.

use std::time::Duration;

use crate::case::{Case, End, PATH, Step, case, legal, nothing, raw, refused, visit, visited};
use crate::ground::Ground;
use crate::head::MALFORMED;
use crate::peer::{upgrade, upgrade_with};

/// What belongs to the flags of the test: the deadline in milliseconds, and how late it may be.
const HANDSHAKE: u64 = 2500;
const LATE: u64 = 4000;

/// Whoever is believed to have this address is a spoofer who has succeeded.
const MADE_UP: &str = "203.0.113.66";

const BLOCK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xCB\0\x71\x42\x7F\0\0\x01\0\x01\0\x02";

fn line() -> String {
    format!("PROXY TCP4 {MADE_UP} 127.0.0.1 5 80\r\n")
}

fn spoofers() -> Vec<Case> {
    let field = |field: &str| legal(field.trim_end(), upgrade_with(PATH, field));
    let long = format!("X-Forwarded-For: {}{MADE_UP}\r\n", "10.0.0.1,".repeat(1000));
    vec![
        case(
            "a PROXY header from a stranger",
            raw(line() + &upgrade(PATH)),
            refused(400, MALFORMED),
        ),
        case(
            "a PROXY header in binary from a stranger",
            raw([BLOCK, upgrade(PATH).as_bytes()].concat()),
            refused(400, MALFORMED),
        ),
        case(
            "a PROXY header from a stranger, a byte at a time",
            vec![Step::Bytewise((line() + "\r\n").into_bytes())],
            refused(400, MALFORMED),
        ),
        field(&format!("X-Forwarded-For: {MADE_UP}\r\n")),
        field(&format!("Forwarded: for={MADE_UP}\r\n")),
        field(&format!("Forwarded: for=\"{MADE_UP}:1\", for=10.0.0.1\r\n")),
        field(&format!("X-Real-IP: {MADE_UP}\r\n")),
        legal("a list of a thousand proxies", upgrade_with(PATH, &long)),
        field("Forwarded: for=\"\r\n"),
    ]
}

/// What may come from a trusted peer: its header, or the end.
fn proxies() -> Vec<Case> {
    let dropped = |name: &str, bytes: &[u8]| case(name, raw(bytes), nothing());
    let mut visitor = raw(line() + &upgrade(PATH));
    visitor.extend([Step::AwaitHead, Step::Send(visit())]);
    let mut bytewise = vec![Step::Bytewise([BLOCK, upgrade(PATH).as_bytes()].concat())];
    bytewise.extend([Step::AwaitHead, Step::Send(visit())]);
    let mut long = BLOCK[..14].to_vec();
    long.extend([0x10, 0x01]);
    vec![
        case("a visit behind a PROXY header", visitor, visited()),
        case(
            "a visit behind one in binary, bytewise",
            bytewise,
            visited(),
        ),
        dropped("a request without a PROXY header", upgrade(PATH).as_bytes()),
        dropped("a hello of TLS instead", b"\x16\x03\x01\x02\0"),
        dropped("a line feed alone behind the header", b"PROXY UNKNOWN\n"),
        dropped("an address with a name", b"PROXY TCP4 localhost "),
        dropped("version 3", &[&BLOCK[..12], b"\x31"].concat()),
        dropped(
            "a family that does not exist",
            &[&BLOCK[..13], b"\x41"].concat(),
        ),
        dropped("a block that is too long by a byte", &long),
        case(
            "a line of 10 MB",
            raw(format!("PROXY UNKNOWN {}", "x".repeat(10 << 20))),
            nothing().end(End::Rst),
        ),
        case(
            "two PROXY headers",
            raw(line() + &line() + "\r\n"),
            refused(400, MALFORMED),
        ),
        case(
            "two PROXY headers of different versions",
            raw([line().as_bytes(), BLOCK].concat()),
            refused(400, MALFORMED),
        ),
        case(
            "nonsense behind a PROXY header",
            raw(line() + "nonsense\r\n\r\n"),
            refused(400, MALFORMED),
        ),
    ]
}

fn dawdlers() -> Vec<Case> {
    let second = Duration::from_secs(1);
    let at = || HANDSHAKE..HANDSHAKE + LATE;
    let trickle = |bytes: &[u8], pace| vec![Step::Trickle(bytes.to_vec(), 1, pace)];
    // As long as may be, and never whole.
    let block = [&BLOCK[..14], b"\x10\0", &[7; 4000]].concat();
    let slow_head = [line(), upgrade(PATH)[..40].to_owned()].concat();
    vec![
        case("silence of a proxy", Vec::new(), nothing().between(at())),
        case(
            "a PROXY header of a byte a second",
            trickle(line().as_bytes(), second),
            nothing().between(at()),
        ),
        case(
            "a block of a byte every 5 ms",
            trickle(&block, second / 200),
            nothing().between(at()),
        ),
        case(
            "a PROXY header that lacks its last byte",
            raw(&line()[..line().len() - 1]),
            nothing().between(at()),
        ),
        case(
            "a head that stops behind a PROXY header",
            raw(slow_head),
            refused(408, "request head did not arrive in time").between(at()),
        ),
    ]
}

#[test]
fn strangers_are_not_believed() {
    let flags = ["-v", "--trusted-proxy=10.0.0.0/8", "--proxy-protocol"];
    let mut ground = Ground::start("strangers", &flags);
    ground.run(spoofers());
    ground.attempt("the log never shows what they made up", |ground| {
        let mut lines = ground.server.lines.try_iter();
        lines
            .find(|line| line.contains(MADE_UP))
            .map_or(Ok(()), Err)
    });
    ground.end();
}

/// The control pair comes over IPv4 and is not trusted; those who are come over IPv6.
#[test]
fn proxies_say_whom_they_are_for_or_go() {
    let flags = [
        "--listen=[::1]:0",
        "--trusted-proxy=::1",
        "--proxy-protocol",
        "--handshake-timeout=2500ms",
    ];
    let mut ground = Ground::start("proxies", &flags);
    let for_strangers = std::mem::replace(&mut ground.address, ground.server.address());
    ground.run(proxies());
    ground.run_together(&dawdlers());
    ground.address = for_strangers;
    ground.end();
}
