//! Rooms, raw messages, local delivery, shards.

use super::*;

fn publish(world: &mut World, channel: &str, payload: &[u8]) {
    world.redises[0].publish(None, "message", channel.as_bytes(), payload);
    world.run(5);
}

fn last(world: &World, node: usize) -> (&str, MessageKind, &[u8]) {
    let heard = world.nodes[node].heard.last().unwrap();
    (&heard.room, heard.kind, &heard.payload)
}

#[test]
fn rooms_and_kinds_and_exemptions_arrive() {
    let mut world = World::joined(2);
    world.say_in(0, "kitchen", "0:0");
    let now = world.now();
    let node = &mut world.nodes[0];
    node.backplane
        .publish("", MessageKind::Binary, &[0xFF, 0], Some(7), now);
    world.run(10);
    for node in 0..2 {
        let heard = &world.nodes[node].heard;
        assert_eq!(
            (heard[0].room.as_str(), heard[0].text()),
            ("kitchen", "0:0")
        );
        assert_eq!(heard[1].kind, MessageKind::Binary);
        assert_eq!(heard[1].payload, [0xFF, 0]);
        assert_eq!(heard[1].exempt, (node == 0).then_some(7), "at home alone");
    }
}

#[test]
fn programs_may_publish_by_hand() {
    let mut world = World::joined(2);
    publish(&mut world, "websocket-broadcast", b"hi");
    assert_eq!(last(&world, 0), ("", MessageKind::Text, b"hi".as_slice()));
    publish(&mut world, "websocket-broadcast", &[0xC0, 1]);
    assert_eq!(
        last(&world, 1),
        ("", MessageKind::Binary, [0xC0, 1].as_slice())
    );
    // Twice the same is twice: nobody has numbered it.
    publish(&mut world, "websocket-broadcast", b"hi");
    publish(&mut world, "websocket-broadcast", b"hi");
    assert_eq!(world.nodes[0].heard.len(), 4);
    let mut envelope = Vec::new();
    let anonymous = Envelope {
        kind: MessageKind::Text,
        is_control: false,
        origin: 0,
        seq: 0,
        room: "kitchen",
        payload: b"hello",
    };
    anonymous.encode(&mut envelope).unwrap();
    publish(&mut world, "websocket-broadcast", &envelope);
    publish(&mut world, "websocket-broadcast", &envelope);
    assert_eq!(
        last(&world, 0),
        ("kitchen", MessageKind::Text, b"hello".as_slice())
    );
    assert_eq!(world.nodes[0].heard.len(), 6);
    assert_eq!(world.metric(0, "gap_messages_total"), 0);
}

