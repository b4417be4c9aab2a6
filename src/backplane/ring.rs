//! What a stream has acknowledged lately.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::entry::Entry;

/// What the ring holds at most, in bytes.
pub(super) const MAX_BYTES: usize = 8 * 1024 * 1024;

/// How long it holds anything. A replica that lags more than that has other troubles.
pub(super) const MAX_AGE: Duration = Duration::from_secs(30);

/// The ID of a stream's entry: Redis' time of day in milliseconds, and a number within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StreamId {
    /// Milliseconds since 1970 by the clock of whoever added it.
    pub(super) ms: u64,
    /// Tells those of one millisecond apart.
    pub(super) seq: u64,
}

impl StreamId {
    /// Before every entry: `0-0`, which no entry has.
    pub(super) const ZERO: Self = Self { ms: 0, seq: 0 };

    /// Reads `1526919030474-55`, as Redis writes it.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (ms, seq) = text.split_once('-')?;
        Some(Self {
            ms: digits(ms)?,
            seq: digits(seq)?,
        })
    }

    /// The ID that is so much older, and before all of its millisecond.
    pub(super) fn minus(self, time: Duration) -> Self {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            ms: self.ms.saturating_sub(millis),
            seq: 0,
        }
    }
}

/// A number without the sign that `str::parse` would take.
fn digits(text: &str) -> Option<u64> {
    if text.starts_with('+') {
        return None;
    }
    text.parse().ok()
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// What of our own a stream has acknowledged lately: if Redis loses it, it is added anew.
///
/// In the order in which it was acknowledged; that of the IDs, as long as Redis is the same.
#[derive(Debug, Default)]
pub(super) struct Ring {
    acked: VecDeque<Acked>,
    bytes: usize,
}

/// An own entry, and what the stream calls it.
#[derive(Clone, Debug)]
pub(super) struct Acked {
    /// Its ID.
    pub(super) id: StreamId,
    /// What it says.
    pub(super) entry: Rc<Entry>,
    /// When Redis said so.
    acked_at: Instant,
}

impl Ring {
    /// Takes note of what was acknowledged now, and forgets the oldest beyond the bounds.
    pub(super) fn push(&mut self, id: StreamId, entry: Rc<Entry>, now: Instant) {
        self.bytes += entry.cost();
        self.acked.push_back(Acked {
            id,
            entry,
            acked_at: now,
        });
        while self.bytes > MAX_BYTES {
            self.forget_oldest();
        }
        self.expire(now);
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.forget_oldest();
        }
    }

    /// When the oldest is too old.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.acked.front().map(|oldest| oldest.acked_at + MAX_AGE)
    }

    pub(super) fn len(&self) -> usize {
        self.acked.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The one that was acknowledged `back` places before the last.
    pub(super) fn newest(&self, back: usize) -> Option<&Acked> {
        let index = self.acked.len().checked_sub(back + 1)?;
        self.acked.get(index)
    }

    /// Takes the last `count` out, oldest first: what has to be added anew.
    pub(super) fn take_newest(&mut self, count: usize) -> impl Iterator<Item = Rc<Entry>> + use<> {
        let kept = self.acked.len().saturating_sub(count);
        let taken = self.acked.split_off(kept);
        self.bytes -= taken.iter().map(|acked| acked.entry.cost()).sum::<usize>();
        taken.into_iter().map(|acked| acked.entry)
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.acked.pop_front() {
            self.bytes -= oldest.entry.cost();
        }
    }
}
