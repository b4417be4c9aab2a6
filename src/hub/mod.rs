//! Who is connected, what is queued, what is due.
//!
//! This ring knows no socket, no clock, no log and no thread either: time is an argument, and a
//! driver moves the bytes. [`server`](crate::server) is one driver; a simulator or your own loop
//! can be another. A driver's turn:
//!
//! 1. [`Hub::accept`] for each new connection, [`Hub::receive`] and [`Hub::hang_up`] for what
//!    arrived, until [`Hub::is_full`]; large messages may be read to a [`Hub::landing`];
//! 2. [`Hub::advance`] fires what is due;
//! 3. [`Hub::take_dirty`] names whom to flush: write [`Hub::outgoing`], then [`Hub::flushed`];
//! 4. [`Hub::reap`] until it returns `None` or the hub is full again: those clients are gone, close
//!    their sockets.
//!
//! Nobody is removed in the middle of a turn: a client is *doomed* at once, hears nothing more, and
//! is reaped at the end, so stale news about it can never reach a newcomer in its place. All verbs
//! accept ids of clients who have left, and do nothing then.
//!
//! Where several servers share their rooms, [`Hub::set_relaying`] has what is said to a room handed
//! to the driver, by [`Hub::take_relayed`] before anybody is flushed, and [`Hub::deliver`] says it.
//!
//! Operators' connections, from [`Hub::accept_admin`], go through the same turn, but for two verbs:
//! [`Hub::resume`] says whether they may be read, and what was written to them is told to
//! [`Hub::flushed_admin`].
//!
//! Buffers are used again. Kept for that are at most 512 KiB of those that batches were written in,
//! 512 KiB of short ones for single clients, and, for a second after the last large message, 16 MiB
//! of those that such messages were assembled in.

mod account;
mod address;
mod admin;
mod admission;
mod allowance;
mod batch;
mod changes;
mod client;
mod config;
mod congestion;
mod deadline;
mod dirty;
mod disconnect;
mod drain;
mod evict;
mod flush;
mod handler;
mod handshakes;
mod large;
mod memory;
mod metrics;
mod network;
mod outgoing;
mod pace;
mod peer;
mod rate;
mod receive;
mod reconfigure;
mod refuse;
mod relay;
mod room;
mod routes;
mod slow;
mod speak;
mod transport;
mod trust;
mod wheel;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use slab::Slab;

use address::Addresses;
pub use admin::{MAX_ADMIN, Route, Supplement};
pub use admission::{Admission, RejectWith, Rejection};
pub use changes::Change;
pub(crate) use changes::{Changes, Setting};
use client::Client;
pub use client::{ClientId, Traffic};
pub use config::{HubConfig, HubConfigError, MAX_RECEIVE, SlowPolicy};
use congestion::Congestion;
use dirty::DirtyList;
pub use disconnect::{Departure, Disconnect};
use drain::Drain;
use evict::Ledger;
pub use handler::{Broadcast, Handler, Outbox};
use handshakes::Handshakes;
use large::LargeFrames;
pub use memory::{MemoryPart, MemoryScope};
pub use metrics::Metrics;
pub use network::{InvalidNetwork, Network};
pub use outgoing::Outgoing;
pub use pace::MAX_HOLD;
pub use peer::Peer;
pub use rate::Rate;
pub(crate) use rate::TokenBucket;
use relay::Relay;
pub use relay::Relayed;
pub use room::RoomId;
use room::Rooms;
pub use trust::{InvalidTrustedProxy, TrustedProxy};
use wheel::TimerWheel;

pub use crate::metrics::Histogram;
#[cfg(test)]
use crate::protocol::CloseCode;
use crate::protocol::{HandshakeError, MessageKind};

/// Clients beyond `max_connections` that are taken in to be told so with a 503; and as many beyond
/// `max_connections_per_ip`, over all addresses, with a 429.
pub const MAX_SURPLUS: usize = 64;

