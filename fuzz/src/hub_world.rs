//! A hub, what is known of its clients, and what they must hear.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fanfare::hub::Departure;
use fanfare::{Broadcast, ClientId, CloseCode, Disconnect, Hub, HubConfig, MessageKind, Peer};

use super::client;
use super::hub_member::Member;
use super::hub_people::{LEAVE, People, SCALE, WHISPER};

/// So that short inputs reach limits. The hub takes 64 clients more, to refuse them.
const MAX_CLIENTS: usize = 4;
const MAX_ROOMS: usize = 2;
const MAX_MESSAGE: usize = 4096;

/// How much a client takes in one turn.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Appetite {
    All,
    /// So many bytes, and the hub is told that it takes no more.
    Blocked(usize),
    /// So many bytes, and the hub may come back in the next turn.
    Slow(usize),
}

impl Appetite {
    pub(crate) fn new(byte: u8) -> Self {
        match byte {
            0 => Self::All,
            1..=127 => Self::Slow(usize::from(byte)),
            _ => Self::Blocked(usize::from(byte - 128) * SCALE),
        }
    }
}

/// A hub and its driver.
pub(crate) struct World {
    hub: Hub,
    now: Instant,
    people: People,
    /// Ids of all who ever came; the members among them are in `people`.
    ids: Vec<ClientId>,
    is_drained: bool,
}

impl World {
    pub(crate) fn new(flags: u8) -> Self {
        #[expect(clippy::disallowed_methods, reason = "only differences matter")]
        let now = Instant::now();
        let mut config = HubConfig::default();
        config.max_connections = MAX_CLIENTS;
        config.max_rooms = MAX_ROOMS;
        config.limits.max_message_size = MAX_MESSAGE;
        config.max_client_buffer = config.min_client_buffer();
        if flags & 2 == 0 {
            config.max_client_buffer += 10_000;
        }
        if flags & 4 == 0 {
            config.ping_interval = Duration::ZERO;
        }
        let echo = flags & 1 == 0;
        Self {
            hub: Hub::new(config, now),
            now,
            people: People {
                broadcast: Broadcast::new(echo),
                echo,
                farewell: flags & 8 != 0,
                members: Vec::new(),
                said: 0,
            },
            ids: Vec::new(),
            is_drained: false,
        }
    }

    /// The one whom an operation is about, if there is such a one.
    fn find(&mut self, who: usize) -> Option<&mut Member> {
        let id = *self.ids.get(who)?;
        self.people.get(id)
    }

    pub(crate) fn accept(&mut self) {
        let is_full = self.hub.len() >= MAX_CLIENTS + 64;
        match self.hub.accept(Peer::Unix, self.now) {
            Ok(id) => {
                assert!(!is_full && !self.is_drained && !self.ids.contains(&id));
                self.ids.push(id);
                self.people.members.push(Member::new(id));
            }
            Err(_) => assert!(is_full || self.is_drained),
        }
    }

    pub(crate) fn request_newest(&mut self, room: u8) {
        self.request(self.ids.len().saturating_sub(1), room, 0);
    }

    pub(crate) fn request(&mut self, who: usize, room: u8, cut: usize) {
        let path = ["/ws", "/ws/a", "/ws/b", "/", "/ws/%"][usize::from(room % 5)];
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        if let Some(member) = self.find(who) {
            // A second request would be frames, and bad ones.
            member.is_honest &= !std::mem::replace(&mut member.has_asked, true) && cut == 0;
            let end = if cut == 0 {
                head.len()
            } else {
                cut.min(head.len())
            };
            member.unsent.extend(&head.as_bytes()[..end]);
            self.send(who, 0);
        }
    }

    pub(crate) fn say(&mut self, who: usize, len: usize, what: u8) {
        let payload = self
            .people
            .payload([b's', WHISPER, LEAVE][usize::from(what % 3)], len);
        if let Some(member) = self.find(who) {
            member.say(&payload, &client::frame(0x81, &payload));
        }
    }

    pub(crate) fn say_in_fragments(&mut self, who: usize, len: usize, fragment: usize) {
        let payload = self.people.payload(b's', len);
        let mut frames = Vec::new();
        let mut first_byte = 0x02;
        // At four bytes each they are not too many.
        for piece in payload.chunks(fragment * SCALE + 4) {
            frames.extend(client::frame(first_byte, piece));
            frames.extend(client::frame(0x8A, b"unasked"));
            first_byte = 0x00;
        }
        frames.extend(client::frame(0x80, b""));
        if let Some(member) = self.find(who) {
            member.say(&payload, &frames);
        }
    }

    pub(crate) fn ping(&mut self, who: usize, len: usize) {
        let mut payload = self.people.payload(b'p', 0);
        payload.resize(payload.len().max(len.min(125)), b'.');
        if let Some(member) = self.find(who) {
            member.ping(&payload);
        }
    }

