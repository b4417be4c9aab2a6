//! Where clients come from.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use fanfare::{BindError, ListenAddress, Server};
use socket2::{Domain, SockAddr, Socket, Type};

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

/// Binds a server to a path in this thread, with this mode.
fn bind_unix(path: &Path, mode: Option<u32>) -> Result<Server, BindError> {
    let mut config = config();
    config.listen = vec![ListenAddress::Unix(path.to_owned())];
    config.unix_mode = mode;
    Server::bind(config)
}

fn mode(path: &Path) -> u32 {
    let file = std::fs::symlink_metadata(path).expect("it is there");
    file.permissions().mode() & 0o777
}

#[test]
fn a_unix_socket_has_the_mode_that_was_asked_for() {
    for asked in [0o600, 0o660, 0o666] {
        let path = socket_path("mode");
        let server = bind_unix(&path, Some(asked)).expect("a free path");
        assert_eq!(mode(&path), asked);
        drop(server);
        assert!(!path.exists());
    }
}

#[test]
fn a_socket_file_is_replaced_only_if_nobody_answers() {
    let path = socket_path("stale");
    let other = UnixListener::bind(&path).expect("a free path");
    let error = bind_unix(&path, None).expect_err("somebody answers");
    assert!(error.to_string().ends_with("address in use"), "{error}");
    assert!(path.exists(), "the other one's file is gone");
    // The file of who has died stays.
    drop(other);
    let _server = bind_unix(&path, None).expect("nobody answers");
    connect_unix(&path);
}

#[test]
fn somebody_who_is_too_busy_to_answer_is_somebody() {
    let path = socket_path("busy");
    let other = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a descriptor");
    let address = SockAddr::unix(&path).expect("it is short");
    other.bind(&address).expect("a free path");
    other.listen(0).expect("it is bound");
    // Its queue is full: one more would wait for ever.
    let _waiting = UnixStream::connect(&path).expect("there is one place");
    let (said, says) = std::sync::mpsc::channel();
    let taken = path.clone();
    std::thread::spawn(move || {
        let error = bind_unix(&taken, None).err();
        said.send(error.map(|error| error.to_string()))
    });
    let error = says.recv_timeout(DEADLINE).expect("an answer at once");
    let error = error.expect("somebody is there");
    assert!(error.ends_with("address in use"), "{error}");
    std::fs::remove_file(&path).expect("it is still there");
}

#[test]
fn what_is_no_socket_is_never_replaced() {
    let path = socket_path("file");
    std::fs::write(&path, "precious").expect("a free path");
    let error = bind_unix(&path, None).expect_err("it is no socket");
    assert!(error.to_string().ends_with("address in use"), "{error}");
    assert_eq!(std::fs::read(&path).expect("it is there"), b"precious");
    std::fs::remove_file(&path).expect("it is ours");
}

#[test]
fn a_socket_file_is_removed_only_if_it_is_still_ours() {
    let path = socket_path("moved");
    let first = bind_unix(&path, None).expect("a free path");
    std::fs::remove_file(&path).expect("it is there");
    let second = bind_unix(&path, None).expect("a free path");
    drop(first);
    connect_unix(&path);
    drop(second);
    assert!(!path.exists());
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
