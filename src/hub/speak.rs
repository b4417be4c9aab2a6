//! How things get said: to one client, to a room, as a last word.

use std::rc::Rc;
use std::time::Instant;

use super::client::{Client, ClientId, Phase};
use super::config::SlowPolicy;
use super::disconnect::Disconnect;
use super::outgoing::Overflow;
use super::room::{Room, RoomId};
use super::slow::News;
use super::{Hub, live};
use crate::protocol::http::Response;
use crate::protocol::{
    CloseCode, CloseFrame, FrameHeader, HandshakeError, MessageKind, Payload, Upgrade,
};

/// The largest scratch buffer that is kept from one event to the next.
const MAX_SCRATCH: usize = 4 * 1024;

impl Hub {
    /// Bytes said in one turn, to whomever, from which on the turn should end: what is said is
    /// memory until it is flushed.
    pub(super) const MAX_SAID: usize = 4 * 1024 * 1024;

    pub(super) fn find_room(&self, name: &str) -> Option<RoomId> {
        self.rooms.find(name)
    }

    pub(super) fn room_name(&self, room: RoomId) -> Option<&str> {
        self.rooms.get(room).map(|room| &*room.name)
    }

    pub(super) fn members(&self, room: RoomId) -> &[ClientId] {
        self.rooms.get(room).map_or(&[], Room::members)
    }

    pub(super) fn room_of(&self, id: ClientId) -> Option<RoomId> {
        let client = self
            .clients
            .get(id.index())
            .filter(|client| client.id == id)?;
        client.room.map(|(room, _)| room)
    }

    /// Appends a message to a room's batch: the same work whatever the size of the room.
    pub(super) fn say_to_room(
        &mut self,
        room: RoomId,
        except: Option<ClientId>,
        kind: MessageKind,
        payload: Payload<'_>,
    ) -> Option<usize> {
        let (start, end) = self.rooms.say(room, kind, payload)?;
        self.said += end - start;
        self.batch_is_full |= end >= self.config.batch_limit();
        let members = self.members(room).len();
        let Some(client) = except.and_then(|except| self.client_mut(except)) else {
            return Some(members);
        };
        if client.is_open() && client.room.is_some_and(|(own, _)| own == room) {
            client.outgoing.skip(start, end - start, 1);
            return Some(members - 1);
        }
        Some(members)
    }

    /// Says a message to one client; whether it is open and could take it.
    pub(super) fn send(
        &mut self,
        id: ClientId,
        kind: MessageKind,
        payload: Payload<'_>,
        now: Instant,
    ) -> bool {
        let (at, _) = self.batch(id);
        let (max, policy) = (self.config.room_buffer(), self.config.slow_policy);
        let Some(client) = live(&mut self.clients, id).filter(|client| client.is_open()) else {
            return false;
        };
        let (len, said) = match payload.into_frame(kind) {
            Ok(frame) => {
                let frame = Rc::new(frame);
                let frame = if self.ledger.account.is_none() {
                    self.large.share(frame, now)
                } else {
                    frame
                };
                (frame.len(), client.outgoing.say_frame(&frame, at, max))
            }
            Err(payload) => {
                lend_spare(client, at, &mut self.spares);
                let header = FrameHeader::unmasked(kind.opcode(), payload.len()).to_wire();
                let len = header.len() + payload.len();
                (len, client.outgoing.say([&header, &payload], at, max))
            }
        };
        match (said, policy) {
            (Ok(()), _) => {}
            (Err(Overflow), SlowPolicy::Close) => {
                self.give_up(id, Disconnect::TooSlow, now);
                return false;
            }
            (Err(Overflow), SlowPolicy::Drop | SlowPolicy::Latest) => {
                client.traffic.messages_dropped += 1;
                self.metrics.messages_dropped += 1;
                return false;
            }
        }
        client.traffic.messages_sent += 1;
        self.dirty.name(client);
        self.metrics.messages_sent += 1;
        self.said += len;
        true
    }

    /// Begins the closing handshake with a client; nothing is said to it after that.
    pub(super) fn close(&mut self, id: ClientId, code: CloseCode, reason: &str, now: Instant) {
        self.close_for(id, code, reason, Disconnect::Ended(code), now);
    }

