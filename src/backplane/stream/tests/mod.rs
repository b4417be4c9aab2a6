//! Servers that share a stream, and what may become of it.

mod fake;
mod faults;
mod world;

use std::time::Duration;

use super::super::{Event, MAX_INBOX};
use super::id::StreamId;
use world::{TICK, World};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn servers_hear_each_other_in_one_order() {
    let mut world = World::new(3);
    world.chat(100);
    world.pass(SECOND);
    world.assert_complete();
    assert_eq!(world.texts(0), world.texts(1));
    assert_eq!(world.texts(0), world.texts(2));
    for index in 0..3 {
        assert_eq!(world.metric(index, "published_total"), 100);
        assert_eq!(world.metric(index, "acked_total"), 100);
        assert_eq!(world.metric(index, "received_total"), 200);
        assert_eq!(world.metric(index, "local_total"), 0);
        assert_eq!(world.metric(index, "stream_lag_entries"), 0);
        assert_eq!(world.metric(index, "up"), 1);
    }
}

#[test]
fn a_server_hears_what_is_said_from_its_start_on() {
    let mut world = World::stopped(1, |_| {});
    world.redis.add(b"before", world.now);
    world.is_up = true;
    // Its links are opened and its first questions asked; then something comes in between.
    let mut is_asked = false;
    for _ in 0..100 {
        world.turn();
        if !is_asked && world.redis.log.iter().any(|name| name == "XREAD") {
            is_asked = true;
            world.redis.add(b"after", world.now);
        }
    }
    assert!(is_asked);
    assert_eq!(world.texts(0), ["after"]);
    world.redis.hang_up_all();
    world.pass(2 * SECOND);
    assert_eq!(
        world.texts(0),
        ["after"],
        "nothing from before, however often it comes back"
    );
}

#[test]
fn the_end_of_the_stream_is_looked_for_once() {
    let mut world = World::stopped(1, |_| {});
    world.redis.errors.insert("XREAD", "LOADING later");
    world.is_up = true;
    world.pass(3 * SECOND);
    // It has never been able to read; what was added meanwhile is not lost on it.
    world.redis.add(b"meanwhile", world.now);
    world.redis.errors.clear();
    world.pass(3 * SECOND);
    assert_eq!(world.texts(0), ["meanwhile"]);
}

#[test]
fn nothing_is_lost_on_who_is_away() {
    let mut world = World::new(2);
    world.chat(100);
    world.nodes[1].is_cut = true;
    world.chat(300);
    world.nodes[1].is_cut = false;
    world.settle();
    world.chat(100);
    world.pass(SECOND);
    world.assert_complete();
    for node in &world.nodes {
        node.assert_prompt(Duration::from_millis(250) + TICK);
    }
    assert!(
        world.metric(1, "duplicates_filtered_total") > 0,
        "it went back a little"
    );
    assert_eq!(world.metric(1, "gap_messages_total"), 0);
    assert_eq!(world.metric(0, "replayed_total"), 0);
}

#[test]
fn a_redis_that_forgets_is_reminded() {
    let mut world = World::new(3);
    world.chat(100);
    // One does not hear the last ones, and Redis loses them.
    world.nodes[2].is_cut = true;
    world.chat(100);
    world.restart(|stream| *stream = None);
    world.nodes[2].is_cut = false;
    world.settle();
    world.chat(50);
    world.pass(15 * SECOND);
    world.assert_complete();
    assert!(world.metric(0, "replayed_total") >= 100);
    assert_eq!(world.metric(2, "gap_messages_total"), 0);
    assert_eq!(
        world.nodes[0].has_said(|event| matches!(event, Event::Replayed { .. })),
        1
    );
}

#[test]
fn a_replica_that_lagged_is_given_what_it_has_missed() {
    for lost in [1, 2, 37, 150] {
        let mut world = World::new(3);
        world.chat(100);
        world.nodes[2].is_cut = true;
        world.chat(50);
        world.restart(|stream| stream.as_mut().unwrap().lose(lost));
        world.nodes[2].is_cut = false;
        world.settle();
        world.chat(50);
        world.pass(15 * SECOND);
        world.assert_complete();
        let replayed: u64 = (0..3)
            .map(|index| world.metric(index, "replayed_total"))
            .sum();
        assert_eq!(replayed, lost as u64, "those, and no more");
    }
}

