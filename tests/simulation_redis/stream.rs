//! The stream of the model of a Redis.

use std::collections::VecDeque;
use std::rc::Rc;

/// What a stream calls an entry: milliseconds, and a number within.
pub(crate) type Id = (u64, u64);

/// Entries that Redis removes together, and otherwise leaves, if it need not be exact.
const TOGETHER: usize = 100;

/// The stream of the model of a Redis.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) entries: VecDeque<Entry>,
    /// The highest ID that was ever given.
    pub(crate) last: Id,
    /// Entries that were ever added.
    pub(crate) added: usize,
    last_removed: Id,
}

/// An entry: its ID, and fields and values by turns.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    pub(crate) words: Rc<[Vec<u8>]>,
}

impl Stream {
    /// Adds an entry, at this time of day.
    pub(crate) fn add(&mut self, words: &[&[u8]], millis: u64) -> Id {
        let (last, number) = self.last;
        let id = if millis > last {
            (millis, 0)
        } else {
            (last, number + 1)
        };
        self.last = id;
        self.added += 1;
        let words = words.iter().map(|word| word.to_vec()).collect();
        self.entries.push_back(Entry { id, words });
        id
    }

    /// Removes the first entries until about `keep` are left, as `MAXLEN ~` does.
    pub(crate) fn trim_about(&mut self, keep: usize) -> Vec<Entry> {
        let more = self.entries.len().saturating_sub(keep);
        self.remove(more / TOGETHER * TOGETHER)
    }

    /// Removes the first entries.
    pub(crate) fn remove(&mut self, count: usize) -> Vec<Entry> {
        let count = count.min(self.entries.len());
        let removed: Vec<Entry> = self.entries.drain(..count).collect();
        if let Some(last) = removed.last() {
            self.last_removed = self.last_removed.max(last.id);
        }
        removed
    }

    /// What a replica has that has not heard of the last `count` entries.
    pub(crate) fn without_last(&self, count: usize) -> Self {
        let mut replica = self.clone();
        let kept = replica.entries.len().saturating_sub(count);
        let lost = replica.entries.split_off(kept);
        replica.added -= lost.len();
        if let Some(first) = lost.front() {
            // What was deleted before is the least that it knows of.
            let newest = replica.entries.back().map(|entry| entry.id);
            replica.last = newest.unwrap_or(replica.last_removed).min(first.id);
        }
        replica
    }

    /// The entries behind this one, the first `count` of them.
    pub(crate) fn after(&self, id: Id, count: usize) -> impl Iterator<Item = &Entry> {
        let start = self.entries.partition_point(|entry| entry.id <= id);
        self.entries.range(start..).take(count)
    }

    /// The entries from one to another, both included.
    pub(crate) fn between(&self, first: Id, last: Id) -> impl Iterator<Item = &Entry> {
        let start = self.entries.partition_point(|entry| entry.id < first);
        let entries = self.entries.range(start..);
        entries.take_while(move |entry| entry.id <= last)
    }
}
