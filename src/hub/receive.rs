//! What arrives: request heads and frames.

use std::time::Instant;

use super::admission::{Admission, RejectWith};
use super::client::{ClientId, Phase};
use super::config::{SlowPolicy, is_token};
use super::disconnect::Disconnect;
use super::handler::{Handler, Outbox};
use super::room::Room;
use super::{Hub, live, routes};
use crate::protocol::http::{Request, Response};
use crate::protocol::{
    CloseCode, Connection, Event, HandshakeError, Input, Message, ProxySource, Upgrade,
};

/// Pings, and Pongs, that one read may bring; more is a flood and is answered with Close 1008. A
/// Ping of six bytes is the cheapest way to make a server write.
const MAX_CONTROL_FRAMES: usize = 512;

/// What one look at a client's input came to.
enum Inbound<'i> {
    /// The input is used up, or nobody is there to read it.
    Nothing,
    /// A PROXY header has arrived.
    Source(ProxySource),
    /// What has arrived is no PROXY header.
    NoSource,
    /// A request head has arrived.
    Head(Vec<u8>),
    /// What has arrived is no request head.
    NoHead(HandshakeError),
    Message(Message<'i>),
    /// A Ping or a Pong.
    Control,
    /// A Close, or an error that ends the connection like one.
    End(Disconnect),
    /// Bytes from an operator.
    Admin,
    /// One message more than it may say.
    Excess,
}

/// Bytes that a client has sent, while they are looked at.
#[derive(Clone, Copy)]
struct Arrival {
    bytes: usize,
    was_open: bool,
    frames_before: u64,
}

impl Hub {
    /// Reads bytes that have just arrived from a client; at most
    /// [`MAX_RECEIVE`](super::MAX_RECEIVE) of them if members who keep up are not to be mistaken
    /// for slow ones. The bytes are unmasked in place, and none is left.
    pub fn receive(
        &mut self,
        id: ClientId,
        bytes: &mut [u8],
        now: Instant,
        handler: &mut dyn Handler,
    ) {
        let Some(arrival) = self.begin_arrival(id, bytes.len()) else {
            return;
        };
        let mut input = Input::new(bytes);
        let mut is_over = self.cut_excess(id, &mut input, now);
        let mut control_frames = 0;
        while !input.is_empty() {
            match self.next_inbound(id, &mut input, now) {
                Inbound::Nothing => break,
                Inbound::Source(source) => self.proxied(id, source),
                Inbound::NoSource => self.not_proxied(id),
                Inbound::Head(head) => {
                    self.request(id, &head, now, handler);
                    // What is behind it are the first bytes of an open client.
                    is_over = self.cut_excess(id, &mut input, now);
                }
                Inbound::Message(message) => {
                    handler.on_message(&mut Outbox::new(self, now), id, message);
                }
                Inbound::Control => {
                    control_frames += 1;
                    if control_frames > MAX_CONTROL_FRAMES {
                        self.fail(id, "too many control frames", Disconnect::Flood, now);
                    }
                }
                Inbound::NoHead(error) => self.refuse(id, error, now),
                Inbound::Excess => self.fail_rate(id, "over the message rate", now),
                Inbound::End(_) => {}
                Inbound::Admin => self.receive_admin(id, &mut input, now, handler),
            }
        }
        if is_over {
            self.fail_rate(id, "over the byte rate", now);
        }
        self.end_arrival(id, arrival, now);
    }

    /// Where the next bytes from a client can be read to directly: it is in the middle of a large
    /// message. `None` is the rule, and the driver reads into a buffer of its own for
    /// [`receive`](Self::receive). What has been read to here is told to [`landed`](Self::landed).
    pub fn landing(&mut self, id: ClientId) -> Option<&mut [u8]> {
        match &mut live(&mut self.clients, id)?.phase {
            Phase::Open(connection) => connection.landing(|len| self.large.take(len)),
            Phase::ProxyHeader(_)
            | Phase::Handshake(_)
            | Phase::Closing(_)
            | Phase::Lingering
            | Phase::Admin(_) => None,
        }
    }

    /// The first `count` bytes of a client's [`landing`](Self::landing) have just been read there.
    /// The rest of it holds what others have said, so `count` must be exact.
    ///
    /// # Panics
    /// If there was no landing, or a shorter one.
    pub fn landed(&mut self, id: ClientId, count: usize, now: Instant, handler: &mut dyn Handler) {
        let Some(arrival) = self.begin_arrival(id, count) else {
            return;
        };
        if self.allowed_bytes(id, count, now) < count {
            return self.fail_rate(id, "over the byte rate", now);
        }
        let Some(client) = live(&mut self.clients, id) else {
            return;
        };
        // It may have been closed since it had the landing.
        let (Phase::Open(connection) | Phase::Closing(connection)) = &mut client.phase else {
            return;
        };
        match connection.landed(count, &mut self.reply) {
            Ok(Some(Event::Message(_)))
                if !client.may_say(&self.config, now + self.stood_still) =>
            {
                self.fail_rate(id, "over the message rate", now);
            }
            Ok(Some(Event::Message(message))) => {
                client.traffic.messages_received += 1;
                self.metrics.messages_received += 1;
                handler.on_message(&mut Outbox::new(self, now), id, message);
            }
            Ok(_) => {}
            Err(error) => self.end(id, error.into(), now),
        }
        self.end_arrival(id, arrival, now);
    }

