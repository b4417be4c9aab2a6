//! Other settings for a server that is turned by hand.

use std::time::Duration;

use fanfare::server::PublishError;
use fanfare::{
    Broadcast, HubConfigError, ListenAddress, MessageKind, Outcome, Server, ServerConfig,
};

use crate::peer::{Peer, upgrade};
use crate::running::{config, tcp_address};

/// A server, and a client of it that is open.
fn served(config: ServerConfig) -> (Server, Peer) {
    let mut server = Server::bind(config).expect("the server can listen");
    let mut peer = Peer::connect(tcp_address(&server.local_addresses()[0]));
    peer.send(upgrade("/ws"));
    for _ in 0..20 {
        if server.hub().metrics().handshakes_completed == 0 {
            server
                .turn(&mut Broadcast::new(true))
                .expect("the loop turns");
        }
    }
    peer.expect_upgrade();
    (server, peer)
}

fn text(len: usize) -> Vec<u8> {
    vec![b'x'; len]
}

/// Handles that are there follow the limit, and what was taken before it was lowered is not said:
/// nobody could be blamed for being too slow for it.
#[test]
fn handles_follow_the_limit_of_messages() {
    let (mut server, mut peer) = served(config());
    let handle = server.handle();
    let publish = |len| handle.publish("", MessageKind::Text, text(len));
    assert_eq!(publish(60_000), Ok(()));
    assert_eq!(publish(100), Ok(()));
    let mut new = config();
    new.shutdown_timeout = Duration::from_millis(100);
    new.hub.limits.max_message_size = 100;
    let changes = server.reconfigure(new.clone()).expect("it holds");
    let shown: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "max_message_size=65536..100",
            "shutdown_timeout=120s..100ms"
        ]
    );
    assert_eq!(publish(101), Err(PublishError::TooBig));
    new.hub.limits.max_message_size = 101;
    server.reconfigure(new).expect("it holds");
    assert_eq!(publish(101), Ok(()));
    handle.stop();
    let outcome = server.run(&mut Broadcast::new(true));
    // The client answers nothing.
    drop(server);
    for len in [100, 101] {
        peer.expect_text(&String::from_utf8(text(len)).expect("it is ASCII"));
    }
    peer.expect_close(1001);
    assert_eq!(outcome.expect("the loop turns"), Outcome::TimedOut);
}

#[test]
fn a_contradiction_changes_nothing_and_what_needs_a_restart_stays() {
    let (mut server, _peer) = served(config());
    let mut new = config();
    new.hub.max_rooms = 5;
    new.drain_time = new.shutdown_timeout;
    assert!(matches!(
        server.reconfigure(new.clone()),
        Err(HubConfigError::Drain { .. })
    ));
    assert_eq!(server.hub().config().max_rooms, 65_536);
    new.drain_time = Duration::ZERO;
    new.listen = vec![ListenAddress::Systemd];
    for expected in [&["max_rooms", "listen"][..], &["listen"]] {
        let changes = server.reconfigure(new.clone()).expect("it holds");
        let names: Vec<_> = changes.iter().map(|change| change.setting).collect();
        assert_eq!(names, expected);
        let restart = changes.iter().filter(|change| change.needs_restart);
        assert_eq!(restart.count(), 1);
    }
    assert_eq!(server.hub().config().max_rooms, 5);
    assert!(matches!(
        server.local_addresses()[..],
        [ListenAddress::Tcp(_)]
    ));
}

/// A stop goes on as it was begun.
#[test]
fn a_stop_that_is_under_way_keeps_its_settings() {
    let mut old = config();
    old.drain_delay = Duration::from_millis(50);
    old.drain_time = Duration::from_millis(50);
    let (mut server, mut peer) = served(old.clone());
    server.drain();
    let mut new = old;
    new.drain_time = Duration::ZERO;
    new.hub.close_timeout = Duration::from_millis(50);
    server.reconfigure(new).expect("it holds");
    let outcome = server.run(&mut Broadcast::new(true));
    assert_eq!(outcome.expect("the loop turns"), Outcome::Drained);
    peer.expect_close(1012);
}
