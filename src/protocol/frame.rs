//! The frame header: RFC 6455, section 5.2.

use std::ops::Deref;

use super::error::ProtocolError;
use super::opcode::Opcode;

/// The longest payload of a control frame in bytes (RFC 6455, section 5.5).
pub(super) const MAX_CONTROL_PAYLOAD: usize = 125;

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASK: u8 = 0x80;
const LEN_16: u8 = 126;
const LEN_64: u8 = 127;

/// What precedes a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this is the last fragment of its message; always set on control frames.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key; clients have one, servers don't (section 5.1).
    pub mask: Option<[u8; 4]>,
    /// The payload's length in bytes, at most 2^63 - 1.
    pub payload_len: u64,
}

impl FrameHeader {
    /// The longest header: two bytes, a 64-bit length, a masking key.
    pub const MAX_LEN: usize = 2 + size_of::<u64>() + 4;

    /// The header of an unfragmented, unmasked frame: what a server sends.
    pub const fn unmasked(opcode: Opcode, payload_len: usize) -> Self {
        Self {
            fin: true,
            opcode,
            mask: None,
            payload_len: payload_len as u64,
        }
    }

    /// The header at the start of `bytes` and its length, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// On the first byte that shows the header to be wrong: reserved bits or opcode, a control
    /// frame that is fragmented or too long, a length that is not in its shortest form.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        // 1. The first byte: FIN, reserved bits, opcode.
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        // RFC 6455, section 5.2: reserved bits MUST be 0 unless an extension defines them.
        if first & RESERVED_BITS != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let opcode = Opcode::from_wire(first & OPCODE).ok_or(ProtocolError::ReservedOpcode)?;
        let fin = first & FIN != 0;
        // RFC 6455, section 5.5: control frames are not fragmented.
        if opcode.is_control() && !fin {
            return Err(ProtocolError::ControlFragmented);
        }
        // 2. The second byte: MASK and the short form of the length.
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        let short_len = second & !MASK;
        if opcode.is_control() && usize::from(short_len) > MAX_CONTROL_PAYLOAD {
            return Err(ProtocolError::ControlTooLong);
        }
        // 3. The length.
        let rest = &bytes[2..];
        let (payload_len, rest) = match short_len {
            LEN_16 => {
                let Some((len, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                (u64::from(u16::from_be_bytes(*len)), rest)
            }
            LEN_64 => {
                let Some((len, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                (u64::from_be_bytes(*len), rest)
            }
            len => (u64::from(len), rest),
        };
        // RFC 6455, section 5.2: the most significant bit MUST be 0, and the minimal number of
        // bytes MUST be used.
        if payload_len > u64::MAX >> 1 {
            return Err(ProtocolError::LengthTopBit);
        }
        if short_len != short_form(payload_len) {
            return Err(ProtocolError::LengthNotMinimal);
        }
        // 4. The masking key.
        let (mask, rest) = if second & MASK == 0 {
            (None, rest)
        } else {
            let Some((key, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (Some(*key), rest)
        };
        Ok(Some((
            Self {
                fin,
                opcode,
                mask,
                payload_len,
            },
            bytes.len() - rest.len(),
        )))
    }

    /// Appends the header in its shortest form.
    pub fn encode(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.to_wire());
    }

    /// The header in its shortest form, for those who append it themselves.
    pub fn to_wire(&self) -> EncodedHeader {
        let mut bytes = [0; Self::MAX_LEN];
        let mask_bit = if self.mask.is_some() { MASK } else { 0 };
        let short_len = short_form(self.payload_len);
        bytes[0] = if self.fin { FIN } else { 0 } | self.opcode.to_wire();
        bytes[1] = mask_bit | short_len;
        let payload_len = self.payload_len.to_be_bytes();
        let mut len = 2;
        match short_len {
            LEN_16 => {
                bytes[2..4].copy_from_slice(&payload_len[6..]);
                len = 4;
            }
            LEN_64 => {
                bytes[2..10].copy_from_slice(&payload_len);
                len = 10;
            }
            _ => {}
        }
        if let Some(key) = self.mask {
            bytes[len..len + key.len()].copy_from_slice(&key);
            len += key.len();
        }
        EncodedHeader { bytes, len }
    }
}

/// A header as it goes over the wire; it is used as a slice.
#[derive(Clone, Copy, Debug)]
pub struct EncodedHeader {
    bytes: [u8; FrameHeader::MAX_LEN],
    len: usize,
}

impl Deref for EncodedHeader {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The seven bits that announce a length: itself, or which longer form follows.
const fn short_form(len: u64) -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the arm says that it is at most 125"
    )]
    match len {
        0..=125 => len as u8,
        126..=0xFFFF => LEN_16,
        _ => LEN_64,
    }
}

const _: () = assert!(FrameHeader::MAX_LEN == 14);

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
        FrameHeader::decode(bytes)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 6455, section 5.7.
        let unmasked = FrameHeader::unmasked(Opcode::Text, 5);
        assert_eq!(decode(b"\x81\x05Hello"), Ok(Some((unmasked, 2))));
        let masked = FrameHeader {
            mask: Some([0x37, 0xfa, 0x21, 0x3d]),
            ..unmasked
        };
        let bytes = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        assert_eq!(decode(&bytes), Ok(Some((masked, 6))));
        let fragment = FrameHeader {
            fin: false,
            ..FrameHeader::unmasked(Opcode::Text, 3)
        };
        assert_eq!(decode(b"\x01\x03Hel"), Ok(Some((fragment, 2))));
        let last = FrameHeader::unmasked(Opcode::Continuation, 2);
        assert_eq!(decode(b"\x80\x02lo"), Ok(Some((last, 2))));
        let binary = FrameHeader::unmasked(Opcode::Binary, 256);
        assert_eq!(decode(b"\x82\x7e\x01\x00"), Ok(Some((binary, 4))));
        let binary = FrameHeader::unmasked(Opcode::Binary, 65_536);
        assert_eq!(
            decode(b"\x82\x7f\0\0\0\0\0\x01\0\0"),
            Ok(Some((binary, 10)))
        );
    }

