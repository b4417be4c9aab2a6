//! The Close frame's status code and reason: RFC 6455, sections 5.5.1 and 7.4.

use std::borrow::Cow;
use std::fmt;

use super::error::ProtocolError;
use super::frame::{FrameHeader, MAX_CONTROL_PAYLOAD};
use super::opcode::Opcode;

/// A status code that may stand in a Close frame.
///
/// The set is open (3000–4999 belong to libraries and applications) and has holes, so it is a
/// number with constants and one constructor that knows the holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose has been fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server goes down, or the browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1007: text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: the peer broke a rule of ours.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: the message is too big.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1011: our own fault.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server restarts; come back.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: overloaded, or the client is too slow; come back later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// The code as a peer may send it, or `None` where RFC 6455 and the registry that it opened
    /// forbid it on the wire: below 1000, 1004–1006, 1015–2999, from 5000 on (section 7.4).
    pub const fn from_wire(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    pub const fn to_wire(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The payload of a Close frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame<'i> {
    /// The status code; `None` for an empty payload (what the API of browsers shows as 1005).
    pub code: Option<CloseCode>,
    /// The reason: at most 123 bytes, often empty, from the peer and not to be trusted.
    pub reason: Cow<'i, str>,
}

impl CloseFrame<'_> {
    /// The longest reason in bytes: a control frame's 125 less two for the code.
    pub const MAX_REASON: usize = MAX_CONTROL_PAYLOAD - 2;

    /// Reads the payload of a Close frame, unmasked and whole.
    ///
    /// # Errors
    /// A payload of one byte, a code that must not be sent, a reason that is not UTF-8.
    pub fn decode(payload: &[u8]) -> Result<CloseFrame<'static>, ProtocolError> {
        let [high, low, reason @ ..] = payload else {
            // RFC 6455, section 5.5.1: if there is a body, its first two bytes are the code.
            return match payload {
                [] => Ok(CloseFrame {
                    code: None,
                    reason: Cow::Borrowed(""),
                }),
                _ => Err(ProtocolError::CloseTooShort),
            };
        };
        let code = CloseCode::from_wire(u16::from_be_bytes([*high, *low]))
            .ok_or(ProtocolError::InvalidCloseCode)?;
        let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidUtf8)?;
        Ok(CloseFrame {
            code: Some(code),
            reason: Cow::Owned(reason.to_owned()),
        })
    }

    /// Appends an unmasked Close frame. A reason over [`Self::MAX_REASON`] is cut at a character;
    /// without a code there is no reason.
    pub fn encode(code: Option<CloseCode>, reason: &str, output: &mut Vec<u8>) {
        let Some(code) = code else {
            return FrameHeader::unmasked(Opcode::Close, 0).encode(output);
        };
        let mut len = reason.len().min(Self::MAX_REASON);
        while !reason.is_char_boundary(len) {
            len -= 1;
        }
        FrameHeader::unmasked(Opcode::Close, 2 + len).encode(output);
        output.extend_from_slice(&code.0.to_be_bytes());
        output.extend_from_slice(&reason.as_bytes()[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_be_sent() {
        for code in 0..=u16::MAX {
            let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            assert_eq!(
                CloseCode::from_wire(code).map(CloseCode::to_wire),
                allowed.then_some(code)
            );
        }
    }

    #[test]
    fn a_code_is_shown_as_its_number() {
        assert_eq!(CloseCode::TRY_AGAIN_LATER.to_string(), "1013");
    }

    #[test]
    fn an_empty_payload_has_no_code() {
        assert_eq!(CloseFrame::decode(b"").unwrap().code, None);
    }

    #[test]
    fn a_close_of_one_byte_is_refused() {
        assert_eq!(CloseFrame::decode(&[3]), Err(ProtocolError::CloseTooShort));
    }

    #[test]
    fn code_and_reason_are_checked() {
        let frame = CloseFrame::decode(b"\x03\xe8bye").unwrap();
        assert_eq!(
            (frame.code, &*frame.reason),
            (Some(CloseCode::NORMAL), "bye")
        );
        assert_eq!(
            CloseFrame::decode(b"\x03\xed"),
            Err(ProtocolError::InvalidCloseCode)
        );
        assert_eq!(
            CloseFrame::decode(b"\x03\xe8\xff"),
            Err(ProtocolError::InvalidUtf8)
        );
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let mut output = Vec::new();
        CloseFrame::encode(Some(CloseCode::NORMAL), &"é".repeat(70), &mut output);
        assert_eq!(output[..4], [0x88, 124, 0x03, 0xe8]);
        assert_eq!(output[4..], *"é".repeat(61).as_bytes());
    }

    #[test]
    fn no_code_is_an_empty_payload() {
        let mut output = Vec::new();
        CloseFrame::encode(None, "ignored", &mut output);
        assert_eq!(output, [0x88, 0]);
    }
}
