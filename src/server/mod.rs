//! Sockets, the clock and the log: the one ring that has them.
//!
//! One thread turns a loop over mio. A turn waits for events, reads the clock once, and goes
//! through its phases, each with a budget. Readiness is edge-triggered and every socket is
//! registered once, so whoever is cut short by a budget is remembered, and the next wait is zero.
//!
//! The logger that a program installs is called by the loop, so it must not wait for whoever reads
//! the log. The binary's has a queue and a thread of its own.

mod clock;
mod config;
mod descriptors;
mod handle;
mod listener;
mod report;
mod signals;
mod socket;
mod stream;
mod throttle;
mod turn;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use clock::Clock;
pub use config::{InvalidListenAddress, ListenAddress, ServerConfig};
pub use descriptors::{max_connections_for, raise_descriptor_limit};
use handle::Mailbox;
pub use handle::{PublishError, ServerHandle};
pub use listener::BindError;
use listener::Listener;
use report::Report;
use signals::Signals;
use socket::Socket;

use crate::hub::{ClientId, Handler, Hub, MAX_RECEIVE};

/// Events that one wait brings; more come with the next.
const MAX_EVENTS: usize = 1024;

const WAKER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);
/// The first listener's token; the others lie below it, and clients' from 0 on.
const LISTENERS: usize = usize::MAX - 2;
/// Listeners that there may be.
const MAX_LISTENERS: usize = 1024;

/// How [`Server::run`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All clients were told, and have gone.
    Drained,
    /// Some had not gone after `shutdown_timeout`.
    TimedOut,
    /// A second signal came while some had not gone.
    Interrupted,
}

/// A WebSocket server: a [`Hub`], its sockets, and the loop that joins them.
#[derive(Debug)]
pub struct Server {
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    /// Where the search for one with connections waiting begins.
    first_listener: usize,
    /// At the clients' indices.
    sockets: Vec<Option<Socket>>,
    hub: Hub,
    /// Clients who may have something to read, in the order in which they are read.
    ready: VecDeque<ClientId>,
    /// Clients to flush, while they are flushed.
    dirty: Vec<ClientId>,
    /// What every client is read into: an idle one owns no buffer.
    buffer: Box<[u8]>,
    mailbox: Mailbox,
    /// Whether what other threads say is said before clients are read.
    mail_goes_first: bool,
    signals: Option<Signals>,
    signals_are_ready: bool,
    clock: Clock,
    report: Report,
    /// When accepting resumes after descriptors ran out.
    accept_again: Option<Instant>,
    shutdown_timeout: Duration,
    /// Set while draining: when [`run`](Self::run) ends at the latest.
    shutdown_deadline: Option<Instant>,
    is_interrupted: bool,
}

impl Server {
    /// Listens at all addresses of `config`.
    ///
    /// # Errors
    /// If the settings contradict each other, or an address cannot be listened at.
    pub fn bind(config: ServerConfig) -> Result<Self, BindError> {
        config.check().map_err(BindError::Config)?;
        let poll = Poll::new().map_err(BindError::Loop)?;
        let mailbox = Mailbox::new(poll.registry(), WAKER).map_err(BindError::Loop)?;
        let mut listeners = Vec::new();
        for address in &config.listen {
            for mut listener in Listener::open(address)? {
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
        let mut clock = Clock::new();
        let now = clock.now();
        Ok(Self {
            poll,
            events: Events::with_capacity(MAX_EVENTS),
            listeners,
            first_listener: 0,
            sockets: Vec::new(),
            hub: Hub::new(config.hub, now),
            ready: VecDeque::new(),
            dirty: Vec::new(),
            buffer: vec![0; MAX_RECEIVE].into_boxed_slice(),
            mailbox,
            mail_goes_first: false,
            signals: None,
            signals_are_ready: false,
            clock,
            report: Report::default(),
            accept_again: None,
            shutdown_timeout: config.shutdown_timeout,
            shutdown_deadline: None,
            is_interrupted: false,
        })
    }

    /// The addresses that were really bound, with the port that the kernel chose for port 0.
    pub fn local_addresses(&self) -> Vec<ListenAddress> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.local_address().ok())
            .collect()
    }

    /// Publishes to this server, or stops it, from another thread.
    pub fn handle(&self) -> ServerHandle {
        self.mailbox
            .handle(self.hub.config().limits.max_message_size)
    }

    /// The clients and rooms.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// From now on SIGTERM and SIGINT drain this server instead of ending the process; a second
    /// one ends [`run`](Self::run) at once. They are caught for good: once the server is gone they
    /// do nothing.
    pub fn stop_on_signals(&mut self) -> io::Result<()> {
        self.signals = Some(Signals::new(self.poll.registry(), SIGNALS)?);
        Ok(())
    }

    /// Turns the loop until the server has been drained: by a signal, by a handle, or by
    /// [`drain`](Self::drain).
    ///
    /// # Errors
    /// If the kernel's event queue fails; nothing that a client does is an error.
    pub fn run(&mut self, handler: &mut dyn Handler) -> io::Result<Outcome> {
        for address in self.local_addresses() {
            report::listening(&address);
        }
        loop {
            self.turn(handler)?;
            if let Some(outcome) = self.outcome() {
                report::stopped(&self.hub, outcome);
                return Ok(outcome);
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
        self.obey(now)?;
        self.accept(now);
        // Whoever comes second may find that enough has been said in this turn, so they take turns.
        self.mail_goes_first = !self.mail_goes_first;
        if self.mail_goes_first {
            self.publish(now);
            self.read(now, handler);
        } else {
            self.read(now, handler);
            self.publish(now);
        }
        self.hub.advance(now);
        self.flush(now);
        self.reap(now, handler);
        Ok(())
    }

    /// Stops listening and ends all connections: Close 1001 behind what is queued, then
    /// `shutdown_timeout` for everybody to go.
    pub fn drain(&mut self) {
        let now = self.clock.now();
        self.drain_at(now);
    }

    fn drain_at(&mut self, now: Instant) {
        if self.shutdown_deadline.is_none() {
            report::draining(&self.hub);
            self.listeners.clear();
            self.shutdown_deadline = Some(now + self.shutdown_timeout);
            self.hub.drain(now, Duration::ZERO);
        }
    }

    /// How the server ended; `None` while it runs, or drains. For those who call
    /// [`turn`](Self::turn) themselves: there is nothing left to turn then.
    pub fn outcome(&mut self) -> Option<Outcome> {
        let deadline = self.shutdown_deadline?;
        if self.hub.is_empty() {
            Some(Outcome::Drained)
        } else if self.is_interrupted {
            Some(Outcome::Interrupted)
        } else {
            (self.clock.now() >= deadline).then_some(Outcome::TimedOut)
        }
    }
}

const _: () = assert!(LISTENERS - MAX_LISTENERS > u32::MAX as usize || usize::BITS == 32);
