//! The hub as a driver sees it, without sockets.

use std::time::{Duration, Instant};

use super::*;
use crate::protocol::http::Request;
use crate::protocol::{Message, Opcode, Payload, ProtocolError, unmask};

const KEY: [u8; 4] = [1, 2, 3, 4];

/// A hub, a clock that stands still until it is moved, and transports that take everything.
struct World {
    hub: Hub,
    now: Instant,
    handler: Recorder,
}

/// Broadcasts, and remembers who came and went.
#[derive(Default)]
struct Recorder {
    no_echo: bool,
    /// Said by the server to each newcomer.
    greeting: Option<&'static str>,
    /// Bytes said by the server to each newcomer.
    history: usize,
    /// Said to the room when somebody leaves.
    farewell: Option<&'static str>,
    gone: Vec<(ClientId, Disconnect)>,
}

impl Handler for Recorder {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, id: ClientId, _: &Request<'_>) {
        if self.history > 0 {
            let history = vec![b'x'; self.history];
            assert!(!outbox.send(id, MessageKind::Text, &history), "too long");
        }
        if let Some(greeting) = self.greeting {
            assert!(outbox.send(id, MessageKind::Text, greeting.as_bytes()));
        }
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: Message<'_>) {
        match message.as_text() {
            Some("whisper") => {
                outbox.send(id, MessageKind::Text, b"psst");
            }
            Some("leave") => outbox.close(id, CloseCode::NORMAL, "as you wish"),
            _ => Broadcast::new(!self.no_echo).on_message(outbox, id, message),
        }
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, id: ClientId, why: &Disconnect) {
        self.gone.push((id, *why));
        if let (Some(farewell), Some(room)) = (self.farewell, outbox.room(id)) {
            assert!(!outbox.members(room).contains(&id));
            outbox.broadcast(room, MessageKind::Text, farewell.as_bytes());
        }
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, 0x80];
    match payload.len() as u64 {
        len @ 0..=125 => bytes[1] |= u8::try_from(len).unwrap(),
        len => {
            if let Ok(len) = u16::try_from(len) {
                bytes[1] |= 0x7E;
                bytes.extend_from_slice(&len.to_be_bytes());
            } else {
                bytes[1] |= 0x7F;
                bytes.extend_from_slice(&len.to_be_bytes());
            }
        }
    }
    bytes.extend_from_slice(&KEY);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    unmask(&mut bytes[start..], KEY, 0);
    bytes
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

/// A frame as the server sends it.
fn told(first: u8, payload: &str) -> String {
    format!("[{first:x}:{payload}]")
}

/// Unmasked frames, readably.
fn readable(mut bytes: &[u8]) -> String {
    let mut frames = String::new();
    while let [first, len, rest @ ..] = bytes {
        let (len, rest) = match len {
            126 => (
                usize::from(u16::from_be_bytes([rest[0], rest[1]])),
                &rest[2..],
            ),
            len => (usize::from(*len), rest),
        };
        let payload = &rest[..len];
        match Opcode::from_wire(first & 0xF) {
            Some(Opcode::Close) if len >= 2 => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                frames.push_str(&told(*first, &code.to_string()));
            }
            _ => frames.push_str(&told(*first, &String::from_utf8_lossy(payload))),
        }
        bytes = &rest[len..];
    }
    frames
}

impl World {
    fn new(change: impl FnOnce(&mut HubConfig)) -> Self {
        let mut config = HubConfig::default();
        change(&mut config);
        let now = test_clock();
        Self {
            hub: Hub::new(config, now),
            now,
            handler: Recorder::default(),
        }
    }

    fn receive(&mut self, id: ClientId, bytes: &[u8]) {
        self.hub
            .receive(id, &mut bytes.to_vec(), self.now, &mut self.handler);
    }

    /// The same, read where it belongs as far as that can be: returns how much of it was.
    fn land(&mut self, id: ClientId, mut bytes: &[u8]) -> usize {
        let mut landed = 0;
        while !bytes.is_empty() {
            let count = if let Some(landing) = self.hub.landing(id) {
                let count = landing.len().min(bytes.len());
                landing[..count].copy_from_slice(&bytes[..count]);
                self.hub.landed(id, count, self.now, &mut self.handler);
                landed += count;
                count
            } else {
                let count = bytes.len().min(1000);
                self.receive(id, &bytes[..count]);
                count
            };
            bytes = &bytes[count..];
        }
        landed
    }

