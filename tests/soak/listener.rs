//! An honest client's view of its room.

use std::io;
use std::time::{Duration, Instant};

use crate::connection::{Connection, Heard, other};
use crate::latency::Latency;
use crate::payload::{Message, Patterns};
use crate::room::{Place, Room};

/// An honest client.
pub(crate) struct Member {
    pub(crate) connection: Connection,
    pub(crate) listener: Listener,
}

pub(crate) struct Listener {
    pub(crate) id: u32,
    pub(crate) room: usize,
    pub(crate) stage: Stage,
    /// When it began to join, or to leave.
    pub(crate) since: Instant,
    place: Place,
    /// Messages that it has said with a header.
    pub(crate) said: u32,
    /// How many of those it has heard.
    echoed: u32,
    /// Messages that had been said in its room before it was there.
    before: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Joining,
    Open,
    /// It has said Close.
    Leaving,
    /// It has heard the answer.
    Closed,
}

/// What all clients of a process have heard.
pub(crate) struct Tally {
    pub(crate) opened: u64,
    pub(crate) deliveries: u64,
    pub(crate) delivered_bytes: u64,
    pub(crate) latency: Latency,
}

impl Listener {
    /// One who is about to join a room: as its founder, if nobody else is there.
    pub(crate) fn new(id: u32, room: usize, founds: bool, now: Instant) -> Self {
        let place = if founds {
            Place::At(0)
        } else {
            Place::Waiting(Vec::new())
        };
        Self {
            id,
            room,
            stage: Stage::Joining,
            since: now,
            place,
            said: 0,
            echoed: 0,
            before: 0,
        }
    }

    /// Checks what is heard. `now` is the time since the process began.
    pub(crate) fn hear(
        &mut self,
        heard: &Heard<'_>,
        room: &mut Room,
        patterns: &Patterns,
        tally: &mut Tally,
        now: Duration,
    ) -> io::Result<()> {
        match (heard, self.stage) {
            (Heard::Opened, Stage::Joining) => {
                self.stage = Stage::Open;
                self.before = room.said;
                tally.opened += 1;
            }
            (Heard::Message(opcode, payload), Stage::Open | Stage::Leaving) => {
                let message = patterns
                    .read(*opcode, payload)
                    .map_err(|wrong| other(&wrong))?;
                room.hear(&mut self.place, message)
                    .map_err(|wrong| other(&wrong))?;
                tally.deliveries += 1;
                tally.delivered_bytes += payload.len() as u64;
                if let Message::Stamped(stamp) = message {
                    tally
                        .latency
                        .note(now.saturating_sub(Duration::from_nanos(stamp.sent_at)));
                    if stamp.sender == self.id && stamp.sequence != self.echoed {
                        return Err(other("it does not hear all that it says"));
                    }
                    self.echoed += u32::from(stamp.sender == self.id);
                }
            }
            (Heard::Close(1000), Stage::Leaving) => self.stage = Stage::Closed,
            (Heard::Close(code), stage) => {
                return Err(other(&format!(
                    "it hears a Close with {code} when {stage:?}"
                )));
            }
            (Heard::Refused(status), _) => {
                return Err(other(&format!("it is refused with {status}")));
            }
            (Heard::Opened | Heard::Message(..), stage) => {
                return Err(other(&format!("it hears something when {stage:?}")));
            }
        }
        Ok(())
    }

    /// Whether it has heard all that it has said.
    pub(crate) fn is_echoed(&self) -> bool {
        self.echoed == self.said
    }

    /// If nothing more is said in its room, it must have heard everything, and be settled.
    pub(crate) fn check_at_rest(&self, room: &Room) -> Result<(), String> {
        if self.stage != Stage::Open || !self.is_echoed() {
            return Err(format!(
                "it is {:?}, and has heard {} of its own {} messages",
                self.stage, self.echoed, self.said
            ));
        }
        room.check_heard_all(&self.place, self.before)
    }
}
