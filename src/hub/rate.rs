//! How much may come in a while.

use std::time::{Duration, Instant};

/// So many a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages, bytes or connections a second, in the long run. Not zero.
    pub per_second: u64,
    /// The most that may come at once. Not zero.
    pub burst: u64,
}

/// A token is worth so many of the units in which parts of one are counted.
const UNITS: u128 = 1_000_000_000;

/// What may come now at some [`Rate`]: one token each. It is full at first, and is filled again by
/// the time that passes.
///
/// Parts of a token are kept as integers: a nanosecond brings `per_second` units, so that however
/// often it is asked, nothing is lost or won by rounding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    tokens: u64,
    /// Of the next token; less than [`UNITS`].
    units: u32,
    /// The time up to which it was filled.
    filled_at: Instant,
}

impl TokenBucket {
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self {
            tokens: rate.burst,
            units: 0,
            filled_at: now,
        }
    }

    /// Takes `wanted` tokens, or all that there are. Returns how many that is.
    pub(crate) fn take(&mut self, rate: Rate, wanted: u64, now: Instant) -> u64 {
        self.fill(rate, now);
        let taken = self.tokens.min(wanted);
        self.tokens -= taken;
        taken
    }

    /// When there is a token; `None` if there is one now.
    pub(crate) fn next_at(&mut self, rate: Rate, now: Instant) -> Option<Instant> {
        self.fill(rate, now);
        if self.tokens > 0 {
            return None;
        }
        let missing = UNITS - u128::from(self.units);
        // A rate of zero is none; should there be one, a token comes some day.
        let nanoseconds = missing.div_ceil(u128::from(rate.per_second.max(1)));
        let wait = u64::try_from(nanoseconds).map_or(Duration::MAX, Duration::from_nanos);
        Some(now.checked_add(wait).unwrap_or(now))
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at);
        // A clock that stands still, or is behind, brings nothing and takes nothing.
        self.filled_at = self.filled_at.max(now);
        let brought = elapsed
            .as_nanos()
            .saturating_mul(u128::from(rate.per_second))
            .saturating_add(u128::from(self.units));
        let tokens = u64::try_from(brought / UNITS).unwrap_or(u64::MAX);
        self.tokens = self.tokens.saturating_add(tokens);
        self.units = u32::try_from(brought % UNITS).expect("a remainder is less than what divides");
        if self.tokens >= rate.burst {
            // What does not fit in is lost.
            self.tokens = rate.burst;
            self.units = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(per_second: u64, burst: u64) -> Rate {
        Rate { per_second, burst }
    }

    #[test]
    fn a_burst_then_as_many_as_the_rate_says() {
        let start = crate::hub::test_clock();
        let rate = rate(10, 3);
        let mut bucket = TokenBucket::new(rate, start);
        assert_eq!(bucket.take(rate, 2, start), 2);
        assert_eq!(bucket.take(rate, 2, start), 1, "the burst is used up");
        assert_eq!(bucket.take(rate, 1, start), 0);
        let tenth = Duration::from_millis(100);
        let just_before = start + Duration::from_nanos(99_999_999);
        assert_eq!(bucket.take(rate, 1, just_before), 0);
        assert_eq!(bucket.take(rate, 1, start + tenth), 1);
        assert_eq!(bucket.take(rate, 9, start + SECOND * 60), 3, "no more fit");
        assert_eq!(bucket.take(rate, 1, start), 0, "time does not go back");
    }

    #[test]
    fn the_next_token_is_there_when_it_is_said_to_be_and_not_before() {
        let start = crate::hub::test_clock();
        for per_second in [1, 3, 7, 1000, 999_999_937, u64::MAX] {
            let rate = rate(per_second, 1);
            let mut bucket = TokenBucket::new(rate, start);
            assert_eq!(bucket.next_at(rate, start), None);
            assert_eq!(bucket.take(rate, 1, start), 1);
            let next = bucket.next_at(rate, start).unwrap();
            let wait = next.saturating_duration_since(start);
            let before = start + wait.saturating_sub(Duration::from_nanos(1));
            assert_eq!(bucket.take(rate, 1, before), 0, "{per_second}");
            assert_eq!(bucket.next_at(rate, before), Some(next));
            assert_eq!(bucket.take(rate, 1, next), 1, "{per_second}");
        }
    }

    #[test]
    fn nothing_is_lost_or_won_however_often_it_is_asked() {
        let start = crate::hub::test_clock();
        // Neither divides the other: a third of a token is no whole number of units.
        let rate = rate(3, 1_000_000);
        let mut bucket = TokenBucket::new(rate, start);
        assert_eq!(bucket.take(rate, u64::MAX, start), 1_000_000);
        let (mut now, mut taken) = (start, 0);
        for i in 0..100_000_u64 {
            now += Duration::from_nanos(1 + i * 7919 % 1_000_000);
            taken += bucket.take(rate, u64::MAX, now);
        }
        let elapsed = now.saturating_duration_since(start).as_nanos();
        assert_eq!(u128::from(taken), elapsed * 3 / UNITS);
    }

    #[test]
    fn a_part_of_a_token_that_does_not_fit_is_lost() {
        let start = crate::hub::test_clock();
        let rate = rate(1, 1);
        let mut bucket = TokenBucket::new(rate, start);
        let late = start + SECOND * 3 / 2;
        assert_eq!(bucket.take(rate, 1, late), 1);
        assert_eq!(bucket.next_at(rate, late), Some(late + SECOND));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let start = crate::hub::test_clock();
        let rate = rate(u64::MAX, u64::MAX);
        let mut bucket = TokenBucket::new(rate, start);
        assert_eq!(bucket.take(rate, u64::MAX, start), u64::MAX);
        let late = start + SECOND * 60 * 60 * 24 * 365 * 100;
        assert_eq!(bucket.take(rate, u64::MAX, late), u64::MAX);
    }

    #[test]
    fn a_rate_that_is_changed_holds_from_then_on() {
        let start = crate::hub::test_clock();
        let mut bucket = TokenBucket::new(rate(1, 100), start);
        assert_eq!(bucket.take(rate(1, 5), 100, start), 5);
        assert_eq!(bucket.take(rate(50, 100), 100, start + SECOND), 50);
    }
}
