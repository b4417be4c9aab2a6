//! One connection to Redis, as the kernel sees it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Registry, Token};
use socket2::{SockRef, TcpKeepalive};

use super::Security;
use super::resolver::{self, Answer, Name, Resolver};
use crate::backplane::{Endpoint, LinkFailure, LinkId};
use crate::server::LINKS;
use crate::server::socket::Stream;
use crate::server::stream::{self, Filled};

/// Silence after which the kernel asks whether the peer is there. The backplane asks much earlier;
/// this is for links that it does not read.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long what was written may be on its way before the kernel gives the connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// Signals that may interrupt one write before it is left for the next turn.
const MAX_INTERRUPTIONS: usize = 8;

/// A connection to Redis, or an attempt at one.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    stage: Stage,
    /// Absent while a name is looked up.
    socket: Option<Stream>,
    /// Whom the peer must be able to show that it is, where TLS is spoken.
    host: String,
    /// How long each step may take.
    patience: Duration,
    /// When this one must be done.
    until: Instant,
    /// Whether an event has come that nobody has acted on yet; once the link is open, whether there
    /// may be something to read.
    is_ready: bool,
    /// Whether the peer has ended its side, so that a short read is not the last one.
    read_closed: bool,
    /// Whether the socket takes no more at the moment.
    is_blocked: bool,
}

/// How far it has come.
#[derive(Debug)]
enum Stage {
    /// The addresses of a name are looked up.
    Resolving(Name),
    /// The kernel connects. If it cannot, these addresses are left.
    Connecting(VecDeque<SocketAddr>),
    /// The handshake of TLS is under way.
    Securing,
    Open,
}

/// What a step has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, or not yet.
    None,
    /// The connection stands, TLS included.
    Connected,
    /// So many bytes.
    Read(usize),
}

impl Link {
    /// Begins to connect.
    pub(super) fn new(
        id: LinkId,
        to: Endpoint,
        patience: Duration,
        registry: &Registry,
        now: Instant,
    ) -> Result<Self, LinkFailure> {
        let mut link = Self {
            id,
            stage: Stage::Connecting(VecDeque::new()),
            socket: None,
            host: String::new(),
            patience,
            until: now + patience,
            is_ready: false,
            read_closed: false,
            is_blocked: false,
        };
        match to {
            Endpoint::Unix(path) => {
                let socket = mio::net::UnixStream::connect(path).map(Stream::Unix);
                let begun = link.wait_for(socket, registry);
                begun.map_err(|_| LinkFailure::Connect)?;
            }
            Endpoint::Tcp(host, port) => {
                link.host.clone_from(&host);
                match resolver::literal(&host, port) {
                    Some(address) => link.try_addresses([address].into(), registry, now)?,
                    None => link.stage = Stage::Resolving((host, port)),
                }
            }
        }
        Ok(link)
    }

    /// Has the name looked up that it waits for, if it waits for one.
    pub(super) fn resolve(&self, resolver: &mut Resolver) {
        if let Stage::Resolving(name) = &self.stage {
            resolver.ask(name);
        }
    }

    /// A name has these addresses.
    ///
    /// # Errors
    /// None of them can be connected to: the link is no more.
    pub(super) fn resolved(
        &mut self,
        answer: &Answer,
        registry: &Registry,
        now: Instant,
    ) -> Result<(), LinkFailure> {
        if !matches!(&self.stage, Stage::Resolving(name) if *name == answer.name) {
            return Ok(());
        }
        if answer.addresses.is_empty() {
            return Err(LinkFailure::Resolve);
        }
        self.try_addresses(answer.addresses.iter().copied().collect(), registry, now)
    }

    /// Begins to connect to the first of the addresses that does not fail at once.
    fn try_addresses(
        &mut self,
        mut addresses: VecDeque<SocketAddr>,
        registry: &Registry,
        now: Instant,
    ) -> Result<(), LinkFailure> {
        while let Some(address) = addresses.pop_front() {
            if self.wait_for(connect(address), registry).is_ok() {
                self.stage = Stage::Connecting(addresses);
                self.until = now + self.patience;
                return Ok(());
            }
        }
        Err(LinkFailure::Connect)
    }

