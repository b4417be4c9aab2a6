//! What is counted and bounded.

use super::*;

#[test]
fn one_too_many_is_told_so_and_then_nobody_is() {
    let mut world = World::new(|config| config.max_connections = 2);
    let first = world.connect("/ws");
    world.connect("/ws");
    let surplus = world.accept();
    world.request(surplus, "/ws");
    assert_eq!(world.status(surplus), "HTTP/1.1 503 Service Unavailable");
    let healthy = world.accept();
    world.receive(healthy, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(world.status(healthy), "HTTP/1.1 200 OK");
    for _ in 2..MAX_SURPLUS {
        world.accept();
    }
    assert_eq!(world.hub.accept(Peer::Unix, world.now), Err(Refusal::Full));
    // Room for one again.
    world.hub.hang_up(first, Disconnect::Gone);
    world.pass(seconds(11));
    assert!(world.reap().len() > MAX_SURPLUS);
    world.connect("/ws");
}

#[test]
fn rooms_are_bounded_and_go_with_their_last_member() {
    let mut world = World::new(|config| config.max_rooms = 2);
    let [a, b] = [world.connect("/ws/a"), world.connect("/ws/b")];
    world.connect("/ws/b");
    let third = world.accept();
    world.request(third, "/ws/c");
    assert_eq!(world.status(third), "HTTP/1.1 503 Service Unavailable");
    world.hub.hang_up(b, Disconnect::Gone);
    world.reap();
    assert_eq!(world.hub.room_count(), 2);
    world.hub.hang_up(a, Disconnect::Reset);
    world.reap();
    assert_eq!(world.hub.room_count(), 1);
    world.connect("/ws/c");
}

#[test]
fn the_hub_knows_who_is_there() {
    let mut world = World::new(|config| config.max_connections = 3);
    assert_eq!(world.hub.config().max_connections, 3);
    assert!(world.hub.is_empty());
    let [a, b] = [world.connect("/ws/a"), world.connect("/ws")];
    assert_eq!((world.hub.len(), world.hub.is_empty()), (2, false));
    assert_eq!(world.hub.room_name_of(a), Some("a"));
    assert_eq!(world.hub.room_name_of(b), Some(""));
    let outbox = world.hub.outbox(world.now);
    assert_eq!(outbox.now(), world.now);
    let room = outbox.find_room("a").unwrap();
    assert_eq!(outbox.room(a), Some(room));
    assert_eq!(outbox.room_name(room), Some("a"));
    assert_eq!(outbox.members(room), [a]);
    assert_eq!(outbox.find_room("nobody"), None);
    assert_eq!(world.hub.metrics().connections_accepted, 2);
}

#[test]
fn a_departure_tells_what_there_was() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws/a%20b");
    world.receive(id, &text("hello"));
    world.flush(&[]);
    world.pass(seconds(3));
    world.hub.hang_up(id, Disconnect::Gone);
    let departure = world.hub.reap(&mut world.handler, world.now).unwrap();
    assert_eq!(departure.room.as_deref(), Some("a b"));
    assert_eq!(
        (departure.age, departure.why),
        (seconds(3), Disconnect::Gone)
    );
    let Traffic {
        messages_received,
        messages_sent,
        bytes_received,
        bytes_sent,
        messages_dropped,
    } = departure.traffic;
    assert_eq!((messages_received, messages_sent), (1, 1));
    assert_eq!(messages_dropped, 0);
    assert!(bytes_received > 100 && bytes_sent > 100 && departure.peak_backlog > 100);
    let metrics = world.hub.metrics();
    assert_eq!(
        (metrics.messages_received, metrics.bytes_sent),
        (1, bytes_sent)
    );
    assert_eq!(metrics.departures(Disconnect::Gone), 1);
    assert_eq!(metrics.departures(Disconnect::Reset), 0);
    assert_eq!(metrics.bytes_received, bytes_received);
    assert_eq!(metrics.handshakes_completed, 1);
}

#[test]
fn only_what_is_heard_is_counted() {
    let mut world = World::new(|_| {});
    world.handler.no_echo = true;
    let [a, b] = [world.connect("/ws"), world.connect("/ws")];
    world.receive(a, &text("for b"));
    world.receive(b, &[text("for a"), frame(0x88, b"")].concat());
    world.receive(a, &text("for nobody"));
    let newcomer = world.accept();
    world.request(newcomer, "/ws");
    world.receive(a, &text("for the newcomer"));
    world.flush(&[]);
    for id in [a, b, newcomer] {
        world.hub.hang_up(id, Disconnect::Gone);
    }
    let (hub, handler, now) = (&mut world.hub, &mut world.handler, world.now);
    let sent: Vec<u64> = std::iter::from_fn(|| hub.reap(handler, now))
        .map(|departure| departure.traffic.messages_sent)
        .collect();
    assert_eq!(
        (sent, world.hub.metrics().messages_sent),
        (vec![1, 1, 1], 3)
    );
}

#[test]
fn what_is_heard_before_a_close_is_counted_once() {
    let mut world = World::new(|_| {});
    let [a, b] = [world.connect("/ws"), world.connect("/ws")];
    world.receive(b, &text("1"));
    world.receive(a, &text("leave"));
    world.receive(b, &text("2"));
    world.receive(a, &frame(0x88, b"\x03\xe8"));
    assert_eq!(world.heard(a), "[81:1][88:1000]");
    assert_eq!(world.hub.metrics().messages_sent, 1 + 2);
}
