//! Operators: what they are answered, and that they are no clients.

use super::*;
use crate::hub::admin::{AdminConnection, IDLE_TIMEOUT};

/// An answer, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// The answers in what an operator got.
fn answers(bytes: &[u8]) -> Vec<Answer> {
    let mut text = std::str::from_utf8(bytes).unwrap();
    let mut answers = Vec::new();
    while !text.is_empty() {
        let (head, rest) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.split("Content-Length: ").nth(1);
        let length = length.map_or(0, |rest| {
            let digits = rest.split("\r\n").next().unwrap();
            digits.parse::<usize>().unwrap()
        });
        let (body, rest) = rest.split_at(length);
        let (head, body) = (head.to_owned(), body.to_owned());
        answers.push(Answer { status, head, body });
        text = rest;
    }
    answers
}

impl World {
    fn operator(&mut self) -> ClientId {
        self.hub.accept_admin(Peer::Unix, self.now).unwrap()
    }

    /// What an operator gets in this turn, and in those that follow as long as there is more to do.
    fn told(&mut self, id: ClientId) -> Vec<u8> {
        let mut told = Vec::new();
        loop {
            let got = self.flush(&[]);
            let more: Vec<u8> = got
                .into_iter()
                .filter(|(who, _)| *who == id)
                .flat_map(|(_, bytes)| bytes)
                .collect();
            if more.is_empty() {
                return told;
            }
            told.extend(more);
            self.hub.resume(id, self.now, &mut self.handler);
        }
    }

    fn query(&mut self, id: ClientId, bytes: &[u8]) -> Vec<Answer> {
        self.receive(id, bytes);
        answers(&self.told(id))
    }

    /// The one answer to one request.
    fn answer(&mut self, id: ClientId, bytes: impl AsRef<[u8]>) -> Answer {
        let mut answers = self.query(id, bytes.as_ref());
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0)
    }

    fn get(&mut self, target: &str) -> Answer {
        let id = self.operator();
        self.answer(id, request("GET", target, ""))
    }
}

