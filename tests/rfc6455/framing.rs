//! Section 5: what a frame is, and which frames fail the connection.

use super::*;

// Section 5.1: a server MUST close the connection on a frame that is not masked.
#[test]
fn a_frame_without_a_mask_fails_the_connection() {
    for first_byte in [0x81, 0x82, 0x01, 0x88, 0x89, 0x8A] {
        assert_last_byte_fails(&answer(first_byte, b""), Unmasked);
    }
    assert_fails(&[answer(0x82, &[0; 300])], Unmasked);
}

// Section 5.2 and section 5.8: no extension owns a reserved bit or opcode.
#[test]
fn each_reserved_bit_and_opcode_fails_the_connection_at_once() {
    for first_byte in 0..=u8::MAX {
        if first_byte & 0x70 != 0 {
            assert_last_byte_fails(&[first_byte], ReservedBits);
        } else if matches!(first_byte & 0xF, 0x3..=0x7 | 0xB..=0xF) {
            assert_last_byte_fails(&[first_byte], ReservedOpcode);
        }
    }
}

// Section 5.2, both sides of each form; section 5.1: a server MUST NOT mask.
#[test]
fn each_form_of_the_length_is_read_and_written() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
        let payload = vec![7; len];
        let mut output = Vec::new();
        encode_message(MessageKind::Binary, &payload, &mut output);
        assert!(output == answer(0x82, &payload), "{len} bytes");
        assert_heard(&[frame(0x82, &payload)], &[Said::Binary(payload)], b"");
    }
}

// Section 5.2: minimal, and the top bit MUST be 0. Neither verdict waits for the key.
#[test]
fn a_length_in_a_longer_form_or_with_its_top_bit_fails_the_connection() {
    for len in [0_u16, 125] {
        let bytes = [&[0x82, 0xFE][..], &len.to_be_bytes()].concat();
        assert_last_byte_fails(&bytes, LengthNotMinimal);
    }
    let long = |len: u64| [&[0x82, 0xFF][..], &len.to_be_bytes()].concat();
    for len in [0, 125, 126, 65_535] {
        assert_last_byte_fails(&long(len), LengthNotMinimal);
    }
    assert_last_byte_fails(&long(1 << 63), LengthTopBit);
    assert_last_byte_fails(&long(u64::MAX), LengthTopBit);
}

// Section 5.3: octet i of the payload is masked with octet i modulo 4 of the frame's key.
#[test]
fn every_frame_is_unmasked_with_its_own_key() {
    let payload: Vec<u8> = (0..=255).collect();
    let said = [Said::Binary(payload.clone()), text("next")];
    for key in [[0; 4], [0xFF; 4], [1, 2, 3, 4], [0, 0, 0, 1]] {
        let first = encode(0x82, Some(key), &payload);
        assert_heard(&[first, frame(0x81, b"next")], &said, b"");
    }
}

// Section 5.4; section 5.6: text is UTF-8, binary is anything.
#[test]
fn fragments_are_one_message_of_the_first_ones_kind() {
    let frames = [frame(0x01, b""), frame(0x00, b"a"), frame(0x80, b"b")];
    assert_heard(&frames, &[text("ab")], b"");
    let frames = [frame(0x02, b"\xff"), frame(0x80, b"")];
    assert_heard(&frames, &[Said::Binary(vec![0xFF])], b"");
}

// Section 5.4: between fragments; section 5.5.2: "as soon as is practical".
#[test]
fn control_frames_between_fragments_are_answered_at_once() {
    let pong = answer(0x8A, b"?");
    let start = [frame(0x01, b"Hel"), frame(0x89, b"?")];
    assert_heard(&start, &[Said::Ping], &pong);
    let end = [frame(0x8A, b""), frame(0x80, b"lo")];
    let said = [Said::Ping, Said::Pong, text("Hello")];
    assert_heard(&[start, end].concat(), &said, &pong);
}

// Section 5.4: the fragments of one message are not interleaved with those of another.
#[test]
fn fragments_out_of_order_fail_the_connection() {
    assert_fails(&[frame(0x80, b"a")], UnexpectedContinuation);
    assert_fails(&[frame(0x00, b"a")], UnexpectedContinuation);
    for first_byte in [0x01, 0x02, 0x81, 0x82] {
        let frames = [frame(0x01, b"a"), frame(first_byte, b"b")];
        assert_fails(&frames, ExpectedContinuation);
    }
    let last = frame(0x80, b"");
    let frames = [frame(0x01, b"a"), last.clone(), last].concat();
    assert_eq!(hear(&frames, WHOLE).error, Some(UnexpectedContinuation));
}

// Section 5.5: at most 125 bytes, and not fragmented.
#[test]
fn control_frames_are_short_and_whole() {
    for opcode in [0x8, 0x9, 0xA] {
        assert_last_byte_fails(&[0x80 | opcode, 0xFE], ControlTooLong);
        assert_last_byte_fails(&[0x80 | opcode, 0xFF], ControlTooLong);
        assert_last_byte_fails(&[opcode], ControlFragmented);
    }
    let mut longest = "x".repeat(125);
    let ping = frame(0x89, longest.as_bytes());
    assert_heard(&[ping], &[Said::Ping], &answer(0x8A, longest.as_bytes()));
    assert_heard(&[frame(0x8A, longest.as_bytes())], &[Said::Pong], b"");
    let reason = longest.split_off(2);
    let end = frame(0x88, &close(1000, &reason));
    assert_heard(&[end], &[Said::Close(1000, reason)], &echo(1000));
}

// Section 5.5.2: a Pong for each; section 5.5.3: with the same payload, and none for a Pong.
#[test]
fn every_ping_is_answered_in_order_with_its_own_payload() {
    let first = [frame(0x89, b""), frame(0x8A, b"unasked")];
    let frames = [first, [frame(0x89, b"\0\xff"), frame(0x89, b"3")]].concat();
    let said = [Said::Ping, Said::Pong, Said::Ping, Said::Ping];
    assert_heard(&frames, &said, b"\x8a\x00\x8a\x02\0\xff\x8a\x013");
}

// Section 5.7.
#[test]
fn the_examples_of_the_rfc() {
    const HELLO: &[u8] = b"\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let masked = |first_byte| [&[first_byte, 0x85], HELLO].concat();
    assert_heard(&[masked(0x81)], &[text("Hello")], b"");
    assert_heard(&[masked(0x89)], &[Said::Ping], b"\x8a\x05Hello");
}