#[test]
fn what_somebody_deletes_is_not_missed() {
    let mut world = World::new(2);
    world.chat(20);
    // The youngest of either, as whoever moderates does.
    world.redis.stream.as_mut().unwrap().delete(2);
    world.pass(12 * SECOND);
    for index in 0..2 {
        assert_eq!(world.metric(index, "reconnects_total{reason=\"deaf\"}"), 0);
    }
    // Nor is it added again by who comes back.
    world.redis.hang_up_all();
    world.settle();
    world.pass(2 * SECOND);
    for index in 0..2 {
        assert_eq!(world.metric(index, "replayed_total"), 0);
    }
    assert_eq!(world.redis.stream.as_ref().unwrap().kept.len(), 38);
    // What is lost behind it is added again.
    world.chat(5);
    world.restart(|stream| stream.as_mut().unwrap().lose(4));
    world.settle();
    world.pass(15 * SECOND);
    let replayed = (0..2).map(|index| world.metric(index, "replayed_total"));
    assert_eq!(replayed.sum::<u64>(), 4);
    world.assert_complete();
}

#[test]
fn another_entry_of_the_same_name_is_not_taken_for_ours() {
    let mut world = World::new(1);
    world.chat(20);
    world.restart(|stream| {
        let stream = stream.as_mut().unwrap();
        stream.kept.back_mut().unwrap().1 = b"another".to_vec();
    });
    world.settle();
    world.pass(SECOND);
    assert_eq!(world.metric(0, "replayed_total"), 1);
}

#[test]
fn whoever_comes_back_first_does_not_hide_what_is_lost() {
    let mut world = World::new(3);
    world.chat(100);
    world.restart(|stream| *stream = None);
    // Server 1 is not back yet, and another one has filled the stream with younger entries.
    world.nodes[0].is_cut = true;
    world.nodes[2].is_cut = true;
    world.pass(SECOND);
    for _ in 0..100 {
        world.say_next(1);
        world.turn();
    }
    world.nodes[0].is_cut = false;
    world.nodes[2].is_cut = false;
    world.settle();
    world.pass(15 * SECOND);
    world.assert_complete();
    assert!(world.metric(0, "replayed_total") > 0);
}

#[test]
fn who_reads_goes_on_while_nothing_can_be_added() {
    let mut world = World::new(2);
    world.nodes[1].is_clogged = true;
    let long = "x".repeat(100_000);
    for number in 0..60 {
        world.say(0, &format!("0.{number}{long}"));
        world.turn();
    }
    world
        .redis
        .errors
        .insert("SUBSCRIBE", "LOADING for a long time");
    world.redis.hang_up_subscribers();
    world.nodes[1].is_clogged = false;
    world.pass(2 * SECOND);
    assert_eq!(world.nodes[1].heard.len(), 60);
    world.redis.errors.clear();
    world.settle();
    world.pass(SECOND);
    assert_eq!(world.nodes[1].heard.len(), 60);
}

#[test]
fn a_clock_that_is_behind_starves_nobody() {
    let mut world = World::new(2);
    world.chat(100);
    // A replica whose clock is a minute behind takes over, and has missed half a second.
    world.restart(|stream| stream.as_mut().unwrap().lose(50));
    world.redis.set_back(60 * SECOND);
    world.settle();
    world.chat(100);
    // Another one knows nothing at all.
    world.restart(|stream| *stream = None);
    world.redis.set_back(60 * SECOND);
    world.settle();
    world.chat(100);
    world.pass(15 * SECOND);
    world.assert_complete();
}

#[test]
fn a_stream_that_is_deleted_under_its_readers_loses_nothing() {
    let mut world = World::new(2);
    world.chat(100);
    // The reader of one does not get to read before it is gone; nobody loses its connection.
    world.nodes[1].is_clogged = true;
    let long = "x".repeat(100_000);
    for number in 0..60 {
        world.say(0, &format!("0.{number}{long}"));
        world.turn();
    }
    world.redis.stream = None;
    world.redis.set_back(5 * SECOND);
    world.nodes[1].is_clogged = false;
    world.pass(20 * SECOND);
    let heard = world
        .texts(1)
        .iter()
        .filter(|text| text.len() > 100_000)
        .count();
    assert_eq!(heard, 60);
    assert!(world.metric(0, "replayed_total") > 0);
    world.chat(0);
    world.say(0, "last");
    world.pass(SECOND);
    assert_eq!(world.texts(1).last(), Some(&"last"));
}

