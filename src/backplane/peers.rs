//! Who else is there: heartbeats.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often a server says that it is there.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How soon the next may follow if it is wanted sooner, to see whether echoes are in time again.
const HURRY: Duration = Duration::from_millis(500);

/// How long one is believed to be there that says nothing: three heartbeats.
pub(super) const PEER_TIMEOUT: Duration = Duration::from_secs(15);

/// How often it is looked who is silent, at most: not whenever one of many strangers is.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

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
    /// Whether somebody has been forgotten since [`Peers::take_vanished`].
    has_vanished: bool,
    /// When somebody may have been silent for too long, at the earliest.
    silence: Option<Instant>,
    /// When the next heartbeat of our own is due; `None` while there is no connection.
    due: Option<Instant>,
    /// When the last one was sent.
    sent: Option<Instant>,
    /// The number of the last one that was sent. They rise by one.
    beat: u64,
    /// The last one that was sent on another connection.
    beat_before: u64,
    /// The last one that came back.
    beat_echoed: u64,
    /// One of which the echo is timed.
    timed: Option<(u64, Instant)>,
}

impl Peers {
    pub(super) fn new() -> Self {
        Self {
            heard: BTreeMap::new(),
            has_vanished: false,
            silence: None,
            due: None,
            sent: None,
            beat: 0,
            beat_before: 0,
            beat_echoed: 0,
            timed: None,
        }
    }

    /// There is a connection, or another one: a heartbeat is due at once.
    pub(super) fn link_up(&mut self, now: Instant) {
        self.due = Some(now);
        self.beat_before = self.beat;
        self.timed = None;
    }

    /// There is none: none is due.
    pub(super) fn link_down(&mut self) {
        self.due = None;
        self.timed = None;
    }

    /// Whether a heartbeat is to be sent. Its payload is the number of the last message that Redis
    /// has acknowledged, eight bytes, the highest first.
    pub(super) fn is_heartbeat_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// When the next one is to be sent.
    pub(super) fn heartbeat_due(&self) -> Option<Instant> {
        self.due
    }

    /// One is sent. Returns its number.
    pub(super) fn next_heartbeat(&mut self, now: Instant) -> u64 {
        if self.due.is_some() {
            self.due = Some(now + HEARTBEAT_INTERVAL);
        }
        self.sent = Some(now);
        self.beat += 1;
        self.timed.get_or_insert((self.beat, now));
        self.beat
    }

    /// The next one is wanted sooner.
    pub(super) fn hurry(&mut self) {
        if let (Some(due), Some(sent)) = (&mut self.due, self.sent) {
            *due = (*due).min(sent + HURRY);
        }
    }

    /// Whether there has been a heartbeat of ours with this number. If not, somebody else speaks in
    /// our name.
    pub(super) fn has_sent(&self, beat: u64) -> bool {
        (1..=self.beat).contains(&beat)
    }

    /// Our own came back. Returns how long it took, if it is one that is timed.
    pub(super) fn echoed(&mut self, beat: u64, now: Instant) -> Option<Duration> {
        self.beat_echoed = self.beat_echoed.max(beat);
        let (timed, sent) = self.timed.take_if(|(timed, _)| *timed <= beat)?;
        (timed == beat).then(|| now.saturating_duration_since(sent))
    }

    /// Redis has acknowledged a heartbeat. Whether it seems fine, and yet does not bring us our own
    /// heartbeats: the one before should have come back before this answer, however far behind
    /// Redis or we are.
    pub(super) fn is_deaf(&self, answered: u64) -> bool {
        let before = answered.saturating_sub(1);
        before > self.beat_before && self.beat_echoed < before
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
        let oldest = self.heard.values().min();
        self.silence = oldest.map(|heard| (*heard + PEER_TIMEOUT).max(now + LOOK_INTERVAL));
        let gone = before - self.heard.len();
        self.has_vanished |= gone > 0;
        gone
    }

    /// Whether somebody has been forgotten since this was asked last.
    pub(super) fn take_vanished(&mut self) -> bool {
        std::mem::take(&mut self.has_vanished)
    }

    /// Whether another one is there.
    pub(super) fn is_there(&self, origin: u64) -> bool {
        self.heard.contains_key(&origin)
    }