fn request(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn post(target: &str, fields: &str, body: &str) -> String {
    let length = format!("Content-Length: {}\r\n{fields}", body.len());
    request("POST", target, &length) + body
}

fn ends(answer: &Answer) -> bool {
    answer.head.contains("\r\nConnection: close")
}

#[test]
fn operators_are_no_clients() {
    let mut world = World::new(|config| config.max_connections = 1);
    let operator = world.operator();
    let before = *world.hub.metrics();
    assert!(world.hub.is_empty() && world.hub.admin_count() == 1);
    assert_eq!(
        world.answer(operator, request("GET", "/readyz", "")).status,
        200
    );
    // The only place is free.
    let client = world.connect("/ws");
    assert_eq!(world.hub.len(), 1);
    let full = world.answer(operator, request("GET", "/readyz", ""));
    assert_eq!((full.status, full.body.as_str()), (503, "full\n"));
    assert!(!ends(&full), "it is an answer like another");
    world.hub.hang_up(client, Disconnect::Gone);
    world.hub.hang_up(operator, Disconnect::Gone);
    assert_eq!(world.reap().len(), 2);
    assert_eq!(world.hub.admin_count(), 0);
    let after = world.hub.metrics();
    assert_eq!(after.departures(Disconnect::Gone), 1);
    assert_eq!(after.connections_accepted - before.connections_accepted, 1);
    assert_eq!(
        world.handler.gone.len(),
        1,
        "the handler never heard of the operator"
    );
    let written = after.bytes_sent - before.bytes_sent;
    assert!(
        (100..200).contains(&written),
        "one upgrade was written: {written}"
    );
}

#[test]
fn operators_have_places_of_their_own_and_no_more() {
    let mut world = World::new(|_| {});
    let operators: Vec<ClientId> = (0..MAX_ADMIN).map(|_| world.operator()).collect();
    let one_more = world.hub.accept_admin(Peer::Unix, world.now);
    assert_eq!(one_more, Err(Refusal::Full));
    world.hub.hang_up(operators[3], Disconnect::Gone);
    world.reap();
    world.operator();
}

#[test]
fn a_connection_is_kept_and_requests_are_answered_in_order() {
    let mut world = World::new(|_| {});
    let id = world.operator();
    let pipelined = [
        request("GET", "/healthz", ""),
        request("HEAD", "/healthz", ""),
        post("/publish/nobody", "", "hello"),
        request("GET", "/readyz", "Connection: close\r\n"),
        request("GET", "/healthz", ""),
    ]
    .concat();
    world.receive(id, pipelined.as_bytes());
    let bytes = String::from_utf8(world.told(id)).unwrap();
    let statuses: Vec<&str> = bytes.split("HTTP/1.1 ").skip(1).map(|a| &a[..3]).collect();
    assert_eq!(statuses, ["200", "200", "202", "200"]);
    let (others, last) = bytes.rsplit_once("HTTP/1.1").unwrap();
    assert!(!others.contains("Connection: close") && last.contains("Connection: close"));
    assert!(last.ends_with("\r\n\r\nready\n"), "nothing behind the last");
    assert_eq!(bytes.matches("\r\n\r\nok\n").count(), 1, "HEAD has no body");
}

#[test]
fn nothing_is_read_while_an_answer_waits() {
    let mut world = World::new(|_| {});
    let id = world.operator();
    let line = request("GET", "/metrics", "");
    let many = line.repeat(AdminConnection::MAX_HELD / line.len());
    world.receive(id, many.as_bytes());
    assert_eq!(world.hub.metrics().admin_requests(Route::Metrics), 1);
    assert!(!world.hub.resume(id, world.now, &mut world.handler));
    let owed = world.hub.outgoing(id).unwrap().owed();
    assert!(owed < 20_000, "one answer is owed: {owed}");
    world.flush(&[id]);
    assert!(
        !world.hub.resume(id, world.now, &mut world.handler),
        "it is stuck"
    );
    world.hub.writable(id);
    let told = answers(&world.told(id));
    assert_eq!(told.len(), AdminConnection::MAX_HELD / line.len());
    assert!(world.hub.resume(id, world.now, &mut world.handler));
}

#[test]
fn what_comes_while_an_answer_waits_is_answered_in_its_order() {
    let mut world = World::new(|_| {});
    let id = world.operator();
    for target in ["/healthz", "/readyz", "/healthz?", "/rooms"] {
        world.receive(id, request("GET", target, "").as_bytes());
    }
    let told = answers(&world.told(id));
    let bodies: Vec<&str> = told.iter().map(|answer| answer.body.as_str()).collect();
    assert_eq!(bodies[..3], ["ok\n", "ready\n", "ok\n"]);
    assert!(
        bodies.len() == 4 && bodies[3].starts_with('{'),
        "{bodies:?}"
    );
}

#[test]
fn a_driver_that_reads_on_is_bounded_too() {
    let mut world = World::new(|_| {});
    let id = world.operator();
    let line = request("GET", "/healthz", "");
    let half = line.repeat(AdminConnection::MAX_HELD / line.len() / 2);
    world.receive(id, half.as_bytes());
    world.receive(id, half.as_bytes());
    assert_eq!(world.reap(), []);
    world.receive(id, half.as_bytes());
    assert_eq!(world.reap(), [(id, Disconnect::Flood)]);
}

#[test]
fn however_requests_are_cut_the_answers_are_the_same() {
    let stream = [
        request("GET", "/rooms", ""),
        post("/publish/a", "", "hello"),
        request("POST", "/publish", "Transfer-Encoding: chunked\r\n"),
        "2;x\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n".to_owned(),
        "\r\n".to_owned(),
        request("GET", "/nothing", ""),
        request("GET", "/healthz", ""),
    ]
    .concat();
    let told = |cut: usize| {
        let mut world = World::new(|_| {});
        let id = world.operator();
        let mut told = Vec::new();
        for piece in stream.as_bytes().chunks(cut) {
            world.receive(id, piece);
            told.extend(world.told(id));
        }
        told
    };
    let whole = told(usize::MAX);
    let statuses: Vec<u16> = answers(&whole).iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 202, 202, 404]);
    for cut in [1, 2, 3, 7, 50] {
        assert_eq!(told(cut), whole, "in pieces of {cut}");
    }
}

