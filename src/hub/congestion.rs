//! Whether clients fall behind: what a driver asks that has much to say at once.

use std::num::NonZero;
use std::time::{Duration, Instant};

use super::Hub;
use super::client::{Client, ClientId};

/// Who has been behind for longer than one such period, or two at most, is no reason to wait any
/// more: it is slow, and others are not.
const PERIOD: Duration = Duration::from_secs(1);

/// How many clients have fallen behind lately, and have not caught up. A count that is kept as
/// clients are flushed: only those who do not take everything cost anything.
#[derive(Debug)]
pub(super) struct Congestion {
    /// Of the even periods, and of the odd ones.
    behind: [usize; 2],
    /// The number of this period.
    period: NonZero<u32>,
    begun: Instant,
}

/// The period in which a client fell behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Behind(NonZero<u32>);

impl Congestion {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            behind: [0; 2],
            period: NonZero::<u32>::MIN,
            begun: now,
        }
    }

    fn count(&mut self, period: NonZero<u32>) -> &mut usize {
        &mut self.behind[usize::from(period.get() % 2 == 1)]
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
            *self.count(self.period) = 0;
        }
        self.begun = self.begun.max(now);
    }

    fn fell_behind(&mut self, now: Instant) -> Behind {
        self.turn(now);
        *self.count(self.period) += 1;
        Behind(self.period)
    }

    fn caught_up(&mut self, Behind(period): Behind) {
        if self.is_counted(Behind(period)) {
            *self.count(period) -= 1;
        }
    }

    /// Whether who fell behind then still counts.
    pub(super) fn is_counted(&self, Behind(period): Behind) -> bool {
        period.saturating_add(1) >= self.period
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.behind[0] + self.behind[1]
    }

    fn is_any(&self, now: Instant) -> bool {
        let [even, odd] = self.behind;
        let is_odd = self.period.get() % 2 == 1;
        let (newer, older) = if is_odd { (odd, even) } else { (even, odd) };
        let passed = now.saturating_duration_since(self.begun);
        newer > 0 && passed < 2 * PERIOD || older > 0 && passed < PERIOD
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
