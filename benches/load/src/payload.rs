//! What is said: a stamp (who, which, when, a check sum), then a pattern that follows from it.
//!
//! All of it is printable ASCII, so that the same payload can be a text message.

use crate::fault::Fault;
use crate::frame;

/// The length of a stamp, and so of the shortest payload.
pub const STAMP: usize = 20;
/// How many publishers there can be: 18 bits of the stamp.
pub const MAX_PUBLISHERS: usize = 1 << 18;

/// Where in the pattern a payload may start: a multiple of four, so that it is masked in advance.
const STARTS: usize = 1024;
/// Six bits a character, from here on: 0x30 to 0x6f are all printable.
const ZERO: u8 = 0x30;

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Who says it, of all publishers of the run.
    pub publisher: u32,
    /// How many messages the publisher has said before.
    pub sequence: u32,
    /// When it was said, or was to be said, in nanoseconds from the start of the run.
    pub sent: u64,
}

/// All payloads of a run: they have one length and one kind.
#[derive(Debug)]
pub struct Payloads {
    size: usize,
    opcode: u8,
    plain: Vec<u8>,
    masked: Vec<u8>,
}

impl Payloads {
    /// Payloads of `size` bytes.
    ///
    /// # Panics
    ///
    /// If a stamp does not fit in.
    pub fn new(size: usize, is_text: bool) -> Self {
        assert!(size >= STAMP, "a payload holds a stamp");
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let plain: Vec<u8> = (0..size - STAMP + 4 * STARTS)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                digit(state >> 32)
            })
            .collect();
        let mut masked = plain.clone();
        frame::mask(&mut masked);
        Self {
            size,
            opcode: if is_text { frame::TEXT } else { frame::BINARY },
            plain,
            masked,
        }
    }

    /// The opcode of the frames.
    pub fn opcode(&self) -> u8 {
        self.opcode
    }

    /// The length of each payload.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Writes a masked frame.
    pub fn write_frame(&self, stamp: Stamp, output: &mut Vec<u8>) {
        frame::write_header(self.opcode, self.size, output);
        let mut text = [0; STAMP];
        let start = stamp.write(&mut text);
        frame::mask(&mut text);
        output.extend_from_slice(&text);
        output.extend_from_slice(&self.masked[start..start + self.size - STAMP]);
    }

    /// Writes the frame as an honest server would pass it on.
    pub fn write_unmasked(&self, stamp: Stamp, output: &mut Vec<u8>) {
        let start = output.len();
        frame::write_header(self.opcode, self.size, output);
        output.truncate(output.len() - frame::KEY.len());
        output[start + 1] &= 0x7f;
        let mut text = [0; STAMP];
        let from = stamp.write(&mut text);
        output.extend_from_slice(&text);
        output.extend_from_slice(&self.plain[from..from + self.size - STAMP]);
    }

    /// What a payload says, if it is one that was said.
    pub fn check(&self, payload: &[u8]) -> Result<Stamp, Fault> {
        if payload.len() != self.size {
            return Err(Fault::Length(payload.len() as u64));
        }
        let (text, pattern) = payload.split_first_chunk().ok_or(Fault::Corrupt)?;
        let (stamp, start) = Stamp::read(text).ok_or(Fault::Corrupt)?;
        if *pattern != self.plain[start..start + pattern.len()] {
            return Err(Fault::Corrupt);
        }
        Ok(stamp)
    }
}

impl Stamp {
    /// Writes it, and says where the pattern behind it starts.
    fn write(self, text: &mut [u8; STAMP]) -> usize {
        let mix = self.mix();
        write_number(&mut text[..3], u64::from(self.publisher));
        write_number(&mut text[3..8], u64::from(self.sequence));
        write_number(&mut text[8..16], self.sent);
        write_number(&mut text[16..], mix);
        start(mix)
    }

    /// Reads one, and says where the pattern behind it starts.
    fn read(text: &[u8; STAMP]) -> Option<(Self, usize)> {
        let stamp = Self {
            publisher: u32::try_from(read_number(&text[..3])?).ok()?,
            sequence: u32::try_from(read_number(&text[3..8])?).ok()?,
            sent: read_number(&text[8..16])?,
        };
        let mix = stamp.mix();
        let is_whole = read_number(&text[16..])? == mix & 0xff_ffff;
        is_whole.then_some((stamp, start(mix)))
    }

    /// A number in which each bit depends on all of the stamp.
    fn mix(self) -> u64 {
        let who = u64::from(self.publisher) << 32 | u64::from(self.sequence);
        let mut mix = who.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.sent;
        mix = (mix ^ mix >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mix ^ mix >> 32
    }
}

fn start(mix: u64) -> usize {
    // Other bits than those of the check sum.
    4 * ((mix >> 40) as usize % STARTS)
}

fn digit(number: u64) -> u8 {
    ZERO + (number & 0x3f) as u8
}

fn write_number(text: &mut [u8], mut number: u64) {
    for place in text {
        *place = digit(number);
        number >>= 6;
    }
}

fn read_number(text: &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in text.iter().rev() {
        let digit = place.wrapping_sub(ZERO);
        if digit > 0x3f {
            return None;
        }
        number = number << 6 | u64::from(digit);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMPED: Stamp = Stamp {
        publisher: (1 << 18) - 1,
        sequence: (1 << 30) - 1,
        sent: (1 << 48) - 1,
    };

    #[test]
    fn what_is_said_is_read() {
        for size in [STAMP, 21, 128, 70_000] {
            let payloads = Payloads::new(size, false);
            let (mut frame, mut masked) = (Vec::new(), Vec::new());
            payloads.write_unmasked(STAMPED, &mut frame);
            payloads.write_frame(STAMPED, &mut masked);
            let header = frame::parse(&frame).unwrap().unwrap();
            let payload = &frame[header.len..];
            assert_eq!(payloads.check(payload), Ok(STAMPED));
            assert!(payload.is_ascii());
            let mut unmasked = masked[header.len + frame::KEY.len()..].to_vec();
            frame::mask(&mut unmasked);
            assert_eq!(unmasked, payload, "{size}");
        }
    }

    #[test]
    fn each_byte_counts() {
        let payloads = Payloads::new(64, true);
        let mut frame = Vec::new();
        payloads.write_unmasked(STAMPED, &mut frame);
        let payload = &mut frame[2..];
        for i in 0..payload.len() {
            payload[i] ^= 1;
            assert_eq!(payloads.check(payload), Err(Fault::Corrupt), "byte {i}");
            payload[i] ^= 1;
        }
        assert_eq!(payloads.check(&payload[..63]), Err(Fault::Length(63)));
    }
}
