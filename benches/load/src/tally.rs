//! What was said and heard, counted.

use hdrhistogram::Histogram;

use crate::clock::SECOND;
use crate::failure::Failure;

/// The largest latency that is told from a larger one.
const MAX_LATENCY: u64 = 600 * SECOND;
/// Latencies are told apart to a thousandth.
const DIGITS: u8 = 3;

/// What was said and heard.
#[derive(Debug)]
pub struct Tally {
    /// Messages that were said.
    pub messages: u64,
    /// Messages that were heard, by each client that heard them.
    pub deliveries: u64,
    /// Deliveries that are still to come.
    pub owed: u64,
    /// Nanoseconds from when a message was said, or due to be, to when a client had read it.
    pub latency: Histogram<u64>,
    /// Publishers that have heard so many of their own messages since this was last emptied.
    pub credits: Vec<(u32, u32)>,
    /// When something was heard, or when something was said that nobody waited for before.
    pub last_heard: u64,
}

/// Messages in a row that were said at one moment: a burst is recorded at once.
#[derive(Debug, Default)]
pub struct Alike {
    sent: u64,
    count: u64,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Result<Self, Failure> {
        Ok(Self {
            messages: 0,
            deliveries: 0,
            owed: 0,
            latency: latencies()?,
            credits: Vec::new(),
            last_heard: 0,
        })
    }

    /// A publisher has heard some of its own messages. What one turn brings it comes in a row, and
    /// is one credit, so that it is answered by one write.
    pub fn credit(&mut self, publisher: u32, count: u32) {
        match self.credits.last_mut() {
            Some((last, credit)) if *last == publisher => *credit += count,
            _ => self.credits.push((publisher, count)),
        }
    }

    /// Forgets what was counted.
    ///
    /// # Panics
    ///
    /// If something is owed.
    pub fn reset(&mut self) {
        assert_eq!(self.owed, 0, "all that was said was heard");
        self.messages = 0;
        self.deliveries = 0;
        self.latency.reset();
    }
}

/// An empty histogram of nanoseconds.
pub fn latencies() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, MAX_LATENCY, DIGITS).map_err(|error| Failure(error.to_string()))
}

impl Alike {
    /// One more message.
    pub fn count(&mut self, latency: &mut Histogram<u64>, now: u64, sent: u64) {
        if sent != self.sent {
            self.record(latency, now);
            self.sent = sent;
        }
        self.count += 1;
    }

    /// Those that were counted were heard now.
    pub fn record(&mut self, latency: &mut Histogram<u64>, now: u64) {
        if self.count > 0 {
            latency.saturating_record_n(now.saturating_sub(self.sent), self.count);
            self.count = 0;
        }
    }
}
