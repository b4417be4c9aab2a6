//! What a client hears that lags, if it is not dropped for that.

use super::*;
use crate::hub::outgoing::PIECE_COST;

/// The least buffer that a policy allows, and short messages.
fn lagging_world(policy: SlowPolicy) -> World {
    World::new(|config| {
        config.limits.max_message_size = 1000;
        config.slow_policy = policy;
        config.max_client_buffer = config.min_client_buffer();
    })
}

fn traffic(world: &World, id: ClientId) -> (u64, u64) {
    let traffic = world.hub.clients[id.index()].traffic;
    (traffic.messages_sent, traffic.messages_dropped)
}

fn say(world: &mut World, message: &str) {
    world.hub.publish("", MessageKind::Text, message.as_bytes());
}

/// So many messages of 900 bytes that their number begins, each in a turn that one client takes
/// nothing of.
fn say_many(world: &mut World, numbers: std::ops::Range<usize>, stuck: ClientId) {
    for number in numbers {
        say(world, &format!("{number:0<900}"));
        world.flush(&[stuck]);
        assert_eq!(world.reap(), []);
    }
}

/// Lets a client take all that it is owed.
fn catch_up(world: &mut World, id: ClientId) -> String {
    world.hub.writable(id);
    world.heard(id)
}

/// The numbers that frames of [`say_many`] begin with.
fn numbers(heard: &str) -> Vec<usize> {
    let frames = heard.split('[').skip(1);
    frames
        .map(|frame| {
            let (_, payload) = frame.trim_end_matches(']').split_once(':').unwrap();
            payload[..3].parse().unwrap()
        })
        .collect()
}

#[test]
fn what_does_not_fit_is_left_out_whole_and_counted() {
    let mut world = lagging_world(SlowPolicy::Drop);
    let [slow, quick] = [world.connect("/ws"), world.connect("/ws")];
    let room = world.hub.config.room_buffer() / (904 + PIECE_COST);
    say_many(&mut world, 100..200, slow);
    assert!(world.hub.is_open(slow));
    let heard = catch_up(&mut world, slow);
    assert_eq!(numbers(&heard), (100..100 + room).collect::<Vec<_>>());
    let left_out = 100 - room as u64;
    assert_eq!(traffic(&world, slow), (room as u64, left_out));
    assert_eq!(traffic(&world, quick), (100, 0));
    let metrics = world.hub.metrics();
    assert_eq!(metrics.messages_dropped, left_out);
    assert_eq!(metrics.messages_sent + metrics.messages_dropped, 200);
    // It hears what is said from now on.
    say(&mut world, "news");
    assert_eq!(world.heard(slow), "[81:news]");
}

#[test]
fn a_batch_is_heard_whole_or_not_at_all_and_answers_are_in_order_in_any_case() {
    let mut world = lagging_world(SlowPolicy::Drop);
    let slow = world.connect("/ws");
    let room = world.hub.config.room_buffer() / (904 + PIECE_COST);
    say_many(&mut world, 100..100 + room, slow);
    world.hub.writable(slow);
    say(&mut world, &"a".repeat(900));
    world.receive(slow, &frame(0x89, b"1"));
    say(&mut world, "b");
    world.receive(slow, &frame(0x89, b"2"));
    let dropped = traffic(&world, slow);
    assert_eq!(dropped, (room as u64, 0));
    let heard = world.heard(slow);
    let (_, behind) = heard.split_at(heard.find("[8a").unwrap());
    assert_eq!(behind, "[8a:1][8a:2]");
    assert_eq!(traffic(&world, slow), (room as u64, 2));
}