    pub(crate) fn pong(&mut self, who: usize) {
        if let Some(member) = self.find(who) {
            member.unsent.extend(client::frame(0x8A, b""));
        }
    }

    pub(crate) fn send_junk(&mut self, who: usize, bytes: &[u8]) {
        if let Some(member) = self.find(who) {
            member.is_honest &= bytes.is_empty();
            member.unsent.extend(bytes);
            self.send(who, 0);
        }
    }

    pub(crate) fn say_close(&mut self, who: usize, code: u8) {
        if let Some(member) = self.find(who) {
            let code = [1000, 1001, 3000, 4999][usize::from(code % 4)];
            member.say_close(code);
        }
    }

    /// Sends what a client has to send: whole, in pieces, or not yet.
    pub(crate) fn send(&mut self, who: usize, how: usize) {
        let Some(member) = self.find(who).filter(|_| how != 255) else {
            return;
        };
        // A driver reads once from each in a turn, and not from anybody when the hub is full.
        let has_sent = std::mem::replace(&mut member.has_sent, true);
        let (id, mut bytes) = (member.id, std::mem::take(&mut member.unsent));
        if has_sent || self.hub.is_full() {
            self.turn();
        }
        let len = if how == 0 { bytes.len().max(1) } else { how };
        for piece in bytes.chunks_mut(len) {
            if self.hub.is_full() {
                self.turn();
            }
            // Pieces of an odd length are read where they belong, if there is such a place.
            let landing = self.hub.landing(id).filter(|_| piece.len() % 2 == 1);
            if let Some(landing) = landing.filter(|landing| landing.len() >= piece.len()) {
                landing[..piece.len()].copy_from_slice(piece);
                self.hub.landed(id, piece.len(), self.now, &mut self.people);
            } else {
                self.hub.receive(id, piece, self.now, &mut self.people);
            }
        }
    }

    pub(crate) fn set_appetite(&mut self, who: usize, appetite: Appetite) {
        if let Some(member) = self.find(who) {
            member.appetite = appetite;
            let id = member.id;
            self.hub.writable(id);
        }
    }

    /// What a driver may learn of a socket, beside what it reads there.
    pub(crate) fn news(&mut self, who: usize, what: u8) {
        let Some(id) = self.ids.get(who).copied() else {
            return;
        };
        match what % 4 {
            0 => self.hub.hang_up(id, Disconnect::Gone),
            1 => self.hub.hang_up(id, Disconnect::Reset),
            2 => self.hub.readable(id, what < 128),
            _ => {
                self.hub.output_failed(id, self.now);
                if let Some(member) = self.people.get(id) {
                    member.is_cut_off = true;
                }
            }
        }
    }

    pub(crate) fn publish(&mut self, room: u8, len: usize) {
        let name = ["", "a", "b"][usize::from(room % 3)];
        if self.hub.is_full() {
            self.turn();
        }
        let payload = self.people.payload(b's', len);
        self.people.tell(name, None, &payload);
        let members = self.hub.publish(name, MessageKind::Binary, &payload);
        let expected = self
            .people
            .members
            .iter()
            .filter(|m| m.room.as_deref() == Some(name));
        assert_eq!(members, expected.count());
    }

    pub(crate) fn late_news(&mut self, who: usize) {
        let Some(id) = self.ids.get(who).copied() else {
            return;
        };
        if self.people.get(id).is_some() {
            return;
        }
        let mut bytes = client::frame(0x81, b"late");
        self.hub.receive(id, &mut bytes, self.now, &mut self.people);
        self.hub.writable(id);
        self.hub.hang_up(id, Disconnect::Reset);
        assert!(!self.hub.flushed(id, 0, true, self.now));
        assert!(!self.hub.is_open(id) && self.hub.outgoing(id).is_none());
        let mut outbox = self.hub.outbox(self.now);
        assert!(!outbox.send(id, MessageKind::Text, b"late") && outbox.room(id).is_none());
        outbox.close(id, CloseCode::NORMAL, "");
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        self.now += duration;
        self.hub.advance(self.now);
    }

    /// Ends everything at once or over some seconds, or changes the settings, or does nothing.
    pub(crate) fn drain(&mut self, how: u8) {
        match how {
            0..8 => {
                self.is_drained = true;
                self.hub.drain(self.now, Duration::from_secs(how.into()));
            }
            8..16 => self.hub.announce_drain(),
            16..80 => self.reconfigure(how),
            _ => {}
        }
    }

