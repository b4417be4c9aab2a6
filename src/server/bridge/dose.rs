//! How much of what other servers say is said to clients at once.

use std::time::{Duration, Instant};

/// Such a part of what may be queued for a client is said before it is looked whether clients take
/// it. So whoever reads, but not all the time, may pause for as many holds.
const PARTS: usize = 8;

/// The longest that clients who take nothing can hold up the next dose, where most are so. For the
/// others that leaves 2.5 MiB a second where a client may owe 1 MiB.
const MAX_HOLD: Duration = Duration::from_millis(50);

/// A few can hold up the others for as long at first, and then for one part in so many of the time:
/// somebody is always slow, and what others say is to be heard now.
const FEW_SHARE: u32 = 4;

/// What a message counts beside its payload: the longest header.
const HEADER: usize = 10;

/// What is said at once. After a break there may be more to catch up on than a client's queue
/// holds, and nobody who reads it is slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dose {
    left: usize,
    begun: Instant,
    /// The most clients that one message of it was for.
    audience: usize,
    /// How long a few of them may hold up the next one.
    patience: Duration,
    /// Whether they have held it up.
    has_waited: bool,
}

impl Dose {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: 0,
            begun: now.checked_sub(MAX_HOLD).unwrap_or(now),
            audience: 0,
            patience: MAX_HOLD,
            has_waited: false,
        }
    }

    /// Begins another one, if nobody has to be waited for of those who are `behind`; at most one in
    /// a turn, since what became of it is known after that.
    pub(super) fn renew(&mut self, max_client_buffer: usize, behind: usize, now: Instant) {
        if now <= self.begun {
            return;
        }
        if now < self.ends(behind) {
            self.has_waited |= self.is_spent();
            return;
        }
        let passed = now - self.begun;
        let patience = if self.has_waited {
            self.patience.saturating_sub(passed)
        } else {
            self.patience + passed / FEW_SHARE
        };
        *self = Self {
            left: max_client_buffer / PARTS,
            begun: now,
            audience: 0,
            patience: patience.min(MAX_HOLD),
            has_waited: false,
        };
    }

    /// When those who are behind have had time enough.
    pub(super) fn ends(&self, behind: usize) -> Instant {
        let are_most = behind > self.audience / 2;
        self.begun
            + match behind {
                0 => Duration::ZERO,
                _ if are_most => MAX_HOLD,
                _ => self.patience,
            }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// A message of so many bytes has been said to so many.
    pub(super) fn spend(&mut self, bytes: usize, audience: usize) {
        self.left = self.left.saturating_sub(bytes.saturating_add(HEADER));
        self.audience = self.audience.max(audience);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// A dose of 1000 bytes that is spent at once, on so many.
    fn spent(audience: usize, now: Instant) -> Dose {
        let mut dose = Dose::new(now);
        assert!(dose.is_spent());
        dose.renew(8000, 1, now);
        assert!(!dose.is_spent(), "nobody was waited for");
        dose.spend(1000 - HEADER, audience);
        assert!(dose.is_spent());
        dose
    }

    #[test]
    fn the_next_dose_waits_for_most_but_not_for_ever() {
        let start = crate::hub::test_clock();
        let mut dose = spent(3, start);
        dose.renew(8000, 0, start);
        assert!(dose.is_spent(), "one dose in a turn");
        dose.renew(8000, 2, start + 49 * MILLISECOND);
        assert!(dose.is_spent());
        assert_eq!(dose.ends(2), start + MAX_HOLD);
        dose.renew(8000, 2, start + MAX_HOLD);
        dose.spend(5000, 3);
        assert!(dose.is_spent(), "a message is said as a whole");
        dose.renew(8000, 0, start + 51 * MILLISECOND);
        assert!(!dose.is_spent(), "everybody has caught up");
        for _ in 0..100 {
            dose.spend(0, 3);
        }
        assert!(dose.is_spent(), "empty messages have headers");
    }

    /// Half of them is behind for good: at first it is waited for as for most, and then a part of
    /// the time is lost to it.
    #[test]
    fn a_few_hold_up_the_others_a_little() {
        let start = crate::hub::test_clock();
        let mut dose = spent(2, start);
        dose.renew(8000, 1, start + 49 * MILLISECOND);
        assert!(dose.is_spent(), "there is patience left");
        let mut now = start;
        let mut doses = 0;
        while now < start + Duration::from_secs(2) {
            now += MILLISECOND;
            dose.renew(8000, 1, now);
            if !dose.is_spent() {
                doses += 1;
                dose.spend(1000, 2);
            }
        }
        assert!((1400..1950).contains(&doses), "{doses}");
    }
}
