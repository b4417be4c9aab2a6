//! What tells one stream from another of its name.

use super::id::StreamId;
use super::reply::StreamInfo;
use super::ring::Acked;
use super::search::is_trimmed;

/// What a stream is known to have had, by the link for commands, when the reader asks how it is. A
/// stream that has not come so far is another one: the two links lead to two Redises. One name may
/// lead to one today and to another tomorrow, and both may call themselves masters.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    /// The youngest entry.
    pub(super) last: StreamId,
    /// Our own youngest entry that was acknowledged lately, if there is one. Others may have taken
    /// the other stream farther than ours, and it has not got this one all the same.
    pub(super) added: Option<Acked>,
}

/// What the reader's Redis has not got, if that of the link for commands must not have it either.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    /// The entry that it has not come to.
    pub(super) last: StreamId,
    /// How many answers are under way that know nothing of the doubt: they say how the stream was.
    pub(super) earlier: usize,
}

impl Witness {
    /// Whether a stream is another one, as the reader knows it: `has_added` says whether our own
    /// entry is in it, `added` how many entries it had had before, and `max_length` to how many we
    /// trim it.
    pub(super) fn contradicts(
        &self,
        stream: Option<&StreamInfo>,
        has_added: bool,
        added: Option<u64>,
        max_length: u64,
    ) -> bool {
        let last = stream.map_or(StreamId::ZERO, |stream| stream.last);
        if last < self.last {
            return true;
        }
        let (Some(acked), false) = (&self.added, has_added) else {
            return false;
        };
        if stream.is_some_and(|stream| stream.may_have_deleted(acked.id)) {
            return false;
        }
        // A Redis that does not count entries cannot say that its first ones were trimmed.
        let is_silent = stream.is_some_and(|stream| {
            stream.added.is_none() && stream.first.is_none_or(|first| acked.id < first)
        });
        !is_silent && !is_trimmed(acked.id, stream, added, max_length)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::Ring;
    use super::*;
    use crate::backplane::entry::test_entry;
    use crate::hub::test_clock;

    fn id(ms: u64) -> StreamId {
        StreamId { ms, seq: 0 }
    }

    /// Who has added the entry 50, and has heard of this one.
    fn witness(last: u64) -> Witness {
        let (mut ring, now) = (Ring::default(), test_clock());
        ring.push(id(50), test_entry(1, 10, now), now);
        Witness {
            last: id(last),
            added: ring.newest(0).cloned(),
        }
    }

    const STREAM: StreamInfo = StreamInfo {
        length: 10,
        last: StreamId { ms: 90, seq: 0 },
        first: Some(StreamId { ms: 20, seq: 0 }),
        added: Some(30),
        deleted: Some(StreamId { ms: 49, seq: 0 }),
    };

    #[test]
    fn a_stream_that_has_not_come_so_far_is_another_one() {
        for (last, expected) in [(90, false), (91, true)] {
            let is_another = witness(last).contradicts(Some(&STREAM), true, Some(30), 20);
            assert_eq!(is_another, expected);
        }
        assert!(witness(50).contradicts(None, true, None, 20));
        assert!(!Witness::default().contradicts(None, false, None, 20));
    }

    #[test]
    fn a_stream_without_our_entry_is_another_one_unless_it_was_trimmed() {
        let is_another = |stream| witness(50).contradicts(Some(&stream), false, Some(30), 20);
        assert!(is_another(STREAM));
        let deleted = StreamInfo {
            deleted: Some(id(50)),
            ..STREAM
        };
        assert!(!is_another(deleted), "somebody has deleted it");
        let nobody = Witness {
            added: None,
            ..witness(50)
        };
        assert!(!nobody.contradicts(Some(&STREAM), false, Some(30), 20));
        let trimmed = StreamInfo {
            first: Some(id(60)),
            ..STREAM
        };
        assert!(!is_another(trimmed));
        let anew = StreamInfo {
            added: Some(10),
            ..trimmed
        };
        assert!(is_another(anew), "nothing was trimmed");
        let old = |stream| StreamInfo {
            added: None,
            ..stream
        };
        assert!(is_another(old(STREAM)) && !is_another(old(trimmed)));
    }
}
