//! Whoever may publish, and is no server.

use super::*;

const MESSAGES: &str = "websocket-broadcast";
const CONTROL: &str = "websocket-broadcast:ctl";

/// A message, or what servers tell each other.
fn envelope(is_control: bool, origin: u64, seq: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let envelope = Envelope {
        kind: MessageKind::Binary,
        is_control,
        origin,
        seq,
        room: "",
        payload,
    };
    envelope.encode(&mut bytes).unwrap();
    bytes
}

fn heartbeat(origin: u64, last: u64) -> Vec<u8> {
    envelope(true, origin, 1, &last.to_be_bytes())
}

/// Publishes all of that, in one go.
fn publish(world: &mut World, channel: &str, all: impl IntoIterator<Item = Vec<u8>>) {
    for bytes in all {
        world.redises[0].publish(None, "message", channel.as_bytes(), &bytes);
    }
    world.run(5);
}

/// What is for clients is not heard where servers speak to each other, and the other way round.
#[test]
fn each_channel_has_what_belongs_there_and_nothing_else() {
    let mut world = World::joined(1);
    publish(&mut world, CONTROL, [b"hi".to_vec()]);
    // Of another server, of nobody, and of this one.
    for origin in [7, 0, 1000] {
        publish(&mut world, CONTROL, [envelope(false, origin, 1, b"hi")]);
    }
    publish(&mut world, MESSAGES, [heartbeat(7, 1)]);
    let node = &world.nodes[0];
    assert!(node.heard.is_empty(), "{:?}", node.heard);
    assert_eq!(world.metric(0, "received_total"), 0);
    assert_eq!(world.metric(0, "peers"), 0);
    assert_eq!(world.metric(0, "rejected_total{reason=\"channel\"}"), 5);
    // Nor is the number used up that it was said with.
    publish(&mut world, MESSAGES, [envelope(false, 7, 1, b"hi")]);
    assert_eq!(world.nodes[0].heard.len(), 1);
    publish(&mut world, CONTROL, [heartbeat(7, 1)]);
    assert_eq!(world.metric(0, "peers"), 1);
    assert_eq!(world.nodes[0].connects, 1);
}

#[test]
fn a_heartbeat_of_nobody_is_nobodys() {
    let mut world = World::joined(1);
    publish(&mut world, CONTROL, [heartbeat(0, 5), heartbeat(0, 9)]);
    assert_eq!(world.metric(0, "peers"), 0);
    assert_eq!(world.metric(0, "rejected_total{reason=\"origin\"}"), 2);
    world.run(20 * SECOND);
    assert_eq!(world.metric(0, "gap_messages_total"), 0);
}

/// Whoever makes up numbers has any number of messages missing, and no counter begins anew.
#[test]
fn numbers_that_are_made_up_count_no_further_than_there_are() {
    let mut world = World::joined(1);
    for origin in [7, 8] {
        let last = [heartbeat(origin, 0), heartbeat(origin, u64::MAX)];
        publish(&mut world, CONTROL, last);
        publish(
            &mut world,
            MESSAGES,
            [envelope(false, origin, u64::MAX, b"hi")],
        );
    }
    world.run(25 * SECOND);
    assert_eq!(world.metric(0, "gap_messages_total"), u64::MAX);
    let messages = u64::MAX;
    let events = &world.nodes[0].events;
    assert!(events.contains(&Event::Missing { messages }), "{events:?}");
    assert_eq!(world.health(0), Health::Up);
}

/// In a stream messages may come long after the heartbeat that showed whose they are: while they
/// are not read, an origin that nobody knows yet is a server's from its first message on.
#[test]
fn whoever_was_heard_to_be_there_is_no_stranger() {
    let mut config = redis_config();
    config.mode = Mode::Stream;
    let (now, mut news) = (test_clock(), News::default());
    let mut traffic = traffic::Traffic::new(&config, 1000);
    let mut hear = |channel, bytes| {
        let bytes = Some(bytes);
        traffic.hear(channels::Said { channel, bytes }, &mut news, now);
        while news.inbox.pop().is_some() {}
        news.metrics.duplicates
    };
    hear(channels::Channel::Control, heartbeat(7, 1));
    let mut flood = 0;
    for origin in [7].into_iter().chain(10_000..20_000) {
        flood = hear(
            channels::Channel::Messages,
            envelope(false, origin, 1, b"hi"),
        );
    }
    assert_eq!(flood, 0);
    let again = hear(channels::Channel::Messages, envelope(false, 7, 1, b"hi"));
    assert_eq!(again, 1);
}

/// Numbers of a flood, and what a server says between them.
const FLOOD: u64 = 100_000;

/// A flood of made-up origins, as messages or as heartbeats, does not make a server forget which of
/// another one's messages it has heard.
#[test]
fn a_flood_of_strangers_makes_nobody_forget_a_server() {
    for is_heartbeat in [false, true] {
        let mut world = World::joined(2);
        world.chatter();
        world.run(10);
        let before = world.redises[0].published.len();
        for first in (0..FLOOD).step_by(1000) {
            let flood = (first..first + 1000).map(|stranger| 5000 + stranger);
            if is_heartbeat {
                publish(
                    &mut world,
                    CONTROL,
                    flood.map(|origin| heartbeat(origin, 3)),
                );
            } else {
                let flood = flood.map(|origin| envelope(false, origin, 3, b"flood"));
                publish(&mut world, MESSAGES, flood);
            }
            // It lasts for longer than a heartbeat takes to come.
            world.run(100);
        }
        assert!(world.ms > 2 * 5 * SECOND);
        assert!(world.redises[0].published.len() > before + 100_000);
        // What the servers have said comes once more, and is known.
        let said: Vec<_> = [1000, 1001]
            .map(|origin| envelope(false, origin, 1, b"again"))
            .into();
        publish(&mut world, MESSAGES, said);
        world.chatter();
        world.run(10);
        for node in 0..2 {
            assert!(world.nodes[node].texts_of("again").is_empty());
            assert_eq!(world.metric(node, "duplicates_filtered_total"), 1);
            assert_eq!(world.metric(node, "gap_messages_total"), 0);
            assert_eq!(world.health(node), Health::Up);
        }
        world.check_all();
    }
}
