//! What becomes of messages when Redis, or the way there, fails.

use super::*;

#[test]
fn without_a_redis_clients_hear_each_other_at_once() {
    let mut world = World::new(2);
    world.redises[0].is_running = false;
    world.run_chatting(3 * SECOND, 10);
    assert_eq!(world.health(0), Health::Down);
    let heard = &world.nodes[0].heard;
    assert!(
        heard
            .iter()
            .zip(&world.nodes[0].said)
            .all(|(heard, said)| heard.at == said.0)
    );
    // Whoever starts later gets what is waiting, once the others may be there too.
    world.start();
    world.run_chatting(4 * SECOND, 10);
    world.run(500);
    world.check_all();
    assert_eq!(world.health(0), Health::Up);
}

#[test]
fn what_is_not_acknowledged_is_sent_again_when_the_others_are_back() {
    let mut world = World::joined(3);
    for wire in world
        .nodes
        .iter_mut()
        .flat_map(|node| node.wires.values_mut())
    {
        wire.delay = 3;
    }
    for _ in 0..5 {
        world.run_chatting(500, 2);
        world.kill();
        world.run_chatting(2 * SECOND, 10);
        assert_eq!(world.health(0), Health::Down);
        world.start();
        world.run_chatting(5 * SECOND, 10);
        assert_eq!(world.health(0), Health::Up);
    }
    world.run(500);
    world.check_all();
    assert!(world.metric(0, "resent_total") > 0, "or it shows nothing");
    assert_eq!(world.metric(0, "gap_messages_total"), 0);
}

#[test]
fn nobody_shouts_before_the_others_are_back() {
    let mut world = World::joined(2);
    world.chatter();
    world.run(10);
    world.kill();
    world.nodes[1].is_refused = true;
    world.run(100);
    world.say(0, "0:1");
    world.start();
    // Node 0 is back for long, and waits.
    world.run(2 * SECOND);
    assert_eq!(world.redises[0].clients.len(), 1);
    let before = world.redises[0].published.len();
    assert_eq!(world.metric(0, "up"), 0);
    world.nodes[1].is_refused = false;
    world.run(1200);
    assert!(world.redises[0].published.len() > before);
    assert_eq!(world.lost(0, 1), 0);
    world.check_own(0);
}

#[test]
fn nobody_is_waited_for_for_ever() {
    let mut world = World::joined(2);
    world.chatter();
    world.run(10);
    world.cut(1);
    world.kill();
    world.run(100);
    world.start();
    world.say(0, "0:1");
    world.run(4 * SECOND);
    let texts: Vec<_> = world.redises[0]
        .published
        .iter()
        .map(|(_, text)| text)
        .collect();
    assert!(texts.iter().any(|text| text.ends_with(b"0:1")));
    assert_eq!(world.health(0), Health::Up);
}

#[test]
fn a_stalled_redis_loses_nothing() {
    let mut world = World::joined(2);
    world.run_chatting(SECOND, 2);
    world.redises[0].is_frozen = true;
    world.run_chatting(10 * SECOND, 2);
    assert_eq!(world.health(0), Health::Degraded);
    world.redises[0].is_frozen = false;
    world.run_chatting(3 * SECOND, 2);
    world.run(500);
    world.check_all();
    assert_eq!(world.health(0), Health::Up);
    // The old connection is the one that lives: nothing was sent twice.
    assert_eq!(world.metric(0, "resent_total"), 0);
    assert!(world.nodes[0].events.contains(&Event::Stalled));
    assert!(world.nodes[0].events.contains(&Event::Late));
    assert_eq!(world.nodes[0].events.last(), Some(&Event::InTime));
}

/// Nobody's echo is late then, and all would seem to be well.
#[test]
fn a_redis_that_stalls_while_nobody_speaks_is_noticed() {
    let mut world = World::joined(2);
    world.redises[0].is_frozen = true;
    world.run(3 * SECOND);
    for _ in 0..100 {
        world.run(100);
        assert_ne!(world.health(0), Health::Up);
    }
    world.redises[0].is_frozen = false;
    world.run(3 * SECOND);
    assert_eq!(world.health(0), Health::Up);
}

#[test]
fn a_black_hole_of_five_seconds_loses_nothing() {
    for node in 0..2 {
        let mut world = World::joined(2);
        world.run_chatting(SECOND, 2);
        world.hole(node, true);
        world.run_chatting(5 * SECOND, 2);
        world.hole(node, false);
        world.run_chatting(4 * SECOND, 2);
        world.run(500);
        world.check_all();
        assert_eq!(world.health(node), Health::Up);
    }
}

/// Only the connection that stands is in the hole: another one can be opened beside it.
pub(super) fn hole_connection(world: &mut World, node: usize, is_holed: bool) {
    for wire in world.nodes[node].all_wires() {
        wire.is_holed = is_holed;
    }
}

