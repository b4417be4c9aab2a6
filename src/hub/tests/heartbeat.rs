//! Silence, Pings and deadlines.

use super::*;

#[test]
fn silence_is_pinged_and_then_given_up() {
    let mut world = World::new(|_| {});
    let [silent, lively] = [world.connect("/ws/a"), world.connect("/ws/b")];
    world.pass(seconds(26));
    let pinged = world.flush(&[]);
    assert_eq!(pinged.len(), 2);
    assert!(pinged.iter().all(|(_, bytes)| readable(bytes) == "[89:]"));
    world.receive(lively, &frame(0x8A, b""));
    world.pass(seconds(11));
    assert_eq!(world.reap(), [(silent, Disconnect::TimedOut)]);
    assert_eq!(world.handler.gone, [(silent, Disconnect::TimedOut)]);
    assert!(world.hub.is_open(lively));
}

#[test]
fn whoever_speaks_is_not_pinged() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    for _ in 0..10 {
        world.pass(seconds(12));
        world.receive(id, &frame(0x8A, b""));
    }
    assert_eq!(world.flush(&[]), []);
}

#[test]
#[cfg_attr(miri, ignore = "two hundred clients take minutes there")]
fn first_pings_are_spread_over_half_an_interval() {
    let mut world = World::new(|_| {});
    for _ in 0..200 {
        world.connect("/ws");
    }
    let mut pings = 0;
    for second in 0..26 {
        world.pass(seconds(1));
        let pinged = world.flush(&[]);
        for (id, _) in &pinged {
            world.receive(*id, &frame(0x8A, b""));
        }
        assert!(
            second > 11 || pinged.is_empty(),
            "not before half an interval"
        );
        assert!(pinged.len() < 40, "not all at once");
        pings += pinged.len();
    }
    assert_eq!(pings, 200);
}

#[test]
fn a_trickle_is_no_sign_of_life_but_a_kilobyte_is() {
    let mut world = World::new(|_| {});
    let [trickle, stream] = [world.connect("/ws"), world.connect("/ws")];
    let bytes = frame(0x82, &vec![0; 60_000]);
    let mut position = [0; 2];
    for _ in 0..40 {
        world.pass(seconds(1));
        world.receive(trickle, &bytes[position[0]..=position[0]]);
        world.receive(stream, &bytes[position[1]..position[1] + 1024]);
        position = [position[0] + 1, position[1] + 1024];
    }
    assert_eq!(world.reap(), [(trickle, Disconnect::TimedOut)]);
}

#[test]
fn a_heartbeat_may_be_off() {
    let mut world = World::new(|config| config.ping_interval = Duration::ZERO);
    world.connect("/ws");
    world.pass(seconds(100_000));
    assert_eq!((world.flush(&[]), world.reap()), (vec![], vec![]));
    assert_eq!(world.hub.next_deadline(), None);
}

#[test]
fn a_head_must_come_in_time_and_a_trickle_does_not_extend_it() {
    let mut world = World::new(|_| {});
    let [mute, trickle] = [world.accept(), world.accept()];
    for byte in b"GET " {
        world.receive(trickle, &[*byte]);
        world.pass(seconds(1));
    }
    world.pass(Duration::from_millis(900));
    assert_eq!(world.reap(), []);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.status(trickle), "HTTP/1.1 408 Request Timeout");
    let timed_out = Disconnect::Refused(HandshakeError::TimedOut);
    assert_eq!(world.reap(), [(mute, timed_out)]);
    world.hub.hang_up(trickle, Disconnect::Gone);
    assert_eq!(world.reap(), [(trickle, timed_out)]);
    assert!(
        world.handler.gone.is_empty(),
        "who never came does not leave"
    );
}

#[test]
fn of_many_pings_a_client_that_does_not_read_is_answered_the_latest() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    world.receive(id, &text("stuck"));
    world.flush(&[id]);
    for i in 0..1000 {
        world.receive(id, &frame(0x89, i.to_string().as_bytes()));
    }
    assert!(world.hub.outgoing(id).unwrap().owed() < 200);
    world.hub.writable(id);
    assert_eq!(world.heard(id), "[81:stuck]");
    assert_eq!(world.heard(id), "[8a:999]");
}

