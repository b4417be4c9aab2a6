//! Who has connected and not asked for anything yet.

use std::collections::VecDeque;

use super::client::ClientId;

/// Entries of those who are done that are put up with, beside as many as there are handshakes.
const MAX_STALE: usize = 64;

/// The handshakes under way, the one that has waited the longest first.
///
/// Who is done stays in the queue for a while, since to find them would take a search; they are
/// passed over when their turn comes, or all thrown out once they are the greater part.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    queue: VecDeque<ClientId>,
    under_way: usize,
}

impl Handshakes {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.under_way
    }

    /// One begins; `is_under_way` tells whether one that began before still is.
    pub(super) fn begin(&mut self, id: ClientId, is_under_way: impl Fn(ClientId) -> bool) {
        if self.queue.len() > 2 * self.under_way + MAX_STALE {
            self.queue.retain(|id| is_under_way(*id));
        }
        self.queue.push_back(id);
        self.under_way += 1;
    }

    /// One is done, in whatever way.
    pub(super) fn end(&mut self) {
        self.under_way -= 1;
    }

    /// The one that has waited the longest. It is not named again.
    pub(super) fn take_oldest(
        &mut self,
        is_under_way: impl Fn(ClientId) -> bool,
    ) -> Option<ClientId> {
        while let Some(id) = self.queue.pop_front() {
            if is_under_way(id) {
                return Some(id);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32) -> ClientId {
        ClientId::new(index, 1)
    }

    #[test]
    fn the_oldest_is_found_behind_those_who_are_done() {
        let mut handshakes = Handshakes::default();
        for index in 0..5 {
            handshakes.begin(id(index), |_| true);
        }
        let is_under_way = |id: ClientId| !matches!(id.index(), 0 | 1 | 3);
        for _ in 0..3 {
            handshakes.end();
        }
        assert_eq!(handshakes.len(), 2);
        assert_eq!(handshakes.take_oldest(is_under_way), Some(id(2)));
        assert_eq!(handshakes.take_oldest(is_under_way), Some(id(4)));
        assert_eq!(handshakes.take_oldest(is_under_way), None);
    }

    #[test]
    fn those_who_are_done_do_not_pile_up_behind_one_that_waits() {
        let mut handshakes = Handshakes::default();
        handshakes.begin(id(0), |_| true);
        for index in 1..10_000 {
            handshakes.begin(id(index), |other| other == id(0));
            handshakes.end();
            assert!(handshakes.queue.len() <= 2 * handshakes.len() + MAX_STALE + 1);
        }
        assert_eq!(handshakes.take_oldest(|other| other == id(0)), Some(id(0)));
    }
}