#[test]
fn what_is_published_is_heard() {
    let mut world = World::new(|_| {});
    let operator = world.operator();
    let (a, b) = (world.connect("/ws/a%20b"), world.connect("/ws/a%20b"));
    let other = world.connect("/ws");
    for (target, fields, heard) in [
        ("/publish/a%20b", "", "[81:ünï]"),
        (
            "/publish/a%20b",
            "Content-Type: application/json\r\n",
            "[81:ünï]",
        ),
        (
            "/publish/a%20b",
            "Content-Type: Application/Octet-Stream; x=y\r\n",
            "[82:ünï]",
        ),
    ] {
        world.receive(operator, post(target, fields, "ünï").as_bytes());
        let got = world.flush(&[]);
        let of = |id| {
            got.iter()
                .find(|(who, _)| *who == id)
                .map(|(_, bytes)| bytes)
        };
        assert_eq!(readable(of(a).unwrap()), heard);
        assert_eq!(readable(of(b).unwrap()), heard);
        assert_eq!(of(other), None);
        let answer = answers(of(operator).unwrap()).remove(0);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (201, "{\"receivers\":2}\n")
        );
    }
    world.receive(operator, post("/publish", "", "").as_bytes());
    let got = world.flush(&[]);
    let heard = got.iter().find(|(who, _)| *who == other);
    assert_eq!(
        heard.map(|(_, bytes)| readable(bytes)),
        Some("[81:]".to_owned())
    );
    let nobody = world.answer(operator, post("/publish/c", "", "x"));
    assert_eq!(
        (nobody.status, nobody.body.as_str()),
        (202, "{\"receivers\":0}\n")
    );
    let binary = [post(
        "/publish/c",
        "Content-Type: application/octet-stream\r\n",
        "",
    )
    .as_bytes()]
    .concat();
    assert_eq!(world.answer(operator, binary).status, 202);
}

#[test]
fn nothing_is_published_while_too_much_waits_to_be_heard() {
    let mut world = World::new(|_| {});
    world.hub.set_relaying(true);
    let operator = world.operator();
    world.connect("/ws");
    let clogged = Supplement {
        is_clogged: true,
        ..Supplement::default()
    };
    world.hub.set_supplement(clogged);
    for _ in 0..2 {
        let Answer { status, head, body } = world.answer(operator, post("/publish", "", "x"));
        assert_eq!((status, &*body), (503, "too much waits to be heard\n"));
        assert!(head.contains("\r\nRetry-After: 1\r\n"), "{head}");
        assert!(!head.contains("Connection: close"), "it may ask again");
    }
    assert!(!world.hub.has_relayed());
    world.hub.set_supplement(Supplement::default());
    let answer = world.answer(operator, post("/publish", "", "x"));
    assert_eq!((answer.status, &*answer.body), (201, "{\"receivers\":1}\n"));
    assert!(world.hub.has_relayed());
    let metrics = world.get("/metrics").body;
    let refused = "fanfare_admin_requests_total{route=\"publish\",status=\"5xx\"} 2\n";
    assert!(metrics.contains(refused), "{metrics}");
}

