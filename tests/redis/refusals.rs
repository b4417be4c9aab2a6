//! Redis is there and does not want us, or says what nobody can make sense of.

use std::time::Duration;

use crate::client::Client;
use crate::eventually;
use crate::fake::{FakeRedis, as_redis};
use crate::ledger::MAX_SILENCE;
use crate::node::Node;
use crate::pass;
use crate::server::{Keeps, RedisServer};
use crate::stage::{Mode, Plan, Stage, in_both_modes};

/// How long a server may need until it tries again what only somebody else can put right.
const CONFIGURATION: Duration = Duration::from_secs(8);

/// What a server may use of a core while it waits for Redis.
const MAX_LOAD: f64 = 0.02;

/// Its own clients hear each other, operators are told, and it does not turn in circles.
fn check_serves_alone(node: &Node) {
    assert_eq!(node.get("/readyz").0, 503);
    assert_eq!(node.get("/healthz").0, 200);
    let clients = [(); 2].map(|()| Client::join(node.address, "/ws"));
    let speaker = clients[0].speaker;
    for number in 0..20 {
        let begun = std::time::Instant::now();
        clients[0].say(number, 64);
        eventually("all hear it", Duration::from_secs(5), || {
            clients
                .iter()
                .all(|client| client.last_of(speaker) == Some(number))
        });
        assert!(
            begun.elapsed() < MAX_SILENCE,
            "it took {:?}",
            begun.elapsed()
        );
    }
    clients[1].ping(Duration::from_millis(200));
}

/// Redis refuses the servers until `mend`; then they join.
fn refused(plan: &Plan, redis: RedisServer, said: &str, mend: impl Fn(&RedisServer)) {
    let stage = Stage::set_up(plan.clone(), redis);
    let node = &stage.nodes[0];
    node.process.line(said);
    check_serves_alone(node);
    let load = node.load(Duration::from_secs(2));
    assert!(load < MAX_LOAD, "{load} of a core");
    mend(&stage.redis);
    eventually("it joins", CONFIGURATION, || node.is_well());
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn password_is_wrong() {
    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        redis.tell("CONFIG SET requirepass right");
        let plan = Plan {
            credentials: ":wrong@",
            nodes: 1,
            ..Plan::new(mode)
        };
        refused(&plan, redis, "WRONGPASS", |redis| {
            let mut resp = redis.connect();
            resp.call(&[b"AUTH", b"right"]).unwrap();
            let reply = resp.call(&[b"CONFIG", b"SET", b"requirepass", b"wrong"]);
            assert_eq!(reply.unwrap().text(), "OK");
        });
    });
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn password_is_missing() {
    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        redis.tell("CONFIG SET requirepass right");
        let plan = Plan {
            nodes: 1,
            ..Plan::new(mode)
        };
        refused(&plan, redis, "NOAUTH", |redis| {
            let mut resp = redis.connect();
            resp.call(&[b"AUTH", b"right"]).unwrap();
            let reply = resp.call(&[b"CONFIG", b"SET", b"requirepass", b""]);
            assert_eq!(reply.unwrap().text(), "OK");
        });
    });
}

/// The rights that `docs/backplane.md` names, and not one more.
const RIGHTS: &str = "resetchannels &websocket-broadcast &websocket-broadcast:ctl \
                      ~websocket-broadcast:s -@all +publish +subscribe +unsubscribe +ping +hello \
                      +auth +role +client|setname +xadd +xread +xrange +xrevrange +xinfo|stream \
                      +pubsub|numsub";