/// All clients, all rooms, and what is owed to whom.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    clients: Slab<Client>,
    rooms: Rooms,
    wheel: TimerWheel,
    dirty: DirtyList,
    /// Clients to reap, in the order in which they were doomed.
    doomed: VecDeque<ClientId>,
    /// Bytes said since the batches were last sealed.
    said: usize,
    /// Whether some batch is so long that the turn should end.
    batch_is_full: bool,
    /// What the protocol answers to one event, before it is queued.
    reply: Vec<u8>,
    /// Empty buffers for what is said to one client alone.
    spares: Vec<Vec<u8>>,
    large: LargeFrames,
    next_generation: u32,
    drain: Drain,
    /// Connections of operators among the clients.
    admin_count: usize,
    metrics: Metrics,
    /// The first that was not believed about whom it asks for.
    first_untrusted: Option<Peer>,
    addresses: Addresses,
    handshakes: Handshakes,
    ledger: Ledger,
    relay: Relay,
    supplement: Supplement,
    congestion: Congestion,
    /// How long the clock has stood still that `now` comes from.
    stood_still: Duration,
}

/// Why a connection was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not even a place for an answer is left.
    Full,
    /// The hub is draining.
    Draining,
    /// The address has as many connections as one may have, and not even a place for an answer is
    /// left.
    TooManyFromAddress,
}

impl Hub {
    /// A hub without clients.
    ///
    /// # Panics
    /// If [`HubConfig::check`] finds fault with the settings.
    pub fn new(config: HubConfig, now: Instant) -> Self {
        if let Err(error) = config.check() {
            panic!("{error}");
        }
        let ledger = Ledger::new(&config);
        Self {
            config,
            clients: Slab::new(),
            rooms: Rooms::default(),
            wheel: TimerWheel::new(now),
            dirty: DirtyList::default(),
            doomed: VecDeque::new(),
            said: 0,
            batch_is_full: false,
            reply: Vec::new(),
            spares: Vec::new(),
            large: LargeFrames::default(),
            next_generation: 0,
            drain: Drain::default(),
            admin_count: 0,
            metrics: Metrics::default(),
            first_untrusted: None,
            addresses: Addresses::default(),
            handshakes: Handshakes::default(),
            ledger,
            relay: Relay::default(),
            supplement: Supplement::default(),
            congestion: Congestion::new(now),
            stood_still: Duration::ZERO,
        }
    }

    /// The settings.
    pub fn config(&self) -> &HubConfig {
        &self.config
    }

    /// Clients at the moment, in whatever phase.
    pub fn len(&self) -> usize {
        self.clients.len() - self.admin_count
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many have connected and not asked for anything yet.
    pub fn handshakes(&self) -> usize {
        self.handshakes.len()
    }

    /// Rooms at the moment.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// What has happened so far.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What a handler may do, for those who are not called by the hub: a timer, another thread's
    /// message.
    pub fn outbox(&mut self, now: Instant) -> Outbox<'_> {
        Outbox::new(self, now)
    }

    /// Takes in a connection that has just been accepted; `peer` is at its other end, be it
    /// a proxy. Clients beyond `max_connections` are taken in as well, a few of them, to be told
    /// so with a 503.
    ///
    /// # Errors
    /// The driver should close the connection at once.
    ///
    /// # Panics
    /// If there are 2^32 clients.
    pub fn accept(&mut self, peer: Peer, now: Instant) -> Result<ClientId, Refusal> {
        let peer = peer.canonical();
        self.admit_connection(peer)?;
        self.make_way(now);
        let surplus = (self.len() >= self.config.max_connections).then_some(HandshakeError::Full);
        let id = self.next_id();
        let client = Client::new(id, peer, surplus, &self.config, now);
        self.clients.insert(client);
        self.metrics.connections_accepted += 1;
        self.begin_handshake(id);
        self.meet(id);
        self.arm(id, now);
        Ok(id)
    }

    /// The id of whoever is put into the table of clients next.
    fn next_id(&mut self) -> ClientId {
        let key = self.clients.vacant_key();
        let index = u32::try_from(key).expect("clients are bounded by descriptors");
        self.next_generation = self.next_generation.wrapping_add(1);
        ClientId::new(index, self.next_generation)
    }