#[test]
fn what_is_trimmed_before_it_is_read_is_counted_exactly() {
    let mut world = World::new(2);
    world.chat(10);
    world.redis.stream.as_mut().unwrap().max_length = Some(50);
    world.nodes[1].is_cut = true;
    for _ in 0..200 {
        world.say_next(0);
        world.turn();
    }
    world.nodes[1].is_cut = false;
    world.settle();
    world.pass(15 * SECOND);
    let lost = 210
        - world
            .texts(1)
            .iter()
            .filter(|text| text.starts_with("0."))
            .count();
    assert_eq!(lost, 150);
    assert_eq!(world.metric(1, "missed_total"), 150);
    assert_eq!(world.metric(1, "gap_messages_total"), 150);
    assert_eq!(
        world.nodes[1].has_said(|event| *event == Event::Missed { entries: 150 }),
        1
    );
    assert_eq!(world.metric(0, "missed_total"), 0);
    // What the ring has and the stream has not was trimmed: nobody adds it again.
    world.redis.hang_up_all();
    world.settle();
    assert_eq!(world.metric(0, "replayed_total"), 0);
}

#[test]
fn while_long_messages_come_one_by_one_holes_are_counted() {
    let mut world = World::with(2, |config| config.max_message_size = 1024 * 1024);
    world.chat(10);
    world.redis.stream.as_mut().unwrap().max_length = Some(50);
    world.nodes[1].is_cut = true;
    for _ in 0..200 {
        world.say_next(0);
        world.turn();
    }
    world.nodes[1].is_cut = false;
    world.settle();
    // So long that no more than one is asked for, were it not for who has caught up.
    let long = vec![b'x'; 600_000];
    for _ in 0..60 {
        world.redis.add(&long, world.now);
        world.pass(SECOND / 2);
        assert_eq!(world.metric(1, "up"), 1);
    }
    assert_eq!(world.metric(1, "gap_messages_total"), 150);
}

#[test]
fn a_redis_that_does_not_count_shows_gaps_all_the_same() {
    let mut world = World::stopped(2, |config| config.stream_maxlen = 50);
    world.redis.counts = false;
    world.is_up = true;
    world.settle();
    world.chat(10);
    world.redis.stream.as_mut().unwrap().max_length = Some(50);
    world.nodes[1].is_cut = true;
    for _ in 0..200 {
        world.say_next(0);
        world.turn();
    }
    world.nodes[1].is_cut = false;
    world.settle();
    world.pass(15 * SECOND);
    assert_eq!(world.metric(1, "gap_messages_total"), 150);
}

#[test]
fn who_is_too_far_behind_hears_the_newest_part_and_counts_the_rest() {
    let mut world = World::with(2, |config| config.catchup_max = 100);
    world.chat(10);
    world.nodes[1].is_cut = true;
    for _ in 0..500 {
        world.say_next(0);
        world.turn();
    }
    world.nodes[1].is_cut = false;
    world.settle();
    world.pass(15 * SECOND);
    let heard = world
        .texts(1)
        .iter()
        .filter(|text| text.starts_with("0."))
        .count();
    assert!((90..=130).contains(&heard), "{heard}");
    assert_eq!(world.texts(1).last(), Some(&"0.509"));
    assert_eq!(world.metric(1, "missed_total"), 510 - heard as u64);
    assert_eq!(world.metric(1, "gap_messages_total"), 510 - heard as u64);
}

#[test]
fn while_clients_are_slow_nothing_is_asked_for_and_nothing_is_lost() {
    let mut world = World::new(2);
    world.nodes[1].is_clogged = true;
    let long = "x".repeat(50_000);
    for number in 0..400 {
        world.say(0, &format!("0.{number} {long}"));
        world.turn();
    }
    let before = world.redis.commands("XREAD");
    // Longer than anything is waited for: heartbeats of the other tell what is not read yet.
    world.pass(30 * SECOND);
    let others = 30 + 30 / 5;
    let reads = world.redis.commands("XREAD") - before;
    assert!(reads <= others, "only the other one reads");
    let (mut held, mut count) = (0, 0);
    while let Some(delivery) = world.nodes[1].backplane.next_delivery() {
        held += delivery.payload().len();
        count += 1;
    }
    assert!(
        (MAX_INBOX - 600_000..MAX_INBOX + 1_200_000).contains(&held),
        "{held}"
    );
    world.nodes[1].is_clogged = false;
    world.pass(15 * SECOND);
    assert_eq!(world.nodes[1].heard.len() + count, 400);
    assert_eq!(world.metric(1, "gap_messages_total"), 0);
}

