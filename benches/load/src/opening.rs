//! The client's side of opening handshakes, many at once.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Socket, Type};

use crate::failure::Failure;

/// The tokens of opening handshakes are this and the place of each.
pub const OPENING: usize = 1 << 32;

/// The key of the example in RFC 6455, section 1.3, and what has to be accepted for it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Clients whose source the kernel chooses: less than there are ephemeral ports by default.
const UNBOUND: usize = 20_000;
/// Those who come after are bound to these ports of one address after the other: the kernel would
/// search long for a port among so many that wait for stray segments.
const FIRST_PORT: usize = 2048;
const PORTS: usize = 60_000;
/// Those addresses: 127.0.0.2 and so on.
const SOURCES: usize = 63;
/// Ports that are tried for one connection.
const MAX_TRIES: usize = 1000;
/// The longest answer to a request.
const MAX_RESPONSE: usize = 8 << 10;

/// How to connect.
#[derive(Clone, Copy, Debug)]
pub struct Door<'d> {
    /// Where the server is, or several are: each connection goes to the next one.
    pub addresses: &'d [SocketAddr],
    /// `SO_RCVBUF`, where the kernel's own choice is too large.
    pub receive_buffer: Option<usize>,
}

/// One connection that is being opened.
#[derive(Debug)]
struct Opening {
    stream: TcpStream,
    request: Vec<u8>,
    written: usize,
    response: Vec<u8>,
    /// Whatever the caller wants to know it by.
    tag: usize,
}

/// A connection that is open.
#[derive(Debug)]
pub struct Opened {
    /// Still registered, by the token of its opening.
    pub stream: TcpStream,
    /// What came behind the response.
    pub rest: Vec<u8>,
    /// What it was started with.
    pub tag: usize,
}

/// All connections that are being opened.
#[derive(Debug, Default)]
pub struct Openings {
    places: Vec<Option<Opening>>,
    free: Vec<usize>,
    /// How many have been started.
    started: usize,
}

impl Openings {
    /// How many are under way.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts one.
    pub fn start(
        &mut self,
        registry: &Registry,
        door: Door<'_>,
        path: &str,
        tag: usize,
    ) -> Result<(), Failure> {
        let address = door.addresses[tag % door.addresses.len()];
        let mut stream = self.connect(address, door.receive_buffer)?;
        let place = self.free.pop().unwrap_or(self.places.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry
            .register(&mut stream, Token(OPENING + place), interest)
            .map_err(|error| Failure::of("registering", &error))?;
        let opening = Opening {
            stream,
            request: request(address, path),
            written: 0,
            response: Vec::new(),
            tag,
        };
        match self.places.get_mut(place) {
            Some(free) => *free = Some(opening),
            None => self.places.push(Some(opening)),
        }
        Ok(())
    }

    /// Connects from the next source that is free.
    fn connect(
        &mut self,
        address: SocketAddr,
        receive_buffer: Option<usize>,
    ) -> Result<TcpStream, Failure> {
        let mut tries = 1;
        loop {
            let source = source(self.started);
            self.started += 1;
            match connect(address, receive_buffer, source) {
                Ok(stream) => return Ok(stream),
                Err(error) if is_taken(&error) && tries < MAX_TRIES => {
                    tries += 1;
                    self.started = self.started.max(UNBOUND);
                }
                Err(error) => return Err(Failure::of("connecting", &error)),
            }
        }
    }

    /// Goes on with the one of this token, and gives it away if it is open by that.
    pub fn advance(&mut self, token: Token) -> Result<Option<Opened>, Failure> {
        let place = token.0.wrapping_sub(OPENING);
        let Some(Some(opening)) = self.places.get_mut(place) else {
            // An event of this batch that was for one before, or for somebody else.
            return Ok(None);
        };
        let end = opening
            .advance()
            .map_err(|error| Failure::of("an opening handshake", &error))?;
        let Some(end) = end else {
            return Ok(None);
        };
        let opening = self.places[place].take();
        self.free.push(place);
        Ok(opening.map(|opening| Opened {
            stream: opening.stream,
            rest: opening.response[end..].to_vec(),
            tag: opening.tag,
        }))
    }
}

impl Opening {
    /// Writes and reads; says where the response ends when it is there.
    fn advance(&mut self) -> io::Result<Option<usize>> {
        while self.written < self.request.len() {
            match self.stream.write(&self.request[self.written..]) {
                Ok(len) => self.written += len,
                Err(error) if is_patience(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let mut buffer = [0; 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(invalid("the server hung up")),
                Ok(len) => self.response.extend_from_slice(&buffer[..len]),
                Err(error) if is_patience(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            if let Some(end) = end_of_head(&self.response) {
                check(&self.response[..end])?;
                return Ok(Some(end));
            }
            if self.response.len() > MAX_RESPONSE {
                return Err(invalid("the response is too long"));
            }
        }
    }
}

/// Whether to try again later. A connection that is not there yet is no error.
fn is_patience(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::NotConnected
    )
}

/// Where the client of this number connects from, unless the kernel is to choose.
fn source(number: usize) -> Option<SocketAddr> {
    let number = number.checked_sub(UNBOUND)?;
    // Another run's ports may wait for stray segments still.
    let number = number + std::process::id() as usize * 7919;
    let port = u16::try_from(FIRST_PORT + number % PORTS).ok()?;
    let last = u8::try_from(2 + number / PORTS % SOURCES).ok()?;
    Some(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port)))
}

/// Whether this source is in use, or was until just now.
fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable
    )
}

