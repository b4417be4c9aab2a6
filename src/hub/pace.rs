//! How fast a room can be told things: what a driver asks that has much to say to it.

use std::time::{Duration, Instant};

use super::Hub;
use super::congestion::{Congestion, Lately};
use super::room::Room;

/// The longest that a room's members who take nothing should hold up what is said to it next. For
/// others that leaves 2.5 MiB a second, where an eighth of 1 MiB is said at once.
pub const MAX_HOLD: Duration = Duration::from_millis(50);

/// What a room was told at once, and who of its members has fallen behind.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Changed with each member's own note of it.
    pub(super) behind: Lately,
    /// Since when `told` is counted.
    since: Option<Instant>,
    /// Bytes that it was told since, framing included.
    told: usize,
}

impl Room {
    /// Whether more than half of its members are behind, and were not until a second or two ago.
    fn is_mostly_behind(&self, congestion: &Congestion, now: Instant) -> bool {
        2 * congestion.count(&self.pace.behind, now) > self.members().len()
    }

    /// Until when its members have time to take what the room was told, if most of them need it.
    fn hold(&self, congestion: &Congestion, now: Instant) -> Option<Instant> {
        let end = self.pace.since.map(|since| since + MAX_HOLD);
        end.filter(|end| now < *end && self.is_mostly_behind(congestion, now))
    }

    /// Takes note of so many bytes that it is told. Who has caught up, or has had its time, begins
    /// anew.
    pub(super) fn note_told(&mut self, bytes: usize, congestion: &Congestion, now: Instant) {
        if self.hold(congestion, now).is_none() {
            self.pace.since = Some(now);
            self.pace.told = 0;
        }
        self.pace.told += bytes;
    }
}

impl Hub {
    /// Until when a driver that has much to say should say nothing to a room: it was told `dose`
    /// bytes or more at once, more than half of its members have not taken all of that, and took
    /// everything until a second or two ago. It is [`MAX_HOLD`] after the first of these bytes.
    /// `None` if the room can be told more.
    pub fn held_until(&self, room: &str, dose: usize, now: Instant) -> Option<Instant> {
        if !self.is_congested(now) {
            return None;
        }
        let room = self
            .rooms
            .find(room)
            .and_then(|room| self.rooms.get(room))?;
        let told = room.pace.told + room.batch().len();
        room.hold(&self.congestion, now).filter(|_| told >= dose)
    }
}