    /// How many others are there.
    pub(super) fn count(&self) -> usize {
        self.heard.len()
    }

    /// When somebody will have been silent for too long.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.silence
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
        assert_eq!(peers.heartbeat_due(), Some(now));
        assert!(peers.is_heartbeat_due(now));
        assert_eq!(peers.next_heartbeat(now), 1);
        let next = now + HEARTBEAT_INTERVAL;
        assert_eq!(peers.heartbeat_due(), Some(next));
        assert!(!peers.is_heartbeat_due(now + HEARTBEAT_INTERVAL.saturating_sub(MILLI)));
        assert!(peers.is_heartbeat_due(next));
        peers.link_down();
        assert!(!peers.is_heartbeat_due(next));
        assert_eq!(peers.heartbeat_due(), None);
    }

    #[test]
    fn one_that_is_wanted_sooner_comes_sooner_and_not_at_once() {
        let (mut peers, now) = (Peers::new(), test_clock());
        peers.hurry();
        peers.link_up(now);
        peers.next_heartbeat(now);
        peers.hurry();
        assert!(!peers.is_heartbeat_due(now + HURRY.saturating_sub(MILLI)));
        assert!(peers.is_heartbeat_due(now + HURRY));
        peers.next_heartbeat(now + HURRY);
        assert!(!peers.is_heartbeat_due(now + 3 * HURRY), "only once");
        // The wait does not begin anew whenever it is wanted.
        peers.hurry();
        peers.hurry();
        assert!(peers.is_heartbeat_due(now + 2 * HURRY));
    }

    #[test]
    fn whoever_answers_and_brings_nothing_back_is_deaf() {
        let (mut peers, now) = (Peers::new(), test_clock());
        peers.link_up(now);
        let first = peers.next_heartbeat(now);
        let second = peers.next_heartbeat(now + MILLI);
        assert!(!peers.is_deaf(first), "its echo may follow its answer");
        assert!(peers.is_deaf(second));
        assert_eq!(peers.echoed(first, now + MILLI), Some(MILLI));
        assert!(!peers.is_deaf(second));
        // What was sent on another connection may have been lost with it.
        peers.link_up(now);
        let third = peers.next_heartbeat(now);
        assert!(!peers.is_deaf(third));
        let fourth = peers.next_heartbeat(now);
        assert!(peers.is_deaf(fourth));
    }

    #[test]
    fn an_echo_is_timed_unless_an_older_one_is() {
        let (mut peers, now) = (Peers::new(), test_clock());
        peers.link_up(now);
        let first = peers.next_heartbeat(now);
        let second = peers.next_heartbeat(now + MILLI);
        assert_eq!(peers.echoed(second, now + 2 * MILLI), None);
        assert_eq!(peers.echoed(first, now + 3 * MILLI), None);
        let third = peers.next_heartbeat(now + 3 * MILLI);
        assert_eq!(peers.echoed(third, now + 4 * MILLI), Some(MILLI));
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
        let next = now + PEER_TIMEOUT + LOOK_INTERVAL;
        assert_eq!(peers.next_deadline(), Some(next));
        assert_eq!(peers.expire(next.checked_sub(MILLI).unwrap()), 0);
        assert_eq!(peers.expire(next), 1);
        assert_eq!((peers.count(), peers.next_deadline()), (0, None));
    }

    #[test]
    fn only_what_was_sent_can_come_back() {
        let (mut peers, now) = (Peers::new(), test_clock());
        assert!(!peers.has_sent(0));
        peers.link_up(now);
        let beat = peers.next_heartbeat(now);
        assert!(peers.has_sent(beat) && !peers.has_sent(beat + 1));
    }

    #[test]
    fn strangers_that_fall_silent_one_by_one_are_not_told_one_by_one() {
        let (mut peers, now) = (Peers::new(), test_clock());
        for origin in 0..2000_u32 {
            peers.heard(origin.into(), now + MILLI * origin);
        }
        let mut told = 0;
        for millis in 0..20_000 {
            told += usize::from(peers.expire(now + MILLI * millis) > 0);
        }
        assert_eq!((told, peers.count()), (3, 0));
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
