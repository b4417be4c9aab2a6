//! What is owed to all clients together, and who goes when it is too much.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::Hub;
use super::account::Account;
use super::config::HubConfig;
use super::disconnect::Disconnect;
use super::large::LargeFrames;

/// Clients that one turn gives up because too much is owed in all; more go in the next.
pub(super) const MAX_EVICTIONS_PER_TURN: usize = 256;

/// What is known of what is owed to all clients.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Absent unless it is limited.
    pub(super) account: Option<Account>,
    /// Whether it was looked at in this turn.
    pub(super) is_settled: bool,
    /// Whether it was still too much then, although as many went as one turn gives up.
    pub(super) owes_too_much: bool,
}

impl Ledger {
    pub(super) fn new(config: &HubConfig) -> Self {
        Self {
            account: config.max_total_buffer.map(|_| Account::default()),
            is_settled: false,
            owes_too_much: false,
        }
    }
}

impl Hub {
    /// What is owed to all clients, in bytes, what they share counted once. `None` unless
    /// [`max_total_buffer`](super::HubConfig::max_total_buffer) is set.
    pub fn total_owed(&self) -> Option<usize> {
        self.ledger.account.as_ref().map(Account::total)
    }

    /// Sees to it, once a turn and after all was written that could be, that no more is owed to all
    /// clients than may be. The one that owes the most goes first. If others owe the same bytes,
    /// that frees little, and then the next one goes, until it suffices: the memory is held until
    /// the last of those who lag that far behind has gone.
    ///
    /// All clients are looked at only while it is too much, and each such look is followed by the
    /// departure of at least one of them.
    pub(super) fn settle(&mut self, now: Instant) {
        if std::mem::replace(&mut self.ledger.is_settled, true) {
            return;
        }
        let Some(max) = self.config.max_total_buffer else {
            // The limit may have gone while it was too much.
            self.ledger.owes_too_much = false;
            return;
        };
        let account = match &self.ledger.account {
            Some(account) => account.clone(),
            None => self.open_account(),
        };
        self.ledger.owes_too_much = account.total() > max;
        if !self.ledger.owes_too_much {
            return;
        }
        // 1. Those who owe the most; the least of them on top.
        let mut largest = BinaryHeap::new();
        for (index, client) in self.clients.iter().filter(|(_, client)| !client.is_admin) {
            let owed = client.outgoing.owed();
            if owed > 0 {
                largest.push(Reverse((owed, Reverse(index))));
                if largest.len() > MAX_EVICTIONS_PER_TURN {
                    largest.pop();
                }
            }
        }
        // 2. One after the other, until it suffices.
        for Reverse((_, Reverse(index))) in largest.into_sorted_vec() {
            self.give_up(self.clients[index].id, Disconnect::Evicted, now);
            self.ledger.owes_too_much = account.total() > max;
            if !self.ledger.owes_too_much {
                return;
            }
        }
    }

    /// Begins to add up what is owed, when that is limited later than at the start.
    fn open_account(&mut self) -> Account {
        self.rooms.forget_sealed();
        self.large = LargeFrames::default();
        let account = Account::default();
        let mut batches = Vec::new();
        let clients = self.clients.iter_mut();
        for (_, client) in clients.filter(|(_, client)| !client.is_admin) {
            client.outgoing.open_account(&account);
            batches.extend(client.outgoing.shared());
        }
        batches.sort_unstable();
        batches.dedup();
        for (_, len) in batches {
            account.add(len);
        }
        self.ledger.account = Some(account.clone());
        account
    }
}
