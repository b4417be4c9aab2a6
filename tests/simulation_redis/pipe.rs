//! One direction of a connection.

use std::collections::VecDeque;
use std::time::Duration;

/// One direction of a connection: bytes arrive in order, a while after they were sent, all at once
/// or in pieces.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    chunks: VecDeque<Chunk>,
    /// Nothing arrives before. It is lost in a hole, and sent again when the hole has ended.
    hole_until: Duration,
    /// When the sender's end arrives, behind everything else.
    end: Option<Duration>,
    bytes: usize,
    /// Bytes that were ever sent, and ever taken.
    pub(crate) sent: u64,
    pub(crate) taken: u64,
}

#[derive(Debug)]
struct Chunk {
    at: Duration,
    bytes: Vec<u8>,
    /// How many of them have been taken.
    taken: usize,
}

impl Pipe {
    /// Sends bytes that arrive at `at`, or when those before have arrived.
    pub(crate) fn send(&mut self, bytes: &[u8], at: Duration) {
        self.bytes += bytes.len();
        self.sent += bytes.len() as u64;
        let at = self.chunks.back().map_or(at, |last| last.at.max(at));
        match self.chunks.back_mut().filter(|last| last.at == at) {
            Some(last) => last.bytes.extend_from_slice(bytes),
            None => self.chunks.push_back(Chunk {
                at,
                bytes: bytes.to_vec(),
                taken: 0,
            }),
        }
    }

    /// The sender says no more.
    pub(crate) fn end(&mut self, at: Duration) {
        let at = self.chunks.back().map_or(at, |last| last.at.max(at));
        self.end.get_or_insert(at);
    }

    /// Nothing arrives for a while.
    pub(crate) fn hold(&mut self, until: Duration) {
        self.hole_until = self.hole_until.max(until);
    }

    /// The hole has ended.
    pub(crate) fn release(&mut self) {
        self.hole_until = Duration::ZERO;
    }

    /// Whatever was sent and has not arrived is lost.
    pub(crate) fn lose(&mut self) {
        self.chunks.clear();
        self.bytes = 0;
    }

    /// When something arrives: bytes, or the end.
    pub(crate) fn arrival(&self) -> Option<Duration> {
        let first = self.chunks.front().map(|chunk| chunk.at);
        first.or(self.end).map(|at| at.max(self.hole_until))
    }

    /// Takes bytes that have arrived, so many at most; none if there are none.
    pub(crate) fn take(&mut self, most: usize, now: Duration) -> Vec<u8> {
        let Some(first) = self.chunks.front_mut() else {
            return Vec::new();
        };
        if first.at.max(self.hole_until) > now {
            return Vec::new();
        }
        let left = first.bytes.len() - first.taken;
        let bytes = if left <= most && first.taken == 0 {
            let chunk = self.chunks.pop_front().expect("it is there");
            chunk.bytes
        } else {
            let end = first.taken + left.min(most);
            let bytes = first.bytes[first.taken..end].to_vec();
            first.taken = end;
            if first.taken == first.bytes.len() {
                self.chunks.pop_front();
            }
            bytes
        };
        self.bytes -= bytes.len();
        self.taken += bytes.len() as u64;
        bytes
    }

    /// Whether everything has been taken, and the end has arrived.
    pub(crate) fn has_ended(&self, now: Duration) -> bool {
        self.chunks.is_empty() && self.end.is_some_and(|at| at.max(self.hole_until) <= now)
    }

    /// Bytes on their way.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }
}
