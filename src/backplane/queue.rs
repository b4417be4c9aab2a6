//! What Redis has not acknowledged yet.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::entry::Entry;

/// What Redis has not acknowledged yet, in the order in which it was said: first what is on its
/// way, then what has not been sent on this connection.
///
/// Bounded in bytes and in age; beyond, the oldest goes. That may be one on its way: its
/// acknowledgement, when it comes, names it and so pops nobody else.
#[derive(Debug)]
pub(super) struct Queue {
    max_bytes: usize,
    max_age: Duration,
    /// In order of their numbers.
    entries: VecDeque<Queued>,
    /// How many of them, from the front, have been sent on this connection.
    sent: usize,
    /// What all of them cost.
    bytes: usize,
}

#[derive(Debug)]
struct Queued {
    entry: Rc<Entry>,
    /// Whether it has been sent before, on whatever connection.
    was_sent: bool,
}

/// What is to be sent next.
#[derive(Debug)]
pub(super) struct Unsent {
    /// The message.
    pub(super) entry: Rc<Entry>,
    /// Whether it has been sent before, on another connection: others may know it.
    pub(super) is_repeated: bool,
}

impl Queue {
    pub(super) fn new(max_bytes: usize, max_age: Duration) -> Self {
        Self {
            max_bytes,
            max_age,
            entries: VecDeque::new(),
            sent: 0,
            bytes: 0,
        }
    }

    /// Takes the newest message, and drops the oldest until all that is left fits in; the message
    /// itself if it never can. Returns how many were dropped.
    pub(super) fn push(&mut self, entry: Rc<Entry>) -> u64 {
        self.put(entry, false)
    }

    /// Takes a message back that was acknowledged, and that Redis has lost: it goes where its
    /// number belongs. [`rewind`](Self::rewind) comes first. Returns how many were dropped.
    pub(super) fn put_back(&mut self, entry: Rc<Entry>) -> u64 {
        self.put(entry, true)
    }

    fn put(&mut self, entry: Rc<Entry>, was_sent: bool) -> u64 {
        if entry.cost() > self.max_bytes {
            return 1;
        }
        let Err(index) = self.position(entry.seq()) else {
            return 0; // it is here already
        };
        assert!(index >= self.sent, "what is on its way keeps its order");
        self.bytes += entry.cost();
        self.entries.insert(index, Queued { entry, was_sent });
        let mut dropped = 0;
        while self.bytes > self.max_bytes {
            self.drop_oldest();
            dropped += 1;
        }
        dropped
    }

    /// Drops what has waited for too long. Returns how many that were.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut dropped = 0;
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.drop_oldest();
            dropped += 1;
        }
        dropped
    }

    /// When the oldest will have waited for too long.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.oldest().map(|said_at| said_at + self.max_age)
    }

    /// The next message to send, which counts as sent now.
    pub(super) fn next_unsent(&mut self) -> Option<Unsent> {
        let next = self.entries.get_mut(self.sent)?;
        let is_repeated = std::mem::replace(&mut next.was_sent, true);
        self.sent += 1;
        Some(Unsent {
            entry: Rc::clone(&next.entry),
            is_repeated,
        })
    }

    /// Redis has this message. `None` if it is not here: it was dropped, or another connection has
    /// acknowledged it.
    pub(super) fn ack(&mut self, seq: u64) -> Option<Rc<Entry>> {
        let index = self.position(seq).ok()?;
        let Queued { entry, .. } = self.entries.remove(index)?;
        if index < self.sent {
            self.sent -= 1;
        }
        self.bytes -= entry.cost();
        Some(entry)
    }

    /// A message that waits here.
    pub(super) fn get(&self, seq: u64) -> Option<&Rc<Entry>> {
        let index = self.position(seq).ok()?;
        self.entries.get(index).map(|queued| &queued.entry)
    }

    /// The connection is another one: nothing has been sent on it.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many wait to be sent on this connection.
    pub(super) fn unsent(&self) -> usize {
        self.entries.len() - self.sent
    }

    /// What all that wait cost, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest was said.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.entries.front().map(|queued| queued.entry.said_at())
    }

    fn drop_oldest(&mut self) {
        if let Some(queued) = self.entries.pop_front() {
            self.bytes -= queued.entry.cost();
            self.sent = self.sent.saturating_sub(1);
        }
    }

    fn position(&self, seq: u64) -> Result<usize, usize> {
        // Acknowledgements come in order, but for a few: nearly always it is the first.
        match self.entries.front() {
            Some(front) if front.entry.seq() == seq => Ok(0),
            _ => self
                .entries
                .binary_search_by_key(&seq, |queued| queued.entry.seq()),
        }
    }
}
