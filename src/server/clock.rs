//! The loop's clock.

use std::time::{Duration, Instant};

/// A delay that counts as time: a loop may have it without anybody noticing.
const MAX_LATENESS: Duration = Duration::from_secs(1);

/// Monotonic time without the times in which this process did not run.
///
/// After a stop (SIGSTOP, a suspended machine, a starved CPU) every deadline has passed at once,
/// although the peers' answers may be in the kernel already. This clock stands still meanwhile: all
/// deadlines get the delay on top.
#[derive(Debug)]
pub(super) struct Clock {
    /// The sum of all delays.
    lost: Duration,
    /// When the loop will be back at the latest, if it runs.
    expected: Option<Instant>,
    /// How much later than expected it was read the last time, stops of the process included.
    late: Duration,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            lost: Duration::ZERO,
            expected: None,
            late: Duration::ZERO,
        }
    }

    /// The time.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the time comes from"
    )]
    pub(super) fn now(&mut self) -> Instant {
        self.read(Instant::now())
    }

    /// How much later than expected it was when the clock was last read.
    pub(super) fn late(&self) -> Duration {
        self.late
    }

    /// How long it has stood still in all.
    pub(super) fn stood_still(&self) -> Duration {
        self.lost
    }

    /// Takes note that the loop is going to wait for at most `timeout`.
    pub(super) fn expect(&mut self, now: Instant, timeout: Option<Duration>) {
        self.expected = timeout.map(|timeout| now + self.lost + timeout);
    }

    /// The time at the machine's time `now`.
    fn read(&mut self, now: Instant) -> Instant {
        self.late = Duration::ZERO;
        if let Some(expected) = self.expected {
            let late = now.saturating_duration_since(expected);
            self.late = late;
            // What is tolerated counts, so that time passes however slow the loop is.
            self.lost += late.saturating_sub(MAX_LATENESS);
        }
        // Until the next wait it is the turn's own work that may take long.
        self.expected = Some(now);
        now.checked_sub(self.lost).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_passes_as_it_does_while_the_loop_runs() {
        let start = crate::hub::test_clock();
        let mut clock = Clock::new();
        for i in 0..5 {
            let now = clock.read(start + SECOND * 20 * i);
            assert_eq!(now, start + SECOND * 20 * i);
            clock.expect(now, Some(SECOND * 20));
        }
        // Without anything due, a wait may be of any length.
        clock.expect(start + SECOND * 80, None);
        assert_eq!(clock.read(start + SECOND * 999), start + SECOND * 999);
    }

    #[test]
    fn a_stop_while_waiting_does_not_count() {
        let start = crate::hub::test_clock();
        let mut clock = Clock::new();
        let now = clock.read(start);
        clock.expect(now, Some(SECOND * 5));
        // Due after 5 s, back after 95 s.
        let now = clock.read(start + SECOND * 95);
        assert_eq!((now, clock.late()), (start + SECOND * 6, SECOND * 90));
        assert_eq!(clock.stood_still(), SECOND * 89);
        clock.expect(now, Some(SECOND));
        assert_eq!(clock.read(start + SECOND * 96), start + SECOND * 7);
        assert_eq!(clock.late(), Duration::ZERO);
    }

    #[test]
    fn a_stop_within_a_turn_does_not_count() {
        let start = crate::hub::test_clock();
        let mut clock = Clock::new();
        clock.read(start);
        clock.expect(start, Some(SECOND));
        assert_eq!(clock.read(start + SECOND), start + SECOND);
        assert_eq!(clock.read(start + SECOND * 31), start + SECOND * 2);
    }
}