    fn accept(&mut self) -> ClientId {
        self.hub.accept(Peer::Unix, self.now).unwrap()
    }

    fn request(&mut self, id: ClientId, path: &str) {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.receive(id, head.as_bytes());
    }

    /// A client that is open and has read its 101.
    fn connect(&mut self, path: &str) -> ClientId {
        let id = self.accept();
        self.request(id, path);
        assert!(self.hub.is_open(id));
        self.flush(&[]);
        id
    }

    /// Ends a turn: everybody but `stuck` takes all. Returns what each of them got.
    fn flush(&mut self, stuck: &[ClientId]) -> Vec<(ClientId, Vec<u8>)> {
        let (mut got, mut ids) = (Vec::new(), Vec::new());
        self.hub.take_dirty(&mut ids, self.now);
        for id in ids {
            let Some(outgoing) = self.hub.outgoing(id) else {
                continue;
            };
            let is_stuck = stuck.contains(&id);
            let bytes = outgoing.pieces().collect::<Vec<_>>().concat();
            let written = if is_stuck { 0 } else { bytes.len() };
            outgoing.advance(written);
            let _ = self.hub.flushed(id, written, is_stuck, self.now);
            if !is_stuck {
                got.push((id, bytes));
            }
        }
        got
    }

    /// What one client gets at the end of the turn, as readable frames.
    fn heard(&mut self, id: ClientId) -> String {
        let got = self.flush(&[]);
        got.iter()
            .filter(|(who, _)| *who == id)
            .map(|(_, bytes)| readable(bytes))
            .collect()
    }

    /// The first line of what a client gets.
    fn status(&mut self, id: ClientId) -> String {
        let got = self.flush(&[]);
        let bytes = got
            .into_iter()
            .find(|(who, _)| *who == id)
            .map(|(_, bytes)| bytes);
        let text = String::from_utf8(bytes.unwrap_or_default()).unwrap();
        text.lines().next().unwrap_or_default().to_owned()
    }

    fn reap(&mut self) -> Vec<(ClientId, Disconnect)> {
        let (hub, handler, now) = (&mut self.hub, &mut self.handler, self.now);
        std::iter::from_fn(|| hub.reap(handler, now))
            .map(|gone| (gone.id, gone.why))
            .collect()
    }

