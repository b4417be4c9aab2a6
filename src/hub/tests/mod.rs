//! The hub as a driver sees it, without sockets.

mod addresses;
mod admin;
mod admission;
mod closing;
mod counting;
mod drain;
mod heartbeat;
mod invariants;
mod limits;
mod reconfigure;
mod relay;
mod slow;
mod slow_policy;
mod speaking;

use std::time::{Duration, Instant};

use super::*;
use crate::protocol::http::Request;
use crate::protocol::{Message, Opcode, Payload, ProtocolError, unmask};

const KEY: [u8; 4] = [1, 2, 3, 4];

/// A hub, a clock that stands still until it is moved, and transports that take everything.
struct World {
    hub: Hub,
    now: Instant,
    handler: Recorder,
}

/// Broadcasts, and remembers who came and went.
#[derive(Default)]
struct Recorder {
    no_echo: bool,
    /// Said by the server to each newcomer.
    greeting: Option<&'static str>,
    /// Bytes said by the server to each newcomer.
    history: usize,
    /// Said to the room when somebody leaves.
    farewell: Option<&'static str>,
    /// What a client that is let in may do.
    admission: Admission,
    /// Why nobody is let in.
    rejection: Option<Rejection>,
    /// Who asked to be let in, and where.
    asked: Vec<(String, Peer)>,
    gone: Vec<(ClientId, Disconnect)>,
}

impl Handler for Recorder {
    fn on_upgrade(
        &mut self,
        _: &Request<'_>,
        room: &str,
        peer: Peer,
    ) -> Result<Admission, Rejection> {
        self.asked.push((room.to_owned(), peer));
        self.rejection.map_or(Ok(self.admission.clone()), Err)
    }

    fn on_open(&mut self, outbox: &mut Outbox<'_>, id: ClientId, _: &Request<'_>) {
        if self.history > 0 {
            let history = vec![b'x'; self.history];
            assert!(!outbox.send(id, MessageKind::Text, &history), "too long");
        }
        if let Some(greeting) = self.greeting {
            assert!(outbox.send(id, MessageKind::Text, greeting.as_bytes()));
        }
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: Message<'_>) {
        match message.as_text() {
            Some("whisper") => {
                outbox.send(id, MessageKind::Text, b"psst");
            }
            Some("leave") => outbox.close(id, CloseCode::NORMAL, "as you wish"),
            _ => Broadcast::new(!self.no_echo).on_message(outbox, id, message),
        }
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, id: ClientId, why: &Disconnect) {
        self.gone.push((id, *why));
        if let (Some(farewell), Some(room)) = (self.farewell, outbox.room(id)) {
            assert!(!outbox.members(room).contains(&id));
            outbox.broadcast(room, MessageKind::Text, farewell.as_bytes());
        }
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, 0x80];
    match payload.len() as u64 {
        len @ 0..=125 => bytes[1] |= u8::try_from(len).unwrap(),
        len => {
            if let Ok(len) = u16::try_from(len) {
                bytes[1] |= 0x7E;
                bytes.extend_from_slice(&len.to_be_bytes());
            } else {
                bytes[1] |= 0x7F;
                bytes.extend_from_slice(&len.to_be_bytes());
            }
        }
    }
    bytes.extend_from_slice(&KEY);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    unmask(&mut bytes[start..], KEY, 0);
    bytes
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

/// A frame as the server sends it.
fn told(first: u8, payload: &str) -> String {
    format!("[{first:x}:{payload}]")
}

/// Unmasked frames, readably.
fn readable(mut bytes: &[u8]) -> String {
    let mut frames = String::new();
    while let [first, len, rest @ ..] = bytes {
        let (len, rest) = match len {
            126 => (
                usize::from(u16::from_be_bytes([rest[0], rest[1]])),
                &rest[2..],
            ),
            len => (usize::from(*len), rest),
        };
        let payload = &rest[..len];
        match Opcode::from_wire(first & 0xF) {
            Some(Opcode::Close) if len >= 2 => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                frames.push_str(&told(*first, &code.to_string()));
            }
            _ => frames.push_str(&told(*first, &String::from_utf8_lossy(payload))),
        }
        bytes = &rest[len..];
    }
    frames
}

