//! Whether clients fall behind: what a driver asks that has much to say at once.

use std::num::NonZero;
use std::time::{Duration, Instant};

use super::Hub;
use super::client::ClientId;

/// Who has been behind for longer than one such period, or two at most, is no reason to wait any
/// more: it is slow, and others are not.
const PERIOD: Duration = Duration::from_secs(1);

/// Whether clients fall behind, and since when. Counts are kept as clients are flushed: only those
/// who do not take everything cost anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Congestion {
    /// Of all clients; each room counts its own.
    all: Lately,
    /// The number of this period.
    period: Period,
    begun: Instant,
}

/// The number of a period.
type Period = NonZero<u32>;

/// The period in which a client fell behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Behind(Period);

/// How many have fallen behind lately, and have not caught up: of all, or of a room's members.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lately {
    /// In the even periods, and in the odd ones.
    counts: [usize; 2],
    /// The last period in which somebody fell behind. The other count is of the one before.
    newest: Period,
}

impl Default for Lately {
    fn default() -> Self {
        Self {
            counts: [0; 2],
            newest: Period::MIN,
        }
    }
}

impl Lately {
    fn place(period: Period) -> usize {
        usize::from(period.get() % 2 == 1)
    }

    pub(super) fn add(&mut self, Behind(period): Behind) {
        if period > self.newest.saturating_add(1) {
            self.counts = [0; 2];
        } else if period > self.newest {
            self.counts[Self::place(period)] = 0;
        }
        self.newest = period;
        self.counts[Self::place(period)] += 1;
    }

    pub(super) fn remove(&mut self, Behind(period): Behind) {
        // Who fell behind before that is forgotten.
        if period.saturating_add(1) >= self.newest {
            self.counts[Self::place(period)] -= 1;
        }
    }

    /// That it counts these and no others, if they are all who are behind.
    #[cfg(test)]
    pub(super) fn check(&self, all: impl Iterator<Item = Behind>) {
        let counted = all.filter(|Behind(period)| period.saturating_add(1) >= self.newest);
        let [even, odd] = self.counts;
        assert_eq!(even + odd, counted.count());
    }

    /// How many still count in the present period: those of this one and of the one before.
    fn count(&self, present: Period) -> usize {
        let [even, odd] = self.counts;
        match present.get() - self.newest.get() {
            0 => even + odd,
            1 => self.counts[Self::place(self.newest)],
            _ => 0,
        }
    }
}

impl Congestion {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            all: Lately::default(),
            period: Period::MIN,
            begun: now,
        }
    }

    /// Goes on to the present period.
    fn turn(&mut self, now: Instant) {
        // After two of them nobody is left to be counted.
        for _ in 0..2 {
            if now < self.begun + PERIOD {
                return;
            }
            self.period = self.period.saturating_add(1);
            self.begun += PERIOD;
        }
        self.begun = self.begun.max(now);
    }

    fn fell_behind(&mut self, now: Instant) -> Behind {
        self.turn(now);
        let behind = Behind(self.period);
        self.all.add(behind);
        behind
    }

    fn caught_up(&mut self, behind: Behind) {
        self.all.remove(behind);
    }

    /// How many of them still count.
    pub(super) fn count(&self, lately: &Lately, now: Instant) -> usize {
        let mut present = *self;
        present.turn(now);
        lately.count(present.period)
    }

    #[cfg(test)]
    pub(super) fn check(&self, all: impl Iterator<Item = Behind>) {
        self.all.check(all);
    }

    fn is_any(&self, now: Instant) -> bool {
        self.count(&self.all, now) > 0
    }
}

impl Hub {
    /// Whether open clients have not taken all that they were told, and took everything until a
    /// second or two ago. A driver that has much to say should give them time then, but not for
    /// ever: they may not want to.
    pub fn is_congested(&self, now: Instant) -> bool {
        self.congestion.is_any(now)
    }

    /// A client has not taken all that it was told.
    pub(super) fn note_behind(&mut self, id: ClientId, now: Instant) {
        let client = super::live(&mut self.clients, id);
        let Some(client) = client.filter(|client| client.is_open() && client.behind.is_none())
        else {
            return;
        };
        let behind = self.congestion.fell_behind(now);
        client.behind = Some(behind);
        let room = client.room.and_then(|(room, _)| self.rooms.get_mut(room));
        if let Some(room) = room {
            room.pace.behind.add(behind);
        }
    }

    /// A client has caught up, or is not waited for any more.
    pub(super) fn note_caught_up(&mut self, id: ClientId) {
        let client = self.clients.get_mut(id.index());
        let Some(client) = client.filter(|client| client.id == id) else {
            return;
        };
        let Some(behind) = client.behind.take() else {
            return;
        };
        self.congestion.caught_up(behind);
        let room = client.room.and_then(|(room, _)| self.rooms.get_mut(room));
        if let Some(room) = room {
            room.pace.behind.remove(behind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_falls_behind_counts_until_it_has_caught_up() {
        let now = crate::hub::test_clock();
        let mut congestion = Congestion::new(now);
        assert!(!congestion.is_any(now));
        let [one, other] = [now, now + PERIOD / 2].map(|at| congestion.fell_behind(at));
        congestion.caught_up(one);
        assert!(congestion.is_any(now + PERIOD));
        congestion.caught_up(other);
        assert!(!congestion.is_any(now + PERIOD));
    }

    #[test]
    fn who_is_behind_for_long_counts_no_more() {
        let now = crate::hub::test_clock();
        for begun in [now, now + PERIOD / 2] {
            let mut congestion = Congestion::new(now);
            let behind = congestion.fell_behind(begun);
            assert!(congestion.is_any(begun + PERIOD), "a period at least");
            assert!(!congestion.is_any(begun + 2 * PERIOD), "and two at most");
            let next = congestion.fell_behind(begun + 2 * PERIOD);
            congestion.caught_up(behind);
            assert!(congestion.is_any(begun + 2 * PERIOD), "the next one does");
            congestion.caught_up(next);
            assert!(!congestion.is_any(begun + 2 * PERIOD));
        }
    }

    #[test]
    fn after_a_long_rest_it_begins_anew() {
        let now = crate::hub::test_clock();
        let mut congestion = Congestion::new(now);
        congestion.fell_behind(now);
        let later = now + 1_000_000 * PERIOD;
        assert!(!congestion.is_any(later));
        congestion.fell_behind(later);
        assert!(congestion.is_any(later + PERIOD / 2));
        assert!(!congestion.is_any(later + 2 * PERIOD));
    }
}
