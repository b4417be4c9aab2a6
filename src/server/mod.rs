//! Sockets, the clock and the log: the one ring that has them.
//!
//! One thread turns a loop over mio. A turn waits for events, reads the clock once, and goes
//! through its phases, each with a budget. Readiness is edge-triggered and every socket is
//! registered once, so whoever is cut short by a budget is remembered, and the next wait is zero.
//!
//! The logger that a program installs is called by the loop, so it must not wait for whoever reads
//! the log. The binary's has a queue and a thread of its own.

mod accept;
#[cfg_attr(not(feature = "redis"), path = "without_redis.rs")]
mod bridge;
mod clock;
mod config;
mod descriptors;
mod handle;
mod listener;
mod notify;
mod pace;
mod reconfigure;
mod report;
mod signals;
mod socket;
mod socket_file;
mod stop;
mod stream;
mod throttle;
#[cfg(feature = "tls")]
mod tls;
mod turn;
mod watch;

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use mio::{Events, Poll, Token};

use bridge::Bridge;
use clock::Clock;
pub use config::{InvalidListenAddress, ListenAddress, ServerConfig};
pub use descriptors::{max_connections_for, raise_descriptor_limit};
use handle::Mailbox;
pub use handle::{PublishError, ServerHandle};
pub use listener::BindError;
use listener::Listener;
use notify::Supervisor;
use pace::Pace;
use report::Report;
use signals::Signals;
use socket::Socket;
pub use stop::Outcome;
use stop::Stop;
#[cfg(all(feature = "redis", feature = "tls"))]
pub use tls::TlsClientConfig;
#[cfg(feature = "tls")]
pub use tls::{TlsConfig, TlsError};
use watch::Watch;

use crate::hub::{ClientId, Handler, Hub, MAX_RECEIVE};

/// Events that one wait brings; more come with the next.
const MAX_EVENTS: usize = 1024;

const WAKER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);
const RELOADS: Token = Token(usize::MAX - 2);
/// The token of the listener for operators.
const ADMIN: Token = Token(usize::MAX - 3);
/// The first listener's token; the others lie below it, and clients' from 0 on.
const LISTENERS: usize = usize::MAX - 4;
/// Listeners that there may be.
const MAX_LISTENERS: usize = 1024;
/// The first token of the connections to Redis; the others lie below it.
const LINKS: usize = LISTENERS - MAX_LISTENERS;
/// Such connections that there may be.
const MAX_LINKS: usize = 256;

/// What a client takes beside what the hub has of it: a place in a table that grows.
const SOCKET_BYTES: usize = 2 * size_of::<Option<Socket>>();

/// What the loop holds itself: what it reads into, and events, in the kernel's size and more.
const LOOP_BYTES: usize = MAX_RECEIVE + 32 * MAX_EVENTS;

/// A WebSocket server: a [`Hub`], its sockets, and the loop that joins them.
#[derive(Debug)]
pub struct Server {
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    /// The one for operators. It stays while the server drains.
    admin: Option<Listener>,
    /// Where the search for one with connections waiting begins.
    first_listener: usize,
    /// At the clients' indices.
    sockets: Vec<Option<Socket>>,
    hub: Hub,
    /// What joins it to other servers.
    bridge: Option<Bridge>,
    /// Clients who may have something to read, in the order in which they are read.
    ready: VecDeque<ClientId>,
    /// Those of them who are not read for now.
    held: VecDeque<ClientId>,
    /// Clients to flush, while they are flushed.
    dirty: Vec<ClientId>,
    /// What every client is read into: an idle one owns no buffer.
    buffer: Box<[u8]>,
    mailbox: Mailbox,
    /// Who speaks first in this turn.
    first: Speaker,
    signals: Option<Signals>,
    /// SIGHUP, where somebody asked for it.
    reloads: Option<Signals>,
    /// Whether SIGHUP has come and nobody has taken note of it yet.
    wants_reload: bool,
    supervisor: Option<Supervisor>,
    clock: Clock,
    watch: Watch,
    report: Report,
    /// When accepting resumes after descriptors ran out.
    accept_again: Option<Instant>,
    /// What holds now; the hub's part is the hub's as well.
    config: ServerConfig,
    /// Whether [`run`](Self::run) has told where it listens.
    is_announced: bool,
    /// Set while the server comes to its end.
    stop: Option<Stop>,
    pace: Pace,
}

/// Who says something to rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    /// Other threads.
    Mail,
    Clients,
    /// Other servers.
    Links,
}

impl Speaker {
    /// Who is first after this one.
    fn next(self, has_links: bool) -> Self {
        match self {
            Self::Mail => Self::Clients,
            Self::Clients if has_links => Self::Links,
            Self::Clients | Self::Links => Self::Mail,
        }
    }
}

