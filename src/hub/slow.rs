//! What becomes of messages for a client that lags.

use std::rc::Rc;

use super::account::Account;
use super::client::Client;
use super::config::SlowPolicy;

/// What a room was told in one turn, for those who do not simply get all of it.
#[derive(Debug)]
pub(super) struct News<'s> {
    batch: &'s Rc<Vec<u8>>,
    messages: u64,
    /// Where the last message begins.
    newest: usize,
    /// A copy of that message alone, made for the first client that needs it.
    copy: Option<Rc<Vec<u8>>>,
}

/// The last message of a batch is copied if it is less than this part of it: otherwise a few bytes
/// that somebody owes would hold all the others in memory.
const MIN_SHARED_PART: usize = 4;

impl<'s> News<'s> {
    pub(super) fn new(batch: &'s Rc<Vec<u8>>, messages: u64, newest: usize) -> Self {
        Self {
            batch,
            messages,
            newest,
            copy: None,
        }
    }

    /// Leaves out what a client cannot take, or need not hear; `max` is what it may owe. What was
    /// said to it alone stays, and so does what has been begun to be written. Returns how many
    /// messages it does not hear for that, of this batch or of those before.
    #[cold]
    pub(super) fn leave_out(&mut self, client: &mut Client, policy: SlowPolicy, max: usize) -> u64 {
        match policy {
            SlowPolicy::Latest => self.replace(client, max),
            SlowPolicy::Close | SlowPolicy::Drop => self.drop_all(client),
        }
    }

    /// Adds to an account what clients have taken of all that.
    #[cold]
    pub(super) fn enter(&self, account: &Account) {
        account.add_if_held(self.batch);
        if let Some(copy) = &self.copy {
            account.add_if_held(copy);
        }
    }

    /// Leaves out the whole batch. Returns how many messages that is for this client.
    fn drop_all(&self, client: &mut Client) -> u64 {
        let outgoing = &mut client.outgoing;
        let dropped = outgoing.share_of(self.batch, self.messages);
        outgoing.append_none(self.batch);
        dropped
    }

    /// Puts the newest message in the place of all that the client has not begun to take. Returns
    /// how many it does not hear for that.
    fn replace(&mut self, client: &mut Client, max: usize) -> u64 {
        let outgoing = &mut client.outgoing;
        let heard = outgoing.share_of(self.batch, self.messages);
        let Some(window) = outgoing.newest(self.batch, self.newest) else {
            // All of it was its own: what it has not taken yet is the newest for it.
            outgoing.append_none(self.batch);
            return 0;
        };
        let dropped = outgoing.forget_room() + heard - 1;
        let is_small = window.len() < self.batch.len() / MIN_SHARED_PART;
        let said = if is_small && !outgoing.has_splices() {
            let copy = || Rc::new(self.batch[window].to_vec());
            outgoing.append(self.copy.get_or_insert_with(copy), max)
        } else {
            outgoing.append_window(self.batch, window, max)
        };
        if said.is_ok() {
            return dropped;
        }
        outgoing.append_none(self.batch);
        dropped + 1
    }
}
