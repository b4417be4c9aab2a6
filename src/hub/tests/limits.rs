//! Limits: on connections, on what one client may say, and on what is owed to all.

use super::*;
use crate::hub::client::AddressState;

fn rate(per_second: u64, burst: u64) -> Rate {
    Rate { per_second, burst }
}

fn inet(address: &str) -> Peer {
    Peer::Inet(format!("{address}:1234").parse().unwrap())
}

/// How often each reason was counted that was counted at all.
fn refusals(world: &World) -> Vec<(HandshakeError, u64)> {
    let counted = world.hub.metrics().refusals_by_reason();
    counted.filter(|(_, count)| *count > 0).collect()
}

impl World {
    fn accept_inet(&mut self, address: &str) -> ClientId {
        self.hub.accept(inet(address), self.now).unwrap()
    }

    fn leave(&mut self, id: ClientId) {
        self.hub.hang_up(id, Disconnect::Gone);
        self.reap();
    }
}

#[test]
fn one_message_more_than_the_rate_allows_is_the_last() {
    let mut world = World::new(|config| config.message_rate = Some(rate(2, 3)));
    let [a, b] = [world.connect("/ws"), world.connect("/ws")];
    let four = ["1", "2", "3", "4"].map(text).concat();
    world.receive(a, &[&four[..], &text("5"), &frame(0x89, b"x")].concat());
    let got = world.flush(&[]);
    let heard = |id| {
        let all = got.iter().find(|(who, _)| *who == id);
        all.map(|(_, bytes)| readable(bytes)).unwrap_or_default()
    };
    assert_eq!(heard(b), "[81:1][81:2][81:3]");
    assert_eq!(heard(a), "[81:1][81:2][81:3][88:1008]");
    world.receive(a, &text("6"));
    assert_eq!(world.heard(b), "");
    world.hub.hang_up(a, Disconnect::Gone);
    assert_eq!(world.reap(), [(a, Disconnect::RateLimited)]);
    assert_eq!(world.hub.metrics().messages_received, 3);
    // The other has its own, and time fills it again.
    world.receive(b, &["1", "2", "3"].map(text).concat());
    world.pass(Duration::from_millis(500));
    world.receive(b, &text("4"));
    assert!(world.hub.is_open(b));
    world.receive(b, &text("5"));
    assert!(!world.hub.is_open(b));
}

/// What was said while the process was stopped comes all at once, on a clock that stood still.
#[test]
fn nobody_is_over_a_rate_for_what_was_said_while_the_server_was_stopped() {
    for (seconds, is_open) in [(9, true), (8, false)] {
        let mut world = World::new(|config| config.message_rate = Some(rate(1, 2)));
        let id = world.connect("/ws");
        world.receive(id, &[text("1"), text("2")].concat());
        world.pass(Duration::from_secs(1));
        world.receive(id, &text("3"));
        world.hub.stood_still(Duration::from_secs(seconds - 7));
        world.receive(id, &[text("4"), text("5")].concat());
        assert_eq!(world.hub.is_open(id), is_open);
    }
}

#[test]
fn control_frames_are_no_messages() {
    let mut world = World::new(|config| config.message_rate = Some(rate(1, 1)));
    let id = world.connect("/ws");
    for _ in 0..10 {
        world.receive(id, &frame(0x89, b"x"));
        world.receive(id, &frame(0x8A, b"x"));
    }
    // A message in pieces is one.
    world.receive(id, &frame(0x01, b"a"));
    world.receive(id, &frame(0x80, b"b"));
    assert!(world.hub.is_open(id));
    world.receive(id, &frame(0x01, b"a"));
    assert!(world.hub.is_open(id));
    world.receive(id, &frame(0x80, b"b"));
    assert!(!world.hub.is_open(id));
}

#[test]
fn all_bytes_of_an_open_client_count_and_it_makes_no_difference_how_they_are_cut() {
    let hello = text("hello");
    let bytes = [&hello[..], &frame(0x89, b""), &hello, &hello].concat();
    for (burst, heard) in [
        (bytes.len(), "[81:hello][8a:][81:hello][81:hello]"),
        (bytes.len() - 1, "[81:hello][8a:][81:hello][88:1008]"),
        (hello.len(), "[81:hello][88:1008]"),
        (hello.len() - 1, "[88:1008]"),
    ] {
        for step in [1, 7, bytes.len()] {
            let mut world = World::new(|config| config.byte_rate = Some(rate(1, burst as u64)));
            // The request is not counted, and what is behind it is.
            let id = world.connect("/ws");
            for piece in bytes.chunks(step) {
                world.receive(id, piece);
            }
            assert_eq!(world.heard(id), heard, "{burst} in steps of {step}");
        }
    }
}

