//! Many servers, one room: what a server tells Redis, and what Redis tells it.
//!
//! This ring knows no socket, no clock, no log and no thread: bytes in, bytes out, and time is an
//! argument. [`server`](crate::server) is one driver; a simulator is another. A driver's turn:
//!
//! 1. [`Backplane::receive`] for what arrived on each link that [`Backplane::wants_input`],
//!    [`Backplane::connected`] and [`Backplane::disconnected`] for what became of them;
//! 2. [`Backplane::publish`] for what was said to rooms;
//! 3. [`Backplane::advance`] fires what is due;
//! 4. [`Backplane::next_delivery`] until it returns `None`: that is what local members hear now;
//! 5. [`Backplane::next_action`] until it returns `None`: connections to open and to close;
//! 6. [`Backplane::output`] of each of [`Backplane::links`]: write it, then
//!    [`Backplane::written`];
//! 7. wait until [`Backplane::next_deadline`].

mod backoff;
mod config;
mod delivery;
mod echoes;
mod entry;
mod envelope;
mod histogram;
mod metrics;
mod origins;
mod peers;
mod queue;
mod reasons;
pub mod resp;
mod ring;
mod url;

use std::fmt;
use std::time::Instant;

pub use config::{
    BackplaneConfig, BackplaneConfigError, Credentials, DeliveryOrder, Endpoint, Format, Mode,
    Target,
};
pub use delivery::Delivery;
pub use envelope::{Envelope, EnvelopeError, Parsed};
pub use url::InvalidUrl;

use crate::protocol::MessageKind;

/// Connections that a backplane has at once, whatever its settings.
pub const MAX_LINKS: usize = 256;

/// Names a connection. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId {
    index: u16,
    generation: u32,
}

impl LinkId {
    /// The link's place in a driver's table: below [`MAX_LINKS`], and free for another link once
    /// this one has been disconnected.
    pub fn index(self) -> usize {
        usize::from(self.index)
    }
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Resolve the name, connect (each address in turn, without blocking), speak TLS if the
    /// settings say so; then [`Backplane::connected`] or [`Backplane::disconnected`].
    Connect {
        /// The new link.
        link: LinkId,
        /// Where to.
        to: Endpoint,
    },
    /// Close the connection and forget the link: it is never mentioned again.
    Disconnect(LinkId),
}

/// Why a link is no more, as far as the driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkFailure {
    /// The name could not be resolved, or not in time.
    Resolve,
    /// Nobody answers there, or not in time.
    Connect,
    /// TLS failed: another certificate than expected, for instance.
    Tls,
    /// The connection was reset.
    Reset,
    /// The peer has ended the connection.
    End,
}

/// How the backplane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Messages go to Redis and come back in time.
    Up,
    /// They are late: local clients hear each other without Redis.
    Degraded,
    /// There is no connection that carries them.
    Down,
}

/// Something that happened and that whoever runs the server may want to read of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {}

impl Event {
    /// Whether somebody should do something about it.
    pub fn is_warning(&self) -> bool {
        match *self {}
    }
}

impl fmt::Display for Event {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// What a server tells Redis, and what Redis tells it.
#[derive(Debug)]
pub struct Backplane {
    config: BackplaneConfig,
}

impl Backplane {
    /// A backplane that begins to connect. `origin` names this process among all that ever were:
    /// random, and not 0. `seed` is another random number, for the back-off.
    pub fn new(config: BackplaneConfig, origin: u64, seed: u64, now: Instant) -> Self {
        let _ = (origin, seed, now);
        Self { config }
    }

    /// What it runs with.
    pub fn config(&self) -> &BackplaneConfig {
        &self.config
    }

    /// What the driver is to do next about connections.
    pub fn next_action(&mut self) -> Option<Action> {
        None
    }

    /// A link's connection stands, TLS included.
    pub fn connected(&mut self, link: LinkId, now: Instant) {
        let _ = (link, now);
    }

    /// A link's connection is no more, or never was; the driver has closed it and forgets it.
    pub fn disconnected(&mut self, link: LinkId, why: LinkFailure, now: Instant) {
        let _ = (link, why, now);
    }

    /// Whether a link may be read. If not, ask again in the next turn; what is not read yet waits
    /// in the kernel.
    pub fn wants_input(&self, link: LinkId) -> bool {
        let _ = link;
        false
    }

    /// Takes what a link has read, all of it.
    pub fn receive(&mut self, link: LinkId, bytes: &[u8], now: Instant) {
        let _ = (link, bytes, now);
    }

    /// The links that stand or are to be connected.
    pub fn links(&self) -> impl Iterator<Item = LinkId> {
        std::iter::empty()
    }

    /// What is to be written to a link; nothing before it is connected.
    pub fn output(&self, link: LinkId) -> &[u8] {
        let _ = link;
        &[]
    }

    /// That many bytes of it have been written.
    pub fn written(&mut self, link: LinkId, count: usize, now: Instant) {
        let _ = (link, count, now);
    }

    /// Fires what is due.
    pub fn advance(&mut self, now: Instant) {
        let _ = now;
    }

    /// When [`advance`](Self::advance) should be called at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Tells all servers, this one included, what was said to a room. `exempt` is handed back with
    /// the delivery on this server, and means nothing elsewhere. Never blocks and never fails: what
    /// cannot wait any longer is dropped and counted, the oldest first.
    pub fn publish(
        &mut self,
        room: &str,
        kind: MessageKind,
        payload: &[u8],
        exempt: Option<u64>,
        now: Instant,
    ) {
        let _ = (room, kind, payload, exempt, now);
    }

    /// The next thing that local members hear.
    pub fn next_delivery(&mut self) -> Option<Delivery> {
        None
    }

    /// Whether there is one.
    pub fn has_deliveries(&self) -> bool {
        false
    }

    /// The next thing to write to the log.
    pub fn next_event(&mut self) -> Option<Event> {
        None
    }

    /// How it is.
    pub fn health(&self) -> Health {
        Health::Down
    }

    /// Since when it is so.
    pub fn health_since(&self) -> Option<Instant> {
        None
    }

    /// Whether Redis has acknowledged everything: a server that stops may go.
    pub fn is_flushed(&self) -> bool {
        true
    }

    /// Messages that Redis has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        0
    }

    /// Writes the metrics in Prometheus' text format, version 0.0.4.
    pub fn write_metrics(&self, out: &mut String, now: Instant) {
        let _ = (out, now);
    }
}
