//! How much of what other servers say is said to clients at once.

use std::time::{Duration, Instant};

use crate::hub::MAX_HOLD;

/// Such a part of what may be queued for a client is said before it is looked whether clients take
/// it. So whoever reads, but not all the time, may pause for as many holds.
const PARTS: usize = 8;

/// The longest that clients can hold up what others would hear, all holds together until nothing
/// waits any more: who reads nothing should be none of their business. Only a room most of whose
/// members are behind is given more, when it comes to what it is told next; see the hub's `pace`.
const MAX_DELAY: Duration = Duration::from_millis(100);

/// What a message counts beside its payload: the longest header.
const HEADER: usize = 10;

/// Whether somebody has fallen behind who may be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lag {
    Nobody,
    Somebody,
}

/// The size of a dose where so much may be queued for a client.
pub(super) fn size(max_client_buffer: usize) -> usize {
    max_client_buffer / PARTS
}

/// What is said at once. After a break there may be more to catch up on than a client's queue
/// holds, and nobody who reads it is slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dose {
    left: usize,
    begun: Instant,
    /// Since when there was always something that waits to be said.
    waits_since: Option<Instant>,
}

impl Dose {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: 0,
            begun: now.checked_sub(MAX_HOLD).unwrap_or(now),
            waits_since: None,
        }
    }

    /// Begins another one, if nobody has to be waited for; at most one in a turn, since what became
    /// of it is known after that.
    pub(super) fn renew(&mut self, max_client_buffer: usize, lag: Lag, now: Instant) {
        if now > self.begun && self.held_until(lag, now).is_none() {
            self.left = size(max_client_buffer);
            self.begun = now;
        }
    }

    /// Until when clients are given time; `None` if they have had enough.
    pub(super) fn held_until(&self, lag: Lag, now: Instant) -> Option<Instant> {
        if lag == Lag::Nobody {
            return None;
        }
        let delayed = self.waits_since.unwrap_or(now) + MAX_DELAY;
        let until = delayed.min(self.begun + MAX_HOLD);
        (now < until).then_some(until)
    }

    /// All that may be said by now has been said; whether something waits nevertheless.
    pub(super) fn note(&mut self, waits: bool, now: Instant) {
        self.waits_since = waits.then(|| self.waits_since.unwrap_or(now));
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// A message of so many bytes has been said.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes.saturating_add(HEADER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn the_next_dose_waits_for_those_who_are_behind_but_not_for_ever() {
        let start = crate::hub::test_clock();
        let mut dose = Dose::new(start);
        assert!(dose.is_spent());
        dose.renew(8000, Lag::Somebody, start);
        dose.spend(999 - 2 * HEADER);
        assert!(!dose.is_spent());
        dose.renew(8000, Lag::Nobody, start);
        dose.spend(1);
        assert!(dose.is_spent(), "one dose in a turn");
        let (before, end) = (start + 49 * MILLISECOND, start + 50 * MILLISECOND);
        dose.renew(8000, Lag::Somebody, before);
        assert!(dose.is_spent());
        assert_eq!(dose.held_until(Lag::Somebody, before), Some(end));
        dose.renew(8000, Lag::Somebody, end);
        dose.spend(5000);
        assert!(dose.is_spent(), "a message is said as a whole");
        dose.renew(8000, Lag::Nobody, start + 51 * MILLISECOND);
        assert!(!dose.is_spent(), "everybody has caught up");
    }

    /// Doses that come in so many milliseconds, one of which each millisecond could have.
    fn doses(dose: &mut Dose, lag: Lag, from: Instant, milliseconds: u32) -> usize {
        let mut count = 0;
        for now in (1..=milliseconds).map(|i| from + i * MILLISECOND) {
            dose.renew(8000, lag, now);
            count += usize::from(!dose.is_spent());
            dose.spend(1000);
            dose.note(true, now);
        }
        count
    }

    #[test]
    fn a_few_who_are_behind_hold_up_the_others_for_a_moment() {
        let start = crate::hub::test_clock();
        let second = 1000 * MILLISECOND;
        let mut dose = Dose::new(start);
        assert_eq!(doses(&mut dose, Lag::Nobody, start, 1000), 1000);
        dose.note(false, start + second);
        // Two holds, and then one in each millisecond.
        let held = doses(&mut dose, Lag::Somebody, start + second, 1000);
        assert_eq!(held, 2 + 900);
        // Until nothing waits any more, they have had their time.
        let held = doses(&mut dose, Lag::Somebody, start + 2 * second, 1000);
        assert_eq!(held, 1000);
        dose.note(false, start + 3 * second);
        let held = doses(&mut dose, Lag::Somebody, start + 3 * second, 1000);
        assert_eq!(held, 2 + 900);
    }
}
