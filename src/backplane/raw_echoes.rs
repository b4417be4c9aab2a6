//! Raw messages that come back.

use std::collections::VecDeque;
use std::rc::Rc;

use super::entry::Entry;

/// How many messages on their way are compared with one that comes. Own ones come back in order, so
/// that it is nearly always the first.
const MAX_COMPARED: usize = 4096;

/// Raw messages of ours on their way. Nothing in them says whose they are; but Redis brings each back
/// just before it acknowledges it, or just behind, and in the order in which they were sent. Should
/// somebody else say the same at the same time, one is taken for the other, and nobody can tell.
#[derive(Debug, Default)]
pub(super) struct RawEchoes(VecDeque<Rc<Entry>>);

impl RawEchoes {
    /// A message was sent.
    pub(super) fn sent(&mut self, entry: Rc<Entry>) {
        self.0.push_back(entry);
    }

    /// A message has come. Its number if it is one of ours.
    pub(super) fn recognise(&mut self, payload: &[u8]) -> Option<u64> {
        let mut sent = self.0.iter().take(MAX_COMPARED);
        let index = sent.position(|entry| entry.payload() == payload)?;
        self.0.remove(index).map(|entry| entry.seq())
    }

    /// A message is acknowledged: those before it will not come any more.
    pub(super) fn acked(&mut self, seq: u64) {
        while self.0.front().is_some_and(|entry| entry.seq() < seq) {
            self.0.pop_front();
        }
    }

    /// The connection is lost: nothing will come back.
    pub(super) fn clear(&mut self) {
        self.0.clear();
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
        assert_eq!(echoes.recognise(b"c"), None);
        assert_eq!(echoes.recognise(b"b"), Some(3), "others may say the same");
        assert_eq!(echoes.recognise(b"a"), Some(1));
        assert_eq!(echoes.recognise(b"a"), Some(2));
        assert_eq!(echoes.recognise(b"a"), None);
    }

    #[test]
    fn what_will_not_come_any_more_is_forgotten() {
        let mut echoes = RawEchoes::default();
        echoes.sent(entry(1, "a"));
        echoes.sent(entry(2, "b"));
        echoes.acked(2);
        assert_eq!(echoes.recognise(b"a"), None);
        assert_eq!(echoes.recognise(b"b"), Some(2), "it may follow its answer");
        echoes.sent(entry(3, "c"));
        echoes.clear();
        assert_eq!(echoes.recognise(b"c"), None);
    }
}
