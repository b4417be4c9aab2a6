//! Many servers, one room: what a server tells Redis, and what Redis tells it.
//!
//! This ring knows no socket, no clock, no log and no thread: bytes in, bytes out, and time is an
//! argument. [`server`](crate::server) is one driver; a simulator is another. A driver's turn:
//!
//! 1. [`Backplane::receive`] for what arrived on each link that [`Backplane::wants_input`],
//!    [`Backplane::readable`] for what is left there, [`Backplane::connected`] and
//!    [`Backplane::disconnected`] for what became of them;
//! 2. [`Backplane::publish`] for what was said to rooms;
//! 3. [`Backplane::advance`] fires what is due;
//! 4. [`Backplane::next_delivery`] until it returns `None`: that is what local members hear now;
//! 5. [`Backplane::next_action`] until it returns `None`: connections to open and to close;
//! 6. [`Backplane::output`] of each of [`Backplane::links`]: write it, then
//!    [`Backplane::written`];
//! 7. wait until [`Backplane::next_deadline`].

mod action;
mod backoff;
mod channels;
mod config;
mod deadline;
mod delivery;
mod dialler;
mod echoes;
mod engine;
mod entry;
mod envelope;
mod event;
mod greeting;
mod inbox;
mod inquiry;
mod link;
mod links;
mod loss;
mod memory;
mod metrics;
mod news;
mod origins;
mod output;
mod pace;
mod peers;
mod pubsub;
mod queue;
mod raw_echoes;
mod reasons;
mod refusals;
mod request;
pub mod resp;
mod route;
mod shard;
mod stream;
mod tails;
mod traffic;
mod url;

use std::time::Instant;

pub use action::{Action, Health, LinkFailure, LinkId, MAX_LINKS};
pub use config::{
    BackplaneConfig, BackplaneConfigError, Credentials, DeliveryOrder, Endpoint, Format, Mode,
    Target,
};
pub use delivery::Delivery;
pub use envelope::{Envelope, EnvelopeError, Parsed};
pub use event::Event;
pub use inbox::MAX_INBOX;
pub use memory::Holding;
pub use url::InvalidUrl;

use link::{Heard, Link};
use links::Links;
use loss::Loss;
use metrics::Gauges;
use news::News;
use resp::RespLimits;
use shard::{Around, Shards};

use crate::protocol::MessageKind;

/// What a server tells Redis, and what Redis tells it.
#[derive(Debug)]
pub struct Backplane {
    config: BackplaneConfig,
    links: Links,
    shards: Shards,
    news: News,
    health: Health,
    /// When `health` became what it is; [`advance`](Self::advance) sees to it.
    health_since: Instant,
}

impl Backplane {
    /// A backplane that begins to connect. `origin` names this process among all that ever were:
    /// random, and not 0. `seed` is another random number, for the back-off.
    pub fn new(config: BackplaneConfig, origin: u64, seed: u64, now: Instant) -> Self {
        let messages = match config.mode {
            Mode::PubSub => 1,
            Mode::Stream => stream::room(config.max_message_size),
        };
        let limits = RespLimits::new(config.max_message_size, messages);
        Self {
            links: Links::new(&config, origin, limits),
            shards: Shards::new(&config, origin, seed, now),
            news: News::default(),
            health: Health::Down,
            health_since: now,
            config,
        }
    }

    /// What it runs with.
    pub fn config(&self) -> &BackplaneConfig {
        &self.config
    }

    /// What the driver is to do next about connections.
    pub fn next_action(&mut self) -> Option<Action> {
        self.links.next_action()
    }

    /// A link's connection stands, TLS included.
    pub fn connected(&mut self, link: LinkId, now: Instant) {
        self.links.connected(link, now);
    }

    /// A link's connection is no more, or never was; the driver has closed it and forgets it.
    pub fn disconnected(&mut self, link: LinkId, why: LinkFailure, now: Instant) {
        if let Some(owner) = self.links.forget(link) {
            self.heard(owner, link, Heard::Lost(Loss::Failed(why)), now);
        }
    }

    /// Whether a link may be read. If not, ask again in the next turn; what is not read yet waits
    /// in the kernel.
    pub fn wants_input(&self, link: LinkId) -> bool {
        let shard = self
            .links
            .owner(link)
            .and_then(|owner| self.shards.get(owner));
        let has_room = |shard: &shard::Shard| shard.engine.wants_input(link);
        !self.news.inbox.is_full() && shard.is_some_and(has_room)
    }

    /// Takes what a link has read, all of it.
    pub fn receive(&mut self, link: LinkId, bytes: &[u8], now: Instant) {
        let mut input = bytes;
        let Some(owner) = self.links.owner(link).filter(|_| !bytes.is_empty()) else {
            return;
        };
        if self
            .links
            .get_mut(link)
            .is_some_and(|link| link.revive(now))
        {
            self.heard(owner, link, Heard::Revived, now);
        }
        // It ends with the input, or with the link: that may be closed by what it says.
        while let Some(heard) = self
            .links
            .get_mut(link)
            .and_then(|link| link.next_heard(&mut input, now))
        {
            self.heard(owner, link, heard, now);
        }
    }

    /// Says in each turn whether a link may have brought something that was left unread, because
    /// it [was not wanted](Self::wants_input) or the turn had read enough: until it is read, the
    /// link's silence means nothing. Where all was read, silence counts, however full the inbox has
    /// become meanwhile.
    pub fn readable(&mut self, link: LinkId, is_unread: bool, now: Instant) {
        if let Some(link) = self.links.get_mut(link) {
            link.is_unread = is_unread;
            link.note_reading(!is_unread, now);
        }
    }

