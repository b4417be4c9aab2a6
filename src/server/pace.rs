//! How fast connections are accepted.

use std::time::Instant;

use crate::hub::{Rate, TokenBucket};

/// Lets so many connections in a second through. The others wait in the kernel, whose queue is
/// bounded, and cost nothing here.
#[derive(Debug)]
pub(super) struct Pace {
    limit: Option<(Rate, TokenBucket)>,
    /// When accepting resumes. A client's departure does not bring that forward: it makes room for
    /// another, and not time.
    resumes_at: Option<Instant>,
}

impl Pace {
    pub(super) fn new(rate: Option<Rate>, now: Instant) -> Self {
        Self {
            limit: rate.map(|rate| (rate, TokenBucket::new(rate, now))),
            resumes_at: None,
        }
    }

    /// Another limit from now on. What was saved up under the old one does not count.
    pub(super) fn set_rate(&mut self, rate: Option<Rate>, now: Instant) {
        *self = Self::new(rate, now);
    }

    /// Whether one more connection may be accepted now.
    pub(super) fn may_accept(&mut self, now: Instant) -> bool {
        if self.resumes_at.is_some_and(|at| now < at) {
            return false;
        }
        self.resumes_at = match &mut self.limit {
            Some((rate, bucket)) => bucket.next_at(*rate, now),
            None => None,
        };
        self.resumes_at.is_none()
    }

    /// One was accepted.
    pub(super) fn accepted(&mut self, now: Instant) {
        if let Some((rate, bucket)) = &mut self.limit {
            bucket.take(*rate, 1, now);
        }
    }

    /// When accepting resumes, while it rests.
    pub(super) fn resumes_at(&self) -> Option<Instant> {
        self.resumes_at
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_rests_until_the_next_may_come() {
        let start = crate::hub::test_clock();
        let rate = Rate {
            per_second: 2,
            burst: 3,
        };
        let mut pace = Pace::new(Some(rate), start);
        for _ in 0..3 {
            assert!(pace.may_accept(start) && pace.resumes_at().is_none());
            pace.accepted(start);
        }
        assert!(!pace.may_accept(start));
        let half = Duration::from_millis(500);
        assert_eq!(pace.resumes_at(), Some(start + half));
        assert!(!pace.may_accept(start + Duration::from_nanos(499_999_999)));
        assert!(pace.may_accept(start + half) && pace.resumes_at().is_none());
        pace.accepted(start + half);
        assert!(!pace.may_accept(start + half));
        assert_eq!(pace.resumes_at(), Some(start + half * 2));
    }

    #[test]
    fn without_a_limit_it_never_rests() {
        let start = crate::hub::test_clock();
        let mut pace = Pace::new(None, start);
        for _ in 0..1000 {
            assert!(pace.may_accept(start));
            pace.accepted(start);
        }
        assert_eq!(pace.resumes_at(), None);
    }
}