#[test]
fn another_connection_is_opened_beside_one_that_stalls_and_waits_for_it() {
    let mut world = World::joined(2);
    world.run_chatting(SECOND, 2);
    hole_connection(&mut world, 1, true);
    world.run_chatting(4 * SECOND, 2);
    assert_eq!(world.nodes[1].wires.len(), 2, "make before break");
    let before = world.nodes[1].texts_of("0:").len();
    world.run_chatting(500, 2);
    assert_eq!(
        world.nodes[1].texts_of("0:").len(),
        before,
        "the old one first"
    );
    // What node 1 says goes out on the new connection at once.
    let others = world.nodes[0].texts_of("1:").len();
    assert!(others + 10 > world.nodes[1].said.len());
    hole_connection(&mut world, 1, false);
    world.run_chatting(2 * SECOND, 2);
    world.run(500);
    world.check_all();
    assert_eq!(world.nodes[1].wires.len(), 1);
    assert_eq!(world.health(1), Health::Up);
    assert!(
        world.metric(0, "duplicates_filtered_total") > 0,
        "or it shows nothing"
    );
}

#[test]
fn a_connection_that_never_answers_is_given_up_and_what_it_held_is_counted() {
    let mut world = World::joined(2);
    world.run_chatting(SECOND, 2);
    hole_connection(&mut world, 1, true);
    world.run_chatting(2 * SECOND, 2);
    assert_eq!(world.nodes[1].wires.len(), 2);
    world.run_chatting(6 * SECOND, 2);
    assert_eq!(world.nodes[1].wires.len(), 1);
    assert_eq!(world.health(1), Health::Up);
    world.run_chatting(11 * SECOND, 2);
    world.run(100);
    world.check_own(0);
    world.check_own(1);
    assert_eq!(
        world.lost(1, 0),
        0,
        "what was not acknowledged was sent again"
    );
    let lost = world.lost(0, 1);
    assert!((400..600).contains(&lost), "those of a second: {lost}");
    assert_eq!(world.metric(1, "gap_messages_total"), lost as u64);
}

#[test]
fn who_takes_over_from_a_connection_that_lives_waits_for_nobody() {
    let mut world = World::joined(2);
    // How many there are is not said, so that the gate would stay shut for long.
    world.redises[0].answers.insert("PUBSUB", ":0\r\n");
    world.run_chatting(SECOND, 2);
    hole_connection(&mut world, 1, true);
    while world.nodes[1].wires.len() < 2 {
        world.run_chatting(1, 2);
    }
    world.run_chatting(20, 2);
    hole_connection(&mut world, 1, false);
    for _ in 0..500 {
        world.run_chatting(1, 2);
        assert_ne!(world.health(1), Health::Down);
    }
    assert_eq!(world.nodes[1].wires.len(), 1);
    world.run(500);
    world.check_all();
}

#[test]
fn a_stalled_connection_that_is_lost_behind_another_one_is_counted() {
    let mut world = World::joined(1);
    hole_connection(&mut world, 0, true);
    world.nodes[0].is_refused = true;
    world.run(3 * SECOND);
    assert!(world.metric(0, "reconnects_total{reason=\"connect\"}") > 0);
    while !world.nodes[0].dialling.is_empty() {
        world.run(1);
    }
    let now = world.now();
    let node = &mut world.nodes[0];
    let (link, _) = node.wires.pop_first().unwrap();
    node.backplane.disconnected(link, LinkFailure::Reset, now);
    assert_eq!(world.metric(0, "reconnects_total{reason=\"reset\"}"), 1);
}

#[test]
fn when_the_old_connection_answers_first_the_new_one_is_closed() {
    let mut world = World::joined(2);
    world.run_chatting(SECOND, 2);
    world.nodes[1].is_unreachable = true;
    hole_connection(&mut world, 1, true);
    world.run_chatting(2500, 2);
    assert_eq!(world.nodes[1].dialling.len(), 1, "another one is tried");
    hole_connection(&mut world, 1, false);
    world.run_chatting(SECOND, 2);
    assert_eq!(world.nodes[1].dialling.len(), 0);
    world.run(500);
    world.check_all();
    assert_eq!(world.metric(1, "resent_total"), 0);
}

#[test]
fn a_cut_line_loses_what_others_say_meanwhile_and_it_is_counted() {
    let mut world = World::joined(2);
    world.run_chatting(SECOND, 2);
    world.cut(1);
    world.run_chatting(3 * SECOND, 2);
    world.nodes[1].is_refused = false;
    world.run_chatting(15 * SECOND, 2);
    world.run(100);
    world.check_own(0);
    world.check_own(1);
    assert_eq!(world.lost(1, 0), 0);
    let lost = world.lost(0, 1) as u64;
    assert!(lost > 1000);
    assert_eq!(world.metric(1, "gap_messages_total"), lost);
}

