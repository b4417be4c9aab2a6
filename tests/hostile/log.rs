//! What clients say must not get into the log as it is: neither as lines of its own, nor as
//! commands to the terminal that shows it.

use std::io::Read;

use crate::case::{Case, PATH, Step, case, closed, legal, opened, raw, refused};
use crate::ground::Ground;
use crate::peer::{CLOSE, TEXT, close_payload, frame, upgrade, upgrade_with};
use crate::process::Process;

/// What an attacker would like to read in the log, as a line or in colour.
const FORGED: &str = "INFO  forged";

/// A room whose name is printable nowhere: it would turn what follows it around (U+202E), and hides
/// a line separator, a space without width and a byte order mark.
const STRANGE_ROOM: &str = "/ws/%E2%80%AE%E2%80%A8%E2%80%8B%EF%BB%BF%22%20cause%3Dforged";

fn attacks() -> Vec<Case> {
    let malformed = || refused(400, "malformed request head");
    let bad_room = || {
        refused(
            400,
            "room name is empty, too long or has forbidden characters",
        )
    };
    let field = |field: &str| upgrade_with(PATH, field);
    let said = format!("\x1B[2J\u{9B}31m\n2026-01-01T00:00:00Z {FORGED}");
    let mut strange = raw(upgrade(STRANGE_ROOM));
    strange.extend([
        Step::AwaitHead,
        Step::Send(frame(CLOSE, &close_payload(1000, &said))),
    ]);
    vec![
        case(
            "an escape in the path",
            raw(upgrade("/ws/\x1B[2Jx")),
            malformed(),
        ),
        case(
            "a C1 control in the path",
            raw(upgrade("/ws/\u{9B}2J")),
            refused(400, "request target is not a path"),
        ),
        case(
            "an escaped escape in the path",
            raw(upgrade("/ws/%1B%5B2J")),
            bad_room(),
        ),
        case(
            "an escaped C1 control in the path",
            raw(upgrade("/ws/%C2%9B2J")),
            bad_room(),
        ),
        case(
            "an escaped line in the path",
            raw(upgrade(
                "/ws/a%0D%0A2026-01-01T00:00:00Z%20INFO%20%20forged",
            )),
            bad_room(),
        ),
        case(
            "a path that is not there",
            raw(upgrade("/%1B%5B2J%0Aforged")),
            refused(404, "not found"),
        ),
        case("a room that is not printable", strange, closed(1000)),
        case(
            "an escape in the origin",
            raw(field("Origin: http://\x1B[31mtest\r\n")),
            malformed(),
        ),
        case(
            "a C1 control in the origin",
            raw(field("Origin: http://\u{9B}31mtest\r\n")),
            refused(403, "origin not allowed"),
        ),
        legal(
            "a C1 control in the user agent",
            field("User-Agent: \u{9B}2J\u{85}forged\r\n"),
        ),
        case(
            "an escape in the user agent",
            raw(field("User-Agent: \x1B]0;forged\x07\r\n")),
            malformed(),
        ),
        case(
            "a line in a subprotocol",
            raw(field("Sec-WebSocket-Protocol: a\nforged\r\n")),
            refused(400, "line feed without carriage return"),
        ),
        case(
            "escapes in the method",
            raw("\x1B[2J / HTTP/1.1\r\n\r\n"),
            malformed(),
        ),
        case(
            "escapes in a message",
            opened(vec![Step::Send(
                [
                    frame(TEXT, said.as_bytes()),
                    frame(CLOSE, &close_payload(1000, "")),
                ]
                .concat(),
            )]),
            closed(1000).says(&said),
        ),
        case(
            "escapes in a reason",
            opened(vec![Step::Send(frame(CLOSE, &close_payload(4000, &said)))]),
            closed(4000),
        ),
    ]
}

#[test]
fn log_injection() {
    let before = "export RUST_LOG=trace;";
    let (server, mut stderr, address) = Process::inherit(before, &[]);
    let reader = std::thread::spawn(move || {
        let mut log = Vec::new();
        stderr.read_to_end(&mut log).map(|_| log)
    });
    let mut ground = Ground::around("log injection", server, address);
    ground.run(attacks());
    ground.end();
    let log = reader
        .join()
        .expect("it does not panic")
        .expect("a pipe can be read");
    let log = String::from_utf8(log).expect("the log is text");
    // All of it was noticed, and in words of the server's own.
    assert!(log.matches(" gone id=").count() > attacks().len(), "{log}");
    assert!(
        log.contains(r#"room="\u{202e}\u{2028}\u{200b}\u{feff}\" cause=forged""#),
        "{log}"
    );
    for line in log.lines() {
        let is_printable = line
            .chars()
            .all(|char| !char.is_control() && char.is_ascii());
        assert!(is_printable, "{line:?}");
        let year = line.get(..2);
        assert!(
            year == Some("20") && line.get(10..11) == Some("T"),
            "no stamp: {line:?}"
        );
        assert!(!line.contains(FORGED), "{line}");
    }
}
