//! Other settings while clients are there.

use super::*;

impl World {
    fn reconfigure(&mut self, change: impl FnOnce(&mut HubConfig)) {
        let mut config = self.hub.config().clone();
        change(&mut config);
        self.hub.reconfigure(config, self.now).unwrap();
    }

    /// What a client hears while time passes, as a driver lets it.
    fn heard_within(&mut self, id: ClientId, duration: Duration) -> String {
        let end = self.now + duration;
        let mut heard = String::new();
        while let Some(deadline) = self.hub.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(deadline);
            self.hub.advance(self.now);
            heard += &self.heard(id);
        }
        self.now = end;
        heard
    }
}

const MILLISECONDS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn settings_that_contradict_each_other_change_nothing() {
    let mut world = World::new(|_| {});
    let old = world.hub.config().clone();
    let mut new = old.clone();
    new.max_rooms = 1;
    new.pong_timeout = new.ping_interval;
    assert!(matches!(
        world.hub.reconfigure(new, world.now),
        Err(HubConfigError::Heartbeat { .. })
    ));
    assert_eq!(*world.hub.config(), old);
}

#[test]
fn newcomers_meet_the_new_settings_and_nobody_is_dropped() {
    let mut world = World::new(|_| {});
    let [a, b] = [world.connect("/ws/a"), world.connect("/ws/b")];
    world.reconfigure(|config| {
        config.max_connections = 3;
        config.max_rooms = 1;
    });
    assert!(world.hub.is_open(a) && world.hub.is_open(b));
    let third = world.accept();
    world.request(third, "/ws/c");
    assert!(
        world.status(third).starts_with("HTTP/1.1 503 "),
        "a room too many"
    );
    let surplus = world.accept();
    world.request(surplus, "/ws/a");
    assert!(
        world.status(surplus).starts_with("HTTP/1.1 503 "),
        "one too many"
    );
    world.reconfigure(|config| config.max_connections = 9);
    world.connect("/ws/a");

    let origin = |world: &mut World| {
        let id = world.accept();
        world.receive(
            id,
            b"GET /ws/a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
              Origin: https://b.com\r\n\r\n",
        );
        world.status(id)
    };
    assert!(origin(&mut world).starts_with("HTTP/1.1 403 "));
    world.reconfigure(|config| {
        config.handshake.allowed_origins = vec!["https://b.com".parse().unwrap()];
    });
    assert!(origin(&mut world).starts_with("HTTP/1.1 101 "));
}

#[test]
fn shorter_timeouts_hold_for_those_who_are_there() {
    // Each of them is due after a day, unless the new settings hold.
    let day = seconds(86_400);
    let slow = |config: &mut HubConfig| {
        config.ping_interval = day * 2;
        config.pong_timeout = day;
        config.handshake_timeout = day;
        config.write_timeout = day;
        config.close_timeout = day;
    };
    // 1. A request that does not come, and a Close that is not answered.
    let mut world = World::new(slow);
    let half = world.accept();
    let leaving = world.connect("/ws");
    world.receive(leaving, &text("leave"));
    world.flush(&[]);
    world.now += seconds(1);
    world.reconfigure(|config| {
        config.handshake_timeout = seconds(2);
        config.close_timeout = seconds(3);
    });
    world.pass(MILLISECONDS(1_990));
    assert_eq!(world.reap(), []);
    world.pass(MILLISECONDS(100));
    let timed_out = Disconnect::Refused(HandshakeError::TimedOut);
    assert_eq!(world.reap(), [(half, timed_out)]);
    world.pass(seconds(1));
    let ended = Disconnect::Ended(CloseCode::NORMAL);
    assert_eq!(world.reap(), [(leaving, ended)]);

    // 2. A Ping, and the answer to it that does not come.
    let mut world = World::new(slow);
    let id = world.connect("/ws");
    world.reconfigure(|config| {
        config.pong_timeout = seconds(6);
        config.ping_interval = seconds(8);
    });
    assert_eq!(
        world.heard_within(id, seconds(8) + MILLISECONDS(60)),
        "[89:]"
    );
    world.reconfigure(|config| config.pong_timeout = seconds(1));
    world.pass(MILLISECONDS(1_060));
    assert_eq!(world.reap(), [(id, Disconnect::TimedOut)]);

    // 3. Output that is stuck has been for as long as it has.
    let mut world = World::new(slow);
    let stuck = world.connect("/ws");
    world.receive(stuck, &text("to myself"));
    world.flush(&[stuck]);
    world.pass(seconds(5));
    world.reconfigure(|config| config.write_timeout = seconds(7));
    world.pass(MILLISECONDS(1_990));
    assert!(world.hub.is_open(stuck));
    world.pass(MILLISECONDS(100));
    assert!(!world.hub.is_open(stuck));
}

