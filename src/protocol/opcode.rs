//! What a frame is: RFC 6455, section 5.2.

/// The six opcodes of RFC 6455, section 5.2.
///
/// The set is closed: the reserved ones (0x3–0x7, 0xB–0xF) are an error, so they have no variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message that is under way.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The closing handshake (section 5.5.1).
    Close = 0x8,
    /// "Are you there?" (section 5.5.2).
    Ping = 0x9,
    /// The answer to a Ping, or an unasked sign of life (section 5.5.3).
    Pong = 0xA,
}

impl Opcode {
    /// The opcode with this number, or `None` if it is reserved. Only the low four bits can be set
    /// in a frame; larger numbers are `None` as well.
    pub const fn from_wire(number: u8) -> Option<Self> {
        match number {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// The number as it stands in the first byte of a frame.
    pub const fn to_wire(self) -> u8 {
        self as u8
    }

    /// Whether this is Close, Ping or Pong: never fragmented, at most 125 bytes (section 5.5).
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_an_opcode_or_reserved() {
        for number in 0..=u8::MAX {
            match Opcode::from_wire(number) {
                Some(opcode) => assert_eq!(opcode.to_wire(), number),
                None => assert!(matches!(number, 0x3..=0x7 | 0xB..)),
            }
        }
    }

    #[test]
    fn control_opcodes_have_the_top_bit() {
        for opcode in [Opcode::Close, Opcode::Ping, Opcode::Pong] {
            assert!(opcode.is_control());
        }
        for opcode in [Opcode::Continuation, Opcode::Text, Opcode::Binary] {
            assert!(!opcode.is_control());
        }
    }
}
