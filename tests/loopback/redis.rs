//! Rooms that are shared through Redis, and a Redis that does what a test wants.

#[path = "redis/catching_up.rs"]
mod catching_up;
#[path = "redis/links.rs"]
mod links;
#[path = "redis/operators.rs"]
mod operators;
#[path = "redis/stopping.rs"]
mod stopping;
#[path = "redis/tls.rs"]
#[cfg(feature = "tls")]
mod tls;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::mpsc::{RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use fanfare::{Broadcast, ServerConfig};

use crate::admin::with_admin;
use crate::fake_redis::{CHANNEL, FakeRedis, Redis, Talk, answer, envelope, message, now};
use crate::peer::{BINARY, DEADLINE, PING, PONG, Peer, TEXT, frame};
use crate::running::{Running, config};

/// How long a busy machine may keep one of many Pongs.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long the loop may be busy with something else; in a debug build that takes longer.
const LATENCY: Duration = Duration::from_millis(if cfg!(debug_assertions) { 60 } else { 20 });

/// A server that shares its rooms through `redis`.
fn start(redis: &FakeRedis, change: impl FnOnce(&mut ServerConfig)) -> Running {
    Running::start(|config| {
        config.backplane = Some(redis.config());
        with_admin(config);
        change(config);
    })
}

/// The same, once its messages go through Redis.
fn joined(change: impl FnOnce(&mut ServerConfig)) -> (Running, FakeRedis, Redis) {
    let fake = FakeRedis::start();
    let server = start(&fake, change);
    let redis = fake.accept().serve_from_the_start();
    server.wait_until("redis=up");
    (server, fake, redis)
}

/// Answers until messages go through Redis: a heartbeat must have come back.
fn join<S: Read + Write>(server: &Running, talk: &mut Talk<S>) {
    talk.greet();
    while !server.ask("/healthz").1.contains("redis=up") {
        let command = talk.command();
        talk.send(answer(&command));
    }
}

impl Running {
    /// What is answered to an operator: the status, and the body.
    fn ask(&self, target: &str) -> (u16, String) {
        let mut operator = Peer::connect(self.admin_address());
        operator.send(format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ));
        let answer = String::from_utf8(operator.read_to_end()).expect("it is text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    /// Asks how it is until this is in the answer.
    fn wait_until(&self, state: &str) {
        let deadline = now() + DEADLINE;
        loop {
            let (_, body) = self.ask("/healthz");
            if body.contains(state) {
                return;
            }
            assert!(now() < deadline, "no {state}, but {body}");
        }
    }

    /// Waits for a stop to begin.
    fn wait_until_draining(&self) {
        let deadline = now() + DEADLINE;
        while self.ask("/readyz") != (503, "draining\n".to_owned()) {
            assert!(now() < deadline, "it does not stop");
        }
    }

    /// A figure of `/metrics`.
    fn metric(&self, name: &str) -> u64 {
        let (_, page) = self.ask("/metrics");
        let mut lines = page.lines().filter_map(|line| line.rsplit_once(' '));
        let found = lines.find(|(key, _)| *key == name);
        let value = found.and_then(|(_, value)| value.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {page}"))
    }
}

/// Pongs that a probe waits for at least, and the pause behind each.
const MIN_PONGS: usize = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// Two clients who want a Pong every other millisecond: one of the server, and for comparison one
/// of a server that knows no Redis, on the same busy machine.
struct Probe {
    stops: [Sender<()>; 2],
    threads: [JoinHandle<Vec<Duration>>; 2],
    _control: Running,
}

impl Probe {
    fn start(address: SocketAddr) -> Self {
        let control = Running::start(|_| {});
        let [(stop, thread), (other_stop, other_thread)] = [address, control.address()].map(ping);
        Self {
            stops: [stop, other_stop],
            threads: [thread, other_thread],
            _control: control,
        }
    }

    /// The loop turned all the time. A machine that is busy keeps some Pongs for longer; a loop
    /// that waits for Redis keeps one for as long as that takes.
    fn check(self) {
        drop(self.stops);
        let [here, there] = self.threads.map(|thread| {
            let mut latencies = thread.join().expect("Pongs come");
            latencies.sort_unstable();
            let count = latencies.len();
            [latencies[(count - 1) * 98 / 100], latencies[count - 1]]
        });
        println!("98 % of the Pongs, and all, took {here:?} at most, elsewhere {there:?}");
        for (limit, (took, control)) in [LATENCY, PATIENCE].iter().zip(here.iter().zip(there)) {
            let most = *limit + 2 * control;
            assert!(*took < most, "a Pong took {took:?}, elsewhere {control:?}");
        }
    }
}

fn ping(address: SocketAddr) -> (Sender<()>, JoinHandle<Vec<Duration>>) {
    let (stop, stopped) = channel();
    let mut peer = Peer::open(address, "/ws/probe");
    let thread = std::thread::spawn(move || {
        let mut latencies = Vec::new();
        while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout)
            || latencies.len() < MIN_PONGS
        {
            let asked = now();
            peer.send_frame(PING, b"");
            peer.expect_frame(PONG, b"");
            latencies.push(asked.elapsed());
        }
        latencies
    });
    (stop, thread)
}

#[test]
fn a_message_is_heard_when_it_comes_back() {
    let (server, _fake, redis) = joined(|_| {});
    let [mut a, mut b] = ["/ws", "/ws"].map(|path| server.open(path));
    let stalled = redis.stall();
    a.send_text("one");
    server.heard("one");
    a.send_frame(PING, b"?");
    a.expect_frame(PONG, b"?");
    drop(stalled);
    for peer in [&mut a, &mut b] {
        peer.expect_text("one");
    }
    assert_eq!(redis.published(), "one");
    // Only once.
    a.check_echo();
    b.expect_text("are you there?");
    drop((a, b));
    server.check_serves();
    server.check_ends_empty();
}

#[test]
fn others_are_heard_in_the_rooms_that_they_name() {
    let (server, _fake, redis) = joined(|_| {});
    let [mut hall, mut news] = ["/ws", "/ws/news"].map(|path| server.open(path));
    redis.publish(&envelope(7, 1, "news", b"from a server"));
    redis.publish(b"from a program");
    redis.publish(&envelope(7, 1, "news", b"from a server"));
    redis.publish(&envelope(7, 2, "nobody is here", b"from a server"));
    redis.send(message("another channel", b"for somebody else"));
    redis.publish(b"\xFF\x00");
    news.expect_frame(BINARY, b"from a server");
    hall.expect_frame(TEXT, b"from a program");
    hall.expect_frame(BINARY, b"\xFF\x00");
    news.check_echo();
    hall.check_echo();
    assert_eq!(server.metric("fanfare_redis_duplicates_filtered_total"), 1);
}

#[test]
fn without_echo_the_sender_alone_does_not_hear_itself() {
    let fake = FakeRedis::start();
    let mut config = config();
    config.backplane = Some(fake.config());
    let (_none, events) = channel();
    let server = Running::start_with(config, Broadcast::new(false), events);
    let redis = fake.accept().serve_from_the_start();
    let [mut a, mut b] = [(); 2].map(|()| server.open("/ws"));
    for text in ["1", "2"] {
        a.send_text(text);
        b.expect_text(text);
        assert_eq!(redis.published(), text);
    }
    b.send_text("3");
    a.expect_text("3");
}

/// While there is no Redis, and when it comes.
#[test]
fn clients_are_served_without_redis_and_others_hear_it_later() {
    let fake = FakeRedis::start();
    let server = start(&fake, |_| {});
    let mut peer = server.open("/ws");
    let probe = Probe::start(server.address());
    for text in ["one", "two"] {
        peer.send_text(text);
        peer.expect_text(text);
    }
    let redis = fake.accept().serve_from_the_start();
    for text in ["one", "two"] {
        assert_eq!(redis.published(), text);
    }
    // What comes back now has been heard.
    server.wait_until("redis=up");
    peer.check_echo();
    assert_eq!(redis.published(), "are you there?");
    probe.check();
}

/// Redis says more than can be said here, and clients do too: both go on.
#[test]
fn a_flood_from_redis_and_one_from_clients_leave_each_other_room() {
    let (server, _fake, redis) = joined(|_| {});
    let mut peer = server.open("/ws");
    // 1. Others say much, where one client hears it.
    let (stop, stopped) = channel::<()>();
    let voice = redis.voice.clone();
    let message = |_| message(CHANNEL, &envelope(0, 0, "flood", &[7; 100]));
    let chunk: Vec<u8> = (0..500).flat_map(message).collect();
    let others = std::thread::spawn(move || {
        while stopped.try_recv() == Err(TryRecvError::Empty) {
            voice.send(&chunk);
        }
    });
    // 2. And so do clients here, to each other.
    let flooders = [(); 2].map(|()| server.open("/ws/flood"));
    let flooders = flooders.map(|mut peer| {
        let stream = || peer.stream.try_clone().expect("a free descriptor");
        let (mut writer, end) = (stream(), stream());
        std::thread::spawn(move || while peer.try_read_frame().is_ok() {});
        std::thread::spawn(move || {
            let chunk = frame(BINARY, &[7; 1000]).repeat(50);
            while writer.write_all(&chunk).is_ok() {}
        });
        end
    });
    // 3. Whoever says something in between is heard, from here and from there.
    let mut slowest = [Duration::ZERO; 2];
    for i in 0..10 {
        let text = format!("word {i}");
        for (from, slowest) in slowest.iter_mut().enumerate() {
            let begun = now();
            match from {
                0 => peer.send_text(&text),
                _ => redis.publish(text.as_bytes()),
            }
            peer.expect_text(&text);
            *slowest = begun.elapsed().max(*slowest);
        }
    }
    println!(
        "a word from here took {:?}, from there {:?}",
        slowest[0], slowest[1]
    );
    assert!(slowest[0] < 5 * PATIENCE, "{slowest:?}");
    drop(stop);
    for end in flooders {
        let _ = end.shutdown(Shutdown::Both);
    }
    others.join().expect("the server reads");
}
