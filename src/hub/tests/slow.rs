//! Who owes too much, or takes nothing.

use super::*;

#[test]
fn who_owes_too_much_goes_and_the_others_hear_everything() {
    let mut world = World::new(|config| config.max_client_buffer = config.min_client_buffer());
    let [sender, slow] = [world.connect("/ws"), world.connect("/ws")];
    let payload = "x".repeat(60_000);
    let mut heard = 0;
    for _ in 0..4 {
        world.receive(sender, &text(&payload));
        let got = world.flush(&[slow]);
        heard += got.iter().filter(|(id, _)| *id == sender).count();
        world.reap();
    }
    assert_eq!(heard, 4);
    // Nothing was written to it, so its stream ends with a frame and it may be told.
    let pieces: Vec<_> = world.hub.outgoing(slow).unwrap().pieces().collect();
    let outgoing = pieces.concat();
    assert_eq!(readable(&outgoing), "[88:1013]");
    world.pass(seconds(6));
    assert_eq!(world.reap(), [(slow, Disconnect::TooSlow)]);
}

#[test]
fn who_is_dropped_in_the_middle_of_a_turn_hears_nothing_of_it() {
    // What was owed is gone: whatever came behind that gap would look like the whole.
    let mut world = World::new(|config| config.max_client_buffer = config.min_client_buffer());
    let [sender, slow] = [world.connect("/ws"), world.connect("/ws")];
    for _ in 0..2 {
        world.receive(sender, &text(&"x".repeat(60_000)));
        world.flush(&[slow]);
    }
    let counted = world.hub.metrics().messages_sent;
    world.receive(sender, &text("of this turn"));
    let mut outbox = world.hub.outbox(world.now);
    assert!(!outbox.send(slow, MessageKind::Binary, vec![0; 20_000]));
    world.hub.writable(slow);
    let got = world.flush(&[]);
    let heard = |id| {
        got.iter()
            .find(|(who, _)| *who == id)
            .map(|(_, bytes)| readable(bytes))
    };
    assert_eq!(heard(slow).unwrap(), "[88:1013]");
    assert_eq!(heard(sender).unwrap(), "[81:of this turn]");
    assert_eq!(world.hub.metrics().messages_sent, counted + 1);
}

#[test]
fn in_the_middle_of_a_frame_nothing_more_can_be_said() {
    let mut world = World::new(|config| config.max_client_buffer = config.min_client_buffer());
    let [sender, slow] = [world.connect("/ws"), world.connect("/ws")];
    world.receive(sender, &text(&"x".repeat(60_000)));
    let mut ids = Vec::new();
    world.hub.take_dirty(&mut ids, world.now);
    world.hub.outgoing(slow).unwrap().advance(1);
    assert!(!world.hub.flushed(slow, 1, true, world.now));
    for _ in 0..3 {
        world.receive(sender, &text(&"x".repeat(60_000)));
        world.flush(&[slow]);
    }
    assert_eq!(world.reap(), [(slow, Disconnect::TooSlow)]);
}

#[test]
fn a_turn_that_said_enough_is_full_and_harms_nobody_who_keeps_up() {
    let mut world =
        World::new(|config| config.max_client_buffer = config.min_client_buffer() + 1000);
    let a = world.connect("/ws");
    let b = world.connect("/ws");
    assert!(!world.hub.is_full());
    world.receive(a, &text(&"x".repeat(994)));
    assert!(!world.hub.is_full());
    world.receive(a, &text(""));
    assert!(world.hub.is_full());
    world.receive(b, &text(&"y".repeat(65_000)));
    assert_eq!(world.flush(&[]).len(), 2);
    assert!(!world.hub.is_full() && world.reap().is_empty());
}

#[test]
fn a_turn_that_said_enough_to_many_rooms_is_full_too() {
    let mut world = World::new(|_| {});
    let rooms: Vec<String> = (0..17).map(|i| format!("r{i}")).collect();
    for room in &rooms {
        world.connect(&format!("/ws/{room}"));
    }
    // 16 times five of these are less than 4 MiB, 17 times are more, and no room hears too much.
    let payload = vec![0; 50_000];
    for room in &rooms {
        assert!(!world.hub.is_full());
        for _ in 0..5 {
            assert_eq!(world.hub.publish(room, MessageKind::Binary, &payload), 1);
        }
    }
    assert!(world.hub.is_full());
    assert_eq!(world.flush(&[]).len(), 17);
    assert!(!world.hub.is_full());
}