#[test]
fn a_word_to_one_client_that_does_not_fit_is_refused_and_counted() {
    for policy in [SlowPolicy::Drop, SlowPolicy::Latest] {
        let mut world = lagging_world(policy);
        let slow = world.connect("/ws");
        let mut said = 0;
        let max = world.hub.config.room_buffer();
        loop {
            let now = world.now;
            let message = format!("{said:0<900}");
            if !world
                .hub
                .outbox(now)
                .send(slow, MessageKind::Text, message.as_bytes())
            {
                break;
            }
            said += 1;
            world.flush(&[slow]);
        }
        assert!(world.hub.outgoing(slow).unwrap().owed() <= max);
        assert!(world.hub.is_open(slow) && said > 50);
        assert_eq!(traffic(&world, slow), (said, 1));
        assert_eq!(world.hub.metrics().messages_dropped, 1);
        // There is room for what the protocol has to say.
        world
            .hub
            .close(slow, CloseCode::NORMAL, &"x".repeat(123), world.now);
        let heard = catch_up(&mut world, slow);
        assert!(heard.ends_with("[88:1000]"));
        assert_eq!(heard.matches("[81:").count() as u64, said);
    }
}

#[test]
fn a_last_word_is_heard_although_the_messages_before_it_are_not() {
    let mut world = lagging_world(SlowPolicy::Drop);
    let slow = world.connect("/ws");
    let room = world.hub.config.room_buffer() / (904 + PIECE_COST);
    say_many(&mut world, 100..100 + room, slow);
    say(&mut world, &"a".repeat(900));
    world.hub.close(slow, CloseCode::NORMAL, "", world.now);
    say(&mut world, "too late");
    assert_eq!(traffic(&world, slow), (room as u64 + 1, 0));
    let heard = catch_up(&mut world, slow);
    assert!(
        heard.ends_with("0][88:1000]"),
        "{}",
        &heard[heard.len() - 30..]
    );
    assert_eq!(traffic(&world, slow), (room as u64, 1));
}

#[test]
fn who_takes_nothing_at_all_is_too_slow_whatever_the_policy() {
    for policy in [SlowPolicy::Drop, SlowPolicy::Latest] {
        let mut world = lagging_world(policy);
        let slow = world.connect("/ws");
        say_many(&mut world, 100..300, slow);
        // It is told, for which it has the close timeout.
        world.pass(seconds(16));
        assert_eq!(world.reap(), [(slow, Disconnect::TooSlow)]);
    }
}

#[test]
fn who_lags_hears_the_newest_message_alone() {
    let mut world = lagging_world(SlowPolicy::Latest);
    let [slow, quick] = [world.connect("/ws"), world.connect("/ws")];
    say_many(&mut world, 100..300, slow);
    // Nothing of the first one was taken, so that is replaced as well.
    assert_eq!(numbers(&catch_up(&mut world, slow)), [299]);
    assert_eq!(traffic(&world, slow), (1, 199));
    assert_eq!(traffic(&world, quick), (200, 0));
    assert_eq!(world.hub.metrics().messages_dropped, 199);
    assert_eq!(world.hub.metrics().messages_sent, 201);
    // Whoever has caught up hears everything.
    say(&mut world, "a");
    say(&mut world, "b");
    assert_eq!(world.heard(slow), "[81:a][81:b]");
}

/// Lets a client take so many bytes and no more.
fn take(world: &mut World, id: ClientId, count: usize) -> Vec<u8> {
    let mut ids = Vec::new();
    world.hub.writable(id);
    world.hub.take_dirty(&mut ids, world.now);
    let outgoing = world.hub.outgoing(id).unwrap();
    let mut bytes: Vec<u8> = outgoing.pieces().flatten().copied().collect();
    bytes.truncate(count);
    let is_blocked = bytes.len() == count;
    outgoing.advance(bytes.len());
    let _ = world.hub.flushed(id, bytes.len(), is_blocked, world.now);
    bytes
}

#[test]
fn what_has_been_begun_is_heard_to_its_end_and_the_newest_behind_it() {
    let mut world = lagging_world(SlowPolicy::Latest);
    let slow = world.connect("/ws");
    say(&mut world, "1");
    say(&mut world, "2");
    let mut heard = take(&mut world, slow, 1);
    for message in ["3", "4", "5"] {
        say(&mut world, message);
        say(&mut world, &message.repeat(3));
        world.flush(&[slow]);
    }
    assert_eq!(traffic(&world, slow), (3, 5));
    heard.extend(take(&mut world, slow, 1000));
    assert_eq!(readable(&heard), "[81:1][81:2][81:555]");
}