#[test]
fn others_may_add_and_publish_without_an_envelope() {
    let mut world = World::new(1);
    world.redis.add(b"added", world.now);
    world.redis.publish(b"websocket-broadcast", b"published");
    world
        .redis
        .publish(b"websocket-broadcast:ctl", b"not for clients");
    world.redis.publish(b"other", b"not for us");
    world.pass(SECOND);
    let mut heard = world.texts(0);
    heard.sort_unstable();
    assert_eq!(heard, ["added", "published"]);
    for _ in 0..3 {
        world.redis.hang_up_all();
        world.settle();
    }
    assert_eq!(
        world.nodes[0].heard.len(),
        2,
        "once, however often it comes back"
    );
    world.redis.add(b"added", world.now);
    world.pass(SECOND);
    assert_eq!(world.nodes[0].heard.len(), 3, "the same may be said again");
}

#[test]
fn an_entry_that_nobody_believes_stops_nobody() {
    let mut world = World::new(1);
    world.redis.add(b"\xFFWB\x01", world.now);
    world.redis.add(b"after", world.now);
    world.pass(SECOND);
    assert_eq!(world.texts(0), ["after"]);
    assert_eq!(world.metric(0, "rejected_total{reason=\"length\"}"), 1);
}

#[test]
fn an_entry_that_is_too_long_for_us_stops_nobody() {
    let mut world = World::with(2, |config| config.max_message_size = 1000);
    world.chat(3);
    let long = vec![b'x'; 100_000];
    world.redis.add(&long, world.now);
    world.chat(3);
    // Whoever comes back finds it again, and at the stream's front when asking how that is.
    world.restart(|stream| stream.as_mut().unwrap().trim(7));
    world.settle();
    world.redis.publish(b"websocket-broadcast", &long);
    world.chat(3);
    world.pass(2 * SECOND);
    world.assert_complete();
    for node in 0..2 {
        assert_eq!(world.metric(node, "rejected_total{reason=\"size\"}"), 2);
        assert_eq!(
            world.metric(node, "reconnects_total{reason=\"protocol\"}"),
            0
        );
    }
}

#[test]
fn an_entry_with_too_many_fields_or_too_long_ones_stops_nobody() {
    let mut world = World::with(2, |config| config.max_message_size = 1000);
    world.chat(3);
    // The most that there is room for is some 9 MB.
    let more = [
        (3000, 10),
        (2000, 1000),
        (200_000, 0),
        (100, 60_000),
        (1, 10),
    ];
    for (number, more) in more.into_iter().enumerate() {
        let text = format!("with others {number}");
        let id = world.redis.add(text.as_bytes(), world.now);
        world.redis.stream.as_mut().unwrap().more.insert(id, more);
        world.chat(3);
    }
    world.pass(2 * SECOND);
    world.assert_complete();
    // Whoever comes back finds them again, at the stream's front and all at once.
    world.restart(|stream| stream.as_mut().unwrap().trim(35));
    world.settle();
    world.chat(3);
    world.pass(2 * SECOND);
    world.assert_complete();
    for node in 0..2 {
        let others = world.texts(node).into_iter();
        let others = others.filter(|text| text.starts_with("with others"));
        let expected = ["with others 1", "with others 4"];
        assert_eq!(others.collect::<Vec<_>>(), expected);
        let too_long = world.metric(node, "rejected_total{reason=\"size\"}");
        assert_eq!(too_long, 3);
        let lost = world.metric(node, "reconnects_total{reason=\"protocol\"}");
        assert_eq!(lost, 0);
        assert_eq!(world.metric(node, "gap_messages_total"), 0);
    }
}

#[test]
fn without_a_redis_clients_hear_each_other_and_later_everybody() {
    let mut world = World::stopped(2, |_| {});
    world.chat(100);
    for node in &world.nodes {
        assert_eq!(node.heard.len(), 100, "its own");
    }
    world.is_up = true;
    world.settle();
    world.pass(SECOND);
    // What was said before somebody listened for the first time is not for him.
    world.chat(50);
    world.pass(SECOND);
    for index in 0..2 {
        let own = format!("{index}.");
        let heard = world.texts(index);
        assert_eq!(
            heard.iter().filter(|text| text.starts_with(&own)).count(),
            150
        );
        assert!(heard.contains(&"0.149") && heard.contains(&"1.149"));
    }
}

