//! Section 8: text that is none.

use super::*;

/// Text, and how many of its bytes it takes to see that it is none.
const INVALID: [(&[u8], usize); 8] = [
    (b"\x80", 1),
    (b"ok\xff", 3),
    (b"\xc0\xaf", 1),
    (b"\xc3(", 2),
    (b"\xed\xa0\x80", 2),
    (b"\xe2\x82(", 3),
    (b"\xf4\x90\x80\x80", 2),
    (b"\xce\xba\xe1\xbd\xb9\xf5", 6),
];

// Section 8.1, wherever the text is cut; the first wrong byte is enough (Autobahn 6.4).
#[test]
fn text_that_is_no_utf_8_fails_at_its_first_wrong_byte() {
    for (bytes, wrong) in INVALID {
        assert_last_byte_fails(&frame(0x81, bytes)[..6 + wrong], InvalidUtf8);
        for at in 0..=bytes.len() {
            let (first, second) = bytes.split_at(at);
            assert_fails(&[frame(0x01, first), frame(0x80, second)], InvalidUtf8);
        }
    }
}

// Section 5.6: only the whole message has to be valid.
#[test]
fn a_character_may_be_cut_by_fragments_but_not_by_the_end() {
    const TEXT: &str = "aé€𐍈\u{10FFFF}\0";
    for at in 0..=TEXT.len() {
        let (first, second) = TEXT.as_bytes().split_at(at);
        let frames = [frame(0x01, first), frame(0x80, second)];
        assert_heard(&frames, &[text(TEXT)], b"");
    }
    for unfinished in [&b"\xc3"[..], b"ok\xe2\x82", b"\xf0\x90\x8d"] {
        assert_fails(&[frame(0x81, unfinished)], InvalidUtf8);
        assert_fails(&[frame(0x01, unfinished), frame(0x80, b"")], InvalidUtf8);
    }
}

// Section 8.1: the rule "applies both during the opening handshake and" after it.
#[test]
fn text_in_a_request_must_be_utf_8_as_well() {
    assert_status("/ws", "/ws/%C3%A9", 101);
    for room in ["%FF", "%C3", "%ED%A0%80", "%C0%AF"] {
        assert_status("/ws", &format!("/ws/{room}"), 400);
    }
    // Raw bytes beyond ASCII are no part of a target or of a Host.
    assert_status("/ws", "/ws/é", 400);
    assert_status("example.com", "exämple.com", 400);
}