    /// The same for a cause of its own.
    pub(super) fn close_for(
        &mut self,
        id: ClientId,
        code: CloseCode,
        reason: &str,
        why: Disconnect,
        now: Instant,
    ) {
        let Some(client) = self.client_mut(id) else {
            return;
        };
        let Phase::Open(_) = client.phase else { return };
        let Phase::Open(mut connection) = std::mem::replace(&mut client.phase, Phase::Lingering)
        else {
            unreachable!("it was open a line above");
        };
        let mut reply = self.take_reply();
        connection.close(Some(code), reason, &mut reply);
        self.last_word(id, &reply, Phase::Closing(connection), why, now);
        self.put_reply(reply);
    }

    /// Answers a request that is not upgraded, and lets the client go.
    pub(super) fn answer(
        &mut self,
        id: ClientId,
        response: &Response,
        why: Disconnect,
        now: Instant,
    ) {
        let mut bytes = Vec::new();
        response.encode(&mut bytes);
        self.last_word(id, &bytes, Phase::Lingering, why, now);
    }

    /// Refuses the opening handshake.
    pub(super) fn refuse(&mut self, id: ClientId, error: HandshakeError, now: Instant) {
        self.answer(
            id,
            &Response::refusal(error),
            Disconnect::Refused(error),
            now,
        );
    }

    /// Refuses the opening handshake behind an upgrade, by Close 1008: the client is in no room,
    /// and nothing that it says is read.
    pub(super) fn refuse_by_close(
        &mut self,
        id: ClientId,
        upgrade: &Upgrade,
        error: HandshakeError,
        now: Instant,
    ) {
        let mut bytes = Vec::new();
        upgrade.response().encode(&mut bytes);
        let code = CloseCode::POLICY_VIOLATION;
        CloseFrame::encode(Some(code), error.reason(), &mut bytes);
        let why = Disconnect::Refused(error);
        self.last_word(id, &bytes, Phase::Lingering, why, now);
    }

    /// The driver could not come to terms with a client below the request, in TLS for instance, and
    /// has told it so. What the client still sends is thrown away until it goes, or for
    /// `close_timeout`; so it hears what it was told.
    pub fn refuse_silently(&mut self, id: ClientId, error: HandshakeError, now: Instant) {
        self.last_word(id, b"", Phase::Lingering, Disconnect::Refused(error), now);
    }

    /// Queues what is said to one client alone, behind what its room has heard by now; whether it
    /// could take it.
    pub(super) fn say(&mut self, id: ClientId, parts: [&[u8]; 2], now: Instant) -> bool {
        let (at, _) = self.batch(id);
        let max = self.config.max_client_buffer;
        let Some(client) = live(&mut self.clients, id) else {
            return false;
        };
        lend_spare(client, at, &mut self.spares);
        if client.outgoing.say(parts, at, max) == Err(Overflow) {
            self.give_up(id, Disconnect::TooSlow, now);
            return false;
        }
        self.dirty.name(client);
        self.said += parts[0].len() + parts[1].len();
        true
    }

    /// Queues the last thing that a client hears, if it has not heard it, and enters the phase that
    /// follows.
    pub(super) fn last_word(
        &mut self,
        id: ClientId,
        bytes: &[u8],
        next: Phase,
        cause: Disconnect,
        now: Instant,
    ) {
        if !bytes.is_empty() && !self.say(id, [bytes, b""], now) {
            return;
        }
        let (at, messages) = self.batch(id);
        let Some(client) = self.client_mut(id) else {
            return;
        };
        // In `Closing` the last word has been said already, and nothing may follow it.
        if at > 0 && !matches!(client.phase, Phase::Closing(_)) {
            let heard = messages - client.outgoing.skipped_messages();
            client.traffic.messages_sent += heard;
            client.outgoing.skip(at, usize::MAX, 0);
            self.metrics.messages_sent += heard;
        }
        let client = &mut self.clients[id.index()];
        if client.is_half_open() {
            self.handshakes.end();
        }
        if client.cause.is_none() {
            self.metrics.count_refusal(cause);
        }
        client.leave(next, cause, &self.config, now);
        // Flushed even if nothing is owed: the driver must learn that it may end the sending side.
        self.touch(id);
        self.arm(id, now);
    }

