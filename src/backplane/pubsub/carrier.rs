//! A link of Pub/Sub, and how far it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::action::LinkId;
use super::super::channels::Said;
use super::super::deadline::Deadline;
use super::gate::Gate;

/// Bytes of messages that are held for a link that must not be heard yet; beyond, it is not read.
pub(in crate::backplane) const MAX_HELD: usize = 4 * 1024 * 1024;

/// What a held message costs beside its bytes.
const HELD_COST: usize = 64;

/// How long the connection before is listened to when another one stands: about as long as the
/// kernel tries to reach somebody (`TCP_USER_TIMEOUT`). What waits in it is lost after that; so it
/// does not count while clients take less than it brings.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// A link of Pub/Sub, and how far it is.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) link: LinkId,
    pub(super) stage: Stage,
    /// The heartbeat that was the first thing said on it. Whoever finds it on both of two
    /// connections knows that all behind it on one is behind it on the other.
    pub(super) marker: Option<u64>,
    /// Until when the connection before is listened to, once this one is subscribed.
    drain: Option<Deadline>,
    /// Messages that must not be heard before those of the connection before.
    held: VecDeque<Said>,
    held_bytes: usize,
}

/// How far a link is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// It connects, and says who it is.
    Dialling,
    /// It has asked for the channels.
    Subscribing,
    /// It has them, and waits until the others have too.
    Gated(Gate),
    /// Messages go through it.
    Open,
}

impl Carrier {
    pub(super) fn new(link: LinkId) -> Self {
        Self {
            link,
            stage: Stage::Dialling,
            marker: None,
            drain: None,
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// The channels are subscribed to.
    pub(super) fn subscribed(&mut self, gate: Gate, now: Instant) {
        self.stage = Stage::Gated(gate);
        self.drain = Some(Deadline::new(DRAIN_DEADLINE, now));
    }

    /// Whether everything that is published arrives here.
    pub(super) fn is_subscribed(&self) -> bool {
        matches!(self.stage, Stage::Gated(_) | Stage::Open)
    }

    /// Whether messages go through it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Until when the connection before is listened to.
    pub(super) fn drain_until(&self) -> Option<Instant> {
        self.drain.map(|deadline| deadline.at())
    }

    /// Whether the connection before is read at the moment.
    pub(super) fn note_reading(&mut self, is_read: bool, now: Instant) {
        if let Some(drain) = &mut self.drain {
            drain.note(is_read, now);
        }
    }

    /// Keeps a message for later.
    pub(super) fn hold(&mut self, said: Said) {
        self.held_bytes += HELD_COST + said.bytes.as_ref().map_or(0, Vec::len);
        self.held.push_back(said);
    }

    /// Whether there is room for more of them.
    pub(super) fn can_hold(&self) -> bool {
        self.held_bytes < MAX_HELD
    }

    /// Takes the messages that were kept.
    pub(super) fn take_held(&mut self) -> VecDeque<Said> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }

    /// When something is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Gated(gate) => Some(gate.next_deadline()),
            Stage::Dialling | Stage::Subscribing | Stage::Open => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::action::LinkId;
    use super::super::super::channels::Channel;
    use super::*;

    #[test]
    fn what_is_held_costs_something_even_if_it_says_nothing() {
        let mut carrier = Carrier::new(LinkId {
            index: 0,
            generation: 0,
        });
        for place in 0..MAX_HELD / HELD_COST {
            assert!(carrier.can_hold());
            let bytes = (place % 2 == 0).then(Vec::new);
            let channel = Channel::Messages;
            carrier.hold(Said { channel, bytes });
        }
        assert!(!carrier.can_hold());
    }
}
