//! One turn of the loop, phase by phase.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use mio::Token;

use super::bridge::Bridge;
use super::listener::Listener;
use super::signals::Signals;
use super::socket::{Socket, Stream};
use super::stop::Stop;
use super::stream::{self, Filled};
use super::{
    ADMIN, LINKS, LISTENERS, MAX_EVENTS, MAX_LINKS, RELOADS, SIGNALS, Server, WAKER, report,
};
use crate::hub::{ClientId, Disconnect, Handler};
use crate::protocol::HandshakeError;

/// Waits of one turn, all but the first without waiting: enough for 65,536 sockets, and for signals
/// that interrupt some.
const MAX_WAITS_PER_TURN: usize = 64;

/// Clients of whom one turn reads what may cost a handshake of TLS. That is a millisecond where the
/// key is an RSA one, so whoever talks should not wait for many; the others' turn comes.
const MAX_HANDSHAKES_PER_TURN: usize = 2;

/// Bytes that one turn reads, from all clients together.
const MAX_READ_PER_TURN: usize = 16 * 1024 * 1024;

/// Messages that one turn takes from other threads.
const MAX_PUBLISHED_PER_TURN: usize = 256;

impl Server {
    /// Waits for events, and takes note of who may be read and written again.
    ///
    /// After a stop of the process (SIGSTOP, a machine that was frozen) deadlines have passed that
    /// nobody is to blame for, so all that has arrived must be known before they fire: the call
    /// within which the process was stopped tells of nothing (EINTR), and one call tells of no more
    /// than [`MAX_EVENTS`].
    pub(super) fn wait(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        let mut timeout = self.timeout(now);
        if let Some(took) = self.watch.wait(now, timeout) {
            self.hub.observe_turn(took);
        }
        self.clock.expect(now, timeout);
        for _ in 0..MAX_WAITS_PER_TURN {
            match self.poll.poll(&mut self.events, timeout) {
                Ok(()) => {
                    if self.note_events() < MAX_EVENTS {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            timeout = Some(Duration::ZERO);
        }
        Ok(())
    }

    /// Takes note of the events of one wait, and returns how many they were.
    fn note_events(&mut self) -> usize {
        let mut count = 0;
        for event in &self.events {
            count += 1;
            match event.token() {
                WAKER => {}
                SIGNALS => self.signals.iter_mut().for_each(Signals::note_event),
                RELOADS => self.reloads.iter_mut().for_each(Signals::note_event),
                ADMIN => {
                    if let Some(listener) = &mut self.admin {
                        listener.is_ready = true;
                    }
                }
                Token(index) if index > LINKS => {
                    if let Some(listener) = self.listeners.get_mut(LISTENERS - index) {
                        listener.is_ready = true;
                    }
                }
                Token(index) if index > LINKS - MAX_LINKS => {
                    if let Some(bridge) = &mut self.bridge {
                        bridge.note_event(LINKS - index, event);
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
                        self.hub.readable(socket.id, true);
                    }
                    if event.is_writable() {
                        self.hub.writable(socket.id);
                        let goes_on = socket.stream.resume() && !socket.stream.has_more();
                        if !goes_on && !socket.is_ready {
                            socket.is_ready = true;
                            self.ready.push_back(socket.id);
                        }
                    }
                }
            }
        }
        count
    }

    /// How long the next wait may take: not at all if somebody was cut short.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let is_ready = |listener: &Listener| listener.is_ready;
        let rests = self.pace.resumes_at().is_some();
        let may_accept = self.accept_again.is_none()
            && (self.admin.iter().any(is_ready) || (!rests && self.listeners.iter().any(is_ready)));
        let is_free = !self.held.is_empty() && !self.holds_clients();
        let is_cut_short =
            !self.ready.is_empty() || is_free || self.mailbox.is_pending() || self.hub.has_work();
        if may_accept || is_cut_short {
            return Some(Duration::ZERO);
        }
        let bridge = self.bridge.as_ref();
        [
            self.hub.next_deadline(),
            bridge.and_then(|bridge| bridge.next_turn(&self.hub, now)),
            self.accept_again,
            self.stop.as_ref().map(Stop::next_deadline),
            // Accepting waits for both, operators for the first alone.
            self.pace
                .resumes_at()
                .max(self.accept_again.filter(|_| rests)),
        ]
        .into_iter()
        .flatten()
        .min()
        .map(|deadline| deadline.saturating_duration_since(now))
    }

    /// Hears what other servers have to say, as far as they may.
    pub(super) fn hear_links(&mut self, now: Instant) {
        if let Some(bridge) = &mut self.bridge {
            bridge.receive(self.poll.registry(), &mut self.buffer, now);
        }
    }

    /// Says it here, until the turn has enough of it.
    pub(super) fn deliver(&mut self, now: Instant) {
        if let Some(bridge) = &mut self.bridge {
            bridge.deliver(&mut self.hub, now);
        }
    }

    /// Tells other servers what was said here, and hears with them what may be heard by now.
    pub(super) fn tell_links(&mut self, now: Instant) {
        if let Some(bridge) = &mut self.bridge {
            bridge.relay(&mut self.hub, now);
            bridge.deliver(&mut self.hub, now);
            bridge.act(self.poll.registry(), now);
        }
    }

    /// Reads once from each client who has something to say, until the turn has enough of it.
    pub(super) fn read(&mut self, now: Instant, handler: &mut dyn Handler) {
        let holds_clients = self.holds_clients();
        if !holds_clients {
            self.ready.append(&mut self.held);
        }
        let mut left = MAX_READ_PER_TURN;
        let mut handshakes_left = MAX_HANDSHAKES_PER_TURN;
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
            if holds_clients && !socket.is_admin {
                self.held.push_back(id);
                continue;
            }
            if socket.stream.is_handshaking() {
                if handshakes_left == 0 {
                    self.ready.push_back(id);
                    continue;
                }
                handshakes_left -= 1;
            }
            left = left.saturating_sub(self.read_from(id, now, handler));
        }
    }

    /// Whether clients are not read for now: what was said must be heard first.
    fn holds_clients(&self) -> bool {
        self.is_clogged() || self.stop.as_ref().is_some_and(Stop::is_settling)
    }

    /// Whether so much waits to be heard that nobody should say more.
    fn is_clogged(&self) -> bool {
        self.bridge.as_ref().is_some_and(Bridge::is_full)
    }

    /// Reads once from a client, and returns how many bytes that brought.
    fn read_from(&mut self, id: ClientId, now: Instant, handler: &mut dyn Handler) -> usize {
        let Some(socket) = socket_mut(&mut self.sockets, id) else {
            return 0;
        };
        socket.is_ready = false;
        if let (true, Some(bridge)) = (socket.is_admin, &self.bridge) {
            self.hub.set_supplement(bridge.supplement(now));
        }
        if socket.is_admin && !self.hub.resume(id, now, handler) {
            // It is read on when the answer has been written.
            return 0;
        }
        let landing = self.hub.landing(id);
        let has_landing = landing.is_some();
        let buffer = landing.unwrap_or(&mut self.buffer);
        let room = buffer.len();
        let (mut count, mut is_unread) = (0, true);
        let again = match stream::fill(&mut socket.stream, buffer) {
            Ok(Filled::Bytes(bytes)) => {
                count = bytes;
                if has_landing {
                    self.hub.landed(id, count, now, handler);
                } else {
                    let was_open = self.hub.is_open(id);
                    self.hub
                        .receive(id, &mut self.buffer[..count], now, handler);
                    if !was_open && self.hub.is_open(id) {
                        report::opened(&self.hub, id);
                    }
                }
                // A short read has emptied a socket; only its end may be left to see.
                count == room || socket.read_closed || socket.stream.has_more()
            }
            Ok(Filled::Interrupted) => true,
            Ok(Filled::Blocked) => {
                // What has arrived came to nothing, and is no excuse for silence.
                is_unread = false;
                self.hub.readable(id, false);
                socket.stream.has_more()
            }
            Ok(Filled::End) => {
                self.hub.hang_up(id, Disconnect::Gone);
                false
            }
            Err(error) if is_refusal(&socket.stream, &error) => {
                report::handshake_failed(&self.hub, id, &error);
                self.hub.refuse_silently(id, HandshakeError::Tls, now);
                true
            }
            Err(_) => {
                self.hub.hang_up(id, Disconnect::Reset);
                false
            }
        };
        if again {
            socket.is_ready = true;
            self.ready.push_back(id);
            self.hub.readable(id, is_unread);
        }
        count
    }

    /// Says what other threads have published, until the turn has enough of it; and stops when
    /// they want it to.
    pub(super) fn publish(&mut self, now: Instant) {
        if !self.mailbox.look() {
            return;
        }
        for _ in 0..MAX_PUBLISHED_PER_TURN {
            if self.hub.is_full() || self.is_clogged() {
                return;
            }
            let Some(publication) = self.mailbox.take() else {
                break;
            };
            if publication.payload.len() > self.config.hub.limits.max_message_size {
                // It was taken before the limit was lowered.
                self.report.too_big(publication.payload.len(), now);
                continue;
            }
            self.hub
                .publish(&publication.room, publication.kind, &publication.payload);
        }
        if self.mailbox.is_stop_due() {
            self.drain_at(now);
        }
    }

    /// Writes to each client who is owed something.
    pub(super) fn flush(&mut self, now: Instant) {
        let mut dirty = std::mem::take(&mut self.dirty);
        self.hub.take_dirty(&mut dirty, now);
        for id in dirty.drain(..) {
            let Some(outgoing) = self.hub.outgoing(id) else {
                continue;
            };
            let Some(socket) = socket_mut(&mut self.sockets, id) else {
                continue;
            };
            if let Ok(flushed) = stream::flush(&mut socket.stream, outgoing) {
                let (written, blocked) = (flushed.written, flushed.blocked);
                let ends_now = if socket.is_admin {
                    self.hub.flushed_admin(id, written, blocked, now)
                } else {
                    self.hub.flushed(id, written, blocked, now)
                };
                if ends_now {
                    // If the peer has gone meanwhile, the next read says so.
                    let _ = socket.stream.end_output();
                }
                // An operator's next request may be waiting for this answer to go.
                if socket.is_admin && !blocked && !socket.is_ready {
                    socket.is_ready = true;
                    self.ready.push_back(id);
                }
            } else {
                self.hub.output_failed(id, now);
                if !socket.is_ready {
                    socket.is_ready = true;
                    self.ready.push_back(id);
                }
            }
        }
        self.dirty = dirty;
    }

    /// Closes the sockets of those who are gone.
    pub(super) fn reap(&mut self, now: Instant, handler: &mut dyn Handler) {
        // A handler may speak when somebody leaves, and many may leave at once.
        while !self.hub.is_full() {
            let Some(departure) = self.hub.reap(handler, now) else {
                return;
            };
            if let Some(mut socket) = self.sockets[departure.id.index()].take() {
                match departure.why {
                    // It is closed in any case.
                    Disconnect::TooSlow | Disconnect::TimedOut | Disconnect::Evicted => {
                        let _ = socket.stream.abandon();
                    }
                    _ => socket.stream.hang_up(),
                }
            }
            self.accept_again = None;
            self.report.departed(&departure, now);
        }
    }
}

/// Whether this is what TLS says of a handshake, rather than the kernel of the connection.
fn is_refusal(stream: &Stream, error: &io::Error) -> bool {
    error.kind() == ErrorKind::InvalidData && stream.has_failed_handshake()
}

/// The socket of a client, unless another client has its place by now.
fn socket_mut(sockets: &mut [Option<Socket>], id: ClientId) -> Option<&mut Socket> {
    sockets
        .get_mut(id.index())?
        .as_mut()
        .filter(|socket| socket.id == id)
}
