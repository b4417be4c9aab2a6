//! Where clients come from.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use fanfare::{BindError, ListenAddress, Server};

use crate::peer::{CLOSE, DEADLINE, Peer};
use crate::running::{Running, config, tcp_address};

/// A path for a unix socket: in the system's temporary directory, since an address has 108 bytes.
fn socket_path(test: &str) -> PathBuf {
    let name = format!("fanfare-loopback-{test}-{}.sock", std::process::id());
    std::env::temp_dir().join(name)
}

fn connect_unix(path: &PathBuf) -> Peer<UnixStream> {
    let stream = UnixStream::connect(path).expect("the server listens");
    let patience = stream.set_read_timeout(Some(DEADLINE));
    patience.expect("it is not zero");
    Peer { stream }
}

#[test]
fn a_unix_socket_serves_like_any_other() {
    let path = socket_path("round-trip");
    let address = ListenAddress::Unix(path.clone());
    let server = Running::start(|config| config.listen = vec![address.clone()]);
    assert_eq!(server.addresses, [address]);
    let mut a = connect_unix(&path);
    let mut b = connect_unix(&path);
    a.upgrade("/ws");
    b.upgrade("/ws");
    a.send_text("over a file");
    a.expect_text("over a file");
    b.expect_text("over a file");
    b.send_frame(CLOSE, b"");
    b.expect_close(1000);
    b.expect_end();
    drop((a, b));
    server.check_ends_empty();
    assert!(!path.exists(), "{} is still there", path.display());
}

#[test]
fn a_wave_of_connections_waits_for_its_turn() {
    // Nobody accepts yet: the kernel's queue must hold all of them, or they would wait for a
    // retransmission.
    let server = Server::bind(config()).expect("there is a port");
    let address = tcp_address(&server.local_addresses()[0]);
    let patience = std::time::Duration::from_millis(900);
    let wave: Vec<TcpStream> = (0..500)
        .map(|i| {
            TcpStream::connect_timeout(&address, patience)
                .unwrap_or_else(|error| panic!("connection {i}: {error}"))
        })
        .collect();
    assert_eq!(wave.len(), 500);
}

#[test]
fn several_addresses_are_one_server() {
    let path = socket_path("several");
    let any = ListenAddress::Tcp("127.0.0.1:0".to_owned());
    let server = Running::start(|config| {
        config.listen = vec![any.clone(), any, ListenAddress::Unix(path.clone())];
    });
    let [first, second, _] = &server.addresses[..] else {
        panic!("three were to be bound: {:?}", server.addresses);
    };
    assert_ne!(first, second);
    let mut first = Peer::open(tcp_address(first), "/ws");
    let mut second = Peer::open(tcp_address(second), "/ws");
    let mut third = connect_unix(&path);
    third.upgrade("/ws");
    first.send_text("to all of you");
    for peer in [&mut first, &mut second] {
        peer.expect_text("to all of you");
    }
    third.expect_text("to all of you");
    drop((first, second, third));
    server.check_ends_empty();
}

#[test]
fn ipv6_serves_like_ipv4() {
    TcpListener::bind("[::1]:0").expect("this machine has no IPv6 loopback, which this test needs");
    let address = ListenAddress::Tcp("[::1]:0".to_owned());
    let server = Running::start(|config| config.listen = vec![address]);
    assert!(server.address().is_ipv6());
    server.open("/ws").check_echo();
    server.check_ends_empty();
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let mut config = config();
    config.listen = vec![ListenAddress::Tcp(address.clone())];
    let error = Server::bind(config).expect_err("the port is taken");
    assert!(matches!(error, BindError::Listen { .. }), "{error:?}");
    let said = format!("cannot listen on {address}: address in use");
    assert_eq!(error.to_string(), said);
}
