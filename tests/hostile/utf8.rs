//! Text that is no UTF-8 (RFC 6455, section 8.1): it fails at its first wrong byte, and not before.

use crate::case::{Case, Expected, MORE, Step, case, closed, failed, open, opened, unfinished};
use crate::client::Client;
use crate::ground::Ground;
use crate::peer::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame};

const INVALID: &str = "invalid UTF-8";

fn invalid() -> Expected {
    failed(1007, INVALID)
}

fn closing(parts: &[Vec<u8>]) -> Vec<Step> {
    open([parts.concat(), frame(CLOSE, &close_payload(1000, ""))].concat())
}

/// What no decoder may take, in whole frames.
fn whole() -> Vec<Case> {
    let texts: [(&str, &[u8]); 21] = [
        ("an overlong NUL", b"\xC0\x80"),
        ("an overlong slash of two bytes", b"..\xC0\xAF"),
        ("an overlong slash of three bytes", b"\xE0\x80\xAF"),
        ("an overlong slash of four bytes", b"\xF0\x80\x80\xAF"),
        ("the longest overlong of two bytes", b"\xC1\xBF"),
        ("the longest overlong of three bytes", b"\xE0\x9F\xBF"),
        ("the longest overlong of four bytes", b"\xF0\x8F\xBF\xBF"),
        ("the first surrogate", b"\xED\xA0\x80"),
        ("the last surrogate", b"\xED\xBF\xBF"),
        ("a pair of surrogates", b"\xED\xA0\xBD\xED\xB8\x80"),
        ("the first above U+10FFFF", b"\xF4\x90\x80\x80"),
        ("a first byte of 0xF5", b"\xF5\x80\x80\x80"),
        ("a form of five bytes", b"\xF8\x88\x80\x80\x80"),
        ("a form of six bytes", b"\xFC\x84\x80\x80\x80\x80"),
        ("a byte of 0xFE", b"\xFE"),
        ("a byte of 0xFF", b"\xFF"),
        ("a continuation byte alone", b"\x80"),
        ("a continuation byte too many", b"\xC3\xA9\xA9"),
        ("a first byte behind a first byte", b"\xC3\xC3\xA9"),
        ("a character that ends early", b"\xE2\x82"),
        ("Latin-1", b"caf\xE9"),
    ];
    texts
        .iter()
        .map(|(name, bytes)| case(*name, open(frame(TEXT, bytes)), invalid()))
        .collect()
}

fn legal() -> Vec<Case> {
    let texts = [
        ("a NUL is legal", "\0"),
        ("a byte order mark is legal", "\u{FEFF}x"),
        (
            "non-characters are legal",
            "\u{FFFE}\u{FFFF}\u{1FFFE}\u{10FFFF}",
        ),
        (
            "the borders of the forms are legal",
            "\u{7F}\u{80}\u{7FF}\u{800}\u{FFFF}\u{10000}",
        ),
        ("the neighbours of surrogates are legal", "\u{D7FF}\u{E000}"),
        ("terminal escapes are legal", "\x1B[31m\u{9B}2J\r\n"),
    ];
    let mut cases: Vec<Case> = texts
        .iter()
        .map(|(name, text)| {
            let steps = closing(&[frame(TEXT, text.as_bytes())]);
            case(*name, steps, closed(1000).says(text))
        })
        .collect();
    // Bytes that are no text are nobody's business.
    cases.push(case(
        "binary may hold anything",
        closing(&[frame(BINARY, b"\xFF\xC0\x80")]),
        closed(1000).said(BINARY, b"\xFF\xC0\x80"),
    ));
    for (index, text) in ["é", "€", "😀"].iter().enumerate() {
        let (bytes, len) = (text.as_bytes(), index + 2);
        for cut in 1..len {
            let parts = [
                frame(unfinished(TEXT), &bytes[..cut]),
                frame(PING, b""),
                frame(CONTINUATION, &bytes[cut..]),
            ];
            cases.push(case(
                format!("{len} bytes cut behind byte {cut} are legal"),
                closing(&parts),
                closed(1000).heard(PONG, b"").says(text),
            ));
        }
        let mut bytewise = vec![frame(unfinished(TEXT), b"")];
        bytewise.extend(bytes.iter().map(|byte| frame(MORE, &[*byte])));
        bytewise.push(frame(CONTINUATION, b""));
        cases.push(case(
            format!("{len} bytes in a fragment each are legal"),
            closing(&bytewise),
            closed(1000).says(text),
        ));
    }
    cases
}

/// Nothing more is sent behind the first wrong byte, and still the server closes.
fn fail_fast() -> Vec<Case> {
    let cut = |payload: &[u8]| {
        // The frame announces more than is sent.
        let mut whole = frame(TEXT, &[payload, &[b'x'; 100]].concat());
        whole.truncate(whole.len() - 100);
        whole
    };
    vec![
        case(
            "the first wrong byte of a frame that goes on",
            open(cut(b"good \xFF")),
            invalid(),
        ),
        case(
            "an overlong at its first byte",
            open(cut(b"good \xC0")),
            invalid(),
        ),
        case(
            "an overlong of three bytes at its second",
            open(cut(b"\xE0\x80")),
            invalid(),
        ),
        case(
            "a surrogate at its second byte",
            open(cut(b"\xED\xA0")),
            invalid(),
        ),
        case(
            "above U+10FFFF at its second byte",
            open(cut(b"\xF4\x90")),
            invalid(),
        ),
        case(
            "a wrong byte in a fragment that more follow",
            open(frame(unfinished(TEXT), b"good \xF5")),
            invalid(),
        ),
        case(
            "a wrong byte in a later fragment",
            open(
                [
                    frame(unfinished(TEXT), b"good "),
                    frame(MORE, b"good "),
                    frame(MORE, b"\xFF"),
                ]
                .concat(),
            ),
            invalid(),
        ),
        case(
            "a character that the next fragment does not go on with",
            open([frame(unfinished(TEXT), b"\xE2\x82"), frame(MORE, b"x")].concat()),
            invalid(),
        ),
        case(
            "a character that the last fragment leaves unfinished",
            open(
                [
                    frame(unfinished(TEXT), b"ok"),
                    frame(CONTINUATION, b"\xE2\x82"),
                ]
                .concat(),
            ),
            invalid(),
        ),
        case(
            "a wrong byte behind messages",
            open([frame(TEXT, b"one"), frame(TEXT, b"two"), cut(b"\xFF")].concat()),
            invalid().says("one").says("two"),
        ),
        case(
            "a wrong byte, byte by byte",
            opened(vec![Step::Bytewise(cut(
                b"\xE2\x82\xAC and then \xF4\x8F\xBF\xFF",
            ))]),
            invalid(),
        ),
    ]
}

/// A wrong byte at each place of a text, however long: the frame ends with it, and goes on.
fn every_place(ground: &Ground) -> Result<(), String> {
    for place in 0..130 {
        let text = [&vec![b'x'; place][..], b"\xFF"].concat();
        let mut bytes = frame(TEXT, &[&text[..], &[b'x'; 200]].concat());
        bytes.truncate(bytes.len() - 200);
        let mut client = Client::connect(ground.address);
        let seen = client.run(&open(bytes), &ground.pair)?;
        if seen != invalid().outcome {
            return Err(format!("at {place}: {seen}"));
        }
    }
    Ok(())
}

#[test]
fn utf_8() {
    let mut ground = Ground::start("UTF-8", &[]);
    for cases in [whole(), legal(), fail_fast()] {
        ground.run(cases);
    }
    ground.attempt("a wrong byte at each place", every_place);
    ground.end();
}