#[test]
fn a_turn_that_said_enough_to_single_clients_is_full_too() {
    let mut world = World::new(|_| {});
    let ids = [0; 5].map(|_| world.connect("/ws"));
    // Four of these are less than 4 MiB, and five are more.
    let payload = vec![0; 1_000_000];
    for id in ids {
        assert!(!world.hub.is_full());
        let mut outbox = world.hub.outbox(world.now);
        assert!(outbox.send(id, MessageKind::Binary, &payload));
    }
    assert!(world.hub.is_full());
}

/// A message without a payload is two bytes, and a turn must end for those too.
#[test]
fn what_is_said_to_single_clients_counts_with_its_headers() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    for (payload, len) in [
        (vec![], 2),
        (vec![0; 126], 130),
        (vec![0; 0x1_0000], 0x1_000A),
    ] {
        for said in [Payload::from(&payload), payload.clone().into()] {
            let before = world.hub.said;
            let mut outbox = world.hub.outbox(world.now);
            assert!(outbox.send(id, MessageKind::Binary, said));
            assert_eq!(world.hub.said - before, len);
        }
    }
}

#[test]
fn output_without_progress_is_too_slow_and_progress_is_not() {
    let mut world = World::new(|_| {});
    let [stuck, crawling] = [world.connect("/ws"), world.connect("/ws")];
    world.receive(stuck, &text("xxxxxxxxxxxxxxxxxxxxxxxx"));
    let mut ids = Vec::new();
    world.hub.take_dirty(&mut ids, world.now);
    for id in [stuck, crawling] {
        world.hub.outgoing(id).unwrap().advance(1);
        assert!(!world.hub.flushed(id, 1, true, world.now));
    }
    for _ in 0..2 {
        world.pass(seconds(6));
        world.hub.writable(crawling);
        world.hub.outgoing(crawling).unwrap().advance(1);
        assert!(!world.hub.flushed(crawling, 1, true, world.now));
        // To be asked and to take nothing is no progress.
        assert!(!world.hub.flushed(stuck, 0, true, world.now));
    }
    assert_eq!(world.reap(), [(stuck, Disconnect::TooSlow)]);
    assert!(world.hub.is_open(crawling));
}

#[test]
fn what_is_left_is_written_in_the_next_turn_unless_the_transport_is_full() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    let named = |world: &mut World| {
        let mut ids = Vec::new();
        world.hub.take_dirty(&mut ids, world.now);
        ids
    };
    world.receive(id, &text("hello"));
    for blocked in [false, true] {
        assert_eq!(named(&mut world), [id]);
        world.hub.outgoing(id).unwrap().advance(1);
        assert!(!world.hub.flushed(id, 1, blocked, world.now));
    }
    assert_eq!(named(&mut world), []);
    world.hub.writable(id);
    assert_eq!(named(&mut world), [id]);
    // A transport that was filled by the very last byte is asked again with the next message.
    world.hub.outgoing(id).unwrap().advance(5);
    assert!(!world.hub.flushed(id, 5, true, world.now));
    world.receive(id, &text("again"));
    assert_eq!(world.heard(id), "[81:again]");
}

#[test]
fn a_history_that_is_too_long_is_no_answer_to_a_handshake() {
    let mut world = World::new(|config| config.max_client_buffer = config.min_client_buffer());
    world.handler.history = world.hub.config().max_client_buffer;
    let id = world.accept();
    world.request(id, "/ws");
    // The 101 was dropped with what followed it; a Close in its place would be nonsense.
    assert_eq!(world.flush(&[]), []);
    assert_eq!(world.reap(), [(id, Disconnect::TooSlow)]);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of messages take minutes there")]
fn many_short_answers_make_nobody_slow() {
    let mut world = World::new(|_| {});
    let [a, b] = [world.connect("/ws"), world.connect("/ws")];
    let messages = [text("x"), text("whisper")].concat().repeat(3000);
    for id in [a, b] {
        world.receive(id, &messages[..messages.len().min(MAX_RECEIVE)]);
    }
    assert_eq!(world.flush(&[]).len(), 2);
    assert_eq!(world.reap(), []);
}

#[test]
fn a_client_that_stalls_between_frames_is_told_and_has_time_to_hear_it() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    world.receive(id, &text("stuck"));
    world.flush(&[id]);
    world.pass(seconds(11));
    assert_eq!(world.reap(), []);
    world.hub.writable(id);
    assert_eq!(world.heard(id), "[88:1013]");
    world.hub.hang_up(id, Disconnect::Gone);
    assert_eq!(world.reap(), [(id, Disconnect::TooSlow)]);
}

