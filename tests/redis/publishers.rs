//! Others who publish on the channel: `redis-cli`, a program in Python, the servers of a tutorial.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::eventually;
use crate::ledger::Order;
use crate::node::Node;
use crate::pass;
use crate::peer::{BINARY, Frame, TEXT};
use crate::resp::{Reply, Resp};
use crate::server::{Keeps, RedisServer};
use crate::stage::{Mode, Plan, Stage, in_both_modes};
use crate::support;

const CHANNEL: &str = "websocket-broadcast";

/// Servers that are well, and one client on each.
fn servers(plan: Plan) -> (Stage, Vec<Arc<Client>>) {
    let redis = RedisServer::start(Keeps::Nothing);
    let mut stage = Stage::set_up(plan, redis);
    stage.wait_until_well();
    let clients = (0..stage.nodes.len()).map(|node| stage.join(node, false));
    let clients = clients.collect();
    (stage, clients)
}

fn frame(first: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame {
        first,
        payload: payload.as_ref().to_vec(),
    }
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    let digits = bytes.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// What a Python program publishes; returns how many heard it, as Redis says.
fn python(redis: &RedisServer, arguments: &[&str]) -> usize {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/redis/publish.py");
    let socket = redis.socket();
    let output = Command::new("python3")
        .arg(script)
        .arg(socket)
        .arg(CHANNEL)
        .args(arguments)
        .output();
    let output = output.expect("python3 is there: apt-get install python3");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    text.trim().parse().unwrap_or_else(|_| panic!("{errors}"))
}

#[test]
#[ignore = "needs redis-cli: run by ./test redis"]
fn redis_cli_says_hi() {
    in_both_modes(|mode| {
        let (stage, clients) = servers(Plan::new(mode));
        let done = Command::new("redis-cli")
            .args([
                "-p",
                &stage.redis.port.to_string(),
                "PUBLISH",
                CHANNEL,
                "hi",
            ])
            .output();
        let done = done.expect("redis-cli is there: apt-get install redis-tools");
        let heard = String::from_utf8_lossy(&done.stdout).trim().to_owned();
        assert_eq!(heard, "2");
        for client in &clients {
            assert_eq!(client.other(0), frame(TEXT, "hi"));
        }
    });
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn bytes_without_an_envelope() {
    in_both_modes(|mode| {
        let (stage, clients) = servers(Plan::new(mode));
        let say = |bytes: &[u8]| {
            let mut resp = stage.redis.connect();
            let heard = resp.call(&[b"PUBLISH", CHANNEL.as_bytes(), bytes]);
            assert_eq!(heard.unwrap(), Reply::Integer(2));
        };
        let long = vec![b'x'; 64 * 1024];
        let cases: [(&[u8], u8); 6] = [
            ("grüß Gott".as_bytes(), TEXT),
            (b"", TEXT),
            (&[0, 159, 146, 150], BINARY),
            (&[b'a', 0xC3], BINARY),
            (b"\xFFnot quite", BINARY),
            (&long, TEXT),
        ];
        for (index, (bytes, kind)) in cases.iter().enumerate() {
            say(bytes);
            for client in &clients {
                assert_eq!(client.other(index), frame(*kind, bytes));
            }
        }
    });
}

/// What begins like an envelope and is none, and what is longer than a message may be, reaches
/// nobody, and is counted.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn what_is_wrong_is_counted() {
    in_both_modes(|mode| {
        let (stage, clients) = servers(Plan::new(mode));
        let too_long = vec![b'x'; 64 * 1024 + 1];
        // Version, kind, an unknown flag, no origin, text that is none, a room without an end.
        let envelope = |version: u8, flags: u8, room_len: u8, rest: &[u8]| {
            let head = [0xFF, b'W', b'B', version, flags];
            [&head[..], &[0; 16], &[room_len], rest].concat()
        };
        let wrong: [Vec<u8>; 9] = [
            b"\xFFWB".to_vec(),
            b"\xFFWB\x01".to_vec(),
            envelope(2, 1, 0, b"of another version"),
            envelope(1, 3, 0, b"neither text nor binary"),
            envelope(1, 0x41, 0, b"a flag of the future"),
            envelope(1, 1, 0, &[0xC3]),
            envelope(1, 1, 200, b"a room's name that ends here"),
            envelope(1, 1, 1, &[0xC3, b'x']),
            too_long,
        ];
        for bytes in &wrong {
            let mut resp = stage.redis.connect();
            let command = [&b"PUBLISH"[..], CHANNEL.as_bytes(), bytes];
            resp.call(&command).unwrap();
        }
        stage.redis.tell(&format!("PUBLISH {CHANNEL} last"));
        for (node, client) in stage.nodes.iter().zip(&clients) {
            assert_eq!(client.other(0), frame(TEXT, "last"));
            let rejected = node.metric("fanfare_redis_rejected_total");
            assert_eq!(rejected, wrong.len() as u64, "{}", node.metrics().redis());
            assert!(node.is_well());
        }
    });
}

/// An envelope made by another program, from the documentation, arrives in its room.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn envelopes_from_python() {
    in_both_modes(|mode| {
        let (stage, clients) = servers(Plan::new(mode));
        let inside = Client::join(stage.nodes[1].address, "/ws/caf%C3%A9");
        let say = |arguments: [&str; 5], payload: &str| {
            let payload = hex(payload);
            let arguments = [&["envelope"], &arguments[1..], &[&payload]].concat();
            assert_eq!(python(&stage.redis, &arguments), 2);
        };
        say(["", "text", "0", "0", "café"], "to a room");
        assert_eq!(inside.other(0), frame(TEXT, "to a room"));
        say(["", "binary", "0", "0", ""], "to the default room");
        for client in &clients {
            assert_eq!(client.other(0), frame(BINARY, "to the default room"));
        }
        // With an origin, what was heard is not heard again, and what is missing is counted.
        for seq in ["1", "2", "2", "5"] {
            say(["", "text", "4711", seq, "café"], &format!("number {seq}"));
        }
        for (index, seq) in [(1, 1), (2, 2), (3, 5)] {
            assert_eq!(inside.other(index), frame(TEXT, format!("number {seq}")));
        }
        for node in &stage.nodes {
            let doubled = node.metric("fanfare_redis_duplicates_filtered_total");
            assert_eq!(doubled, 1);
            eventually("the hole is counted", Duration::from_secs(20), || {
                node.metric("fanfare_redis_gap_messages_total") == 2
            });
        }
        assert_eq!(python(&stage.redis, &["raw", &hex("as it is")]), 2);
        assert_eq!(clients[0].other(1), frame(TEXT, "as it is"));
    });
}

