//! Messages, whole or in fragments: RFC 6455, sections 5.4 and 5.6.

use super::error::ProtocolError;
use super::frame::FrameHeader;
use super::limits::Limits;
use super::mask::unmask;
use super::opcode::Opcode;
use super::payload::{Payload, PayloadBuffer};
use super::utf8::Utf8Validator;

/// Text or binary (RFC 6455, section 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8, checked on its way in.
    Text,
    /// Any bytes.
    Binary,
}

impl MessageKind {
    /// The opcode of the message's first frame.
    pub const fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}

/// One whole message from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'i> {
    /// Text or binary.
    pub kind: MessageKind,
    /// What it holds. Text is valid UTF-8.
    pub payload: Payload<'i>,
}

impl Message<'_> {
    /// The payload as text, or `None` if the message is binary.
    ///
    /// # Panics
    /// If a text message was built by hand from bytes that are not UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        (self.kind == MessageKind::Text)
            .then(|| std::str::from_utf8(&self.payload).expect("text was checked on its way in"))
    }
}

/// Appends a message as one unmasked frame: what a server sends, and the same for every client.
pub fn encode_message(kind: MessageKind, payload: &[u8], output: &mut Vec<u8>) {
    output.reserve(FrameHeader::MAX_LEN + payload.len());
    FrameHeader::unmasked(kind.opcode(), payload.len()).encode(output);
    output.extend_from_slice(payload);
}

/// The message that is arriving, in one flat buffer however it is fragmented.
///
/// The buffer leaves with the finished message: a connection between two messages owns none.
#[derive(Debug, Default)]
pub struct MessageAssembler {
    kind: Option<MessageKind>,
    payload: PayloadBuffer,
    utf8: Utf8Validator,
    fragments: usize,
}

impl MessageAssembler {
    /// Whether a message is under way.
    pub fn is_under_way(&self) -> bool {
        self.kind.is_some()
    }

    /// Bytes that have arrived of it.
    pub(super) fn len(&self) -> usize {
        self.payload.len()
    }

    /// Admits a data frame by its header: is it the one that belongs here, and is there room?
    ///
    /// # Errors
    /// A continuation of nothing, a new message inside another, a sum of lengths over
    /// `max_message_size`, more than `max_fragments`. Nothing is stored by an error.
    ///
    /// # Panics
    /// If the header is a control frame's.
    #[inline]
    pub fn admit(&self, header: &FrameHeader, limits: &Limits) -> Result<(), ProtocolError> {
        match (header.opcode, self.is_under_way()) {
            (Opcode::Continuation, true) | (Opcode::Text | Opcode::Binary, false) => {}
            (Opcode::Continuation, false) => return Err(ProtocolError::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, true) => {
                return Err(ProtocolError::ExpectedContinuation);
            }
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {
                unreachable!("control frames are no part of a message")
            }
        }
        let total = header.payload_len.checked_add(self.payload.len() as u64);
        if total.is_none_or(|total| total > limits.max_message_size as u64) {
            return Err(ProtocolError::MessageTooBig);
        }
        if self.fragments >= limits.max_fragments() {
            return Err(ProtocolError::TooManyFragments);
        }
        Ok(())
    }

    /// Starts the frame that [`admit`](Self::admit) let in: a message, or its next fragment.
    pub fn begin_frame(&mut self, opcode: Opcode) {
        self.fragments += 1;
        match opcode {
            Opcode::Text => self.kind = Some(MessageKind::Text),
            Opcode::Binary => self.kind = Some(MessageKind::Binary),
            _ => {}
        }
    }