#[test]
fn the_first_bytes_behind_the_request_count_too() {
    for (burst, is_open) in [(11, true), (10, false)] {
        let mut world = World::new(|config| config.byte_rate = Some(rate(1, burst)));
        let id = world.accept();
        let request = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        world.receive(id, &[request.as_bytes(), &text("hello")].concat());
        assert_eq!(world.hub.is_open(id), is_open);
    }
}

#[test]
fn bytes_that_are_read_where_they_belong_count_too() {
    let bytes = frame(0x82, &vec![0; 90_000]);
    for (burst, is_open) in [(bytes.len(), true), (bytes.len() - 1, false)] {
        let mut world = World::new(|config| {
            config.limits.max_message_size = 100_000;
            config.byte_rate = Some(rate(1, burst as u64));
        });
        let id = world.connect("/ws");
        assert!(world.land(id, &bytes) > 50_000);
        assert_eq!(world.hub.is_open(id), is_open);
        assert_eq!(world.hub.metrics().messages_received, u64::from(is_open));
    }
    let mut world = large_world();
    world.hub.config.message_rate = Some(rate(1, 1));
    let id = world.connect("/ws");
    assert!(world.land(id, &bytes) > 50_000 && world.hub.is_open(id));
    assert!(world.land(id, &bytes) > 50_000 && !world.hub.is_open(id));
    assert_eq!(world.hub.metrics().messages_received, 1);
}

#[test]
fn who_only_listens_has_no_buckets() {
    let mut world = World::new(|config| {
        config.message_rate = Some(rate(1, 1));
        config.byte_rate = Some(rate(1, 1));
    });
    let id = world.connect("/ws");
    assert!(world.hub.clients[id.index()].terms.is_none());
}

#[test]
fn one_connection_more_than_an_address_may_have_is_told_so() {
    let mut world = World::new(|config| config.max_connections_per_ip = Some(2));
    let ids = [0; 3].map(|_| world.accept_inet("192.0.2.1"));
    let other = world.accept_inet("192.0.2.2");
    for id in [ids[0], ids[1], other] {
        world.request(id, "/ws");
        assert!(world.hub.is_open(id));
    }
    world.request(ids[2], "/ws");
    assert_eq!(world.status(ids[2]), "HTTP/1.1 429 Too Many Requests");
    assert_eq!(refusals(&world), [(HandshakeError::TooManyFromAddress, 1)]);
    // It does not count, and whoever leaves makes room.
    world.leave(ids[0]);
    let newcomer = world.accept_inet("192.0.2.1");
    world.request(newcomer, "/ws");
    assert!(world.hub.is_open(newcomer));
    for id in [ids[1], other, newcomer, ids[2]] {
        world.leave(id);
    }
    assert_eq!(
        (world.hub.addresses.len(), world.hub.addresses.told()),
        (0, 0)
    );
}

#[test]
fn those_who_are_to_be_told_are_few() {
    let mut world = World::new(|config| config.max_connections_per_ip = Some(1));
    let first = world.accept_inet("192.0.2.1");
    let told: Vec<_> = (0..MAX_SURPLUS)
        .map(|_| world.accept_inet("192.0.2.1"))
        .collect();
    let refused = world.hub.accept(inet("192.0.2.1"), world.now);
    assert_eq!(refused, Err(Refusal::TooManyFromAddress));
    assert_eq!(refusals(&world), [(HandshakeError::TooManyFromAddress, 1)]);
    world.accept_inet("192.0.2.2");
    world.leave(told[0]);
    world.accept_inet("192.0.2.1");
    world.leave(first);
    // There is a place again, so nobody needs to be told anything.
    assert_eq!(world.hub.addresses.told(), MAX_SURPLUS);
    let id = world.accept_inet("192.0.2.1");
    let client = &world.hub.clients[id.index()];
    assert_eq!(client.address, AddressState::Counted);
}

#[test]
fn whom_a_trusted_proxy_connects_is_counted_when_the_request_has_come() {
    let mut world = World::new(|config| {
        config.max_connections_per_ip = Some(1);
        config.trusted_proxies = vec!["192.0.2.1".parse().unwrap()];
    });
    let ids = [0; 2].map(|_| world.accept_inet("192.0.2.1"));
    assert_eq!(world.hub.addresses.len(), 0);
    for (id, is_open) in ids.into_iter().zip([true, false]) {
        world.request(id, "/ws");
        assert_eq!(world.hub.is_open(id), is_open);
    }
    assert_eq!(world.status(ids[1]), "HTTP/1.1 429 Too Many Requests");
    world.leave(ids[0]);
    assert_eq!(world.hub.addresses.len(), 0);
}

#[test]
fn local_processes_have_no_address_to_be_counted() {
    let mut world = World::new(|config| config.max_connections_per_ip = Some(1));
    for _ in 0..3 {
        world.connect("/ws");
    }
}

