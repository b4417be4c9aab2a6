//! Who hears whom, and in what order.

use std::sync::mpsc::channel;

use fanfare::server::PublishError;
use fanfare::{
    Broadcast, ClientId, Disconnect, Handler, Message, MessageKind, Outbox, Request, Server,
};

use crate::peer::{BINARY, CLOSE, PING, PONG, Peer, TEXT, frame, upgrade};
use crate::running::{LONG, Running, config, tcp_address};

#[test]
fn rooms_do_not_hear_each_other() {
    let server = Running::start(|_| {});
    let mut root = server.open("/ws?query=1");
    let mut plain = server.open("/ws/caf%C3%A9%20a/b");
    let mut same = server.open("/ws/%63af%c3%a9%20%61%2Fb?x");
    let mut other = server.open("/ws/caf%C3%A9");
    plain.send_text("hi");
    plain.expect_text("hi");
    same.expect_text("hi");
    same.send_text("members?");
    same.expect_text("2");
    // An echo of their own is the first that the others hear.
    root.check_echo();
    other.check_echo();
    drop((root, plain, same, other));
    let metrics = server.check_ends_empty();
    assert_eq!(metrics.messages_received, 4);
}

#[test]
fn all_hear_all_senders_in_the_same_order() {
    const SENDERS: u8 = 4;
    const MESSAGES: u8 = 200;

    fn hear(peer: &mut Peer) -> Vec<Vec<u8>> {
        let count = usize::from(SENDERS) * usize::from(MESSAGES);
        (0..count).map(|_| peer.read_frame().payload).collect()
    }

    let server = Running::start(|_| {});
    let mut silent = server.open("/ws");
    let (opened, all_opened) = channel();
    let (heard, all_heard) = channel();
    let address = server.address();
    let mut starts = Vec::new();
    for sender in 0..SENDERS {
        let (opened, heard) = (opened.clone(), heard.clone());
        let (start, started) = channel();
        starts.push(start);
        std::thread::spawn(move || {
            let mut peer = Peer::open(address, "/ws");
            opened.send(()).expect("it is waited for");
            started.recv().expect("they start together");
            for i in 0..MESSAGES {
                peer.send_frame(BINARY, [sender, i]);
            }
            heard.send(hear(&mut peer)).expect("it is waited for");
        });
    }
    drop((opened, heard));
    for _ in 0..SENDERS {
        all_opened.recv().expect("everybody gets in");
    }
    for start in starts {
        start.send(()).expect("it waits");
    }
    let order = hear(&mut silent);
    assert!(all_heard.iter().all(|other| other == order));
    for sender in 0..SENDERS {
        let own = order.iter().filter(|said| said[0] == sender);
        assert!(own.map(|said| said[1]).eq(0..MESSAGES));
    }
}

#[test]
fn kinds_and_fragments_arrive_as_whole_messages() {
    let server = Running::start(|_| {});
    let mut other = server.open("/ws");
    let mut peer = server.open("/ws");
    let fragments = [
        frame(0x01, "¡a".as_bytes()),
        frame(PING, b"between"),
        frame(0x00, &"é".as_bytes()[..1]),
        frame(0x80, &"é".as_bytes()[1..]),
        frame(BINARY, b"\xFF\x00"),
        frame(TEXT, b""),
    ];
    peer.send(fragments.concat());
    peer.expect_frame(PONG, b"between");
    for hears in [&mut peer, &mut other] {
        hears.expect_text("¡aé");
        hears.expect_frame(BINARY, b"\xFF\x00");
        hears.expect_text("");
    }
}

#[test]
fn without_echo_the_sender_hears_the_others_only() {
    let (_, no_events) = channel();
    let server = Running::start_with(config(), Broadcast::new(false), no_events);
    let mut a = server.open("/ws");
    let mut b = server.open("/ws");
    a.send([frame(TEXT, b"from a"), frame(PING, b"1")].concat());
    b.expect_text("from a");
    a.expect_frame(PONG, b"1");
    b.send_text("from b");
    a.expect_text("from b");
    b.send_frame(PING, b"2");
    b.expect_frame(PONG, b"2");
    drop((a, b));
    server.check_ends_empty();
}

