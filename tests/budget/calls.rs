//! System calls of the real server, noted by `strace`: which ones a message, a newcomer, a
//! heartbeat and a departure cost.

use std::fmt::Write;
use std::time::Duration;

use crate::peer::{self, Peer};
use crate::record::{self, Value};
use crate::support::{Crowd, Deadline, Heard, Server, TEXT, encode_masked};
use crate::trace::{calls, trace_at_rest};

/// The members of a room, where they are many.
const CROWD: usize = 1000;

/// How long one step may take. Under `strace`, everything takes several times as long.
const LIMIT: Duration = Duration::from_secs(60);

/// How often a step is repeated. The time of which the fewest calls were made counts: a deadline
/// that passes in the middle of a step adds a turn to it.
const REPEATS: usize = 5;

/// Deadlines as far away as can be.
const QUIET: &[&str] = &[
    "--ping-interval=5m",
    "--pong-timeout=10s",
    "--handshake-timeout=50s",
    "--close-timeout=50s",
];

/// A server, and how much of what it has done is counted already.
struct Watched {
    server: Server,
    seen: usize,
}

impl Watched {
    fn start(arguments: &[&str]) -> Self {
        let server = Server::start_traced("all", arguments);
        Self { server, seen: 0 }
    }

    /// The calls that the server has made since the last look. The wait that it is in when it has
    /// come to rest is one of them.
    fn take(&mut self) -> Vec<String> {
        let trace = trace_at_rest(&self.server);
        let new = calls(&trace[self.seen..]).map(str::to_owned).collect();
        self.seen = trace.len();
        new
    }

    /// The calls of a step: the fewest of several times.
    fn fewest(&mut self, mut step: impl FnMut()) -> Vec<String> {
        self.take();
        (0..REPEATS)
            .map(|_| {
                step();
                self.take()
            })
            .min_by_key(Vec::len)
            .expect("it was done at least once")
    }
}

/// The calls in their order, as they are stored.
fn list(calls: &[String]) -> Value {
    let mut list = String::new();
    for run in calls.chunk_by(|one, other| one == other) {
        let plus = if list.is_empty() { "" } else { "+" };
        write!(list, "{plus}{}", run[0]).expect("a string takes everything");
        if run.len() > 1 {
            write!(list, "*{}", run.len()).expect("a string takes everything");
        }
    }
    Value::List(list)
}

fn per(calls: &[String], count: usize) -> Value {
    Value::ratio(calls.len() as u64, count)
}

/// Lets each of these clients say so many messages together, and waits until all have heard all.
fn broadcast(crowd: &mut Crowd, speakers: usize, messages: usize) {
    let mut said = Vec::new();
    for _ in 0..messages {
        encode_masked(TEXT, &[b'x'; 64], &mut said);
    }
    for speaker in 0..speakers {
        crowd.send_raw(speaker, &said);
    }
    hear(crowd, speakers * messages * CROWD);
}

/// Waits until so many messages have been heard.
fn hear(crowd: &mut Crowd, mut left: usize) {
    let deadline = Deadline::new("everybody hears everything", LIMIT);
    while left > 0 {
        crowd.turn(deadline.left(), |index, what| match what {
            Heard::Message(_) => left -= 1,
            other => panic!("client {index} heard {other:?}"),
        });
    }
}

#[test]
#[ignore = "1000 clients and strace: run by ./test budget"]
fn system_calls_of_a_broadcast() {
    /// Publishers of the last of the scenarios, and messages that each has under way.
    const PUBLISHERS: usize = 4;
    const WINDOW: usize = 16;

    let mut watched = Watched::start(QUIET);
    let mut crowd = Crowd::of(CROWD, &watched.server, "room");
    let mut counts = Vec::new();
    for (name, messages) in [("serial", 1), ("burst-16", 16)] {
        let calls = watched.fewest(|| broadcast(&mut crowd, 1, messages));
        counts.push((format!("fan-out/{name}/turn"), list(&calls)));
        let value = per(&calls, messages * CROWD);
        counts.push((format!("fan-out/{name}/delivery"), value));
    }
    // How many turns that takes is up to the scheduler.
    let calls = watched.fewest(|| broadcast(&mut crowd, PUBLISHERS, WINDOW));
    let value = per(&calls, PUBLISHERS * WINDOW * CROWD);
    counts.push(("fan-out/4-publishers-16/delivery".to_owned(), value));
    record::check("fan-out", &counts);
}