#[test]
fn what_is_not_believed_is_counted_and_hurts_nobody() {
    let mut world = World::joined_with(1, |config| config.max_message_size = 10);
    for wrong in [b"\xFFWB\x02".as_slice(), b"\xFFWB\x01", b"01234567890"] {
        publish(&mut world, "websocket-broadcast", wrong);
    }
    // So long a message is not even read, and takes the connection with it no more than others.
    publish(&mut world, "websocket-broadcast", &vec![b'x'; 100_000]);
    publish(&mut world, "websocket-broadcast:ctl", b"hi");
    publish(&mut world, "something-else", b"hi");
    assert!(world.nodes[0].heard.is_empty());
    assert_eq!(world.nodes[0].connects, 1);
    publish(&mut world, "websocket-broadcast", b"0123456789");
    assert_eq!(world.nodes[0].texts(), ["0123456789"]);
    let now = world.now();
    let mut metrics = String::new();
    world.nodes[0].backplane.write_metrics(&mut metrics, now);
    for (reason, count) in [("version", 1), ("length", 1), ("size", 2)] {
        let line = format!("fanfare_redis_rejected_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[test]
fn what_nobody_would_believe_is_heard_at_home_alone() {
    let mut world = World::joined_with(2, |config| config.max_message_size = 10);
    let now = world.now();
    let node = &mut world.nodes[0];
    node.backplane
        .publish("", MessageKind::Text, b"01234567890", None, now);
    node.backplane
        .publish("", MessageKind::Text, b"\xFF", None, now);
    node.act(world.ms, now);
    assert_eq!(world.nodes[0].heard.len(), 2);
    world.run(SECOND);
    assert!(world.nodes[1].heard.is_empty());
    assert_eq!(world.health(0), Health::Up, "nobody waits for its echo");
    assert!(world.nodes[0].backplane.is_flushed());
}

#[test]
fn somebody_who_speaks_in_our_name_is_not_believed() {
    let mut world = World::joined(1);
    let mut envelope = Vec::new();
    let forged = Envelope {
        kind: MessageKind::Text,
        is_control: false,
        origin: 1000,
        seq: 9,
        room: "",
        payload: b"forged",
    };
    forged.encode(&mut envelope).unwrap();
    publish(&mut world, "websocket-broadcast", &envelope);
    assert!(world.nodes[0].heard.is_empty());
    world.chatter();
    world.run(5);
    world.check_all();
}

#[test]
fn heartbeats_in_our_name_do_not_hide_that_ours_do_not_come_back() {
    let mut world = World::joined(1);
    let mut envelope = Vec::new();
    let forged = Envelope {
        kind: MessageKind::Binary,
        is_control: true,
        origin: 1000,
        seq: u64::MAX,
        room: "",
        payload: &u64::MAX.to_be_bytes(),
    };
    forged.encode(&mut envelope).unwrap();
    publish(&mut world, "websocket-broadcast:ctl", &envelope);
    world.redises[0].is_deaf = true;
    world.run(12 * SECOND);
    assert!(world.metric(0, "reconnects_total{reason=\"deaf\"}") > 0);
}

#[test]
fn those_who_prefer_it_hear_each_other_at_once() {
    let mut world = World::joined_with(2, |config| config.delivery = DeliveryOrder::Local);
    for node in &mut world.nodes {
        for wire in node.wires.values_mut() {
            wire.delay = 20;
        }
    }
    world.run_chatting(SECOND, 10);
    let node = &world.nodes[0];
    let own: Vec<_> = node
        .heard
        .iter()
        .filter(|heard| heard.text().starts_with("0:"))
        .collect();
    assert!(
        own.iter()
            .zip(&node.said)
            .all(|(heard, said)| heard.at == said.0)
    );
    world.run(100);
    world.check_all();
    world.kill();
    world.run_chatting(SECOND, 10);
    world.start();
    world.run_chatting(3 * SECOND, 10);
    world.run(100);
    world.check_all();
    assert_eq!(world.health(0), Health::Up);
}

fn raw(config: &mut BackplaneConfig) {
    config.format = Format::Raw;
}

#[test]
fn raw_messages_are_bare_and_come_back_once() {
    for pushes_last in [false, true] {
        let mut world = World::with(2, raw);
        world.redises[0].pushes_last = pushes_last;
        world.run(3 * SECOND);
        world.run_chatting(SECOND, 5);
        world.run(100);
        world.check_all();
        let published = &world.redises[0].published;
        assert!(published.iter().any(|(_, payload)| payload == b"0:0"));
        let first = world.nodes[0].texts();
        assert_eq!(world.nodes[1].texts(), first, "one order");
        // Somebody else may say the same.
        let before = first.len();
        publish(&mut world, "websocket-broadcast", b"0:0");
        assert_eq!(world.nodes[0].heard.len(), before + 1);
        // The other rooms are nobody else's business.
        world.say_in(0, "kitchen", "psst");
        world.run(10);
        assert_eq!(
            last(&world, 0),
            ("kitchen", MessageKind::Text, b"psst".as_slice())
        );
        assert_eq!(world.nodes[1].heard.len(), before + 1);
        assert!(world.nodes[0].backplane.is_flushed());
    }
}

#[test]
fn raw_messages_are_heard_here_in_time_and_nowhere_twice() {
    let mut world = World::with(2, raw);
    world.run(3 * SECOND);
    for node in &mut world.nodes {
        node.delay = 3;
        for wire in node.wires.values_mut() {
            wire.delay = 3;
        }
    }
    world.run_chatting(SECOND, 2);
    world.redises[0].is_frozen = true;
    world.run_chatting(3 * SECOND, 2);
    world.redises[0].is_frozen = false;
    world.run_chatting(3 * SECOND, 2);
    world.run(100);
    world.check_own(0);
    assert!(
        world.lost(0, 1) < 10,
        "late echoes are known for what they are"
    );
    world.run_chatting(SECOND, 2);
    world.kill();
    world.run_chatting(SECOND, 2);
    world.start();
    world.run_chatting(5 * SECOND, 2);
    world.run(100);
    world.check_own(0);
    world.check_own(1);
    // What was on its way when Redis was killed may be lost, and is not sent twice.
    let lost = world.lost(0, 1) + world.lost(1, 0);
    assert!((1..20).contains(&lost), "{lost}");
    let now = world.now();
    let mut metrics = String::new();
    world.nodes[0].backplane.write_metrics(&mut metrics, now);
    assert!(!metrics.contains("fanfare_redis_dropped_total{reason=\"raw\"} 0\n"));
}

#[test]
fn a_new_connection_beside_a_stalled_one_doubles_no_raw_message() {
    let mut world = World::with(2, raw);
    world.run(3 * SECOND);
    world.run_chatting(SECOND, 5);
    for wire in world.nodes[1].wires.values_mut() {
        wire.is_holed = true;
    }
    world.run_chatting(4 * SECOND, 5);
    assert_eq!(world.nodes[1].wires.len(), 2);
    publish(&mut world, "websocket-broadcast", b"by hand");
    world.run_chatting(SECOND, 5);
    for wire in world.nodes[1].all_wires() {
        wire.is_holed = false;
    }
    world.run_chatting(2 * SECOND, 5);
    world.run(100);
    assert_eq!(world.nodes[1].wires.len(), 1);
    assert_eq!(world.nodes[1].texts_of("by hand"), ["by hand"]);
    world.check_own(0);
    world.check_own(1);
    assert_eq!(world.lost(0, 1), 0);
}

#[test]
fn shards_divide_the_rooms() {
    let mut world = World::joined_with(2, |config| config.shards = Some(8));
    assert_eq!(world.nodes[0].wires.len(), 8);
    for _ in 0..20 {
        for room in ["", "a", "b", "c", "kitchen"] {
            let said = world.nodes[0].said.len();
            world.say_in(0, room, &format!("0:{said}"));
        }
        world.run(3);
    }
    for room in ["", "a", "b", "c", "kitchen"] {
        let of_room = |node: usize| -> Vec<String> {
            let heard = world.nodes[node].heard.iter();
            let heard = heard.filter(|heard| heard.room == room);
            heard.map(|heard| heard.text().to_owned()).collect()
        };
        assert_eq!(of_room(0).len(), 20);
        assert_eq!(of_room(0), of_room(1), "in order");
    }
    let published = &world.redises[0].published;
    let is_message = |channel: &&Vec<u8>| !channel.ends_with(b":ctl");
    let channels: std::collections::BTreeSet<_> = published
        .iter()
        .map(|(channel, _)| channel)
        .filter(is_message)
        .collect();
    assert!(channels.len() > 2, "{channels:?}");
    assert!(channels.iter().all(|channel| channel.starts_with(b"{")));
}

#[test]
fn one_shard_that_is_away_takes_no_other_with_it() {
    let mut world = World::joined_with(2, |config| config.shards = Some(4));
    // The first client of each node is its first shard's.
    let redis = &mut world.redises[0];
    let of_shard = |client: &redis::Client| {
        client
            .channels
            .iter()
            .any(|channel| channel.starts_with(b"{0}"))
    };
    redis.clients.retain(|_, client| !of_shard(client));
    redis.moved = None;
    world.run(5);
    assert_eq!(world.health(0), Health::Degraded);
    world.run(3 * SECOND);
    assert_eq!(world.health(0), Health::Up);
}
