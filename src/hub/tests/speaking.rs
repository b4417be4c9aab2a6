//! Who hears what, and in which order.

use super::*;
use crate::hub::flush::MAX_SPARES;

#[test]
fn what_one_says_everyone_in_the_room_hears() {
    let mut world = World::new(|_| {});
    let [a, b] = [world.connect("/ws"), world.connect("/ws")];
    let elsewhere = world.connect("/ws/other");
    world.receive(a, &text("one"));
    world.receive(b, &frame(0x82, b"two"));
    let mut got = world.flush(&[]);
    got.sort_by_key(|(id, _)| id.index());
    assert!(got.iter().all(|(id, _)| *id != elsewhere));
    let got: Vec<String> = got.iter().map(|(_, bytes)| readable(bytes)).collect();
    assert_eq!(got, ["[81:one][82:two]", "[81:one][82:two]"]);
}

#[test]
fn members_share_one_batch() {
    let mut world = World::new(|_| {});
    let members = [
        world.connect("/ws"),
        world.connect("/ws"),
        world.connect("/ws"),
    ];
    world.receive(members[0], &text("hello"));
    world.receive(members[1], &text("again"));
    let mut dirty = Vec::new();
    world.hub.take_dirty(&mut dirty, world.now);
    assert_eq!(dirty.len(), 3);
    let addresses: Vec<_> = members
        .iter()
        .map(|id| {
            let pieces: Vec<_> = world.hub.outgoing(*id).unwrap().pieces().collect();
            assert_eq!(pieces.len(), 1, "a turn is one piece");
            pieces[0].as_ptr()
        })
        .collect();
    assert!(addresses.iter().all(|address| *address == addresses[0]));
}

#[test]
fn answers_stand_where_they_were_given() {
    let mut world = World::new(|_| {});
    let [a, b] = [world.connect("/ws"), world.connect("/ws")];
    world.receive(b, &text("0"));
    let all = [
        text("1"),
        frame(0x89, b"?"),
        text("2"),
        text("whisper"),
        text("3"),
    ]
    .concat();
    world.receive(a, &[all, frame(0x88, b"\x03\xe8"), text("never")].concat());
    world.receive(b, &text("4"));
    let got = world.flush(&[]);
    let heard = |id| {
        got.iter()
            .find(|(who, _)| *who == id)
            .map(|(_, bytes)| readable(bytes))
    };
    assert_eq!(
        heard(a).unwrap(),
        "[81:0][81:1][8a:?][81:2][81:psst][81:3][88:1000]"
    );
    assert_eq!(heard(b).unwrap(), "[81:0][81:1][81:2][81:3][81:4]");
}

#[test]
fn without_echo_the_sender_hears_the_others_alone() {
    let mut world = World::new(|_| {});
    world.handler.no_echo = true;
    let [a, b] = [world.connect("/ws"), world.connect("/ws")];
    world.receive(a, &[text("a1"), text("a2")].concat());
    world.receive(b, &text("b1"));
    world.receive(a, &text("a3"));
    let got = world.flush(&[]);
    let heard = |id| {
        got.iter()
            .find(|(who, _)| *who == id)
            .map(|(_, bytes)| readable(bytes))
    };
    assert_eq!(heard(a).unwrap(), "[81:b1]");
    assert_eq!(heard(b).unwrap(), "[81:a1][81:a2][81:a3]");
}

#[test]
fn a_newcomer_hears_what_is_said_from_then_on() {
    let mut world = World::new(|_| {});
    world.handler.greeting = Some("welcome");
    let a = world.connect("/ws");
    world.receive(a, &text("before"));
    let newcomer = world.accept();
    world.request(newcomer, "/ws");
    world.receive(a, &text("after"));
    let got = world.flush(&[]);
    let (_, bytes) = got.iter().find(|(id, _)| *id == newcomer).unwrap();
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap()
        + 4;
    assert!(bytes.starts_with(b"HTTP/1.1 101 "));
    assert_eq!(readable(&bytes[end..]), "[81:welcome][81:after]");
}

#[test]
fn frames_behind_the_request_head_are_read() {
    let mut world = World::new(|_| {});
    let a = world.connect("/ws");
    let eager = world.accept();
    let head = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    world.receive(eager, &[head.as_bytes(), &text("at once")].concat());
    assert_eq!(world.heard(a), "[81:at once]");
}

#[test]
fn an_exception_is_made_for_members_alone() {
    let mut world = World::new(|_| {});
    let [a, b] = [world.connect("/ws/a"), world.connect("/ws/a")];
    let [other, leaving] = [world.connect("/ws/b"), world.connect("/ws/a")];
    let now = world.now;
    let mut outbox = world.hub.outbox(now);
    let [room, elsewhere] = [a, other].map(|id| outbox.room(id).unwrap());
    outbox.close(leaving, CloseCode::NORMAL, "");
    let mut say =
        |except, word: &[u8]| outbox.broadcast_except(room, except, MessageKind::Text, word);
    assert_eq!(say(b, b"1"), Some(2));
    assert_eq!(say(other, b"2"), Some(3));
    assert_eq!(say(leaving, b"3"), Some(3));
    let two_letters = outbox.broadcast(elsewhere, MessageKind::Text, b"ab");
    assert_eq!(two_letters, Some(1));
    assert!(outbox.send(a, MessageKind::Text, b"4"));
    let got = world.flush(&[]);
    let heard = |id| {
        got.iter()
            .find(|(who, _)| *who == id)
            .map(|(_, bytes)| readable(bytes))
    };
    assert_eq!(heard(a).unwrap(), "[81:1][81:2][81:3][81:4]");
    assert_eq!(heard(b).unwrap(), "[81:2][81:3]");
    assert_eq!(heard(other).unwrap(), "[81:ab]");
    assert_eq!(heard(leaving).unwrap(), "[88:1000]");
    assert_eq!(world.hub.metrics().messages_sent, 4 + 2 + 1);
    world.hub.hang_up(a, Disconnect::Gone);
    let departure = world.hub.reap(&mut world.handler, now).unwrap();
    assert_eq!(departure.traffic.messages_sent, 4);
}