fn connect(
    address: SocketAddr,
    receive_buffer: Option<usize>,
    source: Option<SocketAddr>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        // Ports of connections that wait for stray segments may be taken again.
        socket.set_reuse_address(true)?;
        socket.bind(&source.into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// Linux: a connection is on its way.
const EINPROGRESS: i32 = 115;

fn request(address: SocketAddr, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

fn end_of_head(response: &[u8]) -> Option<usize> {
    let end = response.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(end + 4)
}

/// RFC 6455, section 4.1: what a client has to check.
fn check(head: &[u8]) -> io::Result<()> {
    let head = std::str::from_utf8(head).map_err(|_| invalid("the response is no text"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101 ") && status != "HTTP/1.1 101" {
        return Err(invalid(&format!("the answer is {status}")));
    }
    let (mut accept, mut upgrade, mut connection) = (None, false, false);
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "sec-websocket-accept" => accept = Some(value),
            "upgrade" => upgrade = value.eq_ignore_ascii_case("websocket"),
            "connection" => {
                let mut options = value.split(',').map(str::trim);
                connection = options.any(|option| option.eq_ignore_ascii_case("upgrade"));
            }
            "sec-websocket-extensions" | "sec-websocket-protocol" => {
                return Err(invalid(&format!("nobody has asked for {line}")));
            }
            _ => {}
        }
    }
    if !upgrade || !connection {
        return Err(invalid("the response does not upgrade"));
    }
    if accept != Some(ACCEPT) {
        return Err(invalid("Sec-WebSocket-Accept is wrong"));
    }
    Ok(())
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        connection: upgrade\r\nSEC-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn sources_are_many_and_differ() {
        assert_eq!(source(UNBOUND - 1), None);
        let count = 200_000;
        let sources = (UNBOUND..UNBOUND + count).filter_map(source);
        let sources: std::collections::HashSet<SocketAddr> = sources.collect();
        assert_eq!(sources.len(), count);
        assert!(sources.iter().all(|source| source.ip().is_loopback()));
    }

    #[test]
    fn a_response_is_checked() {
        assert_eq!(end_of_head(GOOD.as_bytes()), Some(GOOD.len()));
        check(GOOD.as_bytes()).unwrap();
        let also = GOOD.replace("connection: upgrade", "Connection: keep-alive, Upgrade");
        check(also.as_bytes()).unwrap();
        for (from, to) in [
            ("101", "200"),
            ("s3p", "S3p"),
            ("websocket\r\n", "h2c\r\n"),
            ("connection: upgrade", "connection: close"),
            ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
        ] {
            assert!(check(GOOD.replace(from, to).as_bytes()).is_err(), "{to}");
        }
    }
}
