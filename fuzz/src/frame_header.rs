//! The frame header: what is decoded is what would be encoded, and the first byte that is wrong is
//! enough.

use fanfare::protocol::{FrameHeader, ProtocolError};

/// Decodes every prefix of the input's beginning.
pub fn run(bytes: &[u8]) {
    let end = bytes.len().min(FrameHeader::MAX_LEN + 2);
    let verdict = FrameHeader::decode(&bytes[..end]);
    assert_eq!(
        FrameHeader::decode(bytes),
        verdict,
        "what follows a header matters"
    );
    let Some(known_at) = (0..=end).find(|len| FrameHeader::decode(&bytes[..*len]) != Ok(None))
    else {
        assert!(end < FrameHeader::MAX_LEN, "the longest header wants more");
        return;
    };
    for len in known_at..=end {
        assert_eq!(
            FrameHeader::decode(&bytes[..len]),
            verdict,
            "a verdict changed"
        );
    }
    match verdict {
        Ok(Some((header, len))) => {
            assert_eq!(
                len, known_at,
                "a header was read beyond its end, or not to it"
            );
            check_header(&header);
            let mut encoded = Vec::new();
            header.encode(&mut encoded);
            assert_eq!(encoded, &bytes[..len], "not in the shortest form");
        }
        Ok(None) => unreachable!("a prefix had its verdict"),
        Err(error) => check_error(error, &bytes[..known_at]),
    }
}

/// RFC 6455, sections 5.2 and 5.5, of a header that is right.
fn check_header(header: &FrameHeader) {
    assert!(header.payload_len < 1 << 63);
    if header.opcode.is_control() {
        assert!(header.fin && header.payload_len <= 125);
    }
}

/// The last of these bytes made the header wrong; RFC 6455, section 5.2, says how it can have.
fn check_error(error: ProtocolError, bytes: &[u8]) {
    let (fin, opcode) = (bytes[0] & 0x80 != 0, bytes[0] & 0x0F);
    let short_len = bytes.get(1).map(|byte| byte & 0x7F);
    let long_len = bytes
        .iter()
        .skip(2)
        .fold(0, |len: u64, byte| len << 8 | u64::from(*byte));
    match error {
        ProtocolError::ReservedBits => assert!(bytes.len() == 1 && bytes[0] & 0x70 != 0),
        ProtocolError::ReservedOpcode => {
            assert!(bytes.len() == 1 && matches!(opcode, 3..=7 | 11..));
        }
        ProtocolError::ControlFragmented => assert!(bytes.len() == 1 && opcode >= 8 && !fin),
        ProtocolError::ControlTooLong => {
            assert!(bytes.len() == 2 && opcode >= 8 && short_len >= Some(126));
        }
        ProtocolError::LengthTopBit => {
            assert!(bytes.len() == 10 && short_len == Some(127) && long_len >= 1 << 63);
        }
        ProtocolError::LengthNotMinimal => match short_len {
            Some(126) => assert!(bytes.len() == 4 && long_len < 126),
            _ => assert!(bytes.len() == 10 && short_len == Some(127) && long_len <= 0xFFFF),
        },
        other => panic!("{other:?} is not for a header to raise"),
    }
}
