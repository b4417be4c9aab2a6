//! Operators: an address of their own, and what is said there.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use fanfare::hub::MAX_ADMIN;
use fanfare::{Disconnect, ListenAddress, Outcome, ServerConfig};

use crate::peer::{BINARY, CLOSE, DEADLINE, Peer};
use crate::running::{Running, tcp_address};

/// An answer to an operator.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn ends(&self) -> bool {
        self.head.contains("\r\nConnection: close\r\n")
    }
}

impl<S: Read + Write> Peer<S> {
    fn read_answer(&mut self) -> Answer {
        let head = self.read_head();
        let field = |name: &str| {
            let (_, rest) = head.split_once(name)?;
            rest.split("\r\n").next()?.trim().parse::<usize>().ok()
        };
        let status = field("HTTP/1.1 ").or_else(|| head[9..12].parse().ok());
        let mut body = vec![0; field("\r\nContent-Length:").expect("a length")];
        self.stream.read_exact(&mut body).expect("a whole body");
        Answer {
            status: u16::try_from(status.expect("a status")).expect("of three digits"),
            body: String::from_utf8(body).expect("ours are UTF-8"),
            head,
        }
    }

    fn get(&mut self, target: &str) -> Answer {
        self.send(get(target));
        self.read_answer()
    }

    fn post(&mut self, target: &str, fields: &str, body: &[u8]) -> Answer {
        let length = body.len();
        self.send(format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n"
        ));
        self.send(body);
        self.read_answer()
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Lets operators in on a port of the kernel's choice.
pub(crate) fn with_admin(config: &mut ServerConfig) {
    config.admin = Some(ListenAddress::Tcp("127.0.0.1:0".to_owned()));
}

impl Running {
    pub(crate) fn admin_address(&self) -> SocketAddr {
        tcp_address(self.admin.as_ref().expect("operators are let in"))
    }

