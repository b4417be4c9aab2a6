//! The end, announced and spread over time.

use std::collections::HashMap;

use super::*;

const RESTARTED: Disconnect = Disconnect::Ended(CloseCode::SERVICE_RESTART);

impl World {
    /// Lets time pass as [`pass`](Self::pass) does, and notes who is told to go how long after the
    /// beginning.
    fn closes(&mut self, duration: Duration) -> Vec<(ClientId, Duration)> {
        let (begun, mut closes) = (self.now, Vec::new());
        let end = begun + duration;
        let mut turns = 0;
        while let Some(deadline) = self.hub.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(deadline);
            self.hub.advance(self.now);
            for (id, bytes) in self.flush(&[]) {
                assert_eq!(readable(&bytes), "[88:1012]");
                closes.push((id, self.now - begun));
            }
            turns += 1;
            assert!(turns < 100_000, "time stands still");
        }
        self.now = end;
        closes
    }
}

#[test]
fn what_is_announced_changes_nothing_but_readiness() {
    let mut world = World::new(|config| config.max_connections = 3);
    assert!(world.hub.is_ready() && !world.hub.is_draining());
    let id = world.connect("/ws");
    world.hub.announce_drain();
    assert!(world.hub.is_draining() && !world.hub.is_ready());
    let newcomer = world.connect("/ws");
    world.receive(newcomer, &text("here I am"));
    assert_eq!(world.heard(id), told(0x81, "here I am"));
    world.hub.drain(world.now, Duration::ZERO);
    world.hub.announce_drain();
    assert!(world.hub.is_draining() && !world.hub.is_ready());
    assert_eq!(
        world.hub.accept(Peer::Unix, world.now),
        Err(Refusal::Draining)
    );
}

#[test]
fn a_hub_that_is_full_is_not_ready() {
    let mut world = World::new(|config| config.max_connections = 1);
    assert!(world.hub.is_ready());
    let id = world.connect("/ws");
    assert!(!world.hub.is_ready() && !world.hub.is_draining());
    world.hub.hang_up(id, Disconnect::Gone);
    world.reap();
    assert!(world.hub.is_ready());
}

/// The k-th of n is told to go when k of n parts of the time have passed, and not before.
#[test]
#[cfg_attr(miri, ignore = "so many clients take minutes there")]
fn clients_are_closed_evenly_and_the_last_one_at_the_end() {
    for count in [1, 2, 7, 300] {
        let mut world = World::new(|_| {});
        let ids: Vec<_> = (0..count).map(|_| world.connect("/ws")).collect();
        world.hub.drain(world.now, seconds(3));
        assert_eq!(world.flush(&[]), [], "nobody goes at the beginning");
        let closes = world.closes(seconds(3));
        assert_eq!(closes.len(), ids.len());
        for (k, (_, at)) in (1..).zip(&closes) {
            let due = seconds(3) * k / count;
            let step = Duration::from_millis(5);
            assert!(*at >= due && *at < due + step, "{k} of {count}: {at:?}");
        }
        assert_eq!(closes.last().unwrap().1, seconds(3));
        let distinct: HashMap<_, _> = closes.into_iter().collect();
        assert!(ids.iter().all(|id| distinct.contains_key(id)));
    }
}

#[test]
#[cfg_attr(miri, ignore = "so many clients take minutes there")]
fn no_room_is_emptied_before_another() {
    let rooms = [("/ws/a", 60), ("/ws/b", 30), ("/ws/c", 10)];
    let mut world = World::new(|_| {});
    let mut room_of = HashMap::new();
    for (room, members) in rooms {
        for _ in 0..members {
            room_of.insert(world.connect(room), room);
        }
    }
    // Forty rooms of one are spread as well.
    for i in 0..40 {
        room_of.insert(world.connect(&format!("/ws/alone{i}")), "alone");
    }
    world.hub.drain(world.now, seconds(10));
    for tenth in 1..=10 {
        let closed = world.closes(seconds(1)).into_iter();
        for (id, _) in closed {
            room_of.remove(&id);
        }
        for (room, members) in [("/ws/a", 60), ("/ws/b", 30), ("/ws/c", 10), ("alone", 40)] {
            let left = room_of.values().filter(|other| **other == room).count();
            let fair = members * (10 - tenth) / 10;
            assert!(left.abs_diff(fair) <= 3, "{left} in {room} at {tenth}");
        }
    }
}

