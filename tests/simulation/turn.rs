//! One turn of the driver, and what must be true after it.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Instant;

use fanfare::hub::MAX_RECEIVE;
use fanfare::{ClientId, Disconnect, MessageKind};

use super::cast::Cast;
use super::departure::Last;
use super::hearing::Heard;
use super::peer::{Cause, Peer, State};
use super::plan::Leave;
use super::wire::ROOMS;
use super::world::World;

impl World {
    /// Goes round once: reads and writes so many bytes at most from each and to each.
    pub(super) fn turn(&mut self, read: usize, write: usize) {
        self.app.cast.tally.turns += 1;
        self.events();
        self.mail_goes_first = !self.mail_goes_first;
        if self.mail_goes_first {
            self.deliver_mail();
            self.read(read);
        } else {
            self.read(read);
            self.deliver_mail();
        }
        let now = self.now();
        let Self {
            hub, meter, app, ..
        } = self;
        meter.count(|| hub.advance(now));
        app.cast.close_who_is_due();
        app.cast.may_ping();
        app.cast.compare(hub);
        self.flush(write);
        self.reap();
        self.check(now);
    }

    /// What a poll would tell.
    fn events(&mut self) {
        let Self {
            hub,
            meter,
            app,
            ready,
            ..
        } = self;
        for peer in app.cast.peers.iter_mut().flatten() {
            peer.take();
            let has_input = !peer.input.is_empty() || peer.left.is_some();
            if has_input && !peer.is_ready && !peer.input_has_ended {
                peer.is_ready = true;
                peer.is_unread = true;
                ready.push_back(peer.id);
                hub.readable(peer.id, true);
            }
            if peer.is_blocked && peer.room_on_the_wire() > 0 {
                peer.is_blocked = false;
                meter.count(|| hub.writable(peer.id));
            }
        }
    }

    fn deliver_mail(&mut self) {
        while !self.hub.is_full() {
            let Some((room, len)) = self.mail.pop_front() else {
                return;
            };
            let cast = &mut self.app.cast;
            cast.serial += 1;
            let mut payload = format!("p{}.", cast.serial).into_bytes();
            payload.resize(payload.len().max(len), 0);
            payload.truncate(cast.config.limits.max_message_size);
            let payload: Rc<[u8]> = payload.into();
            let members = cast.members(room);
            if members > 0 {
                cast.say(room, None, false, &payload);
            }
            let hub = &mut self.hub;
            let told = self
                .meter
                .count(|| hub.publish(ROOMS[room], MessageKind::Binary, &payload));
            assert_eq!(told, members, "published to others than are there");
        }
    }

    /// Reads once from each who has something to say.
    fn read(&mut self, most: usize) {
        for _ in 0..self.ready.len() {
            if self.hub.is_full() {
                return;
            }
            let Some(id) = self.ready.pop_front() else {
                return;
            };
            let Some(who) = self.app.cast.who_is.get(&id).copied() else {
                continue;
            };
            self.read_from(id, who, most.min(MAX_RECEIVE));
            let Some(peer) = self.app.cast.peer(who) else {
                continue;
            };
            if !peer.input.is_empty() || peer.left.is_some() && !peer.input_has_ended {
                peer.is_ready = true;
                peer.is_unread = true;
                self.ready.push_back(id);
                self.hub.readable(id, true);
            }
        }
    }