    fn wait_for(&mut self, socket: io::Result<Stream>, registry: &Registry) -> io::Result<()> {
        let mut socket = socket?;
        socket.register(registry, Token(LINKS - self.id.index()))?;
        self.socket = Some(socket);
        (self.is_ready, self.read_closed) = (false, false);
        Ok(())
    }

    /// Takes note of what the kernel says.
    pub(super) fn note_event(&mut self, event: &Event) {
        self.read_closed |= event.is_read_closed() || event.is_error();
        let (Stage::Open, Some(socket)) = (&self.stage, &mut self.socket) else {
            self.is_ready = true;
            return;
        };
        self.is_ready |= event.is_readable() || self.read_closed;
        if event.is_writable() {
            self.is_blocked = false;
            // What TLS has encrypted goes on to be written; if that fails, a read says so.
            self.is_ready |= !socket.resume() || socket.has_more();
        }
    }

    /// When the step that is under way must be done; `None` once the link is open.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Resolving(_) | Stage::Connecting(_) | Stage::Securing => Some(self.until),
            Stage::Open => None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Whether there is something to do that no event will tell of again.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Whether it is open and takes bytes.
    pub(super) fn is_writable(&self) -> bool {
        self.is_open() && !self.is_blocked
    }

    /// Goes on with the attempt to connect.
    ///
    /// # Errors
    /// It has failed: the link is no more.
    pub(super) fn connect_on(
        &mut self,
        security: &Security,
        buffer: &mut [u8],
        registry: &Registry,
        now: Instant,
    ) -> Result<Step, LinkFailure> {
        let is_late = now >= self.until;
        match &mut self.stage {
            Stage::Resolving(_) if is_late => Err(LinkFailure::Resolve),
            Stage::Connecting(left) => {
                let is_connected = match &self.socket {
                    Some(socket) if self.is_ready => is_connected(socket),
                    _ => Ok(false),
                };
                match is_connected {
                    Ok(true) => self.secure(security, buffer, now),
                    Ok(false) if !is_late => {
                        self.is_ready = false;
                        Ok(Step::None)
                    }
                    Ok(false) | Err(_) => {
                        let left = std::mem::take(left);
                        self.try_addresses(left, registry, now)?;
                        Ok(Step::None)
                    }
                }
            }
            Stage::Securing if self.is_ready => self.shake_hands(buffer),
            Stage::Securing if is_late => Err(LinkFailure::Tls),
            Stage::Resolving(_) | Stage::Securing | Stage::Open => Ok(Step::None),
        }
    }

    /// The kernel has connected: goes on to TLS, if that is spoken.
    fn secure(
        &mut self,
        security: &Security,
        buffer: &mut [u8],
        now: Instant,
    ) -> Result<Step, LinkFailure> {
        let socket = self.socket.take().ok_or(LinkFailure::Connect)?;
        let socket = security.apply(socket, &self.host);
        let socket = socket.map_err(|_| LinkFailure::Tls)?;
        let is_open = !socket.is_handshaking();
        self.socket = Some(socket);
        // What may have arrived already is told by no event.
        self.is_ready = true;
        if is_open {
            self.stage = Stage::Open;
            return Ok(Step::Connected);
        }
        self.stage = Stage::Securing;
        self.until = now + self.patience;
        self.shake_hands(buffer)
    }

    /// One step of the handshake of TLS.
    fn shake_hands(&mut self, buffer: &mut [u8]) -> Result<Step, LinkFailure> {
        let socket = self.socket.as_mut().ok_or(LinkFailure::Tls)?;
        if !socket.resume() {
            return Err(LinkFailure::Reset);
        }
        self.is_ready = match stream::fill(socket, buffer) {
            // Redis does not speak first.
            Ok(Filled::Bytes(_)) => return Err(LinkFailure::Tls),
            Ok(Filled::Blocked) => socket.has_more(),
            Ok(Filled::Interrupted) => true,
            Ok(Filled::End) => return Err(LinkFailure::End),
            Err(error) => return Err(failure(&error)),
        };
        if socket.is_handshaking() {
            return Ok(Step::None);
        }
        self.is_ready = true;
        self.stage = Stage::Open;
        Ok(Step::Connected)
    }

