//! That nothing is done over and over, and nothing grows, while things are as they are.

use super::*;
use crate::backplane::channels::shard_of;

/// A minute of this, without anybody talking: wake-ups, and connections.
fn minute(mut world: World) -> (usize, usize, World) {
    world.run(5 * SECOND);
    let node = &mut world.nodes[0];
    (node.wakes, node.connects) = (0, 0);
    world.run(60 * SECOND);
    let (wakes, connects) = (world.nodes[0].wakes, world.nodes[0].connects);
    (wakes, connects, world)
}

#[test]
fn a_redis_that_is_away_costs_next_to_nothing() {
    let mut world = World::new(1);
    world.redises[0].is_running = false;
    let (wakes, connects, world) = minute(world);
    // Half a second in the mean, and never more than one and a bit.
    assert!((55..200).contains(&connects), "{connects}");
    assert!(wakes < 2 * connects, "{wakes}");
    assert_eq!(world.nodes[0].events.len(), 1, "said once");
    assert!(matches!(world.nodes[0].events[0], Event::Lost(_)));
}

#[test]
fn a_redis_that_is_frozen_costs_little() {
    let mut world = World::joined(1);
    world.chatter();
    world.run(1);
    world.redises[0].is_frozen = true;
    let (wakes, connects, world) = minute(world);
    assert!(connects < 60, "{connects}");
    assert!(wakes < 4 * 60, "{wakes}");
    let events = &world.nodes[0].events;
    assert!(events.len() <= 5, "{events:?}");
}

#[test]
fn a_quiet_redis_is_asked_once_a_second_whether_it_is_there() {
    let (wakes, connects, world) = minute(World::joined(1));
    assert_eq!(connects, 0);
    assert!((40..100).contains(&wakes), "{wakes}");
    let pings = world.redises[0]
        .clients
        .values()
        .flat_map(|client| &client.commands);
    let pings = pings.filter(|command| command[0] == b"PING").count();
    assert!((40..75).contains(&pings), "{pings}");
}

#[test]
fn whoever_takes_subscriptions_and_brings_nothing_is_not_called_without_a_pause() {
    let mut world = World::new(1);
    world.redises[0].is_deaf = true;
    let (wakes, connects, world) = minute(world);
    assert!(connects < 90, "{connects}");
    assert!(wakes < 600, "{wakes}");
    assert!(
        world.nodes[0].events.len() <= 3,
        "{:?}",
        world.nodes[0].events
    );
}

#[test]
fn whoever_accepts_and_hangs_up_is_not_called_without_a_pause() {
    let mut world = World::new(1);
    world.run(0);
    let mut connects = 0;
    for _ in 0..60 * SECOND {
        world.run(1);
        let redis = &mut world.redises[0];
        redis.clients.clear();
        connects = redis.accepted;
    }
    assert!((55..200).contains(&connects), "{connects}");
}

#[test]
fn a_full_queue_drops_the_oldest_and_clients_here_hear_everything() {
    let mut world = World::joined_with(2, |config| config.queue_bytes = 64 * 1024);
    world.kill();
    let before = world.nodes[0].said.len();
    for _ in 0..50 {
        world.run_chatting(100, 1);
        assert!(world.metric(0, "queue_bytes") <= 64 * 1024);
    }
    world.start();
    world.run(4 * SECOND);
    world.check_own(0);
    world.check_own(1);
    let lost = world.lost(0, 1);
    assert!(
        lost > 100 && lost < world.nodes[0].said.len() - before,
        "{lost}"
    );
    // Both sides have counted them.
    let now = world.now();
    let mut metrics = String::new();
    world.nodes[0].backplane.write_metrics(&mut metrics, now);
    let dropped = format!("fanfare_redis_dropped_total{{reason=\"full\"}} {lost}\n");
    assert!(metrics.contains(&dropped), "{metrics}");
    world.chatter();
    world.run(12 * SECOND);
    assert_eq!(world.metric(1, "gap_messages_total"), lost as u64);
    assert!(
        world.nodes[0]
            .events
            .iter()
            .any(|event| matches!(event, Event::Dropped { .. }))
    );
}

