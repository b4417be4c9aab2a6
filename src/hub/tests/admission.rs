//! Who is let in, and with which rights.

use super::*;

/// A world whose handler lets in whoever comes, on these terms.
fn world(change: impl FnOnce(&mut Admission)) -> World {
    let mut world = large_world();
    change(&mut world.handler.admission);
    world
}

/// A world whose handler lets nobody in.
fn closed_world(reject_with: RejectWith, rejection: Rejection) -> World {
    let mut world = World::new(|config| {
        config.reject_with = reject_with;
        config.handshake.subprotocols = vec!["v2".to_owned(), "v1".to_owned()];
    });
    world.handler.greeting = Some("hello");
    world.handler.rejection = Some(rejection);
    world
}

impl World {
    /// The same as `request`, with more fields, each with its line end. Returns what is answered.
    fn ask(&mut self, id: ClientId, fields: &str) -> (String, String) {
        let head = format!(
            "GET /ws/a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {fields}\r\n"
        );
        self.receive(id, head.as_bytes());
        let got = self.flush(&[]).into_iter().filter(|(who, _)| *who == id);
        let bytes: Vec<u8> = got.flat_map(|(_, bytes)| bytes).collect();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, rest) = bytes.split_at(end.expect("a head") + 4);
        let head = String::from_utf8(head.to_vec()).unwrap();
        let is_upgrade = head.starts_with("HTTP/1.1 101 ");
        let rest = if is_upgrade {
            readable(rest)
        } else {
            String::from_utf8(rest.to_vec()).unwrap()
        };
        (head, rest)
    }
}

#[test]
fn the_handler_is_asked_once_with_the_decoded_room_and_only_about_proper_upgrades() {
    let mut world = World::new(|_| {});
    for path in ["/ws/news%2Fa%20b", "/ws"] {
        world.connect(path);
    }
    let id = world.accept();
    world.receive(id, b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n");
    let elsewhere = world.accept();
    world.request(elsewhere, "/elsewhere");
    let asked = [
        ("news/a b".to_owned(), Peer::Unix),
        (String::new(), Peer::Unix),
    ];
    assert_eq!(world.handler.asked, asked);
}

#[test]
fn who_may_only_listen_hears_and_is_closed_with_its_first_message() {
    let mut world = world(|admission| admission.may_publish = false);
    let listener = world.connect("/ws");
    world.handler.admission.may_publish = true;
    let speaker = world.connect("/ws");
    world.receive(speaker, &text("news"));
    assert_eq!(world.heard(listener), "[81:news]");
    // Control frames are no messages.
    world.receive(listener, &frame(0x89, b"ping"));
    assert_eq!(world.heard(listener), "[8a:ping]");
    world.receive(listener, &[text("mine"), text("and more")].concat());
    let got = world.flush(&[]);
    assert_eq!(got.len(), 1, "nobody else hears anything: {got:?}");
    let reason = "\u{3}\u{f0}publishing is not allowed here";
    assert_eq!(
        got[0],
        (
            listener,
            [&[0x88, 32], reason_bytes(reason).as_slice()].concat()
        )
    );
    assert_eq!(world.hub.metrics().messages_received, 1);
    world.hub.hang_up(listener, Disconnect::Gone);
    assert_eq!(world.reap(), [(listener, Disconnect::NotAllowed)]);
    assert_eq!(world.handler.gone, [(listener, Disconnect::NotAllowed)]);
    assert!(world.hub.is_open(speaker));
}

/// Characters below 256 as bytes.
fn reason_bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).unwrap()).collect()
}

#[test]
fn a_forbidden_message_is_refused_at_the_header_that_announces_it() {
    // Fragments, the beginning of a large message, a large one that could be read to where it
    // belongs, an empty one, and one that is too large as well.
    let beginning = &frame(0x82, &vec![0; 90_000])[..14];
    for bytes in [
        frame(0x01, b"a"),
        beginning.to_vec(),
        frame(0x82, &vec![0; 90_000]),
        frame(0x81, b""),
        frame(0x82, &vec![0; 100_001])[..14].to_vec(),
    ] {
        for cut in [1, 14, 1000, bytes.len()] {
            let mut world = world(|admission| admission.may_publish = false);
            let id = world.connect("/ws");
            for piece in bytes.chunks(cut) {
                assert_eq!(world.land(id, piece), 0, "nothing of it is assembled");
            }
            assert_eq!(world.heard(id), "[88:1008]");
            world.hub.hang_up(id, Disconnect::Gone);
            assert_eq!(world.reap(), [(id, Disconnect::NotAllowed)]);
        }
    }
}

