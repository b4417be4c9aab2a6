//! What is said to rooms while somebody else decides when it is heard.

use super::*;

impl World {
    /// A hub that relays.
    fn relaying(change: impl FnOnce(&mut HubConfig)) -> Self {
        let mut world = Self::new(change);
        world.hub.set_relaying(true);
        world
    }

    /// All that waits to be taken: room, who is left out, what was said.
    fn relayed(&mut self) -> Vec<(String, Option<ClientId>, String)> {
        let mut all = Vec::new();
        while let Some(said) = self.hub.take_relayed() {
            let text = String::from_utf8(said.payload.to_vec()).unwrap();
            all.push((said.room.to_owned(), said.except, text));
        }
        all
    }

    fn deliver(&mut self, room: &str, except: Option<ClientId>, text: &str) -> usize {
        let payload = text.as_bytes();
        self.hub.deliver(room, except, MessageKind::Text, payload)
    }
}

fn said(room: &str, text: &str) -> (String, Option<ClientId>, String) {
    (room.to_owned(), None, text.to_owned())
}

/// A client, a handler on its own account, another thread, and an operator.
#[test]
fn whoever_speaks_to_a_room_is_relayed_once_and_in_order() {
    let mut world = World::relaying(|_| {});
    world.handler.farewell = Some("gone");
    let [a, b] = [world.connect("/ws/news"), world.connect("/ws/news")];
    let operator = world.hub.accept_admin(Peer::Unix, world.now).unwrap();
    world.receive(a, &text("client"));
    let published = world.hub.publish("news", MessageKind::Text, b"thread");
    assert_eq!(published, 2, "members are counted");
    world.receive(
        operator,
        b"POST /publish/news HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\noperator",
    );
    world.hub.hang_up(b, Disconnect::Gone);
    world.reap();
    assert!(world.hub.has_work(), "it is to be taken");
    assert_eq!(
        world.relayed(),
        ["client", "thread", "operator", "gone"].map(|text| said("news", text))
    );
    assert_eq!(world.hub.take_relayed(), None);
    // Of all that the operator's answer alone was written.
    let got = world.flush(&[]);
    assert_eq!(got.len(), 1, "{got:?}");
    let answer = String::from_utf8_lossy(&got[0].1).into_owned();
    assert!(got[0].0 == operator && answer.starts_with("HTTP/1.1 201 "));
    assert!(answer.ends_with("{\"receivers\":2}\n"), "{answer}");
    assert!(!world.hub.has_work());
}

#[test]
fn what_is_delivered_is_heard_and_not_relayed_again() {
    let mut world = World::relaying(|_| {});
    let [a, b] = [world.connect("/ws"), world.connect("/ws")];
    let elsewhere = world.connect("/ws/other");
    world.receive(a, &frame(0x82, b"\xFF\x00"));
    let relayed = world.hub.take_relayed().unwrap();
    assert_eq!((relayed.room, relayed.kind), ("", MessageKind::Binary));
    assert_eq!((relayed.payload, relayed.except), (&b"\xFF\x00"[..], None));
    assert!(world.flush(&[]).is_empty(), "not yet");
    assert_eq!(world.deliver("", None, "now"), 2);
    assert_eq!(world.deliver("nobody's", None, "never"), 0);
    assert_eq!(world.hub.take_relayed(), None);
    let got = world.flush(&[]);
    assert!(got.iter().all(|(id, _)| *id != elsewhere));
    let heard: Vec<String> = got.iter().map(|(_, bytes)| readable(bytes)).collect();
    assert_eq!(heard, ["[81:now]", "[81:now]"]);
    let _ = b;
}

/// On another server somebody may be in that room.
#[test]
fn a_room_without_members_is_relayed_too() {
    let mut world = World::relaying(|_| {});
    let published = world.hub.publish("nobody's", MessageKind::Text, b"1");
    assert_eq!(published, 0);
    let operator = world.hub.accept_admin(Peer::Unix, world.now).unwrap();
    world.receive(
        operator,
        b"POST /publish/nobody's HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n2",
    );
    assert_eq!(world.status(operator), "HTTP/1.1 202 Accepted");
    assert_eq!(
        world.relayed(),
        [said("nobody's", "1"), said("nobody's", "2")]
    );
    // Only a handler that remembers a room that went may name one; it is told so, as ever.
    let a = world.connect("/ws/gone");
    let room = world.hub.room_of(a).unwrap();
    world.hub.hang_up(a, Disconnect::Gone);
    world.reap();
    let now = world.now;
    let mut outbox = world.hub.outbox(now);
    assert_eq!(outbox.broadcast(room, MessageKind::Text, b"3"), None);
    assert_eq!(world.relayed(), []);
}