#[test]
fn a_body_comes_in_time_and_in_bounds_or_not_at_all() {
    let mut world = World::new(|config| config.limits.max_message_size = 10);
    let cases = [
        (post("/publish", "", "0123456789"), 202),
        (request("POST", "/publish", "Content-Length: 11\r\n"), 413),
        (
            request("POST", "/publish", "Transfer-Encoding: chunked\r\n") + "b",
            413,
        ),
        (request("POST", "/publish", ""), 411),
        (request("POST", "/publish", "Content-Length: x\r\n"), 400),
        (
            request(
                "POST",
                "/publish",
                "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            ),
            400,
        ),
        (
            request("POST", "/publish", "Transfer-Encoding: gzip, chunked\r\n"),
            501,
        ),
        (
            request("POST", "/publish", "Transfer-Encoding: chunked\r\n") + "zz",
            400,
        ),
        (
            request("POST", "/publish", "Content-Length: 1\r\nExpect: tea\r\n"),
            417,
        ),
        (request("POST", "/publish/", "Content-Length: 1\r\n"), 400),
        (
            request("POST", "/publish/%ff", "Content-Length: 1\r\n"),
            400,
        ),
        (request("GET", "/publish", ""), 405),
        (request("POST", "/metrics", "Content-Length: 1\r\n"), 405),
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET /healthz HTTP/1.0\r\n\r\n".to_owned(), 505),
        ("GET /healthz HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000)), 414),
    ];
    for (bytes, status) in cases {
        let id = world.operator();
        let answer = world.answer(id, &bytes);
        assert_eq!(answer.status, status, "{bytes}");
        assert_eq!(ends(&answer), status != 202, "{bytes}");
        world.hub.hang_up(id, Disconnect::Gone);
        world.reap();
    }
    let mut invalid = request("POST", "/publish", "Content-Length: 1\r\n").into_bytes();
    invalid.push(0xFF);
    let id = world.operator();
    assert_eq!(world.answer(id, &invalid).status, 400);
    for target in ["/publish", "/nothing", "/clients?x", "/metrics"] {
        let id = world.operator();
        world.receive(id, request("HEAD", target, "").as_bytes());
        assert!(
            world.told(id).ends_with(b"\r\n\r\n"),
            "{target}: HEAD has no body"
        );
    }
    let get = world.get("/publish");
    assert!(get.head.contains("\r\nAllow: POST\r\n"), "{}", get.head);
}

#[test]
fn a_body_is_asked_for_only_when_it_will_be_taken() {
    let mut world = World::new(|config| config.limits.max_message_size = 10);
    let expecting = |length: usize| {
        let fields = format!("Expect: 100-continue\r\nContent-Length: {length}\r\n");
        request("POST", "/publish", &fields)
    };
    let id = world.operator();
    world.receive(id, expecting(3).as_bytes());
    assert_eq!(world.told(id), b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(world.answer(id, b"abc").status, 202);
    // It has begun already, or there is none: nothing is asked for.
    assert_eq!(world.answer(id, expecting(3) + "abc").status, 202);
    assert_eq!(world.answer(id, expecting(0)).status, 202);
    assert_eq!(world.answer(id, expecting(11)).status, 413);
}

#[test]
fn a_body_that_nobody_wants_ends_the_connection() {
    let mut world = World::new(|_| {});
    let id = world.operator();
    let fields = "Content-Length: 30\r\n";
    let answer = world.answer(
        id,
        request("GET", "/healthz", fields) + "GET /metrics HTTP/1.1",
    );
    assert!(answer.status == 200 && ends(&answer));
    let id = world.operator();
    let answer = world.answer(id, request("GET", "/healthz", "Content-Length: 0\r\n"));
    assert!(answer.status == 200 && !ends(&answer));
}

#[test]
fn the_handler_says_who_may_publish_before_the_body_is_read() {
    struct Guard;
    impl Handler for Guard {
        fn on_publish(
            &mut self,
            request: &Request<'_>,
            room: &str,
            peer: Peer,
        ) -> Result<(), Rejection> {
            assert_eq!((room, peer), ("news", Peer::Unix));
            match request.values("authorization").next() {
                None => Err(Rejection::Unauthorized),
                Some(b"Bearer good") => Ok(()),
                Some(_) => Err(Rejection::Forbidden),
            }
        }
        fn on_message(&mut self, _: &mut Outbox<'_>, _: ClientId, _: Message<'_>) {}
    }
    let mut world = World::new(|_| {});
    for (fields, status) in [
        ("", 401),
        ("Authorization: Bearer bad\r\n", 403),
        ("Authorization: Bearer good\r\n", 202),
    ] {
        let id = world.operator();
        // Of those who may not, not a byte of the body is waited for.
        let mut bytes = post("/publish/news", fields, "hello");
        if status != 202 {
            bytes.truncate(bytes.len() - 5);
        }
        let (hub, now) = (&mut world.hub, world.now);
        hub.receive(id, &mut bytes.into_bytes(), now, &mut Guard);
        let answer = answers(&world.told(id)).remove(0);
        assert_eq!((answer.status, ends(&answer)), (status, status != 202));
        let asks = answer.head.contains("\r\nWWW-Authenticate: Bearer\r\n");
        assert_eq!(asks, status == 401);
    }
}

#[test]
fn every_wait_has_an_end() {
    let head = request("POST", "/publish", "Content-Length: 5\r\n");
    let begin = |bytes: &[u8]| {
        let mut world = World::new(|config| config.handshake_timeout = seconds(5));
        let id = world.operator();
        world.receive(id, bytes);
        world.told(id);
        (world, id)
    };
    // 1. Nothing is ever asked: it ends without a word.
    let (mut world, id) = begin(b"");
    world.pass(seconds(4));
    assert!(world.told(id).is_empty() && !world.hub.has_work());
    world.pass(seconds(2));
    assert!(world.hub.has_work() && world.told(id).is_empty());
    // 2. A head that trickles.
    let (mut world, id) = begin(b"GET");
    for _ in 0..6 {
        world.receive(id, b"x");
        world.pass(seconds(1));
    }
    assert_eq!(answers(&world.told(id))[0].status, 408);
    // 3. A body that trickles.
    let (mut world, id) = begin(head.as_bytes());
    for _ in 0..3 {
        world.receive(id, b"x");
        world.pass(seconds(9));
    }
    assert!(
        world.told(id).is_empty(),
        "27 s are less than six handshake timeouts"
    );
    world.receive(id, b"x");
    world.pass(seconds(4));
    assert_eq!(answers(&world.told(id))[0].status, 408);
    // 4. Nothing is asked any more.
    let (mut world, id) = begin(request("GET", "/healthz", "").as_bytes());
    world.pass(seconds(74));
    assert!(!world.hub.has_work() && IDLE_TIMEOUT == seconds(75));
    world.pass(seconds(2));
    assert!(world.hub.has_work() && world.told(id).is_empty());
    // 5. An answer that is not taken.
    let mut world = World::new(|config| config.write_timeout = seconds(10));
    let id = world.operator();
    world.receive(id, request("GET", "/metrics", "").as_bytes());
    world.flush(&[id]);
    world.pass(seconds(11));
    assert_eq!(world.reap(), [(id, Disconnect::TooSlow)]);
}

#[test]
fn an_answer_that_is_sipped_has_an_end_too() {
    let mut world = World::new(|_| {});
    let id = world.operator();
    world.receive(id, request("GET", "/metrics", "").as_bytes());
    for _ in 0..20 {
        let mut ids = Vec::new();
        world.hub.take_dirty(&mut ids, world.now);
        if let Some(outgoing) = world.hub.outgoing(id) {
            outgoing.advance(1);
            let _ = world.hub.flushed_admin(id, 1, true, world.now);
        }
        // There is more to read, which is no excuse.
        world.hub.readable(id, true);
        world.pass(seconds(4));
        world.hub.writable(id);
    }
    assert_eq!(world.reap(), [(id, Disconnect::TooSlow)]);
}

#[test]
fn a_drain_is_told_and_operators_are_served_through_it() {
    let mut world = World::new(|_| {});
    let operator = world.operator();
    let client = world.connect("/ws");
    world.hub.drain(world.now, Duration::ZERO);
    let draining = world.answer(operator, request("GET", "/readyz", ""));
    assert_eq!(
        (draining.status, draining.body.as_str()),
        (503, "draining\n")
    );
    let health = world.get("/healthz");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    assert!(
        world
            .get("/metrics")
            .body
            .contains("\nfanfare_draining 1\n")
    );
    assert!(!world.hub.is_empty());
    world.hub.hang_up(client, Disconnect::Gone);
    world.reap();
    assert!(world.hub.is_empty() && world.hub.admin_count() > 0);
}

#[test]
fn clients_are_listed_the_greatest_first() {
    let mut world = World::new(|_| {});
    let first = world.connect("/ws/%22a%5C");
    world.now += seconds(2);
    let second = world.connect("/ws");
    let third = world.accept();
    world.receive(third, b"GET");
    world.receive(second, &text("hello"));
    world.flush(&[second]);
    let lines = |answer: Answer| -> Vec<String> {
        let inner = answer.body.lines().skip(1);
        inner
            .take_while(|line| *line != "]}")
            .map(str::to_owned)
            .collect()
    };
    let all = world.get("/clients");
    assert!(all.head.contains("\r\nContent-Type: application/json\r\n"));
    assert!(
        all.body.starts_with("{\"total\":3,\"clients\":[\n"),
        "{}",
        all.body
    );
    let all = lines(all);
    assert_eq!(all.len(), 3);
    assert_eq!(
        all[0],
        format!(
            "{{\"id\":\"{second}\",\"address\":\"unix\",\"phase\":\"open\",\"room\":\"\",\
             \"age\":0.000,\"bytes_in\":153,\"bytes_out\":129,\"messages_in\":1,\
             \"messages_out\":1,\"backlog\":71,\"peak\":193}},"
        )
    );
    let oldest = lines(world.get("/clients?sort=age&limit=1"));
    assert_eq!(oldest.len(), 1);
    assert!(oldest[0].contains(&format!("\"{first}\"")), "{oldest:?}");
    assert!(
        oldest[0].contains("\"room\":\"\\\"a\\\\\",\"age\":2.000,"),
        "{oldest:?}"
    );
    let busiest = lines(world.get("/clients?sort=bytes"));
    assert!(busiest[2].contains(&format!("\"{third}\"")), "{busiest:?}");
    assert!(busiest[2].contains("\"phase\":\"handshake\",\"room\":null"));
    let bad = world.get("/clients?sort=room");
    assert_eq!(
        (bad.status, bad.body.as_str()),
        (400, "sort is backlog, age or bytes\n")
    );
}

#[test]
fn rooms_are_listed_and_the_list_is_bounded() {
    let mut world = World::new(|config| config.max_connections = 2000);
    for room in ["b", "a", "b", "c"] {
        world.connect(&format!("/ws/{room}"));
    }
    let rooms = world.get("/rooms").body;
    let expected = "{\"total\":3,\"rooms\":[\n{\"name\":\"b\",\"members\":2},\n\
                    {\"name\":\"a\",\"members\":1},\n{\"name\":\"c\",\"members\":1}\n]}\n";
    assert_eq!(rooms, expected);
    let by_name = world.get("/rooms?sort=name&limit=2").body;
    let expected = "{\"total\":3,\"rooms\":[\n{\"name\":\"a\",\"members\":1},\n\
                    {\"name\":\"b\",\"members\":2}\n]}\n";
    assert_eq!(by_name, expected);
    let name = "%22".repeat(128);
    for number in 0..1100 {
        let number = number.to_string();
        world.connect(&format!(
            "/ws/{number}{}",
            &name[..3 * (128 - number.len())]
        ));
    }
    let all = world.get("/rooms?limit=1000").body;
    assert_eq!(all.lines().count(), 1002);
    assert!(all.len() < 300_000, "{}", all.len());
    let all = world.get("/clients?limit=1000").body;
    assert_eq!(all.lines().count(), 1002);
    assert!(all.len() < 1_000_000, "{}", all.len());
    assert_eq!(world.get("/clients").body.lines().count(), 102);
}

#[test]
fn a_long_answer_is_no_reason_to_go() {
    // Clients may owe 131,214 bytes here, and the list has more.
    let mut world = World::new(|config| {
        config.max_connections = 2000;
        config.max_client_buffer = config.min_client_buffer();
    });
    for _ in 0..1000 {
        world.connect("/ws");
    }
    let id = world.operator();
    let answer = world.answer(id, request("GET", "/clients?limit=1000", ""));
    assert!(answer.status == 200 && answer.body.len() > 131_214);
    assert_eq!(world.answer(id, request("GET", "/healthz", "")).status, 200);
}

#[test]
fn what_is_now_is_in_the_metrics() {
    let mut world = World::new(|_| {});
    world.connect("/ws");
    let client = world.connect("/ws/a");
    let _half_open = world.accept();
    world.receive(client, &text("hello"));
    world.flush(&[client]);
    let answer = world.get("/metrics");
    let kind = "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
    assert!(answer.head.contains(kind), "{}", answer.head);
    for line in [
        "fanfare_clients{phase=\"handshake\"} 1",
        "fanfare_clients{phase=\"open\"} 2",
        "fanfare_rooms 2",
        "fanfare_owed_bytes 71",
        "fanfare_admin_connections 1",
        "fanfare_draining 0",
        "fanfare_admin_requests_total{route=\"metrics\",status=\"2xx\"} 0",
        concat!(
            "fanfare_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
    ] {
        assert!(
            answer.body.contains(&format!("\n{line}\n")),
            "{line}\n{}",
            answer.body
        );
    }
    let again = world.get("/metrics").body;
    assert!(again.contains("{route=\"metrics\",status=\"2xx\"} 1\n"));
}

#[test]
fn a_reason_for_a_refusal_is_counted_once() {
    let mut world = World::new(|_| {});
    let client = world.accept();
    world.receive(client, b"nonsense\r\n\r\n");
    world.status(client);
    world.hub.hang_up(client, Disconnect::Gone);
    world.reap();
    let metrics = world.hub.metrics();
    assert_eq!(metrics.refusals(HandshakeError::MalformedHead), 1);
    assert_eq!(metrics.refusals(HandshakeError::NotFound), 0);
    world.hub.drain(world.now, Duration::ZERO);
    assert!(world.hub.accept(Peer::Unix, world.now).is_err());
    assert_eq!(world.hub.metrics().connections_dropped, 1);
}

#[test]
fn what_a_driver_adds_is_told() {
    let mut world = World::new(|config| config.max_connections = 1);
    let readyz = |world: &mut World, target: &str| {
        let Answer { status, body, .. } = world.get(target);
        (status, body)
    };
    let ready = (200, "ready\n".to_owned());
    assert_eq!(readyz(&mut world, "/readyz?strict=1"), ready);
    let mut supplement = Supplement {
        health: "bus=late\n".to_owned(),
        unready: None,
        strictly_unready: Some("bus late"),
        is_clogged: false,
        metrics: "# HELP bus\nbus 1\n".to_owned(),
    };
    world.hub.set_supplement(supplement.clone());
    assert_eq!(world.get("/healthz").body, "ok\nbus=late\n");
    let metrics = world.get("/metrics").body;
    assert!(metrics.ends_with("\n# HELP bus\nbus 1\n") && metrics.starts_with("# HELP fanfare_"));
    for (target, is_strict) in [
        ("/readyz", false),
        ("/readyz?", false),
        ("/readyz?strict=0", false),
        ("/readyz?strict=10", false),
        ("/readyz?strict=1", true),
        ("/readyz?a=b&strict=1", true),
    ] {
        let late = (503, "bus late\n".to_owned());
        let expected = if is_strict { late } else { ready.clone() };
        assert_eq!(readyz(&mut world, target), expected, "{target}");
    }
    supplement.unready = Some("bus away");
    world.hub.set_supplement(supplement);
    let away = (503, "bus away\n".to_owned());
    assert_eq!(readyz(&mut world, "/readyz"), away);
    assert_eq!(readyz(&mut world, "/readyz?strict=1"), away);
    assert_eq!(world.get("/healthz").status, 200, "the loop turns");
    // What the hub knows itself comes first.
    world.connect("/ws");
    assert_eq!(readyz(&mut world, "/readyz"), (503, "full\n".to_owned()));
}
