//! Everybody who is there, and what they must hear: the application on the hub, which writes down
//! what it says to whom.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fanfare::{ClientId, Disconnect, Hub, HubConfig};

use super::departure::Totals;
use super::hearing::{Batch, Said};
use super::peer::{Cause, Peer, State, TICK};
use super::plan::{Act, Settings};
use super::speech::Meaning;
use super::wire::{Ask, ROOMS};

/// Control frames that one read may bring.
const MAX_CONTROL_FRAMES: usize = 512;

/// What happened, in numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) clients: u64,
    pub(crate) delivered: u64,
    pub(crate) heard: u64,
    pub(crate) turns: u64,
    pub(crate) stale: u64,
    pub(crate) peak_memory: usize,
    pub(crate) causes: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.clients += other.clients;
        self.delivered += other.delivered;
        self.heard += other.heard;
        self.turns += other.turns;
        self.stale += other.stale;
        self.peak_memory = self.peak_memory.max(other.peak_memory);
        for (cause, count) in &other.causes {
            *self.causes.entry(cause).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} clients, {} turns, {} messages delivered, {} heard, {} stale news, at most {} KiB \
             in one hub; left: {:?}",
            self.clients,
            self.turns,
            self.delivered,
            self.heard,
            self.stale,
            self.peak_memory / 1024,
            self.causes,
        )
    }
}

/// Everybody, and what the application knows.
#[derive(Debug)]
pub(crate) struct Cast {
    pub(crate) settings: Settings,
    pub(crate) config: HubConfig,
    pub(crate) now: Instant,
    /// By the number of the person.
    pub(crate) peers: Vec<Option<Box<Peer>>>,
    pub(crate) who_is: HashMap<ClientId, usize>,
    /// Ids of those who have left.
    pub(crate) gone: Vec<ClientId>,
    pub(crate) is_draining: bool,
    /// When everybody has been closed, if that takes its time.
    pub(crate) closes_at: Option<Instant>,
    /// What this turn has said to each room.
    batches: [Option<Rc<Batch>>; ROOMS.len()],
    /// Bytes of the batches that somebody is owed some of.
    pub(crate) shared: Rc<Cell<usize>>,
    /// The longest batch of all.
    pub(crate) longest_batch: usize,
    /// Bytes of large messages in the last second in which there were some, and when the last came.
    pub(crate) large: (usize, Option<Instant>),
    pub(crate) serial: usize,
    /// The sums over all who have left, and over all who were let in.
    pub(super) totals: Totals,
    /// A digest of all that has happened.
    pub(crate) trace: u64,
    pub(crate) tally: Tally,
}

impl Cast {
    /// Takes note of a message that may have been assembled in a buffer that is used again.
    pub(crate) fn note_large(&mut self, len: usize, now: Instant) {
        const KEPT_FOR: Duration = Duration::from_secs(1);

        if len > usize::from(u16::MAX) {
            let is_new = |at| now > at + KEPT_FOR + TICK;
            if self.large.1.is_none_or(is_new) {
                self.large.0 = 0;
            }
            self.large = (self.large.0 + len, Some(now));
        }
    }

    pub(crate) fn new(settings: Settings, config: HubConfig, now: Instant) -> Self {
        Self {
            peers: (0..settings.people).map(|_| None).collect(),
            settings,
            config,
            now,
            who_is: HashMap::new(),
            gone: Vec::new(),
            is_draining: false,
            closes_at: None,
            batches: Default::default(),
            shared: Rc::default(),
            longest_batch: 0,
            large: (0, None),
            serial: 0,
            totals: Totals::default(),
            trace: 0xCBF2_9CE4_8422_2325,
            tally: Tally::default(),
        }
    }

    /// Adds to the digest (FNV-1a).
    pub(crate) fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    pub(crate) fn peer(&mut self, who: usize) -> Option<&mut Peer> {
        self.peers.get_mut(who)?.as_deref_mut()
    }

    pub(crate) fn by_id(&mut self, id: ClientId) -> (usize, &mut Peer) {
        let who = *self
            .who_is
            .get(&id)
            .expect("the hub speaks of one who is there");
        (
            who,
            self.peers[who]
                .as_mut()
                .expect("whoever has an id is there"),
        )
    }

