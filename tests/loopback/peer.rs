//! A client of the tests: a plain socket and frames made by hand.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long anything may take. Tests that show something to happen at once set the server's
/// timeouts to more than this.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) const CONTINUATION: u8 = 0x80;
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8A;

/// A request that is upgraded (the key of RFC 6455, section 1.3).
pub(crate) fn upgrade(path: &str) -> String {
    upgrade_with(path, "")
}

/// The same with more fields, each with its line end.
pub(crate) fn upgrade_with(path: &str, fields: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
}

/// A client's frame: the first byte as given, the shortest form of the length, masked.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    let mut frame = frame_header(first, payload.len());
    frame.extend(KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(a, b)| a ^ b));
    frame
}

/// The header of a masked frame up to, and without, its key.
fn frame_header(first: u8, len: usize) -> Vec<u8> {
    let mut header = vec![first];
    if let (..126, Ok(len)) = (len, u8::try_from(len)) {
        header.push(0x80 | len);
    } else if let Ok(len) = u16::try_from(len) {
        header.push(0x80 | 0x7E);
        header.extend(len.to_be_bytes());
    } else {
        header.push(0x80 | 0x7F);
        header.extend((len as u64).to_be_bytes());
    }
    header
}

/// What a server should send: the frame of the same content without a mask.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame_header(first, payload.len());
    frame[1] &= 0x7F;
    frame.extend(payload);
    frame
}

/// A Close's payload.
pub(crate) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// One connection to the server.
pub(crate) struct Peer<S = TcpStream> {
    pub(crate) stream: S,
}

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl Peer {
    /// A connection on which nothing has been said.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the server listens");
        stream.set_nodelay(true).expect("it is a TCP socket");
        let peer = Self { stream };
        peer.set_patience(DEADLINE);
        peer
    }

    /// An open WebSocket.
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        let mut peer = Self::connect(address);
        peer.upgrade(path);
        peer
    }

    /// How long a read may take.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.stream
            .set_read_timeout(Some(patience))
            .expect("it is not zero");
        self.stream
            .set_write_timeout(Some(DEADLINE))
            .expect("it is not zero");
    }

    /// Ends our side and goes on listening.
    pub(crate) fn half_close(&self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("it is connected");
    }

    /// Resets the connection: the kernel sends RST where a socket is closed that holds unread
    /// bytes. Waits for `bytes` of them.
    pub(crate) fn reset(self, bytes: usize) {
        let mut buffer = vec![0; bytes];
        for _ in 0..1000 {
            let count = self.stream.peek(&mut buffer).expect("something to leave");
            assert_ne!(count, 0, "the server has ended the connection");
            if count == bytes {
                return;
            }
            // What is peeked at stays, so there is nothing to wait for but the rest of it.
            std::thread::yield_now();
        }
        panic!("{bytes} bytes did not come");
    }
}

impl<S: Read + Write> Peer<S> {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the server reads");
    }

    pub(crate) fn send_frame(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        self.send(frame(first, payload.as_ref()));
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.send_frame(TEXT, text);
    }

    /// Completes the opening handshake.
    pub(crate) fn upgrade(&mut self, path: &str) {
        self.send(upgrade(path));
        self.expect_upgrade();
    }

    /// Reads the answer that opens the connection.
    pub(crate) fn expect_upgrade(&mut self) {
        let head = self.read_head();
        assert!(
            head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
            "{head}"
        );
        assert!(
            head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{head}"
        );
    }

    /// Reads a head, and nothing of what follows it.
    pub(crate) fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap_or_else(|error| {
                panic!("a head: {error} after {:?}", String::from_utf8_lossy(&head))
            });
            head.extend(byte);
        }
        String::from_utf8(head).expect("a head is ASCII")
    }

    pub(crate) fn read_frame(&mut self) -> Frame {
        self.try_read_frame()
            .unwrap_or_else(|error| panic!("a frame: {error}"))
    }

    /// Reads one frame; an error where the connection has ended or nothing comes.
    pub(crate) fn try_read_frame(&mut self) -> std::io::Result<Frame> {
        let mut start = [0; 2];
        self.stream.read_exact(&mut start)?;
        let [first, len] = start;
        assert!(len & 0x80 == 0, "a server masks no frame");
        let len = match len {
            126 => {
                let mut len = [0; 2];
                self.stream.read_exact(&mut len)?;
                usize::from(u16::from_be_bytes(len))
            }
            127 => {
                let mut len = [0; 8];
                self.stream.read_exact(&mut len)?;
                usize::try_from(u64::from_be_bytes(len)).expect("no frame is that long")
            }
            len => usize::from(len),
        };
        let mut payload = vec![0; len];
        self.stream.read_exact(&mut payload)?;
        Ok(Frame { first, payload })
    }

    pub(crate) fn expect_frame(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        let frame = self.read_frame();
        let payload = payload.as_ref();
        let is_expected = frame.first == first && frame.payload == payload;
        assert!(
            is_expected,
            "{first:#x} of {} bytes ({:?}) was to come, but: {:#x} of {} bytes ({:?})",
            payload.len(),
            String::from_utf8_lossy(&payload[..payload.len().min(60)]),
            frame.first,
            frame.payload.len(),
            String::from_utf8_lossy(&frame.payload[..frame.payload.len().min(60)]),
        );
    }

    pub(crate) fn expect_text(&mut self, text: &str) {
        self.expect_frame(TEXT, text);
    }

    /// Reads a Close with this code; returns its reason.
    pub(crate) fn expect_close(&mut self, code: u16) -> String {
        let frame = self.read_frame();
        assert_eq!(frame.first, CLOSE, "{frame:?}");
        assert_eq!(frame.payload.get(..2), Some(&code.to_be_bytes()[..]));
        String::from_utf8(frame.payload[2..].to_vec()).expect("a reason is UTF-8")
    }

    /// Reads what is left up to the end, which must not be a reset.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut rest) {
            let rest = String::from_utf8_lossy(&rest);
            panic!("the end of the connection: {error} after {rest:?}");
        }
        rest
    }

    /// The server has ended its side: nothing is left, and it is no reset.
    pub(crate) fn expect_end(&mut self) {
        let rest = self.read_to_end();
        assert_eq!(String::from_utf8_lossy(&rest), "", "behind the last word");
    }

    /// Reads until the connection ends in whatever way.
    pub(crate) fn read_to_any_end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("an end of the connection: {error}"),
        }
        rest
    }

    /// Says something and hears it: the server serves, and nothing else was said meanwhile.
    pub(crate) fn check_echo(&mut self) {
        self.send_text("are you there?");
        self.expect_text("are you there?");
    }
}