#[test]
fn what_another_thread_publishes_is_heard_in_its_room() {
    let server = Running::start(|_| {});
    let mut root = server.open("/ws");
    let mut member = server.open("/ws/r%C3%A4ume");
    let publish = |room, kind, payload: &[u8]| server.handle.publish(room, kind, payload.to_vec());
    for i in 0..50_u8 {
        assert_eq!(publish("räume", MessageKind::Binary, &[i]), Ok(()));
    }
    assert_eq!(publish("nobody's", MessageKind::Text, b"?"), Ok(()));
    assert_eq!(publish("", MessageKind::Text, "wörd".as_bytes()), Ok(()));
    root.expect_text("wörd");
    for i in 0..50_u8 {
        member.expect_frame(BINARY, [i]);
    }
    // Both sides of what may be published.
    let big = vec![b'x'; LONG + 1];
    let too_big = Err(PublishError::TooBig);
    assert_eq!(publish("", MessageKind::Binary, &big), too_big);
    assert_eq!(publish("", MessageKind::Binary, &big[1..]), Ok(()));
    let invalid = Err(PublishError::InvalidUtf8);
    assert_eq!(publish("", MessageKind::Text, b"\xFF"), invalid);
    assert_eq!(publish("", MessageKind::Binary, b"\xFF"), Ok(()));
    root.expect_frame(BINARY, &big[1..]);
    root.expect_frame(BINARY, b"\xFF");
    member.check_echo();
    drop((root, member));
    server.check_ends_empty();
}

#[test]
fn publishing_never_blocks_and_says_when_it_is_in_vain() {
    let mut server = Server::bind(config()).expect("the server can listen");
    let handle = server.handle();
    let publish = |text: String| handle.publish("", MessageKind::Text, text.into());
    // Nobody turns the loop.
    for i in 0..1024 {
        assert_eq!(publish(i.to_string()), Ok(()), "{i}");
    }
    assert_eq!(publish("one more".to_owned()), Err(PublishError::Full));
    // What waits is said once it runs, and there is room again.
    let mut client = Peer::connect(tcp_address(&server.local_addresses()[0]));
    client.send(upgrade("/ws"));
    let mut handler = Broadcast::new(true);
    for _ in 0..20 {
        if publish("probe".to_owned()) == Ok(()) {
            break;
        }
        server.turn(&mut handler).expect("the loop turns");
    }
    assert_eq!(publish("room".to_owned()), Ok(()));
    drop(server);
    assert_eq!(publish("late".to_owned()), Err(PublishError::Stopped));
}

/// Greets who comes, and tells the others who left.
#[derive(Default)]
struct Greeter {
    opened: usize,
    said: usize,
}

impl Handler for Greeter {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, id: ClientId, request: &Request<'_>) {
        self.opened += 1;
        let room = outbox.room(id).expect("it has just come in");
        let name = request.query().unwrap_or_default();
        outbox.send(id, MessageKind::Text, format!("hello {name}").as_bytes());
        let news = format!("{name} came");
        outbox.broadcast_except(room, id, MessageKind::Text, news.as_bytes());
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: Message<'_>) {
        self.said += 1;
        Broadcast::new(true).on_message(outbox, id, message);
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, id: ClientId, why: &Disconnect) {
        let room = outbox.room(id).expect("its last room is remembered");
        let members = outbox.members(room).len();
        let news = format!("one left, {members} stay: {}", why.label());
        outbox.broadcast(room, MessageKind::Text, news.as_bytes());
    }
}

/// The loop is turned by hand, so that one turn can be given two events.
#[test]
fn a_newcomer_is_greeted_first_and_hears_nothing_from_before_its_time() {
    let mut server = Server::bind(config()).expect("the server can listen");
    let address = tcp_address(&server.local_addresses()[0]);
    let mut handler = Greeter::default();
    let mut member = Peer::connect(address);
    member.send(upgrade("/ws?member"));
    turn_until(&mut server, &mut handler, [1, 1, 0]);
    let mut newcomer = Peer::connect(address);
    turn_until(&mut server, &mut handler, [1, 2, 0]);
    // A new socket is writable, which is an event: without it the newcomer would be read first.
    server.turn(&mut handler).expect("the loop turns");
    // Both are in the kernel before the next turn looks.
    member.send_text("earlier");
    newcomer.send([upgrade("/ws?newcomer").as_bytes(), &frame(TEXT, b"later")].concat());
    turn_until(&mut server, &mut handler, [2, 2, 2]);
    newcomer.expect_upgrade();
    newcomer.expect_text("hello newcomer");
    newcomer.expect_text("later");
    member.expect_upgrade();
    for said in ["hello member", "earlier", "newcomer came", "later"] {
        member.expect_text(said);
    }
    // What is said while one is removed reaches those who stay.
    newcomer.send_frame(CLOSE, b"");
    newcomer.half_close();
    turn_until(&mut server, &mut handler, [2, 1, 2]);
    newcomer.expect_close(1000);
    newcomer.expect_end();
    member.send_text("alone");
    turn_until(&mut server, &mut handler, [2, 1, 3]);
    member.expect_text("one left, 1 stay: closed");
    member.expect_text("alone");
}

/// Turns the loop until so many have opened, so many are connected, and so much has been said.
fn turn_until(server: &mut Server, greeter: &mut Greeter, counts: [usize; 3]) {
    for _ in 0..20 {
        if [greeter.opened, server.hub().len(), greeter.said] == counts {
            return;
        }
        server.turn(greeter).expect("the loop turns");
    }
    panic!("{counts:?} opened, connected and said were to come");
}