#[test]
fn a_failed_write_does_not_lose_what_was_said() {
    let mut world = World::new(|_| {});
    let [leaving, other] = [world.connect("/ws"), world.connect("/ws")];
    world.receive(leaving, &text("one"));
    world.flush(&[leaving]);
    world.hub.output_failed(leaving, world.now);
    world.receive(leaving, &[text("two"), frame(0x88, b"")].concat());
    world.hub.hang_up(leaving, Disconnect::Gone);
    assert_eq!(world.heard(other), "[81:two]");
    assert_eq!(world.reap(), [(leaving, Disconnect::Closed(None))]);
}

/// A last word would only keep it for the close timeout.
#[test]
fn nothing_is_said_to_a_slow_client_whose_writes_have_failed() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    world.receive(id, &text("too much"));
    world.flush(&[id]);
    world.hub.output_failed(id, world.now);
    world.pass(seconds(11));
    assert_eq!(world.reap(), [(id, Disconnect::TooSlow)]);
}

/// After a stop of the process all deadlines have passed at once, and the driver hears only now
/// that the transport takes bytes again.
#[test]
fn nobody_is_given_up_as_slow_whose_transport_has_not_been_tried_yet() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    world.receive(id, &text("one"));
    world.flush(&[id]);
    let write_timeout = world.hub.config().write_timeout;
    world.now += write_timeout + seconds(1);
    world.hub.writable(id);
    world.hub.advance(world.now);
    assert_eq!(world.heard(id), told(0x81, "one"));
    assert_eq!(world.reap(), []);
    // If it takes nothing after all, that counts.
    world.receive(id, &text("two"));
    world.flush(&[id]);
    world.now += write_timeout;
    world.hub.writable(id);
    world.hub.advance(world.now);
    world.flush(&[id]);
    assert!(world.hub.is_open(id));
    world.pass(seconds(1));
    assert!(!world.hub.is_open(id));
}

#[test]
fn who_cannot_be_written_to_is_not_written_to_and_goes_if_it_says_nothing() {
    let mut world = World::new(|config| config.write_timeout = seconds(3));
    let [failed, other] = [world.connect("/ws"), world.connect("/ws")];
    // The wheel knows of the next Ping alone.
    world.pass(seconds(6));
    world.receive(other, &text("one"));
    let mut ids = Vec::new();
    world.hub.take_dirty(&mut ids, world.now);
    assert_eq!(ids.len(), 2);
    world.hub.output_failed(failed, world.now);
    assert_eq!(world.hub.outgoing(failed).unwrap().owed(), 0);
    world.receive(other, &text("two"));
    let told = world.flush(&[]).into_iter().map(|(id, _)| id);
    assert_eq!(told.collect::<Vec<_>>(), [other]);
    world.pass(world.hub.config().write_timeout + seconds(1));
    assert!(!world.hub.is_open(failed) && world.hub.is_open(other));
    world.pass(world.hub.config().close_timeout);
    assert_eq!(world.reap(), [(failed, Disconnect::TooSlow)]);
}

