//! A client's side of RFC 6455, section 5.2: frames masked out, and unmasked in.

use crate::fault::Fault;

/// The opcode of a text frame.
pub const TEXT: u8 = 0x1;
/// The opcode of a binary frame.
pub const BINARY: u8 = 0x2;
/// The opcode of a Close frame.
pub const CLOSE: u8 = 0x8;
/// The opcode of a Ping frame.
pub const PING: u8 = 0x9;
/// The opcode of a Pong frame.
pub const PONG: u8 = 0xA;

/// The masking key of all frames. Not zero, so that a server has to unmask; always the same, so
/// that most of a frame can be masked in advance.
pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// The longest payload of a control frame: RFC 6455, section 5.5.
pub const MAX_CONTROL_PAYLOAD: u64 = 125;

const FIN: u8 = 0x80;
const CONTROL: u8 = 0x08;
const MASK: u8 = 0x80;
/// Two bytes of length follow.
const SHORT: u8 = 0x7e;
/// Eight bytes of length follow.
const LONG: u8 = 0x7f;

/// What the first bytes of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What kind of frame it is.
    pub opcode: u8,
    /// How long the header is.
    pub len: usize,
    /// How long the payload is.
    pub payload: u64,
}

/// Whether a frame that starts with this byte is a control frame.
pub fn is_control(first: u8) -> bool {
    first & CONTROL != 0
}

/// The header of a whole, unmasked frame, or `None` if more bytes are needed.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0xf0 != FIN {
        return Err(Fault::Unexpected(*first));
    }
    if second & MASK != 0 {
        return Err(Fault::Masked);
    }
    let (len, payload) = match *second {
        SHORT => match rest.first_chunk() {
            Some(bytes) => (4, u64::from(u16::from_be_bytes(*bytes))),
            None => return Ok(None),
        },
        LONG => match rest.first_chunk() {
            Some(bytes) => (10, u64::from_be_bytes(*bytes)),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    let opcode = first & 0x0f;
    Ok(Some(Header {
        opcode,
        len,
        payload,
    }))
}

/// Writes the header of a masked frame, key included.
pub fn write_header(opcode: u8, payload: usize, output: &mut Vec<u8>) {
    output.push(FIN | opcode);
    if let Some(tiny) = u8::try_from(payload).ok().filter(|tiny| *tiny < SHORT) {
        output.push(MASK | tiny);
    } else if let Ok(medium) = u16::try_from(payload) {
        output.push(MASK | SHORT);
        output.extend_from_slice(&medium.to_be_bytes());
    } else {
        output.push(MASK | LONG);
        output.extend_from_slice(&(payload as u64).to_be_bytes());
    }
    output.extend_from_slice(&KEY);
}

/// Masks bytes that start at the start of a payload, or a multiple of four bytes behind it.
pub fn mask(bytes: &mut [u8]) {
    for four in bytes.chunks_mut(KEY.len()) {
        for (byte, key) in four.iter_mut().zip(KEY) {
            *byte ^= key;
        }
    }
}

/// Writes a whole masked frame.
pub fn write(opcode: u8, payload: &[u8], output: &mut Vec<u8>) {
    write_header(opcode, payload.len(), output);
    let start = output.len();
    output.extend_from_slice(payload);
    mask(&mut output[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_written() {
        // RFC 6455, section 5.7: a single-frame masked text message.
        let mut output = Vec::new();
        write(TEXT, b"Hello", &mut output);
        let expected = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        assert_eq!(output, expected);
    }

    #[test]
    fn lengths_are_written_and_read_at_their_bounds() {
        for (payload, len) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut output = Vec::new();
            write_header(BINARY, payload, &mut output);
            assert_eq!(output.len(), len + KEY.len(), "{payload}");
            output[1] &= !MASK;
            let header = Header {
                opcode: BINARY,
                len,
                payload: payload as u64,
            };
            assert_eq!(parse(&output), Ok(Some(header)));
            for cut in 0..len {
                assert_eq!(parse(&output[..cut]), Ok(None));
            }
        }
    }

    #[test]
    fn what_no_server_may_send_is_refused() {
        assert_eq!(parse(&[0x82, 0x85]), Err(Fault::Masked));
        // A fragment; a reserved bit.
        assert_eq!(parse(&[0x02, 0x05]), Err(Fault::Unexpected(0x02)));
        assert_eq!(parse(&[0xc2, 0x05]), Err(Fault::Unexpected(0xc2)));
    }
}
