//! How far a stream has been read.

use std::cmp::Ordering;
use std::time::Duration;

use super::id::StreamId;
use super::reply::StreamInfo;

/// How far a reader goes back when it comes back: what a replica may have missed when it became the
/// master, and what Redis may have said that did not arrive.
const OVERLAP: Duration = Duration::from_secs(5);

/// How much more than that, at most, if it was away for a while: the clocks of a master and of its
/// replica may differ, and then IDs do that are younger than what was read.
const MAX_AWAY: Duration = Duration::from_secs(30);

/// How far a stream has been read: what to ask for next, what has been missed, and what is not read
/// yet.
///
/// Three things may go wrong with a stream under a reader, and all are seen here. It is trimmed
/// before it was read: what is gone is counted. It is behind what was read, since another Redis has
/// taken over or it was deleted: who waits for younger entries waits in vain, so it is read again
/// from its end on. The reader is too far behind: it goes on near the end, and counts.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The youngest entry that was read; `None` until it is known where the stream ends.
    furthest: Option<StreamId>,
    /// The entry behind which is to be read.
    next: StreamId,
    /// Where we have begun: what is older was said before we listened.
    floor: StreamId,
    /// How many entries the stream ever had up to `furthest`, if that is known.
    index: Option<u64>,
    /// How many it ever had, when it was asked last.
    added: Option<u64>,
    /// Entries that were passed over by estimate. How many exactly shows at the end of the stream;
    /// then they are counted.
    skipped: u64,
}

impl Cursor {
    /// The entry behind which is to be read.
    pub(super) fn next(&self) -> StreamId {
        self.next
    }

    /// Entries that are not read yet, as far as is known.
    pub(super) fn lag(&self) -> u64 {
        match (self.added, self.index) {
            (Some(added), Some(index)) => added.saturating_sub(index),
            _ => 0,
        }
    }

    /// How many entries the stream was known to have had.
    pub(super) fn added(&self) -> Option<u64> {
        self.added
    }

    /// There is a connection, which says this of the stream, or that there is none. Reading begins
    /// at the stream's end, once and for all; then it goes back a little, since the reader was
    /// `away` for so long. Returns how many entries have been missed.
    pub(super) fn resume(
        &mut self,
        stream: Option<&StreamInfo>,
        away: Duration,
        max_behind: u64,
    ) -> u64 {
        let Some(furthest) = self.furthest else {
            let end = stream.map_or(StreamId::ZERO, |stream| stream.last);
            self.furthest = Some(end);
            (self.next, self.floor) = (end, end);
            self.added = stream.map_or(Some(0), |stream| stream.added);
            self.index = self.added;
            return 0;
        };
        self.next = furthest.minus(overlap(away)).max(self.floor).min(furthest);
        self.check(stream, away, max_behind)
    }

    /// The stream is like this, or is no more; everything that was asked for before has been read.
    /// It was asked `since` so long ago the last time. Returns how many entries have been missed.
    pub(super) fn check(
        &mut self,
        stream: Option<&StreamInfo>,
        since: Duration,
        max_behind: u64,
    ) -> u64 {
        let Some(stream) = stream else {
            return self.begin_anew();
        };
        let Some(furthest) = self.furthest else {
            return 0;
        };
        self.added = stream.added;
        match stream.last.cmp(&furthest) {
            Ordering::Less => self.go_back(stream.last, since),
            Ordering::Equal => self.reach_end(),
            Ordering::Greater => {
                let missed = self.count_trimmed(stream, furthest);
                self.skip(stream, max_behind);
                missed
            }
        }
    }

    /// An entry was read.
    pub(super) fn read(&mut self, id: StreamId) {
        self.next = id;
        if self.furthest.is_some_and(|furthest| furthest < id) {
            self.furthest = Some(id);
            self.index = self.index.map(|index| index + 1);
        }
    }

    /// There is no stream: everything in the next one is new, whatever it is called.
    fn begin_anew(&mut self) -> u64 {
        let missed = self.lag() + self.skipped;
        *self = Self {
            furthest: Some(StreamId::ZERO),
            index: Some(0),
            added: Some(0),
            ..Self::default()
        };
        missed
    }

    /// The stream ends before what was read.
    fn go_back(&mut self, last: StreamId, since: Duration) -> u64 {
        self.next = last.minus(overlap(since));
        self.furthest = Some(self.next);
        self.floor = self.floor.min(self.next);
        self.index = None;
        std::mem::take(&mut self.skipped)
    }

