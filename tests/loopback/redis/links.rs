//! Connections to something that is no Redis, or that is in trouble.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use fanfare::backplane::BackplaneConfig;
use fanfare::{ClientId, Handler, Message, Outbox};
use socket2::{Domain, Socket, Type};

use super::{Probe, join, joined, start};
use crate::admin::with_admin;
use crate::fake_redis::{CHANNEL, FakeRedis, Talk, answer, envelope, message, now};
use crate::peer::{BINARY, DEADLINE, PING, PONG, frame};
use crate::running::{Event, Running, config};

const SHORT: Duration = Duration::from_millis(300);

/// Clients hear each other, and the loop turns, whatever is there instead of a Redis.
fn check_serves(server: &Running) {
    let probe = Probe::start(server.address());
    let mut peers = ["/ws/a", "/ws/a"].map(|path| server.open(path));
    for i in 0..10 {
        let text = format!("word {i}");
        peers[0].send_text(&text);
        for peer in &mut peers {
            peer.expect_text(&text);
        }
    }
    probe.check();
}

/// However the answers are cut, and however often the socket says that it can be written: each
/// command is sent once, and each answer is taken for that of its command.
#[test]
fn a_slow_drip_of_answers_is_read_and_nothing_is_said_twice() {
    let fake = FakeRedis::start();
    let server = start(&fake, |_| {});
    let mut talk = fake.accept();
    let hello = talk.expect("HELLO");
    talk.drip(answer(&hello));
    let subscribe = talk.expect("SUBSCRIBE");
    talk.drip(answer(&subscribe));
    let probe = Probe::start(server.address());
    let mut peer = server.open("/ws");
    let mut publish = talk.command();
    while publish.get(1).map(Vec::as_slice) != Some(CHANNEL.as_bytes()) {
        // A heartbeat, and questions who has subscribed, and what the role is; nothing that is
        // said once.
        let words: Vec<_> = publish
            .iter()
            .map(|word| String::from_utf8_lossy(word))
            .collect();
        assert!(words[0] != "SUBSCRIBE" && words.len() <= 3, "{words:?}");
        talk.drip(answer(&publish));
        if server.ask("/healthz").1.contains("redis=up") {
            peer.send_text("one");
        }
        publish = talk.command();
    }
    assert_eq!(publish[0], b"PUBLISH");
    talk.drip(answer(&publish));
    peer.expect_text("one");
    let word = envelope(7, 1, "", b"from elsewhere");
    talk.drip(message(CHANNEL, &word));
    peer.expect_frame(BINARY, b"from elsewhere");
    probe.check();
}

/// More than one turn reads, all of it in the kernel already: no event tells of the rest.
#[test]
fn what_one_turn_does_not_read_the_next_ones_do() {
    const LEN: usize = 8 << 20;

    let (server, _fake, redis) = joined(|config| {
        config.hub.limits.max_message_size = LEN;
        config.hub.max_client_buffer = 4 * LEN;
    });
    let probe = Probe::start(server.address());
    let mut peer = server.open("/ws");
    for byte in 0..4 {
        let payload = vec![byte; LEN];
        redis.publish(&envelope(7, u64::from(byte) + 1, "", &payload));
        peer.expect_frame(BINARY, &payload);
    }
    probe.check();
}

/// Holds the loop up whenever somebody says something, until it is told to go on.
struct Holder {
    held: Sender<Event>,
    go_on: Receiver<()>,
}

impl Handler for Holder {
    fn on_message(&mut self, _: &mut Outbox<'_>, _: ClientId, _: Message<'_>) {
        let _ = self.held.send(Event::Opened);
        let _ = self.go_on.recv_timeout(DEADLINE);
    }
}

/// All of it is in the kernel, which has told of it once.
#[test]
fn what_came_while_the_loop_was_busy_is_read_to_its_end() {
    const LEN: usize = 1000;
    const WARM_UP: u64 = 16_000;
    const COUNT: u64 = 2_000;

    let fake = FakeRedis::start();
    let mut config = config();
    config.backplane = Some(fake.config());
    config.hub.max_client_buffer = 64 << 20;
    let (held, events) = channel();
    let (release, go_on) = channel();
    let server = Running::start_with(config, Holder { held, go_on }, events);
    let redis = fake.accept().serve_from_the_start();
    let mut peer = server.open("/ws");
    let batch = |from: u64, count: u64| {
        let numbers = from..from + count;
        let messages = numbers.map(|i| message(CHANNEL, &envelope(7, i, "", &[b'x'; LEN])));
        messages.flatten().collect::<Vec<u8>>()
    };
    // The kernel learns that it may hold much of this connection.
    std::thread::scope(|scope| {
        let (voice, warm_up) = (redis.voice.clone(), batch(1, WARM_UP));
        scope.spawn(move || voice.send(warm_up));
        for _ in 0..WARM_UP {
            peer.expect_frame(BINARY, [b'x'; LEN]);
        }
    });
    peer.send_text("hold");
    server.event();
    redis.send(batch(WARM_UP + 1, COUNT));
    release.send(()).expect("it is held up");
    for _ in 0..COUNT {
        peer.expect_frame(BINARY, [b'x'; LEN]);
    }
}

#[test]
fn what_is_no_redis_is_left_and_asked_again_but_not_all_the_time() {
    let answers: [&[u8]; 6] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"$1073741824\r\n",
        &b"*1\r\n".repeat(10_000),
        b"*1000000000\r\n",
        b"+OK\r\n",
    ];
    for said in answers {
        let fake = FakeRedis::start();
        let server = start(&fake, |_| {});
        let mut talk = fake.accept();
        talk.expect("HELLO");
        talk.send(said);
        talk.expect_end();
        check_serves(&server);
        // It comes back, and not in a hurry.
        let count = fake.count(Duration::from_secs(1));
        assert!((1..40).contains(&count), "{count} times in a second");
        assert!(server.ask("/healthz").1.contains("redis=down"));
    }
}

