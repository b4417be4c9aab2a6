//! A broadcast through the hub, without a socket: said, sealed, flushed.

use std::cell::RefCell;
use std::time::Instant;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use fanfare::hub::Peer;
use fanfare::{Broadcast, ClientId, Hub, HubConfig, MessageKind};

const MEMBERS: [usize; 3] = [10, 1000, 10_000];

const PAYLOAD: [u8; 64] = [b'x'; 64];

/// A hub with one room.
struct Room {
    hub: Hub,
    dirty: Vec<ClientId>,
    now: Instant,
}

impl Room {
    fn of(members: usize) -> Self {
        let now = crate::start();
        let mut config = HubConfig::default();
        config.max_connections = members;
        let mut room = Self {
            hub: Hub::new(config, now),
            dirty: Vec::new(),
            now,
        };
        let request = b"GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        for _ in 0..members {
            let id = room.hub.accept(Peer::Unix, now).expect("there is room");
            let mut bytes = request.to_vec();
            room.hub
                .receive(id, &mut bytes, now, &mut Broadcast::new(true));
        }
        room.seal();
        room.flush();
        room
    }

    fn say(&mut self) -> usize {
        self.hub.publish("", MessageKind::Text, black_box(&PAYLOAD))
    }

    fn seal(&mut self) {
        self.hub.take_dirty(&mut self.dirty, self.now);
    }

    fn flush(&mut self) {
        for id in self.dirty.drain(..) {
            let Some(outgoing) = self.hub.outgoing(id) else {
                continue;
            };
            let written = outgoing.pieces().map(|piece| black_box(piece).len()).sum();
            outgoing.advance(written);
            assert!(!self.hub.flushed(id, written, false, self.now));
        }
    }
}

/// A message is appended to the room's batch; what came of the last one is not timed.
#[divan::bench(args = MEMBERS, sample_size = 1, sample_count = 2000)]
fn say(bencher: Bencher, members: usize) {
    let room = RefCell::new(Room::of(members));
    bencher
        .with_inputs(|| {
            let mut room = room.borrow_mut();
            room.seal();
            room.flush();
        })
        .bench_local_values(|()| room.borrow_mut().say());
}

/// Items are members.
#[divan::bench(args = MEMBERS, sample_size = 1, sample_count = 1000)]
fn seal(bencher: Bencher, members: usize) {
    let room = RefCell::new(Room::of(members));
    bencher
        .counter(ItemsCount::new(members))
        .with_inputs(|| {
            let mut room = room.borrow_mut();
            room.flush();
            assert_eq!(room.say(), members);
        })
        .bench_local_values(|()| room.borrow_mut().seal());
}

#[divan::bench(args = MEMBERS, sample_size = 1, sample_count = 1000)]
fn flush(bencher: Bencher, members: usize) {
    let room = RefCell::new(Room::of(members));
    bencher
        .counter(ItemsCount::new(members))
        .with_inputs(|| {
            let mut room = room.borrow_mut();
            assert_eq!(room.say(), members);
            room.seal();
        })
        .bench_local_values(|()| room.borrow_mut().flush());
}

/// All three.
#[divan::bench(args = MEMBERS)]
fn turn(bencher: Bencher, members: usize) {
    let mut room = Room::of(members);
    bencher.counter(ItemsCount::new(members)).bench_local(|| {
        room.say();
        room.seal();
        room.flush();
    });
}

/// What a turn costs in which nothing is due.
#[divan::bench(args = MEMBERS)]
fn advance_with_nothing_due(bencher: Bencher, members: usize) {
    let mut room = Room::of(members);
    bencher.bench_local(|| {
        room.hub.advance(black_box(room.now));
        black_box(room.hub.next_deadline())
    });
}