#[test]
#[ignore = "strace: run by ./test budget"]
fn system_calls_of_an_echo() {
    const CLIENTS: usize = 100;

    let mut watched = Watched::start(QUIET);
    let mut crowd = Crowd::of(0, &watched.server, "");
    for room in 0..CLIENTS {
        crowd.connect(1, &watched.server, &room.to_string());
    }
    let mut calls = watched.fewest(|| {
        for index in 0..CLIENTS {
            crowd.send(index, TEXT, &[b'x'; 64]);
        }
        hear(&mut crowd, CLIENTS);
    });
    // How many turns that takes is up to the scheduler, and one is one wait.
    let turns = per(&calls, CLIENTS);
    calls.retain(|call| call != "epoll_wait");
    calls.sort_unstable();
    let counts = [
        ("echo/100/calls-but-waits".to_owned(), list(&calls)),
        ("echo/100/delivery".to_owned(), turns),
    ];
    record::check("echo", &counts);
}

#[test]
#[ignore = "strace: run by ./test budget"]
fn system_calls_of_a_connection() {
    let mut watched = Watched::start(QUIET);
    let address = watched.server.address;
    // The first of everything is not counted: allocators and tables grow with it.
    let mut lists: Vec<[Value; 7]> = (0..2).map(|_| connection(&mut watched, address)).collect();
    let steps = [
        "accept",
        "handshake",
        "message",
        "ping",
        "close",
        "end",
        "hang-up",
    ];
    let last = lists.pop().expect("there are two");
    let counts: Vec<(String, Value)> = steps
        .iter()
        .zip(last)
        .map(|(step, list)| (format!("connection/{step}"), list))
        .collect();
    record::check("connection", &counts);
}

/// A client's life step by step; and the end of another's who goes without a Close.
fn connection(watched: &mut Watched, address: std::net::SocketAddr) -> [Value; 7] {
    watched.take();
    let mut peer = Peer::connect(address);
    let accept = list(&watched.take());
    peer.upgrade("/ws");
    let handshake = list(&watched.take());
    peer.check_echo();
    let message = list(&watched.take());
    peer.send_frame(peer::PING, b"there?");
    peer.expect_frame(peer::PONG, b"there?");
    let ping = list(&watched.take());
    peer.send_frame(peer::CLOSE, peer::close_payload(1000, ""));
    peer.expect_close(1000);
    let close = list(&watched.take());
    drop(peer);
    let end = list(&watched.take());
    let other = Peer::open(address, "/ws");
    watched.take();
    drop(other);
    [
        accept,
        handshake,
        message,
        ping,
        close,
        end,
        list(&watched.take()),
    ]
}

/// Between two heartbeats nothing happens: this is all that the server does from one Ping to the
/// next.
#[test]
#[ignore = "strace: run by ./test budget"]
fn system_calls_of_a_heartbeat() {
    /// By then what the handshake had left to come has come.
    const HEARTBEATS: usize = 4;

    let mut watched = Watched::start(&[
        "--ping-interval=1500ms",
        "--pong-timeout=500ms",
        "--handshake-timeout=1s",
    ]);
    let mut peer = Peer::open(watched.server.address, "/ws");
    for _ in 0..HEARTBEATS {
        peer.expect_frame(peer::PING, b"");
        peer.send_frame(peer::PONG, b"");
    }
    let calls = watched.take();
    let pings: Vec<usize> = (0..calls.len())
        .filter(|index| calls[*index] == "sendto")
        .collect();
    let [.., from, to] = pings[..] else {
        panic!("fewer than two Pings: {calls:?}");
    };
    record::check(
        "heartbeat",
        &[("heartbeat/one-client".to_owned(), list(&calls[from..to]))],
    );
}