fn set_user(redis: &RedisServer, rights: &str) {
    redis.tell(&format!("ACL SETUSER fanfare reset on >secret {rights}"));
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn few_rights_suffice() {
    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        set_user(&redis, RIGHTS);
        let plan = Plan {
            credentials: "fanfare:secret@",
            ..Plan::new(mode)
        };
        let mut stage = Stage::set_up(plan, redis);
        stage.wait_until_well();
        stage.gather();
        stage.redis.kill();
        stage.redis.restart();
        set_user(&stage.redis, RIGHTS);
        pass(Duration::from_millis(500));
        stage.stream_loses_nothing();
        let denied = stage.redis.tell("ACL LOG");
        let denied = denied.text();
        let known = ["hello", "auth"].iter().any(|word| denied.contains(word));
        assert!(
            denied.is_empty() || known,
            "something else is needed: {denied}"
        );
    });
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn rights_are_missing() {
    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        let right = match mode {
            Mode::PubSub => "+publish",
            Mode::Stream => "+xadd",
        };
        set_user(&redis, &RIGHTS.replace(right, ""));
        let plan = Plan {
            credentials: "fanfare:secret@",
            nodes: 1,
            ..Plan::new(mode)
        };
        let stage = Stage::set_up(plan, redis);
        let node = &stage.nodes[0];
        // It may seem to be well until somebody says something.
        let client = Client::join(node.address, "/ws");
        client.say(0, 64);
        node.process.line("NOPERM");
        eventually("it is not well", CONFIGURATION, || !node.is_well());
        let load = node.load(Duration::from_secs(2));
        assert!(load < MAX_LOAD, "{load} of a core");
        client.say(1, 64);
        eventually("local clients hear it", Duration::from_secs(2), || {
            client.last_of(client.speaker) == Some(1)
        });
        set_user(&stage.redis, RIGHTS);
        eventually("it is well again", 2 * CONFIGURATION, || node.is_well());
    });
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn user_deleted() {
    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        set_user(&redis, RIGHTS);
        let plan = Plan {
            credentials: "fanfare:secret@",
            ..Plan::new(mode)
        };
        let mut stage = Stage::set_up(plan, redis);
        stage.wait_until_well();
        stage.gather();
        stage.redis.tell("ACL DELUSER fanfare");
        pass(Duration::from_secs(1));
        for node in &stage.nodes {
            assert_eq!(node.get("/readyz").0, 503);
        }
        set_user(&stage.redis, RIGHTS);
        stage.stream_loses_nothing();
    });
}

/// Redis has no memory left: what cannot be kept is published all the same.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn out_of_memory() {
    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        stage.redis.tell("CONFIG SET maxmemory 1");
        pass(Duration::from_secs(2));
        let refused = stage.redis.say("SET key value").text();
        assert!(refused.starts_with("OOM"), "{refused}");
        stage.redis.tell("CONFIG SET maxmemory 0");
        pass(Duration::from_secs(1));
        stage.nothing_was_lost();
    });
}

/// Somebody uses up the IDs of the stream: what cannot be added is published all the same, until
/// somebody deletes it.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn stream_without_ids() {
    const DIVERTED: &str = "fanfare_redis_diverted_total";

    let mut stage = Stage::new(Mode::Stream);
    let key = "websocket-broadcast:s";
    let last = "18446744073709551615-18446744073709551615";
    stage.redis.tell(&format!("XADD {key} {last} m last"));
    let refused = stage.redis.say(&format!("XADD {key} * m more")).text();
    assert!(
        refused.starts_with("ERR The stream has exhausted"),
        "{refused}"
    );
    for node in &stage.nodes {
        node.process.line("no IDs left");
        let load = node.load(Duration::from_secs(2));
        assert!(load < 0.5, "{load} of a core");
        node.wait_until_well();
        assert!(node.metric(DIVERTED) > 100);
    }
    stage.redis.tell(&format!("DEL {key}"));
    pass(Duration::from_secs(1));
    let before = stage.nodes[0].metric(DIVERTED);
    pass(Duration::from_secs(10));
    assert_eq!(stage.nodes[0].metric(DIVERTED), before);
    stage.wait_until_well();
    stage.nothing_was_lost();
}

/// There is something else where the stream should be.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn stream_is_a_string() {
    let mut stage = Stage::new(Mode::Stream);
    let script = "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], 'x')";
    let key = b"websocket-broadcast:s";
    let mut resp = stage.redis.connect();
    let done = resp.call(&[b"EVAL", script.as_bytes(), b"1", key]);
    assert_eq!(done.unwrap().text(), "OK");
    for node in &stage.nodes {
        node.process.line("WRONGTYPE");
        assert!(!node.is_well());
    }
    pass(Duration::from_secs(1));
    stage.redis.tell("DEL websocket-broadcast:s");
    stage.what_was_lost_is_counted();
}

fn garbage(_: &[Vec<u8>]) -> Vec<u8> {
    b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()
}

fn loading(_: &[Vec<u8>]) -> Vec<u8> {
    b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()
}

fn old(_: &[Vec<u8>]) -> Vec<u8> {
    b"-ERR unknown command 'HELLO'\r\n".to_vec()
}

fn silent(_: &[Vec<u8>]) -> Vec<u8> {
    Vec::new()
}

fn huge(_: &[Vec<u8>]) -> Vec<u8> {
    b"$1073741824\r\nx".to_vec()
}

fn nested(_: &[Vec<u8>]) -> Vec<u8> {
    b"*1\r\n".repeat(100_000)
}

fn endless(_: &[Vec<u8>]) -> Vec<u8> {
    vec![b'+'; 1_000_000]
}

