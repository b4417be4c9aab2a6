//! Where clients come from: TCP, Unix sockets, and sockets that were inherited.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use listenfd::ListenFd;
use mio::event::Source;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Type};

use super::config::{ListenAddress, ServerConfig};
use super::socket::Stream;
use super::socket_file::SocketFile;
use crate::hub::{HubConfigError, Peer};

/// Connections that may wait to be accepted, if the kernel allows as many: a wave of them, such as
/// when everybody comes back at once. The kernel has the last word (`somaxconn`).
pub(super) const BACKLOG: i32 = 4096;

/// A server that could not be set up.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// The settings contradict each other.
    Config(HubConfigError),
    /// An address cannot be listened at.
    Listen {
        /// As it was given.
        address: ListenAddress,
        /// Why.
        error: io::Error,
    },
    /// The event loop cannot be set up.
    Loop(io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Listen { address, error } => {
                write!(f, "cannot listen on {address}: ")?;
                match error.kind() {
                    ErrorKind::AddrInUse => f.write_str("address in use"),
                    ErrorKind::AddrNotAvailable => f.write_str("no such address on this machine"),
                    ErrorKind::PermissionDenied => f.write_str("permission denied"),
                    _ => error.fmt(f),
                }
            }
            Self::Loop(error) => write!(f, "cannot set up the event loop: {error}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Listen { error, .. } | Self::Loop(error) => Some(error),
        }
    }
}

/// A socket that clients connect to.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    /// Whether connections may be waiting: set by an event, cleared when there are none.
    pub(super) is_ready: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(mio::net::TcpListener),
    /// With its file, if we made it.
    Unix(mio::net::UnixListener, Option<SocketFile>),
}

impl Listener {
    /// Opens the sockets of one address: several where a supervisor passes on several.
    pub(super) fn open(
        address: &ListenAddress,
        config: &ServerConfig,
    ) -> Result<Vec<Self>, BindError> {
        let sockets = match address {
            ListenAddress::Tcp(text) => {
                bind_tcp(text, config.reuse_port).map(|socket| vec![socket])
            }
            ListenAddress::Unix(path) => {
                listen_unix(path, config.unix_mode).map(|socket| vec![socket])
            }
            ListenAddress::Systemd => inherited(),
        };
        // It is ready until the first accept says otherwise.
        let open = |socket| Self {
            socket,
            is_ready: true,
        };
        sockets
            .map(|sockets| sockets.into_iter().map(open).collect())
            .map_err(|error| BindError::Listen {
                address: address.clone(),
                error,
            })
    }

    /// Opens the socket of the operators' address. Other processes cannot share that one: an
    /// operator wants to know whom it asks.
    pub(super) fn open_admin(
        address: &ListenAddress,
        config: &ServerConfig,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, BindError> {
        let error = |error| BindError::Listen {
            address: address.clone(),
            error,
        };
        let config = ServerConfig {
            reuse_port: false,
            ..config.clone()
        };
        let mut sockets = Self::open(address, &config)?;
        let no_socket = || error(ErrorKind::NotFound.into());
        let mut listener = sockets.pop().ok_or_else(no_socket)?;
        listener.register(registry, token).map_err(error)?;
        Ok(listener)
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(socket) => socket.register(registry, token, Interest::READABLE),
            Socket::Unix(socket, _) => socket.register(registry, token, Interest::READABLE),
        }
    }

    pub(super) fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, address) = socket.accept()?;
                Ok((Stream::Tcp(stream), Peer::Inet(address)))
            }
            Socket::Unix(socket, _) => {
                let (stream, _) = socket.accept()?;
                Ok((Stream::Unix(stream), Peer::Unix))
            }
        }
    }

    /// The address that was really bound.
    pub(super) fn local_address(&self) -> io::Result<ListenAddress> {
        match &self.socket {
            Socket::Tcp(socket) => Ok(ListenAddress::Tcp(socket.local_addr()?.to_string())),
            Socket::Unix(_, Some(file)) => Ok(ListenAddress::Unix(file.path().to_owned())),
            Socket::Unix(socket, None) => {
                let address = socket.local_addr()?;
                Ok(ListenAddress::Unix(
                    address.as_pathname().unwrap_or(Path::new("")).to_owned(),
                ))
            }
        }
    }
}

fn bind_tcp(text: &str, reuse_port: bool) -> io::Result<Socket> {
    let mut last_error = io::Error::from(ErrorKind::NotFound);
    for address in text.to_socket_addrs()? {
        match listen_tcp(address, reuse_port) {
            Ok(socket) => return Ok(Socket::Tcp(socket)),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

fn listen_tcp(address: SocketAddr, reuse_port: bool) -> io::Result<mio::net::TcpListener> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A server that starts again does not wait for what is left of its last connections.
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    if domain == Domain::IPV6 {
        // `[::]` takes IPv4 as well, whatever the system's default is. Where a system has no choice
        // to offer it is as it is.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(mio::net::TcpListener::from_std(socket.into()))
}

fn listen_unix(path: &Path, mode: Option<u32>) -> io::Result<Socket> {
    let (socket, file) = SocketFile::listen(path, mode)?;
    Ok(Socket::Unix(
        mio::net::UnixListener::from_std(socket),
        Some(file),
    ))
}

/// The sockets that a supervisor passes on (`LISTEN_FDS`, `LISTEN_PID`).
fn inherited() -> io::Result<Vec<Socket>> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
            socket.set_nonblocking(true)?;
            SockRef::from(&socket).listen(BACKLOG)?;
            sockets.push(Socket::Tcp(mio::net::TcpListener::from_std(socket)));
        } else if let Some(socket) = passed.take_unix_listener(index)? {
            socket.set_nonblocking(true)?;
            SockRef::from(&socket).listen(BACKLOG)?;
            sockets.push(Socket::Unix(mio::net::UnixListener::from_std(socket), None));
        }
    }
    if sockets.is_empty() {
        return Err(io::Error::new(
            ErrorKind::NotFound,
            "no sockets were passed on (LISTEN_FDS)",
        ));
    }
    Ok(sockets)
}