#[test]
fn nothing_tells_what_a_stream_of_the_wrong_type_holds_and_it_is_said_once() {
    let error = "WRONGTYPE Operation against a key holding the wrong kind of value";
    for command in ["XINFO", "XADD", "XREAD"] {
        let mut world = World::stopped(1, |_| {});
        world.redis.errors.insert(command, error);
        world.is_up = true;
        let mut since = 0;
        for _ in 0..3 {
            world.say_next(0);
            world.pass(10 * SECOND);
            let connects = world.redis.commands("HELLO") - since;
            since += connects;
            assert!(connects <= 10, "{command}: {connects} in 10 s");
        }
        let told = world.nodes[0].has_said(|event| matches!(event, Event::Misconfigured(_)));
        assert!(told >= 1, "{command}");
        assert!(world.metric(0, "config_errors_total{reason=\"wrong_type\"}") >= 3);
        world.nodes[0].assert_prompt(Duration::from_millis(250) + TICK);
        world.redis.errors.clear();
        world.pass(10 * SECOND);
        world.settle();
    }
}

#[test]
fn without_memory_messages_go_past_the_stream() {
    let mut world = World::new(2);
    world.chat(10);
    world.redis.errors.insert(
        "XADD",
        "OOM command not allowed when used memory > 'maxmemory'.",
    );
    world.chat(20);
    assert_eq!(world.metric(0, "diverted_total"), 20);
    assert_eq!(
        world.nodes[0].has_said(|event| *event == Event::StreamFull),
        1
    );
    world.redis.errors.clear();
    world.chat(10);
    world.pass(15 * SECOND);
    world.assert_complete();
    assert_eq!(world.metric(0, "diverted_total"), 20);
    assert_eq!(world.nodes[0].backplane.unacknowledged(), 0);
    // It is said once, and once more when it is full again.
    world.redis.errors.insert("XADD", "OOM once more");
    world.chat(2);
    let full = world.nodes[0].has_said(|event| *event == Event::StreamFull);
    assert_eq!(full, 2);
    assert_eq!(world.metric(1, "gap_messages_total"), 0);
}

#[test]
fn without_memory_no_more_waits_to_be_written_than_otherwise() {
    let mut world = World::with(2, |config| config.max_message_size = 100_000);
    let error = "OOM command not allowed when used memory > 'maxmemory'.";
    world.redis.errors.insert("XADD", error);
    let long = "x".repeat(90_000);
    for number in 0..40 {
        world.say(0, &format!("0.{number}{long}"));
    }
    world.pass(3 * SECOND);
    world.assert_complete();
    assert!(world.metric(0, "diverted_total") >= 40);
    assert_eq!(world.nodes[0].backplane.unacknowledged(), 0);
}

#[test]
fn a_stream_without_ids_is_passed_by_and_read_to_its_end() {
    let mut world = World::new(2);
    world.chat(10);
    world.redis.add_as(StreamId::MAX, b"the last");
    let reads = world.count("XREAD");
    world.chat(20);
    world.pass(8 * SECOND);
    assert!(
        world.count("XREAD") - reads < 100,
        "nobody turns in circles"
    );
    for node in 0..2 {
        assert_eq!(world.metric(node, "diverted_total"), 20);
        assert_eq!(world.metric(node, "dropped_total{reason=\"refused\"}"), 0);
        let said = |event: &Event| *event == Event::StreamExhausted;
        assert_eq!(world.nodes[node].has_said(said), 1);
        let heard = world.texts(node).into_iter();
        assert_eq!(heard.filter(|text| *text == "the last").count(), 1);
    }
    // Whoever comes back reads it again, and no message twice.
    world.restart(|_| {});
    world.settle();
    world.chat(10);
    world.pass(15 * SECOND);
    world.assert_complete();
    // Somebody has read the log, and deletes it.
    world.redis.stream = None;
    world.pass(10 * SECOND);
    let before = world.metric(0, "diverted_total");
    world.chat(20);
    world.pass(15 * SECOND);
    world.assert_complete();
    assert_eq!(world.metric(0, "diverted_total"), before);
    assert_eq!(world.metric(1, "gap_messages_total"), 0);
}