/// Hears what is said on the channel.
struct Subscriber(Resp);

impl Subscriber {
    fn new(redis: &RedisServer) -> Self {
        let mut resp = redis.connect();
        let confirmed = resp.call(&[b"SUBSCRIBE", CHANNEL.as_bytes()]);
        let confirmed = confirmed.expect("an answer");
        assert_eq!(confirmed.items()[2].integer(), 1);
        Self(resp)
    }

    fn next(&mut self) -> Vec<u8> {
        let message = self.0.read().expect("a message");
        message.items()[2].bytes().to_vec()
    }
}

/// In a fleet with servers that know no envelope, they read and write the same bytes as we do.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn bare_payloads_for_those_who_know_no_envelope() {
    let (stage, clients) = servers(Plan {
        flags: vec!["--redis-format", "raw"],
        ..Plan::new(Mode::PubSub)
    });
    let mut other = Subscriber::new(&stage.redis);
    for (opcode, first, payload) in [
        (support::TEXT, [TEXT; 2], "grüß Gott".as_bytes()),
        (support::BINARY, [BINARY; 2], &[0, 159, 146, 150]),
        (support::TEXT, [TEXT; 2], b""),
        // What is valid text comes out as text elsewhere: the kind is not told.
        (support::BINARY, [BINARY, TEXT], b"binary"),
    ] {
        let index = clients[1].read(|log| log.others.len());
        clients[0].send(opcode, payload);
        assert_eq!(other.next(), payload);
        for (client, first) in clients.iter().zip(first) {
            assert_eq!(client.other(index), frame(first, payload));
        }
    }
    stage.redis.tell(&format!("PUBLISH {CHANNEL} from-another"));
    assert_eq!(clients[0].other(4).payload, b"from-another");
    // A room of its own stays on its server.
    let rooms = [0, 1, 0].map(|node: usize| Client::join(stage.nodes[node].address, "/ws/own"));
    rooms[0].say(0, 64);
    eventually(
        "those of the same server hear it",
        Duration::from_secs(2),
        || rooms[2].last_of(rooms[0].speaker) == Some(0),
    );
    stage.redis.tell(&format!("PUBLISH {CHANNEL} end"));
    assert_eq!(other.next(), b"from-another");
    assert_eq!(other.next(), b"end", "a room's messages go nowhere else");
    assert_eq!(rooms[1].last_of(rooms[0].speaker), None);
    // Without Redis the local ones hear each other, and nothing is heard later.
    stage.redis.stop();
    stage.nodes[0].wait_until_unwell(Duration::from_secs(5));
    let index = clients[0].read(|log| log.others.len());
    clients[0].send(support::TEXT, b"alone");
    assert_eq!(clients[0].other(index), frame(TEXT, "alone"));
    stage.redis.go_on();
    stage.wait_until_well();
    stage.redis.tell(&format!("PUBLISH {CHANNEL} after"));
    assert_eq!(clients[0].other(index + 1), frame(TEXT, "after"));
}

