//! What is said in a room, in the order in which everybody must hear it.

use std::collections::{HashMap, VecDeque};

use crate::payload::Message;

/// Messages that are remembered. Whoever is so far behind the first who heard them is lost.
const MAX_BEHIND: usize = 8192;

/// What a newcomer may hear before it hears something that tells where in the order it is.
const MAX_WAITING: usize = 4096;

/// The order of a room's messages is decided by whoever hears each of them first. All others must
/// hear the same, without a gap, from the place on at which they came in.
#[derive(Default)]
pub(crate) struct Room {
    /// The latest messages.
    log: VecDeque<Message>,
    /// How many came before those.
    forgotten: u64,
    senders: HashMap<u32, Sender>,
    founder: Sender,
    /// Messages that were said.
    pub(crate) said: u64,
}

/// One who speaks: what it has said, and what of it somebody has heard.
#[derive(Clone, Copy, Default)]
struct Sender {
    said: u32,
    heard: u32,
}

/// Where in the order of its room somebody is.
pub(crate) enum Place {
    /// Having heard these, none of which tells.
    Waiting(Vec<Message>),
    /// Before the message of this number.
    At(u64),
}

impl Room {
    /// The number of the next message that somebody says, which is to be said at once.
    pub(crate) fn say(&mut self, sender: u32) -> u32 {
        Self::number(self.senders.entry(sender).or_default(), &mut self.said)
    }

    /// The same for the founder's.
    pub(crate) fn say_short(&mut self) -> u8 {
        Self::number(&mut self.founder, &mut self.said) as u8
    }

    fn number(sender: &mut Sender, said: &mut u64) -> u32 {
        *said += 1;
        sender.said += 1;
        sender.said - 1
    }

    /// How many messages somebody has heard first.
    pub(crate) fn heard(&self) -> u64 {
        self.forgotten + self.log.len() as u64
    }

    /// Somebody hears a message.
    pub(crate) fn hear(&mut self, place: &mut Place, message: Message) -> Result<(), String> {
        match place {
            Place::At(number) => {
                self.check(*number, message)?;
                *number += 1;
            }
            Place::Waiting(heard) => {
                heard.push(message);
                if heard.len() > MAX_WAITING {
                    return Err(format!("{MAX_WAITING} messages that nobody else heard"));
                }
                let tells = |message: &&Message| matches!(message, Message::Stamped(_));
                let Some(before) = heard.iter().position(|message| tells(&message)) else {
                    return Ok(());
                };
                let found = self.log.iter().rposition(|other| *other == heard[before]);
                // If not, the newcomer is ahead of all others.
                let Some(found) = found else { return Ok(()) };
                let Some(first) = found.checked_sub(before) else {
                    return Err("a newcomer hears what is forgotten".to_owned());
                };
                let first = self.forgotten + first as u64;
                for (number, message) in (first..).zip(heard.iter()) {
                    self.check(number, *message)?;
                }
                *place = Place::At(first + heard.len() as u64);
            }
        }
        Ok(())
    }

    /// The message of this number must be this one.
    fn check(&mut self, number: u64, message: Message) -> Result<(), String> {
        let Some(index) = number.checked_sub(self.forgotten) else {
            return Err(format!("over {MAX_BEHIND} messages behind the others"));
        };
        if let Some(expected) = self.log.get(index as usize) {
            return (*expected == message)
                .then_some(())
                .ok_or_else(|| format!("a gap: heard {message:?} instead of {expected:?}"));
        }
        let (expected, is_next) = match message {
            Message::Stamped(stamp) => {
                let sender = self.senders.entry(stamp.sender).or_default();
                (*sender, sender.advance(|next| next == stamp.sequence))
            }
            Message::Short { count, .. } => {
                let founder = &mut self.founder;
                (*founder, founder.advance(|next| next as u8 == count))
            }
        };
        if !is_next {
            let Sender { said, heard } = expected;
            return Err(format!(
                "a gap: heard {message:?}, the first to hear it, where {heard} is next of {said}"
            ));
        }
        self.log.push_back(message);
        if self.log.len() > MAX_BEHIND {
            self.log.pop_front();
            self.forgotten += 1;
        }
        Ok(())
    }