#[test]
fn longer_timeouts_hold_from_the_next_time_on() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    world.reconfigure(|config| {
        config.ping_interval = seconds(1000);
        config.pong_timeout = seconds(500);
    });
    // The Ping that was due comes; its answer has the new time.
    assert_eq!(world.heard_within(id, seconds(26)), "[89:]");
    assert_eq!(world.heard_within(id, seconds(400)), "");
    assert_eq!(world.reap(), []);
    world.receive(id, &frame(0x8A, b""));
    assert_eq!(world.heard_within(id, seconds(999)), "");
    assert_eq!(world.heard_within(id, seconds(2)), "[89:]");
}

#[test]
#[cfg_attr(miri, ignore = "a hundred clients take minutes there")]
fn pings_that_are_turned_on_come_spread_and_are_turned_off_again() {
    let mut world = World::new(|config| config.ping_interval = Duration::ZERO);
    let ids: Vec<_> = (0..100).map(|_| world.connect("/ws")).collect();
    world.pass(seconds(1000));
    assert_eq!(world.hub.next_deadline(), None);
    let on = |config: &mut HubConfig| config.ping_interval = seconds(20);
    world.reconfigure(on);
    assert_eq!(world.flush(&[]), []);
    world.pass(seconds(15));
    let early = world.flush(&[]).len();
    assert!(
        (30..70).contains(&early),
        "{early} of 100 in half of the time"
    );
    world.pass(MILLISECONDS(5_050));
    assert_eq!(world.flush(&[]).len(), 100 - early);
    for id in ids {
        world.receive(id, &frame(0x8A, b""));
    }
    world.reconfigure(|config| config.ping_interval = Duration::ZERO);
    world.pass(seconds(1000));
    assert_eq!((world.flush(&[]), world.reap()), (vec![], vec![]));
}

/// A reload that changes something else moves no deadline, however often it comes.
#[test]
fn what_is_not_changed_stays() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    let mut heard = String::new();
    for i in 0..250 {
        world.reconfigure(|config| config.max_rooms = 10 + i);
        heard += &world.heard_within(id, MILLISECONDS(100));
    }
    assert_eq!(heard, "[89:]");
}

#[test]
fn a_smaller_message_limit_holds_for_those_who_are_there() {
    let mut world = large_world();
    let [whole, cut, landing, fragments] = [0; 4].map(|_| world.connect("/ws"));
    let long = frame(0x82, &vec![b'x'; 90_000]);
    // Half of a frame, half of one that has a landing, a fragment.
    world.receive(cut, &long[..2_000]);
    world.land(landing, &long[..80_000]);
    world.receive(fragments, &frame(0x02, &[b'x'; 6_000]));
    world.reconfigure(|config| config.limits.max_message_size = 5_000);
    let got = world.flush(&[]);
    for id in [cut, landing, fragments] {
        let (_, bytes) = got.iter().find(|(who, _)| *who == id).unwrap();
        assert_eq!(readable(bytes), "[88:1009]");
    }
    assert_eq!(got.len(), 3, "nobody else is told anything");
    assert!(world.hub.is_open(whole));
    world.receive(whole, &frame(0x82, &[b'x'; 5_001]));
    assert_eq!(world.heard(whole), "[88:1009]");
    // What still comes of the others is dropped.
    world.receive(cut, &long[2_000..3_000]);
    assert_eq!(world.flush(&[]), []);
}

#[test]
fn a_larger_message_limit_lets_one_through_that_has_begun() {
    let mut world = World::new(|config| config.limits.max_message_size = 5_000);
    let id = world.connect("/ws");
    world.receive(id, &frame(0x01, &[b'x'; 3_000]));
    world.reconfigure(|config| config.limits.max_message_size = 6_000);
    world.receive(id, &frame(0x80, &[b'x'; 3_000]));
    assert_eq!(world.heard(id), told(0x81, &"x".repeat(6_000)));
}

#[test]
fn a_smaller_buffer_holds_from_the_next_append_on() {
    let mut world = World::new(|_| {});
    let [a, b] = [world.connect("/ws"), world.connect("/ws")];
    for _ in 0..4 {
        world.receive(a, &frame(0x82, &vec![b'x'; 60_000]));
        world.flush(&[b]);
    }
    // Said before, and under the old settings, although nothing has been sealed.
    world.receive(a, &frame(0x82, &vec![b'x'; 60_000]));
    world.reconfigure(|config| {
        config.limits.max_message_size = 1_000;
        config.max_client_buffer = config.min_client_buffer();
    });
    world.flush(&[b]);
    assert!(world.hub.is_open(b), "it owes what it owed");
    world.receive(a, &text("one more"));
    assert_eq!(world.heard(a), told(0x81, "one more"));
    assert!(!world.hub.is_open(b));
}