#[test]
fn of_two_masters_none_is_written_to_while_the_other_is_read() {
    // The new one has all that the old one had, or not the last of it.
    for lost in [0, 5] {
        let mut world = World::new(2);
        world.chat(20);
        world.split();
        world.redis.stream.as_mut().unwrap().lose(lost);
        // Node 0 goes on writing to the old one, which keeps the connection for commands.
        let old = world.old.as_mut().unwrap();
        old.hang_up_readers();
        world.nodes[1].is_cut = true;
        world.turn();
        world.nodes[1].is_cut = false;
        world.pass(SECOND);
        // Node 1 takes the new one farther than the old one is.
        for _ in 0..3 {
            world.chat(5);
            world.pass(SECOND / 5);
        }
        for _ in 0..5 {
            world.say_next(1);
            world.turn();
        }
        world.pass(20 * SECOND);
        world.chat(20);
        world.pass(SECOND);
        world.assert_complete();
        assert!(world.metric(0, "reconnects_total{reason=\"deaf\"}") > 0);
        assert_eq!(world.metric(0, "up"), 1);
        assert_eq!(world.metric(1, "gap_messages_total"), 0);
        let lost = world.metric(0, "reconnects_total{reason=\"deaf\"}");
        world.pass(60 * SECOND);
        let still = world.metric(0, "reconnects_total{reason=\"deaf\"}");
        assert_eq!(still, lost, "they have met");
    }
}

#[test]
fn a_redis_that_is_not_the_master_any_longer_is_left() {
    let mut world = World::new(1);
    world.redis.role = "slave";
    world.pass(7 * SECOND);
    assert_eq!(world.metric(0, "up"), 0);
    assert!(world.metric(0, "reconnects_total{reason=\"role\"}") > 0);
    world.redis.role = "master";
    world.redis.errors.insert(
        "XADD",
        "READONLY You can't write against a read only replica.",
    );
    world.pass(7 * SECOND);
    world.settle();
    let before = world.metric(0, "reconnects_total{reason=\"role\"}");
    world.say_next(0);
    world.pass(SECOND);
    assert!(world.metric(0, "reconnects_total{reason=\"role\"}") > before);
    world.redis.errors.clear();
    world.pass(7 * SECOND);
    world.settle();
    assert_eq!(
        world.metric(0, "acked_total"),
        1,
        "what was refused is added now"
    );
}

#[test]
fn who_refuses_for_a_while_is_asked_again() {
    let mut world = World::new(2);
    world
        .redis
        .errors
        .insert("XADD", "MISCONF Redis is configured to save RDB snapshots");
    world.chat(20);
    world.pass(12 * SECOND);
    assert_eq!(
        world.metric(1, "gap_messages_total"),
        0,
        "nobody waits for what is not there"
    );
    world.redis.errors.clear();
    world.pass(SECOND);
    world.assert_complete();
    world.nodes[0].assert_prompt(Duration::from_millis(250) + TICK);
}

#[test]
fn what_was_refused_for_a_while_does_not_come_all_at_once() {
    let mut world = World::with(1, |config| config.max_message_size = 100_000);
    let misconf = "MISCONF Redis is configured to save RDB snapshots";
    world.redis.errors.insert("XADD", misconf);
    let long = "x".repeat(90_000);
    for number in 0..60 {
        world.say(0, &format!("0.{number}{long}"));
        world.turn();
    }
    world.redis.errors.clear();
    let (mut before, mut most) = (0, 0);
    for _ in 0..200 {
        world.pass(SECOND / 20);
        let stream = world.redis.stream.as_ref();
        let added = stream.map_or(0, |stream| stream.kept.len());
        most = most.max(added - before);
        before = added;
    }
    assert_eq!(before, 60);
    assert!(most <= 2 * 13, "{most} in 50 ms: a MiB is 12");
}

#[test]
fn a_long_way_is_no_narrow_one() {
    let mut world = World::with(1, |config| config.max_message_size = 64 * 1024);
    world.nodes[0].distance = Duration::from_millis(400);
    // 2000 a second: more than five times what 128 for each time there and back would be.
    for _ in 0..2000 {
        for _ in 0..20 {
            world.redis.add(&[b'x'; 100], world.now);
        }
        world.turn();
    }
    world.pass(2 * SECOND);
    assert_eq!(world.nodes[0].heard.len(), 40_000);
    assert_eq!(world.metric(0, "missed_total"), 0);
    assert_eq!(world.metric(0, "reconnects_total{reason=\"stalled\"}"), 0);
}