/// Their places stay empty: nobody goes earlier because others have gone by themselves.
#[test]
fn who_leaves_meanwhile_moves_nobody() {
    let mut world = World::new(|_| {});
    let ids: Vec<_> = (0..10).map(|_| world.connect("/ws")).collect();
    world.hub.drain(world.now, seconds(10));
    for id in &ids[..5] {
        world.hub.hang_up(*id, Disconnect::Gone);
    }
    world.reap();
    let closes = world.closes(seconds(10));
    assert_eq!(closes.len(), 5);
    for (_, at) in closes {
        assert!(at.subsec_millis() < 5, "{at:?}");
    }
    assert_eq!(world.reap().len(), 0, "they have not answered");
}

#[test]
fn who_is_left_is_served_and_the_half_open_are_refused_at_once() {
    let mut world = World::new(|_| {});
    let [a, b] = [world.connect("/ws"), world.connect("/ws")];
    let [half, mute] = [world.accept(), world.accept()];
    world.receive(half, b"GET /ws HT");
    world.hub.drain(world.now, seconds(2));
    assert!(world.status(half).starts_with("HTTP/1.1 503 "));
    assert_eq!(
        world.reap(),
        [(mute, Disconnect::Refused(HandshakeError::Draining))]
    );
    world.receive(a, &text("still here"));
    assert_eq!(world.heard(b), told(0x81, "still here"));
    world.hub.hang_up(half, Disconnect::Gone);
    // Both answer, one after the other.
    let closes = world.closes(seconds(2));
    for (id, _) in closes {
        world.receive(id, &frame(0x88, b"\x03\xf4"));
        world.flush(&[]);
        world.hub.hang_up(id, Disconnect::Gone);
    }
    let gone = world.reap();
    assert_eq!(gone.len(), 3);
    assert!(gone[1..].iter().all(|(_, why)| *why == RESTARTED));
    assert!(world.hub.is_empty());
}

/// However long a turn took, and however many are due: so many are closed in one, and the next one
/// does not wait.
#[test]
#[cfg_attr(miri, ignore = "so many clients take minutes there")]
fn a_turn_closes_a_bounded_number() {
    const COUNT: usize = 2500;

    let mut world = World::new(|config| config.max_connections = COUNT);
    for _ in 0..COUNT {
        world.connect("/ws");
    }
    world.hub.drain(world.now, seconds(1));
    world.now += seconds(2);
    for expected in [1024, 1024, COUNT - 2048] {
        assert!(world.hub.next_deadline().unwrap() <= world.now);
        world.hub.advance(world.now);
        assert_eq!(world.flush(&[]).len(), expected);
    }
    assert!(world.hub.next_deadline().unwrap() > world.now);
}

/// A crowd does not wake the driver for each of its members.
#[test]
#[cfg_attr(miri, ignore = "so many clients take minutes there")]
fn closes_that_are_near_are_made_together() {
    let mut world = World::new(|config| config.max_connections = 5000);
    for _ in 0..5000 {
        world.connect("/ws");
    }
    world.hub.drain(world.now, seconds(1));
    let mut turns: Vec<_> = world.closes(seconds(1)).iter().map(|(_, at)| *at).collect();
    assert_eq!(turns.len(), 5000);
    turns.dedup();
    assert!((150..=201).contains(&turns.len()), "{} turns", turns.len());
}

#[test]
fn a_second_drain_begins_anew() {
    let mut world = World::new(|_| {});
    for _ in 0..4 {
        world.connect("/ws");
    }
    world.hub.drain(world.now, seconds(6));
    assert_eq!(world.closes(seconds(3)).len(), 2);
    world.hub.drain(world.now, Duration::ZERO);
    let got = world.flush(&[]);
    assert_eq!(got.len(), 2);
    assert!(got.iter().all(|(_, bytes)| readable(bytes) == "[88:1001]"));
}

#[test]
fn nobody_to_close_leaves_nothing_due() {
    let mut world = World::new(|_| {});
    world.hub.drain(world.now, seconds(60));
    assert!(world.hub.is_empty() && world.hub.next_deadline().is_none());
}
