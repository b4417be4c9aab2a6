//! What messages say: who said them, which they are, when; and bytes that give away any damage.

use crate::random::{Random, mix};
use crate::support::{BINARY, TEXT};

/// The longest message.
pub(crate) const MAX_LEN: usize = 32 * 1024;

/// Sender, sequence number, time, length.
const HEADER: usize = 4 + 4 + 8 + 4;

/// The shortest message with a header, as text; in binary it is half as long.
const MIN_STAMPED: usize = 2 * HEADER;

/// The bytes that messages are cut from.
const PATTERN: usize = 2 * MAX_LEN;

/// What a message is. Two that differ in anything are different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Stamped(Stamp),
    /// Too short for a header. Only the founder of a room says such; it counts them modulo 256.
    Short {
        count: u8,
        len: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) sender: u32,
    pub(crate) sequence: u32,
    /// In nanoseconds since the sender's process began.
    pub(crate) sent_at: u64,
    pub(crate) len: u32,
    pub(crate) is_text: bool,
}

/// The bytes behind the headers: the same in all messages of a run, but cut at other places.
pub(crate) struct Patterns {
    binary: Vec<u8>,
    text: Vec<u8>,
}

impl Patterns {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let binary: Vec<u8> = (0..PATTERN).map(|_| random.below(256) as u8).collect();
        let text = binary.iter().map(|byte| b' ' + byte % 95).collect();
        Self { binary, text }
    }

    fn body(&self, stamp: &Stamp, len: usize) -> &[u8] {
        let place = mix(u64::from(stamp.sender) << 32 | u64::from(stamp.sequence));
        let start = place as usize % (PATTERN - MAX_LEN);
        let pattern = if stamp.is_text {
            &self.text
        } else {
            &self.binary
        };
        &pattern[start..start + len]
    }

    /// The opcode and the payload of a message.
    pub(crate) fn write(&self, message: Message) -> (u8, Vec<u8>) {
        let stamp = match message {
            Message::Short { count, len } => return (BINARY, vec![count; len.into()]),
            Message::Stamped(stamp) => stamp,
        };
        let mut payload = header(&stamp);
        let rest = stamp.len as usize - payload.len();
        payload.extend_from_slice(self.body(&stamp, rest));
        (if stamp.is_text { TEXT } else { BINARY }, payload)
    }

    /// Reads a message, and each of its bytes.
    pub(crate) fn read(&self, opcode: u8, payload: &[u8]) -> Result<Message, String> {
        let is_text = opcode == TEXT;
        if let (Ok(len @ 1..), true) = (u8::try_from(payload.len()), payload.len() < HEADER) {
            let count = payload[0];
            let is_sound = !is_text && payload.iter().all(|byte| *byte == count);
            return is_sound
                .then_some(Message::Short { count, len })
                .ok_or_else(|| format!("damaged, opcode {opcode}: {payload:?}"));
        }
        let stamp = read_header(is_text, payload).filter(|stamp| {
            let start = if is_text { 2 * HEADER } else { HEADER };
            payload.len() <= MAX_LEN
                && stamp.len as usize == payload.len()
                && *self.body(stamp, payload.len() - start) == payload[start..]
        });
        stamp.map(Message::Stamped).ok_or_else(|| {
            let start = &payload[..payload.len().min(2 * HEADER)];
            format!(
                "damaged, opcode {opcode}, {} bytes: {start:?}…",
                payload.len()
            )
        })
    }
}

/// A length: mostly short, now and then the longest.
pub(crate) fn some_len(random: &mut Random) -> u32 {
    let (least, most) = match random.below(200) {
        0..120 => (MIN_STAMPED, 256),
        120..194 => (256, 2048),
        194..199 => (2048, MAX_LEN),
        _ => (MAX_LEN, MAX_LEN),
    };
    (least + random.below(most - least + 1)) as u32
}

/// The length of a message without a header.
pub(crate) fn some_short_len(random: &mut Random) -> u8 {
    let is_least = random.below(2) == 0;
    if is_least {
        1
    } else {
        1 + random.below(HEADER - 1) as u8
    }
}

fn header(stamp: &Stamp) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MIN_STAMPED);
    bytes.extend(stamp.sender.to_be_bytes());
    bytes.extend(stamp.sequence.to_be_bytes());
    bytes.extend(stamp.sent_at.to_be_bytes());
    bytes.extend(stamp.len.to_be_bytes());
    if stamp.is_text {
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        bytes = bytes
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xF)])
            .collect();
    }
    bytes
}

fn read_header(is_text: bool, payload: &[u8]) -> Option<Stamp> {
    let mut bytes = [0; HEADER];
    if is_text {
        for (byte, digits) in bytes.iter_mut().zip(payload.get(..2 * HEADER)?.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
    } else {
        bytes = *payload.first_chunk()?;
    }
    let word = |at: usize| {
        bytes[at..]
            .first_chunk()
            .map(|word| u32::from_be_bytes(*word))
    };
    Some(Stamp {
        sender: word(0)?,
        sequence: word(4)?,
        sent_at: u64::from(word(8)?) << 32 | u64::from(word(12)?),
        len: word(16)?,
        is_text,
    })
}

#[test]
fn a_message_is_read_as_it_was_written_and_no_byte_may_change() {
    let (patterns, mut random) = (Patterns::new(1), Random::new(2));
    for sequence in 0..200 {
        let message = if sequence % 4 == 0 {
            Message::Short {
                count: sequence as u8,
                len: some_short_len(&mut random),
            }
        } else {
            Message::Stamped(Stamp {
                sender: 7,
                sequence,
                sent_at: random.next(),
                len: some_len(&mut random),
                is_text: sequence % 4 == 1,
            })
        };
        let (opcode, mut payload) = patterns.write(message);
        assert_eq!(patterns.read(opcode, &payload), Ok(message));
        assert_ne!(patterns.read(TEXT + BINARY - opcode, &payload), Ok(message));
        let place = random.below(payload.len());
        payload[place] ^= 1 << random.below(8);
        assert_ne!(patterns.read(opcode, &payload), Ok(message));
        payload.pop();
        assert_ne!(patterns.read(opcode, &payload), Ok(message));
    }
    assert!(patterns.read(BINARY, b"").is_err());
}
