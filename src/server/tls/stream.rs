//! TLS over a socket, as Read and Write.
//!
//! Nothing here waits or loops until something is done: what the socket gives and takes at the
//! moment is all that happens, and the loop comes back.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;

use rustls::{Connection, ServerConnection};

use super::TlsConfig;

/// What is encrypted ahead of a socket that takes no more; the rest waits in the client's queue,
/// which has a limit.
const MAX_PENDING: usize = 64 * 1024;

/// What a connection may hold at worst: ciphertext both ways, each in a buffer that may have room
/// for as much again, plaintext of one read, and the state of a handshake with certificates.
pub(in crate::server) const STREAM_BYTES: usize =
    2 * (MAX_PENDING + 2 * MAX_RECORD) + 2 * MAX_INPUT_PER_READ + 64 * 1024;

/// The longest record of TLS with its header (RFC 8446, section 5.2).
const MAX_RECORD: usize = 16 * 1024 + 256 + 5;

/// Bytes of one read, encrypted, whatever they come to: records may be empty.
const MAX_INPUT_PER_READ: usize = 128 * 1024;

/// Bytes that are thrown away in one read.
const MAX_DISCARDED_PER_READ: usize = 64 * 1024;

/// Signals that may interrupt one call before the connection counts as broken.
const MAX_INTERRUPTIONS: usize = 8;

/// What TLS is spoken over.
pub(in crate::server) trait Transport: Read + Write {
    /// Ends our side; the peer's may still speak.
    fn end_output(&self) -> io::Result<()>;
}

impl Transport for mio::net::TcpStream {
    fn end_output(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// How far the end of our side has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Open,
    /// The last record is among what is pending.
    Ending,
    Ended,
}

/// What the peer says once it has broken TLS.
#[derive(Debug)]
enum Failure {
    /// To be told by the next read.
    New(rustls::Error),
    /// Told; what still arrives is thrown away.
    Told,
}

/// A server's side of TLS, or a client's.
///
/// The end of the peer's side is an end with a `close_notify` or without one. Truncation achieves
/// nothing: a request ends with an empty line, a message with its frame, and what is cut short is
/// never acted upon.
#[derive(Debug)]
pub(in crate::server) struct TlsStream<S> {
    socket: S,
    connection: Connection,
    output: Output,
    failure: Option<Failure>,
    /// Whether the peer's end waits to be told until what is pending has gone.
    end_waits: bool,
    /// Whether the last read stopped before the socket, or what has been decrypted, was used up.
    has_more: bool,
}

impl<S: Transport> TlsStream<S> {
    /// A server's side.
    pub(in crate::server) fn new(socket: S, config: &TlsConfig) -> io::Result<Self> {
        let connection = ServerConnection::new(config.rustls.clone());
        Ok(Self::over(socket, connection.map_err(io::Error::other)?))
    }

    /// Whichever side, before a byte is exchanged.
    pub(super) fn over(socket: S, connection: impl Into<Connection>) -> Self {
        let mut connection = connection.into();
        connection.set_buffer_limit(Some(MAX_PENDING));
        Self {
            socket,
            connection,
            output: Output::Open,
            failure: None,
            end_waits: false,
            has_more: false,
        }
    }

    pub(in crate::server) fn socket(&self) -> &S {
        &self.socket
    }

    pub(in crate::server) fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Whether a read may do what is costly: compute for a handshake.
    pub(in crate::server) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking() && self.failure.is_none()
    }

    /// Whether the handshake has failed. The alert that says so is out, or pending.
    pub(in crate::server) fn has_failed_handshake(&self) -> bool {
        self.connection.is_handshaking() && self.failure.is_some()
    }

    /// Whether the stream should be read again although the socket may have nothing more: it
    /// becomes readable by what arrives, and this is here.
    pub(in crate::server) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Goes on with what is pending, when the socket takes bytes again.
    pub(in crate::server) fn resume(&mut self) -> io::Result<()> {
        let is_done = self.push()?;
        self.has_more |= is_done && self.end_waits;
        Ok(())
    }

