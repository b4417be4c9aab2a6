//! What a message is wrapped in on its way through Redis.

use std::fmt;

use crate::protocol::{MessageKind, Utf8Validator, is_room_name};

/// What begins an envelope. `FF` begins no text in UTF-8, so that what somebody publishes by hand
/// is none.
const MAGIC: [u8; 3] = [0xFF, b'W', b'B'];
const VERSION: u8 = 1;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const KIND: u8 = 0x0F;
const CONTROL: u8 = 0x10;

/// A message, and what the servers that share it must know of it.
///
/// | bytes | what |
/// |--:|---|
/// | 3 | `FF 57 42` |
/// | 1 | the version: 1 |
/// | 1 | flags: 1 text or 2 binary, and 0x10 for what servers tell each other |
/// | 8 | the origin, big-endian |
/// | 8 | the number of the message at its origin, big-endian |
/// | 1 | the length of the room's name |
/// | so many | the room's name in UTF-8, empty for the default room |
/// | the rest | the payload |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'e> {
    /// Text or binary. Text is UTF-8.
    pub kind: MessageKind,
    /// Whether it is for servers alone, and no client hears it.
    pub is_control: bool,
    /// The process that says it, or 0 for somebody who does not count: then nobody looks at `seq`.
    pub origin: u64,
    /// Its number at its origin: one more than that of the message before.
    pub seq: u64,
    /// The room's name: at most 128 bytes without control characters. Empty for the default room.
    pub room: &'e str,
    /// What is said.
    pub payload: &'e [u8],
}

/// What was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'e> {
    /// A message from a server, or from a program that writes as one.
    Envelope(Envelope<'e>),
    /// Bytes without an envelope, for the default room: whatever does not begin as one does.
    Raw {
        /// Text if it is UTF-8, and binary otherwise.
        kind: MessageKind,
        /// All of it.
        payload: &'e [u8],
    },
}

/// What is wrong with an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EnvelopeError {
    /// It is of another version.
    Version,
    /// A flag is set that is none, or it is neither text nor binary, or both.
    Flags,
    /// It ends too early.
    Length,
    /// The room's name is too long, not UTF-8, or has control characters.
    Room,
    /// The text is not UTF-8.
    Text,
    /// The payload is longer than a message may be.
    Size,
}

impl<'e> Envelope<'e> {
    /// The length of what precedes the room's name, in bytes.
    pub const HEADER_LEN: usize = MAGIC.len() + 1 + 1 + 8 + 8 + 1;

    /// The length of all of it, in bytes.
    pub fn encoded_len(&self) -> usize {
        Self::HEADER_LEN + self.room.len() + self.payload.len()
    }

    /// Appends it.
    ///
    /// # Errors
    /// [`EnvelopeError::Room`] if the room's name is none; nothing is appended then. That the
    /// payload is short enough, and UTF-8 if it is text, is the caller's business.
    pub fn encode(&self, output: &mut Vec<u8>) -> Result<(), EnvelopeError> {
        let room_len = u8::try_from(self.room.len()).map_err(|_| EnvelopeError::Room)?;
        if !is_room_name(self.room) {
            return Err(EnvelopeError::Room);
        }
        let kind = match self.kind {
            MessageKind::Text => TEXT,
            MessageKind::Binary => BINARY,
        };
        let control = if self.is_control { CONTROL } else { 0 };
        output.reserve(self.encoded_len());
        output.extend_from_slice(&MAGIC);
        output.extend_from_slice(&[VERSION, kind | control]);
        output.extend_from_slice(&self.origin.to_be_bytes());
        output.extend_from_slice(&self.seq.to_be_bytes());
        output.push(room_len);
        output.extend_from_slice(self.room.as_bytes());
        output.extend_from_slice(self.payload);
        Ok(())
    }

    /// Reads what was published. Everything is checked again, whoever has published it: Redis is
    /// another zone of trust.
    ///
    /// # Errors
    /// If it begins as an envelope and is none, or if its payload has more than `max_message_size`
    /// bytes.
    pub fn parse(bytes: &'e [u8], max_message_size: usize) -> Result<Parsed<'e>, EnvelopeError> {
        let Some(rest) = bytes.strip_prefix(&MAGIC) else {
            if bytes.len() > max_message_size {
                return Err(EnvelopeError::Size);
            }
            let kind = if is_utf8(bytes) {
                MessageKind::Text
            } else {
                MessageKind::Binary
            };
            return Ok(Parsed::Raw {
                kind,
                payload: bytes,
            });
        };
        let envelope = Self::parse_rest(rest)?;
        if envelope.payload.len() > max_message_size {
            return Err(EnvelopeError::Size);
        }
        if envelope.kind == MessageKind::Text && !is_utf8(envelope.payload) {
            return Err(EnvelopeError::Text);
        }
        Ok(Parsed::Envelope(envelope))
    }

    /// Reads what is behind the magic bytes; the payload is not looked at.
    fn parse_rest(rest: &'e [u8]) -> Result<Self, EnvelopeError> {
        let (version, rest) = rest.split_first().ok_or(EnvelopeError::Length)?;
        // What another version has behind it is not ours to judge.
        if *version != VERSION {
            return Err(EnvelopeError::Version);
        }
        let (flags, rest) = rest.split_first().ok_or(EnvelopeError::Length)?;
        let kind = match flags & KIND {
            TEXT => MessageKind::Text,
            BINARY => MessageKind::Binary,
            _ => return Err(EnvelopeError::Flags),
        };
        if flags & !(KIND | CONTROL) != 0 {
            return Err(EnvelopeError::Flags);
        }
        let (origin, rest) = rest.split_first_chunk().ok_or(EnvelopeError::Length)?;
        let (seq, rest) = rest.split_first_chunk().ok_or(EnvelopeError::Length)?;
        let (room_len, rest) = rest.split_first().ok_or(EnvelopeError::Length)?;
        let (room, payload) = rest
            .split_at_checked(usize::from(*room_len))
            .ok_or(EnvelopeError::Length)?;
        let room = std::str::from_utf8(room)
            .ok()
            .filter(|room| is_room_name(room))
            .ok_or(EnvelopeError::Room)?;
        Ok(Self {
            kind,
            is_control: flags & CONTROL != 0,
            origin: u64::from_be_bytes(*origin),
            seq: u64::from_be_bytes(*seq),
            room,
            payload,
        })
    }
}

impl EnvelopeError {
    /// All of them, in the order of [`index`](Self::index).
    pub const ALL: [Self; 6] = [
        Self::Version,
        Self::Flags,
        Self::Length,
        Self::Room,
        Self::Text,
        Self::Size,
    ];

    /// Its place in a table of counters.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word that metrics and the log have for it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Flags => "flags",
            Self::Length => "length",
            Self::Room => "room",
            Self::Text => "text",
            Self::Size => "size",
        }
    }
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an envelope with a wrong {}", self.reason())
    }
}

impl std::error::Error for EnvelopeError {}

/// As the protocol checks messages: fast, whatever the text.
fn is_utf8(bytes: &[u8]) -> bool {
    let mut validator = Utf8Validator::default();
    validator.push(bytes).is_ok() && validator.is_complete()
}
