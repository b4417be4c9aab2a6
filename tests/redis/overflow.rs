//! There is too much of it: in a queue, in Redis' buffers, in the stream. What is lost is counted.

use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::pass;
use crate::proxy::Way;
use crate::resp::Reply;
use crate::server::{Keeps, RedisServer};
use crate::stage::{Mode, Plan, Stage, in_both_modes};

/// Redis cuts off whoever reads too slowly.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn subscriber_over_the_output_limit() {
    in_both_modes(|mode| {
        let mut stage = Stage::start(Plan {
            redis: vec!["--client-output-buffer-limit", "pubsub", "1mb", "0", "0"],
            len: 8 * 1024,
            ..Plan::new(mode)
        });
        stage.proxies[1].downwards(Way::Hole);
        pass(Duration::from_secs(4));
        stage.proxies[1].mend();
        let outcome = stage.stream_loses_nothing();
        // Or the limit was never reached.
        let lost = outcome.lost_at(1);
        assert_eq!(lost > 100, mode == Mode::PubSub, "{lost} lost");
    });
}

/// A server that is stopped itself while somebody at another one speaks. Returns what was lost.
fn stop_a_server(mode: Mode, pace: Duration, len: usize) -> usize {
    let redis = RedisServer::start_with(
        Keeps::Nothing,
        &["--client-output-buffer-limit", "pubsub", "1mb", "0", "0"],
    );
    let plan = Plan {
        pace,
        len,
        ..Plan::new(mode)
    };
    let mut stage = Stage::set_up(plan, redis);
    stage.wait_until_well();
    // In this order, so that nothing is said that somebody does not owe to all.
    stage.join(1, false);
    stage.join(0, true);
    stage.wait_until_heard(10);
    stage.nodes[1].process.signal("STOP");
    pass(Duration::from_secs(4));
    stage.nodes[1].process.signal("CONT");
    let outcome = stage.what_was_lost_is_counted();
    outcome.lost()
}

/// Redis does not keep everything for a server that does not read.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn server_stopped_while_much_is_said() {
    in_both_modes(|mode| {
        let lost = stop_a_server(mode, Duration::from_millis(1), 16 * 1024);
        assert_eq!(lost > 100, mode == Mode::PubSub, "{lost} lost");
    });
}

/// A server that wakes reads before it judges.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn server_stopped_while_little_is_said() {
    in_both_modes(|mode| {
        let lost = stop_a_server(mode, Duration::from_millis(5), 64);
        assert_eq!(lost, 0);
    });
}

/// Redis is away for longer than the queue can wait: the oldest messages go.
fn queue(flags: &[&'static str], reason: &str) {
    in_both_modes(|mode| {
        let mut stage = Stage::start(Plan {
            flags: flags.to_vec(),
            ..Plan::new(mode)
        });
        stage.redis.stop();
        pass(Duration::from_secs(4));
        stage.redis.go_on();
        let outcome = stage.what_was_lost_is_counted();
        let label = format!("fanfare_redis_dropped_total{{reason=\"{reason}\"}}");
        for (node, other) in [(0, 1), (1, 0)] {
            let dropped = stage.nodes[node].metric(&label);
            let lost = outcome.lost_at(other) as u64;
            println!("{}: {dropped} dropped, {lost} lost", mode.name());
            assert!(lost > 0, "the queue was never full");
            // What was dropped without an answer may have arrived.
            assert!(lost <= dropped, "{lost} lost, {dropped} dropped");
        }
    });
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn queue_is_full() {
    queue(
        &["--redis-queue-bytes", "16K", "--max-message-size", "1K"],
        "full",
    );
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn queue_is_old() {
    queue(&["--redis-queue-max-age", "1s"], "age");
}

/// A large backlog comes at once, and goes to the clients at the pace at which they read: nobody
/// who reads is dropped, and it is not all kept in memory.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn backlog_comes_at_once() {
    const BURST: usize = 1000;
    const BURSTS: usize = 60;
    const GROWTH: u64 = 64 * 1024 * 1024;

    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        let before = stage.nodes[1].process.memory("VmHWM:");
        stage.proxies[1].downwards(Way::Hole);
        let speaker = Arc::clone(&stage.places[0].client);
        for _ in 0..BURSTS {
            stage.talk.burst(&speaker, BURST, 64);
            pass(Duration::from_millis(30));
        }
        stage.proxies[1].mend();
        let outcome = stage.finish();
        println!("{outcome}");
        for place in &stage.places {
            place
                .client
                .read(|log| assert_eq!(log.end, None, "a client was dropped"));
        }
        for accounts in &outcome.accounts {
            assert!(accounts.own.lost.is_empty(), "{}", accounts.own);
            assert_eq!(accounts.foreign.doubled + accounts.foreign.disordered, 0);
        }
        assert_eq!(outcome.lost(), 0);
        stage.all_lost_is_counted(&outcome);
        let after = stage.nodes[1].process.memory("VmHWM:");
        println!("{}: from {before} to {after} bytes", mode.name());
        assert!(after < before + GROWTH, "from {before} to {after} bytes");
    });
}

/// One of the clients does not read: it is dropped, and nobody waits for it.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn client_that_does_not_read() {
    in_both_modes(|mode| {
        let mut stage = Stage::start(Plan {
            len: 8 * 1024,
            ..Plan::new(mode)
        });
        let deaf = Client::join(stage.nodes[1].address, "/ws");
        deaf.be_deaf(true);
        pass(Duration::from_secs(5));
        let gone = stage.nodes[1].metric("fanfare_clients_departed_total{cause=\"too_slow\"}");
        assert_eq!(gone, 1, "it was dropped");
        stage.nothing_was_lost();
    });
}

