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
    /// The next message that is due of each of its publishers, where that is known.
    due: Vec<Option<u32>>,
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
            due: vec![Some(0); publishers as usize],
            first_publisher,
            // Who is alone in a room is always the slowest.
            keep: if members > 1 { KEPT } else { 0 },
        }
    }

    /// A room of one who comes when the others have said much already: what it hears first of each
    /// publisher is its start.
    pub fn joined_late(first_publisher: u32, publishers: u32) -> Self {
        let mut room = Self::new(1, first_publisher, publishers);
        room.due.fill(None);
        room
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
            let expected = due.unwrap_or(stamp.sequence);
            out_of_sequence(stamp.publisher, expected, stamp.sequence)?;
            *due = Some(expected + 1);
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
        match due
            .next()
            .or_else(|| self.due.get(place).copied().flatten())
        {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Stamp;

    const SIZE: usize = 64;
    /// The length of a frame.
    const FRAME: usize = 2 + SIZE;

    fn frame_of(publisher: u32, sequence: u32) -> Vec<u8> {
        let stamp = Stamp {
            publisher,
            sequence,
            sent: 1_000_000 + u64::from(sequence),
        };
        let mut frame = Vec::new();
        Payloads::new(SIZE, false).write_unmasked(stamp, &mut frame);
        frame
    }

    /// The frames of these messages.
    fn frames(messages: &[(u32, u32)]) -> Vec<u8> {
        let frames = messages.iter();
        frames
            .flat_map(|(who, which)| frame_of(*who, *which))
            .collect()
    }

    /// A room of some who are told what each has read.
    struct World {
        payloads: Payloads,
        room: Room,
        receivers: Vec<Receiver>,
        replies: Vec<u8>,
        heard: Vec<(usize, u32, u32)>,
    }

    impl World {
        fn new(members: usize) -> Self {
            Self {
                payloads: Payloads::new(SIZE, false),
                room: Room::new(members, 0, 2),
                receivers: (0..members).map(|_| Receiver::default()).collect(),
                replies: Vec::new(),
                heard: Vec::new(),
            }
        }

        fn hear(&mut self, who: usize, bytes: &[u8]) -> Result<(), Fault> {
            let heard = &mut self.heard;
            self.room.hear(
                &self.payloads,
                &mut self.receivers[who],
                bytes,
                &mut self.replies,
                |message| heard.push((who, message.publisher, message.sequence)),
            )
        }
    }

    /// What the second of two hears when the first has heard all as it was said; and what one hears
    /// who is the first to hear it.
    fn follower_and_leader(bytes: &[u8]) -> [Result<(), Fault>; 2] {
        let mut world = World::new(2);
        world.hear(0, &frames(&TALK)).unwrap();
        [world.hear(1, bytes), World::new(2).hear(1, bytes)]
    }

    const TALK: [(u32, u32); 5] = [(0, 0), (1, 0), (0, 1), (0, 2), (1, 1)];

    #[test]
    fn what_is_right_is_heard_by_all() {
        let mut world = World::new(3);
        let bytes = frames(&TALK);
        for who in 0..3 {
            world.hear(who, &bytes).unwrap();
        }
        let expected: Vec<_> = (0..3)
            .flat_map(|who| TALK.map(|(publisher, sequence)| (who, publisher, sequence)))
            .collect();
        assert_eq!(world.heard, expected);
        assert!(world.receivers.iter().all(|receiver| receiver.heard() == 5));
    }

    #[test]
    fn however_it_is_cut_it_is_the_same() {
        let mut bytes = frames(&TALK[..2]);
        frame_with(frame::PING, b"are you there?", &mut bytes);
        bytes.extend(frames(&TALK[2..]));
        for step in 1..bytes.len() {
            let mut world = World::new(2);
            // One with small steps, one with larger ones; who is ahead changes on the way.
            for (number, piece) in bytes.chunks(step).enumerate() {
                world.hear(0, piece).unwrap();
                if number % 3 == 2 {
                    let have = step * (number + 1);
                    let before = step * (number - 2);
                    world
                        .hear(1, &bytes[before..have.min(bytes.len())])
                        .unwrap();
                }
            }
            let rest = bytes.chunks(step).count() / 3 * 3 * step;
            world.hear(1, &bytes[rest.min(bytes.len())..]).unwrap();
            assert_eq!(world.heard.len(), 2 * TALK.len(), "{step}");
            let mut pong = Vec::new();
            frame::write(frame::PONG, b"are you there?", &mut pong);
            assert_eq!(world.replies, [pong.clone(), pong].concat(), "{step}");
        }
    }

    #[test]
    fn a_loss_is_caught() {
        for lost in 0..TALK.len() {
            let mut talk = TALK.to_vec();
            let (publisher, expected) = talk.remove(lost);
            let is_last = !talk[lost..].iter().any(|(who, _)| *who == publisher);
            for (ahead, heard) in follower_and_leader(&frames(&talk)).into_iter().enumerate() {
                match heard {
                    Err(Fault::Missing {
                        publisher: who,
                        expected: due,
                        ..
                    }) => {
                        assert_eq!((who, due), (publisher, expected));
                    }
                    // One that nothing follows of its publisher is noticed by the order, or by
                    // what is owed at the end.
                    Err(Fault::OtherOrder { .. }) => assert!(is_last || ahead == 0),
                    Ok(()) => assert!(is_last),
                    other => panic!("{lost}: {other:?}"),
                }
            }
        }
        let mut world = World::new(1);
        world.hear(0, &frames(&TALK[..4])).unwrap();
        assert_eq!(world.receivers[0].heard(), 4);
    }

    #[test]
    fn a_doubling_is_caught() {
        let twice = |place: usize| {
            let mut talk = TALK.to_vec();
            talk.insert(place, talk[place]);
            frames(&talk)
        };
        for place in 0..TALK.len() {
            for heard in follower_and_leader(&twice(place)) {
                assert!(matches!(heard, Err(Fault::Doubled { .. })), "{heard:?}");
            }
        }
    }

    #[test]
    fn a_disorder_of_one_publisher_is_caught() {
        for heard in follower_and_leader(&frames(&[(0, 1), (0, 0)])) {
            let expected = Fault::Missing {
                publisher: 0,
                expected: 0,
                heard: 1,
            };
            assert_eq!(heard, Err(expected));
        }
    }

    #[test]
    fn another_order_than_others_hear_is_caught() {
        let [follower, leader] = follower_and_leader(&frames(&[(1, 0), (0, 0)]));
        let expected = Fault::OtherOrder {
            publisher: 1,
            heard: 0,
        };
        assert_eq!(follower, Err(expected));
        assert_eq!(leader, Ok(()), "there is none to compare with");
    }

    #[test]
    fn each_corrupt_byte_is_caught() {
        let bytes = frames(&TALK[..2]);
        for place in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[place] ^= 0x40;
            for heard in follower_and_leader(&bytes) {
                assert!(heard.is_err(), "byte {place}");
            }
            // In the middle of a frame of which a part was heard before.
            let mut world = World::new(2);
            world.hear(0, &frames(&TALK)).unwrap();
            let before = place / FRAME * FRAME + (place % FRAME) / 2;
            world.hear(1, &bytes[..before]).unwrap();
            assert!(world.hear(1, &bytes[before..]).is_err(), "byte {place}");
        }
    }

    #[test]
    fn a_truncation_is_caught() {
        // A shorter payload in a frame that says so.
        let mut short = frame_of(0, 0);
        short.pop();
        short[1] -= 1;
        // One that does not say so: the next frame is taken for the end of this one.
        let mut cut = frame_of(0, 0);
        cut.pop();
        cut.extend(frame_of(1, 0));
        for (bytes, fault) in [(short, Fault::Length(63)), (cut, Fault::Corrupt)] {
            for heard in follower_and_leader(&bytes) {
                assert_eq!(heard, Err(fault));
            }
        }
        // The end of the stream in the middle of a frame: it is not heard.
        let mut world = World::new(1);
        world.hear(0, &frame_of(0, 0)[..FRAME - 1]).unwrap();
        assert_eq!(world.receivers[0].heard(), 0);
    }

    #[test]
    fn a_masked_frame_is_caught() {
        let mut masked = Vec::new();
        let stamp = Stamp {
            publisher: 0,
            sequence: 0,
            sent: 1_000_000,
        };
        Payloads::new(SIZE, false).write_frame(stamp, &mut masked);
        for heard in follower_and_leader(&masked) {
            assert_eq!(heard, Err(Fault::Masked));
        }
    }

    #[test]
    fn an_unexpected_opcode_is_caught() {
        for first in [0x81, 0x80, 0x83, 0x02, 0xc2, 0x8b] {
            let mut bytes = frame_of(0, 0);
            bytes[0] = first;
            for heard in follower_and_leader(&bytes) {
                assert_eq!(heard, Err(Fault::Unexpected(first)));
            }
        }
    }

    #[test]
    fn a_close_is_caught() {
        let mut bytes = frame_of(0, 0);
        frame_with(frame::CLOSE, &1008_u16.to_be_bytes(), &mut bytes);
        for heard in follower_and_leader(&bytes) {
            assert_eq!(heard, Err(Fault::Close(Some(1008))));
        }
    }

    #[test]
    fn a_control_frame_that_is_too_long_is_caught() {
        for heard in follower_and_leader(&[0x89, 126, 0, 126]) {
            assert_eq!(heard, Err(Fault::LongControl));
        }
    }

    #[test]
    fn who_speaks_in_another_room_is_caught() {
        for heard in follower_and_leader(&frames(&[(2, 0)])) {
            assert_eq!(heard, Err(Fault::Stranger { publisher: 2 }));
        }
    }

    #[test]
    fn who_comes_late_is_to_hear_all_from_then_on() {
        let payloads = Payloads::new(SIZE, false);
        let hear = |talk: &[(u32, u32)]| {
            let (mut receiver, mut replies) = (Receiver::default(), Vec::new());
            let mut room = Room::joined_late(0, 2);
            room.hear(
                &payloads,
                &mut receiver,
                &frames(talk),
                &mut replies,
                |_| {},
            )
        };
        assert_eq!(hear(&[(1, 7), (0, 3), (1, 8), (0, 4)]), Ok(()));
        let missing = Fault::Missing {
            publisher: 1,
            expected: 8,
            heard: 9,
        };
        assert_eq!(hear(&[(1, 7), (0, 3), (1, 9)]), Err(missing));
    }

    #[test]
    fn what_all_have_heard_is_forgotten() {
        let mut world = World::new(2);
        let mut kept = 0;
        for sequence in 0..10_000 {
            let bytes = frame_of(0, sequence);
            world.hear(0, &bytes).unwrap();
            world.hear(1, &bytes[..FRAME / 2]).unwrap();
            if world.room.is_full() {
                world.room.trim(&world.receivers[1]).unwrap();
            }
            world.hear(1, &bytes[FRAME / 2..]).unwrap();
            kept = kept.max(world.room.bytes.len());
        }
        assert!(kept <= KEPT + FRAME, "{kept} bytes are kept");
        // One byte that differs is still noticed.
        let mut bytes = frame_of(0, 10_000);
        world.hear(0, &bytes).unwrap();
        bytes[FRAME - 1] ^= 1;
        assert_eq!(world.hear(1, &bytes), Err(Fault::Corrupt));
    }

    /// An unmasked frame of any kind.
    fn frame_with(opcode: u8, payload: &[u8], output: &mut Vec<u8>) {
        output.push(0x80 | opcode);
        output.push(u8::try_from(payload.len()).unwrap());
        output.extend_from_slice(payload);
    }
}