#[test]
fn the_handshake_that_has_waited_the_longest_makes_way() {
    let mut world = World::new(|config| config.max_handshakes = Some(2));
    let open = world.connect("/ws");
    let silent = world.accept();
    let slow = world.accept();
    world.receive(slow, b"GET /ws HT");
    let third = world.accept();
    let too_many = Disconnect::Refused(HandshakeError::TooManyHandshakes);
    // It has asked for nothing, and hears nothing.
    assert_eq!(world.flush(&[]), []);
    assert_eq!(world.reap(), [(silent, too_many)]);
    let fourth = world.accept();
    assert_eq!(world.status(slow), "HTTP/1.1 503 Service Unavailable");
    assert_eq!(world.hub.handshakes.len(), 2);
    // Who is done in whatever way makes room: by its request, or by going.
    world.request(third, "/ws");
    world.leave(fourth);
    let ids = [world.accept(), world.accept()];
    for id in ids {
        world.request(id, "/nowhere");
        assert_eq!(world.status(id), "HTTP/1.1 404 Not Found");
    }
    assert_eq!(world.hub.handshakes.len(), 0);
    assert!(world.hub.is_open(open) && world.hub.is_open(third));
    let expected = [
        (HandshakeError::NotFound, 2),
        (HandshakeError::TooManyHandshakes, 2),
    ];
    assert_eq!(refusals(&world), expected);
}

#[test]
fn a_handshake_that_ends_by_its_deadline_or_a_drain_makes_room() {
    let mut world = World::new(|config| config.max_handshakes = Some(3));
    world.accept();
    let half = world.accept();
    world.receive(half, b"GET");
    world.pass(seconds(6));
    assert_eq!(world.hub.handshakes.len(), 0);
    let ids = [world.accept(), world.accept()];
    world.receive(ids[0], b"GET");
    world.hub.drain(world.now, Duration::ZERO);
    assert_eq!(world.hub.handshakes.len(), 0);
    let expected = [(HandshakeError::TimedOut, 2), (HandshakeError::Draining, 2)];
    assert_eq!(refusals(&world), expected);
}

#[test]
fn one_member_more_than_a_room_may_have_is_told_so() {
    let mut world = World::new(|config| config.max_room_members = Some(2));
    let [a, _] = [world.connect("/ws/a"), world.connect("/ws/a")];
    world.connect("/ws/b");
    let late = world.accept();
    world.request(late, "/ws/a");
    assert_eq!(world.status(late), "HTTP/1.1 503 Service Unavailable");
    assert_eq!(refusals(&world), [(HandshakeError::RoomFull, 1)]);
    world.leave(a);
    world.connect("/ws/a");
}

#[test]
fn surplus_clients_are_counted_by_reason_with_or_without_an_answer() {
    let mut world = World::new(|config| config.max_connections = 1);
    world.connect("/ws");
    let ids: Vec<_> = (0..MAX_SURPLUS).map(|_| world.accept()).collect();
    world.request(ids[0], "/ws");
    assert_eq!(world.status(ids[0]), "HTTP/1.1 503 Service Unavailable");
    assert!(world.hub.accept(Peer::Unix, world.now).is_err());
    assert_eq!(refusals(&world), [(HandshakeError::Full, 2)]);
}

/// A world in which 300,000 bytes may be owed in all.
fn small_world() -> World {
    World::new(|config| {
        config.max_client_buffer = 250_000;
        config.max_total_buffer = Some(300_000);
    })
}

#[test]
fn what_clients_share_is_owed_once() {
    let mut world = small_world();
    let ids: Vec<_> = (0..10).map(|_| world.connect("/ws")).collect();
    world.reap();
    assert_eq!(world.hub.total_owed(), Some(0));
    for _ in 0..3 {
        world.hub.publish("", MessageKind::Binary, &vec![0; 60_000]);
        world.flush(&ids);
        assert_eq!(world.reap(), []);
    }
    // Three batches, and what each piece of a queue costs.
    let total = 3 * 60_004 + 3 * ids.len() * 64;
    assert_eq!(world.hub.total_owed(), Some(total));
    for id in &ids {
        world.hub.writable(*id);
    }
    world.flush(&ids[..1]);
    assert_eq!(world.hub.total_owed(), Some(3 * 60_004 + 3 * 64));
    world.hub.hang_up(ids[0], Disconnect::Reset);
    assert_eq!(world.hub.total_owed(), Some(0), "though buffers are kept");
}

