//! Waiting for the others before old messages are sent again.

use std::time::{Duration, Instant};

/// How long the others are waited for. Whoever lost its connection when we did is back by then: the
/// back-off waits a second at most.
const MAX_WAIT: Duration = Duration::from_millis(2500);

/// How long they are waited for when nobody knows how many there are, and Redis was away: as long
/// as the back-off may take, and the connection.
const BLIND_WAIT: Duration = Duration::from_millis(1500);

/// How often it is asked how many there are.
const INTERVAL: Duration = Duration::from_millis(50);

/// Waiting for the others: what is sent to a Redis that has just started, before they have
/// subscribed again, is lost on them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    /// How many there were.
    expected: Option<u64>,
    until: Instant,
    /// When it is asked next; `None` while an answer is awaited.
    ask_at: Option<Instant>,
}

impl Gate {
    /// `expected` says how many subscribers there were, if that is known, and `was_away` whether
    /// Redis may have been away for the others too.
    pub(super) fn new(expected: Option<u64>, was_away: bool, now: Instant) -> Self {
        let wait = match (expected, was_away) {
            (Some(_), _) => MAX_WAIT,
            (None, true) => BLIND_WAIT,
            (None, false) => Duration::ZERO,
        };
        Self {
            expected,
            until: now + wait,
            ask_at: expected.map(|_| now),
        }
    }

    /// Whether it is time to ask how many there are. Then that is done.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        self.ask_at.take_if(|ask_at| *ask_at <= now).is_some()
    }

    /// So many there are.
    pub(super) fn counted(&mut self, subscribers: u64, now: Instant) {
        self.ask_at = Some(now + INTERVAL);
        if self
            .expected
            .is_some_and(|expected| subscribers >= expected)
        {
            self.until = now;
        }
    }

    /// Redis does not say how many there are.
    pub(super) fn not_counted(&mut self, now: Instant) {
        self.ask_at = Some(now + INTERVAL);
    }

    /// Whether nobody is waited for any longer.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.until <= now
    }

    pub(super) fn next_deadline(&self) -> Instant {
        self.ask_at
            .map_or(self.until, |ask_at| ask_at.min(self.until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::test_clock;

    #[test]
    fn it_opens_when_all_are_back_or_after_a_while() {
        let now = test_clock();
        let mut gate = Gate::new(Some(3), false, now);
        assert!(gate.asks(now) && !gate.asks(now), "it asks, once");
        gate.counted(2, now);
        assert!(!gate.is_open(now));
        assert_eq!(gate.next_deadline(), now + INTERVAL);
        assert!(!gate.asks(now + INTERVAL / 2) && gate.asks(now + INTERVAL));
        assert_eq!(gate.next_deadline(), now + MAX_WAIT);
        assert!(gate.is_open(now + MAX_WAIT), "it does not wait for ever");
        gate.counted(3, now + INTERVAL);
        assert!(gate.is_open(now + INTERVAL));
    }

    #[test]
    fn at_a_first_start_nobody_is_waited_for() {
        let now = test_clock();
        assert!(Gate::new(None, false, now).is_open(now));
        let mut gate = Gate::new(None, true, now);
        assert!(!gate.is_open(now) && !gate.asks(now));
        assert_eq!(gate.next_deadline(), now + BLIND_WAIT);
        assert!(gate.is_open(now + BLIND_WAIT));
    }
}
