//! How a connection begins, and what Redis may say against it.

use super::*;

/// The names of the commands that a client of the Redis has sent, in order.
fn commands(world: &World, redis: usize) -> Vec<String> {
    let clients = world.redises[redis].clients.values();
    let commands = clients.flat_map(|client| &client.commands);
    commands
        .map(|command| String::from_utf8(command[0].clone()).unwrap())
        .collect()
}

#[test]
fn it_is_said_once_who_we_are() {
    let mut world = World::with(1, |config| {
        config.database = 3;
        config.credentials = Some(Credentials {
            user: "default".to_owned(),
            password: "secret".to_owned(),
        });
    });
    world.redises[0].password = Some("secret");
    // The model says twice that the connection stands.
    world.run(20);
    let first: Vec<_> = commands(&world, 0).into_iter().take(3).collect();
    assert_eq!(first, ["HELLO", "SELECT", "SUBSCRIBE"]);
    let client = world.redises[0].clients.values().next().unwrap();
    let hello: Vec<_> = client.commands[0]
        .iter()
        .map(|arg| arg.escape_ascii().to_string())
        .collect();
    let name = "fanfare-00000000000003e8";
    assert_eq!(
        hello,
        ["HELLO", "3", "AUTH", "default", "secret", "SETNAME", name]
    );
    assert_eq!(client.commands[1], [b"SELECT".to_vec(), b"3".to_vec()]);
    let channels = [
        b"websocket-broadcast".as_slice(),
        b"websocket-broadcast:ctl",
    ];
    assert_eq!(client.commands[2][1..], channels.map(<[u8]>::to_vec));
    world.run(2 * SECOND);
    assert_eq!(world.health(0), Health::Up);
}

/// What happens in twelve seconds to a server whose Redis answers a command so: connections and
/// events. Its clients do not mind.
fn answered(command: &'static str, answer: &'static str) -> (usize, Vec<Event>) {
    let mut world = World::new(1);
    world.redises[0].answers.insert(command, answer);
    world.run_chatting(12 * SECOND, 50);
    assert_eq!(world.health(0), Health::Down, "{answer}");
    world.run(1);
    world.check_own(0);
    let connects = world.nodes[0].connects;
    let events = std::mem::take(&mut world.nodes[0].events);
    // When that is over, all is well.
    world.redises[0].answers.clear();
    world.run(9 * SECOND);
    assert_eq!(world.health(0), Health::Up, "{answer}");
    world.check_all();
    assert_eq!(world.nodes[0].events, [Event::Joined]);
    (connects, events)
}

#[test]
fn what_somebody_has_to_change_is_tried_seldom_and_said_once() {
    let role = "%2\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n$7\r\nreplica\r\n";
    let sentinel = "%2\r\n$5\r\nproto\r\n:3\r\n$4\r\nmode\r\n$8\r\nsentinel\r\n";
    for (command, answer) in [
        ("HELLO", "-WRONGPASS invalid username-password pair\r\n"),
        (
            "HELLO",
            "-NOAUTH HELLO must be called with the client already authenticated\r\n",
        ),
        ("HELLO", "-ERR unknown command 'HELLO'\r\n"),
        ("HELLO", "-NOPROTO unsupported protocol version\r\n"),
        ("HELLO", "-DENIED Redis is running in protected mode\r\n"),
        ("HELLO", role),
        ("HELLO", sentinel),
        ("SUBSCRIBE", "-NOPERM this user has no permissions\r\n"),
    ] {
        let (connects, events) = answered(command, answer);
        assert_eq!(connects, 3, "at once, and every five seconds: {answer}");
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(matches!(events[0], Event::Misconfigured(_)), "{events:?}");
        assert!(events[0].is_warning());
    }
}

#[test]
fn what_passes_is_tried_often_but_not_without_a_pause() {
    for (command, answer) in [
        (
            "HELLO",
            "-LOADING Redis is loading the dataset in memory\r\n",
        ),
        ("HELLO", "-MASTERDOWN Link with MASTER is down\r\n"),
        ("HELLO", "-ERR max number of clients reached\r\n"),
        ("SUBSCRIBE", "-BUSY Redis is busy running a script\r\n"),
        ("HELLO", "+OK\r\n"),
        ("HELLO", "garbage\r\n"),
        ("HELLO", "$1000000000\r\n"),
        (
            "HELLO",
            "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
        ),
        ("HELLO", ">1\r\n+message\r\n"),
        ("SUBSCRIBE", ":1\r\n"),
        ("SUBSCRIBE", ":1\r\n:2\r\n"),
        ("HELLO", ""),
        ("SUBSCRIBE", ""),
    ] {
        let (connects, events) = answered(command, answer);
        // A second at most, and the time that no answer takes.
        assert!((4..40).contains(&connects), "{answer:?}: {connects}");
        assert_eq!(events.len(), 1, "{answer:?}: {events:?}");
        assert!(matches!(events[0], Event::Lost(_)), "{events:?}");
    }
}