#[test]
fn an_exception_goes_the_whole_way_and_ends_with_its_client() {
    let mut world = World::relaying(|_| {});
    world.handler.no_echo = true;
    let [a, b] = [world.connect("/ws"), world.connect("/ws")];
    world.receive(a, &text("1"));
    assert_eq!(world.relayed(), [(String::new(), Some(a), "1".to_owned())]);
    assert_eq!(world.deliver("", Some(a), "1"), 1);
    assert_eq!(world.heard(b), "[81:1]");
    // The count is that of those who would hear it.
    let now = world.now;
    let room = world.hub.room_of(a).unwrap();
    let mut outbox = world.hub.outbox(now);
    let said = outbox.broadcast_except(room, a, MessageKind::Text, b"2");
    assert_eq!(said, Some(1));
    world.relayed();
    world.hub.hang_up(a, Disconnect::Gone);
    world.reap();
    let newcomer = world.connect("/ws");
    assert_eq!(newcomer.index(), a.index(), "in the other's place");
    assert_eq!(world.deliver("", Some(a), "2"), 2);
    assert_eq!(world.heard(newcomer), "[81:2]");
}

#[test]
fn what_waits_to_be_relayed_fills_the_turn_until_it_is_taken() {
    let mut world = World::relaying(|_| {});
    let a = world.connect("/ws");
    // Messages of a kilobyte count so much and a little more.
    let kilobyte = "x".repeat(1024);
    let mut count = 0;
    while !world.hub.is_full() {
        world
            .hub
            .publish("", MessageKind::Text, kilobyte.as_bytes());
        count += 1;
    }
    assert_eq!(count, (256 * 1024_usize).div_ceil(1024 + 64));
    world.flush(&[]);
    assert!(world.hub.is_full(), "the end of a turn alone frees nothing");
    assert_eq!(world.relayed().len(), count);
    assert!(!world.hub.is_full() && world.hub.said == 0);
    // Empty ones are bounded as well.
    for _ in 0..256 * 1024 / 64 {
        assert!(!world.hub.is_full());
        world.hub.publish("", MessageKind::Text, b"");
    }
    assert!(world.hub.is_full());
    world.relayed();
    // Half of it is taken, and the other half counts still.
    world.receive(a, &[text("12"), text("34")].concat());
    world.hub.take_relayed();
    world.flush(&[]);
    assert_eq!(world.hub.said, 66);
    assert_eq!(world.relayed(), [said("", "34")]);
}

#[test]
fn what_is_said_to_one_client_alone_is_heard_at_once() {
    let mut world = World::relaying(|_| {});
    world.handler.greeting = Some("welcome");
    let a = world.accept();
    world.request(a, "/ws");
    world.receive(a, &text("whisper"));
    let got = world.flush(&[]);
    let told = String::from_utf8_lossy(&got[0].1).into_owned();
    assert!(told.contains("welcome") && told.ends_with("psst"), "{told}");
    assert_eq!(world.relayed(), []);
}

#[test]
fn what_was_said_before_relaying_ended_is_taken_and_the_rest_is_heard() {
    let mut world = World::relaying(|_| {});
    let a = world.connect("/ws");
    world.receive(a, &text("1"));
    world.hub.set_relaying(false);
    world.receive(a, &text("2"));
    assert_eq!(world.heard(a), "[81:2]");
    assert_eq!(world.relayed(), [said("", "1")]);
}

/// A turn of much is no reason to hold as much for ever.
#[test]
fn the_buffer_of_a_large_turn_is_not_kept() {
    let mut world = World::relaying(|_| {});
    for (len, is_kept) in [(100, true), (1 << 20, false)] {
        world.hub.publish("", MessageKind::Binary, &vec![0; len]);
        while world.hub.take_relayed().is_some() {}
        let held = world.hub.relay_capacity();
        assert_eq!(held > 0, is_kept, "{held} bytes");
    }
}
