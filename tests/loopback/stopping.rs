//! A graceful stop: everybody is told, behind what was queued, and waited for.

use std::net::TcpStream;
use std::time::Duration;

use fanfare::server::PublishError;
use fanfare::{Broadcast, Disconnect, MessageKind, Outcome, Server};

use crate::peer::{CLOSE, DEADLINE, Peer, TEXT, close_payload, frame, upgrade};
use crate::running::{Event, Running, config, read_flood, tcp_address};

#[test]
fn everybody_is_told_and_waited_for() {
    let server = Running::start(|_| {});
    let address = server.address();
    let mut peers: Vec<_> = ["/ws", "/ws", "/ws/a", "/ws/b"]
        .map(|path| server.open(path))
        .into();
    peers[0].check_echo();
    peers[1].expect_text("are you there?");
    server.handle.stop();
    server.handle.stop();
    for peer in &mut peers {
        assert_eq!(peer.expect_close(1001), "");
    }
    // The listener is closed; who is there may still answer.
    assert!(TcpStream::connect_timeout(&address, DEADLINE).is_err());
    for peer in &mut peers {
        peer.send(
            [
                frame(TEXT, b"too late"),
                frame(CLOSE, &close_payload(1001, "")),
            ]
            .concat(),
        );
        peer.expect_end();
    }
    drop(peers);
    let metrics = server.check_ends_empty();
    let ended = Disconnect::Ended(fanfare::CloseCode::GOING_AWAY);
    assert_eq!(metrics.departures(ended), 4);
}

#[test]
fn what_was_queued_comes_before_the_last_word() {
    let server = Running::start(|config| config.hub.max_client_buffer = 16 << 20);
    let mut peer = server.open_flooded();
    server.handle.stop();
    read_flood(&mut peer);
    peer.expect_close(1001);
    peer.send_frame(CLOSE, close_payload(1001, ""));
    peer.expect_end();
    drop(peer);
    server.check_ends_empty();
}

/// A farewell, published by whoever stops the server. The loop is turned by hand, so that it finds
/// the messages and the wish to stop at once.
#[test]
fn what_was_published_before_the_stop_is_heard() {
    let mut config = config();
    config.hub.close_timeout = Duration::from_millis(100);
    let mut server = Server::bind(config).expect("the server can listen");
    let mut handler = Broadcast::new(true);
    let mut peer = Peer::connect(tcp_address(&server.local_addresses()[0]));
    peer.send(upgrade("/ws"));
    for _ in 0..20 {
        if server.hub().metrics().handshakes_completed == 0 {
            server.turn(&mut handler).expect("the loop turns");
        }
    }
    let handle = server.handle();
    for i in 0..1000 {
        let farewell = format!("{i}: back in a minute").into_bytes();
        assert_eq!(handle.publish("", MessageKind::Text, farewell), Ok(()));
    }
    handle.stop();
    let outcome = server.run(&mut handler).expect("the loop turns");
    assert_eq!(outcome, Outcome::Drained);
    peer.expect_upgrade();
    for i in 0..1000 {
        peer.expect_text(&format!("{i}: back in a minute"));
    }
    peer.expect_close(1001);
}

#[test]
fn without_clients_the_end_comes_at_once() {
    let server = Running::start(|_| {});
    let handle = server.handle.clone();
    server.check_ends_empty();
    // The loop's thread drops the server when it has told of the end.
    for _ in 0..1_000_000 {
        let published = handle.publish("", MessageKind::Text, b"hello?".to_vec());
        if published == Err(PublishError::Stopped) {
            return handle.stop();
        }
        std::thread::yield_now();
    }
    panic!("the handle does not know that the server is no more");
}

#[test]
fn who_never_answers_is_gone_by_close_timeout() {
    let server = Running::start(|config| {
        config.hub.close_timeout = Duration::from_millis(200);
    });
    let mut peer = server.open("/ws");
    server.handle.stop();
    peer.expect_close(1001);
    let going_away = Disconnect::Ended(fanfare::CloseCode::GOING_AWAY);
    assert_eq!(server.event(), Event::Opened);
    assert_eq!(server.event(), Event::Left(going_away, 0));
    server.check_ends_empty();
}

#[test]
fn who_never_answers_does_not_hold_up_the_end_beyond_shutdown_timeout() {
    let server = Running::start(|config| config.shutdown_timeout = Duration::from_millis(200));
    let mut peer = server.open("/ws");
    server.handle.stop();
    peer.expect_close(1001);
    let ended = server.end();
    assert_eq!((ended.outcome, ended.clients), (Outcome::TimedOut, 1));
    peer.read_to_any_end();
}