/// Each hears what is said once, whatever the settings are.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn everybody_hears_it_once() {
    in_both_modes(|mode| {
        for flags in [
            vec![],
            vec!["--redis-delivery", "local"],
            vec!["--redis-delivery", "ordered"],
            vec!["--redis-channel", "another"],
            vec!["--redis-shards", "4"],
        ] {
            let (_stage, clients) = servers(Plan {
                nodes: 3,
                flags: flags.clone(),
                ..Plan::new(mode)
            });
            for (number, client) in clients.iter().enumerate() {
                client.say(number, 64);
                for listener in &clients {
                    eventually(
                        &format!("{flags:?}: it comes"),
                        Duration::from_secs(5),
                        || listener.last_of(client.speaker) == Some(number),
                    );
                }
            }
            for client in &clients {
                let heard = client.read(|log| log.heard.len() + log.others.len());
                assert_eq!(heard, clients.len(), "{flags:?}");
            }
        }
    });
}

/// Who does not want to hear itself does not, by the way through Redis either.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn nobody_hears_itself_without_echo() {
    in_both_modes(|mode| {
        let (stage, clients) = servers(Plan {
            flags: vec!["--no-echo"],
            ..Plan::new(mode)
        });
        let neighbour = Client::join(stage.nodes[0].address, "/ws");
        clients[0].say(0, 64);
        for client in [&clients[1], &Arc::new(neighbour)] {
            eventually("the others hear it", Duration::from_secs(5), || {
                client.last_of(clients[0].speaker) == Some(0)
            });
        }
        clients[1].say(0, 64);
        eventually("it hears the other", Duration::from_secs(5), || {
            clients[0].last_of(clients[1].speaker) == Some(0)
        });
        assert_eq!(clients[0].last_of(clients[0].speaker), None);
    });
}

