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
    since: Instant,
}

impl Ring {
    /// Takes note of what was acknowledged now, and forgets the oldest beyond the bounds.
    ///
    /// While there is no connection nothing is pushed and nobody calls [`expire`](Self::expire): a
    /// Redis that comes back after a minute without its last second has lost what is here still.
    pub(super) fn push(&mut self, id: StreamId, entry: Rc<Entry>, now: Instant) {
        self.bytes += entry.cost();
        self.acked.push_back(Acked {
            id,
            entry,
            since: now,
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
        self.acked.front().map(|oldest| oldest.since + MAX_AGE)
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::backplane::entry::test_entry;
    use crate::hub::test_clock;

    const MILLI: Duration = Duration::from_millis(1);

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    fn numbers(ring: &Ring) -> Vec<u64> {
        let newest = (0..ring.len()).map(|back| ring.newest(back).unwrap().entry.seq());
        let mut numbers: Vec<u64> = newest.collect();
        numbers.reverse();
        numbers
    }

    #[test]
    fn ids_are_read_as_redis_writes_them() {
        assert_eq!(StreamId::parse(b"0-0"), Some(StreamId::ZERO));
        let last = id(u64::MAX, u64::MAX);
        assert_eq!(StreamId::parse(last.to_string().as_bytes()), Some(last));
        assert_eq!(
            StreamId::parse(b"1526919030474-55").unwrap().to_string(),
            "1526919030474-55"
        );
        let wrong: [&[u8]; 9] = [
            b"",
            b"-",
            b"1",
            b"1-",
            b"-1",
            b"1-+1",
            b"1-2-3",
            b"18446744073709551616-0",
            b"1-\xFF",
        ];
        for wrong in wrong {
            assert_eq!(StreamId::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn ids_are_ordered_and_older_ones_begin_their_millisecond() {
        assert!(id(1, 9) < id(2, 0) && id(2, 0) < id(2, 1) && id(9, 0) < id(10, 0));
        assert_eq!(id(7000, 3).minus(Duration::from_secs(5)), id(2000, 0));
        assert_eq!(id(4999, 3).minus(Duration::from_secs(5)), StreamId::ZERO);
    }

    #[test]
    fn the_newest_are_taken_out_in_their_order() {
        let (mut ring, now) = (Ring::default(), test_clock());
        for seq in 1..=5 {
            ring.push(id(seq, 0), test_entry(seq, 10, now), now);
        }
        assert_eq!(ring.newest(0).unwrap().id, id(5, 0));
        assert_eq!(ring.newest(4).unwrap().id, id(1, 0));
        assert!(ring.newest(5).is_none());
        let taken: Vec<u64> = ring.take_newest(3).map(|entry| entry.seq()).collect();
        assert_eq!(taken, [3, 4, 5]);
        assert_eq!(numbers(&ring), [1, 2]);
        assert_eq!(ring.bytes(), 2 * test_entry(1, 10, now).cost());
        assert_eq!(ring.take_newest(9).count(), 2);
        assert_eq!((ring.bytes(), ring.next_deadline()), (0, None));
    }

    #[test]
    fn both_sides_of_the_age() {
        let (mut ring, now) = (Ring::default(), test_clock());
        ring.push(id(1, 0), test_entry(1, 0, now), now);
        ring.push(id(2, 0), test_entry(2, 0, now), now + MILLI);
        assert_eq!(ring.next_deadline(), Some(now + MAX_AGE));
        ring.expire(now + MAX_AGE.saturating_sub(MILLI));
        assert_eq!(numbers(&ring), [1, 2]);
        ring.expire(now + MAX_AGE);
        assert_eq!(numbers(&ring), [2]);
        ring.push(id(3, 0), test_entry(3, 0, now), now + MAX_AGE + MILLI);
        assert_eq!(numbers(&ring), [3]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        #[cfg_attr(miri, ignore = "to make up a case takes a minute there")]
        fn the_ring_holds_the_newest_within_its_bounds(
            pushes in vec((0..2_000_000_usize, 0..5000_u64), 1..40),
        ) {
            let (mut ring, mut now) = (Ring::default(), test_clock());
            let mut all: Vec<(Instant, usize)> = Vec::new();
            for (seq, (len, millis)) in (0..).zip(pushes) {
                now += MILLI * u32::try_from(millis).unwrap();
                let entry = test_entry(seq, len, now);
                all.push((now, entry.cost()));
                ring.push(id(seq, 0), entry, now);
                // The longest run of newest ones that fits in, none of them too old.
                let (mut bytes, mut count) = (0, 0);
                for (acked_at, cost) in all.iter().rev() {
                    if bytes + cost > MAX_BYTES || *acked_at + MAX_AGE <= now {
                        break;
                    }
                    (bytes, count) = (bytes + cost, count + 1);
                }
                prop_assert_eq!((ring.len(), ring.bytes()), (count, bytes));
                let expected: Vec<u64> = (seq + 1 - count as u64..=seq).collect();
                prop_assert_eq!(numbers(&ring), expected);
            }
        }
    }
}