#[test]
fn nothing_is_given_up_that_may_be_in_what_was_not_read() {
    let mut world = World::new(2);
    world.chat(10);
    // Nobody can read, and what is published past the stream comes first.
    world.redis.errors.insert("XREAD", "LOADING later");
    world.redis.hang_up_readers();
    for _ in 0..10 {
        world.say_next(0);
        world.turn();
    }
    world.redis.errors.insert("XADD", "OOM command not allowed");
    for _ in 0..10 {
        world.say_next(0);
        world.turn();
    }
    world.pass(30 * SECOND);
    assert_eq!(world.metric(1, "gap_messages_total"), 0);
    world.redis.errors.clear();
    world.pass(30 * SECOND);
    assert_eq!(world.metric(1, "gap_messages_total"), 0);
    let heard = world.texts(1).into_iter();
    assert_eq!(heard.filter(|text| text.starts_with("0.")).count(), 30);
    // What is in nothing that was read is given up in the end.
    world.redis.stream.as_mut().unwrap().max_length = Some(1);
    world.nodes[1].is_cut = true;
    for _ in 0..5 {
        world.say_next(0);
        world.turn();
    }
    world.nodes[1].is_cut = false;
    world.settle();
    world.pass(15 * SECOND);
    assert_eq!(world.metric(1, "gap_messages_total"), 4);
}

#[test]
fn a_redis_that_stands_still_delays_nobody_here_and_loses_nothing() {
    let mut world = World::new(2);
    world.chat(50);
    world.redis.is_stopped = true;
    world.chat(1000);
    world.redis.is_stopped = false;
    world.settle();
    world.chat(50);
    world.pass(15 * SECOND);
    world.assert_complete();
    for node in &world.nodes {
        node.assert_prompt(Duration::from_millis(250) + TICK);
    }
}

#[test]
fn a_reader_that_reads_another_stream_than_is_written_to_notices() {
    let mut world = World::new(2);
    world.chat(20);
    // Whoever reads is answered from what was there a minute ago.
    let stale = world.redis.stream.clone().map(|mut stream| {
        stream.lose(10);
        stream
    });
    world.redis.hang_up_all();
    world.settle();
    world.redis.stream = stale;
    world.pass(15 * SECOND);
    world.assert_complete();
    let told: u64 = (0..2)
        .map(|index| {
            world.metric(index, "reconnects_total{reason=\"deaf\"}")
                + world.metric(index, "reconnects_total{reason=\"forgotten\"}")
        })
        .sum();
    assert!(told > 0);
}

#[test]
fn an_answer_that_is_older_than_a_doubt_does_not_settle_it() {
    let begin = || {
        let mut world = World::with(1, |config| config.op_timeout = 10 * SECOND);
        world.redis.add(b"not ours", world.now);
        world.pass(7 * SECOND);
        world
    };
    let mut world = begin();
    let (beats, mut turns) = (world.count("PUBLISH"), 0);
    while world.count("PUBLISH") == beats {
        world.turn();
        turns += 1;
    }
    // Once more: what Redis says then, and how the stream is with it, is long under way.
    let mut world = begin();
    for _ in 1..turns {
        world.turn();
    }
    world.nodes[0].distance = 4 * SECOND;
    world.turn();
    assert_eq!(world.count("PUBLISH"), beats + 1);
    world.nodes[0].distance = Duration::ZERO;
    world.redis.stream = None;
    world.pass(20 * SECOND);
    assert_eq!(
        world.metric(0, "reconnects_total{reason=\"deaf\"}"),
        1,
        "the reader is in doubt, and nobody else"
    );
}

#[test]
fn a_reader_that_has_come_to_another_stream_leaves() {
    let mut world = World::new(2);
    world.chat(20);
    // Where it reads there is less than where is written to, and nobody says so.
    let mut stale = world.redis.stream.clone().unwrap();
    stale.lose(10);
    world.redis.read_stream = Some(stale);
    world.chat(50);
    world.pass(7 * SECOND);
    for node in 0..2 {
        assert!(world.metric(node, "reconnects_total{reason=\"deaf\"}") > 0);
        assert_eq!(
            world.metric(node, "reconnects_total{reason=\"forgotten\"}"),
            0
        );
    }
    world.redis.read_stream = None;
    world.settle();
    world.chat(20);
    world.pass(15 * SECOND);
    world.assert_complete();
    assert_eq!(world.metric(0, "replayed_total"), 0, "nothing was lost");
}

#[test]
fn a_reader_that_has_come_to_a_replica_takes_the_writer_along() {
    let mut world = World::new(1);
    world.chat(20);
    world.redis.read_role = Some("slave");
    let before = world.redis.commands("SUBSCRIBE");
    world.pass(7 * SECOND);
    assert!(world.metric(0, "reconnects_total{reason=\"role\"}") > 0);
    world.redis.read_role = None;
    world.pass(7 * SECOND);
    world.settle();
    let subscribed = world.redis.commands("SUBSCRIBE") - before;
    assert!(
        subscribed > 0,
        "both lead to where the master is said to be"
    );
    world.chat(20);
    world.pass(SECOND);
    world.assert_complete();
}

