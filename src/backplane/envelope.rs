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
    /// It was said where no such thing is said: to servers what is for clients, or the other way
    /// round. [`Envelope::parse`] does not know where it was said.
    Channel,
    /// It is for servers, and nobody's: origin 0 is not there to be heard. Only where it was said
    /// to servers.
    Origin,
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

    /// Whether what was published names no origin, whatever else is in it: nobody could tell that
    /// it comes twice. Looks at no more than that.
    pub fn is_anonymous(bytes: &[u8]) -> bool {
        let origin = MAGIC.len() + 2..MAGIC.len() + 2 + 8;
        !bytes.starts_with(&MAGIC)
            || bytes
                .get(origin)
                .is_some_and(|origin| origin.iter().all(|byte| *byte == 0))
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
    pub const ALL: [Self; 8] = [
        Self::Version,
        Self::Flags,
        Self::Length,
        Self::Room,
        Self::Text,
        Self::Size,
        Self::Channel,
        Self::Origin,
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
            Self::Channel => "channel",
            Self::Origin => "origin",
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 64;

    /// A text for the room `lobby`, and the bytes that it is.
    const HELLO: Envelope<'static> = Envelope {
        kind: MessageKind::Text,
        is_control: false,
        origin: 0x0123_4567_89ab_cdef,
        seq: 1,
        room: "lobby",
        payload: b"Hello",
    };
    const HELLO_HEX: &str =
        "ff574201 01 0123456789abcdef 0000000000000001 05 6c6f626279 48656c6c6f";

    /// Two bytes for the default room, from somebody who does not count.
    const UNCOUNTED: Envelope<'static> = Envelope {
        kind: MessageKind::Binary,
        is_control: false,
        origin: 0,
        seq: 0,
        room: "",
        payload: &[0x00, 0xff],
    };
    const UNCOUNTED_HEX: &str = "ff574201 02 0000000000000000 0000000000000000 00 00ff";

    /// A heartbeat of a process that has said 258 messages.
    const HEARTBEAT: Envelope<'static> = Envelope {
        kind: MessageKind::Binary,
        is_control: true,
        origin: u64::MAX,
        seq: 0,
        room: "",
        payload: &[0, 0, 0, 0, 0, 0, 1, 2],
    };
    const HEARTBEAT_HEX: &str = "ff574201 12 ffffffffffffffff 0000000000000000 00 0000000000000102";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex
            .chars()
            .filter_map(|digit| u8::try_from(digit.to_digit(16)?).ok())
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] * 16 + pair[1])
            .collect()
    }

    fn encoded(envelope: Envelope<'_>) -> Vec<u8> {
        let mut output = b"before".to_vec();
        envelope.encode(&mut output).unwrap();
        let bytes = output.split_off(6);
        assert_eq!(output, b"before");
        assert_eq!(bytes.len(), envelope.encoded_len());
        bytes
    }

    fn refused(hex: &str) -> Option<EnvelopeError> {
        Envelope::parse(&bytes(hex), MAX).err()
    }

    #[test]
    fn envelopes_are_these_bytes() {
        for (envelope, hex) in [
            (HELLO, HELLO_HEX),
            (UNCOUNTED, UNCOUNTED_HEX),
            (HEARTBEAT, HEARTBEAT_HEX),
        ] {
            assert_eq!(encoded(envelope), bytes(hex), "{hex}");
            assert_eq!(
                Envelope::parse(&bytes(hex), MAX),
                Ok(Parsed::Envelope(envelope)),
                "{hex}"
            );
        }
        assert_eq!(Envelope::HEADER_LEN, 22);
        assert_eq!(bytes(HELLO_HEX).len(), 22 + 5 + 5);
    }

    #[test]
    fn what_does_not_begin_as_an_envelope_is_for_the_default_room() {
        for (payload, kind) in [
            (b"hi".as_slice(), MessageKind::Text),
            (b"", MessageKind::Text),
            ("ÿWB".as_bytes(), MessageKind::Text),
            (b"\xff", MessageKind::Binary),
            (b"\xffW", MessageKind::Binary),
            (b"\xffWb\x01", MessageKind::Binary),
            (b"WB\x01", MessageKind::Text),
            (b"\xc3", MessageKind::Binary),
            (b"\xed\xa0\x80", MessageKind::Binary),
        ] {
            let raw = Parsed::Raw { kind, payload };
            assert_eq!(Envelope::parse(payload, MAX), Ok(raw), "{payload:x?}");
        }
    }

    #[test]
    fn what_ends_too_early_is_refused() {
        let whole = bytes(HELLO_HEX);
        let header_and_room = Envelope::HEADER_LEN + HELLO.room.len();
        for end in 3..header_and_room {
            let cut = Envelope::parse(&whole[..end], MAX);
            assert_eq!(cut, Err(EnvelopeError::Length), "{end} bytes");
        }
        let empty = Envelope {
            payload: b"",
            ..HELLO
        };
        let cut = Envelope::parse(&whole[..header_and_room], MAX);
        assert_eq!(cut, Ok(Parsed::Envelope(empty)));
    }

    #[test]
    fn another_version_is_refused_whatever_it_has_behind_it() {
        assert_eq!(refused("ff574200"), Some(EnvelopeError::Version));
        assert_eq!(refused("ff574202"), Some(EnvelopeError::Version));
        let next = HELLO_HEX.replacen("ff574201", "ff574202", 1);
        assert_eq!(refused(&next), Some(EnvelopeError::Version));
    }

    #[test]
    fn flags_that_are_none_are_refused() {
        for flags in 0..=u8::MAX {
            let mut bytes = bytes(HELLO_HEX);
            bytes[4] = flags;
            let expected = match flags {
                0x01 | 0x02 | 0x11 | 0x12 => None,
                _ => Some(EnvelopeError::Flags),
            };
            let heard = Envelope::parse(&bytes, MAX).err();
            assert_eq!(heard, expected, "{flags:#x}");
        }
    }

    #[test]
    fn a_room_has_the_name_that_a_client_could_ask_for() {
        let with = |room: &str| {
            let mut bytes = bytes(UNCOUNTED_HEX);
            bytes[Envelope::HEADER_LEN - 1] = u8::try_from(room.len()).unwrap();
            bytes.splice(Envelope::HEADER_LEN.., room.bytes());
            bytes
        };
        for room in ["", "a", "é", "a/b c", &"a".repeat(128)] {
            assert!(Envelope::parse(&with(room), MAX).is_ok(), "{room}");
            let named = Envelope { room, ..UNCOUNTED };
            assert_eq!(named.encode(&mut Vec::new()), Ok(()), "{room}");
        }
        let (long, longer, longest) = ("a".repeat(129), "é".repeat(65), "a".repeat(256));
        for room in ["\0", "a\n", "\u{7f}", "\u{85}", &long, &longer] {
            let refused = Envelope::parse(&with(room), MAX).err();
            assert_eq!(refused, Some(EnvelopeError::Room), "{room:?}");
        }
        for room in ["\0", "a\n", "\u{7f}", "\u{85}", &long, &longer, &longest] {
            let mut output = b"before".to_vec();
            let named = Envelope { room, ..UNCOUNTED };
            assert_eq!(named.encode(&mut output), Err(EnvelopeError::Room));
            assert_eq!(output, b"before", "nothing is appended");
        }
        let not_utf8 = UNCOUNTED_HEX.replace("00 00ff", "01 ff");
        assert_eq!(refused(&not_utf8), Some(EnvelopeError::Room));
    }

    #[test]
    fn text_is_utf8_and_binary_need_not_be() {
        let bad = HELLO_HEX.replace("48656c6c6f", "48656cc3");
        assert_eq!(refused(&bad), Some(EnvelopeError::Text));
        let surrogate = HELLO_HEX.replace("48656c6c6f", "eda080");
        assert_eq!(refused(&surrogate), Some(EnvelopeError::Text));
        let binary = bad.replacen("01 01", "01 02", 1);
        assert_eq!(refused(&binary), None);
        let good = HELLO_HEX.replace("48656c6c6f", "48656cc3a9");
        assert_eq!(refused(&good), None);
    }

    #[test]
    fn a_payload_is_no_longer_than_a_message_may_be() {
        let (largest, too_long) = ([b'a'; MAX], [b'a'; MAX + 1]);
        for (payload, expected) in [
            (largest.as_slice(), None),
            (&too_long, Some(EnvelopeError::Size)),
        ] {
            let envelope = encoded(Envelope { payload, ..HELLO });
            assert_eq!(Envelope::parse(&envelope, MAX).err(), expected);
            assert_eq!(Envelope::parse(payload, MAX).err(), expected, "raw");
        }
    }

    #[test]
    fn each_error_has_its_place_and_its_word() {
        let mut words: Vec<_> = EnvelopeError::ALL.map(EnvelopeError::reason).to_vec();
        for (index, error) in EnvelopeError::ALL.into_iter().enumerate() {
            assert_eq!(error.index(), index);
        }
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), EnvelopeError::ALL.len());
        assert_eq!(
            EnvelopeError::Room.to_string(),
            "an envelope with a wrong room"
        );
    }

    fn kind() -> impl Strategy<Value = MessageKind> {
        prop_oneof![Just(MessageKind::Text), Just(MessageKind::Binary)]
    }

    fn text(len: usize) -> impl Strategy<Value = String> {
        vec(any::<char>(), 0..len).prop_map(String::from_iter)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_is_encoded_is_parsed(
            kind in kind(),
            is_control in any::<bool>(),
            origin in any::<u64>(),
            seq in any::<u64>(),
            room in text(33),
            text in text(60),
            binary in vec(any::<u8>(), 0..200),
        ) {
            let payload = match kind {
                MessageKind::Text => text.as_bytes(),
                MessageKind::Binary => &binary,
            };
            let room = room.replace(char::is_control, "-");
            let envelope = Envelope { kind, is_control, origin, seq, room: &room, payload };
            let bytes = encoded(envelope);
            let parsed = Envelope::parse(&bytes, payload.len());
            prop_assert_eq!(parsed, Ok(Parsed::Envelope(envelope)));
            if let Some(less) = payload.len().checked_sub(1) {
                let parsed = Envelope::parse(&bytes, less);
                prop_assert_eq!(parsed, Err(EnvelopeError::Size));
            }
        }

        #[test]
        fn what_is_parsed_would_be_encoded_so(
            begins_well in any::<bool>(),
            at in 0_usize..40,
            byte in any::<u8>(),
            noise in vec(any::<u8>(), 0..80),
        ) {
            // An envelope with a byte that is another one, or anything.
            let mut bytes = if begins_well { [bytes(HELLO_HEX), noise].concat() } else { noise };
            if let Some(changed) = bytes.get_mut(at) {
                *changed = byte;
            }
            match Envelope::parse(&bytes, MAX) {
                Ok(Parsed::Envelope(envelope)) => {
                    prop_assert!(envelope.payload.len() <= MAX);
                    prop_assert_eq!(encoded(envelope), bytes);
                }
                Ok(Parsed::Raw { kind, payload }) => {
                    prop_assert!(!bytes.starts_with(&MAGIC));
                    prop_assert_eq!(payload, bytes.as_slice());
                    let is_text = kind == MessageKind::Text;
                    prop_assert_eq!(is_text, std::str::from_utf8(payload).is_ok());
                }
                Err(EnvelopeError::Size) => prop_assert!(bytes.len() > MAX),
                Err(_) => prop_assert!(bytes.starts_with(&MAGIC)),
            }
        }
    }
}
