//! What of our own a stream has lost.

use super::id::StreamId;
use super::reply::StreamInfo;

/// The search for what of the ring a stream has lost, newest first: a Redis that fails loses its
/// end, so that whatever survives has survived with all before it. Each step is a question to
/// Redis, and they double their distance, then halve it: about 30 for the longest ring.
#[derive(Debug)]
pub(super) struct Search {
    /// How many there are.
    len: usize,
    /// How many of the newest are known to be lost.
    lost: usize,
    /// The newest that is known to have survived, counted from the newest of all.
    survivor: Option<usize>,
}

impl Search {
    /// Among so many.
    pub(super) fn new(len: usize) -> Self {
        Self {
            len,
            lost: 0,
            survivor: None,
        }
    }

    /// The one to look at next, counted from the newest of all; `None` when it is known how many
    /// are lost.
    pub(super) fn next(&self) -> Option<usize> {
        match self.survivor {
            Some(survivor) => (self.lost < survivor).then(|| usize::midpoint(self.lost, survivor)),
            None => (self.lost < self.len).then(|| (2 * self.lost).min(self.len - 1)),
        }
    }

    /// That one has survived, or has not.
    pub(super) fn learn(&mut self, has_survived: bool) {
        match self.next() {
            Some(place) if has_survived => self.survivor = Some(place),
            Some(place) => self.lost = place + 1,
            None => {}
        }
    }

    /// How many of the newest are lost.
    pub(super) fn lost(&self) -> usize {
        self.lost
    }
}

/// Whether an entry that the stream had may be gone since the stream was trimmed, which is no loss:
/// all before it are gone too. Not so in a stream that was begun anew. `added` says how many
/// entries it was known to have had, and `max_length` to how many we trim it.
pub(super) fn is_trimmed(
    id: StreamId,
    stream: Option<&StreamInfo>,
    added: Option<u64>,
    max_length: u64,
) -> bool {
    let Some(stream) = stream else {
        return false;
    };
    if stream.first.is_some_and(|first| first <= id) || stream.last < id {
        return false;
    }
    match (stream.added, added) {
        (Some(now), Some(before)) if now < before => false,
        (Some(_), _) => stream.gone() > Some(0),
        (None, _) => stream.length >= max_length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks for the `lost` newest of `len`. Also how many questions that took.
    fn search(len: usize, lost: usize) -> (usize, usize) {
        let (mut search, mut questions) = (Search::new(len), 0);
        while let Some(place) = search.next() {
            assert!(place < len);
            search.learn(place >= lost);
            questions += 1;
        }
        (search.lost(), questions)
    }

    #[test]
    fn whatever_is_lost_is_found_in_few_steps() {
        for len in (0..70).chain([1000, 100_000]) {
            for lost in (0..=len).step_by(len / 50 + 1).chain([len]) {
                let (found, questions) = search(len, lost);
                assert_eq!(found, lost, "of {len}");
                assert!(questions <= 36, "{questions} for {lost} of {len}");
            }
        }
        assert_eq!(search(1000, 0), (0, 1), "mostly nothing is");
    }

    #[test]
    fn what_is_gone_from_the_front_was_trimmed() {
        let id = |ms| StreamId { ms, seq: 0 };
        let stream = StreamInfo {
            length: 10,
            last: id(90),
            first: Some(id(50)),
            added: Some(30),
            deleted: None,
        };
        let is_trimmed =
            |ms, stream: StreamInfo, added| is_trimmed(id(ms), Some(&stream), added, 20);
        assert!(is_trimmed(49, stream, Some(30)));
        assert!(is_trimmed(49, stream, None));
        assert!(!is_trimmed(50, stream, Some(30)), "it should be there");
        assert!(
            !is_trimmed(49, stream, Some(31)),
            "another stream of that name"
        );
        let untouched = StreamInfo {
            added: Some(10),
            ..stream
        };
        assert!(!is_trimmed(49, untouched, Some(5)), "nothing was trimmed");
        let empty = StreamInfo {
            length: 0,
            first: None,
            ..stream
        };
        assert!(is_trimmed(90, empty, Some(30)));
        assert!(!is_trimmed(91, empty, Some(30)), "it never had that");
        assert!(
            !super::is_trimmed(id(49), None, None, 20),
            "there is no stream"
        );
        // A Redis that does not count: what is shorter than we trim it was not trimmed.
        for (length, expected) in [(19, false), (20, true)] {
            let old = StreamInfo {
                length,
                added: None,
                ..stream
            };
            assert_eq!(is_trimmed(49, old, None), expected);
        }
    }
}