#[test]
fn answers_and_words_to_it_alone_stay_where_they_are() {
    let mut world = lagging_world(SlowPolicy::Latest);
    let slow = world.connect("/ws");
    say(&mut world, "1");
    let mut heard = take(&mut world, slow, 1);
    say(&mut world, "2");
    world.receive(slow, &text("whisper"));
    say(&mut world, "3");
    world.flush(&[slow]);
    world.receive(slow, &text("whisper"));
    say(&mut world, "4");
    say(&mut world, "5");
    world.flush(&[slow]);
    world.receive(slow, &frame(0x89, b"?"));
    world.hub.close(slow, CloseCode::NORMAL, "", world.now);
    say(&mut world, "6");
    world.flush(&[slow]);
    heard.extend(take(&mut world, slow, 1000));
    assert_eq!(readable(&heard), "[81:1][81:psst][81:psst][81:5][88:1000]");
}

#[test]
fn who_does_not_hear_itself_keeps_the_newest_of_the_others() {
    let mut world = lagging_world(SlowPolicy::Latest);
    world.handler.no_echo = true;
    let [slow, other] = [world.connect("/ws"), world.connect("/ws")];
    world.receive(other, &text("1"));
    let mut heard = take(&mut world, slow, 1);
    world.receive(other, &text("2"));
    world.receive(other, &text("3"));
    world.receive(slow, &text("its own"));
    world.flush(&[slow]);
    world.receive(slow, &text("its own again"));
    world.flush(&[slow]);
    heard.extend(take(&mut world, slow, 1000));
    assert_eq!(readable(&heard), "[81:1][81:3]");
    assert_eq!(traffic(&world, slow), (2, 1));
}

#[test]
fn a_batch_that_is_not_heard_is_not_held() {
    for policy in [SlowPolicy::Drop, SlowPolicy::Latest] {
        let mut world = lagging_world(policy);
        world.hub.config.max_total_buffer = Some(1 << 20);
        world.reap();
        let slow = world.connect("/ws");
        world.reap();
        say_many(&mut world, 100..300, slow);
        // A long batch whose last message is short.
        for _ in 0..20 {
            say(&mut world, &"x".repeat(900));
        }
        say(&mut world, "last");
        world.flush(&[slow]);
        let owed = world.hub.outgoing(slow).unwrap().owed();
        assert_eq!(world.hub.total_owed(), Some(owed), "nothing else is held");
        if policy == SlowPolicy::Latest {
            assert_eq!(owed, 6 + PIECE_COST);
        }
        world.hub.hang_up(slow, Disconnect::Reset);
        assert_eq!(world.hub.total_owed(), Some(0));
    }
}

#[test]
fn a_pong_for_which_no_room_is_left_waits() {
    let mut world = lagging_world(SlowPolicy::Drop);
    let slow = world.connect("/ws");
    let fit = world.hub.config.room_buffer() / (904 + PIECE_COST);
    say_many(&mut world, 100..100 + fit, slow);
    world.hub.writable(slow);
    for i in 0..100 {
        world.receive(slow, &frame(0x89, format!("{i:0<125}").as_bytes()));
    }
    assert!(world.hub.is_open(slow));
    let heard = world.heard(slow);
    assert!(world.hub.clients[slow.index()].pong.is_none());
    let last = world.heard(slow);
    assert!(
        heard.contains("[8a:0") && last.starts_with("[8a:99"),
        "{last}"
    );
}