    /// Lets time pass as a driver does, from deadline to deadline.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(deadline) = self.hub.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.hub.advance(self.now);
        }
        self.now = end;
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

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
    world.hub.drain(world.now);
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
fn one_too_many_is_told_so_and_then_nobody_is() {
    let mut world = World::new(|config| config.max_connections = 2);
    let first = world.connect("/ws");
    world.connect("/ws");
    let surplus = world.accept();
    world.request(surplus, "/ws");
    assert_eq!(world.status(surplus), "HTTP/1.1 503 Service Unavailable");
    let healthy = world.accept();
    world.receive(healthy, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(world.status(healthy), "HTTP/1.1 200 OK");
    for _ in 2..MAX_SURPLUS {
        world.accept();
    }
    assert_eq!(world.hub.accept(Peer::Unix, world.now), Err(Refusal::Full));
    // Room for one again.
    world.hub.hang_up(first, Disconnect::Gone);
    world.pass(seconds(11));
    assert!(world.reap().len() > MAX_SURPLUS);
    world.connect("/ws");
}

#[test]
fn rooms_are_bounded_and_go_with_their_last_member() {
    let mut world = World::new(|config| config.max_rooms = 2);
    let [a, b] = [world.connect("/ws/a"), world.connect("/ws/b")];
    world.connect("/ws/b");
    let third = world.accept();
    world.request(third, "/ws/c");
    assert_eq!(world.status(third), "HTTP/1.1 503 Service Unavailable");
    world.hub.hang_up(b, Disconnect::Gone);
    world.reap();
    assert_eq!(world.hub.room_count(), 2);
    world.hub.hang_up(a, Disconnect::Reset);
    world.reap();
    assert_eq!(world.hub.room_count(), 1);
    world.connect("/ws/c");
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
fn the_hub_knows_who_is_there() {
    let mut world = World::new(|config| config.max_connections = 3);
    assert_eq!(world.hub.config().max_connections, 3);
    assert!(world.hub.is_empty());
    let [a, b] = [world.connect("/ws/a"), world.connect("/ws")];
    assert_eq!((world.hub.len(), world.hub.is_empty()), (2, false));
    assert_eq!(world.hub.room_name_of(a), Some("a"));
    assert_eq!(world.hub.room_name_of(b), Some(""));
    let outbox = world.hub.outbox(world.now);
    assert_eq!(outbox.now(), world.now);
    let room = outbox.find_room("a").unwrap();
    assert_eq!(outbox.room(a), Some(room));
    assert_eq!(outbox.room_name(room), Some("a"));
    assert_eq!(outbox.members(room), [a]);
    assert_eq!(outbox.find_room("nobody"), None);
    assert_eq!(world.hub.metrics().connections_accepted, 2);
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
fn a_departure_tells_what_there_was() {
    let mut world = World::new(|_| {});
    let id = world.connect("/ws/a%20b");
    world.receive(id, &text("hello"));
    world.flush(&[]);
    world.pass(seconds(3));
    world.hub.hang_up(id, Disconnect::Gone);
    let departure = world.hub.reap(&mut world.handler, world.now).unwrap();
    assert_eq!(departure.room.as_deref(), Some("a b"));
    assert_eq!(
        (departure.age, departure.why),
        (seconds(3), Disconnect::Gone)
    );
    let Traffic {
        messages_received,
        messages_sent,
        bytes_received,
        bytes_sent,
    } = departure.traffic;
    assert_eq!((messages_received, messages_sent), (1, 1));
    assert!(bytes_received > 100 && bytes_sent > 100 && departure.peak_backlog > 100);
    let metrics = world.hub.metrics();
    assert_eq!(
        (metrics.messages_received, metrics.bytes_sent),
        (1, bytes_sent)
    );
    assert_eq!(metrics.departures(Disconnect::Gone), 1);
    assert_eq!(metrics.departures(Disconnect::Reset), 0);
    assert_eq!(metrics.bytes_received, bytes_received);
    assert_eq!(metrics.handshakes_completed, 1);
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
fn only_what_is_heard_is_counted() {
    let mut world = World::new(|_| {});
    world.handler.no_echo = true;
    let [a, b] = [world.connect("/ws"), world.connect("/ws")];
    world.receive(a, &text("for b"));
    world.receive(b, &[text("for a"), frame(0x88, b"")].concat());
    world.receive(a, &text("for nobody"));
    let newcomer = world.accept();
    world.request(newcomer, "/ws");
    world.receive(a, &text("for the newcomer"));
    world.flush(&[]);
    for id in [a, b, newcomer] {
        world.hub.hang_up(id, Disconnect::Gone);
    }
    let (hub, handler, now) = (&mut world.hub, &mut world.handler, world.now);
    let sent: Vec<u64> = std::iter::from_fn(|| hub.reap(handler, now))
        .map(|departure| departure.traffic.messages_sent)
        .collect();
    assert_eq!(
        (sent, world.hub.metrics().messages_sent),
        (vec![1, 1, 1], 3)
    );
}

#[test]
fn what_is_heard_before_a_close_is_counted_once() {
    let mut world = World::new(|_| {});
    let [a, b] = [world.connect("/ws"), world.connect("/ws")];
    world.receive(b, &text("1"));
    world.receive(a, &text("leave"));
    world.receive(b, &text("2"));
    world.receive(a, &frame(0x88, b"\x03\xe8"));
    assert_eq!(world.heard(a), "[81:1][88:1000]");
    assert_eq!(world.hub.metrics().messages_sent, 1 + 2);
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

#[test]
fn the_first_client_after_a_long_night_turns_no_wheel() {
    let mut world = World::new(|_| {});
    world.now += seconds(10 * 60 * 60);
    let id = world.accept();
    assert_eq!(world.hub.next_deadline(), Some(world.now + seconds(5)));
    world.hub.hang_up(id, Disconnect::Gone);
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

#[test]
fn who_is_given_up_first_is_reaped_first() {
    let mut world = World::new(|_| {});
    let [first, second] = [world.accept(), world.accept()];
    world.hub.hang_up(second, Disconnect::Gone);
    world.hub.hang_up(first, Disconnect::Reset);
    let gone = [(second, Disconnect::Gone), (first, Disconnect::Reset)];
    assert_eq!(world.reap(), gone);
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

/// A world in which messages may be of 100,000 bytes.
fn large_world() -> World {
    World::new(|config| config.limits.max_message_size = 100_000)
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
