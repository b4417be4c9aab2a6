//! The bridge within a loop that is turned by hand: what only a resolver of the tests' own can do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::*;
use crate::Broadcast;
use crate::hub::{HubConfig, Peer, SlowPolicy};
use crate::protocol::MessageKind;
use crate::server::handle::Mailbox;
use crate::server::{ListenAddress, Server};

const PATIENCE: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(300);

const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

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
    stream.write_all(REQUEST.as_bytes()).unwrap();
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

/// Most take nothing, and somebody says more than they may hear at once: it waits in the kernel,
/// and not here.
#[test]
fn who_says_too_much_is_not_read_until_it_is_heard() {
    let mut server = server(unknown);
    let stuck = [(); 2].map(|()| connect(&mut server));
    for stuck in &stuck {
        SockRef::from(stuck).set_recv_buffer_size(4096).unwrap();
    }
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

const MILLISECOND: Duration = Duration::from_millis(1);

/// A bridge and its hub without a loop, at a time of the tests' own, and without a Redis: what is
/// said here may be heard at once.
struct Ground {
    bridge: Bridge,
    hub: Hub,
    now: Instant,
    clients: Vec<ClientId>,
    /// Clients who take nothing.
    deaf: Vec<ClientId>,
    /// Clients who take so many bytes in a turn.
    slow: Vec<ClientId>,
    slowness: usize,
    /// When each message was said that the first client has not heard yet.
    said: std::collections::VecDeque<Instant>,
}

impl Ground {
    /// As many clients of one room; whoever is slow hears less, and is not closed.
    fn new(clients: usize) -> Self {
        let backplane = "redis://127.0.0.1:1".parse::<BackplaneConfig>().unwrap();
        let config = ServerConfig {
            hub: HubConfig {
                slow_policy: SlowPolicy::Drop,
                write_timeout: 100 * PATIENCE,
                ..HubConfig::default()
            },
            backplane: Some(backplane),
            ..ServerConfig::default()
        };
        let now = crate::hub::test_clock();
        let poll = mio::Poll::new().unwrap();
        let mailbox = Mailbox::new(poll.registry(), mio::Token(0), 1).unwrap();
        let bridge = Bridge::new(&config, mailbox.waker(), now).unwrap();
        let mut hub = Hub::new(config.hub, now);
        hub.set_relaying(true);
        let mut ground = Self {
            bridge,
            hub,
            now,
            clients: Vec::new(),
            deaf: Vec::new(),
            slow: Vec::new(),
            slowness: 0,
            said: std::collections::VecDeque::new(),
        };
        for _ in 0..clients {
            let id = ground.join("");
            ground.clients.push(id);
        }
        ground.flush();
        ground
    }

    /// Another member of a room.
    fn join(&mut self, room: &str) -> ClientId {
        let id = self.hub.accept(Peer::Unix, self.now).unwrap();
        let request = REQUEST.replacen("/ws", &format!("/ws/{room}"), 1);
        let request = request.replacen("/ws/ ", "/ws ", 1);
        let mut handler = Broadcast::new(true);
        self.hub
            .receive(id, &mut request.into_bytes(), self.now, &mut handler);
        assert!(self.hub.is_open(id));
        id
    }

    fn say(&mut self, len: usize) {
        self.say_to("", len);
        self.said.push_back(self.now);
    }

    fn say_to(&mut self, room: &str, len: usize) {
        self.hub.publish(room, MessageKind::Binary, &vec![7; len]);
    }

    /// Writes to clients as the loop does. How many bytes the first one gets.
    fn flush(&mut self) -> usize {
        let (mut ids, mut got) = (Vec::new(), 0);
        self.slow.iter().for_each(|id| self.hub.writable(*id));
        self.hub.take_dirty(&mut ids, self.now);
        for id in ids {
            let is_deaf = self.deaf.contains(&id);
            let is_slow = self.slow.contains(&id);
            let Some(outgoing) = self.hub.outgoing(id).filter(|_| !is_deaf) else {
                let _ = self.hub.flushed(id, 0, true, self.now);
                continue;
            };
            let all = outgoing.pieces().map(<[u8]>::len).sum();
            let len = if is_slow { self.slowness.min(all) } else { all };
            outgoing.advance(len);
            let _ = self.hub.flushed(id, len, len < all, self.now);
            if id == self.clients[0] {
                got += len;
            }
        }
        got
    }

    /// What a turn of the loop does here. How many bytes the first client gets.
    fn turn(&mut self) -> usize {
        self.bridge.relay(&mut self.hub, self.now);
        self.bridge.deliver(&mut self.hub, self.now);
        self.flush()
    }

    /// A turn of the loop in each of so many milliseconds, in which somebody says 8 KB: the longest
    /// that the first client has waited for one of them.
    fn longest_wait(&mut self, milliseconds: usize) -> Duration {
        self.longest_wait_while(milliseconds, |_| {})
    }

    /// The same while something else is said in each of them before that.
    fn longest_wait_while(
        &mut self,
        milliseconds: usize,
        mut say: impl FnMut(&mut Self),
    ) -> Duration {
        const LEN: usize = 8000;
        let (mut heard, mut longest) = (0, Duration::ZERO);
        for _ in 0..milliseconds {
            self.now += MILLISECOND;
            say(self);
            self.say(LEN);
            heard += self.turn();
            while heard >= LEN + 4 {
                heard -= LEN + 4;
                let said = self.said.pop_front().expect("it was said");
                longest = longest.max(self.now - said);
            }
        }
        assert_eq!(heard, 0, "whole messages");
        let waiting = self.said.front().map(|said| self.now - *said);
        longest.max(waiting.unwrap_or_default())
    }
}

/// What is said is heard as fast as it is said, by those who read: a tenth of a second later at
/// most. A dose for each hold would be a third of it.
#[test]
fn one_who_reads_nothing_holds_up_nobody_for_long() {
    let mut ground = Ground::new(3);
    assert_eq!(ground.longest_wait(1000), Duration::ZERO);
    ground.deaf.push(ground.clients[2]);
    let longest = ground.longest_wait(3000);
    assert!(longest <= 101 * MILLISECOND, "{longest:?}");
    assert!(longest > 50 * MILLISECOND, "it was waited for: {longest:?}");
}

/// They may be about to read, all of them: nobody is made slow by what comes at once.
#[test]
fn most_of_those_who_listen_are_given_time() {
    let mut ground = Ground::new(3);
    ground.longest_wait(10);
    ground.deaf.extend_from_slice(&ground.clients[1..]);
    let longest = ground.longest_wait(1000);
    assert!(longest > 300 * MILLISECOND, "{longest:?}");
}

/// Most clients are in rooms where a little is said, and one small room has a backlog that is more
/// than its members take at once: they hear all of it, as fast as they read.
#[test]
fn a_backlog_comes_at_the_pace_of_its_own_room() {
    const LEN: usize = 8000;
    const COUNT: usize = 20 * 1024 * 1024 / LEN;

    let mut ground = Ground::new(0);
    let mut config = ground.hub.config().clone();
    config.slow_policy = SlowPolicy::Close;
    ground.hub.reconfigure(config, ground.now).unwrap();
    let rooms = (0..100).map(|i| i.to_string()).collect::<Vec<_>>();
    let others = rooms.iter().flat_map(|room| [room; 10]);
    let others = others.map(|room| ground.join(room)).collect::<Vec<_>>();
    ground.clients = (0..10).map(|_| ground.join("ticker")).collect();
    ground.flush();
    ground.slow = ground.clients.clone();
    ground.slowness = 4000;
    let begun = ground.now;
    let (mut said, mut heard) = (0, 0);
    while heard < COUNT * (LEN + 4) {
        ground.now += MILLISECOND;
        let milliseconds = (ground.now - begun).as_millis() as usize;
        assert!(milliseconds < 10_000, "{heard} bytes are heard");
        // Each of the other rooms is told something in each second.
        if milliseconds % 10 == 0 {
            ground.say_to(&rooms[milliseconds / 10 % rooms.len()], 200);
        }
        while said < COUNT && !ground.bridge.is_full() {
            ground.say_to("ticker", LEN);
            said += 1;
            ground.bridge.relay(&mut ground.hub, ground.now);
        }
        heard += ground.turn();
        let is_open = |id: &ClientId| ground.hub.is_open(*id);
        assert!(ground.clients.iter().all(is_open), "at {milliseconds} ms");
        assert!(others.iter().all(is_open));
    }
}

/// Most of the server's clients read nothing, each in a room of its own that is told something now
/// and then: that is their business.
#[test]
fn rooms_that_are_behind_do_not_hold_up_what_is_said_to_others() {
    let mut ground = Ground::new(1);
    ground.deaf = ["a", "b"].map(|room| ground.join(room)).to_vec();
    for millisecond in 0..1500 {
        let longest = ground.longest_wait_while(1, |ground| {
            if millisecond % 10 == 0 {
                for room in ["a", "b"] {
                    ground.say_to(room, 100);
                }
            }
        });
        assert!(longest <= 101 * MILLISECOND, "{longest:?}");
    }
}

/// Somebody says as much as others to a room of his own, where he takes nothing: what is said
/// behind it waits for him, but not longer than for anybody who is slow.
#[test]
fn who_is_deaf_in_a_room_of_his_own_holds_up_others_for_two_seconds_at_most() {
    let mut ground = Ground::new(2);
    ground.deaf = vec![ground.join("own")];
    let flood = |ground: &mut Ground| ground.say_to("own", 8000);
    let longest = ground.longest_wait_while(2500, flood);
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    assert!(
        longest > 101 * MILLISECOND,
        "it was waited for: {longest:?}"
    );
    assert_eq!(ground.longest_wait_while(5000, flood), Duration::ZERO);
}

#[test]
fn operators_are_told_while_too_much_waits_to_be_heard() {
    let mut ground = Ground::new(1);
    assert!(!ground.bridge.supplement(ground.now).is_clogged);
    for _ in 0..40 {
        ground.say(60_000);
    }
    ground.bridge.relay(&mut ground.hub, ground.now);
    assert!(ground.bridge.supplement(ground.now).is_clogged);
    while ground.bridge.is_full() {
        ground.now += MILLISECOND;
        ground.bridge.deliver(&mut ground.hub, ground.now);
        ground.flush();
    }
    assert!(!ground.bridge.supplement(ground.now).is_clogged);
}
