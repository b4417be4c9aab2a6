//! How much of what other servers say is said to clients at once.

use std::time::{Duration, Instant};

/// Such a part of what may be queued for a client is said before it is looked whether clients take
/// it. So whoever reads, but not all the time, may pause for as many holds.
const PARTS: usize = 8;

/// The longest that clients who take nothing can hold up the next dose. For others that leaves
/// 2.5 MiB a second where a client may owe 1 MiB.
const MAX_HOLD: Duration = Duration::from_millis(50);

/// What a message counts beside its payload: the longest header.
const HEADER: usize = 10;

/// What is said at once. After a break there may be more to catch up on than a client's queue
/// holds, and nobody who reads it is slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dose {
    left: usize,
    begun: Instant,
}

impl Dose {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: 0,
            begun: now.checked_sub(MAX_HOLD).unwrap_or(now),
        }
    }

    /// Begins another one, if nobody has to be waited for; at most one in a turn, since what became
    /// of it is known after that.
    pub(super) fn renew(&mut self, max_client_buffer: usize, is_congested: bool, now: Instant) {
        if now > self.begun && (!is_congested || now >= self.ends()) {
            *self = Self {
                left: max_client_buffer / PARTS,
                begun: now,
            };
        }
    }

    /// When clients have had time enough.
    pub(super) fn ends(&self) -> Instant {
        self.begun + MAX_HOLD
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
        dose.renew(8000, true, start);
        dose.spend(999 - 2 * HEADER);
        assert!(!dose.is_spent());
        dose.renew(8000, false, start);
        dose.spend(1);
        assert!(dose.is_spent(), "one dose in a turn");
        dose.renew(8000, true, start + 49 * MILLISECOND);
        assert!(dose.is_spent());
        assert_eq!(dose.ends(), start + 50 * MILLISECOND);
        dose.renew(8000, true, start + 50 * MILLISECOND);
        dose.spend(5000);
        assert!(dose.is_spent(), "a message is said as a whole");
        dose.renew(8000, false, start + 51 * MILLISECOND);
        assert!(!dose.is_spent(), "everybody has caught up");
    }
}
