//! The bridge within a loop that is turned by hand: what only a resolver of the tests' own can do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::*;
use crate::Broadcast;
use crate::server::{ListenAddress, Server};

const PATIENCE: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(300);

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A server whose Redis has a name, and a way to find its addresses.
fn server(lookup: resolver::Lookup) -> Server {
    let mut config = ServerConfig {
        listen: vec![ListenAddress::Tcp(any_port().to_string())],
        ..ServerConfig::default()
    };
    let mut backplane: BackplaneConfig = "redis://redis.test".parse().unwrap();
    backplane.op_timeout = SHORT;
    config.backplane = Some(backplane);
    let mut server = Server::bind(config).unwrap();
    let bridge = server.bridge.as_mut().unwrap();
    bridge.resolver.set_lookup(lookup);
    server
}

/// How often a connection was lost for this reason.
fn lost(server: &Server, reason: &str) -> u64 {
    let mut text = String::new();
    let backplane = server.backplane().unwrap();
    backplane.write_metrics(&mut text, crate::hub::test_clock());
    let name = format!("fanfare_redis_reconnects_total{{reason=\"{reason}\"}} ");
    let mut counts = text.lines().filter_map(|line| line.strip_prefix(&name));
    counts.next().unwrap().parse().unwrap()
}

/// Turns the loop until something has happened.
fn turn_until(server: &mut Server, mut has_happened: impl FnMut(&Server) -> bool) {
    let mut handler = Broadcast::new(true);
    let deadline = crate::hub::test_clock() + PATIENCE;
    while !has_happened(server) {
        assert!(crate::hub::test_clock() < deadline, "it does not happen");
        server.turn(&mut handler).unwrap();
    }
}

fn connect(server: &mut Server) -> TcpStream {
    let addresses = server.local_addresses();
    let [ListenAddress::Tcp(address)] = &addresses[..] else {
        panic!("one address");
    };
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let before = server.hub().metrics().handshakes_completed;
    turn_until(server, |server| {
        server.hub().metrics().handshakes_completed > before
    });
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    stream
}

fn never(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
    loop {
        thread::park();
    }
}

fn unknown(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
    Err(io::ErrorKind::NotFound.into())
}

/// The loop turns, clients are served, and the attempt is given up in time.
#[test]
fn a_name_that_is_never_resolved_holds_nobody_up() {
    let mut server = server(never);
    let mut stream = connect(&mut server);
    let pinging = thread::spawn(move || {
        let mut slowest = Duration::ZERO;
        for _ in 0..100 {
            let begun = crate::hub::test_clock();
            // A Ping of the client's, with an empty mask; and the answer.
            stream.write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap();
            let mut pong = [0; 2];
            stream.read_exact(&mut pong).unwrap();
            assert_eq!(pong, [0x8A, 0]);
            let end = crate::hub::test_clock();
            slowest = slowest.max(end - begun);
        }
        slowest
    });
    turn_until(&mut server, |server| {
        pinging.is_finished() && lost(server, "resolve") >= 2
    });
    let slowest = pinging.join().unwrap();
    assert!(slowest < SHORT / 2, "{slowest:?}");
    assert_eq!(server.backplane().unwrap().health(), Health::Down);
}

#[test]
fn a_name_that_nobody_knows_is_asked_for_again() {
    let mut server = server(unknown);
    turn_until(&mut server, |server| lost(server, "resolve") >= 3);
}

/// Of a refusal, of a silence, and of somebody there: the last one is found, in one attempt.
#[test]
fn every_address_of_a_name_is_tried() {
    use std::sync::OnceLock;

    static ADDRESSES: OnceLock<Vec<SocketAddr>> = OnceLock::new();

    #[expect(clippy::unnecessary_wraps, reason = "others fail")]
    fn several(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(ADDRESSES.get().unwrap().clone())
    }

    let refusing = TcpListener::bind(any_port()).unwrap();
    let hole = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    hole.bind(&any_port().into()).unwrap();
    hole.listen(0).unwrap();
    let hole_address = hole.local_addr().unwrap().as_socket().unwrap();
    let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&hole_address, SHORT).ok());
    let waiting: Vec<_> = waiting.take(10).collect();
    assert!(waiting.len() < 10, "the queue is full");
    let there = TcpListener::bind(any_port()).unwrap();
    let addresses = [
        refusing.local_addr().unwrap(),
        hole_address,
        there.local_addr().unwrap(),
    ];
    ADDRESSES.set(addresses.to_vec()).unwrap();
    drop(refusing);
    there.set_nonblocking(true).unwrap();
    let mut server = server(several);
    let mut found = None;
    turn_until(&mut server, |_| {
        found = there.accept().ok();
        found.is_some()
    });
    assert_eq!(lost(&server, "connect"), 0, "in one attempt");
}

/// Somebody takes nothing, and somebody else says more than the others may hear at once: it waits
/// in the kernel, and not here.
#[test]
fn who_says_too_much_is_not_read_until_it_is_heard() {
    let mut server = server(unknown);
    let stuck = connect(&mut server);
    SockRef::from(&stuck).set_recv_buffer_size(4096).unwrap();
    let mut flooder = connect(&mut server);
    let mut reader = flooder.try_clone().unwrap();
    let mut frame = vec![0x82, 0xFE, 0x40, 0, 0, 0, 0, 0];
    frame.resize(8 + 0x4000, 7);
    flooder.set_write_timeout(Some(PATIENCE)).unwrap();
    let writing = thread::spawn(move || {
        let many = frame.repeat(64);
        for _ in 0..64 {
            flooder.write_all(&many).unwrap();
        }
    });
    let reading = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        let mut left = 64 * 64 * (4 + 0x4000);
        while left > 0 {
            left -= reader.read(&mut buffer).unwrap().min(left);
        }
    });
    let mut was_held = false;
    turn_until(&mut server, |server| {
        was_held |= !server.held.is_empty();
        writing.is_finished() && reading.is_finished()
    });
    assert!(was_held);
    drop(stuck);
}