#[test]
fn what_is_said_to_one_client_alone_is_owed_as_long_as_it_is_not_written() {
    let mut world = small_world();
    let id = world.connect("/ws");
    world.reap();
    let mut outbox = world.hub.outbox(world.now);
    assert!(outbox.send(id, MessageKind::Binary, &[0; 1000]));
    assert!(outbox.send(id, MessageKind::Binary, vec![0; 70_000]));
    assert_eq!(world.hub.total_owed(), Some(1004 + 70_010 + 2 * 64));
    let outgoing = world.hub.outgoing(id).unwrap();
    outgoing.advance(1000);
    assert_eq!(world.hub.total_owed(), Some(4 + 70_010 + 2 * 64));
    world.hub.outgoing(id).unwrap().advance(4 + 10);
    assert_eq!(world.hub.total_owed(), Some(70_010 + 64));
    world.hub.outgoing(id).unwrap().advance(70_000);
    assert_eq!(world.hub.total_owed(), Some(0));
}

#[test]
fn when_too_much_is_owed_who_owes_the_most_goes_until_it_suffices() {
    let mut world = small_world();
    let rooms = ["a", "b", "c"];
    let ids = rooms.map(|room| world.connect(&format!("/ws/{room}")));
    for (room, count) in rooms.into_iter().zip([1, 3, 2]) {
        for _ in 0..count {
            world
                .hub
                .publish(room, MessageKind::Binary, &vec![0; 49_900]);
            world.flush(&ids);
            assert_eq!(world.reap(), []);
        }
    }
    assert_eq!(world.hub.total_owed(), Some(6 * (49_904 + 64)));
    let more = |world: &mut World, len: usize| {
        world.hub.publish("a", MessageKind::Binary, &vec![0; len]);
        world.flush(&ids);
        world.reap();
    };
    // Exactly as much as there may be. The next message is too much.
    more(&mut world, 60);
    more(&mut world, 0);
    assert_eq!(world.hub.total_owed(), Some(300_000));
    assert!(ids.iter().all(|id| world.hub.is_open(*id)));
    more(&mut world, 0);
    assert!(!world.hub.is_open(ids[1]) && world.hub.is_open(ids[0]) && world.hub.is_open(ids[2]));
    // Its stream ends with a frame, so it is told.
    let pieces: Vec<_> = world.hub.outgoing(ids[1]).unwrap().pieces().collect();
    assert_eq!(readable(&pieces.concat()), "[88:1013]");
    assert!(world.hub.total_owed().unwrap() < 200_000);
    world.hub.hang_up(ids[1], Disconnect::Gone);
    world.pass(seconds(6));
    let evicted = (ids[1], Disconnect::Evicted);
    assert!(world.reap().contains(&evicted));
}

#[test]
fn where_the_same_is_owed_by_many_they_go_one_after_the_other() {
    let mut world = small_world();
    let ids: Vec<_> = (0..300).map(|_| world.connect("/ws")).collect();
    let other = world.connect("/ws/other");
    for len in [120_000, 100_000] {
        let message = vec![0; len];
        world.hub.publish("", MessageKind::Binary, &message);
        world.flush(&ids);
        world.reap();
    }
    let mut outbox = world.hub.outbox(world.now);
    assert!(outbox.send(other, MessageKind::Binary, vec![0; 90_000]));
    let mut all = ids.clone();
    all.push(other);
    let is_open = |world: &World| all.iter().filter(|id| world.hub.is_open(**id)).count();
    // 256 of them do not suffice, though nobody owes more than they do.
    world.flush(&all);
    world.reap();
    assert_eq!(is_open(&world), 301 - 256);
    assert!(world.hub.has_work());
    world.flush(&all);
    world.reap();
    assert_eq!(is_open(&world), 1);
    assert!(world.hub.is_open(other));
    assert!(world.hub.total_owed().unwrap() <= 300_000);
}

#[test]
fn who_takes_all_at_once_is_never_too_much() {
    let mut world = small_world();
    let ids: Vec<_> = (0..3).map(|i| world.connect(&format!("/ws/{i}"))).collect();
    for _ in 0..20 {
        for room in ["0", "1", "2"] {
            world
                .hub
                .publish(room, MessageKind::Binary, &vec![0; 110_000]);
        }
        world.flush(&[]);
        world.reap();
        assert_eq!(world.hub.total_owed(), Some(0));
    }
    assert!(ids.iter().all(|id| world.hub.is_open(*id)));
}

#[test]
fn a_total_that_is_limited_later_counts_what_is_owed_to_each_by_then() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    let mut outbox = world.hub.outbox(world.now);
    assert!(outbox.send(id, MessageKind::Binary, &[0; 1000]));
    world.hub.config.max_total_buffer = Some(1 << 20);
    world.flush(&[id]);
    world.reap();
    assert_eq!(world.hub.total_owed(), Some(1004 + 64));
    world.hub.writable(id);
    world.flush(&[]);
    assert_eq!(world.hub.total_owed(), Some(0));
}
