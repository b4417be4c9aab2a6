//! Much to hear at once, after a break: who reads it is not slow.

use std::time::Duration;

use fanfare::Disconnect;
use socket2::SockRef;

use super::{Probe, joined};
use crate::fake_redis::{CHANNEL, envelope, message};
use crate::peer::{BINARY, DEADLINE, Peer, upgrade};
use crate::running::{Event, Running};

const MESSAGES: u64 = 20_000;
const LEN: usize = 1000;

/// What a client's kernel holds for it: little, so that it matters whether the client reads.
const RECEIVE_BUFFER: usize = 32 * 1024;

/// A client whose kernel holds little for it.
fn open_small(server: &Running) -> Peer {
    let peer = server.connect();
    let socket = SockRef::from(&peer.stream);
    socket.set_recv_buffer_size(RECEIVE_BUFFER).expect("small");
    let mut peer = peer;
    peer.send(upgrade("/ws"));
    peer.expect_upgrade();
    peer
}

fn payload(number: u64) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(LEN, b'x');
    payload
}

fn backlog() -> Vec<u8> {
    let numbers = 0..MESSAGES;
    let messages = numbers.map(|i| message(CHANNEL, &envelope(7, i + 1, "", &payload(i))));
    messages.flatten().collect()
}

#[test]
fn who_reads_all_of_a_backlog_is_not_slow() {
    let (server, _fake, redis) = joined(|_| {});
    let probe = Probe::start(server.address());
    let peers: Vec<Peer> = (0..10).map(|_| open_small(&server)).collect();
    std::thread::scope(|scope| {
        for mut peer in peers {
            scope.spawn(move || {
                for i in 0..MESSAGES {
                    peer.expect_frame(BINARY, payload(i));
                }
            });
        }
        redis.send(backlog());
    });
    probe.check();
    assert_eq!(
        server.metric("fanfare_clients_departed_total{cause=\"too_slow\"}"),
        0
    );
}

/// Whoever reads nothing goes as ever, and holds up the others for a moment.
#[test]
fn who_does_not_read_holds_nobody_up_for_long() {
    let (server, _fake, redis) = joined(|config| {
        config.hub.close_timeout = Duration::from_millis(100);
    });
    let stuck = open_small(&server);
    let mut peer = server.open("/ws");
    std::thread::scope(|scope| {
        let voice = redis.voice.clone();
        scope.spawn(move || voice.send(backlog()));
        let begun = crate::fake_redis::now();
        for i in 0..MESSAGES {
            peer.expect_frame(BINARY, payload(i));
        }
        let took = begun.elapsed();
        assert!(took < DEADLINE / 2, "{took:?}");
    });
    let slow = |event: &Event| matches!(event, Event::Left(Disconnect::TooSlow, _));
    let left = server.events().iter().find(slow);
    assert!(left.is_some());
    drop(stuck);
}