/// The stream is shorter than what a server missed: what was trimmed is lost, and counted.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn stream_trimmed() {
    let mut stage = Stage::start(Plan {
        flags: vec!["--redis-stream-maxlen", "500"],
        pace: Duration::from_millis(2),
        ..Plan::new(Mode::Stream)
    });
    stage.proxies[1].cut();
    pass(Duration::from_secs(4));
    stage.proxies[1].mend();
    let outcome = stage.what_was_lost_is_counted();
    assert!(outcome.lost_at(1) > 100, "nothing was trimmed");
    // What the other one says all at once when it is back may be trimmed before somebody reads it.
}

/// Somebody else trims it to nothing, again and again.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn stream_trimmed_by_others() {
    let mut stage = Stage::new(Mode::Stream);
    let key = stream_key(&stage.redis);
    for _ in 0..20 {
        stage.redis.tell(&format!("XTRIM {key} MAXLEN 0"));
        pass(Duration::from_millis(50));
    }
    stage.what_was_lost_is_counted();
}

/// Somebody adds entries that are no messages at all: too many fields, or too much in them. Whoever
/// reads the stream goes on behind them.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn entries_too_long_to_keep() {
    // There is room for 9 MB.
    let mut stage = Stage::start(Plan {
        flags: vec!["--max-message-size", "1K"],
        ..Plan::new(Mode::Stream)
    });
    let key = stream_key(&stage.redis);
    let mut redis = stage.redis.connect();
    let (megabyte, page) = (vec![b'x'; 1 << 20], vec![b'x'; 32 * 1024]);
    let entries: [&[(usize, &[u8])]; 5] = [
        &[(5000, b"")],
        &[(100_000, b"x")],
        &[(10, &megabyte)],
        // The room ends among the short ones.
        &[(279, &page), (1500, b"x")],
        // More than there is room for, wherever it stands.
        &[(320, &page)],
    ];
    let mut last = Vec::new();
    for fields in entries {
        let mut command = vec![b"XADD".as_slice(), key.as_bytes(), b"*"];
        for (count, value) in fields {
            command.extend((0..*count).flat_map(|_| [b"f".as_slice(), *value]));
        }
        match redis.call(&command).expect("an answer") {
            Reply::Bulk(id) => last = id,
            other => panic!("{other:?}"),
        }
        // What is said behind it is heard, so all have passed it over.
        stage.wait_until_heard(10);
    }
    // The last one is the stream's first: that is shown to whoever asks how the stream is, which
    // all do every 5 s.
    let trim = [
        b"XTRIM".as_slice(),
        key.as_bytes(),
        b"MINID",
        last.as_slice(),
    ];
    let trimmed = redis.call(&trim).expect("an answer");
    assert!(matches!(trimmed, Reply::Integer(5..)), "{trimmed:?}");
    pass(Duration::from_secs(6));
    // Whoever comes back finds it again.
    stage.proxies[1].cut();
    pass(Duration::from_millis(500));
    stage.proxies[1].mend();
    stage.nothing_was_lost();
    for node in &stage.nodes {
        let too_long = node.metric("fanfare_redis_rejected_total{reason=\"size\"}");
        assert_eq!(too_long, 5);
        let wrong = node.metric("fanfare_redis_reconnects_total{reason=\"protocol\"}");
        assert_eq!(wrong, 0);
    }
}

fn stream_key(redis: &RedisServer) -> String {
    let keys = redis.tell("KEYS *");
    assert_eq!(keys.items().len(), 1, "{keys:?}");
    keys.text()
}

/// What was not read yet is lost, and counted; readers go on with what comes.
fn deleted(command: fn(&RedisServer) -> String) {
    let mut stage = Stage::new(Mode::Stream);
    for _ in 0..5 {
        let command = command(&stage.redis);
        stage.redis.tell(&command);
        pass(Duration::from_millis(300));
    }
    stage.what_was_lost_is_counted();
    let mut stage = Stage::new(Mode::Stream);
    let command = command(&stage.redis);
    stage.proxies[1].cut();
    pass(Duration::from_secs(1));
    stage.redis.tell(&command);
    pass(Duration::from_secs(1));
    stage.proxies[1].mend();
    stage.what_was_lost_is_counted();
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn stream_deleted() {
    deleted(|redis| format!("DEL {}", stream_key(redis)));
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn everything_flushed() {
    deleted(|_| "FLUSHALL".to_owned());
}

/// The clock of the new master is behind: its numbers begin long before those that were read.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn clock_goes_back() {
    let redis = RedisServer::start(Keeps::Nothing);
    // In the year 4707. What comes behind it has the same time, and higher numbers.
    let mut resp = redis.connect();
    let id = b"86400000000000-0";
    let key = b"websocket-broadcast:s";
    resp.call(&[b"XADD", key, id, b"not", b"ours"]).unwrap();
    let mut stage = Stage::set_up(Plan::new(Mode::Stream), redis);
    stage.wait_until_well();
    stage.gather();
    assert_eq!(stream_key(&stage.redis).as_bytes(), key);
    let last = stage
        .redis
        .tell("XREVRANGE websocket-broadcast:s + - COUNT 1");
    assert!(last.text().starts_with("86400000000000-"), "{last:?}");
    stage.redis.kill();
    stage.redis.restart();
    pass(Duration::from_secs(1));
    stage.nothing_was_lost();
    let last = stage
        .redis
        .tell("XREVRANGE websocket-broadcast:s + - COUNT 1");
    assert!(!last.text().starts_with("86400000000000-"), "{last:?}");
}