    /// Gives up a client that owes too much or takes nothing. It is told if what it has got so far
    /// ends with a frame; otherwise nothing can be said to it any more.
    pub(super) fn give_up(&mut self, id: ClientId, why: Disconnect, now: Instant) {
        let (at, messages) = self.batch(id);
        let max = self.config.max_client_buffer;
        self.note_caught_up(id);
        let Some(client) = self.client_mut(id) else {
            return;
        };
        let why = *client.cause.get_or_insert(why);
        client.stalled_since = None;
        let is_between_frames = client.outgoing.clear() && client.traffic.bytes_sent > 0;
        if !is_between_frames || !client.is_open() || client.output_ended {
            return self.doom(id, why);
        }
        let reason = if why == Disconnect::Evicted {
            "too much is queued"
        } else {
            "too slow"
        };
        let mut close = Vec::new();
        CloseFrame::encode(Some(CloseCode::TRY_AGAIN_LATER), reason, &mut close);
        if at > 0 {
            client.outgoing.skip(0, at, messages);
        }
        if client.outgoing.say([&close, b""], at, max).is_ok() {
            self.last_word(id, b"", Phase::Lingering, why, now);
        } else {
            self.doom(id, why);
        }
    }

    /// Puts a client on the list of those to flush, unless its transport takes nothing.
    pub(super) fn touch(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        if client.id == id {
            self.dirty.name(client);
        }
    }

    /// Ends the turn's batches: each becomes shared bytes, and each member of its room gets a
    /// reference to them.
    pub(super) fn seal(&mut self, now: Instant) {
        let (max, policy) = (self.config.room_buffer(), self.config.slow_policy);
        let is_latest = policy == SlowPolicy::Latest;
        let sent_before = self.metrics.messages_sent;
        let mut overflowed = Vec::new();
        // An account must see the last client let go of a batch.
        let mut kept = self.ledger.account.is_none().then_some(&mut self.large);
        while let Some((room, sealed)) = self.rooms.seal_next(kept.as_deref_mut(), now) {
            let (batch, messages) = (sealed.frames, sealed.messages);
            room.note_told(batch.len(), &self.congestion, now);
            let mut news = News::new(&batch, messages, sealed.newest);
            for member in room.members() {
                let client = &mut self.clients[member.index()];
                let is_open = client.is_open();
                // Who is leaving hears the batch up to its last word, which is a splice.
                if client.doomed || !(is_open || client.outgoing.has_splices()) {
                    continue;
                }
                let heard = messages - client.outgoing.skipped_messages();
                let heard = if is_open { heard } else { 0 };
                // Whoever is behind need not hear what is news no more.
                let is_behind = is_latest && client.lags();
                if is_behind || client.outgoing.append(&batch, max) == Err(Overflow) {
                    if policy == SlowPolicy::Close {
                        overflowed.push(*member);
                        continue;
                    }
                    let dropped = news.leave_out(client, policy, max);
                    // What is dropped was counted: here, or when it was queued.
                    client.traffic.messages_sent += heard;
                    client.traffic.messages_sent -= dropped;
                    client.traffic.messages_dropped += dropped;
                    self.metrics.count_dropped(dropped);
                } else {
                    client.traffic.messages_sent += heard;
                }
                self.metrics.messages_sent += heard;
                self.dirty.name(client);
            }
            if let Some(account) = &self.ledger.account {
                news.enter(account);
            }
        }
        self.metrics.settle_sent(sent_before);
        self.said = self.relay.cost();
        self.batch_is_full = false;
        for id in overflowed {
            self.give_up(id, Disconnect::TooSlow, now);
        }
    }

    /// What a client's room has been told in this turn: bytes, and messages.
    pub(super) fn batch(&self, id: ClientId) -> (usize, u64) {
        if !self.rooms.has_unsealed() {
            return (0, 0);
        }
        let room = self.room_of(id).and_then(|room| self.rooms.get(room));
        room.map_or((0, 0), |room| (room.batch().len(), room.batch().messages()))
    }

    /// The scratch buffer, empty.
    pub(super) fn take_reply(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.reply)
    }

    /// Gives the scratch buffer back.
    pub(super) fn put_reply(&mut self, mut reply: Vec<u8>) {
        if reply.capacity() <= MAX_SCRATCH {
            reply.clear();
            self.reply = reply;
        }
    }
}

/// Sees to it that a client that owes nothing has a buffer for what it is told next, unless that
/// goes into its room's batch.
fn lend_spare(client: &mut Client, at: usize, spares: &mut Vec<Vec<u8>>) {
    if at == 0 && client.outgoing.is_empty() {
        if let Some(spare) = spares.pop() {
            client.outgoing.put_spare(spare);
        }
    }
}