#[test]
fn the_end_of_a_quiet_server_is_missed_too() {
    let mut world = World::joined(2);
    world.chatter();
    world.run(10);
    world.cut(1);
    world.say(0, "0:1");
    world.run(100);
    world.nodes[1].is_refused = false;
    // Nothing more is said: its heartbeat tells.
    world.run(20 * SECOND);
    assert_eq!(world.lost(0, 1), 1);
    assert_eq!(world.metric(1, "gap_messages_total"), 1);
}

#[test]
fn a_server_that_is_started_anew_is_heard_from_its_first_message() {
    let mut world = World::joined(2);
    world.run_chatting(SECOND, 10);
    let now = world.now();
    world.cut(1);
    world.nodes[1] = Node::new(redis_config(), 5000, now);
    world.run(2 * SECOND);
    world.say(1, "1:0");
    world.say(1, "1:1");
    world.run(100);
    assert_eq!(world.nodes[0].texts().last(), Some(&"1:1"));
    assert_eq!(world.nodes[1].texts(), ["1:0", "1:1"]);
    assert_eq!(world.metric(0, "gap_messages_total"), 0);
    world.run(15 * SECOND);
    assert_eq!(world.metric(0, "peers"), 1, "the old one is gone");
}

#[test]
fn a_slow_line_does_not_flap() {
    let mut world = World::new(2);
    world.nodes[0].delay = 100;
    world.run(4 * SECOND);
    assert_eq!(
        world.health(0),
        Health::Degraded,
        "200 ms are no time at all, but too long"
    );
    let before = world.nodes[0].events.len();
    world.run_chatting(20 * SECOND, 20);
    world.run(SECOND);
    world.check_all();
    assert_eq!(world.nodes[0].events.len(), before);
    assert_eq!(world.nodes[0].connects, 1);
}

#[test]
fn a_subscription_that_brings_nothing_is_noticed() {
    let mut world = World::joined(2);
    world.redises[0].is_deaf = true;
    world.run_chatting(12 * SECOND, 10);
    world.check_own(0);
    let lost: Vec<_> = world.nodes[0]
        .events
        .iter()
        .filter(|event| matches!(event, Event::Lost(_)))
        .collect();
    assert!(!lost.is_empty(), "{:?}", world.nodes[0].events);
    world.redises[0].is_deaf = false;
    world.run(4 * SECOND);
    let said = world.nodes[0].said.len();
    world.chatter();
    world.run(10);
    assert_eq!(
        world.nodes[1].texts().last(),
        Some(&format!("1:{said}").as_str())
    );
    assert_eq!(world.health(0), Health::Up);
}

#[test]
fn a_master_that_becomes_a_replica_is_left() {
    let mut world = World::joined(1);
    world.redises[0].role = "slave";
    world.run_chatting(6 * SECOND, 10);
    assert_eq!(world.health(0), Health::Down);
    assert!(
        matches!(world.nodes[0].events.last(), Some(Event::Misconfigured(_))),
        "{:?}",
        world.nodes[0].events
    );
    world.redises[0].role = "master";
    world.run_chatting(6 * SECOND, 10);
    assert_eq!(world.health(0), Health::Up);
    world.run(100);
    world.check_all();
}

#[test]
fn redis_that_is_busy_with_a_script_is_waited_for() {
    let mut world = World::joined(2);
    // Some messages are on their way whenever a script begins or ends.
    for wire in world.nodes.iter_mut().flat_map(Node::all_wires) {
        wire.delay = 3;
    }
    for _ in 0..5 {
        world.run_chatting(501, 2);
        world.redises[0]
            .answers
            .insert("PUBLISH", "-BUSY a script\r\n");
        world.run_chatting(503, 2);
        assert_eq!(world.nodes[0].connects, 1, "the subscription stays");
        world.redises[0].answers.clear();
    }
    world.run_chatting(3 * SECOND, 5);
    world.run(100);
    world.check_all();
    assert_eq!(world.nodes[0].connects, 1);
}

#[test]
fn many_messages_that_are_refused_for_a_while_are_no_reason_to_run() {
    let mut world = World::joined(1);
    world.kill();
    for index in 0..40 {
        world.say(0, &format!("0:{index:060000}"));
    }
    world.redises[0]
        .answers
        .insert("PUBLISH", "-BUSY a script\r\n");
    world.start();
    // Each turn is looked at whether it waits for something.
    world.run(5 * SECOND);
    world.redises[0].answers.clear();
    world.run(5 * SECOND);
    world.check_all();
    assert!(world.nodes[0].backplane.is_flushed());
}