    pub(crate) fn present(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().flatten().map(|peer| &**peer)
    }

    pub(crate) fn count(&self) -> usize {
        self.present().count()
    }

    /// The rooms that somebody is in.
    pub(crate) fn rooms(&self) -> BTreeSet<usize> {
        self.present().filter_map(|peer| peer.room).collect()
    }

    pub(crate) fn members(&self, room: usize) -> usize {
        self.present()
            .filter(|peer| peer.room == Some(room))
            .count()
    }

    /// Everybody who is open in a room must hear this, but for `except`.
    pub(crate) fn say(
        &mut self,
        room: usize,
        except: Option<ClientId>,
        text: bool,
        payload: &Rc<[u8]>,
    ) {
        let shared = &self.shared;
        let batch = self.batches[room].get_or_insert_with(|| Batch::new(shared));
        self.longest_batch = self.longest_batch.max(batch.grow(payload.len()));
        for peer in self.peers.iter_mut().flatten() {
            if !peer.is_open() || peer.room != Some(room) {
                continue;
            }
            if Some(peer.id) == except {
                peer.hearing.splice();
                continue;
            }
            peer.hearing.expect(Said::Data {
                text,
                payload: Rc::clone(payload),
                batch: Some(Rc::clone(batch)),
            });
        }
    }

    /// Whether something was said to a room that is not sealed yet.
    pub(crate) fn has_said(&self) -> bool {
        self.batches.iter().any(Option::is_some)
    }

    /// The batches are sealed.
    pub(crate) fn end_turn(&mut self) {
        self.batches = Default::default();
        for peer in self.peers.iter_mut().flatten() {
            peer.hearing.end_turn();
        }
    }

    /// Something was said to one client alone, or could not be.
    pub(crate) fn whispered(
        &mut self,
        id: ClientId,
        is_said: bool,
        text: bool,
        payload: &Rc<[u8]>,
    ) {
        let Some(who) = self.who_is.get(&id).copied() else {
            assert!(!is_said, "something was said to one who has left");
            return;
        };
        let peer = self.peers[who]
            .as_mut()
            .expect("whoever has an id is there");
        if peer.is_wild && !is_said {
            return;
        }
        assert!(
            peer.is_open() || !is_said,
            "something was said to one who is leaving"
        );
        if is_said {
            peer.hearing.expect(Said::Data {
                text,
                payload: Rc::clone(payload),
                batch: None,
            });
        } else if peer.is_open() {
            self.drop_for_slowness(who, payload.len());
        }
    }

    /// The application closes a connection.
    pub(crate) fn kick(&mut self, id: ClientId, code: u16) {
        let now = self.now;
        let Some(who) = self.who_is.get(&id).copied() else {
            return;
        };
        let peer = self.peers[who]
            .as_mut()
            .expect("whoever has an id is there");
        if peer.is_open() {
            peer.hearing.expect(Said::Close(code));
            let cause = Cause("ended", Some(code));
            peer.begin_to_leave(State::Closing, cause, &self.config, now);
        }
    }

    /// A client was let in.
    pub(crate) fn open(&mut self, id: ClientId) -> usize {
        let rooms = self.rooms();
        let (who, peer) = self.by_id(id);
        let asked = peer.due.pop_front();
        let Some(Meaning::Request(Ask::Upgrade(room))) = asked else {
            panic!("let in, but it said {asked:?}");
        };
        assert_eq!(peer.state, State::Handshake, "let in once");
        assert!(self.may_enter(who, room, &rooms), "let in, but it is full");
        let now = self.now;
        let is_late = self.batches[room].is_some();
        self.totals.opened += 1;
        let (_, peer) = self.by_id(id);
        peer.state = State::Open;
        (peer.room, peer.was_in) = (Some(room), Some(room));
        peer.life = now;
        peer.hearing.expect(Said::Response(101));
        if is_late {
            peer.hearing.splice();
        }
        room
    }

    fn may_enter(&self, who: usize, room: usize, rooms: &BTreeSet<usize>) -> bool {
        let is_surplus = self.peers[who].as_ref().is_some_and(|peer| peer.is_surplus);
        let has_room = rooms.contains(&room) || rooms.len() < self.config.max_rooms;
        has_room && !is_surplus && !self.is_draining
    }