impl Server {
    /// Listens at all addresses of `config`.
    ///
    /// # Errors
    /// If the settings contradict each other, or an address cannot be listened at.
    pub fn bind(config: ServerConfig) -> Result<Self, BindError> {
        config.check().map_err(BindError::Config)?;
        let poll = Poll::new().map_err(BindError::Loop)?;
        let mailbox = Mailbox::new(poll.registry(), WAKER, config.hub.limits.max_message_size)
            .map_err(BindError::Loop)?;
        let mut listeners = Vec::new();
        for address in &config.listen {
            for mut listener in Listener::open(address, &config)? {
                let error = |error| BindError::Listen {
                    address: address.clone(),
                    error,
                };
                if listeners.len() == MAX_LISTENERS {
                    return Err(error(io::Error::other("too many addresses")));
                }
                let token = Token(LISTENERS - listeners.len());
                listener.register(poll.registry(), token).map_err(error)?;
                listeners.push(listener);
            }
        }
        let admin = match &config.admin {
            Some(address) => Some(Listener::open_admin(
                address,
                &config,
                poll.registry(),
                ADMIN,
            )?),
            None => None,
        };
        let mut clock = Clock::new();
        let now = clock.now();
        let mut hub = Hub::new(config.hub.clone(), now);
        let bridge = Self::bridge(&config, &mailbox, now);
        hub.set_relaying(bridge.is_some());
        Ok(Self {
            poll,
            events: Events::with_capacity(MAX_EVENTS),
            listeners,
            admin,
            first_listener: 0,
            sockets: Vec::new(),
            hub,
            bridge,
            ready: VecDeque::new(),
            held: VecDeque::new(),
            dirty: Vec::new(),
            buffer: vec![0; MAX_RECEIVE].into_boxed_slice(),
            mailbox,
            first: Speaker::Clients,
            signals: None,
            reloads: None,
            wants_reload: false,
            supervisor: None,
            clock,
            watch: Watch::new(config.admin.is_some()),
            report: Report::default(),
            accept_again: None,
            pace: Pace::new(config.accept_rate, now),
            config,
            is_announced: false,
            stop: None,
        })
    }

    /// The addresses that were really bound, with the port that the kernel chose for port 0.
    pub fn local_addresses(&self) -> Vec<ListenAddress> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.local_address().ok())
            .collect()
    }

    /// The operators' address that was really bound, if there is one.
    pub fn admin_address(&self) -> Option<ListenAddress> {
        self.admin.as_ref()?.local_address().ok()
    }

    /// Publishes to this server, or stops it, from another thread.
    pub fn handle(&self) -> ServerHandle {
        self.mailbox.handle()
    }

    #[cfg(feature = "redis")]
    fn bridge(config: &ServerConfig, mailbox: &Mailbox, now: Instant) -> Option<Bridge> {
        Bridge::new(config, mailbox.waker(), now)
    }

    #[cfg(not(feature = "redis"))]
    fn bridge(_: &ServerConfig, _: &Mailbox, _: Instant) -> Option<Bridge> {
        None
    }

    /// What joins this server to others, if it is.
    #[cfg(feature = "redis")]
    pub fn backplane(&self) -> Option<&crate::backplane::Backplane> {
        self.bridge.as_ref().map(Bridge::backplane)
    }

    /// The clients and rooms.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    #[cfg_attr(
        not(feature = "tls"),
        expect(clippy::unused_self, reason = "there is none without the feature")
    )]
    fn speaks_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        let speaks_tls = self.config.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let speaks_tls = false;
        speaks_tls
    }

    /// From now on connections that are accepted get this certificate and key; those that are there
    /// keep what they have. A server that was bound without TLS speaks it from now on.
    #[cfg(feature = "tls")]
    pub fn set_tls(&mut self, tls: TlsConfig) {
        self.config.tls = Some(tls);
    }

    /// Turns the loop until the server has been drained: by a signal, by a handle, or by
    /// [`drain`](Self::drain).
    ///
    /// # Errors
    /// If the kernel's event queue fails; nothing that a client does is an error.
    pub fn run(&mut self, handler: &mut dyn Handler) -> io::Result<Outcome> {
        loop {
            if let Some(outcome) = self.run_until_reload(handler)? {
                return Ok(outcome);
            }
        }
    }

    /// The same, but it returns with `None` as well when SIGHUP has come, for whoever asked for
    /// that by [`reload_on_signal`](Self::reload_on_signal): [`reconfigure`](Self::reconfigure),
    /// and call it again.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_until_reload(&mut self, handler: &mut dyn Handler) -> io::Result<Option<Outcome>> {
        if !std::mem::replace(&mut self.is_announced, true) {
            for address in self.local_addresses() {
                report::listening(&address, self.speaks_tls());
            }
            if let Some(address) = self.admin_address() {
                report::admin(&address);
            }
        }
        loop {
            self.turn(handler)?;
            if let Some(outcome) = self.outcome() {
                self.bridge.iter().for_each(Bridge::report_end);
                report::stopped(&self.hub, outcome);
                return Ok(Some(outcome));
            }
            if self.take_reload() {
                return Ok(None);
            }
        }
    }

    /// Turns the loop once: waits until there is something to do, and does it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn turn(&mut self, handler: &mut dyn Handler) -> io::Result<()> {
        self.wait()?;
        let now = self.clock.now();
        if let Some(late) = self.watch.begin(now, self.clock.late()) {
            self.hub.observe_lag(late);
        }
        self.hub.stood_still(self.clock.stood_still());
        self.obey(now)?;
        self.accept(now);
        self.accept_admin(now);
        self.hear_links(now);
        // Whoever comes last may find that enough has been said in this turn, so they take turns.
        self.first = self.first.next(self.bridge.is_some());
        match self.first {
            Speaker::Mail => {
                self.publish(now);
                self.read(now, handler);
            }
            Speaker::Clients => {
                self.read(now, handler);
                self.publish(now);
            }
            Speaker::Links => {
                self.deliver(now);
                self.read(now, handler);
                self.publish(now);
            }
        }
        self.tell_links(now);
        self.report.untrusted(&self.hub);
        self.hub.advance(now);
        self.flush(now);
        self.reap(now, handler);
        Ok(())
    }
}

const _: () = assert!(LINKS - MAX_LINKS > u32::MAX as usize || usize::BITS == 32);
#[cfg(feature = "redis")]
const _: () = assert!(MAX_LINKS == crate::backplane::MAX_LINKS);
