//! One connection takes over from another one: nothing comes twice, and nothing out of order.

use super::faults::hole_connection;
use super::*;
use crate::backplane::envelope::Envelope;

const MESSAGES: &str = "websocket-broadcast";

/// Somebody who has no number publishes this.
fn publish(world: &mut World, payload: &[u8]) {
    world.redises[0].publish(None, "message", MESSAGES.as_bytes(), payload);
}

/// How many connections have subscribed.
fn subscribed(world: &World) -> usize {
    let clients = world.redises[0].clients.values();
    clients.filter(|client| !client.channels.is_empty()).count()
}

/// Says this without a number, in an envelope.
fn anonymous(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let envelope = Envelope {
        kind: MessageKind::Text,
        is_control: false,
        origin: 0,
        seq: 0,
        room: "",
        payload: text.as_bytes(),
    };
    envelope.encode(&mut bytes).unwrap();
    bytes
}

/// Node 1 has lost touch on the connection that it has, and Redis has just taken the subscription
/// of another one; node 1 does not know that yet.
fn about_to_take_over(mut world: World) -> World {
    world.run(3 * SECOND);
    let before = subscribed(&world);
    hole_connection(&mut world, 1, true);
    world.nodes[1].delay = 20;
    for _ in 0..4 * SECOND {
        if subscribed(&world) > before {
            return world;
        }
        world.run(1);
    }
    panic!("nobody takes over");
}

#[test]
fn what_comes_on_both_connections_is_heard_once() {
    for format in [Format::Envelope, Format::Raw] {
        let world = World::with(2, |config| config.format = format);
        let mut world = about_to_take_over(world);
        // Both connections bring what comes before the first word on the new one. Nobody could
        // tell the second from a message that was said twice, but for its place.
        publish(&mut world, b"plain");
        if format == Format::Envelope {
            publish(&mut world, &anonymous("wrapped"));
        } else {
            publish(&mut world, b"wrapped");
        }
        world.say(0, "0:0");
        world.run(100);
        publish(&mut world, b"behind");
        assert_eq!(world.nodes[1].heard.len(), 0, "the old one first");
        assert_eq!(world.nodes[1].wires.len(), 2);
        let before = world.metric(1, "duplicates_filtered_total");
        hole_connection(&mut world, 1, false);
        world.run(SECOND);
        assert_eq!(world.nodes[1].wires.len(), 1);
        let expected = ["plain", "wrapped", "0:0", "behind"];
        assert_eq!(world.nodes[1].texts(), expected);
        let filtered = world.metric(1, "duplicates_filtered_total") - before;
        assert_eq!(filtered, 3, "those that came twice");
        // And that is over.
        publish(&mut world, b"later");
        publish(&mut world, b"later");
        world.run(100);
        assert_eq!(world.nodes[1].texts_of("later").len(), 2);
    }
}

#[test]
fn a_connection_that_is_lost_before_its_first_word_takes_what_was_overlapped_along() {
    for (format, wait) in [Format::Envelope, Format::Raw]
        .into_iter()
        .flat_map(|format| (30..=70).step_by(5).map(move |wait| (format, wait)))
    {
        let world = World::with(2, |config| config.format = format);
        let mut world = about_to_take_over(world);
        // The old connection brings the heartbeat by which the new one takes over, and that one
        // is lost: at some of these times its own copy is still on the way.
        world.run(wait);
        hole_connection(&mut world, 1, false);
        while world.nodes[1].wires.len() > 1 {
            world.run(1);
        }
        world.cut(1);
        world.nodes[1].is_refused = false;
        world.run(3 * SECOND);
        publish(&mut world, b"later");
        world.say(0, "0:0");
        world.say(1, "1:0");
        world.run(SECOND);
        let expected = ["later", "0:0", "1:0"];
        assert_eq!(world.nodes[1].texts(), expected, "{format:?} {wait}");
    }
}