    #[test]
    fn what_is_encoded_is_decoded_and_every_prefix_wants_more() {
        for payload_len in [0, 1, 125, 126, 127, 65_535, 65_536, u64::MAX >> 1] {
            for mask in [None, Some([1, 2, 3, 4])] {
                for fin in [false, true] {
                    let header = FrameHeader {
                        fin,
                        opcode: Opcode::Binary,
                        mask,
                        payload_len,
                    };
                    let mut bytes = Vec::new();
                    header.encode(&mut bytes);
                    assert_eq!(decode(&bytes), Ok(Some((header, bytes.len()))));
                    for end in 0..bytes.len() {
                        assert_eq!(decode(&bytes[..end]), Ok(None));
                    }
                }
            }
        }
    }

    #[test]
    fn every_first_byte_has_its_verdict_at_once() {
        for first in 0..=u8::MAX {
            let verdict = decode(&[first]);
            let expected = if first & 0x70 != 0 {
                Err(ProtocolError::ReservedBits)
            } else {
                match first & 0xF {
                    0..=2 => Ok(None),
                    8..=10 if first & 0x80 != 0 => Ok(None),
                    8..=10 => Err(ProtocolError::ControlFragmented),
                    _ => Err(ProtocolError::ReservedOpcode),
                }
            };
            assert_eq!(verdict, expected, "{first:#x}");
        }
    }

    #[test]
    fn a_control_frame_of_126_bytes_is_refused_at_its_second_byte() {
        assert_eq!(decode(&[0x89, 0x80 | 0x7D]), Ok(None));
        assert_eq!(
            decode(&[0x89, 0x80 | 0x7E]),
            Err(ProtocolError::ControlTooLong)
        );
        assert_eq!(decode(&[0x8A, 127]), Err(ProtocolError::ControlTooLong));
    }

    #[test]
    fn a_length_must_be_in_its_shortest_form() {
        assert_eq!(
            decode(b"\x82\x7e\x00\x7d"),
            Err(ProtocolError::LengthNotMinimal)
        );
        assert!(decode(b"\x82\x7e\x00\x7e").unwrap().is_some());
        assert_eq!(
            decode(b"\x82\x7f\0\0\0\0\0\0\xff\xff"),
            Err(ProtocolError::LengthNotMinimal)
        );
        assert_eq!(
            decode(b"\x82\x7f\x80\0\0\0\0\0\0\0"),
            Err(ProtocolError::LengthTopBit)
        );
    }
}
