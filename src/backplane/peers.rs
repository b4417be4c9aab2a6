//! Who else is there: heartbeats.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often a server says that it is there.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How soon the next may follow if it is wanted sooner, to see whether echoes are in time again.
const HURRY: Duration = Duration::from_millis(500);

/// How long one is believed to be there that says nothing: three heartbeats.
const PEER_TIMEOUT: Duration = Duration::from_secs(15);

/// How long our own heartbeat may take to come back while the connection seems fine: two of them.
const ECHO_TIMEOUT: Duration = Duration::from_secs(10);

/// Peers that are known at most. More are there, but not counted.
const MAX_PEERS: usize = 4096;

/// Who else is there, and whether we hear ourselves.
///
/// Our own heartbeats come back on the connection that everybody's do. If they do not, nothing
/// that is published arrives, whatever the connection looks like.
#[derive(Debug)]
pub(super) struct Peers {
    /// When each was heard of last.
    heard: BTreeMap<u64, Instant>,
    /// When the next heartbeat of our own is due; `None` while there is no connection.
    due: Option<Instant>,
    /// When the last one was sent.
    sent: Option<Instant>,
    /// When the first heartbeat was sent that has not come back.
    unheard_since: Option<Instant>,
}

impl Peers {
    pub(super) fn new() -> Self {
        Self {
            heard: BTreeMap::new(),
            due: None,
            sent: None,
            unheard_since: None,
        }
    }

    /// There is a connection: a heartbeat is due at once.
    pub(super) fn link_up(&mut self, now: Instant) {
        self.due = Some(now);
        self.unheard_since = None;
    }

    /// There is none: none is due.
    pub(super) fn link_down(&mut self) {
        self.due = None;
        self.unheard_since = None;
    }

    /// Whether a heartbeat is to be sent. Its payload is the number of the last message that was
    /// *sent* on this connection before it, eight bytes, the highest first: a number that is said
    /// before its message is sent would make the others miss it.
    pub(super) fn is_heartbeat_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// One was sent.
    pub(super) fn heartbeat_sent(&mut self, now: Instant) {
        self.due = Some(now + HEARTBEAT_INTERVAL);
        self.sent = Some(now);
        self.unheard_since.get_or_insert(now);
    }

    /// The next one is wanted sooner.
    pub(super) fn hurry(&mut self) {
        if let (Some(due), Some(sent)) = (&mut self.due, self.sent) {
            *due = (*due).min(sent + HURRY);
        }
    }

    /// Our own came back. Returns how long it took, if it was the only one on its way.
    pub(super) fn echoed(&mut self, now: Instant) -> Option<Duration> {
        let sent = self.unheard_since.take()?;
        Some(now.saturating_duration_since(sent))
    }

    /// Whether the connection seems fine and yet does not bring our own heartbeats back.
    pub(super) fn echo_is_missing(&self, now: Instant) -> bool {
        self.unheard_since
            .is_some_and(|sent| now.saturating_duration_since(sent) >= ECHO_TIMEOUT)
    }

    /// Somebody else's heartbeat.
    pub(super) fn heard(&mut self, origin: u64, now: Instant) {
        if self.heard.len() < MAX_PEERS || self.heard.contains_key(&origin) {
            self.heard.insert(origin, now);
        }
    }

    /// Forgets who is silent. Returns how many that were.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let before = self.heard.len();
        self.heard
            .retain(|_, heard| now.saturating_duration_since(*heard) < PEER_TIMEOUT);
        before - self.heard.len()
    }

    /// How many others are there.
    pub(super) fn count(&self) -> usize {
        self.heard.len()
    }

    /// When something is due here.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let missing = self.unheard_since.map(|sent| sent + ECHO_TIMEOUT);
        self.due.into_iter().chain(missing).min()
    }
}
