//! The fields of the opening handshake: RFC 6455, section 4.2.1.

use crate::case::{Case, Step, case, legal, raw, refused, visit, visited};
use crate::ground::Ground;
use crate::head::{replaced, with};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const BAD_KEY: &str = "Sec-WebSocket-Key is not one field of 16 bytes in base64";
const WANTED: &str = "this path speaks WebSocket";
const BAD_VERSION: &str = "only version 13 of WebSocket is supported";
const TWO_VERSIONS: &str = "repeated Sec-WebSocket-Version field";

fn lists() -> Vec<Case> {
    let connection = |value: &str| replaced("Connection: Upgrade", value);
    let upgrade = |value: &str| replaced("Upgrade: websocket", value);
    vec![
        legal(
            "Connection in lower case",
            connection("connection: upgrade"),
        ),
        legal(
            "Connection is a list",
            connection("Connection: keep-alive, Upgrade"),
        ),
        legal(
            "Connection is a list with nothing in it",
            connection("Connection: ,, ,Upgrade,"),
        ),
        legal("Connection twice", with("Connection: keep-alive\r\n")),
        legal("Upgrade in other cases", upgrade("upgrade: WebSocket")),
        legal("Upgrade is a list", upgrade("Upgrade: h2c, websocket")),
        legal("Upgrade twice", with("Upgrade: websocket\r\n")),
        legal("Upgrade twice, the other is h2c", with("Upgrade: h2c\r\n")),
        case("no Upgrade", raw(upgrade("X: x")), refused(426, WANTED)),
        case(
            "Upgrade to h2c",
            raw(upgrade("Upgrade: h2c")),
            refused(426, WANTED),
        ),
        case(
            "Upgrade with a version",
            raw(upgrade("Upgrade: websocket/13")),
            refused(426, WANTED),
        ),
        case(
            "Upgrade with a blank",
            raw(upgrade("Upgrade: web socket")),
            refused(426, WANTED),
        ),
        case(
            "no Connection",
            raw(connection("X: x")),
            refused(426, WANTED),
        ),
        case(
            "Connection: close",
            raw(connection("Connection: close")),
            refused(426, WANTED),
        ),
        case(
            "Connection: Upgraded",
            raw(connection("Connection: Upgraded")),
            refused(426, WANTED),
        ),
        case(
            "Connection with a semicolon",
            raw(connection("Connection: close; Upgrade")),
            refused(426, WANTED),
        ),
    ]
}

fn keys() -> Vec<Case> {
    let key = |name: &str, value: &str| {
        let steps = raw(replaced(KEY, value));
        case(format!("a key {name}"), steps, refused(400, BAD_KEY))
    };
    let mut stray = raw(replaced(KEY, "AQIDBAUGBwgJCgsMDQ4PEC=="));
    stray.extend([Step::AwaitHead, Step::Send(visit())]);
    vec![
        key("of 15 bytes", "AQIDBAUGBwgJCgsMDQ4P"),
        key("of 17 bytes", "AQIDBAUGBwgJCgsMDQ4PEBE="),
        key("of 1 byte", "AQ=="),
        key("of nothing", ""),
        key("of 8000 bytes", &"A".repeat(8000)),
        key("without padding", "dGhlIHNhbXBsZSBub25jZQ"),
        key("with too much padding", "dGhlIHNhbXBsZSBub25jZQ==="),
        key("in the alphabet of URLs", "__79-_79__79-_79__79-w=="),
        key("with a blank", "dGhlIHNhbXBs ZSBub25jZQ=="),
        key(
            "with what is not in the alphabet",
            "dGhlIHNhbXBsZSBub25j!Q==",
        ),
        key("beyond ASCII", "dGhlIHNhbXBsZSBub25jZé=="),
        key(
            "that is a list",
            "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
        ),
        case(
            "no key",
            raw(replaced("Sec-WebSocket-Key", "X")),
            refused(400, BAD_KEY),
        ),
        case(
            "the same key twice",
            raw(with(&format!("Sec-WebSocket-Key: {KEY}\r\n"))),
            refused(400, BAD_KEY),
        ),
        case(
            "two keys",
            raw(with("Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n")),
            refused(400, BAD_KEY),
        ),
        // Hashed as it was sent, as the RFC's own example in section 4.1 needs it.
        case(
            "a key with stray bits is legal",
            stray,
            visited().upgraded_with("Sec-WebSocket-Accept: OfS0wDaT5NoxF2gqm7Zj2YtetzM=\r\n"),
        ),
    ]
}

fn versions() -> Vec<Case> {
    let version = |value: &str| raw(replaced("Version: 13", &format!("Version: {value}")));
    let mut cases: Vec<Case> = [
        "8", "7", "0", "", "14", "013", "+13", "13.0", "13, 8", "255",
    ]
    .iter()
    .map(|value| {
        let name = format!("version '{value}'");
        case(name, version(value), refused(426, BAD_VERSION))
    })
    .collect();
    cases.extend([
        case(
            "no version",
            raw(replaced("Sec-WebSocket-Version", "X")),
            refused(426, BAD_VERSION),
        ),
        case(
            "version 13 twice",
            raw(with("Sec-WebSocket-Version: 13\r\n")),
            refused(400, TWO_VERSIONS),
        ),
        case(
            "versions 13 and 8",
            raw(with("Sec-WebSocket-Version: 8\r\n")),
            refused(400, TWO_VERSIONS),
        ),
    ]);
    cases
}

fn offers() -> Vec<Case> {
    vec![
        legal(
            "compression is not agreed on",
            with("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        ),
        legal(
            "nor on impossible terms",
            with(
                "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99, ;;=\r\n",
            ),
        ),
        legal(
            "subprotocols that nobody has",
            with("Sec-WebSocket-Protocol: chat, superchat\r\n"),
        ),
        legal(
            "subprotocols that are no tokens",
            with("Sec-WebSocket-Protocol: a b, \"c\", ,\r\n"),
        ),
        legal(
            "the server's own field",
            with(&format!("Sec-WebSocket-Accept: {KEY}\r\n")),
        ),
    ]
}

#[test]
fn upgrades() {
    let mut ground = Ground::start("upgrade", &[]);
    for cases in [lists(), keys(), versions(), offers()] {
        ground.run(cases);
    }
    ground.end();
}