#[cfg(not(miri))]
mod properties {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        /// The room is told something of this length.
        Say(usize),
        /// The client says something, and may hear itself.
        Speak(usize),
        /// The client is told something alone.
        Whisper(usize),
        Ping,
        /// The turn ends, and the client takes so much.
        Take(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..1000_usize).prop_map(Step::Say),
            1 => (0..1000_usize).prop_map(Step::Speak),
            1 => (0..300_usize).prop_map(Step::Whisper),
            1 => Just(Step::Ping),
            3 => (0..1500_usize).prop_map(Step::Take),
            1 => Just(Step::Take(1 << 20)),
        ]
    }

    /// What the client hears, by the kind of frame.
    fn split(mut bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (mut room, mut own) = (Vec::new(), Vec::new());
        while !bytes.is_empty() {
            let decoded = crate::protocol::FrameHeader::decode(bytes);
            let (header, len) = decoded.unwrap().expect("frames are whole");
            let end = len + usize::try_from(header.payload_len).unwrap();
            match header.opcode {
                Opcode::Text => room.push(bytes[len..end].to_vec()),
                _ => own.push(bytes[len..end].to_vec()),
            }
            bytes = &bytes[end..];
        }
        (room, own)
    }

    fn is_subsequence(part: &[Vec<u8>], whole: &[Vec<u8>]) -> bool {
        let mut whole = whole.iter();
        part.iter().all(|item| whole.any(|other| other == item))
    }

    fn check(policy: SlowPolicy, no_echo: bool, steps: Vec<Step>) -> Result<(), TestCaseError> {
        let mut world = World::new(|config| {
            config.limits.max_message_size = 1000;
            config.slow_policy = policy;
            config.max_client_buffer = config.min_client_buffer();
            config.max_total_buffer = Some(1 << 30);
        });
        world.handler.no_echo = no_echo;
        let slow = world.connect("/ws");
        world.reap();
        let max = world.hub.config.max_client_buffer;
        // What it may hear of its room, what it must hear alone, and what it has heard.
        let (mut told, mut alone, mut heard) = (Vec::new(), Vec::new(), Vec::new());
        let (mut number, mut refused) = (0_u32, 0);
        let mut message = |len: usize| {
            number += 1;
            let mut text = format!("{number}:");
            text.push_str(&"x".repeat(len.saturating_sub(text.len())));
            text.into_bytes()
        };
        for step in steps
            .into_iter()
            .chain([Step::Take(1 << 20), Step::Take(1 << 20)])
        {
            match step {
                Step::Say(len) => {
                    let said = message(len);
                    world.hub.publish("", MessageKind::Text, &said);
                    told.push(said);
                }
                Step::Speak(len) => {
                    let said = message(len);
                    world.receive(slow, &frame(0x81, &said));
                    if !no_echo {
                        told.push(said);
                    }
                }
                Step::Whisper(len) => {
                    let said = message(len);
                    let mut outbox = world.hub.outbox(world.now);
                    if outbox.send(slow, MessageKind::Binary, &said) {
                        alone.push(said);
                    } else {
                        refused += 1;
                    }
                }
                Step::Ping => world.receive(slow, &frame(0x89, b"?")),
                Step::Take(count) => heard.extend(take(&mut world, slow, count)),
            }
            prop_assert!(world.hub.is_open(slow));
            let outgoing = world.hub.outgoing(slow).unwrap();
            prop_assert!(outgoing.owed() <= max && outgoing.peak() <= max);
            let (dropped, sent) = (traffic(&world, slow).1, traffic(&world, slow).0);
            prop_assert_eq!(world.hub.metrics().messages_dropped, dropped);
            prop_assert!(world.hub.metrics().messages_sent >= sent);
        }
        // A Pong may have waited for all that was before it.
        heard.extend(take(&mut world, slow, 1 << 20));
        prop_assert!(world.hub.outgoing(slow).unwrap().is_empty());
        prop_assert_eq!(world.hub.total_owed(), Some(0));
        let (room, mut own) = split(&heard);
        own.retain(|payload| payload != b"?");
        prop_assert_eq!(own, alone.clone());
        prop_assert!(is_subsequence(&room, &told));
        if policy == SlowPolicy::Latest {
            prop_assert_eq!(room.last(), told.last());
        }
        let (sent, dropped) = traffic(&world, slow);
        prop_assert_eq!(sent, (room.len() + alone.len()) as u64);
        prop_assert_eq!(dropped, (told.len() - room.len() + refused) as u64);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            cases: 64,
            ..Default::default()
        })]

        #[test]
        fn dropped_messages_are_whole_ones(
            no_echo in any::<bool>(),
            steps in vec(step(), 1..400),
        ) {
            check(SlowPolicy::Drop, no_echo, steps)?;
        }

        #[test]
        fn the_newest_message_is_heard_whatever_happens(
            no_echo in any::<bool>(),
            steps in vec(step(), 1..200),
        ) {
            check(SlowPolicy::Latest, no_echo, steps)?;
        }
    }
}
