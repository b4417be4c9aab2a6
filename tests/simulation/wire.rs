//! Both ends of the wire by hand, so that the hub's own reading of RFC 6455 is not what it is
//! judged by.

use std::fmt::Write;

/// Opcodes (RFC 6455, section 5.2).
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
pub(crate) const FIN: u8 = 0x80;
/// The second byte: whether there is a key, and what tells that the length follows.
pub(crate) const MASKED: u8 = 0x80;
pub(crate) const LEN_16: u8 = 0x7E;
pub(crate) const LEN_64: u8 = 0x7F;

/// The key of the example in RFC 6455, section 1.3, and its answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A client's frame; its length in the shortest form.
pub(crate) fn frame(first_byte: u8, payload: &[u8], mask: u32, output: &mut Vec<u8>) {
    header(first_byte, payload.len(), mask, output);
    let key = mask.to_be_bytes();
    output.extend(payload.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b));
}

/// The header of such a frame.
pub(crate) fn header(first_byte: u8, len: usize, mask: u32, output: &mut Vec<u8>) {
    output.push(first_byte);
    if len < 126 {
        output.push(MASKED | u8::try_from(len).expect("it is below 126"));
    } else if let Ok(len) = u16::try_from(len) {
        output.push(MASKED | LEN_16);
        output.extend(len.to_be_bytes());
    } else {
        output.push(MASKED | LEN_64);
        output.extend(u64::try_from(len).expect("lengths fit").to_be_bytes());
    }
    output.extend(mask.to_be_bytes());
}

/// How long a server's frame with this payload is.
pub(crate) fn server_frame_len(payload: usize) -> usize {
    payload
        + match payload {
            0..=125 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        }
}

/// A frame from the server: its opcode, and where its payload begins and ends.
pub(crate) struct ServerFrame {
    pub(crate) opcode: u8,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// The first frame in there, if it is complete.
pub(crate) fn read_frame(bytes: &[u8]) -> Option<ServerFrame> {
    let [first, second, rest @ ..] = bytes else {
        return None;
    };
    assert_eq!(
        first & 0xF0,
        FIN,
        "a server's frame is whole and has no RSV bit"
    );
    let (len, start) = match second {
        0..=125 => (usize::from(*second), 2),
        126 => {
            let len = u16::from_be_bytes(*rest.first_chunk()?);
            assert!(len > 125, "a length in its shortest form");
            (usize::from(len), 4)
        }
        127 => {
            let len = u64::from_be_bytes(*rest.first_chunk()?);
            assert!(len > 0xFFFF, "a length in its shortest form");
            (usize::try_from(len).expect("it is said in memory"), 10)
        }
        _ => panic!("a server does not mask"),
    };
    let end = start + len;
    (bytes.len() >= end).then_some(ServerFrame {
        opcode: first & 0x0F,
        start,
        end,
    })
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To be let into the room of this number.
    Upgrade(usize),
    /// Something that has this status as its answer.
    Other(u16),
}

/// The name of a room.
pub(crate) const ROOMS: [&str; 6] = ["", "a", "b", "c", "d", "e"];

/// The room whose members may only listen.
pub(crate) const LISTENING: usize = 5;

/// Statuses that there is a request for.
pub(crate) const STATUSES: [u16; 8] = [200, 400, 403, 404, 405, 426, 431, 505];

/// A request head.
pub(crate) fn request(ask: Ask) -> Vec<u8> {
    let line = match ask {
        Ask::Upgrade(0) => "GET /ws HTTP/1.1".to_owned(),
        Ask::Upgrade(room) => format!("GET /ws/{} HTTP/1.1", ROOMS[room]),
        Ask::Other(200) => "GET /healthz HTTP/1.1".to_owned(),
        Ask::Other(404) => "GET /nothing HTTP/1.1".to_owned(),
        Ask::Other(405) => "PUT /ws HTTP/1.1".to_owned(),
        Ask::Other(505) => "GET /ws HTTP/1.0".to_owned(),
        Ask::Other(_) => "GET /ws HTTP/1.1".to_owned(),
    };
    let mut head = line + "\r\nHost: server\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let version = if ask == Ask::Other(426) { 8 } else { 13 };
    let key = if ask == Ask::Other(400) { "short" } else { KEY };
    // Writing to a String cannot fail.
    let _ = write!(
        head,
        "Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n"
    );
    if ask == Ask::Other(403) {
        head += "Origin: https://elsewhere\r\n";
    }
    if ask == Ask::Other(431) {
        head += &"X: y\r\n".repeat(101);
    }
    (head + "\r\n").into_bytes()
}

/// A server's response: its status, and how long it is. `None` if it is not complete.
pub(crate) fn read_response(bytes: &[u8]) -> Option<(u16, usize)> {
    let end = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).expect("ours is text");
    let status = head
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .unwrap_or_else(|| panic!("a status line: {head}"));
    if status == 101 {
        assert!(head.contains(&format!("\r\nSec-WebSocket-Accept: {ACCEPT}\r\n")));
        return Some((status, end));
    }
    let len: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok())
        .unwrap_or_else(|| panic!("a length: {head}"));
    (bytes.len() >= end + len).then_some((status, end + len))
}
