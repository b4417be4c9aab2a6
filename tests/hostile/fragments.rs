//! Fragments where they do not belong, and more of them than there may be.

use crate::case::{Case, MORE, Step, case, closed, failed, open, opened, raw, unfinished};
use crate::ground::Ground;
use crate::peer::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame, upgrade};

/// The longest message, as it is set by default, and the most fragments that it may have.
const MAX_MESSAGE: usize = 64 * 1024;
const MAX_FRAGMENTS: usize = 1024 + MAX_MESSAGE / 64;

const OF_NOTHING: &str = "continuation of nothing";
const INSIDE: &str = "new message inside a fragmented one";
const TOO_BIG: &str = "message too big";
const TOO_MANY: &str = "too many fragments";

/// A message in fragments of this payload, as many as are asked for.
fn fragments(first: u8, payload: &[u8], count: usize) -> Vec<u8> {
    let mut bytes = frame(unfinished(first), payload);
    bytes.extend(frame(MORE, payload).repeat(count - 2));
    bytes.extend(frame(CONTINUATION, payload));
    bytes
}

fn closing(parts: &[Vec<u8>]) -> Vec<Step> {
    open([parts.concat(), frame(CLOSE, &close_payload(1000, ""))].concat())
}

fn order() -> Vec<Case> {
    let begun = frame(unfinished(TEXT), b"begun ");
    let done = frame(CONTINUATION, b"done");
    vec![
        case(
            "a continuation without a start",
            open(&done),
            failed(1002, OF_NOTHING),
        ),
        case(
            "an unfinished continuation without a start",
            open(frame(MORE, b"")),
            failed(1002, OF_NOTHING),
        ),
        case(
            "a continuation behind a whole message",
            open([frame(TEXT, b"whole"), done.clone()].concat()),
            failed(1002, OF_NOTHING).says("whole"),
        ),
        case(
            "a continuation behind the last one",
            open([begun.clone(), done.clone(), done.clone()].concat()),
            failed(1002, OF_NOTHING).says("begun done"),
        ),
        case(
            "text inside a fragmented text",
            open([begun.clone(), frame(TEXT, b"x")].concat()),
            failed(1002, INSIDE),
        ),
        case(
            "binary inside a fragmented text",
            open([begun.clone(), frame(BINARY, b"x")].concat()),
            failed(1002, INSIDE),
        ),
        case(
            "a second start inside a fragmented binary",
            open(frame(unfinished(BINARY), b"x").repeat(2)),
            failed(1002, INSIDE),
        ),
        case(
            "an unmasked continuation",
            open([begun.clone(), vec![CONTINUATION, 0]].concat()),
            failed(1002, "frame not masked"),
        ),
        case(
            "a ping inside a fragmented message is legal",
            closing(&[begun.clone(), frame(PING, b"?"), done.clone()]),
            closed(1000).heard(PONG, b"?").says("begun done"),
        ),
        case(
            "a close inside a fragmented message is legal",
            closing(std::slice::from_ref(&begun)),
            closed(1000),
        ),
        case(
            "empty fragments are legal",
            closing(&[
                frame(unfinished(TEXT), b""),
                frame(MORE, b""),
                begun_again(),
                done.clone(),
            ]),
            closed(1000).says("again done"),
        ),
        case(
            "nothing but empty fragments is an empty message",
            closing(&[fragments(BINARY, b"", 3)]),
            closed(1000).said(BINARY, b""),
        ),
        case(
            "a reserved opcode inside a fragmented message",
            open([begun.clone(), frame(0x87, b"")].concat()),
            failed(1002, "reserved opcode"),
        ),
        case(
            "an unfinished message and the end",
            opened(vec![Step::Send(begun), Step::HalfClose]),
            crate::case::opens(Vec::new()),
        ),
    ]
}

fn begun_again() -> Vec<u8> {
    frame(MORE, b"again ")
}