/// Rooms are the same on all servers, and kept apart; operators speak to them as well.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn rooms_are_kept_apart() {
    in_both_modes(|mode| {
        let (stage, lobby) = servers(Plan::new(mode));
        let in_room = |node: usize, room: &str| Client::join(stage.nodes[node].address, room);
        let [a, b] = ["/ws/a", "/ws/b"].map(|room| [in_room(0, room), in_room(1, room)]);
        a[0].send(support::TEXT, b"to a");
        assert_eq!(a[1].other(0), frame(TEXT, "to a"));
        b[1].send(support::BINARY, b"to b");
        assert_eq!(b[0].other(0), frame(BINARY, "to b"));
        lobby[0].send(support::TEXT, b"to the default room");
        assert_eq!(lobby[1].other(0), frame(TEXT, "to the default room"));
        let (status, answer) = stage.nodes[0].publish("/publish/a", "from an operator");
        assert_eq!(status, 201, "{answer}");
        for client in &a {
            assert_eq!(client.other(1), frame(TEXT, "from an operator"));
        }
        // Nobody on the server on which it is said is in this room.
        let far = in_room(1, "/ws/far");
        let (status, _) = stage.nodes[0].publish("/publish/far", "far away");
        // Nobody here heard it.
        assert_eq!(status, 202);
        assert_eq!(far.other(0), frame(TEXT, "far away"));
        for (client, count) in [(&a[0], 2), (&b[1], 1), (&b[0], 1), (&a[1], 2)] {
            assert_eq!(client.read(|log| log.others.len()), count);
        }
    });
}

/// While Redis is well, everybody hears everything in the same order.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn all_servers_hear_one_order() {
    in_both_modes(|mode| {
        let mut stage = Stage::start(Plan {
            nodes: 3,
            pace: Duration::from_millis(1),
            ..Plan::new(mode)
        });
        pass(Duration::from_secs(3));
        let outcome = stage.nothing_was_lost();
        let nodes = stage.nodes.iter();
        let early: u64 = nodes
            .map(|node| node.metric("fanfare_redis_local_total"))
            .sum();
        let order = Order::of(stage.places.iter().map(|place| &*place.client));
        let Order { common, elsewhere } = order;
        assert!(common > 1000, "{common} heard by everybody");
        println!("{}: {elsewhere} of {} elsewhere", mode.name(), outcome.said);
        // Nothing is promised where the machine held up Redis for longer than the echo's deadline.
        assert!(elsewhere == 0 || early > 0, "{elsewhere} elsewhere");
        let most = outcome.said as u64 / 2;
        assert!(early < most, "{early} of {} were heard early", outcome.said);
    });
}

/// A Unix socket, a database of a number, long messages, and a name that is looked up.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn other_ways_to_redis() {
    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        let database = if mode == Mode::Stream { "3" } else { "0" };
        let socket = redis.socket();
        let socket = socket.display();
        let urls = [
            format!("unix://{socket}?db={database}"),
            format!("redis+unix://{socket}?db={database}"),
            format!("redis://localhost:{}/{database}", redis.port),
            format!("redis://127.0.0.1:{}/{database}", redis.port),
        ];
        let nodes = urls.map(|url| {
            let plan = Plan {
                url: Some(url),
                ..Plan::new(mode)
            };
            Node::start(&plan.arguments(redis.address()))
        });
        for node in &nodes {
            node.wait_until_well();
        }
        let clients = nodes
            .each_ref()
            .map(|node| Client::join(node.address, "/ws"));
        for (index, client) in clients.iter().enumerate() {
            let long = vec![b'0' + u8::try_from(index).unwrap(); 64 * 1024];
            client.send(support::TEXT, &long);
            for listener in &clients {
                assert!(listener.other(index) == frame(TEXT, &long), "{index}");
            }
        }
        if mode == Mode::Stream {
            let mut resp = redis.connect();
            resp.call(&[b"SELECT", b"3"]).unwrap();
            assert_eq!(resp.call(&[b"DBSIZE"]).unwrap(), Reply::Integer(1));
        }
    });
}