#[test]
fn both_sides_of_the_control_frame_flood() {
    let mut world = World::new(|_| {});
    let [polite, flood] = [world.connect("/ws"), world.connect("/ws")];
    world.receive(polite, &frame(0x89, b"").repeat(512));
    world.receive(
        flood,
        &[frame(0x89, b"").repeat(513), text("never")].concat(),
    );
    let got = world.flush(&[]);
    let heard = |id| {
        got.iter()
            .find(|(who, _)| *who == id)
            .map(|(_, bytes)| readable(bytes))
    };
    assert_eq!(heard(polite).unwrap(), "[8a:]".repeat(512));
    assert_eq!(
        heard(flood).unwrap(),
        format!("{}[88:1008]", "[8a:]".repeat(513))
    );
    world.hub.hang_up(flood, Disconnect::Gone);
    assert_eq!(world.reap(), [(flood, Disconnect::Flood)]);
}

#[test]
fn who_is_given_up_is_not_due_once_more() {
    let mut world = World::new(|_| {});
    let id = world.accept();
    world.now = world.hub.next_deadline().unwrap();
    world.hub.advance(world.now);
    assert_eq!(world.hub.next_deadline(), None);
    assert_eq!(
        world.reap(),
        [(id, Disconnect::Refused(HandshakeError::TimedOut))]
    );
}

#[test]
fn a_deadline_that_has_come_nearer_is_met() {
    let mut world = World::new(|config| config.write_timeout = seconds(2));
    let id = world.connect("/ws");
    // Behind the end of the handshake's timeout nothing is due before the first Ping.
    world.pass(seconds(6));
    world.receive(id, &text("stuck"));
    let mut ids = Vec::new();
    world.hub.take_dirty(&mut ids, world.now);
    world.hub.outgoing(id).unwrap().advance(1);
    assert!(!world.hub.flushed(id, 1, true, world.now));
    world.pass(Duration::from_millis(1_900));
    assert_eq!(world.reap(), []);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.reap(), [(id, Disconnect::TooSlow)]);
}

#[test]
fn a_ping_in_the_queue_can_be_answered_when_it_has_got_there() {
    let mut world = World::new(|_| {});
    let [sender, steady] = [world.connect("/ws"), world.connect("/ws")];
    world.receive(sender, &text(&"x".repeat(60_000)));
    let mut ids = Vec::new();
    world.hub.take_dirty(&mut ids, world.now);
    for second in 0..55 {
        world.receive(sender, &frame(0x8A, b""));
        let outgoing = world.hub.outgoing(steady).unwrap();
        if second < 50 {
            outgoing.advance(1000);
            assert!(!world.hub.flushed(steady, 1000, true, world.now));
        }
        world.hub.writable(steady);
        world.pass(seconds(1));
    }
    assert_eq!(world.reap(), [], "it takes a kilobyte a second");
    world.flush(&[steady]);
    world.pass(seconds(15));
    assert_eq!(
        world.reap(),
        [(steady, Disconnect::TooSlow)],
        "and then nothing"
    );
}

#[test]
fn nobody_is_given_up_whose_answer_has_not_been_read_yet() {
    let mut world = World::new(|_| {});
    let [unread, half] = [world.connect("/ws"), world.accept()];
    world.hub.readable(half, true);
    world.pass(seconds(20));
    world.hub.readable(unread, true);
    world.pass(seconds(40));
    assert_eq!(world.reap(), []);
    world.receive(unread, &text("here I am"));
    world.receive(half, b"GET");
    world.flush(&[]);
    world.pass(seconds(1));
    assert_eq!(world.status(half), "HTTP/1.1 408 Request Timeout");
    assert!(world.hub.is_open(unread));

    // Readiness may turn out to be nothing, and then silence is silence.
    world.hub.readable(unread, true);
    world.hub.readable(unread, false);
    world.pass(seconds(26));
    world.flush(&[]);
    world.pass(seconds(11));
    assert!(world.reap().contains(&(unread, Disconnect::TimedOut)));
}

#[test]
fn an_older_pong_does_not_follow_a_newer_one() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    world.receive(id, &text("stuck"));
    world.flush(&[id]);
    world.receive(id, &frame(0x89, b"1"));
    world.hub.writable(id);
    world.receive(id, &frame(0x89, b"2"));
    assert_eq!(world.heard(id), "[81:stuck][8a:2]");
    assert_eq!(world.heard(id), "");
}

#[test]
fn a_long_request_head_does_not_undo_the_spread_of_pings() {
    let mut world = World::new(|_| {});
    let ids: Vec<ClientId> = (0..8).map(|_| world.accept()).collect();
    for id in ids {
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Cookie: {}\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            "x".repeat(4000)
        );
        world.receive(id, head.as_bytes());
    }
    world.flush(&[]);
    world.pass(seconds(24));
    assert!(world.flush(&[]).len() > 4);
}

