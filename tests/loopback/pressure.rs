//! Clients that do not read, and clients that say too much.

use std::time::Duration;

use fanfare::{Broadcast, Disconnect, MessageKind, Outcome, Server};

use crate::peer::{BINARY, DEADLINE, PING, PONG, Peer, frame, upgrade};
use crate::running::{Event, FLOOD, LONG, Running, config, read_flood, tcp_address};

#[test]
fn who_does_not_read_is_dropped_and_the_others_hear_all() {
    let server = Running::start(|config| {
        config.hub.max_client_buffer = config.hub.min_client_buffer();
        config.hub.close_timeout = Duration::from_millis(100);
    });
    let mut slow = server.open("/ws");
    let mut sender = server.open("/ws");
    let mut other = server.open("/ws");
    let mut left = None;
    let mut said = 0;
    while left.is_none() {
        assert!(said < 2000, "nobody buffers so much");
        let message = vec![u8::try_from(said % 251).expect("it is less"); LONG];
        sender.send_frame(BINARY, &message);
        sender.expect_frame(BINARY, &message);
        other.expect_frame(BINARY, &message);
        said += 1;
        left = server
            .events()
            .try_iter()
            .find(|event| matches!(event, Event::Left(..)));
        if said > FLOOD && left.is_none() {
            // The kernel takes no more by now; what is missing is the close timeout.
            left = server.events().recv_timeout(DEADLINE).ok();
            left = left.filter(|event| matches!(event, Event::Left(..)));
        }
    }
    assert_eq!(left, Some(Event::Left(Disconnect::TooSlow, 2)));
    // It gets what the kernel had taken, and then the connection ends.
    let rest = slow.read_to_any_end();
    assert!(rest.len() < said * LONG, "{} bytes", rest.len());
    sender.check_echo();
    other.expect_text("are you there?");
    drop((slow, sender, other));
    server.check_serves();
    let metrics = server.check_ends_empty();
    assert_eq!(metrics.departures(Disconnect::TooSlow), 1);
}

#[test]
fn who_is_owed_too_much_at_once_is_dropped() {
    let server = Running::start(|config| {
        config.hub.close_timeout = Duration::from_millis(100);
    });
    let mut peer = server.open("/ws");
    peer.send_text("flood me");
    // Not a byte of it had been written, so there is a frame's end to say so behind.
    assert_eq!(peer.expect_close(1013), "too slow");
    peer.expect_end();
    assert_eq!(server.left(), (Disconnect::TooSlow, 0));
    server.check_serves();
    server.check_ends_empty();
}

#[test]
fn who_keeps_a_backlog_within_bounds_gets_it_all() {
    let server = Running::start(|config| config.hub.max_client_buffer = 16 << 20);
    let mut peer = server.open_flooded();
    server.check_serves();
    read_flood(&mut peer);
    peer.check_echo();
    drop(peer);
    server.check_ends_empty();
}

/// RFC 6455, section 5.5.3: the latest Ping alone may be answered. Answers to all would be memory
/// that a client can make grow.
#[test]
fn pings_of_who_does_not_read_cost_one_pong() {
    const PINGS: u32 = 20_000;
    const AT_ONCE: usize = 256;

    let server = Running::start(|config| config.hub.max_client_buffer = 16 << 20);
    let mut peer = server.open_flooded();
    let pings: Vec<u32> = (0..PINGS).collect();
    for (round, some) in pings.chunks(AT_ONCE).enumerate() {
        let bytes = some.iter().flat_map(|i| frame(PING, &i.to_be_bytes()));
        peer.send(bytes.collect::<Vec<u8>>());
        // The next ones come when these have been read.
        let mark = format!("round {round}");
        peer.send_text(&mark);
        server.heard(&mark);
    }
    read_flood(&mut peer);
    let mut answered = Vec::new();
    let mut marks = 0;
    while marks < pings.len().div_ceil(AT_ONCE) || answered.last() != Some(&(PINGS - 1)) {
        let frame = peer.read_frame();
        if frame.first == PONG {
            let payload = frame.payload.try_into().expect("a number");
            answered.push(u32::from_be_bytes(payload));
        } else {
            marks += 1;
        }
    }
    // The kernel may have taken a little more in between, if it found some memory.
    assert!(answered.len() <= 2, "{} pongs", answered.len());
    peer.check_echo();
    drop(peer);
    assert_eq!(server.left(), (Disconnect::Gone, 0));
    server.check_ends_empty();
}

#[test]
fn output_that_makes_no_progress_is_given_up() {
    let server = Running::start(|config| {
        config.hub.max_client_buffer = 16 << 20;
        config.hub.write_timeout = Duration::from_millis(300);
        config.hub.close_timeout = Duration::from_millis(100);
    });
    let mut stuck = server.open("/ws");
    let mut other = server.open("/ws/other");
    stuck.send_text("flood me");
    assert_eq!(server.left(), (Disconnect::TooSlow, 0));
    other.check_echo();
    assert!(stuck.read_to_any_end().len() < FLOOD * LONG);
    drop((stuck, other));
    server.check_ends_empty();
}

/// More than a client may owe is published at once. Who reads it all is not slow: the loop has to
/// pause between what it takes over from other threads, as it does between what it reads.
#[test]
fn a_burst_of_publications_makes_nobody_slow() {
    const BURST: usize = 20;

    let mut server = Server::bind(config()).expect("the server can listen");
    assert!(BURST * LONG > server.hub().config().max_client_buffer);
    let mut handler = Broadcast::new(true);
    let mut peer = Peer::connect(tcp_address(&server.local_addresses()[0]));
    peer.send(upgrade("/ws"));
    for _ in 0..20 {
        if server.hub().metrics().handshakes_completed == 0 {
            server.turn(&mut handler).expect("the loop turns");
        }
    }
    peer.expect_upgrade();
    let handle = server.handle();
    let long = vec![b'x'; LONG];
    for _ in 0..BURST {
        let published = handle.publish("", MessageKind::Binary, long.clone());
        assert_eq!(published, Ok(()));
    }
    let reader = std::thread::spawn(move || {
        // However it goes, the server has to be stopped for the test to end.
        let heard = (0..BURST).take_while(|_| {
            let frame = peer.try_read_frame();
            frame.is_ok_and(|frame| frame.first == BINARY && frame.payload == long)
        });
        let heard = heard.count();
        handle.stop();
        assert_eq!(heard, BURST, "messages were heard");
        peer.expect_close(1001);
    });
    let outcome = server.run(&mut handler).expect("the loop turns");
    assert_eq!(outcome, Outcome::Drained);
    reader.join().expect("the client gets everything");
}