#[test]
fn others_may_publish() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws/news");
    assert_eq!(world.hub.publish("news", MessageKind::Text, b"flash"), 1);
    assert_eq!(world.hub.publish("nobody", MessageKind::Text, b"flash"), 0);
    assert_eq!(world.heard(id), "[81:flash]");
}

#[test]
fn an_answer_to_head_has_no_body() {
    let mut world = World::new(|_| {});
    for (path, status) in [("/healthz", "200"), ("/ws", "405"), ("/nothing", "404")] {
        let id = world.accept();
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        world.receive(id, request.as_bytes());
        let got = world.flush(&[]);
        let answer = String::from_utf8(got[0].1.clone()).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(
            answer.ends_with("\r\n\r\n") && answer.contains("Content-Length: "),
            "{answer}"
        );
    }
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of kilobytes take minutes there")]
fn what_is_read_where_it_belongs_is_a_sign_of_life() {
    let mut world = large_world();
    let id = world.connect("/ws");
    let bytes = frame(0x82, &vec![0; 100_000]);
    world.receive(id, &bytes[..20_000]);
    for piece in bytes[20_000..60_000].chunks(10_000) {
        world.pass(seconds(12));
        assert_eq!(world.land(id, piece), 10_000);
    }
    assert_eq!(world.flush(&[]), []);
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of kilobytes take minutes there")]
fn what_is_wrong_with_a_long_message_ends_the_connection_wherever_it_is_read_to() {
    let mut world = large_world();
    let id = world.connect("/ws");
    let mut payload = vec![b'x'; 100_000];
    payload[50_000] = 0xFF;
    assert!(world.land(id, &frame(0x81, &payload)) > 0);
    assert_eq!(world.heard(id), "[88:1007]");
    world.hub.hang_up(id, Disconnect::Gone);
    let wrong = Disconnect::Protocol(ProtocolError::InvalidUtf8);
    assert_eq!(world.reap(), [(id, wrong)]);
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of kilobytes take minutes there")]
fn buffers_of_large_messages_are_kept_for_a_second() {
    let mut world = large_world();
    let id = world.connect("/ws");
    let mut payload = vec![0; 100_000];
    for last in 1..4 {
        payload[99_999] = last;
        assert!(world.land(id, &frame(0x82, &payload)) > 50_000);
        let told = world.flush(&[]);
        assert!(told[0].1.ends_with(&payload) && told[0].1.len() == 100_010);
    }
    let forget_at = world.now + seconds(1);
    assert_eq!(world.hub.next_deadline(), Some(forget_at));
    world.hub.advance(forget_at);
    assert!(world.hub.next_deadline() > Some(forget_at));
}

#[test]
fn what_is_read_after_our_close_is_not_delivered_wherever_it_belongs() {
    let mut world = large_world();
    let [closed, left] = ["/ws", "/ws"].map(|path| world.connect(path));
    let bytes = frame(0x82, &vec![0; 60_000]);
    for id in [closed, left] {
        world.receive(id, &bytes[..20_000]);
        let landing = world.hub.landing(id).expect("the rest is long");
        landing[..10_000].copy_from_slice(&bytes[20_000..30_000]);
    }
    let now = world.now;
    world
        .hub
        .outbox(now)
        .close(closed, CloseCode::NORMAL, "enough");
    world.hub.hang_up(left, Disconnect::Reset);
    for id in [closed, left] {
        world.hub.landed(id, 10_000, now, &mut world.handler);
    }
    world.receive(closed, &bytes[30_000..]);
    assert_eq!(world.hub.metrics().messages_received, 0);
    assert_eq!(world.flush(&[]).len(), 1, "the Close, and nothing else");
}

#[test]
fn buffers_for_single_clients_are_kept_up_to_a_bound() {
    let mut world = World::new(|_| ());
    let ids: Vec<_> = (0..2 * MAX_SPARES).map(|_| world.connect("/ws")).collect();
    let now = world.now;
    for id in &ids {
        assert!(
            world
                .hub
                .outbox(now)
                .send(*id, MessageKind::Text, "for you")
        );
    }
    world.flush(&[]);
    assert_eq!(world.hub.spares.len(), MAX_SPARES);
    for id in ids {
        assert!(world.hub.outbox(now).send(id, MessageKind::Text, "again"));
    }
    assert_eq!(world.hub.spares.len(), 0);
}