#[test]
fn who_may_only_listen_breaks_the_protocol_like_everybody() {
    let mut world = world(|admission| admission.may_publish = false);
    let id = world.connect("/ws");
    world.receive(id, &frame(0x83, b""));
    assert_eq!(world.heard(id), "[88:1002]");
    // What was said before our Close was seen is dropped, and the client's Close is waited for: who
    // ends the connection instead is gone, and not waited for as one that failed would be.
    let id = world.connect("/ws");
    world.hub.drain(world.now, Duration::ZERO);
    world.receive(id, &text("late"));
    world.hub.hang_up(id, Disconnect::Gone);
    let ended = Disconnect::Ended(CloseCode::GOING_AWAY);
    assert_eq!(world.reap(), [(id, ended)]);
}

#[test]
fn an_admission_expires_however_lively_its_client_is() {
    let mut world = world(|admission| admission.valid_for = Some(seconds(60)));
    let id = world.connect("/ws");
    world.handler.admission.valid_for = None;
    let other = world.connect("/ws");
    for _ in 0..59 {
        world.pass(seconds(1));
        world.receive(id, &frame(0x8A, b""));
        world.receive(other, &frame(0x8A, b""));
    }
    world.pass(Duration::from_millis(999));
    assert_eq!(world.flush(&[]), [], "not early");
    world.pass(Duration::from_millis(51));
    assert_eq!(world.heard(id), "[88:1008]");
    world.receive(id, &text("too late"));
    assert_eq!(world.flush(&[]), []);
    world.receive(id, &frame(0x88, b"\x03\xf0"));
    world.hub.hang_up(id, Disconnect::Gone);
    assert_eq!(world.reap(), [(id, Disconnect::Expired)]);
    assert!(world.hub.is_open(other));
}

#[test]
fn an_expiry_holds_for_who_does_not_read_and_beside_other_deadlines() {
    let mut world = world(|admission| admission.valid_for = Some(seconds(28)));
    let id = world.connect("/ws");
    // It is pinged after 25 seconds at most, and has 10 to answer.
    world.pass(seconds(26));
    assert_eq!(world.heard(id), "[89:]");
    world.receive(id, &text("stuck"));
    world.flush(&[id]);
    world.pass(Duration::from_millis(2_100));
    world.hub.writable(id);
    assert_eq!(world.heard(id), "[81:stuck][88:1008]");
    // Whoever does not answer the Close is gone after the timeout.
    world.pass(Duration::from_millis(5_100));
    assert_eq!(world.reap(), [(id, Disconnect::Expired)]);
    assert_eq!(world.hub.next_deadline(), None);
}

#[test]
fn who_is_leaving_does_not_expire() {
    let mut world = world(|admission| admission.valid_for = Some(seconds(4)));
    let id = world.connect("/ws");
    world.pass(seconds(3));
    world.receive(id, &text("leave"));
    assert_eq!(world.heard(id), "[88:1000]");
    world.pass(seconds(3));
    assert_eq!((world.flush(&[]), world.reap()), (vec![], vec![]));
    assert_eq!(
        world.hub.next_deadline().map(|at| at > world.now),
        Some(true)
    );
    world.pass(seconds(3));
    assert_eq!(world.reap(), [(id, Disconnect::Ended(CloseCode::NORMAL))]);
}

#[test]
fn what_has_expired_at_once_and_what_never_does() {
    let mut world = world(|admission| admission.valid_for = Some(Duration::ZERO));
    let id = world.connect("/ws");
    world.pass(Duration::from_millis(100));
    assert_eq!(world.heard(id), "[88:1008]");
    world.handler.admission.valid_for = Some(Duration::MAX);
    let id = world.connect("/ws");
    world.pass(seconds(20));
    assert!(world.hub.is_open(id));
}

