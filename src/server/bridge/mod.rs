//! What joins the hub to the backplane: sockets, names, TLS, and who speaks when.
//!
//! A turn of the loop reads the links before it judges deadlines, hands the backplane what was said
//! here, and says what it gives back. Redis and clients share what one turn says; see `turn`.

mod dose;
mod link;
mod memory;
mod resolver;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::time::Instant;

use log::{info, warn};
use mio::Registry;
use mio::event::Event;

use super::config::ServerConfig;
use super::handle::LoopWaker;
use super::socket::Stream;
use super::throttle::Throttle;
use crate::backplane::{
    Action, Backplane, BackplaneConfig, Endpoint, Health, LinkFailure, LinkId, MAX_LINKS,
};
use crate::hub::{ClientId, Hub, Supplement};
use dose::{Dose, Lag};
use link::{Link, Step};
pub(super) use memory::worst_case_memory;
use resolver::Resolver;

/// Bytes that one turn reads from all links together, and from one of them; the rest follows in the
/// next, so that nobody waits for long.
const MAX_READ_PER_TURN: usize = 1024 * 1024;
const MAX_READ_PER_LINK: usize = 256 * 1024;

/// Bytes that one turn writes to a link.
const MAX_WRITE_PER_TURN: usize = 1024 * 1024;

/// Connections that one turn opens and closes: all of them, at worst.
const MAX_ACTIONS_PER_TURN: usize = 2 * MAX_LINKS;

/// Lines that one turn writes to the log.
const MAX_EVENTS_PER_TURN: usize = 64;

/// The backplane and its sockets.
#[derive(Debug)]
pub(super) struct Bridge {
    backplane: Backplane,
    /// At the links' indices.
    links: Vec<Option<Link>>,
    /// Where reading begins, so that no link starves another.
    first_link: usize,
    security: Security,
    resolver: Resolver,
    dose: Dose,
    too_big: Throttle,
}

/// What is spoken with Redis below its own protocol.
#[derive(Debug)]
struct Security {
    #[cfg(feature = "tls")]
    tls: Option<super::TlsClientConfig>,
}

impl Security {
    #[cfg(feature = "tls")]
    fn new(config: &ServerConfig, is_wanted: bool) -> Self {
        let tls = config.backplane_tls.clone();
        Self {
            tls: tls.filter(|_| is_wanted),
        }
    }

    #[cfg(not(feature = "tls"))]
    fn new(_: &ServerConfig, _: bool) -> Self {
        Self {}
    }

    /// Has TLS spoken over a connection, if it is TCP.
    #[cfg(feature = "tls")]
    fn apply(&self, socket: Stream, host: &str) -> io::Result<Stream> {
        match (socket, &self.tls) {
            (Stream::Tcp(socket), Some(tls)) => {
                Ok(Stream::Tls(Box::new(tls.connect(socket, host)?)))
            }
            (socket, _) => Ok(socket),
        }
    }

    #[cfg(not(feature = "tls"))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "there is something to it with the feature"
    )]
    fn apply(&self, socket: Stream, _: &str) -> io::Result<Stream> {
        Ok(socket)
    }
}

impl Bridge {
    /// The bridge that the settings ask for, if they ask for one.
    pub(super) fn new(config: &ServerConfig, waker: LoopWaker, now: Instant) -> Option<Self> {
        let settings = config.backplane()?;
        let security = Security::new(config, settings.tls);
        // 0 names nobody.
        let origin = random().max(1);
        Some(Self {
            backplane: Backplane::new(settings, origin, random(), now),
            links: Vec::new(),
            first_link: 0,
            security,
            resolver: Resolver::new(waker),
            dose: Dose::new(now),
            too_big: Throttle::default(),
        })
    }

    pub(super) fn backplane(&self) -> &Backplane {
        &self.backplane
    }

    /// Takes note of what the kernel says of the link at an index.
    pub(super) fn note_event(&mut self, index: usize, event: &Event) {
        if let Some(Some(link)) = self.links.get_mut(index) {
            link.note_event(event);
        }
    }