    /// Somebody who has been here since `before` messages had been said, and will hear nothing
    /// more because nothing more is said, must have heard all.
    pub(crate) fn check_heard_all(&self, place: &Place, before: u64) -> Result<(), String> {
        let (at, heard) = match place {
            Place::At(number) => (*number, u64::MAX),
            Place::Waiting(heard) => {
                let ours = heard.iter().rev();
                let is_tail = ours
                    .zip(self.log.iter().rev())
                    .all(|(ours, log)| ours == log);
                let at = if is_tail { self.heard() } else { 0 };
                (at, heard.len() as u64)
            }
        };
        if self.heard() != self.said || at != self.said || heard < self.said - before {
            return Err(format!(
                "of {} messages {} were heard, up to {at} by this one, who came after {before}",
                self.said,
                self.heard()
            ));
        }
        Ok(())
    }
}

impl Sender {
    /// Somebody hears the next message of this sender, if it is that one.
    fn advance(&mut self, is_that: impl Fn(u32) -> bool) -> bool {
        let is_next = self.heard < self.said && is_that(self.heard);
        self.heard += u32::from(is_next);
        is_next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Stamp;

    fn stamped(sender: u32, sequence: u32) -> Message {
        Message::Stamped(Stamp {
            sender,
            sequence,
            sent_at: 0,
            len: 40,
            is_text: false,
        })
    }

    fn short(count: u8) -> Message {
        Message::Short { count, len: 1 }
    }

    /// A room with this said by clients 1, 2, 1 and its founder, and heard by the founder.
    fn room() -> (Room, [Message; 4]) {
        let mut room = Room::default();
        let all = [stamped(1, 0), stamped(2, 0), stamped(1, 1), short(0)];
        for sender in [1, 2, 1] {
            room.say(sender);
        }
        room.say_short();
        hear(&mut room, &mut Place::At(0), &all).expect("it was said");
        (room, all)
    }

    fn hear(room: &mut Room, place: &mut Place, messages: &[Message]) -> Result<(), String> {
        messages
            .iter()
            .try_for_each(|message| room.hear(place, *message))
    }

    #[test]
    fn whoever_hears_the_same_hears_all() {
        let (mut room, all) = room();
        for (from, before) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)] {
            let mut place = Place::Waiting(Vec::new());
            hear(&mut room, &mut place, &all[from..]).expect("it was said");
            room.check_heard_all(&place, before).expect("it was all");
        }
    }

    #[test]
    fn a_gap_a_swap_a_double_and_a_stranger_are_noticed() {
        let (mut room, all) = room();
        let [a, b, c, d] = all;
        for wrong in [
            &[a, c] as &[_],
            &[b, a],
            &[a, a],
            &[a, b, c, c],
            &[a, b, c, short(1)],
            &[a, b, d],
            &[a, b, c, d, stamped(1, 2)],
            &[a, b, c, d, short(1)],
        ] {
            for mut place in [Place::At(0), Place::Waiting(Vec::new())] {
                assert!(hear(&mut room, &mut place, wrong).is_err(), "{wrong:?}");
            }
        }
    }

    #[test]
    fn what_is_missing_at_the_end_is_noticed() {
        let (mut room, all) = room();
        for missing in 1..=4 {
            for mut place in [Place::At(0), Place::Waiting(Vec::new())] {
                hear(&mut room, &mut place, &all[..4 - missing]).expect("it was said");
                assert!(room.check_heard_all(&place, 0).is_err(), "{missing}");
            }
        }
        let mut place = Place::Waiting(Vec::new());
        hear(&mut room, &mut place, &all[3..]).expect("it was said");
        assert!(room.check_heard_all(&place, 2).is_err());
        // Nobody heard it.
        room.say(2);
        assert!(room.check_heard_all(&Place::At(4), 0).is_err());
    }

    #[test]
    fn a_newcomer_may_be_ahead() {
        let (mut room, _) = room();
        let next = [stamped(3, 0), short(1), stamped(3, 1)];
        room.say(3);
        room.say_short();
        room.say(3);
        let mut newcomer = Place::Waiting(Vec::new());
        hear(&mut room, &mut newcomer, &next[..2]).expect("it waits");
        assert!(matches!(newcomer, Place::Waiting(_)));
        hear(&mut room, &mut Place::At(4), &next).expect("it was said");
        hear(&mut room, &mut newcomer, &next[2..]).expect("it was said");
        room.check_heard_all(&newcomer, 4).expect("it was all");
    }
}