#[test]
fn what_is_too_old_is_dropped() {
    let mut world = World::joined_with(2, |config| config.queue_max_age = Duration::from_secs(2));
    world.kill();
    world.chatter();
    world.run(1500);
    world.chatter();
    world.run(SECOND);
    world.start();
    world.run(4 * SECOND);
    assert_eq!(world.nodes[1].texts_of("0:"), ["0:1"]);
    world.check_own(0);
}

#[test]
fn what_nobody_takes_is_not_read() {
    let mut world = World::joined(2);
    world.nodes[1].is_congested = true;
    world.nodes[1].max_read = 1 << 20;
    let long = "x".repeat(60_000);
    for _ in 0..300 {
        world.say(0, &long);
        world.run(1);
    }
    let link = world.nodes[1].backplane.links().next().unwrap();
    assert!(!world.nodes[1].backplane.wants_input(link));
    assert!(world.nodes[1].backplane.has_deliveries());
    let waiting: usize = world.nodes[1].wires[&link]
        .to_node
        .chunks
        .iter()
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert!(waiting > 300 * 60_000 - MAX_INBOX - 200_000, "{waiting}");
    // Nobody is judged by a silence that is ours.
    world.run(20 * SECOND);
    assert_eq!(world.nodes[1].connects, 1);
    world.nodes[1].is_congested = false;
    let now = world.now();
    world.nodes[1].act(world.ms, now);
    world.run(100);
    assert_eq!(world.nodes[1].heard.len(), 300);
    assert_eq!(world.nodes[1].connects, 1);
}

#[test]
fn old_messages_are_sent_again_at_a_measured_pace() {
    let mut world = World::joined(2);
    world.kill();
    let long = "x".repeat(60_000);
    for _ in 0..200 {
        world.say(0, &long);
    }
    world.start();
    let before = world.redises[0].published.len();
    let mut counts = Vec::new();
    for _ in 0..60 {
        world.run(50);
        counts.push(world.redises[0].published.len() - before);
    }
    let steps: Vec<_> = counts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().all(|step| *step <= 2 * 18 + 2), "{steps:?}");
    assert!(counts.last().unwrap() >= &200);
    assert_eq!(world.nodes[1].heard.len(), 200);
}

#[test]
fn a_link_takes_a_bounded_amount_at_once() {
    let epoch = test_clock();
    let mut node = Node::new(redis_config(), 1, epoch);
    let mut redis = Redis::new("redis");
    // By hand: nobody writes what is to be written.
    let backplane = &mut node.backplane;
    backplane.advance(epoch);
    let Some(Action::Connect { link, .. }) = backplane.next_action() else {
        panic!("it does not connect");
    };
    backplane.connected(link, epoch);
    let client = redis.accept();
    for _ in 0..4 {
        let output = backplane.output(link).to_vec();
        backplane.written(link, output.len(), epoch);
        redis.receive(client, &output);
        let answer = std::mem::take(&mut redis.clients.get_mut(&client).unwrap().output);
        backplane.receive(link, &answer, epoch);
        backplane.advance(epoch);
    }
    assert_ne!(backplane.health(), Health::Down);
    let long = vec![b'x'; 100_000];
    for _ in 0..100 {
        backplane.publish("", MessageKind::Text, &long, None, epoch);
    }
    backplane.advance(epoch);
    let waiting = backplane.output(link).len();
    assert!(
        (1 << 20..(1 << 20) + 200_000).contains(&waiting),
        "{waiting}"
    );
    // What has been written makes room.
    backplane.written(link, waiting, epoch);
    assert!(backplane.output(link).len() >= 1 << 20);
    assert_eq!(backplane.unacknowledged(), 100);
    assert!(!backplane.is_flushed());
}

/// A node whose clients take nothing, with as much to hear as it may hold, and more on its way.
fn fill(world: &mut World, node: usize, room: &str) {
    world.nodes[node].is_congested = true;
    let long = "x".repeat(60_000);
    for _ in 0..2 * MAX_INBOX / long.len() {
        world.say_in(1 - node, room, &long);
        world.run(1);
    }
    let backplane = &world.nodes[node].backplane;
    assert!(backplane.links().all(|link| !backplane.wants_input(link)));
}

