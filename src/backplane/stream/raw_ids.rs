//! Entries without an origin that have been read.

use std::collections::BTreeSet;

use super::id::StreamId;

/// How many of them are remembered: those of the overlap, unless there are more than 800 a second.
const MAX_IDS: usize = 4096;

/// Entries without an origin that have been read: what says nothing of its sender is known by its
/// place in the stream.
#[derive(Debug, Default)]
pub(super) struct RawIds {
    /// The highest of them.
    ids: BTreeSet<StreamId>,
    /// Whether there were more: then all below the lowest are taken for read.
    is_cut: bool,
}

impl RawIds {
    /// An entry was read. Whether it is new.
    pub(super) fn see(&mut self, id: StreamId) -> bool {
        let is_below = self.ids.first().is_some_and(|lowest| id < *lowest);
        if self.is_cut && is_below {
            return false;
        }
        let is_new = self.ids.insert(id);
        if self.ids.len() > MAX_IDS {
            self.ids.pop_first();
            self.is_cut = true;
        }
        is_new
    }

    /// The stream begins anew: what it calls its entries means something else.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> StreamId {
        StreamId { ms, seq: 0 }
    }

    #[test]
    fn what_was_read_is_known_and_what_lies_between_is_not() {
        let mut ids = RawIds::default();
        assert!(ids.see(id(5)) && ids.see(id(9)));
        assert!(!ids.see(id(5)) && !ids.see(id(9)));
        assert!(
            ids.see(id(7)) && ids.see(id(1)),
            "they were lost, and are back"
        );
        ids.clear();
        assert!(ids.see(id(5)));
    }

    #[test]
    fn the_highest_are_remembered_and_all_below_are_taken_for_read() {
        let mut ids = RawIds::default();
        let count = MAX_IDS as u64 + 10;
        assert!((1..=count).all(|ms| ids.see(id(ms))));
        assert_eq!(ids.ids.len(), MAX_IDS);
        assert!((0..=count).all(|ms| !ids.see(id(ms))));
        assert!(ids.see(id(count + 1)));
    }
}