#[test]
fn a_subprotocol_of_the_admission_is_answered_if_it_was_offered() {
    let mut world = World::new(|config| config.handshake.subprotocols = vec!["v1".to_owned()]);
    world.handler.admission.subprotocol = Some("bearer".to_owned());
    for (offer, answer) in [
        ("", None),
        ("Sec-WebSocket-Protocol: v1\r\n", Some("v1")),
        ("Sec-WebSocket-Protocol: v1, bearer\r\n", Some("bearer")),
        ("Sec-WebSocket-Protocol: bearer\r\n", Some("bearer")),
        ("Sec-WebSocket-Protocol: Bearer\r\n", None),
    ] {
        let id = world.accept();
        let (head, _) = world.ask(id, offer);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let answered = head.split_once("Sec-WebSocket-Protocol: ");
        let answered = answered.and_then(|(_, rest)| rest.lines().next());
        assert_eq!(answered, answer, "{offer}");
    }
}

#[test]
fn a_rejection_has_its_status_and_says_what_rfc_6750_wants() {
    for (rejection, status, challenge) in [
        (Rejection::Unauthorized, "401 Unauthorized", "Bearer\r\n"),
        (
            Rejection::InvalidCredential,
            "401 Unauthorized",
            "Bearer error=\"invalid_token\"\r\n",
        ),
        (
            Rejection::Forbidden,
            "403 Forbidden",
            "Bearer error=\"insufficient_scope\"\r\n",
        ),
        (
            Rejection::SeveralCredentials,
            "400 Bad Request",
            "Bearer error=\"invalid_request\"\r\n",
        ),
    ] {
        let mut world = closed_world(RejectWith::Status, rejection);
        let id = world.accept();
        let (head, body) = world.ask(id, "");
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{head}"
        );
        assert!(
            head.contains(&format!("WWW-Authenticate: {challenge}")),
            "{head}"
        );
        let error = HandshakeError::from(rejection);
        assert_eq!(body, format!("{}\n", error.reason()));
        world.hub.hang_up(id, Disconnect::Gone);
        assert_eq!(world.reap(), [(id, Disconnect::Refused(error))]);
        assert_eq!(world.handler.gone, []);
        assert_eq!(world.hub.room_count(), 0);
    }
    // An origin is no credential.
    let mut world = closed_world(RejectWith::Status, Rejection::Forbidden);
    let id = world.accept();
    let (head, _) = world.ask(id, "Origin: https://b\r\n");
    assert!(
        head.starts_with("HTTP/1.1 403 ") && !head.contains("WWW-"),
        "{head}"
    );
}

#[test]
fn a_rejection_by_close_comes_behind_an_upgrade_that_joins_nothing() {
    let mut world = closed_world(RejectWith::Close, Rejection::Unauthorized);
    for (offer, answer) in [
        ("", ""),
        (
            "Sec-WebSocket-Protocol: v1, x\r\n",
            "Sec-WebSocket-Protocol: v1\r\n",
        ),
        (
            "Sec-WebSocket-Protocol: x, y\r\n",
            "Sec-WebSocket-Protocol: x\r\n",
        ),
        (
            "Sec-WebSocket-Protocol: x\u{e9}, ,y\r\n",
            "Sec-WebSocket-Protocol: y\r\n",
        ),
    ] {
        let id = world.accept();
        let (head, frames) = world.ask(id, offer);
        assert!(
            head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
            "{head}"
        );
        assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(head.ends_with(&format!("xOo=\r\n{answer}\r\n")), "{head}");
        assert_eq!(frames, "[88:1008]");
        assert!(!world.hub.is_open(id) && world.hub.room_count() == 0);
        // It lingers: what it still says is thrown away.
        world.receive(id, &[text("hello?"), frame(0x88, b"\x03\xf0")].concat());
        assert_eq!((world.flush(&[]), world.reap()), (vec![], vec![]));
        world.hub.hang_up(id, Disconnect::Gone);
        let why = Disconnect::Refused(HandshakeError::Unauthorized);
        assert_eq!(world.reap(), [(id, why)]);
    }
    assert_eq!(world.handler.gone, [], "it never came");
    assert_eq!(world.hub.metrics().handshakes_completed, 0);
    // Who does not end the connection is gone in time.
    let id = world.accept();
    world.ask(id, "");
    world.pass(Duration::from_millis(5_100));
    assert_eq!(world.reap().len(), 1);
}

#[test]
fn what_is_no_proper_upgrade_is_refused_by_its_status_in_any_case() {
    let mut world = closed_world(RejectWith::Close, Rejection::Unauthorized);
    let id = world.accept();
    let (head, _) = world.ask(id, "Origin: https://b\r\n");
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert_eq!(world.handler.asked, []);
}
