//! What holds for all values of a kind, tried on some hundred of them.

use fanfare::protocol::{
    CloseCode, CloseFrame, FrameHeader, MessageKind, Opcode, Utf8Validator, encode_message, unmask,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn opcode() -> impl Strategy<Value = Opcode> {
    prop_oneof![
        Just(Opcode::Continuation),
        Just(Opcode::Text),
        Just(Opcode::Binary),
        Just(Opcode::Close),
        Just(Opcode::Ping),
        Just(Opcode::Pong),
    ]
}

/// Lengths of every form, those at its ends most of all.
fn payload_len() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..=125_u64,
        126..=0xFFFF_u64,
        0x1_0000..=u64::MAX >> 1,
        Just(125),
        Just(126),
        Just(0xFFFF),
        Just(0x1_0000),
        Just(u64::MAX >> 1),
    ]
}

/// Any header that may be sent, by either side.
fn header() -> impl Strategy<Value = FrameHeader> {
    let fields = (
        any::<bool>(),
        opcode(),
        option::of(any::<[u8; 4]>()),
        payload_len(),
    );
    fields.prop_map(|(fin, opcode, mask, payload_len)| FrameHeader {
        fin: fin || opcode.is_control(),
        opcode,
        mask,
        payload_len: if opcode.is_control() {
            payload_len % 126
        } else {
            payload_len
        },
    })
}

/// Text, most of it of characters of several bytes.
fn text() -> impl Strategy<Value = String> {
    vec(
        prop_oneof![any::<char>(), Just('é'), Just('€'), Just('𐍈'), Just('a')],
        0..40,
    )
    .prop_map(String::from_iter)
}

/// Bytes that are UTF-8 up to somewhere, and then perhaps not.
fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
    (text(), vec(any::<u8>(), 0..4), text())
        .prop_map(|(before, odd, after)| [before.as_bytes(), &odd, after.as_bytes()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_header_is_decoded_as_it_was_encoded(header in header(), behind in vec(any::<u8>(), 0..4)) {
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        let len = bytes.len();
        prop_assert!(len <= FrameHeader::MAX_LEN);
        for end in 0..len {
            prop_assert_eq!(FrameHeader::decode(&bytes[..end]), Ok(None));
        }
        bytes.extend(behind);
        prop_assert_eq!(FrameHeader::decode(&bytes), Ok(Some((header, len))));
    }

    #[test]
    fn a_header_is_as_long_as_its_fields_are(header in header()) {
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        let len = match header.payload_len {
            0..=125 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        };
        prop_assert_eq!(bytes.len(), len + header.mask.map_or(0, |key| key.len()));
    }

    #[test]
    fn a_message_is_its_header_and_its_payload(payload in vec(any::<u8>(), 0..300), text: bool) {
        let kind = if text { MessageKind::Text } else { MessageKind::Binary };
        let mut bytes = Vec::new();
        encode_message(kind, &payload, &mut bytes);
        let header = FrameHeader::unmasked(kind.opcode(), payload.len());
        let len = bytes.len() - payload.len();
        prop_assert_eq!(FrameHeader::decode(&bytes), Ok(Some((header, len))));
        prop_assert_eq!(&bytes[len..], payload);
    }

    // Wherever in memory a payload lies, and wherever in its frame it begins.
    #[test]
    fn unmasking_equals_the_byte_loop(
        bytes in vec(any::<u8>(), 0..200),
        key: [u8; 4],
        start in 0..16_usize,
        offset in prop_oneof![0..16_usize, Just(usize::MAX - 300)],
    ) {
        let start = start.min(bytes.len());
        let mut slow = bytes.clone();
        for (i, byte) in slow[start..].iter_mut().enumerate() {
            *byte ^= key[(offset + i) % key.len()];
        }
        let mut fast = bytes;
        unmask(&mut fast[start..], key, offset);
        prop_assert_eq!(fast, slow);
    }

    #[test]
    fn masking_in_pieces_and_twice_changes_nothing(
        bytes in vec(any::<u8>(), 0..200),
        key: [u8; 4],
        cuts in vec(0..50_usize, 0..6),
    ) {
        let mut masked = bytes.clone();
        let (mut offset, mut rest) = (0, &mut masked[..]);
        for cut in cuts {
            let (piece, later) = rest.split_at_mut(cut.min(rest.len()));
            unmask(piece, key, offset);
            offset += piece.len();
            rest = later;
        }
        unmask(rest, key, offset);
        unmask(&mut masked, key, 0);
        prop_assert_eq!(masked, bytes);
    }

    #[test]
    fn the_cuts_of_a_text_do_not_matter(bytes in nearly_text(), cuts in vec(0..6_usize, 1..6)) {
        let whole = Utf8Validator::default().push(&bytes);
        let (mut validator, mut cut, mut rest) = (Utf8Validator::default(), Ok(()), &bytes[..]);
        for len in cuts.iter().chain([&usize::MAX]) {
            let (piece, later) = rest.split_at((*len).min(rest.len()));
            cut = cut.and_then(|()| validator.push(piece));
            rest = later;
        }
        prop_assert_eq!(cut, whole);
        if cut.is_ok() {
            prop_assert_eq!(validator.is_complete(), std::str::from_utf8(&bytes).is_ok());
        } else {
            prop_assert!(std::str::from_utf8(&bytes).is_err());
        }
    }

    #[test]
    fn text_is_text_wherever_it_is_cut(text in text()) {
        for cut in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(cut);
            let mut validator = Utf8Validator::default();
            prop_assert_eq!(validator.push(first), Ok(()));
            prop_assert_eq!(validator.is_complete(), text.is_char_boundary(cut));
            prop_assert_eq!(validator.push(second), Ok(()));
            prop_assert!(validator.is_complete());
        }
    }

    #[test]
    fn a_close_is_read_as_it_was_said(code: u16, reason in text()) {
        let code = CloseCode::from_wire(code);
        let mut bytes = Vec::new();
        CloseFrame::encode(code, &reason, &mut bytes);
        let read = CloseFrame::decode(&bytes[2..]);
        let read = read.expect("what is said may be said");
        prop_assert_eq!(read.code, code);
        prop_assert!(code.is_none() == read.reason.is_empty() || reason.is_empty());
        prop_assert!(reason.starts_with(&*read.reason));
    }
}