#[test]
fn what_redis_says_is_shown_escaped_and_not_all_of_it() {
    let evil = "-WRONGPASS \u{1b}[31mred\u{7} and so on and on and on and on and on and on and on \
                and on and on and on and on and on and on and on and on and on and on and on and \
                on and on and on\r\n";
    let (_, events) = answered("HELLO", evil);
    let line = events[0].to_string();
    assert!(line.contains("\\x1b[31mred\\x07"), "{line}");
    assert!(line.len() < 260, "{line}");
}

/// A Redis before 6 does not know HELLO, and says what else it was told.
#[test]
fn what_redis_quotes_of_ours_is_not_shown() {
    let quotes = "-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `app`, \
                  `secret`, \r\n";
    let (_, events) = answered("HELLO", quotes);
    let line = events[0].to_string();
    assert!(line.ends_with("unknown command `HELLO`"), "{line}");
}

#[test]
fn a_wrong_password_is_told_apart_from_one_that_is_right_later() {
    let mut world = World::with(1, |config| {
        config.credentials = Some(Credentials {
            user: "default".to_owned(),
            password: "old".to_owned(),
        });
    });
    world.redises[0].password = Some("new");
    world.run(SECOND);
    let [Event::Misconfigured(why)] = world.nodes[0].events.as_slice() else {
        panic!("{:?}", world.nodes[0].events);
    };
    assert_eq!(why, "redis:6379: it refuses: WRONGPASS invalid");
    world.redises[0].password = Some("old");
    world.run(8 * SECOND);
    assert_eq!(world.health(0), Health::Up);
    let now = world.now();
    let mut metrics = String::new();
    world.nodes[0].backplane.write_metrics(&mut metrics, now);
    assert!(metrics.contains("fanfare_redis_config_errors_total{reason=\"auth\"} 1\n"));
}

#[test]
fn garbage_in_the_middle_ends_the_connection_and_nothing_else() {
    let mut world = World::joined(2);
    for garbage in [
        "hello\r\n",
        "+surplus\r\n",
        ":12\r\n",
        "-ERR out of the blue\r\n",
        "*-7\r\n",
    ] {
        world.run_chatting(200, 5);
        let connects = world.nodes[0].connects;
        for client in world.redises[0].clients.values_mut() {
            client.output.extend_from_slice(garbage.as_bytes());
        }
        world.run_chatting(3 * SECOND, 5);
        assert_eq!(world.nodes[0].connects, connects + 1, "{garbage}");
        assert_eq!(world.health(0), Health::Up);
    }
    world.run(100);
    world.check_own(0);
    world.check_own(1);
}

#[test]
fn connections_that_nobody_answers_are_given_up() {
    let mut world = World::new(1);
    world.nodes[0].is_unreachable = true;
    world.run_chatting(35 * SECOND, 50);
    // Ten seconds each.
    assert_eq!(world.nodes[0].connects, 4);
    assert_eq!(world.nodes[0].dialling.len(), 1);
    world.check_own(0);
}

#[test]
fn who_may_not_count_the_others_is_told_so() {
    let mut world = World::joined(1);
    world.redises[0]
        .answers
        .insert("PUBSUB", "-NOPERM this user has no permissions\r\n");
    world.run(6 * SECOND);
    let last = world.nodes[0].events.last();
    assert!(matches!(last, Some(Event::Misconfigured(_))), "{last:?}");
}

#[test]
fn whoever_cannot_be_counted_at_first_is_counted_later() {
    let mut world = World::joined(2);
    world.run_chatting(SECOND, 10);
    world.kill();
    world.run(100);
    world.redises[0].answers_once = vec![("PUBSUB", "-ERR not now\r\n"); 4];
    world.start();
    world.run(1500);
    assert!(world.redises[0].answers_once.is_empty());
    for node in 0..2 {
        assert_ne!(world.health(node), Health::Down, "all are back for long");
    }
}

#[test]
fn a_message_that_is_not_answered_by_a_number_is_not_acknowledged() {
    let mut world = World::joined(1);
    world.redises[0].answers_once = vec![("PUBLISH", "+OK\r\n")];
    world.say(0, "0:0");
    world.run(2 * SECOND);
    assert_eq!(world.nodes[0].connects, 2);
    let published = world.redises[0].published.iter();
    let is_it = |(_, payload): &&(Vec<u8>, Vec<u8>)| payload.ends_with(b"0:0");
    assert_eq!(published.filter(is_it).count(), 1);
    world.check_own(0);
}
