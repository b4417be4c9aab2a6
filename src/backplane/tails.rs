//! What others say they have sent, until it can be known whether it has come.

use std::collections::BTreeMap;
use std::time::Instant;

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
    pub(super) fn reached_end(&mut self, asked_at: Instant) -> Vec<(u64, u64)> {
        self.is_at_end = true;
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
    pub(super) fn fell_behind(&mut self) {
        self.is_at_end = false;
    }

    /// Whether there is not: then a heartbeat takes as long as a message.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_end
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hub::test_clock;

    #[test]
    fn what_was_said_before_the_end_was_asked_for_is_settled_and_no_more() {
        let (mut tails, now) = (Tails::default(), test_clock());
        let later = now + Duration::from_millis(1);
        tails.heard(1, 10, now);
        tails.heard(2, 20, later);
        assert_eq!(tails.reached_end(now), []);
        assert_eq!(tails.reached_end(later), [(1, 10)]);
        tails.heard(2, 21, later);
        assert_eq!(
            tails.reached_end(later + Duration::from_millis(1)),
            [(2, 21)]
        );
        assert!(tails.is_at_end());
        tails.fell_behind();
        assert!(!tails.is_at_end());
    }

    #[test]
    fn whoever_makes_up_origins_fills_a_bounded_table() {
        let (mut tails, now) = (Tails::default(), test_clock());
        (0..2 * MAX_TAILS as u64).for_each(|origin| tails.heard(origin, 1, now));
        tails.heard(0, 2, now);
        let settled = tails.reached_end(now + Duration::from_millis(1));
        assert_eq!((settled.len(), settled[0]), (MAX_TAILS, (0, 2)));
    }
}
