//! What the settings are said to allow at worst, against the allocator's books.

use std::time::Instant;

use allocation_counter::measure;
use fanfare::hub::MemoryPart;
use fanfare::{Broadcast, ClientId, Hub, HubConfig, MessageKind, Peer, SlowPolicy};

const CLIENTS: usize = 200;

const REQUEST: &str = "GET /ws/ROOM HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Clients who all do what costs much: a third never ends its request, the others are in rooms of
/// their own, are in the middle of a message, and take nothing of what is said to them.
fn crowd(config: HubConfig) -> (usize, usize) {
    let bound = config
        .worst_case_memory()
        .iter()
        .map(MemoryPart::bytes)
        .sum();
    let info = measure(|| {
        let now = now();
        let mut hub = Hub::new(config, now);
        let mut handler = Broadcast::new(true);
        let ids: Vec<ClientId> = (0..CLIENTS)
            .map(|_| hub.accept(Peer::Unix, now).expect("there is a place"))
            .collect();
        let (half_open, open) = ids.split_at(CLIENTS / 3);
        for id in half_open {
            let mut head = b"GET / HTTP/1.1\r\nA: ".to_vec();
            head.resize(16_000, b'a');
            hub.receive(*id, &mut head, now, &mut handler);
        }
        for (number, id) in open.iter().enumerate() {
            let mut request = REQUEST.replace("ROOM", &format!("{number}")).into_bytes();
            hub.receive(*id, &mut request, now, &mut handler);
            // The header of a message of 60,000 bytes, and all of it but the last byte.
            let mut part = vec![0x82, 0xFE, 0xEA, 0x60, 0, 0, 0, 0];
            part.resize(8 + 59_999, b'x');
            hub.receive(*id, &mut part, now, &mut handler);
        }
        for _ in 0..40 {
            for number in 0..open.len() {
                hub.publish(&number.to_string(), MessageKind::Binary, &vec![7; 40_000]);
            }
            turn(&mut hub, &mut handler, now);
        }
    });
    (usize::try_from(info.bytes_max).expect("it fits"), bound)
}

/// Nobody takes anything.
fn turn(hub: &mut Hub, handler: &mut Broadcast, now: Instant) {
    let mut ids = Vec::new();
    hub.take_dirty(&mut ids, now);
    for id in ids {
        assert!(!hub.flushed(id, 0, true, now));
    }
    while hub.reap(handler, now).is_some() {}
}

#[expect(clippy::disallowed_methods, reason = "only differences matter")]
fn now() -> Instant {
    Instant::now()
}

fn check(change: impl FnOnce(&mut HubConfig), least_part: usize) {
    let mut config = HubConfig::default();
    config.max_connections = CLIENTS;
    change(&mut config);
    let (most, bound) = crowd(config);
    assert!(
        most <= bound,
        "{most} bytes were held, {bound} are said to be the most"
    );
    // A bound that is far too high would be no answer.
    assert!(most >= bound / least_part, "{most} of {bound} bytes");
}

#[test]
fn a_crowd_that_costs_much_holds_no_more_than_is_said() {
    // What is owed may hold eight times as much, if others hear the rest of it.
    check(|_| {}, 30);
    check(|config| config.slow_policy = SlowPolicy::Drop, 30);
    check(|config| config.slow_policy = SlowPolicy::Latest, 300);
}

#[test]
fn a_total_that_is_limited_is_what_counts() {
    check(|config| config.max_total_buffer = Some(32 << 20), 10);
    check(
        |config| {
            config.max_total_buffer = Some(2 << 20);
            config.slow_policy = SlowPolicy::Drop;
        },
        10,
    );
}
