//! Raw messages that come back.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::entry::Entry;

/// How many messages on their way are compared with one that comes. Own ones come back in order, so
/// that it is nearly always the first.
const MAX_COMPARED: usize = 4096;

/// How long messages may still come back that were sent on the connection before. Later, somebody
/// who says the same is somebody else.
const MAX_LATE: Duration = Duration::from_secs(10);

/// Raw messages of ours on their way. Nothing in them says whose they are; but Redis brings each
/// back just before it acknowledges it, or just behind, and in the order in which they were sent.
/// Should somebody else say the same at the same time, one is taken for the other, and nobody can
/// tell.
#[derive(Debug, Default)]
pub(super) struct RawEchoes {
    /// In the order of their numbers.
    sent: VecDeque<Rc<Entry>>,
    /// The first one that was sent on this connection, or will be, and since when that is so.
    moved: Option<(u64, Instant)>,
}

impl RawEchoes {
    /// A message was sent.
    pub(super) fn sent(&mut self, entry: Rc<Entry>) {
        self.sent.push_back(entry);
    }

    /// Messages from this one on are sent on another connection.
    pub(super) fn moved(&mut self, first: u64, now: Instant) {
        self.moved = Some((first, now));
    }

    /// A message has come. Its number if it is one of ours.
    pub(super) fn recognise(&mut self, payload: &[u8], now: Instant) -> Option<u64> {
        self.expire(now);
        let mut sent = self.sent.iter().take(MAX_COMPARED);
        let index = sent.position(|entry| entry.payload() == payload)?;
        self.sent.remove(index).map(|entry| entry.seq())
    }

    /// A message is acknowledged: those that were sent before it on its connection will not come
    /// any more.
    pub(super) fn acked(&mut self, seq: u64) {
        let first = self.moved.map_or(0, |(first, _)| first);
        let begin = if seq < first { 0 } else { first };
        let from = self.sent.partition_point(|entry| entry.seq() < begin);
        let to = self.sent.partition_point(|entry| entry.seq() < seq);
        self.sent.drain(from..to);
    }

    /// The connection is lost: nothing will come back.
    pub(super) fn clear(&mut self) {
        self.sent.clear();
    }

    fn expire(&mut self, now: Instant) {
        if let Some((first, _)) = self.moved.take_if(|(_, at)| *at + MAX_LATE <= now) {
            let late = self.sent.partition_point(|entry| entry.seq() < first);
            self.sent.drain(..late);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::config::Format;
    use crate::hub::test_clock;
    use crate::protocol::MessageKind;

    fn entry(seq: u64, payload: &str) -> Rc<Entry> {
        let kind = MessageKind::Text;
        let entry = Entry::new((1, seq), "", kind, payload.as_bytes(), None, test_clock()).unwrap();
        assert_eq!(entry.published(Format::Raw), payload.as_bytes());
        entry
    }

    #[test]
    fn what_comes_back_is_recognised_once() {
        let mut echoes = RawEchoes::default();
        echoes.sent(entry(1, "a"));
        echoes.sent(entry(2, "a"));
        echoes.sent(entry(3, "b"));
        let mut recognise = |payload: &[u8]| echoes.recognise(payload, test_clock());
        assert_eq!(recognise(b"c"), None);
        assert_eq!(recognise(b"b"), Some(3), "others may say the same");
        assert_eq!(recognise(b"a"), Some(1));
        assert_eq!(recognise(b"a"), Some(2));
        assert_eq!(recognise(b"a"), None);
    }

    #[test]
    fn what_will_not_come_any_more_is_forgotten() {
        let mut echoes = RawEchoes::default();
        echoes.sent(entry(1, "a"));
        echoes.sent(entry(2, "b"));
        echoes.acked(2);
        let now = test_clock();
        assert_eq!(echoes.recognise(b"a", now), None);
        assert_eq!(
            echoes.recognise(b"b", now),
            Some(2),
            "it may follow its answer"
        );
        echoes.sent(entry(3, "c"));
        echoes.clear();
        assert_eq!(echoes.recognise(b"c", now), None);
    }

    #[test]
    fn what_was_sent_on_the_connection_before_may_come_for_a_while() {
        let now = test_clock();
        let mut echoes = RawEchoes::default();
        for (seq, payload) in [(1, "a"), (2, "b"), (3, "c")] {
            echoes.sent(entry(seq, payload));
        }
        echoes.moved(4, now);
        echoes.sent(entry(4, "d"));
        echoes.sent(entry(5, "e"));
        echoes.acked(5);
        assert_eq!(echoes.recognise(b"d", now), None);
        assert_eq!(echoes.recognise(b"a", now), Some(1), "it went another way");
        echoes.acked(3);
        assert_eq!(echoes.recognise(b"b", now), None);
        assert_eq!(echoes.recognise(b"c", now + MAX_LATE), None, "too late");
        assert_eq!(echoes.recognise(b"e", now + MAX_LATE), Some(5));
    }
}
