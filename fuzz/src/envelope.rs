//! An envelope: what is parsed is what would be encoded, and what a slow reader finds.

use fanfare::MessageKind;
use fanfare::backplane::{Envelope, EnvelopeError, Parsed};

/// Parses what was published where messages have no more bytes than the first byte says.
pub fn run(bytes: &[u8]) {
    let Some((max, bytes)) = bytes.split_first() else {
        return;
    };
    let max = usize::from(*max);
    let parsed = Envelope::parse(bytes, max);
    assert_eq!(parsed, slow(bytes, max), "{bytes:x?}");
    if let Ok(Parsed::Envelope(envelope)) = parsed {
        let mut again = b"before".to_vec();
        assert_eq!(envelope.encode(&mut again), Ok(()));
        assert_eq!(&again[..6], b"before");
        assert_eq!(&again[6..], bytes);
        assert_eq!(envelope.encoded_len(), bytes.len());
        let header = Envelope::HEADER_LEN + envelope.room.len();
        assert_eq!(&bytes[header..], envelope.payload);
    }
}

/// The same, by the place of each byte.
fn slow(bytes: &[u8], max: usize) -> Result<Parsed<'_>, EnvelopeError> {
    if bytes.len() < 3 || bytes[0] != 0xFF || bytes[1] != 0x57 || bytes[2] != 0x42 {
        if bytes.len() > max {
            return Err(EnvelopeError::Size);
        }
        let kind = match std::str::from_utf8(bytes) {
            Ok(_) => MessageKind::Text,
            Err(_) => MessageKind::Binary,
        };
        return Ok(Parsed::Raw {
            kind,
            payload: bytes,
        });
    }
    if bytes.get(3).is_some_and(|version| *version != 1) {
        return Err(EnvelopeError::Version);
    }
    if let Some(flags) = bytes.get(4) {
        if ![0x01, 0x02, 0x11, 0x12].contains(flags) {
            return Err(EnvelopeError::Flags);
        }
    }
    if bytes.len() < 22 || bytes.len() < 22 + usize::from(bytes[21]) {
        return Err(EnvelopeError::Length);
    }
    let number = |from: usize| (from..from + 8).fold(0, |all, at| all << 8 | u64::from(bytes[at]));
    let (room, payload) = bytes[22..].split_at(usize::from(bytes[21]));
    let room = match std::str::from_utf8(room) {
        Ok(room) if room.len() <= 128 && !room.chars().any(char::is_control) => room,
        _ => return Err(EnvelopeError::Room),
    };
    if payload.len() > max {
        return Err(EnvelopeError::Size);
    }
    let is_text = bytes[4] & 0x0F == 1;
    if is_text && std::str::from_utf8(payload).is_err() {
        return Err(EnvelopeError::Text);
    }
    Ok(Parsed::Envelope(Envelope {
        kind: if is_text {
            MessageKind::Text
        } else {
            MessageKind::Binary
        },
        is_control: bytes[4] >= 0x10,
        origin: number(5),
        seq: number(13),
        room,
        payload,
    }))
}
