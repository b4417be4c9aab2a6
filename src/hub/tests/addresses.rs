//! Who a client is said to be, and by whom.

use std::net::SocketAddr;

use super::*;
use crate::hub::client::AddressState;

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.8 5000 80\r\n";
const PROXY: &str = "10.0.0.1:999";
const STRANGER: &str = "203.0.113.1:999";

fn world(proxy_protocol: bool) -> World {
    World::new(|config| {
        config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        config.proxy_protocol = proxy_protocol;
    })
}

impl World {
    fn accept_from(&mut self, address: &str) -> ClientId {
        let peer = Peer::Inet(address.parse::<SocketAddr>().unwrap());
        self.hub.accept(peer, self.now).unwrap()
    }

    /// Asks for an upgrade with these fields, and returns who it is taken for.
    fn taken_for(&mut self, id: ClientId, fields: &str) -> String {
        self.request_with(id, "/ws", fields);
        assert!(self.hub.is_open(id));
        self.peer(id)
    }

    fn peer(&self, id: ClientId) -> String {
        self.hub.peer(id).unwrap().to_string()
    }

    fn is_settled(&self, id: ClientId) -> bool {
        self.hub.clients[id.index()].address != AddressState::Open
    }
}

#[test]
fn who_is_not_trusted_any_more_is_not_believed() {
    let mut world = world(false);
    let field = "X-Forwarded-For: 192.0.2.1\r\n";
    let [early, late] = [world.accept_from(PROXY), world.accept_from(PROXY)];
    assert_eq!(world.taken_for(early, field), "192.0.2.1");
    let mut config = world.hub.config().clone();
    config.trusted_proxies.clear();
    world.hub.reconfigure(config, world.now).unwrap();
    assert_eq!(world.taken_for(late, field), PROXY);
}

#[test]
fn a_trusted_proxy_is_believed_and_a_stranger_is_not() {
    let mut world = world(false);
    let field = "X-Forwarded-For: 192.0.2.1\r\n";
    let proxied = world.accept_from(PROXY);
    assert!(!world.is_settled(proxied));
    assert_eq!(world.taken_for(proxied, field), "192.0.2.1");
    assert!(world.is_settled(proxied));
    assert_eq!(world.hub.first_untrusted(), None);
    for port in [1, 2] {
        let address = format!("203.0.113.1:{port}");
        let stranger = world.accept_from(&address);
        assert!(world.is_settled(stranger));
        assert_eq!(world.taken_for(stranger, field), address);
    }
    // The first one is told, and all are counted.
    let first = world.hub.first_untrusted().map(|peer| peer.to_string());
    assert_eq!(first.as_deref(), Some("203.0.113.1:1"));
    assert_eq!(world.hub.metrics().forwarded_ignored, 2);
}

#[test]
fn a_proxy_that_says_nothing_or_nonsense_is_what_is_known() {
    let mut world = world(false);
    for fields in ["", "X-Forwarded-For: x\r\n", "Forwarded: for=unknown\r\n"] {
        let id = world.accept_from(PROXY);
        assert_eq!(world.taken_for(id, fields), PROXY, "{fields}");
        assert!(world.is_settled(id));
    }
    assert_eq!(world.hub.metrics().forwarded_ignored, 0);
}

#[test]
fn a_departure_names_the_client_and_not_the_proxy() {
    let mut world = world(false);
    let id = world.accept_from(PROXY);
    world.taken_for(id, "Forwarded: for=\"[2001:db8::1]:4711\"\r\n");
    world.hub.hang_up(id, Disconnect::Gone);
    let departure = world.hub.reap(&mut world.handler, world.now).unwrap();
    assert_eq!(departure.peer.to_string(), "[2001:db8::1]:4711");
}

#[test]
fn ipv4_through_a_dual_stack_socket_is_ipv4() {
    let mut world = world(false);
    let id = world.accept_from("[::ffff:203.0.113.1]:9");
    assert_eq!(world.peer(id), "203.0.113.1:9");
    let id = world.accept_from("[::ffff:10.0.0.1]:9");
    assert_eq!(
        world.taken_for(id, "X-Forwarded-For: 192.0.2.1\r\n"),
        "192.0.2.1"
    );
}

#[test]
fn a_proxy_header_goes_before_the_request_and_may_share_its_segment() {
    let mut world = world(true);
    let id = world.accept_from(PROXY);
    world.receive(id, &HEADER[..10]);
    assert_eq!(
        (world.peer(id).as_str(), world.is_settled(id)),
        (PROXY, false)
    );
    let head = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    world.receive(id, &[&HEADER[10..], head, &text("hello")].concat());
    assert_eq!(world.peer(id), "192.0.2.7:5000");
    assert!(world.is_settled(id) && world.hub.is_open(id));
    let got = world.flush(&[]);
    assert!(got[0].1.ends_with(b"\x81\x05hello"));
}

