//! The payload of a Close frame: RFC 6455, sections 5.5.1 and 7.4.

use fanfare::protocol::ProtocolError::{CloseTooShort, InvalidCloseCode, InvalidUtf8};
use fanfare::protocol::{CloseCode, CloseFrame, FrameHeader, Opcode};

/// Reads the input as a payload, and writes it as one.
pub fn run(bytes: &[u8]) {
    decode(bytes);
    encode(bytes);
}

fn decode(payload: &[u8]) {
    let expected = match payload {
        [] => Ok((None, "")),
        [_] => Err(CloseTooShort),
        [high, low, reason @ ..] => {
            let code = u16::from(*high) << 8 | u16::from(*low);
            match std::str::from_utf8(reason) {
                _ if !may_be_sent(code) => Err(InvalidCloseCode),
                Err(_) => Err(InvalidUtf8),
                Ok(reason) => Ok((Some(code), reason)),
            }
        }
    };
    let decoded = CloseFrame::decode(payload);
    let seen = match &decoded {
        Ok(frame) => Ok((frame.code.map(CloseCode::to_wire), &*frame.reason)),
        Err(error) => Err(*error),
    };
    assert_eq!(seen, expected);
}

/// RFC 6455, section 7.4.1, and the registry that it opened; section 7.4.2 for the rest.
fn may_be_sent(code: u16) -> bool {
    let is_registered = (1000..=1014).contains(&code) && !matches!(code, 1004..=1006);
    is_registered || (3000..=3999).contains(&code) || (4000..=4999).contains(&code)
}

fn encode(bytes: &[u8]) {
    let [high, low, reason @ ..] = bytes else {
        return;
    };
    let code = CloseCode::from_wire(u16::from_be_bytes([*high, *low]));
    let reason = String::from_utf8_lossy(reason);
    let mut output = b"before".to_vec();
    CloseFrame::encode(code, &reason, &mut output);
    let frame = output
        .strip_prefix(b"before")
        .expect("output is appended to");

    let (header, len) = FrameHeader::decode(frame)
        .expect("it is right")
        .expect("it is whole");
    let payload = &frame[len..];
    assert_eq!(header, FrameHeader::unmasked(Opcode::Close, payload.len()));
    let decoded = CloseFrame::decode(payload).expect("what we say may be said");
    assert_eq!(decoded.code, code);
    let rest = reason
        .strip_prefix(&*decoded.reason)
        .expect("the reason is cut, not changed");
    match (code, rest.chars().next()) {
        (None, _) => assert!(payload.is_empty(), "without a code there is no reason"),
        (Some(_), None) => {}
        (Some(_), Some(next)) => {
            let longer = decoded.reason.len() + next.len_utf8();
            assert!(longer > CloseFrame::MAX_REASON, "cut too early");
        }
    }
}
