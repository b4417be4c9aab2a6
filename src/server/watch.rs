//! How long turns take, and how late they are.

use std::time::{Duration, Instant};

/// Takes note of both, for operators who may ask, from readings of the clock that the loop makes
/// anyway.
#[derive(Debug)]
pub(super) struct Watch {
    /// Whether anybody can ask.
    is_watched: bool,
    /// When the work of this turn began.
    began: Option<Instant>,
    /// Whether the loop waits until something is due, or for events alone.
    waits_for_deadline: bool,
}

impl Watch {
    pub(super) fn new(is_watched: bool) -> Self {
        Self {
            is_watched,
            began: None,
            waits_for_deadline: false,
        }
    }

    /// The loop is going to wait; returns how long the work of its turn took.
    pub(super) fn wait(&mut self, now: Instant, timeout: Option<Duration>) -> Option<Duration> {
        self.waits_for_deadline = timeout.is_some_and(|timeout| !timeout.is_zero());
        let began = self.began.take()?;
        Some(now.saturating_duration_since(began))
    }

    /// The work of a turn begins, later than was expected by so much. Returns it if it is for a
    /// deadline: an event comes before, and says nothing of the loop.
    pub(super) fn begin(&mut self, now: Instant, late: Duration) -> Option<Duration> {
        if !self.is_watched {
            return None;
        }
        self.began = Some(now);
        (self.waits_for_deadline && !late.is_zero()).then_some(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn a_turn_lasts_from_one_wait_to_the_next() {
        let start = crate::hub::test_clock();
        let mut watch = Watch::new(true);
        assert_eq!(watch.wait(start, None), None, "nothing was done yet");
        watch.begin(start + MILLISECOND, Duration::ZERO);
        assert_eq!(
            watch.wait(start + MILLISECOND * 3, None),
            Some(MILLISECOND * 2)
        );
        assert_eq!(watch.wait(start + MILLISECOND * 9, None), None);
    }

    #[test]
    fn lag_is_that_of_deadlines() {
        let start = crate::hub::test_clock();
        let mut watch = Watch::new(true);
        for (timeout, late, lag) in [
            (Some(MILLISECOND), MILLISECOND, Some(MILLISECOND)),
            (Some(MILLISECOND), Duration::ZERO, None),
            (Some(Duration::ZERO), MILLISECOND, None),
            (None, MILLISECOND, None),
        ] {
            watch.wait(start, timeout);
            assert_eq!(watch.begin(start, late), lag, "{timeout:?}, {late:?}");
        }
    }

    #[test]
    fn nothing_is_noted_if_nobody_can_ask() {
        let start = crate::hub::test_clock();
        let mut watch = Watch::new(false);
        watch.wait(start, Some(MILLISECOND));
        assert_eq!(watch.begin(start, MILLISECOND), None);
        assert_eq!(watch.wait(start + MILLISECOND, None), None);
    }
}