fn sizes() -> Vec<Case> {
    let half = vec![7; MAX_MESSAGE / 2];
    let halves = fragments(BINARY, &half, 2);
    let header_of_rest = {
        let len = (u64::MAX >> 1).to_be_bytes();
        [&[CONTINUATION, 0xFF][..], &len, &[1, 2, 3, 4]].concat()
    };
    vec![
        case(
            "the longest message in two fragments is legal",
            closing(&[halves]),
            closed(1000).said(BINARY, [7; MAX_MESSAGE]),
        ),
        case(
            "fragments that are a byte too many together",
            open(
                [
                    frame(unfinished(BINARY), &half),
                    frame(CONTINUATION, &vec![7; half.len() + 1]),
                ]
                .concat(),
            ),
            failed(1009, TOO_BIG),
        ),
        case(
            "the header of the fragment that is too much is enough",
            open(
                [
                    &frame(unfinished(BINARY), &[7; MAX_MESSAGE])[..],
                    &[CONTINUATION, 0x81, 1, 2, 3, 4],
                ]
                .concat(),
            ),
            failed(1009, TOO_BIG),
        ),
        case(
            "a sum that is beyond 64 bits",
            open([frame(unfinished(BINARY), &half), header_of_rest].concat()),
            failed(1009, TOO_BIG),
        ),
        case(
            "a message without an end",
            open(
                [
                    frame(unfinished(BINARY), &[7; 4096]),
                    frame(MORE, &[7; 4096]).repeat(1000),
                ]
                .concat(),
            ),
            failed(1009, TOO_BIG),
        ),
    ]
}

fn counts() -> Vec<Case> {
    let small = [b'x'; MAX_MESSAGE / MAX_FRAGMENTS];
    vec![
        case(
            "100,000 empty fragments",
            open(fragments(TEXT, b"", 100_000)),
            failed(1008, TOO_MANY),
        ),
        case(
            "64 KiB in fragments of a byte",
            open(fragments(TEXT, b"x", MAX_MESSAGE)),
            failed(1008, TOO_MANY),
        ),
        case(
            "a fragment too many",
            open(fragments(TEXT, b"x", MAX_FRAGMENTS + 1)),
            failed(1008, TOO_MANY),
        ),
        case(
            "as many fragments as may be are legal",
            closing(&[fragments(TEXT, &small, MAX_FRAGMENTS)]),
            closed(1000).says(&"x".repeat(MAX_MESSAGE)),
        ),
        case(
            "the count begins anew with each message",
            closing(&[
                fragments(TEXT, b"", MAX_FRAGMENTS),
                fragments(TEXT, b"", MAX_FRAGMENTS),
            ]),
            closed(1000).says("").says(""),
        ),
    ]
}

#[test]
fn fragments_by_default() {
    let mut ground = Ground::start("fragments", &[]);
    for cases in [order(), sizes(), counts()] {
        ground.run(cases);
    }
    ground.end();
}

/// Where messages may be long, they may come in many fragments.
#[test]
fn fragments_of_long_messages() {
    const LONG: usize = 4 << 20;

    let flags = ["--max-message-size=4M", "--max-client-buffer=16M"];
    let mut ground = Ground::start("fragments of long messages", &flags);
    // Whoever is behind it in a room waits for all its bytes; others should not notice.
    let longest = frame(BINARY, &vec![7; LONG]);
    let bye = frame(CLOSE, &close_payload(1000, ""));
    let mut elsewhere = raw(upgrade("/ws/elsewhere"));
    elsewhere.extend([Step::AwaitHead, Step::Send([longest, bye].concat())]);
    ground.run(vec![
        case(
            "64 KiB in fragments of a byte are legal",
            closing(&[fragments(TEXT, b"x", 64 * 1024)]),
            closed(1000).says(&"x".repeat(64 * 1024)),
        ),
        case(
            "100,000 empty fragments",
            open(fragments(BINARY, b"", 100_000)),
            failed(1008, TOO_MANY),
        ),
        case(
            "the longest message, in another room, is legal",
            elsewhere,
            closed(1000).heard(BINARY, vec![7; LONG]),
        ),
        case(
            "a byte too many",
            open(frame(BINARY, &vec![7; LONG + 1])),
            failed(1009, TOO_BIG),
        ),
        case(
            "a byte too many in fragments",
            open(
                [
                    frame(unfinished(BINARY), &vec![7; LONG]),
                    frame(CONTINUATION, b"7"),
                ]
                .concat(),
            ),
            failed(1009, TOO_BIG),
        ),
    ]);
    ground.end();
}