    /// All of the stream was read: now it shows what has been missed.
    fn reach_end(&mut self) -> u64 {
        let skipped = std::mem::take(&mut self.skipped);
        let index = std::mem::replace(&mut self.index, self.added);
        match (self.added, index) {
            (Some(added), Some(index)) => (added + skipped).saturating_sub(index),
            _ => skipped,
        }
    }

    /// Looks whether entries that were not read are gone.
    fn count_trimmed(&mut self, stream: &StreamInfo, furthest: StreamId) -> u64 {
        if stream.first.is_some_and(|first| first <= furthest) {
            return 0;
        }
        if stream.first.is_none() {
            // It is empty.
            self.furthest = Some(stream.last);
            self.next = stream.last;
            return self.reach_end();
        }
        match (stream.gone(), self.index) {
            (Some(gone), Some(index)) => {
                self.index = Some(gone.max(index));
                gone.saturating_sub(index)
            }
            _ => 0,
        }
    }

    /// Passes over entries if there are too many before the end.
    fn skip(&mut self, stream: &StreamInfo, max_behind: u64) {
        let (Some(first), Some(furthest)) = (stream.first, self.furthest) else {
            return;
        };
        let behind = match (stream.added, self.index) {
            (Some(added), Some(index)) => added.saturating_sub(index),
            _ => share(stream.length, first.max(furthest), stream.last, first),
        };
        if behind <= max_behind {
            return;
        }
        let target = before_end(stream, first, max_behind);
        if target <= furthest {
            return;
        }
        (self.next, self.furthest) = (target, Some(target));
        if let (Some(added), Some(index)) = (stream.added, self.index) {
            let estimated = added.saturating_sub(max_behind).max(index);
            self.skipped += estimated - index;
            self.index = Some(estimated);
        }
    }
}

/// How far to go back after so long a time.
fn overlap(away: Duration) -> Duration {
    OVERLAP + away.min(MAX_AWAY)
}

/// How many of `length` entries lie behind `from`, if they came evenly between `first` and `last`.
fn share(length: u64, from: StreamId, last: StreamId, first: StreamId) -> u64 {
    let span = u128::from(last.ms.saturating_sub(first.ms));
    if span == 0 {
        return length;
    }
    let part = u128::from(last.ms.saturating_sub(from.ms));
    u64::try_from(u128::from(length) * part / span).unwrap_or(length)
}

