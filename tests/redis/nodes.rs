//! Servers that come and go, while Redis is well.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::client::Client;
use crate::eventually;
use crate::node::Node;
use crate::pass;
use crate::peer::upgrade;
use crate::server::{Keeps, RedisServer, free_port};
use crate::stage::{Plan, Stage, in_both_modes};

/// A server is killed; its clients come back to another one, which is a new origin. The others miss
/// nothing of each other, and nothing of the new one.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn server_killed_and_replaced() {
    in_both_modes(|mode| {
        let mut stage = Stage::start(Plan {
            nodes: 3,
            ..Plan::new(mode)
        });
        for _ in 0..3 {
            stage.kill_node(2);
            pass(Duration::from_millis(300));
            stage.replace_node(2);
            // Its clients are back before Redis is.
            stage.nodes[2].wait_until_well();
            stage.join(2, true);
            stage.join(2, false);
            stage.wait_until_heard(50);
        }
        let outcome = stage.nothing_was_lost();
        assert_eq!(outcome.lost(), 0);
    });
}

/// Operators see how many servers hear each other, and that one of them does not any more.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn servers_know_how_many_there_are() {
    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        let plan = Plan {
            nodes: 3,
            ..Plan::new(mode)
        };
        let mut stage = Stage::set_up(plan, redis);
        stage.wait_until_well();
        let peers = |stage: &Stage| stage.nodes[0].metric("fanfare_redis_peers");
        eventually("two others", Duration::from_secs(10), || peers(&stage) == 2);
        stage.kill_node(2);
        eventually("one other", Duration::from_secs(25), || peers(&stage) == 1);
        stage.replace_node(2);
        eventually("two again", Duration::from_secs(15), || peers(&stage) == 2);
    });
}

/// What was said before SIGTERM is heard everywhere.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn server_stopped_has_told_everything() {
    const MESSAGES: usize = 2000;

    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        let mut stage = Stage::set_up(Plan::new(mode), redis);
        stage.wait_until_well();
        let [speaker, listener] = [stage.join(0, false), stage.join(1, false)];
        for number in 0..MESSAGES {
            speaker.say(number, 64);
        }
        // What the server has read is its own; what waits in the kernel is not.
        eventually("the server has read it", Duration::from_secs(10), || {
            stage.nodes[0].metric("fanfare_messages_received_total") >= MESSAGES as u64
        });
        let took = stage.nodes[0].process.stop();
        assert!(took < Duration::from_secs(10), "the end took {took:?}");
        eventually("all is heard", Duration::from_secs(10), || {
            listener.last_of(speaker.speaker) == Some(MESSAGES - 1)
        });
        let heard = listener.read(|log| log.heard.len());
        assert_eq!(heard, MESSAGES);
    });
}

/// Without Redis a server ends all the same, and soon.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn server_stops_without_redis() {
    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        stage.redis.stop();
        pass(Duration::from_secs(1));
        stage.talk.stop();
        let took = stage.nodes[0].process.stop();
        println!("{}: the end took {took:.1?}", mode.name());
        assert!(took < Duration::from_secs(8), "the end took {took:?}");
        stage.redis.go_on();
    });
}

/// Those who connect to a port all the time, and how often that was reset.
struct Churn {
    is_over: Arc<AtomicBool>,
    resets: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Churn {
    fn start(port: u16) -> Self {
        let mut churn = Self {
            is_over: Arc::default(),
            resets: Arc::default(),
            connections: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..8 {
            let is_over = Arc::clone(&churn.is_over);
            let (resets, all) = (Arc::clone(&churn.resets), Arc::clone(&churn.connections));
            churn.threads.push(std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    all.fetch_add(1, Ordering::Relaxed);
                    if let Err(error) = come_and_go(port) {
                        println!("a newcomer: {error}");
                        resets.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }));
        }
        churn
    }

    fn stop(self) -> (usize, usize) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("nobody panics");
        }
        let figures = [&self.resets, &self.connections];
        let [resets, all] = figures.map(|figure| figure.load(Ordering::Relaxed));
        (resets, all)
    }
}

/// Asks for the upgrade and leaves when something has been answered.
fn come_and_go(port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(upgrade("/ws/churn").as_bytes())?;
    match stream.read(&mut [0; 256])? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Processes that share a port are replaced one after another, while clients come and go: no
/// newcomer is reset, and who stays hears each message once.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn processes_on_one_port_are_replaced() {
    const PROCESSES: usize = 3;

    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        let port = free_port();
        let mut plan = Plan::new(mode);
        plan.flags = vec!["--reuse-port", "--shutdown-timeout", "5s"];
        let address = format!("127.0.0.1:{port}");
        let start = || {
            let node = Node::start_behind("", &address, &plan.arguments(redis.address()));
            node.wait_until_well();
            node
        };
        let mut nodes: Vec<Node> = (0..PROCESSES).map(|_| start()).collect();
        // Somebody who stays, on a server of its own, and hears what the others say.
        let own = Node::start(&Plan::new(mode).arguments(redis.address()));
        own.wait_until_well();
        let listener = Client::join(own.address, "/ws");
        let churn = Churn::start(port);
        let mut said = Vec::new();
        for round in 0..2 * PROCESSES {
            let speaker = Client::join(nodes[0].address, "/ws");
            for number in 0..20 {
                speaker.say(number, 64);
            }
            eventually("it is heard elsewhere", Duration::from_secs(5), || {
                listener.last_of(speaker.speaker) == Some(19)
            });
            said.push(speaker.speaker);
            let new = start();
            let mut old = std::mem::replace(&mut nodes[round % PROCESSES], new);
            old.process.stop();
        }
        let (resets, all) = churn.stop();
        println!("{}: {resets} of {all} newcomers reset", mode.name());
        assert_eq!(resets, 0);
        for speaker in said {
            let heard = listener.read(|log| {
                let heard = log.heard.iter().filter(|heard| heard.speaker == speaker);
                heard.map(|heard| heard.number).collect::<Vec<_>>()
            });
            assert_eq!(heard, (0..20).collect::<Vec<_>>());
        }
    });
}

/// The binary says what it has to do with Redis, and starts as the README has it.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn two_on_two_ports_exchange_messages() {
    let redis = RedisServer::start(Keeps::Nothing);
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let nodes = [(); 2].map(|()| Node::start(&["--redis".to_owned(), url.clone()]));
    for node in &nodes {
        node.wait_until_well();
    }
    let clients = nodes
        .each_ref()
        .map(|node| Client::join(node.address, "/ws"));
    clients[0].say(0, 64);
    clients[1].say(0, 64);
    for (client, other) in [(0, 1), (1, 0)] {
        eventually("it comes", Duration::from_secs(5), || {
            clients[client].last_of(clients[other].speaker) == Some(0)
        });
    }
    let version = Command::new(env!("CARGO_BIN_EXE_fanfare"))
        .arg("--version")
        .output();
    let version = String::from_utf8_lossy(&version.expect("it runs").stdout).into_owned();
    assert!(version.contains("redis"), "{version}");
}
