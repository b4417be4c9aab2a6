//! How connections end.

use super::*;

#[test]
fn the_closing_handshake_ends_our_side_first() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    world.receive(id, &frame(0x88, b"\x0f\xa1bye"));
    let mut ids = Vec::new();
    world.hub.take_dirty(&mut ids, world.now);
    let outgoing = world.hub.outgoing(id).unwrap();
    let len = outgoing.pieces().map(<[u8]>::len).sum();
    outgoing.advance(len);
    assert!(
        world.hub.flushed(id, len, false, world.now),
        "shut down once"
    );
    assert!(!world.hub.flushed(id, 0, false, world.now));
    assert_eq!(world.reap(), [], "until the client ends its side");
    world.receive(id, b"what still arrives is thrown away");
    world.hub.hang_up(id, Disconnect::Gone);
    let code = CloseCode::from_wire(4001);
    assert_eq!(world.reap(), [(id, Disconnect::Closed(code))]);
}

#[test]
fn a_half_closed_client_still_hears_our_last_word() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    world.receive(id, &frame(0x88, b""));
    world.hub.hang_up(id, Disconnect::Gone);
    assert_eq!(world.reap(), []);
    assert_eq!(world.heard(id), "[88:1000]");
    assert_eq!(world.reap(), [(id, Disconnect::Closed(None))]);
}

#[test]
fn who_does_not_answer_our_close_is_gone_after_the_timeout() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    world.receive(id, &[text("leave"), text("dropped")].concat());
    assert_eq!(world.heard(id), "[88:1000]");
    world.pass(Duration::from_millis(4_900));
    assert_eq!(world.reap(), []);
    world.pass(Duration::from_millis(200));
    assert_eq!(world.reap(), [(id, Disconnect::Ended(CloseCode::NORMAL))]);
}

#[test]
fn nothing_follows_our_close_whatever_comes_behind_it() {
    for first in ["", "said before"] {
        for last in [
            frame(0x88, b"\x03\xe8"),
            frame(0x83, b""),
            frame(0x89, b"").repeat(600),
        ] {
            let mut world = World::new(|_| {});
            let [a, b] = [world.connect("/ws"), world.connect("/ws")];
            if !first.is_empty() {
                world.receive(b, &text(first));
            }
            world.receive(a, &text("leave"));
            world.receive(b, &text("said after"));
            world.receive(a, &last);
            world.receive(b, &text("said after"));
            let told_before = if first.is_empty() {
                String::new()
            } else {
                told(0x81, first)
            };
            assert_eq!(world.heard(a), told_before + "[88:1000]");
        }
    }
}

#[test]
fn a_broken_frame_is_answered_behind_what_was_said_before() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    world.receive(id, &[text("fine"), frame(0x83, b"")].concat());
    assert_eq!(world.heard(id), "[81:fine][88:1002]");
    world.hub.hang_up(id, Disconnect::Reset);
    assert_eq!(
        world.reap(),
        [(id, Disconnect::Protocol(ProtocolError::ReservedOpcode))]
    );
}

#[test]
fn a_drain_tells_everyone_and_lets_nobody_in() {
    let mut world = World::new(|_| {});
    let [open, half] = [world.connect("/ws"), world.accept()];
    let mute = world.accept();
    world.receive(half, b"GET /ws HT");
    world.receive(open, &text("last"));
    world.hub.drain(world.now, Duration::ZERO);
    assert_eq!(
        world.hub.accept(Peer::Unix, world.now),
        Err(Refusal::Draining)
    );
    let got = world.flush(&[]);
    let heard = |id| {
        got.iter()
            .find(|(who, _)| *who == id)
            .map(|(_, bytes)| bytes.clone())
    };
    assert_eq!(readable(&heard(open).unwrap()), "[81:last][88:1001]");
    assert!(heard(half).unwrap().starts_with(b"HTTP/1.1 503 "));
    assert_eq!(
        world.reap(),
        [(mute, Disconnect::Refused(HandshakeError::Draining))]
    );
    world.receive(open, &frame(0x88, b"\x03\xe9"));
    world.hub.hang_up(half, Disconnect::Gone);
    world.flush(&[]);
    world.hub.hang_up(open, Disconnect::Gone);
    assert_eq!(world.reap().len(), 2);
    assert!(world.hub.is_empty() && world.hub.room_count() == 0);
}

#[test]
fn stale_news_harms_no_newcomer() {
    let mut world = World::new(|_| {});
    let old = world.connect("/ws");
    world.hub.hang_up(old, Disconnect::Gone);
    // Doomed, and not reaped yet: it hears and says nothing.
    world.receive(old, &text("from the grave"));
    assert_eq!(world.flush(&[]), []);
    world.reap();
    let new = world.connect("/ws");
    assert_eq!((new.index(), new == old), (old.index(), false));
    world.receive(old, &frame(0x88, b""));
    world.hub.writable(old);
    world.hub.hang_up(old, Disconnect::Reset);
    assert!(!world.hub.flushed(old, 0, false, world.now) && world.hub.outgoing(old).is_none());
    assert!(
        !world
            .hub
            .outbox(world.now)
            .send(old, MessageKind::Text, b"?")
    );
    assert!(world.hub.is_open(new) && world.reap().is_empty() && world.flush(&[]).is_empty());
    assert!(!world.hub.is_open(old));
    assert_eq!(
        (world.hub.peer(old), world.hub.peer(new)),
        (None, Some(Peer::Unix))
    );
    assert_eq!(world.hub.room_name_of(old), None);
}

#[test]
fn whoever_is_to_be_flushed_or_reaped_is_work() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws");
    assert!(!world.hub.has_work());
    world.hub.publish("", MessageKind::Text, b"a batch");
    assert!(world.hub.has_work());
    world.flush(&[]);
    world.receive(id, &frame(0x89, b"an answer"));
    assert!(world.hub.has_work());
    world.flush(&[]);
    assert!(!world.hub.has_work());
    world.hub.hang_up(id, Disconnect::Gone);
    assert!(world.hub.has_work());
    world.reap();
    assert!(!world.hub.has_work());
}

#[test]
fn the_others_hear_of_a_departure() {
    let mut world = World::new(|_| {});
    world.handler.farewell = Some("left");
    let ids: Vec<ClientId> = (0..4).map(|_| world.connect("/ws")).collect();
    for id in [ids[0], ids[2]] {
        world.hub.hang_up(id, Disconnect::Gone);
    }
    assert_eq!(world.reap().len(), 2);
    assert!(world.hub.has_work(), "somebody spoke behind the flush");
    let got = world.flush(&[]);
    assert_eq!(got.len(), 2);
    assert!(
        got.iter()
            .all(|(_, bytes)| readable(bytes) == "[81:left][81:left]")
    );
    assert!(!world.hub.has_work());
    world.hub.hang_up(ids[1], Disconnect::Gone);
    world.hub.hang_up(ids[3], Disconnect::Gone);
    world.reap();
    assert!(!world.hub.has_work() && world.hub.room_count() == 0);
}

#[test]
fn who_is_given_up_first_is_reaped_first() {
    let mut world = World::new(|_| {});
    let [first, second] = [world.accept(), world.accept()];
    world.hub.hang_up(second, Disconnect::Gone);
    world.hub.hang_up(first, Disconnect::Reset);
    let gone = [(second, Disconnect::Gone), (first, Disconnect::Reset)];
    assert_eq!(world.reap(), gone);
}
