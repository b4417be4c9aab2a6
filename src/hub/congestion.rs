//! Whether clients fall behind: what a driver asks that has much to say at once.

use std::num::NonZero;
use std::time::{Duration, Instant};

use super::Hub;
use super::client::{Client, ClientId};
use super::room::Room;

/// Who has been behind for longer than one such period, or two at most, is no reason to wait any
/// more: it is slow, and others are not.
const PERIOD: Duration = Duration::from_secs(1);

/// How many clients have fallen behind lately, and have not caught up. A count that is kept as
/// clients are flushed: only those who do not take everything cost anything.
#[derive(Debug)]
pub(super) struct Congestion {
    /// Of the even periods, and of the odd ones.
    counts: [Counts; 2],
    /// The number of this period.
    period: Period,
    begun: Instant,
}

/// What is counted in one period.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Those who fell behind in it, and have not caught up.
    behind: usize,
    /// The members of the rooms that were told something in it.
    told: usize,
}

/// The number of a period.
pub(super) type Period = NonZero<u32>;

/// The period in which a client fell behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Behind(Period);

impl Congestion {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            counts: Default::default(),
            period: Period::MIN,
            begun: now,
        }
    }

    fn count(&mut self, period: Period) -> &mut Counts {
        &mut self.counts[usize::from(period.get() % 2 == 1)]
    }

    /// Goes on to the present period; who fell behind before the last one is forgotten.
    fn turn(&mut self, now: Instant) {
        // After two of them nobody is left to be counted.
        for _ in 0..2 {
            if now < self.begun + PERIOD {
                return;
            }
            self.period = self.period.saturating_add(1);
            self.begun += PERIOD;
            *self.count(self.period) = Counts::default();
        }
        self.begun = self.begun.max(now);
    }

    fn fell_behind(&mut self, now: Instant) -> Behind {
        self.turn(now);
        self.count(self.period).behind += 1;
        Behind(self.period)
    }

    fn caught_up(&mut self, Behind(period): Behind) {
        if self.is_counted(Behind(period)) {
            self.count(period).behind -= 1;
        }
    }

    /// A room is told something: its members listen in this period.
    pub(super) fn told(&mut self, room: &mut Room, now: Instant) {
        self.turn(now);
        let period = self.period;
        if room.told_in.replace(period) != Some(period) {
            self.count(period).told += room.members().len();
        }
    }

    /// Whether who fell behind then still counts.
    pub(super) fn is_counted(&self, Behind(period): Behind) -> bool {
        period.saturating_add(1) >= self.period
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.counts[0].behind + self.counts[1].behind
    }

    /// What still counts of this period and of the one before.
    fn lately(&self, now: Instant) -> [Counts; 2] {
        let [even, odd] = self.counts;
        let is_odd = self.period.get() % 2 == 1;
        let (newer, older) = if is_odd { (odd, even) } else { (even, odd) };
        let passed = now.saturating_duration_since(self.begun);
        let within = |counts, periods| {
            let is_recent = passed < periods * PERIOD;
            if is_recent { counts } else { Counts::default() }
        };
        [within(newer, 2), within(older, 1)]
    }

    fn is_any(&self, now: Instant) -> bool {
        self.lately(now).iter().any(|counts| counts.behind > 0)
    }

    /// Whether those who are behind are more than half of those who listen.
    fn is_most(&self, now: Instant) -> bool {
        let [newer, older] = self.lately(now);
        // Most rooms are told something in either of them.
        2 * (newer.behind + older.behind) > newer.told.max(older.told)
    }
}

impl Hub {
    /// Whether open clients have not taken all that they were told, and took everything until a
    /// second or two ago. A driver that has much to say should give them time then, but not for
    /// ever: they may not want to.
    pub fn is_congested(&self, now: Instant) -> bool {
        self.congestion.is_any(now)
    }

    /// Whether they are more than half of the members of those rooms that were told something in
    /// the last second or two. A few should not hold up all others.
    pub fn is_mostly_congested(&self, now: Instant) -> bool {
        self.congestion.is_most(now)
    }

    /// A client has not taken all that it was told.
    pub(super) fn note_behind(&mut self, id: ClientId, now: Instant) {
        if let Some(client) = super::live(&mut self.clients, id) {
            if client.is_open() && client.behind.is_none() {
                client.behind = Some(self.congestion.fell_behind(now));
            }
        }
    }

    /// A client has caught up, or is not waited for any more.
    pub(super) fn note_caught_up(&mut self, id: ClientId) {
        let client = self.clients.get_mut(id.index());
        let behind = client.filter(|client| client.id == id);
        if let Some(behind) = behind.and_then(|client: &mut Client| client.behind.take()) {
            self.congestion.caught_up(behind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::room::Rooms;

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

    #[test]
    fn most_are_more_than_half_of_those_who_listen() {
        let now = crate::hub::test_clock();
        let mut congestion = Congestion::new(now);
        assert!(!congestion.is_most(now), "nobody listens");
        let mut rooms = Rooms::default();
        let ids = ["four", "one", "silent"].map(|name| rooms.create(name));
        for (room, members) in ids.into_iter().zip([4, 1, 100]) {
            (0..members).for_each(|index| {
                rooms.join(room, ClientId::new(index, 1));
            });
        }
        let mut tell = |congestion: &mut Congestion, room: usize, at: Instant| {
            congestion.told(rooms.get_mut(ids[room]).unwrap(), at);
        };
        tell(&mut congestion, 1, now);
        congestion.fell_behind(now);
        assert!(congestion.is_most(now), "the only one");
        for _ in 0..3 {
            tell(&mut congestion, 0, now);
        }
        congestion.fell_behind(now);
        assert!(!congestion.is_most(now), "two of five");
        let third = congestion.fell_behind(now);
        assert!(congestion.is_most(now), "three of five");
        // A period later the room of four is told something, and nobody else.
        let later = now + PERIOD;
        tell(&mut congestion, 0, later);
        assert!(congestion.is_most(later), "three of five");
        congestion.caught_up(third);
        assert!(!congestion.is_most(later));
        assert!(!congestion.is_most(later + PERIOD), "nobody counts");
        congestion.fell_behind(later + PERIOD);
        assert!(!congestion.is_most(later + PERIOD), "one of four");
    }
}
