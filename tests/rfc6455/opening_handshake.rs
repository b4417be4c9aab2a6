//! Section 4: which requests are upgraded, and how they are answered.

use super::*;

// Section 4.2.1, items 1 to 6.
#[test]
fn each_requirement_on_the_request_is_checked() {
    assert_status("GET", "POST", 405);
    assert_status("HTTP/1.1", "HTTP/1.0", 505);
    assert_status("Host: example.com\r\n", "", 400);
    assert_status("Upgrade: websocket\r\n", "", 426);
    assert_status("websocket\r\n", "websockets\r\n", 426);
    assert_status("Connection: Upgrade\r\n", "", 426);
    assert_status("Connection: Upgrade", "Connection: close", 426);
    assert_status("Sec-WebSocket-Key", "X-Key", 400);
    assert_status("b25jZQ==", "b25j", 400);
    assert_status("Sec-WebSocket-Version", "X-Version", 426);
    // Names and tokens in any case, and tokens in a list.
    assert_status("Upgrade: websocket", "UPGRADE: WebSocket", 101);
    assert_status(": Upgrade", ": keep-alive, upgrade", 101);
    assert_status("Sec-WebSocket-", "sec-websocket-", 101);
}

// Section 4.2.2, item 5, with the key of section 1.3.
#[test]
fn the_answer_proves_that_the_key_was_read() {
    assert_eq!(
        answer_with("", ""),
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

// Section 4.2.2, item 4: none unless one of the client's own is chosen.
#[test]
fn only_a_subprotocol_that_was_offered_is_answered() {
    let answer = |offer: &str| answer_with("Upgrade: ", &(offer.to_owned() + "\r\nUpgrade: "));
    let chat = answer("Sec-WebSocket-Protocol: chat");
    assert!(chat.ends_with("\r\nSec-WebSocket-Protocol: chat\r\n\r\n"));
    let preferred = answer("Sec-WebSocket-Protocol: chat, superchat");
    assert!(preferred.ends_with("\r\nSec-WebSocket-Protocol: superchat\r\n\r\n"));
    assert_eq!(
        answer("Sec-WebSocket-Protocol: x, CHAT"),
        answer_with("", "")
    );
}

// Section 9.1: an extension is in use only if the server says so.
#[test]
fn extensions_are_declined_by_silence() {
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\nHost";
    assert_eq!(answer_with("Host", offer), answer_with("", ""));
}

// Section 4.4: a server that does not speak the version names those that it does.
#[test]
fn another_version_is_told_ours() {
    for version in ["0", "7", "8", "12", "14", "255", "13, 8", "x"] {
        let answer = answer_with("Version: 13", &format!("Version: {version}"));
        assert!(answer.starts_with("HTTP/1.1 426 "), "{version}: {answer}");
        assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"));
    }
}

// Section 10.2: 403 where the origin is not an acceptable one; browsers alone send one.
#[test]
fn an_origin_is_allowed_or_forbidden() {
    assert_status("Host", "Origin: https://example.com\r\nHost", 101);
    assert_status("Host", "Origin: https://evil.example\r\nHost", 403);
    assert_status("Host", "Origin: https://example.com.evil\r\nHost", 403);
    assert_status("Host", "Origin: null\r\nHost", 403);
    let twice = "Origin: https://example.com\r\n".repeat(2) + "Host";
    assert_status("Host", &twice, 400);
}

// Section 4.2.1: "the order of the header fields is not important", and unknown ones are ignored.
#[test]
fn fields_come_in_any_order_and_others_are_ignored() {
    let mut lines: Vec<&str> = REQUEST.trim_end().split("\r\n").collect();
    for _ in 1..lines.len() {
        lines[1..].rotate_left(1);
        let request = lines.join("\r\nX-Unknown: \u{fc}\r\n") + "\r\n\r\n";
        assert_eq!(answer_with(REQUEST, &request), answer_with("", ""));
    }
}

// Section 4.2.2, item 4: 404 for a service that is not there.
#[test]
fn nothing_is_upgraded_where_no_websocket_lives() {
    for path in ["/", "/wss", "/WS", "/healthz"] {
        assert_status("/ws", path, 404);
    }
    assert_status("/ws", "/ws/a%20room?with=a&query", 101);
}

// Section 4.1, item 7: the last character of the note's key has bits to spare, and some are set.
#[test]
fn the_key_of_the_rfcs_own_note_is_taken() {
    let note = "AQIDBAUGBwgJCgsMDQ4PEC==";
    assert_status("dGhlIHNhbXBsZSBub25jZQ==", note, 101);
}

// Sections 11.3.1 and 11.3.5: the key and the version occur once, even where both say the same.
#[test]
fn neither_the_key_nor_the_version_may_be_repeated() {
    for field in [
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Version: 13\r\n",
    ] {
        assert_status(field, &field.repeat(2), 400);
    }
}

// Sections 11.3.2 to 11.3.4: however often the client's lines occur, ours do once.
#[test]
fn no_field_of_the_answer_is_repeated() {
    let offers = "Sec-WebSocket-Protocol: chat, superchat\r\n\
        Sec-WebSocket-Protocol: chat2\r\n\
        Sec-WebSocket-Extensions: foo\r\n\
        Sec-WebSocket-Extensions: bar; baz=2\r\nHost";
    let answer = answer_with("Host", offers);
    let fields = answer
        .lines()
        .skip(1)
        .map_while(|line| line.split_once(':'));
    let mut names: Vec<String> = fields.map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    let expected = [
        "connection",
        "sec-websocket-accept",
        "sec-websocket-protocol",
        "upgrade",
    ];
    assert_eq!(names, expected, "{answer}");
}
