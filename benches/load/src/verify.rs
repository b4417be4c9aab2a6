//! The verifier: everybody in a room hears every message, once, whole, in one order.
//!
//! A server that broadcasts sends the same bytes to everybody. So a room keeps what the fastest of
//! its clients has heard, takes that apart once, and all others are compared with it: one
//! comparison of slices for all that a read has brought, however many frames are in it. Control
//! frames are each client's own, and are taken out before.

use std::collections::VecDeque;

use crate::fault::Fault;
use crate::frame::{self, Header};
use crate::payload::Payloads;

/// The most bytes that the fastest client of a room may be ahead of the slowest.
pub const MAX_AHEAD: usize = 512 << 20;
/// What is kept for a room of several before the slowest is looked for, to begin with.
const KEPT: usize = 16 << 10;

/// One message of a room, in the order that holds for all.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Where its frame ends, in bytes from the start of the room.
    end: u64,
    /// When it was said.
    pub sent: u64,
    /// Who said it.
    pub publisher: u32,
    sequence: u32,
}

/// What has been heard in one room.
#[derive(Debug)]
pub struct Room {
    /// Bytes as heard, from `base` on; the last frame may be incomplete.
    bytes: Vec<u8>,
    base: u64,
    /// Where the last whole frame ends.
    parsed: u64,
    /// The whole frames, from number `first_message` on.
    messages: VecDeque<Message>,
    first_message: u64,
    /// The next message that is due of each of its publishers.
    due: Vec<u32>,
    first_publisher: u32,
    /// How many bytes are kept before the slowest is looked for.
    keep: usize,
}

/// How far one client has come.
#[derive(Debug, Default)]
pub struct Receiver {
    /// How many bytes of the room it has heard.
    position: u64,
    /// Where the frame starts that it hears now.
    frame: u64,
    /// How many messages it has heard.
    heard: u64,
    /// A control frame that a read has cut.
    carry: Vec<u8>,
}

impl Receiver {
    /// How many messages it has heard.
    pub fn heard(&self) -> u64 {
        self.heard
    }
}

impl Room {
    /// A room of `members`, in which `publishers` speak, numbered from the first on.
    pub fn new(members: usize, first_publisher: u32, publishers: u32) -> Self {
        Self {
            bytes: Vec::new(),
            base: 0,
            parsed: 0,
            messages: VecDeque::new(),
            first_message: 0,
            due: vec![0; publishers as usize],
            first_publisher,
            // Who is alone in a room is always the slowest.
            keep: if members > 1 { KEPT } else { 0 },
        }
    }

    /// Takes what `receiver` has read. `on_message` is told each message that is complete by that;
    /// what a Ping asks for goes to `replies`.
    pub fn hear(
        &mut self,
        payloads: &Payloads,
        receiver: &mut Receiver,
        mut bytes: &[u8],
        replies: &mut Vec<u8>,
        mut on_message: impl FnMut(&Message),
    ) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if !receiver.carry.is_empty() {
                bytes = resume_control(receiver, bytes, replies)?;
                continue;
            }
            // 1. What is known already.
            let from = offset(receiver.position, self.base);
            let known = &self.bytes[from..];
            let len = known.len().min(bytes.len());
            if known[..len] == bytes[..len] {
                bytes = &bytes[len..];
                self.advance(receiver, len, &mut on_message);
                let is_news = !bytes.is_empty();
                if !is_news {
                    break;
                }
            } else {
                let same = known.iter().zip(bytes).take_while(|(a, b)| a == b).count();
                bytes = &bytes[same..];
                self.advance(receiver, same, &mut on_message);
                if receiver.position != receiver.frame || !frame::is_control(bytes[0]) {
                    return Err(self.explain(payloads, receiver, bytes));
                }
            }
            // 2. A control frame, between two messages.
            if receiver.position == receiver.frame && frame::is_control(bytes[0]) {
                bytes = control(receiver, bytes, replies)?;
                continue;
            }
            // 3. News.
            let taken = self.extend(payloads, bytes)?;
            bytes = &bytes[taken..];
            self.advance(receiver, taken, &mut on_message);
        }
        Ok(())
    }

    /// Whether so much is kept that [`trim`](Self::trim) should be called.
    pub fn is_full(&self) -> bool {
        self.bytes.len() > self.keep
    }

    /// Forgets what all have heard: as much as `slowest` has.
    pub fn trim(&mut self, slowest: &Receiver) -> Result<(), Fault> {
        let len = offset(slowest.frame, self.base);
        self.bytes.drain(..len);
        self.base = slowest.frame;
        self.messages
            .drain(..offset(slowest.heard, self.first_message));
        self.first_message = slowest.heard;
        if self.keep > 0 && self.bytes.len() > self.keep / 2 {
            self.keep *= 2;
        }
        if self.bytes.len() > MAX_AHEAD {
            return Err(Fault::FarBehind(MAX_AHEAD));
        }
        Ok(())
    }

    /// Moves a receiver on, over bytes that are those of the room.
    fn advance(&self, receiver: &mut Receiver, len: usize, on_message: &mut impl FnMut(&Message)) {
        receiver.position += len as u64;
        let from = offset(receiver.heard, self.first_message);
        for message in self.messages.range(from..) {
            if message.end > receiver.position {
                break;
            }
            receiver.frame = message.end;
            receiver.heard += 1;
            on_message(message);
        }
    }

    /// Takes bytes that nobody in the room has heard before, up to a control frame, and says how
    /// many.
    fn extend(&mut self, payloads: &Payloads, bytes: &[u8]) -> Result<usize, Fault> {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        loop {
            let start = offset(self.parsed, self.base);
            let rest = &self.bytes[start..];
            if rest.first().is_some_and(|first| frame::is_control(*first)) {
                self.bytes.truncate(start);
                break;
            }
            let Some(header) = frame::parse(rest)? else {
                break;
            };
            check_header(payloads, header, rest[0])?;
            let len = header.len + payloads.size();
            let Some(payload) = rest.get(header.len..len) else {
                break;
            };
            let stamp = payloads.check(payload)?;
            let place = stamp.publisher.wrapping_sub(self.first_publisher) as usize;
            let due = self.due.get_mut(place).ok_or(Fault::Stranger {
                publisher: stamp.publisher,
            })?;
            out_of_sequence(stamp.publisher, *due, stamp.sequence)?;
            *due += 1;
            self.parsed += len as u64;
            self.messages.push_back(Message {
                end: self.parsed,
                sent: stamp.sent,
                publisher: stamp.publisher,
                sequence: stamp.sequence,
            });
        }
        Ok(self.bytes.len() - before)
    }

    /// What is wrong with a frame that is not the one that others heard, and goes on with `bytes`.
    fn explain(&self, payloads: &Payloads, receiver: &Receiver, bytes: &[u8]) -> Fault {
        // The bytes of the room up to here are its own bytes as well.
        let start = offset(receiver.frame, self.base);
        let own = &self.bytes[start..offset(receiver.position, self.base)];
        let whole = [own, bytes].concat();
        let stamp = match frame::parse(&whole) {
            Err(fault) => return fault,
            Ok(None) => return Fault::Differs,
            Ok(Some(header)) => {
                if let Err(fault) = check_header(payloads, header, whole[0]) {
                    return fault;
                }
                match whole.get(header.len..header.len + payloads.size()) {
                    None => return Fault::Differs,
                    Some(payload) => match payloads.check(payload) {
                        Err(fault) => return fault,
                        Ok(stamp) => stamp,
                    },
                }
            }
        };
        let later = offset(receiver.heard, self.first_message);
        let mut due = self
            .messages
            .range(later..)
            .filter(|message| message.publisher == stamp.publisher)
            .map(|message| message.sequence);
        let place = stamp.publisher.wrapping_sub(self.first_publisher) as usize;
        match due.next().or_else(|| self.due.get(place).copied()) {
            None => Fault::Stranger {
                publisher: stamp.publisher,
            },
            Some(due) => match out_of_sequence(stamp.publisher, due, stamp.sequence) {
                Err(fault) => fault,
                Ok(()) => Fault::OtherOrder {
                    publisher: stamp.publisher,
                    heard: stamp.sequence,
                },
            },
        }
    }
}

