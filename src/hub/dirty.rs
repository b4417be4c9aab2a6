//! Whom to flush at the end of the turn.

use super::client::{Client, ClientId};

/// The clients that are to be flushed, each named once a turn.
///
/// A client keeps the number of the turn in which it was named last, so that the list is emptied
/// without a look at each of them.
#[derive(Debug)]
pub(super) struct DirtyList {
    ids: Vec<ClientId>,
    /// Counts the times that the list was emptied, from 1 on. It never wraps.
    turn: u64,
}

impl Default for DirtyList {
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            turn: 1,
        }
    }
}

impl DirtyList {
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether a client is on the list.
    pub(super) fn names(&self, client: &Client) -> bool {
        client.named_in == self.turn
    }

    /// Puts a client on the list, unless it is there, is gone, or its transport takes nothing.
    pub(super) fn name(&mut self, client: &mut Client) {
        if !self.names(client) && !client.doomed && !client.outgoing.is_blocked() {
            client.named_in = self.turn;
            self.ids.push(client.id);
        }
    }

    /// Appends all that are on the list to `ids`, and empties it.
    pub(super) fn take(&mut self, ids: &mut Vec<ClientId>) {
        ids.append(&mut self.ids);
        self.turn += 1;
    }
}