#[test]
fn a_peer_that_is_not_trusted_speaks_http_at_once() {
    let mut world = world(true);
    let id = world.accept_from(STRANGER);
    assert_eq!(world.taken_for(id, ""), STRANGER);
    let id = world.accept_from(STRANGER);
    world.receive(id, HEADER);
    world.receive(id, b"\r\n");
    assert!(world.status(id).starts_with("HTTP/1.1 400 "));
    assert_eq!(world.peer(id), STRANGER);
}

#[test]
fn without_a_proxy_header_a_trusted_peer_is_dropped_unanswered() {
    let why = Disconnect::Refused(HandshakeError::InvalidProxyHeader);
    let mut world = world(true);
    let id = world.accept_from(PROXY);
    world.receive(id, b"G");
    assert!(world.flush(&[]).is_empty());
    assert_eq!(world.reap(), [(id, why)]);
    // And so are those who do not finish one in time, however much of it they have said.
    let silent = world.accept_from(PROXY);
    let slow = world.accept_from(PROXY);
    for byte in &HEADER[..4] {
        world.receive(slow, &[*byte]);
        world.pass(seconds(1));
    }
    assert_eq!(world.reap(), []);
    world.pass(seconds(2));
    assert!(world.flush(&[]).is_empty());
    let gone = world.reap();
    assert!(gone.contains(&(silent, why)) && gone.contains(&(slow, why)));
    assert_eq!(world.hub.metrics().departures(why), 3);
}

#[test]
fn a_proxy_header_does_not_postpone_the_deadline_of_the_request() {
    let mut world = world(true);
    let id = world.accept_from(PROXY);
    world.pass(seconds(4));
    world.receive(id, HEADER);
    world.receive(id, b"GET");
    world.pass(seconds(2));
    assert!(world.status(id).starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_hub_that_drains_drops_who_is_within_a_proxy_header() {
    let mut world = world(true);
    let id = world.accept_from(PROXY);
    world.receive(id, &HEADER[..10]);
    world.hub.drain(world.now, Duration::ZERO);
    assert!(world.flush(&[]).is_empty());
    let why = Disconnect::Refused(HandshakeError::Draining);
    assert_eq!(world.reap(), [(id, why)]);
}

#[test]
fn a_proxy_header_may_name_a_proxy_that_is_trusted_too() {
    let mut world = world(true);
    let field = "X-Forwarded-For: 192.0.2.9, 192.0.2.1\r\n";
    let id = world.accept_from(PROXY);
    world.receive(id, b"PROXY TCP4 10.0.0.2 10.0.0.1 7 80\r\n");
    assert!(!world.is_settled(id));
    assert_eq!(world.taken_for(id, field), "192.0.2.1");
    // The client itself is not: what it says is ignored.
    let id = world.accept_from(PROXY);
    world.receive(id, HEADER);
    assert_eq!(world.taken_for(id, field), "192.0.2.7:5000");
    assert_eq!(world.hub.metrics().forwarded_ignored, 1);
}

#[test]
fn a_proxy_that_speaks_for_itself_is_believed_further_and_one_that_does_not_know_is_not() {
    const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let mut world = world(true);
    let field = "X-Forwarded-For: 192.0.2.1\r\n";
    let id = world.accept_from(PROXY);
    world.receive(id, LOCAL);
    assert_eq!(world.taken_for(id, field), "192.0.2.1");
    let id = world.accept_from(PROXY);
    world.receive(id, b"PROXY UNKNOWN\r\n");
    assert_eq!(world.taken_for(id, field), PROXY);
}

#[test]
fn unix_sockets_are_trusted_by_name() {
    let field = "X-Forwarded-For: 192.0.2.1\r\n";
    for (trusted, taken_for) in [("unix", "192.0.2.1"), ("10.0.0.0/8", "unix")] {
        let mut world = World::new(|config| {
            config.trusted_proxies = vec![trusted.parse().unwrap()];
        });
        let id = world.accept();
        assert_eq!(world.taken_for(id, field), taken_for);
    }
}

#[test]
fn every_client_beyond_the_limit_is_told_so_behind_its_proxy_header() {
    let mut world = World::new(|config| {
        config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        config.proxy_protocol = true;
        config.max_connections = 1;
    });
    let first = world.accept_from(PROXY);
    let second = world.accept_from(PROXY);
    world.receive(first, HEADER);
    world.taken_for(first, "");
    world.flush(&[]);
    world.receive(second, HEADER);
    world.request(second, "/ws");
    assert!(world.status(second).starts_with("HTTP/1.1 503 "));
}