#[test]
fn what_is_rejected_on_both_connections_counts_once() {
    for comes_back in [true, false] {
        let world = World::with(2, |config| config.max_message_size = 10);
        let mut world = about_to_take_over(world);
        // What nobody keeps; what is kept and too long; what is no envelope.
        let too_long = vec![b'x'; 100_000];
        let control = format!("{MESSAGES}:ctl");
        for channel in [MESSAGES, &control] {
            for said in [&too_long[..], b"01234567890", b"\xFFWB\x02"] {
                world.redises[0].publish(None, "message", channel.as_bytes(), said);
            }
        }
        world.run(100);
        let rejected = |world: &World| {
            let reasons = ["size", "version"];
            reasons.map(|why| world.metric(1, &format!("rejected_total{{reason=\"{why}\"}}")))
        };
        assert_eq!(rejected(&world), [0, 0], "the old one first");
        assert_eq!(world.nodes[1].wires.len(), 2);
        if comes_back {
            hole_connection(&mut world, 1, false);
        }
        world.run(if comes_back { SECOND } else { 6 * SECOND });
        assert_eq!(world.nodes[1].wires.len(), 1);
        assert_eq!(rejected(&world), [4, 2]);
        // And that is over.
        publish(&mut world, &too_long);
        publish(&mut world, b"\xFFWB\x02");
        world.run(100);
        assert_eq!(rejected(&world), [5, 3]);
    }
}

#[test]
fn what_the_old_connection_does_not_bring_is_heard_on_the_new_one() {
    let mut world = about_to_take_over(World::new(2));
    publish(&mut world, b"plain");
    world.say(0, "0:0");
    // It never comes back, and what it had before was not brought by anybody else.
    world.run(6 * SECOND);
    assert_eq!(world.nodes[1].wires.len(), 1);
    assert_eq!(world.nodes[1].texts(), ["plain", "0:0"]);
}

#[test]
fn what_comes_behind_something_later_is_not_heard_and_is_counted() {
    let mut world = World::joined_with(2, |config| {
        config.queue_max_age = Duration::from_secs(2);
    });
    world.say(0, "0:0");
    world.run(100);
    // These get stuck on their way, and nobody can send them again in time.
    hole_connection(&mut world, 0, true);
    world.nodes[0].is_refused = true;
    for number in 1..=5 {
        world.say(0, &format!("0:{number}"));
    }
    world.run(3 * SECOND);
    world.nodes[0].is_refused = false;
    let before = subscribed(&world);
    while subscribed(&world) == before {
        world.run(1);
    }
    world.run(100);
    world.say(0, "0:6");
    world.run(100);
    assert_eq!(world.nodes[1].texts(), ["0:0", "0:6"]);
    // Now they arrive.
    hole_connection(&mut world, 0, false);
    world.run(11 * SECOND);
    let is_stuck = |(_, payload): &&(Vec<u8>, Vec<u8>)| payload.ends_with(b"0:3");
    let published = world.redises[0].published.iter();
    assert_eq!(published.filter(is_stuck).count(), 1, "or it shows nothing");
    assert_eq!(world.nodes[1].texts(), ["0:0", "0:6"]);
    assert_eq!(world.metric(1, "gap_messages_total"), 5);
    world.check_own(0);
}

#[test]
fn a_channel_that_nobody_hears_is_noticed_by_what_is_said_and_by_heartbeats() {
    for (is_lost, says) in [(MESSAGES, true), ("websocket-broadcast:ctl", false)] {
        let mut world = World::joined(1);
        for client in world.redises[0].clients.values_mut() {
            client.channels.remove(is_lost.as_bytes());
        }
        if says {
            world.say(0, "0:0");
            world.run(SECOND);
        } else {
            world.run(6 * SECOND);
        }
        let lost = world.nodes[0]
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Lost(why) => Some(why.as_str()),
                _ => None,
            });
        let lost: Vec<&str> = lost.collect();
        assert_eq!(
            lost,
            ["redis:6379: it has ended the subscription"],
            "{is_lost}"
        );
        world.run(3 * SECOND);
        assert_eq!(world.health(0), Health::Up);
        assert_eq!(world.nodes[0].connects, 2);
        world.check_own(0);
        assert!(world.nodes[0].backplane.is_flushed());
    }
}