impl World {
    fn new(change: impl FnOnce(&mut HubConfig)) -> Self {
        let mut config = HubConfig::default();
        change(&mut config);
        let now = test_clock();
        Self {
            hub: Hub::new(config, now),
            now,
            handler: Recorder::default(),
        }
    }

    fn receive(&mut self, id: ClientId, bytes: &[u8]) {
        self.hub
            .receive(id, &mut bytes.to_vec(), self.now, &mut self.handler);
    }

    /// The same, read where it belongs as far as that can be: returns how much of it was.
    fn land(&mut self, id: ClientId, mut bytes: &[u8]) -> usize {
        let mut landed = 0;
        while !bytes.is_empty() {
            let count = if let Some(landing) = self.hub.landing(id) {
                let count = landing.len().min(bytes.len());
                landing[..count].copy_from_slice(&bytes[..count]);
                self.hub.landed(id, count, self.now, &mut self.handler);
                landed += count;
                count
            } else {
                let count = bytes.len().min(1000);
                self.receive(id, &bytes[..count]);
                count
            };
            bytes = &bytes[count..];
        }
        landed
    }

    fn accept(&mut self) -> ClientId {
        self.hub.accept(Peer::Unix, self.now).unwrap()
    }

    fn request(&mut self, id: ClientId, path: &str) {
        self.request_with(id, path, "");
    }

    /// The same with more fields, each with its line end.
    fn request_with(&mut self, id: ClientId, path: &str, fields: &str) {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {fields}\r\n"
        );
        self.receive(id, head.as_bytes());
    }

    /// A client that is open and has read its 101.
    fn connect(&mut self, path: &str) -> ClientId {
        let id = self.accept();
        self.request(id, path);
        assert!(self.hub.is_open(id));
        self.flush(&[]);
        id
    }

    /// Ends a turn: everybody but `stuck` takes all. Returns what each of them got.
    fn flush(&mut self, stuck: &[ClientId]) -> Vec<(ClientId, Vec<u8>)> {
        let (mut got, mut ids) = (Vec::new(), Vec::new());
        self.hub.take_dirty(&mut ids, self.now);
        for id in ids {
            let Some(outgoing) = self.hub.outgoing(id) else {
                continue;
            };
            let is_stuck = stuck.contains(&id);
            let bytes = outgoing.pieces().collect::<Vec<_>>().concat();
            let written = if is_stuck { 0 } else { bytes.len() };
            outgoing.advance(written);
            let _ = if self.hub.clients[id.index()].is_admin {
                self.hub.flushed_admin(id, written, is_stuck, self.now)
            } else {
                self.hub.flushed(id, written, is_stuck, self.now)
            };
            if !is_stuck {
                got.push((id, bytes));
            }
        }
        got
    }

    /// What one client gets at the end of the turn, as readable frames.
    fn heard(&mut self, id: ClientId) -> String {
        let got = self.flush(&[]);
        got.iter()
            .filter(|(who, _)| *who == id)
            .map(|(_, bytes)| readable(bytes))
            .collect()
    }

    /// The first line of what a client gets.
    fn status(&mut self, id: ClientId) -> String {
        let got = self.flush(&[]);
        let bytes = got
            .into_iter()
            .find(|(who, _)| *who == id)
            .map(|(_, bytes)| bytes);
        let text = String::from_utf8(bytes.unwrap_or_default()).unwrap();
        text.lines().next().unwrap_or_default().to_owned()
    }

    fn reap(&mut self) -> Vec<(ClientId, Disconnect)> {
        let (hub, handler, now) = (&mut self.hub, &mut self.handler, self.now);
        std::iter::from_fn(|| hub.reap(handler, now))
            .map(|gone| (gone.id, gone.why))
            .collect()
    }

    /// Lets time pass as a driver does, from deadline to deadline.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(deadline) = self.hub.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.hub.advance(self.now);
        }
        self.now = end;
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A world in which messages may be of 100,000 bytes.
fn large_world() -> World {
    World::new(|config| config.limits.max_message_size = 100_000)
}
