//! One client's file descriptor.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

#[cfg(feature = "tls")]
use super::tls::{TlsConfig, TlsStream};
use crate::hub::ClientId;

/// A connection, of whatever family.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(mio::net::TcpStream),
    Unix(mio::net::UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<mio::net::TcpStream>>),
}

/// One client as the server sees it, at the place of the client's index.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) id: ClientId,
    pub(super) stream: Stream,
    /// Whether it is on the list of those to be read.
    pub(super) is_ready: bool,
    /// Whether the peer has ended its side, so that a short read is not the last one.
    pub(super) read_closed: bool,
    /// Whether it is an operator's.
    pub(super) is_admin: bool,
}

impl Stream {
    /// Has TLS spoken over it, if it is TCP: who may open a Unix socket is a matter of the file
    /// system, and the proxy in front of it has done the rest.
    #[cfg(feature = "tls")]
    pub(super) fn secure(self, tls: Option<&TlsConfig>) -> io::Result<Self> {
        match (self, tls) {
            (Self::Tcp(stream), Some(tls)) => Ok(Self::Tls(Box::new(TlsStream::new(stream, tls)?))),
            (stream, _) => Ok(stream),
        }
    }

    /// Registers for both directions, once and for all.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interest),
            Self::Unix(stream) => stream.register(registry, token, interest),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.socket_mut().register(registry, token, interest),
        }
    }

    /// Turns off Nagle's algorithm: whatever is written is a whole turn's worth already.
    pub(super) fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            Self::Unix(_) => Ok(()),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.socket().set_nodelay(true),
        }
    }

    /// Makes the close that follows a reset: for peers who take nothing, and would have the kernel
    /// keep what is stuck for minutes.
    pub(super) fn abandon(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream).set_linger(Some(Duration::ZERO)),
            // What is stuck in a Unix socket goes with it.
            Self::Unix(_) => Ok(()),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => SockRef::from(stream.socket()).set_linger(Some(Duration::ZERO)),
        }
    }

    /// Ends our side; the peer's may still speak.
    pub(super) fn end_output(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.end_output(),
        }
    }

    /// Says what a connection ends with, before it is closed.
    pub(super) fn hang_up(&mut self) {
        match self {
            // The kernel says it.
            Self::Tcp(_) | Self::Unix(_) => {}
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.hang_up(),
        }
    }

    /// Goes on with what was taken by an earlier write, now that the socket takes bytes again.
    /// Whether it works; if not, a read says what has happened.
    pub(super) fn resume(&mut self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => true,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.resume().is_ok(),
        }
    }

    /// Whether a read may cost as much as a handshake of TLS.
    pub(super) fn is_handshaking(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.is_handshaking(),
        }
    }

    /// Whether TLS has failed before it began. The client has been told so, in the words of TLS.
    pub(super) fn has_failed_handshake(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.has_failed_handshake(),
        }
    }

    /// Whether more can be read although no event will say so.
    pub(super) fn has_more(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.has_more(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
            Self::Unix(stream) => stream.write_vectored(slices),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // Sockets have nothing to flush.
        Ok(())
    }
}