/// Whoever talks so much that the inbox is full behind each reading does not excuse another
/// connection, which is read each time and brings nothing.
#[test]
fn a_flood_on_one_connection_is_no_excuse_for_another() {
    let mut world = World::joined_with(2, |config| config.shards = Some(2));
    let mut rooms = (0..).map(|i| format!("room {i}"));
    let room = rooms.find(|room| shard_of(room, 2) == 0).unwrap();
    world.nodes[1].max_read = 2 * MAX_INBOX;
    let connects = world.nodes[1].connects;
    let flood = |world: &mut World, times: usize| {
        let long = "x".repeat(60_000);
        for _ in 0..times {
            for _ in 0..=MAX_INBOX / long.len() {
                world.say_in(0, &room, &long);
            }
            world.run(500);
        }
    };
    flood(&mut world, 6);
    assert_eq!(world.nodes[1].connects, connects, "both answer");
    assert_eq!(world.metric(1, "degraded"), 0);
    let last = world.nodes[1].wires.values_mut().next_back();
    last.unwrap().is_holed = true;
    flood(&mut world, 6);
    assert_eq!(world.nodes[1].connects, connects + 1, "one is silent");
}

/// A server that stops waits for it, whatever its clients still have to hear.
#[test]
fn what_is_said_goes_out_while_nothing_is_read() {
    let mut world = World::joined(2);
    fill(&mut world, 1, "");
    world.say(1, "last");
    world.run(10);
    assert_eq!(world.nodes[0].texts_of("last"), ["last"]);
    assert_eq!(
        world.nodes[1].backplane.unacknowledged(),
        1,
        "as far as it knows"
    );
}

/// The connection before has brought more than clients take, and is not read for longer than it is
/// waited for when it brings nothing.
#[test]
fn what_clients_cannot_take_yet_is_waited_for() {
    let mut world = World::joined(2);
    for node in &mut world.nodes {
        node.max_read = 1 << 20;
    }
    let hole = |world: &mut World, is_holed: bool| {
        let wires = world.nodes[1].all_wires();
        wires.for_each(|wire| wire.is_holed = is_holed);
    };
    hole(&mut world, true);
    let long = "x".repeat(60_000);
    for _ in 0..60 {
        world.say(0, &long);
        world.run(1);
    }
    world.run(3 * SECOND);
    assert_eq!(world.nodes[1].wires.len(), 2);
    world.nodes[1].is_congested = true;
    hole(&mut world, false);
    world.run(12 * SECOND);
    let now = world.now();
    let node = &mut world.nodes[1];
    assert_eq!(node.wires.len(), 2, "it has not had its time");
    node.is_congested = false;
    node.act(world.ms, now);
    world.run(3 * SECOND);
    assert_eq!(world.nodes[1].wires.len(), 1);
    assert_eq!(world.nodes[1].heard.len(), 60);
    assert_eq!(world.metric(1, "gap_messages_total"), 0);
}

/// The answers are there, and nobody has read them.
#[test]
fn a_greeting_that_nobody_reads_is_not_late() {
    let mut world = World::joined_with(2, |config| config.shards = Some(2));
    let mut rooms = (0..).map(|i| format!("room {i}"));
    let room = rooms.find(|room| shard_of(room, 2) == 0).unwrap();
    fill(&mut world, 1, &room);
    let connects = world.nodes[1].connects;
    let (other, wire) = world.nodes[1].wires.pop_last().unwrap();
    world.redises[0].clients.remove(&wire.client);
    let now = world.now();
    let node = &mut world.nodes[1];
    node.backplane.disconnected(other, LinkFailure::Reset, now);
    node.act(world.ms, now);
    world.run(5 * SECOND);
    assert_eq!(world.nodes[1].connects, connects + 1);
    world.nodes[1].is_congested = false;
    let now = world.now();
    world.nodes[1].act(world.ms, now);
    world.run(3 * SECOND);
    assert_eq!(world.nodes[1].connects, connects + 1);
    assert_eq!(world.health(1), Health::Up);
}
