//! Paths that pretend to be others, and names of rooms that are none.

use crate::case::{Case, Expected, Step, case, closed, legal, raw, refused, visit};
use crate::ground::Ground;
use crate::peer::{TEXT, upgrade};

const BAD_ROOM: &str = "room name is empty, too long or has forbidden characters";
const MALFORMED: &str = "malformed request head";

fn get(target: &str, expected: Expected) -> Case {
    case(format!("GET {target:.60}"), raw(upgrade(target)), expected)
}

/// A room where the pair is not: what is said there is heard there alone.
fn elsewhere(target: &str) -> Case {
    let mut steps = raw(upgrade(target));
    steps.extend([Step::AwaitHead, Step::Send(visit())]);
    let expected = closed(1000).heard(TEXT, "hello");
    case(format!("GET {target:.60} is another room"), steps, expected)
}

#[test]
fn paths_and_rooms() {
    let mut ground = Ground::start("rooms", &[]);
    let long = "x".repeat(129);
    let long_encoded = "%C3%A9".repeat(65);
    let bad = [
        "",
        "%",
        "%4",
        "%ZZ",
        "%%",
        "a%2",
        "%+1",
        "%u0041",
        "%00",
        "a%00b",
        "%0A",
        "%0d%0aX:x",
        "%1B[2J",
        "%7F",
        "%C2%9B2J",
        "%C0%AF",
        "%E0%80%AF",
        "%ED%A0%80",
        "%F4%90%80%80",
        "%FF",
        "%C3",
        &long,
        &long_encoded,
    ];
    ground.run(
        bad.iter()
            .map(|name| get(&format!("/ws/{name}"), refused(400, BAD_ROOM)))
            .collect(),
    );
    ground.run(
        [
            "/ws/..",
            "/ws/../pair",
            "/ws/%2e%2e/pair",
            "/ws/./pair",
            "/ws/pair/",
            "/ws//pair",
            "/ws/%2Fpair",
            "/ws/pair%20",
            "/ws/PAIR",
            "/ws/%70air%2F",
            "/ws/pair;x",
            "/ws/pair%3Fx",
            "/ws/pair%23x",
            "/ws/pair+",
            "/ws/p%C3%A4ir",
            "/ws/%252570air",
            "/ws/<script>",
            "/ws",
            "/ws?/pair",
            "/ws/%E2%80%AEriap",
            "/ws/p\\air",
        ]
        .into_iter()
        .map(elsewhere)
        .collect(),
    );
    ground.run(vec![
        legal("an escaped letter is the letter", upgrade("/ws/%70air")),
        legal(
            "all letters escaped, in both cases",
            upgrade("/ws/%70%61%69%72"),
        ),
        legal(
            "a query is not of the name",
            upgrade("/ws/pair?room=other&x=%00"),
        ),
        legal(
            "a query may hold anything",
            upgrade("/ws/pair??/../%ZZ{}|\\^`\"<script>"),
        ),
    ]);
    ground.run(
        [
            "/wsx",
            "/WS",
            "/ws%2Fpair",
            "/%77s/pair",
            "//ws/pair",
            "/./ws/pair",
            "/../ws/pair",
            "/x/../ws/pair",
            "/ws;x",
            "/ws%00",
            "/ws.",
            "/etc/passwd",
            "/..%2f..%2fetc/passwd",
            "/<script>alert(1)</script>",
            "/healthz/",
            "/favicon.ico",
            "/.git/config",
        ]
        .into_iter()
        .map(|path| get(path, refused(404, "not found")))
        .collect(),
    );
    ground.run(vec![
        get("/ws/pa ir", refused(400, MALFORMED)),
        get("/ws/\u{1B}[2J", refused(400, MALFORMED)),
        get("/ws/pä", refused(400, "request target is not a path")),
        get(
            "/ws/pair#other",
            refused(400, "request target is not a path"),
        ),
        get("ws/pair", refused(400, "request target is not a path")),
        get("?x", refused(400, "request target is not a path")),
    ]);
    ground.end();
}
