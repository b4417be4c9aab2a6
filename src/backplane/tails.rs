//! What others say they have sent, until it can be known whether it has come.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Servers whose word is kept at most; that of others is forgotten, and what they lose at the end
/// is not noticed before they say something more.
const MAX_TAILS: usize = 4096;

/// What others say they have sent, where heartbeats overtake messages: these come in a stream, and
/// those do not. Until the stream has been read to its end, what has not come is not missing.
#[derive(Debug, Default)]
pub(super) struct Tails {
    /// The last message that each has sent, and when it said so.
    said: BTreeMap<u64, (u64, Instant)>,
    /// Whether the end of the stream has been read.
    is_at_end: bool,
    /// Since when it has not, and for how long that was so before.
    behind_since: Option<Instant>,
    behind: Duration,
}

impl Tails {
    /// A heartbeat has come.
    pub(super) fn heard(&mut self, origin: u64, last: u64, now: Instant) {
        if self.said.len() < MAX_TAILS || self.said.contains_key(&origin) {
            self.said.insert(origin, (last, now));
        }
    }

    /// The stream was read to the end that it had at this time. What was said before is known to
    /// have come, or to be missing.
    pub(super) fn reached_end(&mut self, asked_at: Instant, now: Instant) -> Vec<(u64, u64)> {
        self.is_at_end = true;
        if let Some(since) = self.behind_since.take() {
            self.behind += now.saturating_duration_since(since);
        }
        let mut settled = Vec::new();
        self.said.retain(|origin, (last, said_at)| {
            let is_settled = *said_at < asked_at;
            if is_settled {
                settled.push((*origin, *last));
            }
            !is_settled
        });
        settled
    }

    /// There is more of the stream than was read.
    pub(super) fn fell_behind(&mut self, now: Instant) {
        self.is_at_end = false;
        self.behind_since.get_or_insert(now);
    }

    /// The time by a clock that stands while the end is not read: what has not come by then may be
    /// in what was not read.
    pub(super) fn time(tails: Option<&Self>, now: Instant) -> Instant {
        let Some(tails) = tails else {
            return now;
        };
        let time = tails.behind_since.unwrap_or(now);
        time.checked_sub(tails.behind).unwrap_or(time)
    }

    /// When it is so late by that clock, if it goes.
    pub(super) fn when(tails: Option<&Self>, time: Instant) -> Option<Instant> {
        match tails {
            Some(tails) => tails.behind_since.is_none().then(|| time + tails.behind),
            None => Some(time),
        }
    }

    /// Whether there is not: then a heartbeat takes as long as a message.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::test_clock;

    #[test]
    fn what_was_said_before_the_end_was_asked_for_is_settled_and_no_more() {
        let (mut tails, now) = (Tails::default(), test_clock());
        let later = now + Duration::from_millis(1);
        tails.heard(1, 10, now);
        tails.heard(2, 20, later);
        assert_eq!(tails.reached_end(now, now), []);
        assert_eq!(tails.reached_end(later, later), [(1, 10)]);
        tails.heard(2, 21, later);
        let end = later + Duration::from_millis(1);
        assert_eq!(tails.reached_end(end, end), [(2, 21)]);
        assert!(tails.is_at_end());
        tails.fell_behind(end);
        assert!(!tails.is_at_end());
    }

    #[test]
    fn the_clock_stands_while_the_end_is_not_read() {
        let (mut tails, start) = (Tails::default(), test_clock());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(
            (
                Tails::time(Some(&tails), at(1)),
                Tails::when(Some(&tails), at(2))
            ),
            (at(1), Some(at(2)))
        );
        tails.fell_behind(at(3));
        tails.fell_behind(at(5));
        assert_eq!(
            (
                Tails::time(Some(&tails), at(9)),
                Tails::when(Some(&tails), at(9))
            ),
            (at(3), None)
        );
        tails.reached_end(at(9), at(10));
        assert_eq!(
            (
                Tails::time(Some(&tails), at(10)),
                Tails::when(Some(&tails), at(4))
            ),
            (at(3), Some(at(11)))
        );
        tails.reached_end(at(11), at(11));
        assert_eq!(Tails::time(Some(&tails), at(11)), at(4));
        assert_eq!(Tails::when(None, at(11)), Some(Tails::time(None, at(11))));
        tails.fell_behind(at(12));
        tails.reached_end(at(20), at(20));
        assert_eq!(Tails::time(Some(&tails), at(20)), at(5));
    }

    #[test]
    fn whoever_makes_up_origins_fills_a_bounded_table() {
        let (mut tails, now) = (Tails::default(), test_clock());
        (0..2 * MAX_TAILS as u64).for_each(|origin| tails.heard(origin, 1, now));
        tails.heard(0, 2, now);
        let later = now + Duration::from_millis(1);
        let settled = tails.reached_end(later, later);
        assert_eq!((settled.len(), settled[0]), (MAX_TAILS, (0, 2)));
    }
}