#[test]
fn junk_in_the_middle_of_it_ends_a_connection_and_another_takes_over() {
    let (server, fake, mut redis) = joined(|_| {});
    let mut peer = server.open("/ws");
    for junk in [&b":1\r\n"[..], b"$-5\r\n", b"\0", b">1\r\n*1\r\n*1\r\n"] {
        peer.check_echo();
        redis.send(junk);
        redis = fake.accept().serve_from_the_start();
        redis.publish(b"back again");
        peer.expect_text("back again");
        server.wait_until("redis=up");
    }
}

#[test]
fn nobody_there_costs_nothing_and_whoever_comes_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let server = Running::start(|config| {
        let url = format!("redis://{address}");
        config.backplane = Some(url.parse().expect("it is a URL"));
        with_admin(config);
    });
    check_serves(&server);
    assert_eq!(server.ask("/readyz"), (503, "backplane down\n".to_owned()));
    let fake = FakeRedis::on(TcpListener::bind(address).expect("the port is free still"));
    let redis = fake.accept().serve_from_the_start();
    server.wait_until("redis=up");
    server.open("/ws").check_echo();
    while redis.published() != "are you there?" {}
}

/// It takes the connection, and nothing else.
#[test]
fn who_never_answers_is_left_in_time() {
    let fake = FakeRedis::start();
    let server = start(&fake, |config| {
        let backplane = config.backplane.as_mut().expect("it is set");
        backplane.op_timeout = SHORT;
    });
    let mut talk = fake.accept();
    talk.expect("HELLO");
    check_serves(&server);
    talk.expect_end();
    let _redis = fake.accept().serve_from_the_start();
    server.wait_until("redis=up");
}

/// The kernel does not answer either: the listener's queue is full.
#[test]
fn a_hole_is_left_in_time() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a free descriptor");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any.into()).expect("a free port");
    listener.listen(0).expect("it is bound");
    let address = listener.local_addr().expect("it is bound").as_socket();
    let address = address.expect("it is IPv4");
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, SHORT) {
        waiting.push(stream);
        assert!(waiting.len() < 10, "nobody accepts them");
    }
    let server = Running::start(|config| {
        let url = format!("redis://{address}");
        let mut backplane: BackplaneConfig = url.parse().expect("a URL");
        backplane.op_timeout = SHORT;
        config.backplane = Some(backplane);
        with_admin(config);
    });
    check_serves(&server);
    let name = "fanfare_redis_reconnects_total{reason=\"connect\"}";
    let deadline = now() + DEADLINE;
    while server.metric(name) < 2 {
        assert!(now() < deadline, "it is still waited for");
    }
}

/// What was said before the end is read, and then the end.
#[test]
fn the_last_words_before_an_end_are_heard() {
    let (server, fake, redis) = joined(|_| {});
    let mut peer = server.open("/ws");
    peer.send_frame(PING, b"");
    peer.expect_frame(PONG, b"");
    let mut stream = redis.stall();
    let last = message(CHANNEL, &envelope(7, 1, "", b"the last word"));
    stream.write_all(&last).expect("the server reads");
    stream.shutdown(Shutdown::Write).expect("it is open");
    drop(stream);
    peer.expect_frame(BINARY, b"the last word");
    // It comes again.
    let _redis = fake.accept().serve_from_the_start();
    server.wait_until("redis=up");
    assert_eq!(
        server.metric("fanfare_redis_reconnects_total{reason=\"end\"}"),
        1
    );
}

/// It takes nothing for a while, and then all.
#[test]
fn what_a_link_does_not_take_waits_until_it_does() {
    const WORDS: usize = 200;

    let (server, _fake, redis) = joined(|config| {
        let backplane = config.backplane.as_mut().expect("it is set");
        backplane.op_timeout = DEADLINE;
    });
    let mut peer = server.open("/ws");
    let word = |i: usize| vec![u8::try_from(i).expect("it is less"); 60_000];
    let bytes: Vec<u8> = (0..WORDS).flat_map(|i| frame(BINARY, &word(i))).collect();
    let stalled = redis.stall();
    let mut writer = peer.stream.try_clone().expect("a free descriptor");
    let writing = std::thread::spawn(move || writer.write_all(&bytes).expect("it is read"));
    // They are heard without Redis, which is late.
    for i in 0..WORDS {
        peer.expect_frame(BINARY, word(i));
    }
    writing.join().expect("all is read");
    drop(stalled);
    for _ in 0..WORDS {
        let published = redis.published.recv_timeout(DEADLINE);
        assert!(published.expect("all is published").len() > 60_000);
    }
    server.wait_until("redis=up");
    peer.check_echo();
}

#[cfg(unix)]
#[test]
fn a_unix_socket_leads_to_redis_as_well() {
    let path = std::env::temp_dir().join(format!("fanfare-redis-{}", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a free path");
    let server = Running::start(|config| {
        let url = format!("unix://{}", path.display());
        config.backplane = Some(url.parse().expect("it is a URL"));
        with_admin(config);
    });
    let (stream, _) = listener.accept().expect("it connects");
    std::fs::remove_file(&path).expect("it is there");
    let mut talk = Talk::new(stream);
    join(&server, &mut talk);
    let mut peer = server.open("/ws");
    talk.send(message(CHANNEL, b"hi"));
    peer.expect_text("hi");
}
