//! A deadline that comes no nearer while nobody reads.

use std::time::{Duration, Instant};

/// However long nobody reads, what should take a time is given up after so many times of it.
const MAX_STRETCH: u32 = 8;

/// When something must have been read. While clients take less than others say, links are not read:
/// that is nobody's fault, and such time does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline {
    at: Instant,
    latest: Instant,
    /// When it was looked at last, if nobody read then.
    unread_at: Option<Instant>,
}

impl Deadline {
    pub(super) fn new(patience: Duration, now: Instant) -> Self {
        Self {
            at: now + patience,
            latest: now + patience * MAX_STRETCH,
            unread_at: None,
        }
    }

    /// When it is over, as things are: while nobody reads it moves on with the time, and need not
    /// be looked at.
    pub(super) fn at(&self) -> Instant {
        match self.unread_at {
            Some(_) => self.latest,
            None => self.at,
        }
    }

    /// Whether somebody reads at the moment.
    pub(super) fn note(&mut self, is_read: bool, now: Instant) {
        let since = self.unread_at.take();
        self.unread_at = (!is_read).then_some(now);
        if let Some(since) = since {
            self.at = (self.at + now.saturating_duration_since(since)).min(self.latest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::test_clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_in_which_nobody_reads_does_not_count() {
        let start = test_clock();
        let mut deadline = Deadline::new(SECOND, start);
        deadline.note(false, start + SECOND / 2);
        deadline.note(true, start + SECOND / 2);
        assert_eq!(deadline.at(), start + SECOND, "it has just begun");
        deadline.note(false, start + SECOND / 2);
        deadline.note(false, start + 2 * SECOND);
        deadline.note(true, start + 3 * SECOND);
        assert_eq!(deadline.at(), start + SECOND * 7 / 2);
        deadline.note(true, start + 4 * SECOND);
        assert_eq!(deadline.at(), start + SECOND * 7 / 2);
    }

    #[test]
    fn while_nobody_reads_nobody_wakes_for_it() {
        let start = test_clock();
        let mut deadline = Deadline::new(SECOND, start);
        deadline.note(false, start + SECOND * 999 / 1000);
        assert_eq!(deadline.at(), start + MAX_STRETCH * SECOND);
    }

    #[test]
    fn it_comes_in_any_case() {
        let start = test_clock();
        let mut deadline = Deadline::new(SECOND, start);
        for i in 0..100 {
            deadline.note(false, start + i * SECOND);
        }
        deadline.note(true, start + 100 * SECOND);
        assert_eq!(deadline.at(), start + MAX_STRETCH * SECOND);
    }
}