#[test]
fn a_hub_is_congested_while_somebody_has_lately_fallen_behind() {
    let mut world = World::new(|config| config.write_timeout = seconds(100));
    let [a, b, c] = [(); 3].map(|()| world.connect("/ws"));
    world.receive(a, &text("1"));
    world.flush(&[]);
    assert!(!world.hub.is_congested(world.now));
    world.receive(a, &text("2"));
    world.flush(&[b, c]);
    assert!(world.hub.is_congested(world.now));
    // One catches up, the other leaves.
    world.hub.writable(b);
    world.flush(&[]);
    assert!(world.hub.is_congested(world.now));
    world.hub.hang_up(c, Disconnect::Gone);
    world.reap();
    assert!(!world.hub.is_congested(world.now));
    // Who does not catch up is waited for a while.
    world.receive(a, &text("3"));
    world.flush(&[b]);
    world.pass(seconds(1));
    assert!(world.hub.is_congested(world.now));
    world.pass(seconds(1));
    assert!(!world.hub.is_congested(world.now));
    world.hub.writable(b);
    world.flush(&[b]);
    assert!(!world.hub.is_congested(world.now), "it has not caught up");
    world.hub.writable(b);
    world.flush(&[]);
    world.receive(a, &text("4"));
    world.flush(&[b]);
    assert!(world.hub.is_congested(world.now), "it had, and lags again");
}

#[test]
fn a_room_is_waited_for_while_most_of_its_members_are_behind() {
    let mut world = World::new(|_| {});
    let [a, b, c] = [(); 3].map(|()| world.connect("/ws"));
    let others = [(); 10].map(|()| world.connect("/ws/other"));
    let until = |world: &World, dose| world.hub.held_until("", dose, world.now);
    world.receive(a, &text("1"));
    world.flush(&[b]);
    assert!(world.hub.is_congested(world.now));
    assert_eq!(until(&world, 1), None, "one of three");
    world.receive(a, &text("2"));
    world.flush(&[b, c]);
    let end = world.now + MAX_HOLD;
    assert_eq!(until(&world, 3), Some(end), "two of three");
    assert_eq!(until(&world, 4), None, "it can be told as much as that");
    // What others hear, or what they have not taken, changes nothing.
    world.receive(others[0], &text("3"));
    world.flush(&[b, c, others[1]]);
    assert_eq!(until(&world, 3), Some(end));
    assert_eq!(world.hub.held_until("other", 1, world.now), None);
    // What it is told in this turn counts with it.
    world.pass(MAX_HOLD / 2);
    world.receive(a, &text("4"));
    assert_eq!(until(&world, 6), Some(end));
    world.flush(&[b, c]);
    assert_eq!((until(&world, 6), until(&world, 7)), (Some(end), None));
    world.pass(MAX_HOLD / 2);
    assert_eq!(until(&world, 1), None, "they have had their time");
    world.receive(a, &text("5"));
    world.flush(&[b, c]);
    let end = world.now + MAX_HOLD;
    assert_eq!((until(&world, 3), until(&world, 4)), (Some(end), None));
    world.hub.writable(c);
    world.flush(&[b]);
    assert_eq!(until(&world, 1), None, "one of three");
}

#[test]
fn a_room_is_not_waited_for_when_its_members_are_behind_for_long() {
    let mut world = World::new(|_| {});
    let [a, b] = [(); 2].map(|()| world.connect("/ws/two"));
    world.receive(a, &text("1"));
    world.flush(&[b]);
    assert!(world.hub.held_until("two", 1, world.now).is_none(), "half");
    world.hub.writable(b);
    world.flush(&[]);
    let say = |world: &mut World| {
        world.receive(a, &text("1"));
        world.flush(&[a, b]);
        world.hub.held_until("two", 1, world.now).is_some()
    };
    assert!(say(&mut world));
    world.pass(seconds(1));
    assert!(say(&mut world));
    world.pass(seconds(1));
    assert!(!say(&mut world));
    // Whoever goes does not count either.
    world.hub.writable(a);
    world.hub.writable(b);
    world.flush(&[]);
    assert!(say(&mut world));
    world.hub.hang_up(a, Disconnect::Gone);
    world.reap();
    assert!(world.hub.held_until("two", 1, world.now).is_some(), "all");
    world.hub.writable(b);
    world.flush(&[]);
    assert!(world.hub.held_until("two", 1, world.now).is_none());
}

#[test]
fn who_is_given_up_is_not_waited_for() {
    let mut world = World::new(|config| config.max_client_buffer = config.min_client_buffer());
    let [a, b] = [world.connect("/ws"), world.connect("/ws")];
    let long = frame(0x82, &vec![0; 60_000]);
    for _ in 0..4 {
        world.land(a, &long);
        world.flush(&[b]);
    }
    assert!(!world.hub.is_congested(world.now) && !world.hub.is_open(b));
}
