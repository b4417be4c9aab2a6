//! How fast old messages are sent again.

use std::time::{Duration, Instant};

/// Bytes of old messages that are sent in one interval: 20 MB/s. All who hear them have clients
/// with buffers that these go through.
const MAX_BYTES: usize = 1024 * 1024;
const INTERVAL: Duration = Duration::from_millis(50);

/// How fast old messages are sent again; new ones, behind them, are not held up.
#[derive(Debug)]
pub(super) struct Pace {
    /// The last old message.
    old_to: u64,
    /// What may still be sent of them before `refill`.
    left: usize,
    refill: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            old_to: 0,
            left: MAX_BYTES,
            refill: now,
        }
    }

    /// A connection is ready, or Redis takes messages again: all of them up to this number are old.
    pub(super) fn begin(&mut self, old_to: u64) {
        self.old_to = old_to;
    }

    /// Whether this message may be sent now.
    pub(super) fn allows(&mut self, seq: u64, now: Instant) -> bool {
        if seq > self.old_to {
            return true;
        }
        if self.refill <= now {
            self.left = MAX_BYTES;
            self.refill = now + INTERVAL;
        }
        self.left > 0
    }

    /// It was sent.
    pub(super) fn spend(&mut self, seq: u64, bytes: usize) {
        if seq <= self.old_to {
            self.left = self.left.saturating_sub(bytes);
        }
    }

    /// When this message may be sent, if not now.
    pub(super) fn next_deadline(&self, seq: u64) -> Option<Instant> {
        (seq <= self.old_to && self.left == 0).then_some(self.refill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::test_clock;

    #[test]
    fn old_messages_wait_for_their_turn_and_new_ones_do_not() {
        let now = test_clock();
        let mut pace = Pace::new(now);
        pace.begin(10);
        assert!(pace.allows(1, now));
        pace.spend(1, MAX_BYTES - 1);
        assert!(pace.allows(2, now));
        assert_eq!(pace.next_deadline(2), None);
        pace.spend(2, 5000);
        assert!(!pace.allows(3, now + INTERVAL / 2));
        assert!(pace.allows(11, now));
        pace.spend(11, usize::MAX);
        assert_eq!(pace.next_deadline(3), Some(now + INTERVAL));
        assert_eq!(pace.next_deadline(11), None);
        assert!(pace.allows(3, now + INTERVAL));
    }
}