fn out_of_sequence(publisher: u32, expected: u32, heard: u32) -> Result<(), Fault> {
    match heard.cmp(&expected) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(Fault::Missing {
            publisher,
            expected,
            heard,
        }),
        std::cmp::Ordering::Less => Err(Fault::Doubled {
            publisher,
            expected,
            heard,
        }),
    }
}

fn check_header(payloads: &Payloads, header: Header, first: u8) -> Result<(), Fault> {
    if header.opcode != payloads.opcode() {
        return Err(Fault::Unexpected(first));
    }
    if header.payload != payloads.size() as u64 {
        return Err(Fault::Length(header.payload));
    }
    Ok(())
}

/// Takes a control frame from the start of these bytes, and says what is behind it. One that is
/// cut is kept.
fn control<'b>(
    receiver: &mut Receiver,
    bytes: &'b [u8],
    replies: &mut Vec<u8>,
) -> Result<&'b [u8], Fault> {
    match frame::parse(bytes)? {
        Some(header) if header.payload > frame::MAX_CONTROL_PAYLOAD => Err(Fault::LongControl),
        Some(header) if bytes.len() as u64 >= header.len as u64 + header.payload => {
            let (payload, rest) = bytes[header.len..].split_at(offset(header.payload, 0));
            match header.opcode {
                frame::PING => frame::write(frame::PONG, payload, replies),
                frame::PONG => {}
                frame::CLOSE => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    return Err(Fault::Close(code));
                }
                _ => return Err(Fault::Unexpected(bytes[0])),
            }
            Ok(rest)
        }
        _ => {
            receiver.carry.extend_from_slice(bytes);
            Ok(&[])
        }
    }
}

/// Goes on with a control frame that was cut.
fn resume_control<'b>(
    receiver: &mut Receiver,
    bytes: &'b [u8],
    replies: &mut Vec<u8>,
) -> Result<&'b [u8], Fault> {
    let mut carry = std::mem::take(&mut receiver.carry);
    let before = carry.len();
    // No control frame is longer; what is too much is given back.
    let enough = 2 + offset(frame::MAX_CONTROL_PAYLOAD, 0);
    carry.extend_from_slice(&bytes[..bytes.len().min(enough)]);
    let rest = control(receiver, &carry, replies)?.len();
    if receiver.carry.is_empty() {
        Ok(&bytes[carry.len() - rest - before..])
    } else {
        Ok(&bytes[carry.len() - before..])
    }
}

/// How far `position` is behind `base`: what is kept fits into memory.
fn offset(position: u64, base: u64) -> usize {
    usize::try_from(position - base).expect("addresses have 64 bits")
}
