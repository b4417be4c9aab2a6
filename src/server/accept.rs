//! Taking connections in.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use mio::Token;

use super::Server;
use super::listener::Listener;
use super::socket::{Socket, Stream};
use crate::hub::{ClientId, Disconnect, MAX_ADMIN, Refusal};

/// Connections that one turn accepts, so that a flood of them leaves time for those who are there.
const MAX_ACCEPTS_PER_TURN: usize = 64;

/// How long accepting rests when descriptors or memory ran out. It resumes earlier if a client
/// leaves.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that are accepted when listening ends: what the kernel may hold of them by default.
const MAX_LAST_ACCEPTS: usize = 4096;

impl Server {
    /// Takes in those who wait when listening ends, whatever the pace: closing the socket would
    /// reset them, though another process that shares the port could have served them.
    pub(super) fn accept_the_last(&mut self, now: Instant) {
        let mut left = MAX_LAST_ACCEPTS;
        for listener in std::mem::take(&mut self.listeners) {
            while left > 0 {
                left -= 1;
                match listener.accept() {
                    Ok((stream, peer)) => {
                        if let Ok(id) = self.hub.accept(peer, now) {
                            self.adopt(id, stream, false);
                        }
                    }
                    Err(error) => match AcceptFailure::of(&error) {
                        AcceptFailure::OneIsGone => {}
                        AcceptFailure::NobodyWaits | AcceptFailure::NoRoom => break,
                    },
                }
            }
        }
    }

    pub(super) fn accept(&mut self, now: Instant) {
        if self.accept_again.is_some_and(|again| now < again) {
            return;
        }
        self.accept_again = None;
        for _ in 0..MAX_ACCEPTS_PER_TURN {
            if !self.pace.may_accept(now) {
                return;
            }
            let Some(listener) = self.next_listener() else {
                return;
            };
            match listener.accept() {
                Ok((stream, peer)) => {
                    self.pace.accepted(now);
                    match self.hub.accept(peer, now) {
                        Ok(id) => self.adopt(id, stream, false),
                        Err(Refusal::Full) => self.report.full(self.hub.len(), now),
                        Err(Refusal::TooManyFromAddress) => self.report.crowded(peer, now),
                        Err(Refusal::Draining) => {}
                    }
                }
                Err(error) => match AcceptFailure::of(&error) {
                    AcceptFailure::NobodyWaits => listener.is_ready = false,
                    AcceptFailure::OneIsGone => {}
                    AcceptFailure::NoRoom => return self.rest(&error, now),
                },
            }
        }
    }

    /// Accepts operators; not behind clients, so that a flood of those does not keep them out.
    pub(super) fn accept_admin(&mut self, now: Instant) {
        if self.accept_again.is_some_and(|again| now < again) {
            return;
        }
        for _ in 0..MAX_ADMIN {
            let Some(listener) = self.admin.as_mut().filter(|listener| listener.is_ready) else {
                return;
            };
            match listener.accept() {
                Ok((stream, peer)) => match self.hub.accept_admin(peer, now) {
                    Ok(id) => self.adopt(id, stream, true),
                    Err(_) => self.report.admin_full(now),
                },
                Err(error) => match AcceptFailure::of(&error) {
                    AcceptFailure::NobodyWaits => listener.is_ready = false,
                    AcceptFailure::OneIsGone => {}
                    AcceptFailure::NoRoom => return self.rest(&error, now),
                },
            }
        }
    }

    /// No event will say that there is room again, and to try again at once would be to spin.
    fn rest(&mut self, error: &io::Error, now: Instant) {
        self.report.cannot_accept(error, now);
        self.accept_again = Some(now + ACCEPT_PAUSE);
    }

    /// A listener with connections waiting; each time the search begins behind the last one, so
    /// that none starves another.
    fn next_listener(&mut self) -> Option<&mut Listener> {
        let count = self.listeners.len();
        let position = (0..count)
            .map(|i| (self.first_listener + i) % count)
            .find(|position| self.listeners[*position].is_ready)?;
        self.first_listener = position + 1;
        Some(&mut self.listeners[position])
    }

    /// Gives a new client its socket.
    fn adopt(&mut self, id: ClientId, stream: Stream, is_admin: bool) {
        let secured = if is_admin {
            Ok(stream)
        } else {
            self.secure(stream)
        };
        let registered = secured.and_then(|mut stream| {
            stream.set_nodelay()?;
            stream.register(self.poll.registry(), Token(id.index()))?;
            Ok(stream)
        });
        if self.sockets.len() <= id.index() {
            self.sockets.resize_with(id.index() + 1, || None);
        }
        self.sockets[id.index()] = registered.ok().map(|stream| Socket {
            id,
            stream,
            is_ready: false,
            read_closed: false,
            is_admin,
        });
        if self.sockets[id.index()].is_none() {
            self.hub.hang_up(id, Disconnect::Reset);
        }
    }

    /// What is spoken with clients.
    #[cfg(feature = "tls")]
    fn secure(&self, stream: Stream) -> io::Result<Stream> {
        stream.secure(self.config.tls.as_ref())
    }

    /// What is spoken with clients: nothing but what they say.
    #[cfg(not(feature = "tls"))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "there is something to it with the feature"
    )]
    fn secure(&self, stream: Stream) -> io::Result<Stream> {
        Ok(stream)
    }
}

/// What it means that no connection could be accepted.
enum AcceptFailure {
    NobodyWaits,
    /// The connection that we were about to get is gone; the next one is not.
    OneIsGone,
    /// EMFILE, ENFILE, ENOBUFS, ENOMEM.
    NoRoom,
}

impl AcceptFailure {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock => Self::NobodyWaits,
            ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::Interrupted => Self::OneIsGone,
            _ => Self::NoRoom,
        }
    }
}