    fn read_from(&mut self, id: ClientId, who: usize, most: usize) {
        let now = self.now();
        let Self {
            hub, meter, app, ..
        } = self;
        let close_timeout = app.cast.config.close_timeout;
        let peer = app.cast.peer(who).expect("it has an id");
        peer.is_ready = false;
        peer.is_unread = false;
        // Three of four are read where their long messages belong, as the server does it.
        let landing = meter.count(|| hub.landing(id).map(|landing| landing.len()));
        let landing = landing.filter(|_| who % 4 > 0);
        let most = landing.map_or(most, |landing| most.min(landing));
        let mut bytes = peer.be_read(most);
        if !bytes.is_empty() {
            let was_open = peer.is_open();
            let completed = !peer.due.is_empty();
            if hub.outgoing(id).is_some() {
                // Whoever is given up is not listened to.
                peer.listened_to += bytes.len() as u64;
            }
            meter.count(|| match hub.landing(id).filter(|_| landing.is_some()) {
                Some(landing) => {
                    landing[..bytes.len()].copy_from_slice(&bytes);
                    hub.landed(id, bytes.len(), now, app);
                }
                None => hub.receive(id, &mut bytes, now, app),
            });
            app.cast.finish(who, hub);
            app.cast.compare(hub);
            let peer = app.cast.peer(who).expect("it is not reaped yet");
            if was_open && peer.is_open() {
                peer.note_life(bytes.len(), completed, now);
            }
            let may_be_failed = peer.is_wild || peer.may_know_wrong().is_some();
            if peer.state == State::Closing && may_be_failed {
                peer.gone_by = Some(now + close_timeout);
                peer.may_have_failed = true;
            }
            return;
        }
        match peer.left {
            None => hub.readable(id, false),
            Some(how) => {
                peer.input_has_ended = true;
                let (why, label) = match how {
                    Leave::HalfClose => (Disconnect::Gone, "gone"),
                    Leave::Reset => (Disconnect::Reset, "reset"),
                };
                // Its last word may be on the way still.
                let waits = peer.state == State::Lingering
                    && how == Leave::HalfClose
                    && !peer.output_has_ended
                    && !peer.hearing.is_lost
                    && !peer.hearing.is_complete();
                meter.count(|| hub.hang_up(id, why));
                let is_given_up = hub.outgoing(id).is_none();
                assert!(!(waits && is_given_up), "its last word is lost");
                // What it said behind our Close may have been its last word to the server.
                let may_be_failed = peer.is_wild || peer.may_know_wrong().is_some();
                let is_over =
                    peer.state == State::Lingering || peer.state == State::Closing && may_be_failed;
                let may_hear = is_over && !peer.output_has_ended;
                assert!(
                    is_given_up || may_hear && how == Leave::HalfClose,
                    "it has gone, and stays"
                );
                if is_given_up {
                    peer.doom(Cause(label, None));
                }
            }
        }
    }

    fn flush(&mut self, most: usize) {
        let now = self.now();
        let Self {
            hub, meter, app, ..
        } = self;
        // Room for all, so that what the list needs is not counted as the hub's.
        let mut dirty = Vec::with_capacity(app.cast.peers.len());
        meter.count(|| hub.take_dirty(&mut dirty, now));
        app.cast.compare(hub);
        app.cast.end_turn();
        let distinct: BTreeSet<usize> = dirty.iter().map(|id| id.index()).collect();
        assert_eq!(distinct.len(), dirty.len(), "somebody is named twice");
        for id in dirty {
            if self.hub.outgoing(id).is_some() {
                self.flush_one(id, most, now);
            }
        }
    }

    fn flush_one(&mut self, id: ClientId, most: usize, now: Instant) {
        let Self {
            hub,
            meter,
            app,
            ready,
            ..
        } = self;
        let max = app.cast.config.max_client_buffer;
        let outgoing = hub.outgoing(id).expect("it was asked for");
        let (who, peer) = app.cast.by_id(id);
        if peer.left == Some(Leave::Reset) {
            meter.count(|| hub.output_failed(id, now));
            peer.hearing.is_lost = true;
            peer.is_blocked = true;
            peer.is_behind = true;
            peer.stalled_since.get_or_insert(now);
            if !peer.is_ready && !peer.input_has_ended {
                peer.is_ready = true;
                ready.push_back(id);
            }
            return;
        }
        assert!(
            outgoing.owed() <= max && outgoing.peak() <= max,
            "more is owed than may be"
        );
        let room = peer.room_on_the_wire();
        let mut bytes = Vec::new();
        let mut owed = 0;
        for piece in outgoing.pieces() {
            owed += piece.len();
            let left = room.min(most) - bytes.len();
            bytes.extend_from_slice(&piece[..piece.len().min(left)]);
        }
        let (written, is_blocked) = (bytes.len(), bytes.len() == room && room < owed);
        meter.count(|| outgoing.advance(written));
        peer.written += written as u64;
        let mut heard = Vec::new();
        peer.hearing.hear(&bytes, |event| heard.push(event));
        peer.note_output(owed - written, written, is_blocked, now);
        if owed == written {
            peer.hearing.catch_up();
        }
        let ends = meter.count(|| hub.flushed(id, written, is_blocked, now));
        if ends {
            assert!(!peer.output_has_ended, "the output ends twice");
            let may_be_failed = peer.is_wild || peer.may_know_wrong().is_some();
            let may_end = peer.state == State::Closing && may_be_failed;
            assert!(
                peer.state == State::Lingering || may_end,
                "the output ends early"
            );
            assert!(peer.hearing.is_complete(), "{}", peer.hearing.missing());
            peer.output_has_ended = true;
        }
        let has_heard_all = written == owed && peer.state == State::Lingering;
        assert!(
            !has_heard_all || !peer.input_has_ended || hub.outgoing(id).is_none(),
            "it has gone and heard all, and stays"
        );
        peer.most_owed = peer.most_owed.max(owed);
        app.cast.note(&bytes);
        for event in heard {
            app.cast.hear(who, event);
        }
    }