    /// Whether enough has been said for one turn: the driver should stop reading, flush, and come
    /// back to the clients that it has not read from.
    pub fn is_full(&self) -> bool {
        self.batch_is_full || self.said >= Self::MAX_SAID || self.has_relayed_enough()
    }

    /// Whether something is left to do that waits for no event: clients to flush or to reap, or
    /// something to relay. The driver's next wait should be zero then.
    pub fn has_work(&self) -> bool {
        let must_speak = !self.dirty.is_empty() || self.rooms.has_unsealed();
        must_speak || self.has_relayed() || !self.doomed.is_empty() || self.ledger.owes_too_much
    }

    /// Removes one client that was doomed; the driver closes its connection. To be called until
    /// there is none. The handler may speak in `on_close`, so look at [`has_work`](Self::has_work)
    /// afterwards.
    ///
    /// # Panics
    /// Never, unless the hub is wrong about whom it has doomed.
    pub fn reap(&mut self, handler: &mut dyn Handler, now: Instant) -> Option<Departure> {
        self.settle(now);
        let id = self.doomed.pop_front()?;
        let client = &self.clients[id.index()];
        let why = client.cause.expect("whoever is doomed has a cause");
        let room = client.room;
        let mut name = None;
        if let Some((room, position)) = room {
            name = self.rooms.get(room).map(|room| room.name.clone());
            if let Some(moved) = self.rooms.leave(room, position) {
                self.clients[moved.index()].room = Some((room, position));
            }
            handler.on_close(&mut Outbox::new(self, now), id, &why);
            self.rooms.remove_if_empty(room);
        }
        self.note_caught_up(id);
        let client = self.clients.remove(id.index());
        self.uncount_address(&client);
        if client.is_admin {
            self.admin_count -= 1;
        } else {
            self.metrics.count_departure(why);
        }
        Some(Departure {
            id,
            peer: client.peer,
            room: name,
            why,
            age: now.saturating_duration_since(client.accepted_at),
            traffic: client.traffic,
            peak_backlog: client.outgoing.peak(),
            is_admin: client.is_admin,
        })
    }

    /// The name of the room that a client is in; empty for the room of the path itself.
    pub fn room_name_of(&self, id: ClientId) -> Option<&str> {
        self.room_of(id).and_then(|room| self.room_name(room))
    }

    /// Whether a client is open: its upgrade is done, and no Close has been said by either side.
    pub fn is_open(&self, id: ClientId) -> bool {
        self.clients
            .get(id.index())
            .is_some_and(|client| client.id == id && client.is_open())
    }

    /// A client that is there and has not been doomed.
    fn client_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        live(&mut self.clients, id)
    }

    /// Gives a client up: it hears nothing more, what it is owed is released, and it will be reaped
    /// at the end of the turn.
    fn doom(&mut self, id: ClientId, why: Disconnect) {
        let Some(client) = self.client_mut(id) else {
            return;
        };
        let is_first = client.cause.is_none();
        let is_half_open = client.is_half_open();
        client.cause.get_or_insert(why);
        client.doomed = true;
        client.outgoing.clear();
        self.doomed.push_back(id);
        if is_half_open {
            self.handshakes.end();
        }
        if is_first {
            self.metrics.count_refusal(why);
        }
    }
}

/// A client that is there and has not been doomed, for those who borrow the settings as well.
fn live(clients: &mut Slab<Client>, id: ClientId) -> Option<&mut Client> {
    clients
        .get_mut(id.index())
        .filter(|client| client.id == id && !client.doomed)
}

#[cfg(test)]
mod tests;

/// Some point in time for tests to start from.
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "tests need some instant; only differences matter"
)]
pub(crate) fn test_clock() -> Instant {
    Instant::now()
}

/// A queue that holds these pieces.
#[cfg(test)]
pub(crate) fn test_outgoing(pieces: &[&str]) -> Outgoing {
    let mut outgoing = Outgoing::default();
    for piece in pieces {
        let batch = std::rc::Rc::new(piece.as_bytes().to_vec());
        outgoing
            .append(&batch, usize::MAX)
            .expect("nothing is too much");
    }
    outgoing
}
