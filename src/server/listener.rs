//! Where clients come from: TCP, Unix sockets, and sockets that were inherited.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use mio::event::Source;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::config::ListenAddress;
use super::socket::Stream;
use crate::hub::{HubConfigError, Peer};

/// Connections that may wait to be accepted, if the kernel allows as many.
const BACKLOG: i32 = 4096;

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
    /// With the file to remove at the end, if we made it.
    Unix(mio::net::UnixListener, Option<PathBuf>),
}

impl Listener {
    /// Opens the sockets of one address: several where a supervisor passes on several.
    pub(super) fn open(address: &ListenAddress) -> Result<Vec<Self>, BindError> {
        let sockets = match address {
            ListenAddress::Tcp(text) => bind_tcp(text).map(|socket| vec![socket]),
            ListenAddress::Unix(path) => bind_unix(path).map(|socket| vec![socket]),
            ListenAddress::Systemd => inherited(),
        };
        let open = |socket| {
            // It is ready until the first accept says otherwise.
            let listener = Self {
                socket,
                is_ready: true,
            };
            listener.lengthen_queue().map(|()| listener)
        };
        sockets
            .and_then(|sockets| sockets.into_iter().map(open).collect())
            .map_err(|error| BindError::Listen {
                address: address.clone(),
                error,
            })
    }

    /// Asks for a queue that holds a wave of connections, such as when everybody comes back at
    /// once; std and mio ask for one of 128. The kernel has the last word (`somaxconn`).
    fn lengthen_queue(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(socket) => SockRef::from(socket).listen(BACKLOG),
            Socket::Unix(socket, _) => SockRef::from(socket).listen(BACKLOG),
        }
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
            Socket::Unix(socket, _) => {
                let address = socket.local_addr()?;
                Ok(ListenAddress::Unix(
                    address.as_pathname().unwrap_or(Path::new("")).to_owned(),
                ))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Socket::Unix(_, Some(path)) = &self.socket {
            // If it is gone already, so much the better.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_tcp(text: &str) -> io::Result<Socket> {
    let mut last_error = io::Error::from(ErrorKind::NotFound);
    for address in text.to_socket_addrs()? {
        match mio::net::TcpListener::bind(address) {
            Ok(socket) => return Ok(Socket::Tcp(socket)),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

fn bind_unix(path: &Path) -> io::Result<Socket> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket {
        // A socket that nobody answers on was left by a process that died.
        match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
            }
            _ => return Err(ErrorKind::AddrInUse.into()),
        }
    }
    Ok(Socket::Unix(
        mio::net::UnixListener::bind(path)?,
        Some(path.to_owned()),
    ))
}

/// The sockets that a supervisor passes on (`LISTEN_FDS`, `LISTEN_PID`).
fn inherited() -> io::Result<Vec<Socket>> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
            socket.set_nonblocking(true)?;
            sockets.push(Socket::Tcp(mio::net::TcpListener::from_std(socket)));
        } else if let Some(socket) = passed.take_unix_listener(index)? {
            socket.set_nonblocking(true)?;
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
