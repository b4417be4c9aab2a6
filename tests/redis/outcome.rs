//! What became of all that was said on a stage.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::ledger::{Account, MAX_SILENCE};
use crate::stage::Mode;

/// What Pub/Sub may lose when Redis is killed: what it had acknowledged and not sent yet, in one
/// turn of its loop.
const MAX_LOST: usize = 5;

/// What one client heard of its own server's clients, and of the others.
pub(crate) struct Accounts {
    pub(crate) node: usize,
    pub(crate) room: &'static str,
    pub(crate) own: Account,
    pub(crate) foreign: Account,
    pub(crate) is_gone: bool,
}

/// What became of all that was said.
pub(crate) struct Outcome {
    pub(crate) mode: Mode,
    pub(crate) said: usize,
    pub(crate) accounts: Vec<Accounts>,
    /// How late the machine let somebody speak at worst, and what it kept a server without Redis.
    pub(crate) lateness: Duration,
    pub(crate) took: Duration,
}

impl Outcome {
    /// What a node's clients did not hear of the others.
    pub(crate) fn lost_at(&self, node: usize) -> usize {
        let rooms = self.accounts.iter().map(|accounts| accounts.room);
        let rooms: BTreeSet<_> = rooms.collect();
        rooms.into_iter().map(|room| self.lost_in(node, room)).sum()
    }

    /// The same in one room. All of its clients miss the same.
    pub(crate) fn lost_in(&self, node: usize, room: &str) -> usize {
        let there = self.accounts.iter();
        let there = there.filter(|accounts| accounts.node == node && accounts.room == room);
        let mut there = there.filter(|accounts| !accounts.is_gone);
        let lost = there.next().map(|accounts| &accounts.foreign.lost);
        for other in there {
            let is_same = lost.is_some_and(|lost| other.foreign.lost.is_subset(lost));
            assert!(is_same, "clients of node {node} heard different things");
        }
        lost.map_or(0, BTreeSet::len)
    }

    pub(crate) fn lost(&self) -> usize {
        let nodes = self.accounts.iter().map(|accounts| accounts.node).max();
        (0..=nodes.unwrap_or(0))
            .map(|node| self.lost_at(node))
            .sum()
    }

    /// What a crash of Redis may cost in Pub/Sub. A turn of its loop is as long as the machine
    /// makes it, and what was said meanwhile is in it.
    pub(crate) fn most_lost_by_a_crash(&self) -> usize {
        let turns = self.took.as_micros() / self.lateness.as_micros().max(1);
        let turns = usize::try_from(turns.max(1)).unwrap_or(usize::MAX);
        MAX_LOST + self.said.div_ceil(turns)
    }

    /// The longest that somebody waited for a client of the same server.
    pub(crate) fn silence(&self) -> Duration {
        let own = self.accounts.iter().map(|accounts| accounts.own.silence);
        own.max().unwrap_or_default()
    }

    /// Whatever Redis does, clients hear those of their own server: all, once, in order, and soon.
    /// Of the others they hear nothing twice and nothing out of order.
    pub(crate) fn own_clients_are_content(&self) {
        for Accounts {
            node, own, foreign, ..
        } in &self.accounts
        {
            let is_right = own.lost.is_empty() && own.doubled + own.disordered == 0;
            assert!(
                is_right,
                "a client of node {node}, of its own server: {own}"
            );
            let is_right = foreign.doubled + foreign.disordered == 0;
            assert!(
                is_right,
                "a client of node {node}, of the others: {foreign}"
            );
        }
        let limit = MAX_SILENCE + self.lateness;
        assert!(self.silence() <= limit, "over {limit:?}: {self}");
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let others = self
            .accounts
            .iter()
            .map(|accounts| accounts.foreign.silence);
        write!(
            f,
            "{:>6}: {} said, {} lost; own clients waited {:.0} ms at most, the others {:.0} ms; \
             the machine {:.0} ms; in {:.1} s",
            self.mode.name(),
            self.said,
            self.lost(),
            millis(self.silence()),
            millis(others.max().unwrap_or_default()),
            millis(self.lateness),
            self.took.as_secs_f64(),
        )
    }
}
