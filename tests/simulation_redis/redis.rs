//! The model of a Redis: what it has, and how it is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ledger::Key;
use super::pipe::Pipe;
use super::plan::Refusal;
use super::stream::{Id, Stream};

/// The time of day at which worlds begin, in milliseconds since 1970.
const EPOCH: u64 = 1_700_000_000_000;

/// A Redis.
#[derive(Debug, Default)]
pub(crate) struct Redis {
    pub(crate) is_down: bool,
    pub(crate) is_replica: bool,
    /// It does nothing at all before.
    pub(crate) frozen_until: Duration,
    pub(crate) refuses: Option<Refusal>,
    /// By database and key.
    pub(crate) streams: BTreeMap<(u32, Vec<u8>), Stream>,
    /// How wrong its clock is, in milliseconds.
    pub(crate) skew: i64,
}

/// A connection, and what Redis knows of it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each end does what it does")]
pub(crate) struct Conn {
    pub(crate) node: usize,
    /// The life that opened it, and what it calls it.
    pub(crate) who: usize,
    pub(crate) to: Peer,
    /// When it is known whether it stands, and whether it does.
    pub(crate) opens: Option<(Duration, bool)>,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    /// Whether whatever ends it is a reset.
    pub(crate) is_reset: bool,
    /// Whether the node has closed it, and Redis.
    pub(crate) has_left: bool,
    pub(crate) is_dropped: bool,
    /// Whether the node waits until bytes have left.
    pub(crate) is_blocked: bool,
    /// Messages on their way down: how many bytes must have been read for each.
    pub(crate) cargo: Vec<(u64, Key)>,
    /// Entries of streams on their way down: how many bytes must have been read for each, and its
    /// key and ID.
    pub(crate) entries: Vec<(u64, Vec<u8>, Id)>,
    pub(crate) session: Session,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Redis(usize),
    Sentinel,
}

/// What Redis knows of a connection.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// What has come and is no whole command.
    pub(crate) input: Vec<u8>,
    pub(crate) is_greeted: bool,
    /// Whether it was told that its password is wrong.
    pub(crate) is_refused: bool,
    pub(crate) database: u32,
    /// Names of channels, and whether they are sharded.
    pub(crate) channels: Vec<(Vec<u8>, bool)>,
    pub(crate) waits: Option<Waits>,
    /// Whether it has just been answered, and what came meanwhile has not been looked at.
    pub(crate) is_woken: bool,
}

/// An `XREAD` that waits for entries.
#[derive(Debug)]
pub(crate) struct Waits {
    pub(crate) key: Vec<u8>,
    pub(crate) after: Id,
    pub(crate) count: usize,
    pub(crate) until: Duration,
}

impl Redis {
    /// Its time of day, in milliseconds.
    pub(crate) fn clock(&self, now: Duration) -> u64 {
        let millis = EPOCH + u64::try_from(now.as_millis()).expect("worlds are short");
        millis.saturating_add_signed(self.skew)
    }
}

impl Conn {
    /// Whether it stands, as far as the node knows.
    pub(crate) fn is_open(&self) -> bool {
        self.opens.is_none() && !self.has_left
    }

    /// Whether Redis hears and answers on it.
    pub(crate) fn is_served_by(&self, server: usize) -> bool {
        self.to == Peer::Redis(server) && !self.is_dropped && self.opens.is_none()
    }

    /// Takes the messages that have been read.
    pub(crate) fn unload(&mut self) -> Vec<Key> {
        let taken = self.down.taken;
        let arrived = self.cargo.partition_point(|(end, _)| *end <= taken);
        self.cargo.drain(..arrived).map(|(_, key)| key).collect()
    }

    /// Takes the entries of streams that have been read.
    pub(crate) fn unload_entries(&mut self) -> impl Iterator<Item = (Vec<u8>, Id)> {
        let taken = self.down.taken;
        let arrived = self.entries.partition_point(|(end, ..)| *end <= taken);
        self.entries.drain(..arrived).map(|(_, key, id)| (key, id))
    }
}