    fn operator(&self) -> Peer {
        Peer::connect(self.admin_address())
    }
}

#[test]
fn operators_ask_over_a_connection_that_is_kept() {
    let server = Running::start(with_admin);
    let mut client = server.open("/ws/news");
    client.check_echo();
    let mut operator = server.operator();
    for (target, status, body) in [
        ("/healthz", 200, "ok\n"),
        ("/readyz", 200, "ready\n"),
        ("/rooms", 200, "{\"name\":\"news\",\"members\":1}\n"),
        ("/clients?limit=1", 200, "\"room\":\"news\""),
        ("/metrics", 200, "\nfanfare_clients{phase=\"open\"} 1\n"),
    ] {
        let answer = operator.get(target);
        assert_eq!(answer.status, status, "{target}");
        assert!(answer.body.contains(body), "{target}: {}", answer.body);
        assert!(!answer.ends(), "{}", answer.head);
    }
    let address = client.stream.local_addr().expect("it is connected");
    assert!(
        operator
            .get("/clients")
            .body
            .contains(&format!("\"{address}\""))
    );
    operator.send("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(operator.read_answer().ends());
    operator.expect_end();
    // Nobody counts them.
    drop((client, operator));
    assert_eq!(server.left(), (Disconnect::Gone, 0));
    let metrics = server.check_ends_empty();
    assert_eq!(metrics.connections_accepted, 1);
    assert_eq!(metrics.departures(Disconnect::Answered), 0);
}

#[test]
fn a_refusal_ends_the_connection_in_order() {
    let server = Running::start(with_admin);
    for (request, status) in [
        (get("/nothing"), 404),
        (get("/ws"), 404),
        (get("/"), 404),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (get("/publish"), 405),
        (get("/clients?limit=0"), 400),
        (get("/clients").replace(": a", ": evil.example:9090"), 421),
    ] {
        let mut operator = server.operator();
        // More than is read at once: a reset would tell that it was not.
        operator.send(request + &get("/healthz").repeat(5000));
        let answer = operator.read_answer();
        assert_eq!(answer.status, status, "{}", answer.head);
        assert!(answer.ends());
        operator.expect_end();
    }
    server.check_ends_empty();
}

#[test]
fn the_public_address_knows_nothing_of_it() {
    for server in [Running::start(with_admin), Running::start(|_| {})] {
        for target in ["/metrics", "/readyz", "/rooms", "/clients", "/publish"] {
            let mut peer = server.connect();
            peer.send(get(target));
            assert_eq!(peer.read_answer().status, 404, "{target}");
        }
        let mut peer = server.connect();
        peer.send(get("/healthz"));
        let health = peer.read_answer();
        assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
        let mut peer = server.connect();
        peer.send("POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(peer.read_answer().status, 400);
    }
    assert!(Running::start(|_| {}).admin.is_none());
}

#[test]
fn what_is_published_is_heard_in_order() {
    let server = Running::start(with_admin);
    let mut members = [server.open("/ws/a%20b"), server.open("/ws/a%20b")];
    let mut other = server.open("/ws");
    let mut operator = server.operator();
    for number in 0..100 {
        let answer = operator.post("/publish/a%20b", "", format!("{number}").as_bytes());
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (201, "{\"receivers\":2}\n")
        );
    }
    let binary = "Content-Type: application/octet-stream\r\n";
    let bytes: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
    assert_eq!(operator.post("/publish/a%20b", binary, &bytes).status, 201);
    operator.send(
        "POST /publish/a%20b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         3;x=y\r\nin \r\n6\r\npieces\r\n0\r\nX: y\r\n\r\n",
    );
    assert_eq!(operator.read_answer().status, 201);
    for member in &mut members {
        for number in 0..100 {
            member.expect_text(&number.to_string());
        }
        member.expect_frame(BINARY, &bytes);
        member.expect_text("in pieces");
    }
    other.check_echo();
    assert_eq!(operator.post("/publish/nobody", "", b"x").status, 202);
    assert_eq!(operator.post("/publish", "", &[0xFF]).status, 400);
    operator.expect_end();
    let mut operator = server.operator();
    operator.send("POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n");
    assert_eq!(operator.read_answer().status, 413, "before a byte of it");
    other.check_echo();
}

#[test]
fn a_body_that_is_asked_for_is_sent_then() {
    let server = Running::start(with_admin);
    let mut member = server.open("/ws");
    let mut operator = server.operator();
    let fields = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    operator.send(format!("POST /publish HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert_eq!(operator.read_head(), "HTTP/1.1 100 Continue\r\n\r\n");
    operator.send("hello");
    assert_eq!(operator.read_answer().status, 201);
    member.expect_text("hello");
}

#[test]
fn whoever_does_not_read_is_not_read() {
    const REQUESTS: usize = 4000;

    let server = Running::start(with_admin);
    let mut client = server.open("/ws");
    let mut operator = server.operator();
    operator
        .stream
        .set_nonblocking(true)
        .expect("it is a socket");
    let many = get("/metrics").repeat(REQUESTS);
    // Until the server takes no more: it must not come to that the kernel takes all, but it may.
    let mut sent = 0;
    while sent < many.len() {
        match operator.stream.write(&many.as_bytes()[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("the server ends the connection: {error}"),
        }
        client.check_echo();
    }
    for _ in 0..100 {
        client.check_echo();
    }
    // What the kernel holds of answers was answered, and no more.
    let mut other = server.operator();
    let text = other.get("/metrics").body;
    let (_, rest) = text
        .split_once("{route=\"metrics\",status=\"2xx\"} ")
        .expect("a counter");
    let answered: usize = rest
        .lines()
        .next()
        .expect("a line")
        .parse()
        .expect("a number");
    assert!(
        (1..REQUESTS).contains(&answered),
        "{answered} of {REQUESTS}"
    );
    // Then it reads, and hears all of them.
    operator
        .stream
        .set_nonblocking(false)
        .expect("it is a socket");
    let whole = sent / get("/metrics").len();
    for _ in 0..whole {
        assert_eq!(operator.read_answer().status, 200);
    }
}

#[test]
fn half_a_connection_is_enough_for_an_answer() {
    let server = Running::start(with_admin);
    let mut operator = server.operator();
    operator.send(get("/healthz") + &get("/metrics") + &get("/readyz"));
    operator.half_close();
    for _ in 0..3 {
        assert_eq!(operator.read_answer().status, 200);
    }
    operator.expect_end();
}

#[test]
fn operators_too_many_are_closed_and_clients_are_not() {
    let server = Running::start(|config| {
        with_admin(config);
        config.hub.max_connections = 1;
    });
    let mut client = server.open("/ws");
    let mut operators: Vec<Peer> = (0..MAX_ADMIN).map(|_| server.operator()).collect();
    for operator in &mut operators {
        let full = operator.get("/readyz");
        assert_eq!((full.status, full.body.as_str()), (503, "full\n"));
    }
    assert_eq!(server.operator().read_to_any_end(), b"");
    client.check_echo();
    operators.truncate(1);
    // The server learns of the ends one by one; there is room when it has learnt of one.
    for _ in 0..1000 {
        let mut operator = server.operator();
        let sent = operator.stream.write_all(get("/healthz").as_bytes());
        if sent.is_ok() && !operator.read_to_any_end_of(12).is_empty() {
            return;
        }
    }
    panic!("there is no room for an operator");
}

impl Peer {
    /// The first so many bytes, or none if the connection ends before.
    fn read_to_any_end_of(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        match self.stream.read_exact(&mut bytes) {
            Ok(()) => bytes,
            Err(_) => Vec::new(),
        }
    }
}

#[test]
fn a_drain_is_seen_to_its_end_and_not_held_up() {
    let server = Running::start(with_admin);
    let mut client = server.open("/ws");
    let mut operator = server.operator();
    assert_eq!(operator.get("/readyz").status, 200);
    server.handle.stop();
    client.expect_close(1001);
    // The client has not answered, so the drain goes on: old and new operators see it.
    let draining = operator.get("/readyz");
    assert_eq!(
        (draining.status, draining.body.as_str()),
        (503, "draining\n")
    );
    let mut newcomer = server.operator();
    assert_eq!(newcomer.get("/healthz").status, 200);
    let mut idle = server.operator();
    assert!(idle.get("/metrics").body.contains("\nfanfare_draining 1\n"));
    let silent = server.operator();
    assert!(
        std::net::TcpStream::connect(server.address()).is_err(),
        "clients come too late"
    );
    client.send_frame(CLOSE, [0x03, 0xE9]);
    client.expect_end();
    drop(client);
    let ended = server.end();
    assert_eq!((ended.outcome, ended.clients), (Outcome::Drained, 0));
    drop(silent);
}

#[test]
fn turns_and_their_lag_are_measured_for_those_who_can_ask() {
    let server = Running::start(|config| {
        with_admin(config);
        config.hub.ping_interval = std::time::Duration::from_millis(20);
        config.hub.pong_timeout = std::time::Duration::from_millis(10);
    });
    let mut client = server.open("/ws");
    client.check_echo();
    drop(client);
    server.left();
    let mut operator = server.operator();
    assert_eq!(operator.get("/healthz").status, 200);
    let text = operator.get("/metrics").body;
    let (_, rest) = text
        .split_once("\nfanfare_turn_duration_seconds_count ")
        .expect("it is there");
    let turns: u64 = rest
        .lines()
        .next()
        .expect("a line")
        .parse()
        .expect("a number");
    assert!(turns >= 4, "{turns} turns");
    drop(operator);
    let metrics = server.check_ends_empty();
    assert!(metrics.turns().count() > turns);

    let unwatched = Running::start(|_| {});
    unwatched.open("/ws").check_echo();
    let metrics = unwatched.check_ends_empty();
    assert_eq!((metrics.turns().count(), metrics.lag().count()), (0, 0));
}

#[test]
fn a_unix_socket_is_for_operators_as_well() {
    let name = format!("fanfare-loopback-admin-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let server = Running::start(|config| config.admin = Some(ListenAddress::Unix(path.clone())));
    let stream = UnixStream::connect(&path).expect("the server listens");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("it is not zero");
    let mut operator = Peer { stream };
    assert_eq!(operator.get("/healthz").body, "ok\n");
    assert_eq!(operator.post("/publish", "", b"x").status, 202);
    server.check_ends_empty();
}