    /// Appends bytes of the current frame, unmasked.
    ///
    /// # Errors
    /// In a text message, on the first byte that cannot be UTF-8.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        if self.kind == Some(MessageKind::Text) {
            self.utf8
                .push(bytes)
                .map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        self.payload.push(bytes);
        Ok(())
    }

    /// Where the next bytes of the current frame can be read to; see
    /// [`Connection::landing`](super::Connection::landing).
    pub(super) fn landing(
        &mut self,
        missing: usize,
        spare: impl FnOnce(usize) -> Option<Vec<u8>>,
    ) -> Option<&mut [u8]> {
        self.payload.landing(missing, spare)
    }

    /// Takes `count` bytes that were read there, masked.
    pub(super) fn land(
        &mut self,
        count: usize,
        key: [u8; 4],
        offset: usize,
    ) -> Result<(), ProtocolError> {
        let bytes = self.payload.land(count);
        unmask(bytes, key, offset);
        if self.kind == Some(MessageKind::Text) {
            self.utf8
                .push(bytes)
                .map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        Ok(())
    }

    /// Ends the message after its last fragment and hands it out.
    ///
    /// # Errors
    /// A text message that ends inside a character.
    ///
    /// # Panics
    /// If no message is under way.
    pub fn finish(&mut self) -> Result<Message<'static>, ProtocolError> {
        let Self {
            kind,
            payload,
            utf8,
            ..
        } = std::mem::take(self);
        if !utf8.is_complete() {
            return Err(ProtocolError::InvalidUtf8);
        }
        let kind = kind.expect("a message is under way");
        Ok(Message {
            kind,
            payload: payload.finish(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(fin: bool, opcode: Opcode, payload_len: u64) -> FrameHeader {
        FrameHeader {
            fin,
            opcode,
            mask: None,
            payload_len,
        }
    }

    #[test]
    fn fragments_become_one_message() {
        let mut assembler = MessageAssembler::default();
        assembler.begin_frame(Opcode::Text);
        assembler.push("κό".as_bytes()).unwrap();
        assembler.begin_frame(Opcode::Continuation);
        assembler.push(b"").unwrap();
        assembler.begin_frame(Opcode::Continuation);
        assembler.push("σμε".as_bytes()).unwrap();
        assert_eq!(assembler.finish().unwrap().as_text(), Some("κόσμε"));
        assert!(!assembler.is_under_way());
    }

    #[test]
    fn both_sides_of_the_size_limit() {
        let limits = Limits {
            max_message_size: 10,
        };
        let mut assembler = MessageAssembler::default();
        let admit = |assembler: &MessageAssembler, opcode, len| {
            assembler.admit(&header(false, opcode, len), &limits)
        };
        assert_eq!(admit(&assembler, Opcode::Binary, 10), Ok(()));
        assert_eq!(
            admit(&assembler, Opcode::Binary, 11),
            Err(ProtocolError::MessageTooBig)
        );
        assembler.begin_frame(Opcode::Binary);
        assembler.push(&[0; 7]).unwrap();
        assert_eq!(admit(&assembler, Opcode::Continuation, 3), Ok(()));
        assert_eq!(
            admit(&assembler, Opcode::Continuation, 4),
            Err(ProtocolError::MessageTooBig)
        );
        let top = admit(&assembler, Opcode::Continuation, u64::MAX >> 1);
        assert_eq!(top, Err(ProtocolError::MessageTooBig));
    }

    #[test]
    fn both_sides_of_the_fragment_limit() {
        let limits = Limits {
            max_message_size: 0,
        };
        let mut assembler = MessageAssembler::default();
        assembler.begin_frame(Opcode::Binary);
        for _ in 1..limits.max_fragments() {
            assert_eq!(
                assembler.admit(&header(false, Opcode::Continuation, 0), &limits),
                Ok(())
            );
            assembler.begin_frame(Opcode::Continuation);
        }
        let one_more = assembler.admit(&header(true, Opcode::Continuation, 0), &limits);
        assert_eq!(one_more, Err(ProtocolError::TooManyFragments));
    }

    #[test]
    fn text_may_not_end_inside_a_character() {
        let mut assembler = MessageAssembler::default();
        assembler.begin_frame(Opcode::Text);
        assembler.push(b"\xe2\x82").unwrap();
        assert_eq!(assembler.finish(), Err(ProtocolError::InvalidUtf8));
    }
}
