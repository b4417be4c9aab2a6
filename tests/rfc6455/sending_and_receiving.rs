//! Section 6: messages out and in.

use super::*;

// Section 6.2: what was said before an error has been said.
#[test]
fn messages_before_an_error_are_delivered() {
    let said = [frame(0x81, b"one"), frame(0x81, b"two")].concat();
    for cuts in ALL_CUTS {
        let heard = hear(&[&said[..], &[0x83], &said].concat(), cuts);
        assert_eq!(heard.said, [text("one"), text("two")]);
        assert_eq!(heard.error, Some(ReservedOpcode));
    }
}

// Section 6.1: one frame with FIN, the opcode of the kind, no reserved bit and no mask.
#[test]
fn a_message_is_sent_as_one_frame_of_its_kind() {
    for (kind, first_byte) in [(MessageKind::Text, 0x81), (MessageKind::Binary, 0x82)] {
        for payload in ["", "é", &"x".repeat(70_000)] {
            let mut output = b"before".to_vec();
            encode_message(kind, payload.as_bytes(), &mut output);
            let frame = answer(first_byte, payload.as_bytes());
            assert!(output == [b"before", &frame[..]].concat(), "{kind:?}");
        }
    }
}

// Section 6.2: the type is the first frame's, and what follows the last frame is a new message.
#[test]
fn each_message_has_its_own_type_and_data() {
    let frames = [
        frame(0x01, b"a"),
        frame(0x80, b"b"),
        frame(0x02, b"\xff"),
        frame(0x00, b""),
        frame(0x80, b"\xfe"),
        frame(0x81, b"c"),
        frame(0x82, b""),
    ];
    let said = [
        text("ab"),
        Said::Binary(vec![0xFF, 0xFE]),
        text("c"),
        Said::Binary(vec![]),
    ];
    assert_heard(&frames, &said, b"");
}