#[test]
fn the_first_client_after_a_long_night_turns_no_wheel() {
    let mut world = World::new(|_| {});
    world.now += seconds(10 * 60 * 60);
    let id = world.accept();
    assert_eq!(world.hub.next_deadline(), Some(world.now + seconds(5)));
    world.hub.hang_up(id, Disconnect::Gone);
}

#[test]
fn who_has_caught_up_is_pinged_as_if_it_had_not_lagged() {
    let mut world = World::new(|config| config.write_timeout = seconds(600));
    let id = world.connect("/ws");
    world.receive(id, &text("too much"));
    world.flush(&[id]);
    world.pass(seconds(25));
    world.hub.writable(id);
    assert_eq!(world.heard(id), "[81:too much][89:]");
    // The wheel knew of the write timeout alone.
    world.pass(seconds(11));
    assert_eq!(world.reap(), [(id, Disconnect::TimedOut)]);
}

#[test]
fn after_a_long_stop_those_who_are_not_read_yet_hold_up_nobody() {
    let mut world = World::new(|_| {});
    let silent = world.connect("/ws");
    world.pass(seconds(6));
    for _ in 0..20 {
        let unread = world.accept();
        world.hub.readable(unread, true);
    }
    world.now += seconds(3600);
    world.hub.advance(world.now);
    assert_eq!(world.heard(silent), "[89:]");
    assert_eq!(world.reap(), []);
}

#[test]
fn a_ping_that_waits_for_its_answer_is_not_answered_behind_our_close() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    world.receive(id, &text("stuck"));
    world.flush(&[id]);
    world.receive(id, &frame(0x89, b"still there?"));
    world.receive(id, &frame(0x88, b""));
    world.hub.writable(id);
    assert_eq!(world.heard(id), "[81:stuck][88:1000]");
    assert_eq!(world.heard(id), "");
}

/// Each lag brings a deadline nearer, and what the wheel knew before is stale then.
#[test]
fn who_lags_again_and_again_is_in_the_wheel_a_few_times_at_most() {
    let mut world = World::new(|config| config.ping_interval = seconds(60));
    let id = world.connect("/ws");
    for _ in 0..200 {
        world.receive(id, &text("stuck"));
        world.flush(&[id]);
        world.pass(seconds(1));
        world.hub.writable(id);
        assert_eq!(world.heard(id), "[81:stuck]");
        // What the lag brought is looked at meanwhile, and something later comes in its place.
        world.pass(seconds(20));
    }
    let later = world.now + seconds(600);
    let hints = std::iter::from_fn(|| world.hub.wheel.pop(later)).count();
    assert!(hints < 20, "{hints} hints for one client");
}

#[test]
fn both_sides_of_the_sign_of_life() {
    let mut world = World::new(|_| {});
    let [dead, alive] = [world.connect("/ws"), world.connect("/ws")];
    let bytes = frame(0x82, &vec![0; 60_000]);
    world.pass(seconds(12));
    world.receive(dead, &bytes[..1023]);
    world.receive(alive, &bytes[..1024]);
    world.pass(seconds(14));
    let pinged = world.flush(&[]).into_iter().map(|(id, _)| id);
    assert_eq!(pinged.collect::<Vec<_>>(), [dead]);
}

/// What is unread excuses silence and nothing else: a hostile client always has more to say.
#[test]
fn to_have_more_to_say_excuses_nobody_who_does_not_listen_or_leave() {
    let mut world = World::new(|_| {});
    let [stuck, leaving] = [world.connect("/ws"), world.connect("/ws/a")];
    world.receive(stuck, &text("too much"));
    world.receive(leaving, &text("leave"));
    // The first byte of a frame has been taken, so that no Close fits behind it.
    let mut ids = Vec::new();
    world.hub.take_dirty(&mut ids, world.now);
    world.hub.outgoing(stuck).unwrap().advance(1);
    assert!(!world.hub.flushed(stuck, 1, true, world.now));
    for id in [stuck, leaving] {
        world.hub.readable(id, true);
    }
    world.pass(seconds(6));
    let ended = Disconnect::Ended(CloseCode::NORMAL);
    assert_eq!(world.reap(), [(leaving, ended)]);
    world.pass(seconds(5));
    assert_eq!(world.reap(), [(stuck, Disconnect::TooSlow)]);

    // Nor does a Ping that is due and is put off for that reason.
    let mut world = World::new(|config| config.write_timeout = seconds(30));
    let stuck = world.connect("/ws");
    world.receive(stuck, &text("too much"));
    world.flush(&[stuck]);
    world.hub.readable(stuck, true);
    world.pass(seconds(31));
    assert!(!world.hub.is_open(stuck));
}