fn many(_: &[Vec<u8>]) -> Vec<u8> {
    b"*2147483647\r\n:1\r\n".to_vec()
}

fn only_when_asked(command: &[Vec<u8>], wrong: &[u8]) -> Vec<u8> {
    match &command[0][..] {
        b"PUBLISH" | b"XADD" | b"XREAD" => wrong.to_vec(),
        _ => as_redis(command),
    }
}

fn garbage_later(command: &[Vec<u8>]) -> Vec<u8> {
    only_when_asked(command, b"?\r\n?\r\n")
}

fn read_only(command: &[Vec<u8>]) -> Vec<u8> {
    only_when_asked(
        command,
        b"-READONLY You can't write against a read only replica.\r\n",
    )
}

fn master_down(command: &[Vec<u8>]) -> Vec<u8> {
    only_when_asked(command, b"-MASTERDOWN Link with MASTER is down\r\n")
}

fn moved_to_nowhere(command: &[Vec<u8>]) -> Vec<u8> {
    only_when_asked(command, b"-MOVED 1234 127.0.0.1:1\r\n")
}

fn of_another_type(command: &[Vec<u8>]) -> Vec<u8> {
    only_when_asked(command, b"%1\r\n+a\r\n*0\r\n")
}

/// What a fake says to a command.
type Answer = fn(&[Vec<u8>]) -> Vec<u8>;

/// Answers that no Redis gives, or none that is well.
const ABSURD: [(&str, Answer); 13] = [
    ("garbage", garbage),
    ("LOADING", loading),
    ("an old Redis", old),
    ("silence", silent),
    ("1 GiB to come", huge),
    ("100,000 arrays in each other", nested),
    ("a line without an end", endless),
    ("2^31 elements", many),
    ("garbage later", garbage_later),
    ("READONLY", read_only),
    ("MASTERDOWN", master_down),
    ("MOVED to nowhere", moved_to_nowhere),
    ("another type", of_another_type),
];

#[test]
#[ignore = "needs a quiet machine: run by ./test redis"]
fn absurd_answers_harm_nobody() {
    const GROWTH: u64 = 8 * 1024 * 1024;

    in_both_modes(|mode| {
        let cases = ABSURD.map(|(name, answer)| {
            let fake = FakeRedis::start(answer);
            let plan = Plan::new(mode);
            (name, Node::start(&plan.arguments(fake.address)), fake)
        });
        for (name, node, fake) in &cases {
            let mode = mode.name();
            let before = node.process.memory("VmRSS:");
            let clients = [(); 2].map(|()| Client::join(node.address, "/ws"));
            let speaker = clients[0].speaker;
            for number in 0..20 {
                let begun = std::time::Instant::now();
                clients[0].say(number, 64);
                eventually(name, Duration::from_secs(5), || {
                    clients
                        .iter()
                        .all(|client| client.last_of(speaker) == Some(number))
                });
                let took = begun.elapsed();
                assert!(took < 2 * MAX_SILENCE, "{mode}, {name}: it took {took:?}");
            }
            eventually(name, Duration::from_secs(5), || !node.is_well());
            let load = node.load(Duration::from_millis(1500));
            let grown = node.process.memory("VmRSS:").saturating_sub(before);
            let times = fake.connections();
            println!("{mode}, {name}: {times} connections, {load:.3} of a core, {grown} bytes");
            assert!(load < 2.0 * MAX_LOAD, "{mode}, {name}: {load} of a core");
            assert!(grown < GROWTH, "{mode}, {name}: {grown} bytes more");
            assert!(times > 0, "{mode}, {name}: nobody has asked");
        }
    });
}

/// A member of a cluster that is not the right one says which is, and is believed.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn moved_to_another_server() {
    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        let moved = format!("-MOVED 1234 127.0.0.1:{}\r\n", redis.port);
        let fake = FakeRedis::start(move |command| only_when_asked(command, moved.as_bytes()));
        let plan = Plan {
            url: Some(format!("redis://{}", fake.address)),
            ..Plan::new(mode)
        };
        let mut stage = Stage::set_up(plan, redis);
        for node in 0..2 {
            // Whoever says nothing hears nothing of where to go.
            let client = stage.join(node, true);
            eventually("it is heard", Duration::from_secs(2), || {
                client.last_of(client.speaker) > Some(10)
            });
        }
        stage.wait_until_well();
        stage.wait_until_heard(10);
        for place in &mut stage.places {
            place.is_newcomer = true;
        }
        stage.what_was_lost_is_counted();
    });
}
