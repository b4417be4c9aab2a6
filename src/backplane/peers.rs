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
    /// When somebody may have been silent for too long, at the earliest.
    silence: Option<Instant>,
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
            silence: None,
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
            self.silence.get_or_insert(now + PEER_TIMEOUT);
        }
    }

    /// Forgets who is silent. Returns how many that were.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        // Not in each turn all of them are looked at.
        if self.silence.is_none_or(|silence| silence > now) {
            return 0;
        }
        let before = self.heard.len();
        self.heard.retain(|_, heard| *heard + PEER_TIMEOUT > now);
        self.silence = self.heard.values().min().map(|heard| *heard + PEER_TIMEOUT);
        before - self.heard.len()
    }

    /// How many others are there.
    pub(super) fn count(&self) -> usize {
        self.heard.len()
    }

    /// When something is due here.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let missing = self.unheard_since.map(|sent| sent + ECHO_TIMEOUT);
        [self.due, missing, self.silence]
            .into_iter()
            .flatten()
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::test_clock;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn heartbeats_are_due_at_once_and_then_every_so_often() {
        let (mut peers, now) = (Peers::new(), test_clock());
        assert!(
            !peers.is_heartbeat_due(now),
            "there is nobody to tell it to"
        );
        peers.link_up(now);
        assert_eq!(peers.next_deadline(), Some(now));
        assert!(peers.is_heartbeat_due(now));
        peers.heartbeat_sent(now);
        let next = now + HEARTBEAT_INTERVAL;
        assert_eq!(peers.next_deadline(), Some(next));
        assert!(!peers.is_heartbeat_due(now + HEARTBEAT_INTERVAL.saturating_sub(MILLI)));
        assert!(peers.is_heartbeat_due(next));
        peers.link_down();
        assert!(!peers.is_heartbeat_due(next));
        assert_eq!(peers.next_deadline(), None);
    }

    #[test]
    fn one_that_is_wanted_sooner_comes_sooner_and_not_at_once() {
        let (mut peers, now) = (Peers::new(), test_clock());
        peers.hurry();
        peers.link_up(now);
        peers.heartbeat_sent(now);
        peers.hurry();
        assert!(!peers.is_heartbeat_due(now + HURRY.saturating_sub(MILLI)));
        assert!(peers.is_heartbeat_due(now + HURRY));
        peers.heartbeat_sent(now + HURRY);
        assert!(!peers.is_heartbeat_due(now + 3 * HURRY), "only once");
        // The wait does not begin anew whenever it is wanted.
        peers.hurry();
        peers.hurry();
        assert!(peers.is_heartbeat_due(now + 2 * HURRY));
    }

    #[test]
    fn who_does_not_hear_itself_is_deaf() {
        let (mut peers, now) = (Peers::new(), test_clock());
        peers.link_up(now);
        peers.heartbeat_sent(now);
        assert_eq!(peers.echoed(now + MILLI), Some(MILLI));
        assert_eq!(peers.echoed(now + MILLI), None);
        assert!(
            !peers.echo_is_missing(now + 2 * ECHO_TIMEOUT),
            "none is on its way"
        );
        let sent = now + HEARTBEAT_INTERVAL;
        peers.heartbeat_sent(sent);
        peers.heartbeat_sent(sent + HEARTBEAT_INTERVAL);
        assert!(!peers.echo_is_missing(sent + ECHO_TIMEOUT.saturating_sub(MILLI)));
        assert!(peers.echo_is_missing(sent + ECHO_TIMEOUT));
        peers.link_down();
        assert!(!peers.echo_is_missing(sent + ECHO_TIMEOUT));
    }

    #[test]
    fn the_instant_at_which_an_echo_is_missing_is_a_deadline() {
        let (mut peers, now) = (Peers::new(), test_clock());
        peers.link_up(now);
        peers.heartbeat_sent(now);
        peers.heartbeat_sent(now + HEARTBEAT_INTERVAL + MILLI);
        assert_eq!(peers.next_deadline(), Some(now + ECHO_TIMEOUT));
    }

    #[test]
    fn both_sides_of_a_silence() {
        let (mut peers, now) = (Peers::new(), test_clock());
        peers.heard(1, now);
        peers.heard(2, now);
        peers.heard(2, now + MILLI);
        assert_eq!(peers.next_deadline(), Some(now + PEER_TIMEOUT));
        assert_eq!(peers.expire(now + PEER_TIMEOUT.saturating_sub(MILLI)), 0);
        assert_eq!((peers.expire(now + PEER_TIMEOUT), peers.count()), (1, 1));
        assert_eq!(peers.next_deadline(), Some(now + PEER_TIMEOUT + MILLI));
        assert_eq!(peers.expire(now + PEER_TIMEOUT + MILLI), 1);
        assert_eq!((peers.count(), peers.next_deadline()), (0, None));
    }

    #[test]
    fn whoever_makes_up_peers_fills_a_bounded_table() {
        let (mut peers, now) = (Peers::new(), test_clock());
        (0..2 * MAX_PEERS as u64).for_each(|origin| peers.heard(origin, now));
        assert_eq!(peers.count(), MAX_PEERS);
        peers.heard(0, now + MILLI);
        assert_eq!(
            peers.expire(now + PEER_TIMEOUT),
            MAX_PEERS - 1,
            "but for the known one"
        );
    }
}