#[test]
fn a_hub_that_drains_can_be_reconfigured() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    world.hub.drain(world.now, seconds(10));
    world.reconfigure(|config| config.close_timeout = seconds(1));
    assert_eq!(world.heard_within(id, seconds(10)), "[88:1012]");
    world.pass(MILLISECONDS(1_100));
    let restarted = Disconnect::Ended(CloseCode::SERVICE_RESTART);
    assert_eq!(world.reap(), [(id, restarted)]);
}

#[test]
fn a_limit_that_goes_while_too_much_is_owed_leaves_no_work_behind() {
    let mut world = World::new(|config| {
        config.limits.max_message_size = 100_000;
        config.max_client_buffer = config.min_client_buffer();
        config.max_total_buffer = Some(config.max_client_buffer);
    });
    let members: Vec<_> = (0..300).map(|_| world.connect("/ws")).collect();
    // Each of them may owe that, and what they share is not freed before the last has gone.
    for len in [100_000, 62_000] {
        world.hub.publish("", MessageKind::Binary, &vec![0; len]);
    }
    world.flush(&members);
    world.reap();
    assert!(world.hub.has_work(), "more are to go in the next turn");
    world.reconfigure(|config| config.max_total_buffer = None);
    for _ in 0..2 {
        world.flush(&members);
        world.reap();
    }
    assert!(!world.hub.has_work());
    assert!(world.hub.len() >= 300 - 256);
}

#[test]
fn an_operator_is_not_evicted_for_what_clients_owe() {
    let mut world = World::new(|config| {
        config.limits.max_message_size = 100_000;
        config.max_client_buffer = config.min_client_buffer();
    });
    let operator = world.hub.accept_admin(Peer::Unix, world.now).unwrap();
    let members: Vec<_> = (0..60)
        .map(|room| world.connect(&format!("/ws/{room}")))
        .collect();
    let metrics = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    world.receive(operator, metrics);
    let stuck: Vec<_> = members.into_iter().chain([operator]).collect();
    world.flush(&stuck);
    assert!(world.hub.outgoing(operator).unwrap().owed() > 4000);
    world.reconfigure(|config| config.max_total_buffer = Some(config.max_client_buffer));
    world.reap();
    assert_eq!(world.hub.total_owed(), Some(0), "it is no client");
    for room in 0..60 {
        let room = room.to_string();
        world.hub.publish(&room, MessageKind::Binary, &[0; 3000]);
    }
    world.flush(&stuck);
    assert_eq!(
        world.reap(),
        [],
        "some are told so, and have time to hear it"
    );
    assert!(stuck[..60].iter().any(|id| !world.hub.is_open(*id)));
    assert_eq!(world.hub.admin_count(), 1);
}

#[test]
fn a_limit_of_addresses_counts_those_who_came_before_it() {
    let mut world = World::new(|_| {});
    let peer = Peer::Inet(([192, 0, 2, 1], 80).into());
    let [a, b] = [(); 2].map(|()| {
        let id = world.hub.accept(peer, world.now).unwrap();
        world.request(id, "/ws");
        id
    });
    world.flush(&[]);
    for _ in 0..2 {
        world.reconfigure(|config| config.max_connections_per_ip = Some(1));
        assert!(world.hub.is_open(a) && world.hub.is_open(b));
        let third = world.hub.accept(peer, world.now).unwrap();
        world.request(third, "/ws");
        assert!(world.status(third).starts_with("HTTP/1.1 429 "));
        world.hub.hang_up(third, Disconnect::Reset);
        world.reap();
        world.reconfigure(|config| config.max_connections_per_ip = None);
    }
    for id in [a, b] {
        world.hub.hang_up(id, Disconnect::Reset);
    }
    world.reap();
    assert_eq!(world.hub.addresses.len(), 0);
}

#[test]
fn who_was_there_before_the_policy_hears_the_newest_message_alone() {
    let mut world = World::new(|config| config.max_client_buffer *= 2);
    let [quick, slow] = [(); 2].map(|()| world.connect("/ws"));
    world.hub.publish("", MessageKind::Text, b"owed");
    world.flush(&[slow]);
    world.reconfigure(|config| config.slow_policy = SlowPolicy::Latest);
    world.hub.writable(slow);
    assert_eq!(world.heard(slow), told(0x81, "owed"), "it has caught up");
    for id in [slow, quick] {
        for message in ["1", "2", "3"] {
            world.hub.publish("", MessageKind::Text, message.as_bytes());
            world.flush(&[id]);
        }
        world.hub.writable(id);
        assert_eq!(world.heard(id), told(0x81, "3"));
    }
}