    /// Reads once.
    ///
    /// # Errors
    /// There is nothing more to come: the link is no more.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Step, LinkFailure> {
        let (Stage::Open, Some(socket)) = (&self.stage, &mut self.socket) else {
            return Ok(Step::None);
        };
        match stream::fill(socket, buffer) {
            Ok(Filled::Bytes(count)) => {
                // A short read has emptied a socket; only its end may be left to see.
                self.is_ready = count == buffer.len() || self.read_closed || socket.has_more();
                Ok(Step::Read(count))
            }
            Ok(Filled::Blocked) => {
                self.is_ready = socket.has_more();
                Ok(Step::None)
            }
            Ok(Filled::Interrupted) => Ok(Step::None),
            Ok(Filled::End) => Err(LinkFailure::End),
            Err(error) => Err(failure(&error)),
        }
    }

    /// Writes once; returns how many bytes the socket took. What is wrong with a socket that takes
    /// none a read will tell, behind what its peer said last.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let (Stage::Open, Some(socket)) = (&self.stage, &mut self.socket) else {
            return 0;
        };
        for _ in 0..MAX_INTERRUPTIONS {
            match socket.write(bytes) {
                Ok(count @ 1..) => return count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    return 0;
                }
                Ok(0) | Err(_) => {
                    (self.is_blocked, self.is_ready, self.read_closed) = (true, true, true);
                    return 0;
                }
            }
        }
        0
    }

    /// Says goodbye, as TLS wants it; the connection is about to be closed.
    pub(super) fn hang_up(&mut self) {
        if let Some(socket) = &mut self.socket {
            socket.hang_up();
        }
    }
}

/// Begins to connect.
fn connect(address: SocketAddr) -> io::Result<Stream> {
    let stream = mio::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(Stream::Tcp(stream))
}

/// Whether the kernel has connected; an error if it could not.
fn is_connected(stream: &Stream) -> io::Result<bool> {
    let (error, peer) = match stream {
        Stream::Tcp(stream) => {
            let peer = stream.peer_addr();
            // Where nobody listens at a port that the kernel gives away, it may give us that one.
            // Such a connection leads to ourselves, and would keep Redis from coming back there.
            if peer.as_ref().ok() == stream.local_addr().ok().as_ref() {
                return Err(ErrorKind::ConnectionRefused.into());
            }
            (stream.take_error()?, peer.map(drop))
        }
        Stream::Unix(stream) => (stream.take_error()?, stream.peer_addr().map(drop)),
        #[cfg(feature = "tls")]
        Stream::Tls(_) => return Ok(true),
    };
    match error.map_or(peer, Err) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// What an error of a read means.
fn failure(error: &io::Error) -> LinkFailure {
    match error.kind() {
        ErrorKind::InvalidData => LinkFailure::Tls,
        _ => LinkFailure::Reset,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use socket2::{Domain, Socket, Type};

    use super::*;

    fn stream(socket: Socket) -> Stream {
        socket.set_nonblocking(true).unwrap();
        let stream = std::net::TcpStream::from(OwnedFd::from(socket));
        Stream::Tcp(mio::net::TcpStream::from_std(stream))
    }

    /// The kernel gives ports away, and one of them may be that where Redis was a moment ago.
    #[test]
    fn a_connection_to_oneself_is_none() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).unwrap();
        let own = socket.local_addr().unwrap();
        socket.connect(&own).unwrap();
        let error = is_connected(&stream(socket)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_connection_to_somebody_is_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert!(!is_connected(&stream(socket.try_clone().unwrap())).unwrap());
        socket.set_nonblocking(false).unwrap();
        let address = listener.local_addr().unwrap();
        socket.connect(&address.into()).unwrap();
        assert!(is_connected(&stream(socket)).unwrap());
    }
}
