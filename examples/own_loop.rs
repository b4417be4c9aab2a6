//! The hub in a loop of your own, without a socket: two clients are two byte queues, and time is a
//! number that the loop moves. This is how a simulator drives it, and how yours could.
//!
//! The second half goes one depth further: the protocol alone, as a function of bytes.
//!
//! `cargo run --example own_loop` prints what each of them hears.

use std::time::{Duration, Instant};

use fanfare::hub::{Departure, Peer};
use fanfare::protocol::{Connection, Event, FrameHeader, Input, Opcode, unmask};
use fanfare::{Broadcast, ClientId, Disconnect, Hub, HubConfig, Limits};

const REQUEST: &[u8] = b"GET /ws/lobby HTTP/1.1\r\nHost: example\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn main() {
    hub_without_sockets();
    protocol_alone();
}

fn hub_without_sockets() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a driver is where the time comes from"
    )]
    let mut now = Instant::now();
    let mut hub = Hub::new(HubConfig::default(), now);
    let mut handler = Broadcast::new(true);

    let [ada, bob] = [(); 2].map(|()| hub.accept(Peer::Unix, now).expect("there is room"));
    for id in [ada, bob] {
        hub.receive(id, &mut REQUEST.to_vec(), now, &mut handler);
    }
    hub.receive(ada, &mut masked(Opcode::Text, b"hello"), now, &mut handler);
    turn(&mut hub, &mut handler, now);

    // Nobody says anything for a while: the hub asks whether they are there, and gives them up.
    for _ in 0..4 {
        now = hub.next_deadline().unwrap_or(now + Duration::from_secs(60));
        println!("time passes until the next deadline");
        turn(&mut hub, &mut handler, now);
    }
    hub.hang_up(ada, Disconnect::Gone);
    turn(&mut hub, &mut handler, now);
}

/// One turn of a driver: fire what is due, flush who is owed something, reap who is gone.
fn turn(hub: &mut Hub, handler: &mut Broadcast, now: Instant) {
    hub.advance(now);
    let mut dirty: Vec<ClientId> = Vec::new();
    hub.take_dirty(&mut dirty, now);
    for id in dirty {
        let Some(outgoing) = hub.outgoing(id) else {
            continue;
        };
        // A socket might take less. Whatever it takes is taken note of, twice.
        let bytes: Vec<u8> = outgoing.pieces().flatten().copied().collect();
        outgoing.advance(bytes.len());
        println!("{id} hears {}", bytes.escape_ascii());
        if hub.flushed(id, bytes.len(), false, now) {
            println!("{id} is to be shut down for writing");
        }
    }
    while let Some(Departure { id, why, .. }) = hub.reap(handler, now) {
        println!("{id} is gone: {why}");
    }
}

fn protocol_alone() {
    let mut connection = Connection::new(Limits::default());
    let mut bytes = [
        masked(Opcode::Ping, b"?"),
        masked(Opcode::Text, b"bytes in, events out"),
    ]
    .concat();
    let (mut input, mut output) = (Input::new(&mut bytes), Vec::new());
    loop {
        match connection.receive(&mut input, &mut output) {
            Ok(Some(Event::Message(message))) => println!("message: {:?}", message.as_text()),
            Ok(Some(event)) => println!("{event:?}"),
            Ok(None) => break,
            Err(error) => return println!("failed: {error}"),
        }
    }
    println!("to send: {}", output.escape_ascii());
}

/// A frame as a client sends it.
fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = Vec::new();
    let header = FrameHeader {
        mask: Some(key),
        ..FrameHeader::unmasked(opcode, payload.len())
    };
    header.encode(&mut frame);
    let start = frame.len();
    frame.extend_from_slice(payload);
    unmask(&mut frame[start..], key, 0);
    frame
}
