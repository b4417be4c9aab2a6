//! Closing handshakes gone wrong: RFC 6455, sections 5.5.1 and 7.

use crate::case::{Case, Step, case, closed, failed, open, opened, opens, unfinished};
use crate::client::Client;
use crate::ground::Ground;
use crate::peer::{CLOSE, PING, TEXT, close_payload, frame, upgrade};

const BAD_CODE: &str = "status code that must not be sent";

fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(CLOSE, &close_payload(code, reason))
}

fn codes() -> Vec<Case> {
    let mut cases = Vec::new();
    let forbidden = [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 65535,
    ];
    for code in forbidden {
        let name = format!("a close with {code}");
        cases.push(case(name, open(close(code, "")), failed(1002, BAD_CODE)));
    }
    let allowed = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ];
    for code in allowed {
        let name = format!("a close with {code} is legal");
        cases.push(case(name, open(close(code, "why")), closed(code)));
    }
    cases
}

fn payloads() -> Vec<Case> {
    let reason = |bytes: &[u8]| frame(CLOSE, &[&close_payload(1000, ""), bytes].concat());
    let bad_text = "invalid UTF-8";
    vec![
        case(
            "a close without a code is legal",
            open(frame(CLOSE, b"")),
            closed(1000),
        ),
        case(
            "a close of one byte",
            open(frame(CLOSE, &[3])),
            failed(1002, "close payload of one byte"),
        ),
        case(
            "a reason of 123 bytes is legal",
            open(close(1000, &"x".repeat(123))),
            closed(1000),
        ),
        case(
            "a reason of 124 bytes",
            open(close(1000, &"x".repeat(124))),
            failed(1002, "control frame over 125 bytes"),
        ),
        case(
            "a reason that is no UTF-8",
            open(reason(b"bye\xFF")),
            failed(1007, bad_text),
        ),
        case(
            "a reason that ends within a character",
            open(reason(b"bye\xE2\x82")),
            failed(1007, bad_text),
        ),
        case(
            "a reason with a surrogate",
            open(reason(b"\xED\xA0\x80")),
            failed(1007, bad_text),
        ),
        case(
            "a reason with an overlong slash",
            open(reason(b"\xC0\xAF")),
            failed(1007, bad_text),
        ),
        case(
            "a forbidden code with a reason that is no UTF-8",
            open(frame(CLOSE, b"\x03\xED\xFF")),
            failed(1002, BAD_CODE),
        ),
        case(
            "a reason of control characters is legal",
            open(reason(b"\0\x1B[2J\n")),
            closed(1000),
        ),
        case(
            "a close that is fragmented",
            open(frame(unfinished(CLOSE), &close_payload(1000, ""))),
            failed(1002, "fragmented control frame"),
        ),
    ]
}

fn order() -> Vec<Case> {
    let bye = close(1000, "");
    vec![
        case(
            "a message behind the close",
            open([bye.clone(), frame(TEXT, b"late")].concat()),
            closed(1000),
        ),
        case(
            "a message behind the close's answer",
            opened(vec![
                Step::Send(bye.clone()),
                Step::AwaitFrames(1),
                Step::Send(frame(TEXT, b"late")),
            ]),
            closed(1000),
        ),
        case(
            "a ping behind the close",
            open([bye.clone(), frame(PING, b"late")].concat()),
            closed(1000),
        ),
        case(
            "two closes",
            open([bye.clone(), close(1001, "")].concat()),
            closed(1000),
        ),
        case(
            "a broken frame behind the close",
            open([&bye[..], &[0xFF; 100]].concat()),
            closed(1000),
        ),
        case(
            "a MiB behind the close",
            open([bye.clone(), vec![0xFF; 1 << 20]].concat()),
            closed(1000),
        ),
        case(
            "a close behind an error",
            open([frame(0x83, b""), bye.clone()].concat()),
            failed(1002, "reserved opcode"),
        ),
        case(
            "a message in front of the close is heard",
            open([frame(TEXT, b"last"), bye.clone()].concat()),
            closed(1000).says("last"),
        ),
        case(
            "a close and the end",
            opened(vec![Step::Send(bye.clone()), Step::HalfClose]),
            closed(1000),
        ),
        case(
            "half a close and the end",
            opened(vec![Step::Send(bye[..7].to_vec()), Step::HalfClose]),
            opens(Vec::new()),
        ),
        case(
            "a close byte by byte is legal",
            opened(vec![Step::Bytewise(bye)]),
            closed(1000),
        ),
    ]
}

/// Every code that RFC 6455, section 7.4.2 reserves, one connection each.
fn sweep(ground: &Ground) -> Result<(), String> {
    for code in 1016..3000 {
        let mut client = Client::connect(ground.address);
        let request = upgrade(crate::case::PATH).into_bytes();
        let steps = [Step::Send([request, close(code, "")].concat())];
        let seen = client.run(&steps, &ground.pair)?;
        let expected = failed(1002, BAD_CODE).outcome;
        if seen != expected {
            return Err(format!("{code}: {seen}"));
        }
    }
    let [overheard, _] = ground.pair.look()?;
    overheard
        .is_empty()
        .then_some(())
        .ok_or("the room has heard something".to_owned())
}

#[test]
fn closes() {
    let mut ground = Ground::start("close", &[]);
    for cases in [codes(), payloads(), order()] {
        ground.run(cases);
    }
    ground.attempt("closes with every code from 1016 to 2999", sweep);
    ground.end();
}