    fn reap(&mut self) {
        while !self.hub.is_full() {
            let now = self.now();
            let Self {
                hub, meter, app, ..
            } = self;
            let departed = meter.count(|| hub.reap(app, now).as_ref().map(Last::new));
            let Some(last) = departed else { return };
            app.cast.depart(&last);
        }
    }

    /// What holds behind every turn. The hub has looked at its deadlines at `now`.
    fn check(&mut self, now: Instant) {
        let has_work = self.hub.has_work();
        let cast = &mut self.app.cast;
        let has_something_to_do = cast.has_said() || cast.present().any(Peer::awaits_driver);
        assert!(!has_work || has_something_to_do, "it spins");
        assert_eq!(self.hub.len(), cast.count());
        assert_eq!(self.hub.room_count(), cast.rooms().len());
        for peer in cast.peers.iter_mut().flatten() {
            peer.check_times(&cast.config, now);
            assert!(
                peer.state != State::Doomed || has_work,
                "it is given up, and stays"
            );
            let waits = peer.is_blocked || peer.state == State::Doomed || has_work;
            assert!(
                waits || peer.hearing.is_complete(),
                "forgotten: {}",
                peer.hearing.missing()
            );
            let is_over = peer.state == State::Lingering && !peer.is_blocked && !has_work;
            assert!(
                !is_over || peer.output_has_ended || peer.hearing.is_lost,
                "no end"
            );
            let max = cast.config.max_client_buffer;
            let is_unknown = peer.hearing.is_lost || peer.hearing.may_be_slow;
            assert!(peer.hearing.owed() <= max || is_unknown, "more than may be");
        }
        cast.excuse();
        self.check_memory();
    }
}

impl Cast {
    /// A client has heard something that says more than its bytes.
    fn hear(&mut self, who: usize, event: Heard) {
        let now = self.now;
        let peer = self.peers[who].as_mut().expect("it hears");
        match event {
            Heard::Message => self.tally.heard += 1,
            Heard::Ping => {
                assert!(
                    peer.pings > 0 || peer.is_wild,
                    "a Ping, but it is not silent"
                );
                peer.pings = peer.pings.saturating_sub(1);
                // It may have been under way when something was said.
                if now >= peer.ping_due(&self.config) {
                    peer.pinged_at = Some(now);
                }
            }
            Heard::Response(_) | Heard::Pong | Heard::Close(_) => {}
        }
    }
}

impl Peer {
    /// Takes note of what became of what it was owed.
    fn note_output(&mut self, left: usize, written: usize, is_blocked: bool, now: Instant) {
        self.is_blocked = is_blocked;
        self.is_behind = left > 0;
        if left == 0 {
            if self.stalled_since.take().is_some() {
                self.pinged_at = self.pinged_at.map(|_| now);
            }
        } else if written > 0 || self.stalled_since.is_none() {
            self.stalled_since = Some(now);
        }
    }
}