    /// Takes note of bytes that a client has sent, before they are looked at.
    fn begin_arrival(&mut self, id: ClientId, bytes: usize) -> Option<Arrival> {
        let client = live(&mut self.clients, id)?;
        client.traffic.bytes_received += bytes as u64;
        client.is_unread = false;
        if !client.is_admin {
            self.metrics.bytes_received += bytes as u64;
        }
        Some(Arrival {
            bytes,
            was_open: client.is_open(),
            frames_before: frames_received(&client.phase),
        })
    }

    /// Takes note of what they were for an open client.
    fn end_arrival(&mut self, id: ClientId, arrival: Arrival, now: Instant) {
        if let Some(client) = live(&mut self.clients, id).filter(|_| arrival.was_open) {
            let completed = frames_received(&client.phase) != arrival.frames_before;
            client.note_input(arrival.bytes, completed, &self.config, now);
        }
    }

    /// One step through the input, and what the protocol answers to it. The result borrows the
    /// input and not the hub.
    fn next_inbound<'i>(
        &mut self,
        id: ClientId,
        input: &mut Input<'i>,
        now: Instant,
    ) -> Inbound<'i> {
        let Some(client) = live(&mut self.clients, id) else {
            return Inbound::Nothing;
        };
        let inbound = match &mut client.phase {
            Phase::Lingering => Inbound::Nothing,
            Phase::ProxyHeader(header) => match header.receive(input) {
                Ok(source) => source.map_or(Inbound::Nothing, Inbound::Source),
                Err(_) => Inbound::NoSource,
            },
            Phase::Admin(_) => Inbound::Admin,
            Phase::Handshake(head) => match head.receive(input) {
                Ok(head) => head.map_or(Inbound::Nothing, Inbound::Head),
                Err(error) => Inbound::NoHead(error),
            },
            Phase::Open(connection) | Phase::Closing(connection) => {
                match connection.receive(input, &mut self.reply) {
                    Ok(None) => Inbound::Nothing,
                    Ok(Some(Event::Message(_)))
                        if !client.may_say(&self.config, now + self.stood_still) =>
                    {
                        Inbound::Excess
                    }
                    Ok(Some(Event::Message(message))) => {
                        client.traffic.messages_received += 1;
                        self.metrics.messages_received += 1;
                        Inbound::Message(message)
                    }
                    Ok(Some(Event::Ping | Event::Pong)) => Inbound::Control,
                    Ok(Some(Event::Close(close))) => Inbound::End(Disconnect::Closed(close.code)),
                    Err(error) => Inbound::End(error.into()),
                }
            }
        };
        match inbound {
            Inbound::Control if !self.reply.is_empty() => {
                let reply = self.take_reply();
                self.pong(id, &reply, now);
                self.put_reply(reply);
            }
            Inbound::End(why) => self.end(id, why, now),
            _ => {}
        }
        inbound
    }

    /// Says the last word that the protocol has left in the scratch buffer.
    pub(super) fn end(&mut self, id: ClientId, why: Disconnect, now: Instant) {
        let reply = self.take_reply();
        self.last_word(id, &reply, Phase::Lingering, why, now);
        self.put_reply(reply);
    }

    /// Answers a Ping. RFC 6455, section 5.5.3: if several Pings came before an answer could be
    /// sent, the latest alone may be answered; so a client that does not read costs one Pong.
    fn pong(&mut self, id: ClientId, pong: &[u8], now: Instant) {
        let (config, Some(client)) = (&self.config, live(&mut self.clients, id)) else {
            return;
        };
        // A client that lags by permission is not dropped for want of room for an answer either.
        let may_lag = config.slow_policy != SlowPolicy::Close;
        let has_room = client.outgoing.has_room(pong.len(), config.room_buffer());
        if client.outgoing.is_blocked() || may_lag && !has_room {
            client.pong = Some(pong.into());
        } else {
            client.pong = None;
            self.say(id, [pong, b""], now);
        }
    }

    /// Ends a connection that is against the rules of this server: Close 1008.
    pub(super) fn fail(&mut self, id: ClientId, reason: &str, why: Disconnect, now: Instant) {
        let mut reply = self.take_reply();
        if let Some(Phase::Open(connection) | Phase::Closing(connection)) =
            self.client_mut(id).map(|client| &mut client.phase)
        {
            connection.fail(CloseCode::POLICY_VIOLATION, reason, &mut reply);
            self.last_word(id, &reply, Phase::Lingering, why, now);
        }
        self.put_reply(reply);
    }

    /// Answers a request: with an upgrade, with a page, or with a refusal.
    fn request(&mut self, id: ClientId, head: &[u8], now: Instant, handler: &mut dyn Handler) {
        let request = match Request::parse(head) {
            Ok(request) => request,
            Err(error) => return self.refuse(id, error, now),
        };
        self.resolve(id, &request);
        let refused = if self.config.handshake.owns(request.path()) {
            match self.upgrade(id, &request, now, handler) {
                Ok(()) => return,
                Err(error) => error,
            }
        } else {
            match routes::respond(&self.config, &request) {
                Ok(response) => return self.answer(id, &response, Disconnect::Answered, now),
                Err(error) => error,
            }
        };
        let mut response = Response::refusal(refused);
        if request.method() == "HEAD" {
            response = response.without_body();
        }
        self.answer(id, &response, Disconnect::Refused(refused), now);
    }

    /// Upgrades a connection, if the handler lets the client in.
    fn upgrade(
        &mut self,
        id: ClientId,
        request: &Request<'_>,
        now: Instant,
        handler: &mut dyn Handler,
    ) -> Result<(), HandshakeError> {
        let mut upgrade = self.config.handshake.accept(request)?;
        let peer = self.clients[id.index()].peer;
        match handler.on_upgrade(request, &upgrade.room, peer) {
            Ok(admission) => {
                let is_offered = |name: &String| offers(request).any(|o| o == name);
                if let Some(name) = admission.subprotocol.clone().filter(is_offered) {
                    upgrade.subprotocol = Some(name);
                }
                self.open(id, &upgrade, &admission, now)?;
                handler.on_open(&mut Outbox::new(self, now), id, request);
            }
            Err(rejection) if self.config.reject_with == RejectWith::Close => {
                // A browser fails a connection that leaves its offer unanswered, and its script
                // would never see the Close.
                let first = || offers(request).next().map(str::to_owned);
                upgrade.subprotocol = upgrade.subprotocol.or_else(first);
                self.refuse_by_close(id, &upgrade, rejection.into(), now);
            }
            Err(rejection) => return Err(rejection.into()),
        }
        Ok(())
    }

    /// Opens a connection: the client joins its room, and hears what is said there from now on.
    fn open(
        &mut self,
        id: ClientId,
        upgrade: &Upgrade,
        admission: &Admission,
        now: Instant,
    ) -> Result<(), HandshakeError> {
        if self.drain.has_begun() {
            return Err(HandshakeError::Draining);
        }
        let config = &self.config;
        let client = self
            .clients
            .get_mut(id.index())
            .expect("whoever asks is there");
        if let Some(error) = client.surplus {
            return Err(error);
        }
        let max_members = config.max_room_members.unwrap_or(usize::MAX);
        let is_full = |room: &Room| room.members().len() >= max_members;
        let room = match self.rooms.find(&upgrade.room) {
            Some(room) if self.rooms.get(room).is_some_and(is_full) => {
                return Err(HandshakeError::RoomFull);
            }
            Some(room) => room,
            None if self.rooms.len() < config.max_rooms => self.rooms.create(&upgrade.room),
            None => return Err(HandshakeError::TooManyRooms),
        };
        client.room = Some((room, self.rooms.join(room, id)));
        let mut connection = Connection::new(config.limits);
        if !admission.may_publish {
            connection = connection.listening_only();
        }
        client.open(connection, config, now);
        // What lies beyond the reach of the clock never comes.
        let expires_at = admission.valid_for.and_then(|time| now.checked_add(time));
        if expires_at.is_some() {
            client.terms.get_or_insert_default().expires_at = expires_at;
        }
        self.handshakes.end();
        let (at, messages) = self.batch(id);
        if at > 0 {
            self.clients[id.index()].outgoing.skip(0, at, messages);
        }
        let mut response = Vec::new();
        upgrade.response().encode(&mut response);
        self.say(id, [&response, b""], now);
        self.metrics.handshakes_completed += 1;
        self.arm(id, now);
        Ok(())
    }
}

/// The subprotocols that a request offers, as far as they are tokens (RFC 6455, section 4.1).
fn offers<'s>(request: &'s Request<'_>) -> impl Iterator<Item = &'s str> {
    request
        .list("sec-websocket-protocol")
        .filter_map(|offer| std::str::from_utf8(offer).ok())
        .filter(|offer| is_token(offer))
}

fn frames_received(phase: &Phase) -> u64 {
    match phase {
        Phase::Open(connection) | Phase::Closing(connection) => connection.frames_received(),
        Phase::ProxyHeader(_) | Phase::Handshake(_) | Phase::Lingering | Phase::Admin(_) => 0,
    }
}