#[test]
fn a_message_that_redis_cannot_take_does_not_stop_the_others() {
    let mut world = World::joined(2);
    world.redises[0].refuses = Some("0:0");
    world.say(0, "0:0");
    world.run(2 * SECOND);
    world.say(0, "0:1");
    world.run(100);
    assert_eq!(world.nodes[1].texts(), ["0:1"]);
    assert_eq!(world.nodes[0].texts(), ["0:0", "0:1"]);
    assert_eq!(world.nodes[0].connects, 1);
    let now = world.now();
    let mut metrics = String::new();
    world.nodes[0].backplane.write_metrics(&mut metrics, now);
    assert!(metrics.contains("fanfare_redis_dropped_total{reason=\"refused\"} 1\n"));
}

#[test]
fn echoes_that_follow_their_answers_are_echoes_too() {
    let mut world = World::with(2, |_| {});
    world.redises[0].pushes_last = true;
    world.run(3 * SECOND);
    world.run_chatting(SECOND, 5);
    world.kill();
    world.run_chatting(SECOND, 5);
    world.start();
    world.run_chatting(20 * SECOND, 5);
    world.run(100);
    world.check_all();
}

#[test]
fn a_server_that_was_stopped_itself_judges_nobody() {
    let mut world = World::joined(2);
    world.run_chatting(SECOND, 5);
    // Nothing happens on node 0 for ten seconds; then all of it at once, sockets first.
    let now = world.now();
    for _ in 0..2000 {
        world.say(1, &format!("1:{}", world.nodes[1].said.len()));
        world.serve();
    }
    let _ = now;
    world.ms += 10 * SECOND;
    world.tick();
    world.run_chatting(2 * SECOND, 5);
    assert_eq!(world.nodes[0].connects, 1);
    assert_eq!(world.lost(1, 0), 0);
}

#[test]
fn a_subscription_that_is_gone_is_noticed_by_who_is_counted() {
    let mut world = World::joined(2);
    for client in world.redises[0].clients.values_mut() {
        client.channels.clear();
    }
    world.say(0, "0:0");
    world.run(SECOND);
    assert_eq!(world.nodes[0].connects, 2);
    // Whoever says nothing notices by its heartbeat.
    world.run(7 * SECOND);
    assert_eq!(world.nodes[1].connects, 2);
    assert_eq!(world.lost(0, 0), 0);
    world.check_own(0);
    assert_eq!(world.health(0), Health::Up);
}

#[test]
fn a_long_message_on_a_thin_line_is_no_stall() {
    let mut world = World::joined(2);
    for wire in world.nodes[0].all_wires() {
        wire.rate = Some(70);
    }
    let long = format!("0:{}", "0".repeat(300_000));
    world.say(0, &long);
    world.run(6 * SECOND);
    assert_eq!(world.nodes[1].texts(), [long.as_str()]);
    assert_eq!(world.nodes[0].connects, 1);
    assert!(!world.nodes[0].events.contains(&Event::Stalled));
}

#[test]
fn a_message_that_makes_redis_hang_up_does_so_a_few_times() {
    let mut world = World::joined(2);
    world.redises[0].hangs_up = Some("0:1");
    for text in ["0:0", "0:1", "0:2"] {
        world.say(0, text);
        world.run(20);
    }
    world.run(20 * SECOND);
    assert_eq!(world.nodes[1].texts(), ["0:0", "0:2"]);
    assert_eq!(world.nodes[0].texts(), ["0:0", "0:1", "0:2"]);
    assert_eq!(world.nodes[0].connects, 6);
    assert_eq!(world.metric(1, "gap_messages_total"), 1);
}

#[test]
fn what_waits_for_the_old_connection_is_bounded() {
    let mut world = World::joined(2);
    world.nodes[1].max_read = 1 << 20;
    hole_connection(&mut world, 1, true);
    world.run(3 * SECOND);
    assert_eq!(world.nodes[1].wires.len(), 2);
    let long = "x".repeat(60_000);
    for index in 0..200 {
        world.say(0, &format!("0:{index} {long}"));
        world.run(5);
    }
    let backplane = &world.nodes[1].backplane;
    let is_full = |link: &LinkId| !backplane.wants_input(*link);
    assert_eq!(backplane.links().filter(is_full).count(), 1);
    let wires = world.nodes[1].wires.values().filter(|wire| !wire.is_holed);
    let chunks = wires.flat_map(|wire| &wire.to_node.chunks);
    let waiting: usize = chunks.map(|(_, bytes)| bytes.len()).sum();
    assert!(waiting > 6_000_000, "{waiting}");
    hole_connection(&mut world, 1, false);
    world.run(SECOND);
    assert_eq!(world.nodes[1].heard.len(), 200);
    assert_eq!(world.nodes[1].wires.len(), 1);
    assert_eq!(world.metric(1, "gap_messages_total"), 0);
}
