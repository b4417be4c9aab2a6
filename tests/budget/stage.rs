//! The hub without a socket, driven as the server drives it: what it costs by itself.
#![allow(dead_code, reason = "each program needs a part of it")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use fanfare::hub::{MAX_RECEIVE, Peer};
use fanfare::protocol::{FrameHeader, Opcode, unmask};
use fanfare::{Broadcast, ClientId, Handler, Hub, HubConfig, Message, MessageKind, Outbox};

/// What happens in every turn of a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) rooms: usize,
    /// Members of each room.
    pub(crate) members: usize,
    /// Members of each room who speak.
    pub(crate) speakers: usize,
    /// Messages of each speaker, which arrive in one read.
    pub(crate) messages: usize,
    pub(crate) speech: Speech,
    /// Bytes of each payload.
    pub(crate) size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// A message that all members of the room hear.
    Broadcast(MessageKind),
    /// A message that its sender alone hears.
    Echo(MessageKind),
    /// A Ping, which is answered.
    Ping,
}

/// The scenario of most others: one member of a thousand says one short text.
const SERIAL: Scenario = Scenario {
    name: "serial",
    rooms: 1,
    members: 1000,
    speakers: 1,
    messages: 1,
    speech: Speech::Broadcast(MessageKind::Text),
    size: 64,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    SERIAL,
    Scenario {
        name: "serial-binary",
        speech: Speech::Broadcast(MessageKind::Binary),
        ..SERIAL
    },
    Scenario {
        name: "burst-16",
        messages: 16,
        ..SERIAL
    },
    Scenario {
        name: "4-publishers-16",
        speakers: 4,
        messages: 16,
        ..SERIAL
    },
    Scenario {
        name: "16-kib",
        size: 16 * 1024,
        ..SERIAL
    },
    Scenario {
        name: "16-kib-binary",
        speech: Speech::Broadcast(MessageKind::Binary),
        size: 16 * 1024,
        ..SERIAL
    },
    Scenario {
        name: "16-kib-by-4",
        speakers: 4,
        size: 16 * 1024,
        ..SERIAL
    },
    Scenario {
        name: "100-rooms-of-10",
        rooms: 100,
        members: 10,
        ..SERIAL
    },
    Scenario {
        name: "echo-100",
        members: 100,
        speakers: 100,
        speech: Speech::Echo(MessageKind::Text),
        ..SERIAL
    },
    Scenario {
        name: "echo-100-by-16",
        members: 100,
        speakers: 100,
        messages: 16,
        speech: Speech::Echo(MessageKind::Text),
        ..SERIAL
    },
    Scenario {
        name: "ping-100",
        members: 100,
        speakers: 100,
        speech: Speech::Ping,
        ..SERIAL
    },
];

pub(crate) fn scenario(name: &str) -> Option<Scenario> {
    SCENARIOS.iter().copied().find(|other| other.name == name)
}

impl Scenario {
    /// Messages, or Pings, in one turn.
    pub(crate) fn messages_per_turn(&self) -> usize {
        self.rooms * self.speakers * self.messages
    }

    /// How often one of them is written to somebody, in one turn.
    pub(crate) fn deliveries_per_turn(&self) -> usize {
        let listeners = match self.speech {
            Speech::Broadcast(_) => self.members,
            Speech::Echo(_) | Speech::Ping => 1,
        };
        self.messages_per_turn() * listeners
    }
}

/// Whoever says something hears it, and nobody else.
struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: Message<'_>) {
        outbox.send(id, message.kind, message.payload);
    }
}

/// A hub with its clients, and what they say.
pub(crate) struct Stage {
    scenario: Scenario,
    hub: Hub,
    handler: Box<dyn Handler>,
    speakers: Vec<ClientId>,
    /// What each speaker says in a turn, as it arrives.
    said: Vec<u8>,
    /// What is read into, as by the server's loop.
    buffer: Vec<u8>,
    dirty: Vec<ClientId>,
    now: Instant,
}

impl Stage {
    /// All clients are open, and have been written what came before the first message.
    pub(crate) fn new(scenario: Scenario) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "some instant to start from; only differences matter"
        )]
        let now = Instant::now();
        let mut config = HubConfig::default();
        config.max_connections = scenario.rooms * scenario.members;
        let mut stage = Self {
            scenario,
            hub: Hub::new(config, now),
            handler: match scenario.speech {
                Speech::Echo(_) => Box::new(Echo),
                Speech::Broadcast(_) | Speech::Ping => Box::new(Broadcast::new(true)),
            },
            speakers: Vec::new(),
            said: frame(scenario).repeat(scenario.messages),
            buffer: vec![0; MAX_RECEIVE],
            dirty: Vec::new(),
            now,
        };
        assert!(stage.said.len() <= MAX_RECEIVE, "it arrives in one read");
        for room in 0..scenario.rooms {
            let request = format!(
                "GET /ws/{room} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            for member in 0..scenario.members {
                let id = stage.hub.accept(Peer::Unix, now).expect("there is room");
                let mut bytes = request.clone().into_bytes();
                stage.hub.receive(id, &mut bytes, now, &mut *stage.handler);
                assert!(stage.hub.is_open(id), "the request is a good one");
                if member < scenario.speakers {
                    stage.speakers.push(id);
                }
            }
        }
        stage.write();
        stage
    }

    /// Bytes that one turn must write.
    pub(crate) fn bytes_per_turn(&self) -> usize {
        let mut heard = Vec::new();
        FrameHeader::unmasked(Opcode::Binary, self.scenario.size).encode(&mut heard);
        self.scenario.deliveries_per_turn() * (heard.len() + self.scenario.size)
    }

    /// One turn, a millisecond after the last. Returns the bytes written.
    pub(crate) fn turn(&mut self) -> usize {
        self.now += Duration::from_millis(1);
        for speaker in &self.speakers {
            self.hub.readable(*speaker, true);
        }
        for speaker in &self.speakers {
            let bytes = &mut self.buffer[..self.said.len()];
            bytes.copy_from_slice(&self.said);
            self.hub
                .receive(*speaker, bytes, self.now, &mut *self.handler);
        }
        self.write()
    }

    /// The second half of a turn: everybody takes all that it is owed.
    fn write(&mut self) -> usize {
        self.hub.advance(self.now);
        self.hub.take_dirty(&mut self.dirty, self.now);
        let mut total = 0;
        for id in self.dirty.drain(..) {
            let Some(outgoing) = self.hub.outgoing(id) else {
                continue;
            };
            let written = match outgoing.only_piece() {
                Some(piece) => black_box(piece).len(),
                None => outgoing.pieces().map(|piece| black_box(piece).len()).sum(),
            };
            outgoing.advance(written);
            assert!(!self.hub.flushed(id, written, false, self.now));
            total += written;
        }
        assert!(self.hub.reap(&mut *self.handler, self.now).is_none());
        total
    }
}

/// One frame of a client.
fn frame(scenario: Scenario) -> Vec<u8> {
    let key = [0x37, 0xFA, 0x21, 0x3D];
    let opcode = match scenario.speech {
        Speech::Broadcast(kind) | Speech::Echo(kind) => kind.opcode(),
        Speech::Ping => Opcode::Ping,
    };
    let mut frame = Vec::new();
    let header = FrameHeader {
        mask: Some(key),
        ..FrameHeader::unmasked(opcode, scenario.size)
    };
    header.encode(&mut frame);
    let start = frame.len();
    frame.extend((b'a'..=b'z').cycle().take(scenario.size));
    unmask(&mut frame[start..], key, 0);
    frame
}