    /// The links that stand or are to be connected.
    pub fn links(&self) -> impl Iterator<Item = LinkId> {
        self.links.ids()
    }

    /// What is to be written to a link; nothing before it is connected.
    pub fn output(&self, link: LinkId) -> &[u8] {
        self.links.get(link).map_or(&[], Link::output)
    }

    /// That many bytes of it have been written.
    pub fn written(&mut self, link: LinkId, count: usize, now: Instant) {
        if let Some(opened) = self.links.get_mut(link) {
            opened.written(count);
            let (shards, around) = self.split(now);
            let owner = around.links.owner(link);
            if let Some(shard) = owner.and_then(|owner| shards.get_mut(owner)) {
                shard.pump(around);
            }
        }
    }

    /// Fires what is due.
    pub fn advance(&mut self, now: Instant) {
        for index in 0..self.links.len() {
            let id = self.links.id(index);
            if let Some(link) = id.and_then(|id| self.links.get_mut(id)) {
                link.note_reading(!link.is_unread, now);
            }
        }
        for index in 0..self.links.len() {
            if let Some((owner, link, heard)) = self.links.advance(index, now) {
                self.heard(owner, link, heard, now);
            }
        }
        let (shards, mut around) = self.split(now);
        for shard in shards.iter_mut() {
            shard.advance(around.reborrow());
        }
        self.news.advance(now);
        let health = self.shards.health(&self.links);
        if health != self.health {
            (self.health, self.health_since) = (health, now);
        }
    }

    /// When [`advance`](Self::advance) should be called at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        let shards = self.shards.iter();
        let shards = shards.filter_map(|shard| shard.next_deadline(&self.links));
        shards.chain(self.links.next_deadline()).min()
    }

    /// Tells all servers, this one included, what was said to a room. `exempt` is handed back with
    /// the delivery on this server, and means nothing elsewhere. Never blocks and never fails: what
    /// cannot wait any longer is dropped and counted, the oldest first.
    ///
    /// What no server would believe (a message longer than
    /// [`max_message_size`](BackplaneConfig::max_message_size), a text that is not UTF-8) is heard
    /// on this one alone, and counted; so is, in the raw format, what is said to other rooms than
    /// the default one, which is not.
    pub fn publish(
        &mut self,
        room: &str,
        kind: MessageKind,
        payload: &[u8],
        exempt: Option<u64>,
        now: Instant,
    ) {
        if let Some(shard) = self.shards.of_room(room) {
            let traffic = &mut shard.traffic;
            traffic.say(room, kind, payload, exempt, &mut self.news, now);
        }
    }

    /// The next thing that local members hear.
    pub fn next_delivery(&mut self) -> Option<Delivery> {
        self.news.inbox.pop()
    }

    /// The same, without taking it.
    pub fn peek_delivery(&self) -> Option<&Delivery> {
        self.news.inbox.peek()
    }

    /// Whether there is one.
    pub fn has_deliveries(&self) -> bool {
        self.peek_delivery().is_some()
    }

    /// Whether so much of what this server has said waits to be heard that nobody here should say
    /// more. Where others have said much, links [are not read](Self::wants_input).
    pub fn is_full(&self) -> bool {
        self.news.inbox.is_full_of_own()
    }

    /// The next thing to write to the log.
    pub fn next_event(&mut self) -> Option<Event> {
        self.news.next_event()
    }

    /// How it is.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Since when it is so.
    pub fn health_since(&self) -> Option<Instant> {
        Some(self.health_since)
    }

    /// Whether Redis has acknowledged everything: a server that stops may go.
    pub fn is_flushed(&self) -> bool {
        self.unacknowledged() == 0
    }

    /// Whether something that was said here waits to come back, before it is heard here. In a
    /// stream that may be acknowledged for long.
    pub fn has_unheard(&self) -> bool {
        self.shards.iter().any(|shard| shard.traffic.has_unheard())
    }

    /// Messages that Redis has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.traffic.queue.len())
            .sum()
    }

    /// Writes the metrics in Prometheus' text format, version 0.0.4.
    pub fn write_metrics(&self, out: &mut String, now: Instant) {
        let traffics = || self.shards.iter().map(|shard| &shard.traffic);
        let oldest = traffics()
            .filter_map(|traffic| traffic.queue.oldest())
            .min();
        let gauges = Gauges {
            is_up: self.health != Health::Down,
            is_degraded: self.health != Health::Up,
            queue_bytes: traffics().map(|traffic| traffic.queue.bytes()).sum(),
            queue_oldest: oldest
                .map(|oldest| now.saturating_duration_since(oldest))
                .unwrap_or_default(),
            stream_lag: self.shards.iter().map(|shard| shard.engine.lag()).sum(),
            peers: traffics()
                .map(|traffic| traffic.peers.count())
                .max()
                .unwrap_or_default(),
        };
        self.news.metrics.write(&gauges, out);
    }

    /// Dispatches what a link has said.
    fn heard(&mut self, owner: u16, link: LinkId, heard: Heard, now: Instant) {
        let (shards, around) = self.split(now);
        if let Some(shard) = shards.get_mut(owner) {
            shard.heard(link, heard, around);
        }
    }

    fn split(&mut self, now: Instant) -> (&mut Shards, Around<'_>) {
        let around = Around {
            links: &mut self.links,
            news: &mut self.news,
            config: &self.config,
            now,
        };
        (&mut self.shards, around)
    }
}

#[cfg(test)]
mod tests;
