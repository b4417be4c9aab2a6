//! What an application is told, and what it may do.

use std::time::Instant;

use super::admission::{Admission, Rejection};
use super::client::ClientId;
use super::disconnect::Disconnect;
use super::peer::Peer;
use super::room::RoomId;
use super::{Hub, MessageKind};
use crate::protocol::http::Request;
use crate::protocol::{CloseCode, Message, Payload};

/// An application on the hub. All calls come from the thread that drives the hub, one at a time;
/// whatever takes long holds up everybody.
pub trait Handler {
    /// A client asks to be let into a room, by a request that is a proper upgrade; the room's name
    /// is decoded, and empty for the room of the path itself. Nothing is known of the client
    /// before, and [`on_open`](Self::on_open) is called behind it unless there is no place.
    ///
    /// # Errors
    /// Whoever is not let in is told so, in the way of
    /// [`reject_with`](super::HubConfig::reject_with).
    ///
    /// ```
    /// use fanfare::{Admission, ClientId, Handler, Message, Outbox, Peer, Rejection, Request};
    ///
    /// struct Doorman;
    ///
    /// impl Handler for Doorman {
    ///     fn on_upgrade(
    ///         &mut self,
    ///         request: &Request<'_>,
    ///         room: &str,
    ///         _: Peer,
    ///     ) -> Result<Admission, Rejection> {
    ///         let mut admission = Admission::default();
    ///         // In the room of the path itself everybody may listen.
    ///         admission.may_publish = match request.values("authorization").next() {
    ///             Some(b"Bearer open sesame") => true,
    ///             Some(_) => return Err(Rejection::InvalidCredential),
    ///             None if room.is_empty() => false,
    ///             None => return Err(Rejection::Unauthorized),
    ///         };
    ///         Ok(admission)
    ///     }
    ///
    ///     fn on_message(&mut self, _: &mut Outbox<'_>, _: ClientId, _: Message<'_>) {}
    /// }
    /// ```
    fn on_upgrade(
        &mut self,
        request: &Request<'_>,
        room: &str,
        peer: Peer,
    ) -> Result<Admission, Rejection> {
        let _ = (request, room, peer);
        Ok(Admission::default())
    }

    /// Somebody asks over HTTP, at the operators' address, to publish to a room.
    ///
    /// # Errors
    /// Whoever may not is told so by the status.
    fn on_publish(
        &mut self,
        request: &Request<'_>,
        room: &str,
        peer: Peer,
    ) -> Result<(), Rejection> {
        let _ = (request, room, peer);
        Ok(())
    }

    /// A client is connected and in its room. `request` is what it asked with.
    fn on_open(&mut self, outbox: &mut Outbox<'_>, id: ClientId, request: &Request<'_>) {
        let _ = (outbox, id, request);
    }

    /// A client said something. The message lives as long as the call. One of over 65,535 bytes is
    /// passed on without a copy if its payload is handed over: `message.payload`, not
    /// `&message.payload`.
    fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: Message<'_>);

    /// A client for which [`on_open`](Self::on_open) was called is gone. Nothing can be sent to it
    /// any more, but [`Outbox::room`] still tells where it was.
    fn on_close(&mut self, outbox: &mut Outbox<'_>, id: ClientId, why: &Disconnect) {
        let _ = (outbox, id, why);
    }
}

/// What one client says, everyone in its room hears.
#[derive(Clone, Copy, Debug)]
pub struct Broadcast {
    echo: bool,
}

impl Broadcast {
    /// With `echo` the sender hears itself too.
    pub fn new(echo: bool) -> Self {
        Self { echo }
    }
}

impl Handler for Broadcast {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: Message<'_>) {
        let Some(room) = outbox.room(id) else { return };
        if self.echo {
            outbox.broadcast(room, message.kind, message.payload);
        } else {
            outbox.broadcast_except(room, id, message.kind, message.payload);
        }
    }
}

/// What a handler may do with the hub. Everything said through it is queued; it is written at the
/// end of the turn, to each client in the order in which it was said.
#[derive(Debug)]
pub struct Outbox<'h> {
    hub: &'h mut Hub,
    now: Instant,
}

impl<'h> Outbox<'h> {
    pub(super) fn new(hub: &'h mut Hub, now: Instant) -> Self {
        Self { hub, now }
    }

    /// The time of this turn.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Says something to one client. Returns whether it is open and could take it; one that owes
    /// too much is dropped as [`Disconnect::TooSlow`], or by another
    /// [`slow_policy`](super::HubConfig::slow_policy) it is this message that is.
    ///
    /// Text must be UTF-8: browsers fail a connection on anything else.
    pub fn send<'p>(
        &mut self,
        id: ClientId,
        kind: MessageKind,
        payload: impl Into<Payload<'p>>,
    ) -> bool {
        self.hub.send(id, kind, payload.into(), self.now)
    }

    /// Says something to every member of a room: it is encoded once, and each member gets a
    /// reference to it. Returns the number of members, or `None` if there is no such room.
    ///
    /// Text must be UTF-8, as in [`send`](Self::send).
    pub fn broadcast<'p>(
        &mut self,
        room: RoomId,
        kind: MessageKind,
        payload: impl Into<Payload<'p>>,
    ) -> Option<usize> {
        self.hub.broadcast(room, None, kind, payload.into())
    }

    /// The same for every member but one.
    pub fn broadcast_except<'p>(
        &mut self,
        room: RoomId,
        except: ClientId,
        kind: MessageKind,
        payload: impl Into<Payload<'p>>,
    ) -> Option<usize> {
        self.hub.broadcast(room, Some(except), kind, payload.into())
    }

    /// Begins the closing handshake with a client: it hears what was said to it before, then a
    /// Close with this code, then nothing. Does nothing if it is not open.
    ///
    /// A reason over 123 bytes is cut.
    pub fn close(&mut self, id: ClientId, code: CloseCode, reason: &str) {
        self.hub.close(id, code, reason, self.now);
    }

    /// The room that a client is in, or was in until now.
    pub fn room(&self, id: ClientId) -> Option<RoomId> {
        self.hub.room_of(id)
    }

    /// The room of this name; the empty one is that of the path itself.
    pub fn find_room(&self, name: &str) -> Option<RoomId> {
        self.hub.find_room(name)
    }

    /// The name of a room.
    pub fn room_name(&self, room: RoomId) -> Option<&str> {
        self.hub.room_name(room)
    }

    /// The members of a room, in no particular order; in [`Handler::on_close`] without the one who
    /// left.
    pub fn members(&self, room: RoomId) -> &[ClientId] {
        self.hub.members(room)
    }
}
