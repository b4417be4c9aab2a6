//! Many clients at once: what they cost in system calls, memory and time.
//!
//! Each test prints its figures in one line. Run them by `./test scale`: in release mode, one after
//! another, on Linux, with `strace` installed.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(
    clippy::cast_precision_loss,
    reason = "figures are printed to a few digits"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "what is measured here is the machine's time"
)]

mod support;
#[path = "support/trace.rs"]
mod trace;

use std::sync::mpsc::{RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use support::{BINARY, CLOSE, Crowd, Deadline, Heard, Server, TEXT, encode_masked};
use trace::{calls, trace_at_rest};

/// The clients of most tests.
const CROWD: usize = 1000;

/// How long one step of a test may take. Under `strace`, everything takes several times as long.
const LIMIT: Duration = Duration::from_secs(60);

/// Every system call that could send something.
const SENDS: &str =
    "write,writev,sendto,sendmsg,sendmmsg,sendfile,splice,pwrite64,pwritev,pwritev2";

/// Lets client 0 send these bytes, and waits until everybody has heard `messages` messages.
fn broadcast(crowd: &mut Crowd, bytes: &[u8], messages: usize) {
    let mut heard = [0; CROWD];
    let mut happy = 0;
    let deadline = Deadline::new("everybody hears everything", LIMIT);
    crowd.send_raw(0, bytes);
    while happy < CROWD {
        crowd.turn(deadline.left(), |index, what| match what {
            Heard::Message(_) => {
                heard[index] += 1;
                assert!(heard[index] <= messages, "client {index} hears too much");
                happy += usize::from(heard[index] == messages);
            }
            other => panic!("client {index} heard {other:?}"),
        });
    }
}

/// Fan-out must cost one system call a client and turn: not one a message, nor any for looking.
#[test]
#[ignore = "1000 clients and strace: run by ./test scale"]
fn a_broadcast_costs_one_send_a_client_however_many_messages_it_is() {
    let server = Server::start_traced(SENDS, &["--ping-interval=5m"]);
    let mut crowd = Crowd::of(CROWD, &server, "room");
    let mut message = Vec::new();
    encode_masked(TEXT, b"what everybody hears", &mut message);
    // The first time is not counted: by then, all that belongs to the handshakes is over.
    broadcast(&mut crowd, &message, 1);
    let mut marks = vec![server.trace().len()];
    for messages in [1, 10, 1] {
        broadcast(&mut crowd, &message.repeat(messages), messages);
        marks.push(server.trace().len());
    }
    let trace = server.trace();
    let sends: Vec<usize> = marks
        .iter()
        .zip(&marks[1..])
        .map(|(from, to)| calls(&trace[*from..*to]).count())
        .collect();
    println!(
        "fan-out to {CROWD} clients: 1 message costs {} sends, 10 messages in one segment cost {}",
        sends[0], sends[1]
    );
    // The last figure would show what came late of the others.
    assert_eq!(sends, [CROWD; 3]);
}

/// Interest is registered once for a socket's whole life: not changed with every blocked write.
#[test]
#[ignore = "1000 clients and strace: run by ./test scale"]
fn epoll_ctl_is_called_once_for_each_socket() {
    /// A listener, a waker, signals; and room for one more.
    const OURS: usize = 4;

    let mut server = Server::start_traced("epoll_ctl", &["-v"]);
    let mut crowd = Crowd::of(CROWD, &server, "room");
    let mut ended = 0;
    for index in 0..CROWD / 2 {
        crowd.send(index, CLOSE, &1000_u16.to_be_bytes());
        drop(crowd.take(CROWD / 2 + index));
    }
    let deadline = Deadline::new("the closing handshakes", LIMIT);
    while ended < CROWD / 2 {
        crowd.turn(deadline.left(), |_, heard| {
            ended += usize::from(heard == Heard::End);
        });
    }
    for _ in 0..CROWD {
        server.line("gone id=");
    }
    server.terminate();
    assert_eq!(server.end(), Some(0));
    let trace = server.trace();
    let operation = |name| trace.lines().filter(|line| line.contains(name)).count();
    let [adds, changes, deletions] =
        ["EPOLL_CTL_ADD", "EPOLL_CTL_MOD", "EPOLL_CTL_DEL"].map(operation);
    println!(
        "epoll_ctl for {CROWD} clients who come and go: {adds} add, {changes} modify, \
         {deletions} delete"
    );
    assert!(trace.contains("+++ exited with 0"), "the trace is complete");
    assert!(adds >= CROWD, "epoll_ctl is what the loop uses");
    assert!(calls(&trace).count() <= CROWD + OURS);
}

/// Slow clients must cost neither memory in proportion to what they miss, nor the others anything.
#[test]
#[ignore = "1000 clients and 12 GB: run by ./test scale"]
fn slow_clients_are_dropped_and_the_others_miss_nothing() {
    const SLOW: usize = 100;
    const HONEST: usize = CROWD - SLOW;
    const MESSAGES: usize = 200;
    const MESSAGE_BYTES: usize = 64 * 1024;
    /// Messages that some honest client may be waiting for. A few, since one thread plays them all.
    const WINDOW: usize = 2;
    const MAX_MEMORY: u64 = 64 * 1024 * 1024;

    let server = Server::start(&["-v"]);
    let mut crowd = Crowd::of(CROWD, &server, "room");
    let _slow: Vec<_> = (HONEST..CROWD).map(|index| crowd.take(index)).collect();
    let messages: Vec<Vec<u8>> = (0..MESSAGES)
        .map(|number| {
            // No two are the same, nor two places of one: 8 bytes that count on from message to
            // message.
            let words = (0..MESSAGE_BYTES / 8).map(|word| number * MESSAGE_BYTES / 8 + word);
            words.flat_map(|word| (word as u64).to_be_bytes()).collect()
        })
        .collect();
    let mut next = [0; HONEST];
    let mut heard = [0; MESSAGES];
    let begun = Instant::now();
    let deadline = Deadline::new("900 clients hear 200 messages", 2 * LIMIT);
    for number in 0..MESSAGES + WINDOW - 1 {
        if number < MESSAGES {
            crowd.send(0, BINARY, &messages[number]);
        }
        let Some(awaited) = (number + 1).checked_sub(WINDOW) else {
            continue;
        };
        while heard[awaited] < HONEST {
            crowd.turn(deadline.left(), |index, what| match what {
                Heard::Message(payload) => {
                    assert!(
                        payload == messages[next[index]],
                        "client {index} misses one"
                    );
                    heard[next[index]] += 1;
                    next[index] += 1;
                }
                other => panic!("client {index} heard {other:?}"),
            });
        }
    }
    let elapsed = begun.elapsed();
    for _ in 0..SLOW {
        let line = server.line(" gone id=");
        assert!(line.contains(" cause=too_slow "), "{line}");
    }
    let peak = server.memory("VmHWM:");
    let other = server.stderr.try_iter().find(|l| l.contains(" gone id="));
    assert_eq!(other, None, "nobody else has left");
    println!(
        "{SLOW} of {CROWD} clients do not read, {MESSAGES} messages of {MESSAGE_BYTES} bytes: \
         {SLOW} dropped as too slow, {HONEST} heard all in {:.1} s ({:.0} MB/s), peak memory \
         {:.1} MiB",
        elapsed.as_secs_f64(),
        (HONEST * MESSAGES * MESSAGE_BYTES) as f64 / 1e6 / elapsed.as_secs_f64(),
        peak as f64 / 1024.0 / 1024.0,
    );
    assert!(peak < MAX_MEMORY, "{peak} bytes");
}

/// A client that is silent owns its state and no buffer.
#[test]
#[ignore = "10,000 clients: run by ./test scale"]
fn an_idle_client_costs_at_most_400_bytes() {
    const IDLE: usize = 10_000;
    const MAX_BYTES: f64 = 400.0;

    let descriptors = rlimit::increase_nofile_limit(u64::MAX).expect("there is a limit");
    assert!(
        descriptors >= IDLE as u64 + 100,
        "a limit of {descriptors} descriptors is too low: raise it (ulimit -Hn)"
    );
    let server = Server::start(&[]);
    // The first one brings what the server keeps for all.
    let mut crowd = Crowd::of(1, &server, "room");
    let figures = ["VmRSS:", "Pss:"];
    let before = figures.map(|figure| server.memory(figure));
    crowd.connect(IDLE, &server, "room");
    let after = figures.map(|figure| server.memory(figure));
    let [rss, pss] = [0, 1].map(|i| (after[i] as f64 - before[i] as f64) / IDLE as f64);
    println!(
        "{IDLE} idle clients: {rss:.0} bytes each by RSS, {pss:.0} by PSS (RSS {:.1} MiB, before \
         them {:.1} MiB)",
        after[0] as f64 / 1024.0 / 1024.0,
        before[0] as f64 / 1024.0 / 1024.0,
    );
    assert!(rss <= MAX_BYTES, "{rss:.0} bytes");
}

/// A restart must not take longer than the clients need to answer.
#[test]
#[ignore = "1000 clients: run by ./test scale"]
fn sigterm_says_going_away_to_everybody_and_ends_within_a_second() {
    const MAX_DURATION: Duration = Duration::from_secs(1);

    let mut server = Server::start(&[]);
    let mut crowd = Crowd::of(CROWD, &server, "room");
    let mut told = [false; CROWD];
    let mut ended = 0;
    let deadline = Deadline::new("everybody is told", LIMIT);
    let begun = Instant::now();
    server.terminate();
    while ended < CROWD {
        crowd.turn(deadline.left(), |index, heard| match heard {
            Heard::Close(1001) => assert!(!std::mem::replace(&mut told[index], true)),
            Heard::End => {
                assert!(told[index], "client {index} was not told");
                ended += 1;
            }
            other => panic!("client {index} heard {other:?}"),
        });
    }
    let exit_code = server.end();
    let duration = begun.elapsed();
    println!(
        "SIGTERM with {CROWD} clients: {ended} told 1001, exit after {:.0} ms",
        duration.as_secs_f64() * 1e3
    );
    assert_eq!(exit_code, Some(0));
    assert!(duration < MAX_DURATION, "{duration:?}");
}

/// A server without work must not wake up to look for some.
#[test]
#[ignore = "strace: run by ./test scale"]
fn an_idle_server_makes_no_system_call_between_deadlines() {
    const CLIENTS: usize = 5;
    const WATCHED: Duration = Duration::from_secs(3);

    // Deadlines that are far away, for each phase of a client that could bring one.
    let server = Server::start_traced(
        "all",
        &[
            "--ping-interval=5m",
            "--pong-timeout=10s",
            "--handshake-timeout=1m",
        ],
    );
    for clients in [0, CLIENTS] {
        let crowd = Crowd::of(clients, &server, "room");
        let before = trace_at_rest(&server);
        let said = server.stderr.recv_timeout(WATCHED);
        assert_eq!(said, Err(RecvTimeoutError::Timeout));
        let after = server.trace();
        let made: Vec<&str> = calls(&after[before.len()..]).collect();
        println!(
            "idle for {} s with {clients} clients: {} system calls",
            WATCHED.as_secs(),
            made.len()
        );
        assert_eq!(after[before.len()..], *"", "the server woke up");
        drop(crowd);
    }
}

/// One who floods must not make the others wait: each gets its share of a turn.
#[test]
#[ignore = "measures times: run by ./test scale"]
fn a_flood_in_one_room_does_not_hold_up_another() {
    const MAX_P99: Duration = Duration::from_millis(250);

    let server = Server::start(&[]);
    let mut pair = Crowd::of(2, &server, "pair");
    let quiet = round_trips(&mut pair);
    let mut flooder = Crowd::of(1, &server, "flood");
    let (stop, stopped) = channel::<()>();
    let (progress, progresses) = channel();
    let flood = std::thread::spawn(move || {
        let mut block = Vec::new();
        while block.len() < 64 * 1024 {
            encode_masked(BINARY, b"sixteen bytes...", &mut block);
        }
        let deadline = Deadline::new("the flood is over", LIMIT);
        let mut messages = 0_u64;
        // Also ends if the test does.
        while stopped.try_recv() == Err(TryRecvError::Empty) {
            if flooder.has_sent(0) {
                flooder.send_raw(0, &block);
            }
            let timeout = if flooder.has_sent(0) {
                Duration::ZERO
            } else {
                deadline.left()
            };
            flooder.turn(timeout, |_, what| match what {
                Heard::Message(_) => messages += 1,
                other => panic!("the flooder heard {other:?}"),
            });
            let _ = progress.send(messages);
        }
        messages
    });
    // It is in full flow.
    while progresses.recv_timeout(LIMIT).expect("the flooder lives") < 100_000 {}
    let begun = Instant::now();
    let beside = round_trips(&mut pair);
    let elapsed = begun.elapsed();
    drop(stop);
    let messages = flood.join().expect("the flooder is served to the end");
    println!(
        "round trip alone: median {:?}, p99 {:?}; beside a flood of {messages} messages: median \
         {:?}, p99 {:?} ({elapsed:.1?} in all)",
        quiet.0, quiet.1, beside.0, beside.1
    );
    assert!(quiet.1 < MAX_P99 && beside.1 < MAX_P99);
}

/// The median and the 99th percentile of 500 round trips: one says something, the other answers.
fn round_trips(pair: &mut Crowd) -> (Duration, Duration) {
    const TRIPS: u32 = 500;

    let deadline = Deadline::new("500 round trips", LIMIT);
    let mut times = Vec::new();
    for trip in 0..TRIPS {
        let words = [b'?', b'!'].map(|word| {
            let mut said = vec![word];
            said.extend(trip.to_be_bytes());
            said
        });
        let begun = Instant::now();
        for (speaker, said) in words.iter().enumerate() {
            pair.send(speaker, BINARY, said);
            // Whoever speaks hears itself, too.
            let mut listening = 2;
            let mut is_heard = false;
            while !is_heard || (speaker == 1 && listening > 0) {
                pair.turn(deadline.left(), |index, what| match what {
                    Heard::Message(payload) if payload == said => {
                        listening -= 1;
                        is_heard |= index != speaker;
                    }
                    Heard::Message(payload) => assert_eq!(payload, words[0]),
                    other => panic!("client {index} heard {other:?}"),
                });
            }
        }
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}
