//! What a stream has acknowledged lately.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::entry::Entry;
use super::id::StreamId;

/// What the ring holds at most, in bytes.
pub(in super::super) const MAX_BYTES: usize = 8 * 1024 * 1024;

/// How long it holds anything. A replica that lags more than that has other troubles.
const MAX_AGE: Duration = Duration::from_secs(30);

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

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The one that was acknowledged `back` places before the last.
    pub(super) fn newest(&self, back: usize) -> Option<&Acked> {
        let index = self.acked.len().checked_sub(back + 1)?;
        self.acked.get(index)
    }

    /// Takes the last `count` out, oldest first: what has to be added anew.
    pub(super) fn take_newest(
        &mut self,
        count: usize,
    ) -> impl DoubleEndedIterator<Item = Rc<Entry>> + use<> {
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
        let newest = (0..ring.len()).map(|back| ring.newest(back).unwrap().id.ms);
        let mut numbers: Vec<u64> = newest.collect();
        numbers.reverse();
        numbers
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
            pushes in vec((0..4_usize, 0..5000_u64), 1..40),
        ) {
            let (mut ring, mut now) = (Ring::default(), test_clock());
            // The same few again and again: to make up so many megabytes takes its time. Eight of
            // one size, or four of the other, are just as many as may be.
            let empty = test_entry(0, 0, now).cost();
            let lens = [0, 300_000, MAX_BYTES / 8 - empty, MAX_BYTES / 4 - empty];
            let entries = lens.map(|len| test_entry(0, len, now));
            let mut all: Vec<(Instant, usize)> = Vec::new();
            for (seq, (which, millis)) in (0..).zip(pushes) {
                now += MILLI * u32::try_from(millis).unwrap();
                let entry = Rc::clone(&entries[which]);
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