/// The ID with about `count` entries behind it, if they came evenly.
fn before_end(stream: &StreamInfo, first: StreamId, count: u64) -> StreamId {
    let StreamInfo { length, last, .. } = *stream;
    let span = last.ms.saturating_sub(first.ms);
    if span == 0 {
        let seq = last.seq.saturating_sub(count);
        return StreamId { ms: last.ms, seq };
    }
    let back = u128::from(count) * u128::from(span) / u128::from(length.max(1));
    let back = u64::try_from(back).unwrap_or(u64::MAX);
    last.minus(Duration::from_millis(back))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const AWAY: Duration = Duration::from_secs(2);
    const MANY: u64 = 1_000_000;

    fn id(ms: u64) -> StreamId {
        StreamId { ms, seq: 0 }
    }

    /// A stream that once had entries 1 to `added`, at so many milliseconds from each other, and of
    /// which `length` are left.
    fn stream(added: u64, length: u64, distance: u64) -> StreamInfo {
        StreamInfo {
            length,
            last: id(added * distance),
            first: (length > 0).then(|| id((added - length + 1) * distance)),
            added: Some(added),
            deleted: None,
        }
    }

    /// Reads an entry. Whether it is younger than all that were read.
    fn is_ahead(cursor: &mut Cursor, id: StreamId) -> bool {
        let before = cursor.furthest;
        cursor.read(id);
        cursor.furthest != before
    }

    /// A cursor that has read a stream to its end.
    fn at_end(stream: &StreamInfo) -> Cursor {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.resume(Some(stream), Duration::ZERO, MANY), 0);
        cursor
    }

    #[test]
    fn who_was_sent_back_goes_back_from_there_and_skips_from_there() {
        let mut cursor = at_end(&stream(100, 100, 1000));
        // Another Redis has taken over, and has half of it.
        let half = stream(50, 50, 1000);
        cursor.check(Some(&half), AWAY, MANY);
        assert_eq!(cursor.next(), id(43_000));
        for second in 44..=50 {
            cursor.read(id(1000 * second));
        }
        cursor.resume(Some(&half), AWAY, MANY);
        assert_eq!(cursor.next(), id(43_000), "what it went back for once");
        // What the one before has counted says nothing of this one.
        cursor.check(Some(&stream(70, 70, 1000)), AWAY, 10);
        assert!(cursor.next() > id(59_000), "{}", cursor.next());
    }

    #[test]
    fn reading_begins_at_the_end_once_and_for_all() {
        let mut cursor = at_end(&stream(30, 20, 1000));
        assert_eq!((cursor.next(), cursor.lag()), (id(30_000), 0));
        // Two more while we were away: they are read, and nothing from before we were there.
        assert_eq!(cursor.resume(Some(&stream(32, 22, 1000)), AWAY, MANY), 0);
        assert_eq!((cursor.next(), cursor.lag()), (id(30_000), 2));
        let mut cursor = Cursor::default();
        assert_eq!(cursor.resume(None, Duration::ZERO, MANY), 0);
        assert_eq!(
            cursor.next(),
            StreamId::ZERO,
            "all of a stream that is not there yet"
        );
        assert_eq!(cursor.resume(Some(&stream(3, 3, 1)), AWAY, MANY), 0);
        assert_eq!((cursor.next(), cursor.lag()), (StreamId::ZERO, 3));
    }

    #[test]
    fn who_comes_back_goes_back_by_the_overlap_and_by_its_absence() {
        let mut cursor = at_end(&stream(1, 1, 1000));
        for seconds in 2..=100 {
            assert!(is_ahead(&mut cursor, id(1000 * seconds)));
        }
        let now = stream(100, 100, 1000);
        for (away, expected) in [(0, 95), (2, 93), (30, 65), (300, 65)] {
            cursor.resume(Some(&now), Duration::from_secs(away), MANY);
            assert_eq!(cursor.next(), id(1000 * expected), "after {away} s");
        }
        assert!(!is_ahead(&mut cursor, id(66_000)));
        assert!(!is_ahead(&mut cursor, id(100_000)));
        assert!(is_ahead(&mut cursor, id(100_001)));
        assert_eq!(cursor.next(), id(100_001));
    }

    #[test]
    fn what_was_trimmed_before_it_was_read_is_counted_exactly() {
        let mut cursor = at_end(&stream(10, 10, 1000));
        assert_eq!(
            cursor.check(Some(&stream(20, 10, 1000)), AWAY, MANY),
            0,
            "just not yet"
        );
        assert_eq!(cursor.check(Some(&stream(20, 9, 1000)), AWAY, MANY), 1);
        assert_eq!(cursor.check(Some(&stream(30, 10, 1000)), AWAY, MANY), 9);
        assert_eq!(cursor.lag(), 10);
        assert_eq!(cursor.check(Some(&stream(30, 0, 1000)), AWAY, MANY), 10);
        assert_eq!((cursor.lag(), cursor.next()), (0, id(30_000)));
        assert_eq!(cursor.check(Some(&stream(30, 0, 1000)), AWAY, MANY), 0);
    }

    #[test]
    fn what_was_trimmed_between_two_looks_is_counted_at_the_end() {
        let mut cursor = at_end(&stream(10, 10, 1000));
        // 11 and 12 were gone before they were read, and nobody has looked then.
        cursor.read(id(13_000));
        assert_eq!(cursor.check(Some(&stream(13, 1, 1000)), AWAY, MANY), 2);
        assert_eq!(cursor.check(Some(&stream(13, 1, 1000)), AWAY, MANY), 0);
    }

    #[test]
    fn a_stream_that_ends_before_what_was_read_is_read_again_from_its_end_on() {
        let mut cursor = at_end(&stream(5, 5, 1000));
        (6..=100).for_each(|seconds| cursor.read(id(1000 * seconds)));
        // A replica has taken over that lags by 20 s, and its clock by more.
        let replica = stream(80, 80, 1000);
        assert_eq!(cursor.check(Some(&replica), AWAY, MANY), 0);
        assert_eq!(cursor.next(), id(73_000));
        assert!(is_ahead(&mut cursor, id(74_000)), "who knows");
        (75..=81).for_each(|seconds| cursor.read(id(1000 * seconds)));
        assert_eq!(cursor.check(Some(&stream(81, 81, 1000)), AWAY, MANY), 0);
        assert_eq!(cursor.lag(), 0);
        assert_eq!(cursor.check(Some(&stream(82, 82, 1000)), AWAY, MANY), 0);
        assert_eq!(cursor.lag(), 1, "it knows again where it is");
    }

    #[test]
    fn of_a_stream_that_was_deleted_nothing_is_left_to_wait_for() {
        let mut cursor = at_end(&stream(10, 10, 1000));
        cursor.check(Some(&stream(13, 13, 1000)), AWAY, MANY);
        assert_eq!(cursor.check(None, AWAY, MANY), 3, "nobody will read them");
        assert_eq!((cursor.next(), cursor.lag()), (StreamId::ZERO, 0));
        assert_eq!(cursor.check(None, AWAY, MANY), 0);
        assert!(is_ahead(&mut cursor, id(1)), "whatever the clock says");
        assert_eq!(cursor.check(Some(&stream(1, 1, 1)), AWAY, MANY), 0);
    }

    #[test]
    fn who_is_too_far_behind_goes_on_near_the_end_and_counts_exactly() {
        let mut cursor = at_end(&stream(100, 100, 10));
        assert_eq!(cursor.check(Some(&stream(1100, 1100, 10)), AWAY, 1000), 0);
        assert_eq!(cursor.next(), id(1000), "just not yet");
        assert_eq!(cursor.check(Some(&stream(1101, 1101, 10)), AWAY, 1000), 0);
        let near = cursor.next();
        assert!(near > id(1000) && near <= id(1020), "{near}");
        assert_eq!(cursor.lag(), 1000, "by estimate");
        let read = (1..=1101).map(|n| id(10 * n)).filter(|id| *id > near);
        let read = read.map(|id| cursor.read(id)).count() as u64;
        let missed = cursor.check(Some(&stream(1101, 1101, 10)), AWAY, 1000);
        assert_eq!(missed + read, 1001);
    }

    #[test]
    fn who_was_away_for_too_long_does_not_go_back() {
        let mut cursor = at_end(&stream(100, 100, 10));
        cursor.resume(Some(&stream(5000, 5000, 10)), AWAY, 1000);
        assert!(cursor.next() >= id(39_900), "{}", cursor.next());
    }

    #[test]
    fn in_one_millisecond_entries_are_told_apart_by_their_numbers() {
        let last = StreamId { ms: 7, seq: 5000 };
        let stream = StreamInfo {
            length: 5001,
            last,
            first: Some(id(7)),
            added: Some(5001),
            deleted: None,
        };
        let mut cursor = at_end(&StreamInfo {
            length: 1,
            last: id(7),
            added: Some(1),
            ..stream
        });
        cursor.check(Some(&stream), AWAY, 1000);
        assert_eq!(cursor.next(), StreamId { ms: 7, seq: 4000 });
    }

    #[test]
    fn a_redis_that_does_not_count_is_read_all_the_same() {
        let uncounted = |added, length| StreamInfo {
            added: None,
            ..stream(added, length, 10)
        };
        let mut cursor = at_end(&uncounted(100, 100));
        cursor.read(id(1010));
        assert_eq!(cursor.check(Some(&uncounted(300, 100)), AWAY, MANY), 0);
        assert_eq!((cursor.lag(), cursor.next()), (0, id(1010)));
        cursor.check(Some(&uncounted(5000, 4900)), AWAY, 1000);
        let near = cursor.next();
        assert!(near >= id(39_900) && near < id(40_100), "{near}");
        assert_eq!(cursor.check(Some(&uncounted(5000, 4900)), AWAY, 1000), 0);
        assert_eq!(cursor.next(), near, "once is enough");
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// So many entries are added.
        Add(u64),
        /// The stream is trimmed to so many.
        Trim(u64),
        /// So many are read.
        Read(usize),
        Look,
        Reconnect,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1..60_u64).prop_map(Step::Add),
            1 => (0..80_u64).prop_map(Step::Trim),
            6 => (1..60_usize).prop_map(Step::Read),
            2 => Just(Step::Look),
            1 => Just(Step::Reconnect),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        #[cfg_attr(miri, ignore = "to make up a case takes a minute there")]
        fn every_entry_is_read_or_counted_as_missed(
            steps in vec(step(), 1..80),
            max_behind in 20..200_u64,
        ) {
            let (mut added, mut first) = (50_u64, 1_u64);
            let info = |added: u64, first: u64| stream(added, added + 1 - first, 700);
            let mut cursor = at_end(&info(added, first));
            let (mut read, mut missed) = (0, 0);
            for step in steps.into_iter().chain([Step::Read(10_000), Step::Look]) {
                match step {
                    Step::Add(count) => added += count,
                    Step::Trim(length) => first = first.max((added + 1).saturating_sub(length)),
                    Step::Read(count) => {
                        let next = cursor.next();
                        let there = (first..=added).map(|n| id(700 * n)).filter(|id| *id > next);
                        let ahead = there.take(count).filter(|id| is_ahead(&mut cursor, *id));
                        read += ahead.count() as u64;
                    }
                    Step::Look => missed += cursor.check(Some(&info(added, first)), AWAY, max_behind),
                    Step::Reconnect => {
                        missed += cursor.resume(Some(&info(added, first)), AWAY, max_behind);
                    }
                }
            }
            prop_assert_eq!(read + missed, added - 50);
            prop_assert_eq!(cursor.lag(), 0);
        }
    }
}
