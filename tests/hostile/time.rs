//! Clients that take their time. Deadlines are short here, and may be missed by what a busy machine
//! needs, but never come early.

use std::time::Duration;

use crate::case::{
    Case, End, PATH, Step, case, closed, failed, nothing, open, opened, opens, raw, refused,
    unfinished,
};
use crate::ground::Ground;
use crate::peer::{CLOSE, PING, PONG, TEXT, close_payload, frame, upgrade};

const SLOW: &str = "request head did not arrive in time";

const SECOND: Duration = Duration::from_secs(1);

/// What belongs to the flags of the test: the deadlines in milliseconds, and how late they may be.
const HANDSHAKE: u64 = 2500;
const SILENCE: u64 = 2000;
const LATE: u64 = 4000;

fn handshakes() -> Vec<Case> {
    let request = upgrade(PATH);
    let at = HANDSHAKE..HANDSHAKE + LATE;
    let trickle = |bytes: &[u8], pace| vec![Step::Trickle(bytes.to_vec(), 1, pace)];
    let slow = |name: &str, steps| case(name, steps, refused(408, SLOW).between(at.clone()));
    vec![
        case(
            "silence from the beginning",
            Vec::new(),
            nothing().between(at.clone()),
        ),
        slow(
            "a head of a byte a second",
            trickle(request.as_bytes(), SECOND),
        ),
        slow(
            "a head of a byte every 20 ms",
            trickle(&b"x".repeat(2000), SECOND / 50),
        ),
        slow("a field every 100 ms", fields()),
        slow(
            "an empty line's byte a second",
            trickle(&b"\r\n".repeat(100), SECOND),
        ),
        slow("a head that stops", raw(&request[..40])),
        slow(
            "a head that lacks its last byte",
            raw(&request[..request.len() - 1]),
        ),
        slow("the request of HTTP/0.9", raw("GET /ws/pair\r\n")),
    ]
}

/// Slowloris: lines that are whole, and never the last.
fn fields() -> Vec<Step> {
    let field = b"X-a: b\r\n";
    let mut steps = raw("GET /ws/pair HTTP/1.1\r\nHost: test\r\n");
    steps.push(Step::Trickle(field.repeat(80), field.len(), SECOND / 10));
    steps
}

fn silences() -> Vec<Case> {
    // The first Ping comes after half the interval at the earliest, and the wait for a Pong is
    // behind it.
    let at = SILENCE..2 * SILENCE + LATE;
    let gone = || {
        opens(Vec::new())
            .heard(PING, "")
            .end(End::Rst)
            .between(at.clone())
    };
    let long = frame(TEXT, &[b'x'; 1000]);
    let trickled = |before: &[u8], after: &[u8]| {
        opened(vec![
            Step::Send(before.to_vec()),
            Step::Trickle(after.to_vec(), 1, SECOND / 2),
        ])
    };
    let pongs = frame(PONG, b"");
    vec![
        case("no answer to a ping", opened(Vec::new()), gone()),
        case("half a frame's header, then silence", open([0x81]), gone()),
        case("half a frame, then silence", open(&long[..50]), gone()),
        case(
            "all but the last byte, then silence",
            open(&long[..long.len() - 1]),
            gone(),
        ),
        case(
            "a fragmented message that is never finished",
            open(frame(unfinished(TEXT), b"and")),
            gone(),
        ),
        case(
            "a byte now and then within a frame",
            trickled(&long[..8], &long[8..40]),
            gone(),
        ),
        case(
            "a byte now and then within a ping",
            trickled(&[], &frame(PING, &[b'x'; 100])[..60]),
            gone(),
        ),
        case(
            "an unasked pong now and then keeps a connection",
            opened(vec![
                Step::Trickle(pongs.repeat(8), pongs.len(), SECOND / 2),
                Step::Send(frame(CLOSE, &close_payload(1000, ""))),
            ]),
            closed(1000).between(4000..4000 + LATE),
        ),
    ]
}

/// Who does not end the connection when both have said Close, or when it was refused.
fn overstays() -> Vec<Case> {
    let stay = |mut steps: Vec<Step>| {
        steps.push(Step::Overstay);
        steps
    };
    let at = || 1000..1000 + LATE;
    vec![
        case(
            "who stays behind the closing handshake",
            stay(open(frame(CLOSE, b""))),
            closed(1000).end(End::FinThenRst).between(at()),
        ),
        case(
            "who stays behind a failure",
            stay(open(frame(0x83, b""))),
            failed(1002, "reserved opcode")
                .end(End::FinThenRst)
                .between(at()),
        ),
        case(
            "who stays behind a refusal",
            stay(raw("nonsense\r\n\r\n")),
            refused(400, "malformed request head")
                .end(End::FinThenRst)
                .between(at()),
        ),
    ]
}

#[test]
fn times() {
    let flags = [
        "--handshake-timeout=2500ms",
        "--ping-interval=2s",
        "--pong-timeout=1s",
        "--close-timeout=1s",
    ];
    let mut ground = Ground::start("time", &flags);
    let cases = [handshakes(), silences(), overstays()];
    ground.run_together(&cases.into_iter().flatten().collect::<Vec<_>>());
    ground.end();
}

/// Clients who do not help the server to stop: it stops all the same.
#[test]
fn stops() {
    let request = upgrade(PATH);
    let half_a_frame = frame(TEXT, b"never said");
    let told = || failed(1001, "");
    let flags = ["--close-timeout=1s", "--shutdown-timeout=20s"];
    Ground::start("stop", &flags).end_among(vec![
        case("a stop, and silence", Vec::new(), nothing()),
        case(
            "a stop within a head",
            raw(&request[..40]),
            refused(503, "the server is stopping"),
        ),
        case("a stop that is not answered", opened(Vec::new()), told()),
        case("a stop within a frame", open(&half_a_frame[..9]), told()),
        case(
            "a stop within a fragmented message",
            open(frame(unfinished(TEXT), b"never said")),
            told(),
        ),
        case(
            "a stop behind a failure",
            open(frame(0x83, b"")),
            failed(1002, "reserved opcode"),
        ),
        case(
            "a stop behind a refusal",
            raw("nonsense\r\n\r\n"),
            refused(400, "malformed request head"),
        ),
    ]);
}
