//! Sockets, the clock and the log: the one ring that has them.
//!
//! One thread turns a loop over mio. A turn waits for events, reads the clock once, and goes
//! through its phases, each with a budget. Readiness is edge-triggered and every socket is
//! registered once, so whoever is cut short by a budget is remembered, and the next wait is zero.

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

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
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
use stream::Filled;

use crate::hub::{ClientId, Disconnect, Handler, Hub, MAX_RECEIVE, Refusal};

/// Events that one wait brings; more come with the next.
const MAX_EVENTS: usize = 1024;

/// Connections that one turn accepts, so that a flood of them leaves time for those who are there.
const MAX_ACCEPTS_PER_TURN: usize = 64;

/// Bytes that one turn reads, from all clients together.
const MAX_READ_PER_TURN: usize = 16 * 1024 * 1024;

/// How long accepting rests when descriptors or memory ran out. It resumes earlier if a client
/// leaves.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
            sockets: Vec::new(),
            hub: Hub::new(config.hub, now),
            ready: VecDeque::new(),
            dirty: Vec::new(),
            buffer: vec![0; MAX_RECEIVE].into_boxed_slice(),
            mailbox,
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
    /// one ends [`run`](Self::run) at once.
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
        self.read(now, handler);
        self.publish();
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
            self.hub.drain(now);
        }
    }

    fn outcome(&mut self) -> Option<Outcome> {
        let deadline = self.shutdown_deadline?;
        if self.hub.is_empty() {
            Some(Outcome::Drained)
        } else if self.is_interrupted {
            Some(Outcome::Interrupted)
        } else {
            (self.clock.now() >= deadline).then_some(Outcome::TimedOut)
        }
    }

    /// Waits for events, and takes note of who may be read and written again.
    fn wait(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        let timeout = self.timeout(now);
        self.clock.expect(now, timeout);
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in &self.events {
            match event.token() {
                WAKER => {}
                SIGNALS => self.signals_are_ready = true,
                Token(index) if index > LISTENERS - MAX_LISTENERS => {
                    if let Some(listener) = self.listeners.get_mut(LISTENERS - index) {
                        listener.is_ready = true;
                    }
                }
                Token(index) => {
                    let Some(Some(socket)) = self.sockets.get_mut(index) else {
                        continue;
                    };
                    socket.read_closed |= event.is_read_closed() || event.is_error();
                    if (event.is_readable() || socket.read_closed) && !socket.is_ready {
                        socket.is_ready = true;
                        self.ready.push_back(socket.id);
                    }
                    if event.is_writable() {
                        self.hub.writable(socket.id);
                    }
                }
            }
        }
        Ok(())
    }

    /// How long the next wait may take: not at all if somebody was cut short.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let may_accept = self.accept_again.is_none() && self.listeners.iter().any(|l| l.is_ready);
        if may_accept || !self.ready.is_empty() || self.hub.has_work() {
            return Some(Duration::ZERO);
        }
        [
            self.hub.next_deadline(),
            self.accept_again,
            self.shutdown_deadline,
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|deadline| deadline.saturating_duration_since(now))
    }

    /// Does what signals and handles want.
    fn obey(&mut self, now: Instant) -> io::Result<()> {
        let mut signals = 0;
        if std::mem::take(&mut self.signals_are_ready) {
            signals = self.signals.as_mut().map_or(Ok(0), Signals::take)?;
        }
        self.is_interrupted |= signals > 0 && (signals > 1 || self.shutdown_deadline.is_some());
        if signals > 0 || self.mailbox.is_stopped() {
            self.drain_at(now);
        }
        Ok(())
    }

    fn accept(&mut self, now: Instant) {
        if self.accept_again.is_some_and(|again| now < again) {
            return;
        }
        self.accept_again = None;
        for _ in 0..MAX_ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.iter_mut().find(|listener| listener.is_ready)
            else {
                return;
            };
            match listener.accept() {
                Ok((stream, peer)) => match self.hub.accept(peer, now) {
                    Ok(id) => self.adopt(id, stream),
                    Err(Refusal::Full) => self.report.full(self.hub.len(), now),
                    Err(Refusal::Draining) => {}
                },
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => listener.is_ready = false,
                    // The connection that we were about to get is gone; the next one is not.
                    ErrorKind::ConnectionAborted
                    | ErrorKind::ConnectionReset
                    | ErrorKind::Interrupted => {}
                    // EMFILE, ENFILE, ENOBUFS, ENOMEM. No event will say that there is room again,
                    // and to try again at once would be to spin.
                    _ => {
                        self.report.cannot_accept(&error, now);
                        self.accept_again = Some(now + ACCEPT_PAUSE);
                        return;
                    }
                },
            }
        }
    }

    /// Gives a new client its socket.
    fn adopt(&mut self, id: ClientId, mut stream: socket::Stream) {
        let registered = stream
            .set_nodelay()
            .and_then(|()| stream.register(self.poll.registry(), Token(id.index())));
        if registered.is_err() {
            self.hub.hang_up(id, Disconnect::Reset);
        }
        if self.sockets.len() <= id.index() {
            self.sockets.resize_with(id.index() + 1, || None);
        }
        let socket = Socket {
            id,
            stream,
            is_ready: false,
            read_closed: false,
        };
        self.sockets[id.index()] = Some(socket);
    }

    /// Reads once from each client who has something to say, until the turn has enough of it.
    fn read(&mut self, now: Instant, handler: &mut dyn Handler) {
        let mut left = MAX_READ_PER_TURN;
        for _ in 0..self.ready.len() {
            if self.hub.is_full() || left == 0 {
                return;
            }
            let Some(id) = self.ready.pop_front() else {
                return;
            };
            let Some(socket) = socket_mut(&mut self.sockets, id) else {
                continue;
            };
            socket.is_ready = false;
            let again = match stream::fill(&mut socket.stream, &mut self.buffer) {
                Ok(Filled::Bytes(count)) => {
                    left = left.saturating_sub(count);
                    let was_open = self.hub.is_open(id);
                    self.hub
                        .receive(id, &mut self.buffer[..count], now, handler);
                    if !was_open && self.hub.is_open(id) {
                        report::opened(id);
                    }
                    // A short read has emptied a stream; only its end may be left to see.
                    count == self.buffer.len() || socket.read_closed
                }
                Ok(Filled::Interrupted) => true,
                Ok(Filled::Blocked) => false,
                Ok(Filled::End) => {
                    self.hub.hang_up(id, Disconnect::Gone);
                    false
                }
                Err(_) => {
                    self.hub.hang_up(id, Disconnect::Reset);
                    false
                }
            };
            if again {
                socket.is_ready = true;
                self.ready.push_back(id);
            }
        }
    }

    /// Says what other threads have published.
    fn publish(&mut self) {
        for publication in self.mailbox.take() {
            self.hub
                .publish(&publication.room, publication.kind, &publication.payload);
        }
    }

    /// Writes to each client who is owed something.
    fn flush(&mut self, now: Instant) {
        let mut dirty = std::mem::take(&mut self.dirty);
        self.hub.take_dirty(&mut dirty, now);
        for id in dirty.drain(..) {
            let Some(outgoing) = self.hub.outgoing(id) else {
                continue;
            };
            let Some(socket) = socket_mut(&mut self.sockets, id) else {
                continue;
            };
            match stream::flush(&mut socket.stream, outgoing) {
                Ok(flushed) => {
                    // If the peer has gone meanwhile, the next read says so.
                    if self.hub.flushed(id, flushed.written, flushed.blocked, now) {
                        let _ = socket.stream.end_output();
                    }
                }
                Err(_) => self.hub.hang_up(id, Disconnect::Reset),
            }
        }
        self.dirty = dirty;
    }

    /// Closes the sockets of those who are gone.
    fn reap(&mut self, now: Instant, handler: &mut dyn Handler) {
        while let Some(departure) = self.hub.reap(handler, now) {
            self.sockets[departure.id.index()] = None;
            self.accept_again = None;
            self.report.departed(&departure, now);
        }
    }
}

/// The socket of a client, unless another client has its place by now.
fn socket_mut(sockets: &mut [Option<Socket>], id: ClientId) -> Option<&mut Socket> {
    sockets
        .get_mut(id.index())?
        .as_mut()
        .filter(|socket| socket.id == id)
}

const _: () = assert!(LISTENERS - MAX_LISTENERS > u32::MAX as usize || usize::BITS == 32);