#[test]
fn nobody_reads_where_nobody_can_write() {
    let mut world = World::new(1);
    world
        .redis
        .errors
        .insert("SUBSCRIBE", "LOADING for a while");
    world.redis.hang_up_all();
    let before = world.redis.commands("XREAD");
    world.pass(5 * SECOND);
    assert_eq!(world.redis.commands("XREAD"), before, "it follows");
    world.redis.errors.clear();
    world.settle();
}

#[test]
fn a_reader_that_was_read_from_comes_back_at_once_however_often() {
    let mut world = World::new(1);
    for _ in 0..10 {
        world.pass(2 * SECOND);
        world.redis.hang_up_readers();
        world.turn();
        assert_eq!(world.metric(0, "up"), 0);
        world.pass(SECOND / 5);
        assert_eq!(world.metric(0, "up"), 1);
    }
}

#[test]
fn a_redis_that_does_not_wait_is_not_asked_without_a_pause() {
    let mut world = World::new(1);
    world.redis.never_waits = true;
    let before = world.redis.commands("XREAD");
    world.pass(10 * SECOND);
    let asked = world.redis.commands("XREAD") - before;
    assert!((900..=1001).contains(&asked), "{asked} in 10 s");
}

#[test]
fn who_waits_for_entries_is_not_stalled() {
    let mut world = World::with(1, |config| config.op_timeout = SECOND / 4);
    let before = world.redis.commands("XREAD");
    world.pass(20 * SECOND);
    assert_eq!(world.metric(0, "reconnects_total{reason=\"stalled\"}"), 0);
    let asked = world.redis.commands("XREAD") - before;
    assert!((18..=25).contains(&asked), "a second each: {asked}");
}

#[test]
fn an_entry_of_a_new_stream_is_new_whatever_it_is_called() {
    let mut world = World::new(1);
    let first = world.redis.add(b"first", world.now);
    world.pass(SECOND);
    world.restart(|stream| *stream = None);
    world.settle();
    world.redis.clock = (first.ms, world.now);
    assert_eq!(world.redis.add(b"second", world.now), first);
    world.pass(SECOND);
    assert_eq!(world.texts(0), ["first", "second"]);
}

#[test]
fn what_is_still_to_be_read_over_a_long_way_is_not_missing() {
    let mut world = World::new(2);
    world.chat(5);
    world.nodes[1].is_cut = true;
    let long = "x".repeat(60_000);
    for number in 5..405 {
        world.say(0, &format!("0.{number} {long}"));
        world.turn();
    }
    world.nodes[1].distance = SECOND * 2 / 5;
    world.nodes[1].is_cut = false;
    // A few come at once, as many as were asked for: heartbeats come long before what they tell
    // of, and it takes longer than anything is waited for that is missing.
    let begun = world.now;
    while world.nodes[1].heard.len() < 405 {
        assert!(world.now < begun + 60 * SECOND);
        world.turn();
    }
    let took = world.now - begun;
    assert!(took > 15 * SECOND, "{took:?}");
    world.pass(15 * SECOND);
    assert_eq!(world.metric(1, "gap_messages_total"), 0);
}

#[test]
fn what_is_not_read_yet_is_not_missing_and_not_in_time() {
    let mut world = World::new(2);
    world.chat(5);
    world.nodes[1].is_clogged = true;
    world.turn();
    let long = "x".repeat(50_000);
    for number in 5..405 {
        world.say(0, &format!("0.{number} {long}"));
        world.turn();
    }
    world.say(1, "1.5");
    world.pass(SECOND);
    // A megabyte a second is taken: heartbeats come long before what they tell of.
    let (mut heard, end) = (0, world.now + 60 * SECOND);
    while heard < 400 {
        assert!(world.now < end, "{heard} were heard");
        for _ in 0..5 {
            world.turn();
        }
        if heard < 300 {
            assert_ne!(world.metric(1, "degraded"), 0, "{heard}");
        }
        while let Some(delivery) = world.nodes[1].backplane.next_delivery() {
            if delivery.payload().starts_with(b"0.") {
                heard += 1;
                break;
            }
        }
    }
    world.nodes[1].is_clogged = false;
    world.pass(15 * SECOND);
    assert_eq!(world.metric(1, "gap_messages_total"), 0);
    assert_eq!(world.metric(1, "degraded"), 0);
}
