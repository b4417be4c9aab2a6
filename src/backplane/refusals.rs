//! Messages that Redis refuses.

use std::time::{Duration, Instant};

/// How long nothing is sent after a refusal.
const PAUSE: Duration = Duration::from_millis(100);

/// How often one message is refused without a good reason, the first of all that are, before it is
/// dropped: there may be something in it that Redis cannot take, and all others wait behind it.
const MAX_REFUSALS: u32 = 5;

/// Codes of errors that say nothing about the message: a script runs, a node is not ready yet, the
/// memory is full. They pass, or the message grows too old.
const PASSING: [&[u8]; 8] = [
    b"BUSY",
    b"CLUSTERDOWN",
    b"LOADING",
    b"MASTERDOWN",
    b"MISCONF",
    b"NOREPLICAS",
    b"OOM",
    b"TRYAGAIN",
];

/// Messages that Redis refuses, while the connection is fine.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// The message that was refused last without a good reason, and how often it was.
    last: Option<(u64, u32)>,
    /// Nothing is sent before.
    paused_until: Option<Instant>,
    /// Whether messages are sent one at a time.
    is_careful: bool,
}

/// What becomes of a refused message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is sent again after a pause, with all that were refused.
    Retry,
    /// It is dropped.
    Drop,
}

impl Refusals {
    /// Redis refuses a message, in these words.
    pub(super) fn judge(&mut self, seq: u64, error: &[u8], now: Instant) -> Verdict {
        // Behind the first one others are refused too, and their time comes when that is gone.
        let is_first = self.paused_until.is_none();
        self.paused_until.get_or_insert(now + PAUSE);
        self.is_careful = true;
        let code = error.split(|byte| *byte == b' ').next();
        if !is_first || code.is_some_and(|code| PASSING.contains(&code)) {
            return Verdict::Retry;
        }
        let before = match self.last {
            Some((last, count)) if last == seq => count,
            _ => 0,
        };
        if before + 1 >= MAX_REFUSALS {
            self.last = None;
            return Verdict::Drop;
        }
        self.last = Some((seq, before + 1));
        Verdict::Retry
    }

    /// Whether a message may be sent now; `is_idle` says that everything that was sent is answered.
    /// After a pause it is one, until Redis takes one: if it took the second and not the first,
    /// their order would be lost.
    pub(super) fn allows(&self, is_idle: bool) -> bool {
        self.paused_until.is_none() && (is_idle || !self.is_careful)
    }

    /// Redis has taken a message.
    pub(super) fn accepted(&mut self) {
        self.is_careful = self.paused_until.is_some();
    }

    /// Whether a pause has ended, which is said once. It does not end before everything that was
    /// sent is answered, as `is_idle` says: then what is left is what was refused.
    pub(super) fn pause_is_over(&mut self, is_idle: bool, now: Instant) -> bool {
        is_idle && self.paused_until.take_if(|until| *until <= now).is_some()
    }

    /// The connection is another one.
    pub(super) fn end_pause(&mut self) {
        self.paused_until = None;
    }

    /// When a pause ends.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.paused_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::test_clock;

    #[test]
    fn what_cannot_be_taken_is_dropped_in_the_end() {
        let now = test_clock();
        let mut refusals = Refusals::default();
        let mut judge = |seqs: &[u64], error: &[u8]| {
            let verdicts = seqs.iter().map(|seq| refusals.judge(*seq, error, now));
            let verdicts: Vec<_> = verdicts.collect();
            assert!(refusals.pause_is_over(true, now + PAUSE));
            verdicts
        };
        // What is refused behind it does not save it.
        for _ in 1..MAX_REFUSALS {
            assert_eq!(judge(&[7, 8], b"ERR no"), [Verdict::Retry; 2]);
        }
        assert_eq!(judge(&[7, 8], b"ERR no"), [Verdict::Drop, Verdict::Retry]);
        for _ in 1..MAX_REFUSALS {
            assert_eq!(judge(&[8], b"ERR no"), [Verdict::Retry]);
        }
        assert_eq!(judge(&[8], b"ERR no"), [Verdict::Drop]);
        for _ in 0..100 {
            assert_eq!(judge(&[9], b"BUSY a script"), [Verdict::Retry]);
        }
    }

    #[test]
    fn a_pause_ends_once_and_not_before_all_is_answered() {
        let now = test_clock();
        let mut refusals = Refusals::default();
        assert!(refusals.allows(true) && refusals.allows(false));
        refusals.judge(1, b"BUSY", now);
        refusals.judge(2, b"BUSY", now + PAUSE / 2);
        assert_eq!(refusals.next_deadline(), Some(now + PAUSE));
        assert!(!refusals.pause_is_over(true, now + PAUSE / 2));
        assert!(!refusals.pause_is_over(false, now + PAUSE));
        assert!(!refusals.allows(true));
        assert!(refusals.pause_is_over(true, now + PAUSE));
        assert!(!refusals.pause_is_over(true, now + PAUSE));
    }

    #[test]
    fn after_a_pause_one_message_is_sent_until_redis_takes_one() {
        let now = test_clock();
        let mut refusals = Refusals::default();
        refusals.judge(1, b"BUSY", now);
        refusals.accepted();
        assert!(refusals.pause_is_over(true, now + PAUSE) && refusals.allows(true));
        assert!(!refusals.allows(false), "it must be answered first");
        refusals.accepted();
        assert!(refusals.allows(false));
    }
}