    /// Connects on, and reads what the links have to say, each its share of it.
    pub(super) fn receive(&mut self, registry: &Registry, buffer: &mut [u8], now: Instant) {
        let mut left = MAX_READ_PER_TURN;
        let count = self.links.len();
        for i in 0..count {
            let index = (self.first_link + i) % count;
            let Some(link) = &mut self.links[index] else {
                continue;
            };
            let id = link.id;
            let connected = link.connect_on(&self.security, buffer, registry, now);
            let read = connected.and_then(|step| {
                if step == Step::Connected {
                    self.backplane.connected(id, now);
                }
                let share = left.min(MAX_READ_PER_LINK);
                let share_left = read_from(link, &mut self.backplane, buffer, share, now)?;
                left -= share - share_left;
                self.backplane
                    .readable(id, link.is_open() && link.is_ready(), now);
                Ok(())
            });
            if let Err(why) = read {
                self.lose(id, why, now);
            }
        }
        self.first_link = self.first_link.wrapping_add(1);
    }

    /// A link is no more.
    fn lose(&mut self, id: LinkId, why: LinkFailure, now: Instant) {
        self.close(id);
        self.backplane.disconnected(id, why, now);
    }

    fn close(&mut self, id: LinkId) {
        if let Some(place) = self.links.get_mut(id.index()) {
            if let Some(mut link) = place.take_if(|link| link.id == id) {
                link.hang_up();
            }
        }
    }

    /// Tells the backplane what was said here.
    pub(super) fn relay(&mut self, hub: &mut Hub, now: Instant) {
        while let Some(said) = hub.take_relayed() {
            let exempt = said.except.map(ClientId::to_bits);
            let backplane = &mut self.backplane;
            backplane.publish(said.room, said.kind, said.payload, exempt, now);
        }
        self.backplane.advance(now);
    }

    /// Says what the backplane gives back, until it is enough.
    pub(super) fn deliver(&mut self, hub: &mut Hub, now: Instant) {
        let lag = self.lag(hub, now);
        self.dose.renew(hub.config().max_client_buffer, lag, now);
        self.say(hub, now);
        self.dose.note(self.backplane.has_deliveries(), now);
    }

    /// Whether somebody in any room has to be waited for: not while others cannot even speak.
    fn lag(&self, hub: &Hub, now: Instant) -> Lag {
        if hub.is_congested(now) && !self.is_full() {
            Lag::Somebody
        } else {
            Lag::Nobody
        }
    }

    /// Until when the room that is told something next has to be waited for.
    fn room_held_until(&self, hub: &Hub, now: Instant) -> Option<Instant> {
        let room = self.backplane.peek_delivery()?.room();
        hub.held_until(room, dose::size(hub.config().max_client_buffer), now)
    }

    /// Says as much of it as the dose allows, and as the rooms' members take.
    fn say(&mut self, hub: &mut Hub, now: Instant) {
        while !self.dose.is_spent() && !hub.is_full() {
            if self.room_held_until(hub, now).is_some() {
                return;
            }
            let Some(delivery) = self.backplane.next_delivery() else {
                return;
            };
            let (room, payload) = (delivery.room(), delivery.payload());
            if payload.len() > hub.config().limits.max_message_size {
                // The limit was lowered. Nobody could be blamed for being too slow for it.
                if let Some(suppressed) = self.too_big.admit(now) {
                    warn!(
                        "message of another server dropped, max_message_size: {} \
                         suppressed={suppressed}",
                        payload.len()
                    );
                }
                continue;
            }
            let except = delivery.exempt().map(ClientId::from_bits);
            let heard = hub.deliver(room, except, delivery.kind(), payload);
            if heard > 0 {
                self.dose.spend(payload.len());
            }
        }
    }

    /// Opens and closes connections, writes to those that stand, and to the log.
    pub(super) fn act(&mut self, registry: &Registry, now: Instant) {
        while let Some(answer) = self.resolver.next_answer() {
            for index in 0..self.links.len() {
                let Some(link) = &mut self.links[index] else {
                    continue;
                };
                let id = link.id;
                if let Err(why) = link.resolved(&answer, registry, now) {
                    self.lose(id, why, now);
                }
            }
        }
        for _ in 0..MAX_ACTIONS_PER_TURN {
            match self.backplane.next_action() {
                Some(Action::Connect { link, to }) => self.connect(link, to, registry, now),
                Some(Action::Disconnect(link)) => self.close(link),
                None => break,
            }
        }
        for link in self.links.iter_mut().flatten() {
            link.resolve(&mut self.resolver);
            write_to(link, &mut self.backplane, now);
        }
        for _ in 0..MAX_EVENTS_PER_TURN {
            match self.backplane.next_event() {
                Some(event) if event.is_warning() => warn!("{event}"),
                Some(event) => info!("{event}"),
                None => break,
            }
        }
    }