    /// Goes through what a client has said up to its next message: that one, if there is one.
    pub(crate) fn next_message(&mut self, who: usize) -> Option<(bool, Rc<[u8]>, Act)> {
        loop {
            match self.peer(who)?.due.pop_front()? {
                Meaning::Message { text, payload, act } => return Some((text, payload, act)),
                other => self.mean(who, &other),
            }
        }
    }

    /// What follows from what a client has said, messages apart.
    pub(crate) fn mean(&mut self, who: usize, meaning: &Meaning) {
        let (now, config) = (self.now, self.config.clone());
        let rooms = self.rooms();
        let may_enter = match meaning {
            Meaning::Request(Ask::Upgrade(room)) => self.may_enter(who, *room, &rooms),
            _ => false,
        };
        let Some(peer) = self.peer(who) else { return };
        if matches!(meaning, Meaning::Ping(_) | Meaning::Pong) {
            peer.control_frames += 1;
        }
        let is_flood = peer.control_frames > MAX_CONTROL_FRAMES;
        let linger = |peer: &mut Peer, cause| {
            peer.begin_to_leave(State::Lingering, cause, &config, now);
        };
        match (peer.state, meaning) {
            (State::Handshake, Meaning::Request(ask)) => {
                assert!(!may_enter, "it should have been let in");
                let status = match ask {
                    Ask::Upgrade(_) => 503,
                    Ask::Other(status) => *status,
                };
                let label = if status == 200 { "answered" } else { "refused" };
                peer.hearing.expect(Said::Response(status));
                linger(peer, Cause(label, Some(status)));
            }
            (State::Open, Meaning::Close(code)) => {
                peer.hearing.expect(Said::Close(code.unwrap_or(1000)));
                linger(peer, Cause("closed", *code));
            }
            (State::Open, Meaning::Forbidden { .. }) => {
                peer.hearing.expect(Said::Close(1008));
                linger(peer, Cause("not_allowed", None));
            }
            (State::Open, Meaning::Wrong(code)) => {
                peer.hearing.expect(Said::Close(*code));
                linger(peer, Cause("protocol", Some(*code)));
            }
            (State::Open, Meaning::Ping(_) | Meaning::Pong) => {
                if let Meaning::Ping(payload) = meaning {
                    peer.expect_pong(Rc::clone(payload));
                }
                if is_flood {
                    if matches!(meaning, Meaning::Ping(_)) {
                        peer.hearing.excuse_last_pong();
                    }
                    peer.hearing.expect(Said::Close(1008));
                    linger(peer, Cause("flood", None));
                }
            }
            (State::Closing, Meaning::Close(_) | Meaning::Wrong(_)) => {
                linger(peer, Cause("closed", None));
            }
            (State::Closing, Meaning::Ping(_) | Meaning::Pong) if is_flood => {
                linger(peer, Cause("flood", None));
            }
            _ => {}
        }
    }

    /// What is left of what a client has said, once the hub has read it.
    pub(crate) fn finish(&mut self, who: usize, hub: &Hub) {
        while let Some((_, payload, _)) = self.next_message(who) {
            let Some(peer) = self.peer(who).filter(|peer| peer.is_open()) else {
                continue;
            };
            let (is_open, is_wild) = (hub.is_open(peer.id), peer.is_wild);
            assert!(!is_open, "a message was lost: {}", payload.escape_ascii());
            if !is_wild {
                self.drop_for_slowness(who, 0);
            }
        }
        let Some(peer) = self.peer(who).filter(|peer| peer.is_open()) else {
            return;
        };
        // What is wrong may be known before the last byte of a header.
        let known = peer.may_know_wrong().filter(|_| !hub.is_open(peer.id));
        if let Some(wrong) = known {
            self.mean(who, &wrong);
        }
    }
}

impl Cause {
    pub(crate) fn of(why: Disconnect) -> Self {
        let detail = match why {
            Disconnect::Closed(code) => code.map(fanfare::CloseCode::to_wire),
            Disconnect::Ended(code) => Some(code.to_wire()),
            Disconnect::Protocol(error) => Some(error.close_code().to_wire()),
            Disconnect::Refused(error) => Some(error.status()),
            Disconnect::Answered => Some(200),
            _ => None,
        };
        Self(why.label(), detail)
    }
}