    /// The peer's end: told when what is pending has gone, as a kernel goes on to write what it
    /// has taken. A peer that speaks no more may well listen.
    fn end(&mut self) -> io::Result<usize> {
        // A socket that fails has nobody behind it who listens.
        self.end_waits = !self.push().unwrap_or(true);
        if self.end_waits {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(0)
    }

    /// Ends our side, behind what is pending: with a `close_notify`, unless an alert was the last
    /// word, and then with a FIN.
    pub(in crate::server) fn end_output(&mut self) -> io::Result<()> {
        if self.output == Output::Open {
            self.connection.send_close_notify();
            self.output = Output::Ending;
        }
        self.push().map(drop)
    }

    /// Says goodbye, if that can be done at once: the socket is about to be closed.
    pub(in crate::server) fn hang_up(&mut self) {
        if !self.connection.is_handshaking() {
            // Who cannot hear it has gone, or is about to learn it from the kernel.
            let _ = self.end_output();
        }
    }

    /// Writes what is encrypted; whether all of it is.
    fn push(&mut self) -> io::Result<bool> {
        let mut interruptions = 0;
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    interruptions += 1;
                    if interruptions == MAX_INTERRUPTIONS {
                        return Err(io::Error::other("interrupted again and again"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if self.output == Output::Ending {
            self.output = Output::Ended;
            self.socket.end_output()?;
        }
        Ok(true)
    }

    /// Decrypts until the buffer is full, or there is nothing more to decrypt.
    fn decrypt(&mut self, buffer: &mut [u8], filled: &mut usize) -> io::Result<()> {
        let (mut taken, mut is_empty) = (0, false);
        while *filled < buffer.len() {
            match self.connection.reader().read(&mut buffer[*filled..]) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    *filled += count;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // A FIN without a `close_notify`.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
            // A short read has emptied the socket. Behind records without content it is tried
            // again: only a read that blocks tells the loop that an event will come.
            if is_empty && *filled > 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            if taken >= MAX_INPUT_PER_READ {
                self.has_more = true;
                return Err(ErrorKind::WouldBlock.into());
            }
            let mut socket = Watched {
                socket: &mut self.socket,
                is_empty: false,
            };
            // 0 is the end, which the reader tells of next.
            taken += self.connection.read_tls(&mut socket)?;
            is_empty = socket.is_empty;
            let processed = self.connection.process_new_packets();
            // What the peer is answered, an alert for instance, must not wait for its next word.
            let pushed = self.push();
            if let Err(error) = processed {
                self.failure = Some(Failure::New(error));
                return Err(ErrorKind::InvalidData.into());
            }
            pushed?;
        }
        Ok(())
    }

    /// Tells of a failure once, behind what came before it, and throws away what comes later.
    fn fail(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(Failure::New(error)) = &self.failure {
            if let Ok(count @ 1..) = self.connection.reader().read(buffer) {
                self.has_more = true;
                return Ok(count);
            }
            let error = io::Error::new(ErrorKind::InvalidData, error.clone());
            self.failure = Some(Failure::Told);
            return Err(error);
        }
        let mut discarded = 0;
        while discarded < MAX_DISCARDED_PER_READ {
            match self.socket.read(&mut [0; 4096])? {
                0 => return Ok(0),
                count => discarded += count,
            }
        }
        self.has_more = true;
        Err(ErrorKind::WouldBlock.into())
    }
}

impl<S: Transport> Read for TlsStream<S> {
    /// Reads what has been decrypted. A failure of TLS is [`ErrorKind::InvalidData`], and the alert
    /// is out by then; what arrives behind it is thrown away.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.has_more = false;
        if self.failure.is_some() {
            return self.fail(buffer);
        }
        let mut filled = 0;
        match self.decrypt(buffer, &mut filled) {
            Ok(()) if filled == 0 => self.end(),
            // The buffer is full, or the end is next.
            Ok(()) => {
                self.has_more = true;
                Ok(filled)
            }
            // What came before it first.
            Err(error) if filled > 0 => {
                self.has_more |= error.kind() != ErrorKind::WouldBlock;
                Ok(filled)
            }
            Err(_) if self.failure.is_some() => self.fail(buffer),
            Err(error) => Err(error),
        }
    }
}

impl<S: Transport> Write for TlsStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    /// Takes up to [`MAX_PENDING`] bytes once all that was taken before has been written.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.failure.is_some() || self.output != Output::Open {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if !self.push()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        // All slices in one go: many small messages are one record.
        let taken = self.connection.writer().write_vectored(slices)?;
        if taken == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.push()?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push().map(drop)
    }
}

/// A socket that is watched while it is read.
struct Watched<'s, S> {
    socket: &'s mut S,
    /// Whether it gave less than it could have.
    is_empty: bool,
}

impl<S: Read> Read for Watched<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.socket.read(buffer)?;
        self.is_empty = count < buffer.len();
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