    fn connect(&mut self, id: LinkId, to: Endpoint, registry: &Registry, now: Instant) {
        let patience = self.backplane.config().op_timeout;
        match Link::new(id, to, patience, registry, now) {
            Ok(link) => {
                if self.links.len() <= id.index() {
                    self.links.resize_with(id.index() + 1, || None);
                }
                self.links[id.index()] = Some(link);
            }
            Err(why) => self.backplane.disconnected(id, why, now),
        }
    }

    /// When the loop should turn again at the latest, whatever happens; now if something is left to
    /// do that waits for no event.
    pub(super) fn next_turn(&self, hub: &Hub, now: Instant) -> Option<Instant> {
        let mut next = self.backplane.next_deadline();
        let mut at = |when: Instant| next = Some(next.map_or(when, |next| next.min(when)));
        for link in self.links.iter().flatten() {
            if let Some(deadline) = link.deadline() {
                at(deadline);
            }
            let may_read = !link.is_open() || self.backplane.wants_input(link.id);
            let may_write = link.is_writable() && !self.backplane.output(link.id).is_empty();
            if link.is_ready() && may_read || may_write {
                at(now);
            }
        }
        if self.backplane.has_deliveries() {
            let held = self.dose.held_until(self.lag(hub, now), now);
            let held = held.filter(|_| self.dose.is_spent());
            at(held.max(self.room_held_until(hub, now)).unwrap_or(now));
        }
        next
    }

    /// Whether as much waits to be heard here as may: nobody should say more.
    pub(super) fn is_full(&self) -> bool {
        self.backplane.is_full()
    }

    /// Whether nothing is on its way: not from here to Redis, and not to the clients here.
    pub(super) fn is_flushed(&self) -> bool {
        let is_heard = !self.backplane.has_unheard() && !self.backplane.has_deliveries();
        self.backplane.is_flushed() && is_heard
    }

    /// Tells the log what is lost with this server, if something is.
    pub(super) fn report_end(&self) {
        let count = self.backplane.unacknowledged();
        if count > 0 {
            warn!("redis has not acknowledged what was said last: messages={count}");
        }
    }

    /// What operators are told of the backplane.
    pub(super) fn supplement(&self, now: Instant) -> Supplement {
        let health = self.backplane.health();
        let since = self.backplane.health_since();
        let seconds = since.map_or(0, |since| now.saturating_duration_since(since).as_secs());
        let (state, reason) = match health {
            Health::Up => ("up", None),
            Health::Degraded => ("degraded", Some("backplane degraded")),
            Health::Down => ("down", Some("backplane down")),
        };
        let mut supplement = Supplement {
            health: format!("redis={state} seconds={seconds}\n"),
            unready: reason.filter(|_| health == Health::Down),
            strictly_unready: reason,
            is_clogged: self.is_full(),
            ..Supplement::default()
        };
        self.backplane.write_metrics(&mut supplement.metrics, now);
        supplement
    }
}

/// Reads a link until it is empty, or has had its share, of which the rest is returned.
fn read_from(
    link: &mut Link,
    backplane: &mut Backplane,
    buffer: &mut [u8],
    mut share: usize,
    now: Instant,
) -> Result<usize, LinkFailure> {
    while link.is_open() && link.is_ready() && share > 0 && backplane.wants_input(link.id) {
        let room = buffer.len().min(share);
        match link.read(&mut buffer[..room])? {
            Step::Read(count) => {
                share -= count;
                backplane.receive(link.id, &buffer[..count], now);
            }
            Step::None | Step::Connected => break,
        }
    }
    Ok(share)
}

/// Writes what a link is owed, until the socket takes no more or it has had its share.
fn write_to(link: &mut Link, backplane: &mut Backplane, now: Instant) {
    let mut share = MAX_WRITE_PER_TURN;
    while link.is_writable() && share > 0 {
        let output = backplane.output(link.id);
        if output.is_empty() {
            return;
        }
        let count = link.write(&output[..output.len().min(share)]);
        if count == 0 {
            return;
        }
        share -= count;
        backplane.written(link.id, count, now);
    }
}

/// A number that nobody can foretell: std seeds its maps with such, and gives them away so.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