    /// Changes how long everything may take: each bit is a choice between much and little.
    fn reconfigure(&mut self, bits: u8) {
        let choose = |bit: u8, much: u64| {
            let seconds = if bits & 1 << bit == 0 { 1 } else { much };
            Duration::from_secs(seconds)
        };
        let mut config = self.hub.config().clone();
        config.ping_interval = match bits & 0x20 {
            0 => choose(0, 25),
            _ => Duration::ZERO,
        };
        config.pong_timeout = Duration::from_millis(900);
        config.handshake_timeout = choose(1, 5);
        config.write_timeout = choose(2, 10);
        config.close_timeout = choose(3, 5);
        let changed = self.hub.reconfigure(config, self.now);
        changed.expect("nothing in it contradicts itself");
        self.check();
    }

    /// Ends a turn as a driver does.
    pub(crate) fn turn(&mut self) {
        let mut dirty = Vec::new();
        self.hub.take_dirty(&mut dirty, self.now);
        let distinct: BTreeSet<usize> = dirty.iter().map(|id| id.index()).collect();
        assert_eq!(distinct.len(), dirty.len(), "somebody is named twice");
        for id in dirty {
            self.flush(id);
        }
        while !self.hub.is_full() {
            let departure = self.hub.reap(&mut self.people, self.now);
            let Some(departure) = departure else { break };
            self.depart(&departure);
        }
        for member in &mut self.people.members {
            member.has_sent = false;
        }
        self.check();
        if !self.hub.has_work() {
            self.check_complete();
        }
    }

    fn flush(&mut self, id: ClientId) {
        let max = self.hub.config().max_client_buffer;
        let Some(outgoing) = self.hub.outgoing(id) else {
            return;
        };
        let owed: usize = outgoing.pieces().map(|piece| piece.len() + 64).sum();
        assert_eq!(outgoing.owed(), owed, "what is owed is not what is queued");
        assert!(outgoing.peak() <= max);
        let member = self.people.get(id).expect("who is owed something is there");
        if member.is_cut_off {
            return self.hub.output_failed(id, self.now);
        }
        let bytes = outgoing.pieces().collect::<Vec<_>>().concat();
        let (most, blocks) = match member.appetite {
            Appetite::All => (bytes.len(), false),
            Appetite::Blocked(most) => (most, true),
            Appetite::Slow(most) => (most, false),
        };
        let written = bytes.len().min(most);
        let is_blocked = blocks && written < bytes.len();
        member.keeps_up &= written == bytes.len();
        outgoing.advance(written);
        member.hear(&bytes[..written]);
        if self.hub.flushed(id, written, is_blocked, self.now) {
            member.end_of_output();
        }
    }

    fn depart(&mut self, departure: &Departure) {
        let position = self
            .people
            .members
            .iter()
            .position(|m| m.id == departure.id);
        let member = self
            .people
            .members
            .swap_remove(position.expect("it leaves once"));
        member.check_departure(departure);
    }

    /// What holds at any time.
    pub(crate) fn check(&mut self) {
        let max = self.hub.config().max_client_buffer;
        assert_eq!(self.hub.len(), self.people.members.len());
        assert!(self.hub.len() <= MAX_CLIENTS + 64);
        let mut rooms = BTreeMap::new();
        for member in &self.people.members {
            if let Some(room) = &member.room {
                *rooms.entry(room).or_insert(0) += 1;
            }
            if let Some(outgoing) = self.hub.outgoing(member.id) {
                assert!(outgoing.owed() <= max, "more is owed than may be");
            }
        }
        assert_eq!(self.hub.room_count(), rooms.len());
        assert!(rooms.len() <= MAX_ROOMS);
    }

    /// What holds when nothing is left to do: who takes everything is owed nothing, and has heard
    /// everything if it is open.
    fn check_complete(&mut self) {
        for member in &self.people.members {
            let Some(outgoing) = self.hub.outgoing(member.id) else {
                continue;
            };
            let owes = !outgoing.is_empty();
            let takes_all = member.appetite == Appetite::All && !member.is_cut_off;
            assert!(!owes || !takes_all, "somebody is forgotten");
            if !owes && self.hub.is_open(member.id) {
                member.check_complete();
            }
        }
    }

    /// Everybody goes, within the time that they have for it.
    pub(crate) fn end(&mut self) {
        const MOST_TURNS: usize = 200;
        self.drain(0);
        for _ in 0..MOST_TURNS {
            self.turn();
            if self.hub.is_empty() && !self.hub.has_work() {
                break;
            }
            self.now = self.hub.next_deadline().unwrap_or(self.now).max(self.now);
            self.hub.advance(self.now);
        }
        assert!(
            self.hub.is_empty() && self.people.members.is_empty(),
            "somebody stays"
        );
        assert_eq!(self.hub.room_count(), 0);
        let metrics = self.hub.metrics();
        assert_eq!(metrics.connections_accepted, self.ids.len() as u64);
    }
}
