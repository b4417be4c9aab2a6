//! One connection of a client, honest or not.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockRef, Socket, Type};

use crate::support::{BINARY, CLOSE, PING, PONG, TEXT, encode_masked, split_frame};

/// What one read takes.
pub(crate) const READ_BUFFER: usize = 64 * 1024;

/// What may wait to be sent; the server reads, so it is never much.
const MAX_OUTPUT: usize = 4 * 1024 * 1024;

/// What the kernel may hold for a slow client, so that the server soon holds the rest: the receive
/// buffer at this end; at the other end, a multiple of the largest segment.
const SMALL_BUFFER: usize = 4096;
const SMALL_SEGMENT: u32 = 536;

/// What came in.
pub(crate) enum Heard<'b> {
    /// The opening handshake is done.
    Opened,
    /// It is refused, with this status.
    Refused(u16),
    /// Opcode and payload.
    Message(u8, &'b [u8]),
    /// A Close, with its code.
    Close(u16),
}

/// Characters of a wrong answer that are told.
const MAX_QUOTED: usize = 200;

pub(crate) struct Connection {
    stream: TcpStream,
    /// Its port, by which the server's log names it.
    pub(crate) port: u16,
    output: Vec<u8>,
    /// The beginning of what has not come to its end yet.
    input: Vec<u8>,
    is_open: bool,
    /// Whatever comes is thrown away.
    is_deaf: bool,
    /// Pings are answered.
    pub(crate) answers: bool,
}

impl Connection {
    pub(crate) fn new(
        address: SocketAddr,
        registry: &Registry,
        token: Token,
        has_small_buffers: bool,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if has_small_buffers {
            socket.set_recv_buffer_size(SMALL_BUFFER)?;
            socket.set_tcp_mss(SMALL_SEGMENT)?;
        }
        socket.set_nonblocking(true)?;
        // EINPROGRESS is no ErrorKind yet; of the others, the first read or write tells.
        let _ = socket.connect(&address.into());
        let mut stream = TcpStream::from_std(socket.into());
        stream.set_nodelay(true)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            port: stream.local_addr()?.port(),
            stream,
            output: Vec::new(),
            input: Vec::new(),
            is_open: false,
            is_deaf: false,
            answers: true,
        })
    }

    /// Asks for the upgrade, into a room.
    pub(crate) fn ask(&mut self, room: usize) {
        let request = format!(
            "GET /ws/room-{room} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.output.extend_from_slice(request.as_bytes());
    }

    /// Sends bytes, if not at once, then when the kernel takes them.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.extend_from_slice(bytes);
        if self.output.len() > MAX_OUTPUT {
            return Err(io::Error::other("the server does not read"));
        }
        self.flush()
    }

    /// Sends a message or a Close.
    pub(crate) fn send_frame(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(payload.len() + 14);
        encode_masked(opcode, payload, &mut frame);
        self.send(&frame)
    }

    pub(crate) fn has_sent_all(&self) -> bool {
        self.output.is_empty()
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes a few bytes and does not look at them. Whether the connection has ended.
    pub(crate) fn sip(&mut self, bytes: &mut [u8]) -> bool {
        match self.stream.read(bytes) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// Reads what there is. Whether the connection has ended.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        mut listen: impl FnMut(Heard<'_>) -> io::Result<()>,
    ) -> io::Result<bool> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Ok(true),
                Ok(_) if self.is_deaf => {}
                Ok(count) => self.receive(&buffer[..count], &mut listen)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.flush()?;
        Ok(false)
    }

    fn receive(
        &mut self,
        bytes: &[u8],
        listen: &mut impl FnMut(Heard<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut begun = std::mem::take(&mut self.input);
        let mut bytes = if begun.is_empty() {
            bytes
        } else {
            begun.extend_from_slice(bytes);
            &begun
        };
        if !self.is_open {
            let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
                self.input = bytes.to_vec();
                return Ok(());
            };
            let (head, rest) = bytes.split_at(end + 4);
            bytes = rest;
            let head = String::from_utf8_lossy(head);
            let status = head
                .strip_prefix("HTTP/1.1 ")
                .and_then(|rest| rest.get(..3));
            let status = status.and_then(|status| status.parse().ok());
            let wrong = || {
                let start: String = head.chars().take(MAX_QUOTED).collect();
                other(&format!("no answer to a request: {start:?}"))
            };
            match status.ok_or_else(wrong)? {
                101 if head.contains(": s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") => {}
                101 => return Err(wrong()),
                status => {
                    self.is_deaf = true;
                    return listen(Heard::Refused(status));
                }
            }
            self.is_open = true;
            listen(Heard::Opened)?;
        }
        while let Some((opcode, payload, rest)) = split_frame(bytes) {
            bytes = rest;
            match opcode {
                TEXT | BINARY => listen(Heard::Message(opcode, payload))?,
                CLOSE => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    listen(Heard::Close(
                        code.ok_or_else(|| other("a Close without a code"))?,
                    ))?;
                }
                PING if self.answers => encode_masked(PONG, payload, &mut self.output),
                PING | PONG => {}
                opcode => return Err(other(&format!("opcode {opcode}"))),
            }
        }
        if !bytes.is_empty() {
            self.input = bytes.to_vec();
        }
        Ok(())
    }

    /// Ends the sending side alone.
    pub(crate) fn end_output(&self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        // If it fails, the connection has ended already.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

/// What a server must not do.
pub(crate) fn other(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}
