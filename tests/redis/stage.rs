//! A Redis, some servers that share their rooms through it, and clients who talk all the time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::{Client, Speaker};
use crate::control::Control;
use crate::ledger::Account;
use crate::node::Node;
use crate::outcome::{Accounts, Outcome};
use crate::proxy::Proxy;
use crate::server::{Keeps, RedisServer};
use crate::talk::Talk;

/// How long the last messages may take to come to everybody when all is well again.
const SETTLING: Duration = Duration::from_secs(15);

/// How long it may take until what was lost has been counted: a hole is a loss when it is older
/// than 10 s, and a heartbeat comes every 5 s.
const COUNTING: Duration = Duration::from_secs(20);

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    PubSub,
    Stream,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PubSub => "pubsub",
            Self::Stream => "stream",
        }
    }
}

/// Both modes, or the one that `FANFARE_REDIS_MODE` asks for.
pub(crate) fn modes() -> Vec<Mode> {
    let all = vec![Mode::PubSub, Mode::Stream];
    let Ok(wanted) = std::env::var("FANFARE_REDIS_MODE") else {
        return all;
    };
    println!("in this mode alone: {wanted}");
    let mode = all.into_iter().find(|mode| mode.name() == wanted);
    vec![mode.unwrap_or_else(|| panic!("there is no mode {wanted}"))]
}

/// Does the same in both modes, at the same time.
pub(crate) fn in_both_modes(test: impl Fn(Mode) + Sync) {
    let test = &test;
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let runs = modes().into_iter().map(|mode| {
            let run = std::thread::Builder::new()
                .name(mode.name().to_owned())
                .spawn_scoped(scope, move || test(mode));
            (mode.name(), run.expect("a free thread"))
        });
        let runs: Vec<_> = runs.collect();
        let ended = runs.into_iter();
        let ended = ended.map(|(name, run)| run.join().is_err().then_some(name));
        ended.flatten().collect()
    });
    assert!(failed.is_empty(), "failed in {failed:?}, see above");
}

/// What a stage is to be.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) nodes: usize,
    pub(crate) keeps: Keeps,
    /// More settings of Redis, and of the servers.
    pub(crate) redis: Vec<&'static str>,
    pub(crate) flags: Vec<&'static str>,
    /// Each speaker says a message of that many bytes every so long.
    pub(crate) pace: Duration,
    pub(crate) len: usize,
    /// What stands before the address in the URL: `user:password@`.
    pub(crate) credentials: &'static str,
    /// How the servers are told of Redis, if not through a proxy each.
    pub(crate) url: Option<String>,
}

impl Plan {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            nodes: 2,
            keeps: Keeps::Nothing,
            redis: Vec::new(),
            flags: Vec::new(),
            pace: Duration::from_millis(5),
            len: 64,
            credentials: "",
            url: None,
        }
    }

    /// How a server is told of a Redis at this address.
    pub(crate) fn arguments(&self, redis: SocketAddr) -> Vec<String> {
        let mut arguments = vec![
            "--redis".to_owned(),
            self.url
                .clone()
                .unwrap_or_else(|| format!("redis://{}{redis}", self.credentials)),
            "--redis-mode".to_owned(),
            self.mode.name().to_owned(),
        ];
        arguments.extend(self.flags.iter().map(|&flag| flag.to_owned()));
        arguments
    }
}

/// Someone who listens, and where.
pub(crate) struct Place {
    pub(crate) node: usize,
    room: &'static str,
    pub(crate) client: Arc<Client>,
    pub(crate) is_newcomer: bool,
    /// Its server was killed: nobody waits for what it said last.
    is_gone: bool,
    speaks: bool,
}

/// A message that everybody in a room is to hear.
struct Goal {
    room: &'static str,
    speaker: Speaker,
    number: usize,
}

pub(crate) struct Stage {
    pub(crate) plan: Plan,
    pub(crate) redis: RedisServer,
    /// What stands between each server and Redis.
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) places: Vec<Place>,
    pub(crate) talk: Talk,
    control: Arc<Control>,
    begun: Instant,
}

impl Stage {
    /// Two servers, on each a client who speaks and listens, and one who listens.
    pub(crate) fn new(mode: Mode) -> Self {
        Self::start(Plan::new(mode))
    }

    pub(crate) fn start(plan: Plan) -> Self {
        let redis = RedisServer::start_with(plan.keeps, &plan.redis);
        let mut stage = Self::set_up(plan, redis);
        stage.wait_until_well();
        stage.gather();
        stage
    }

    /// Everything but clients, and without waiting for anything.
    pub(crate) fn set_up(plan: Plan, redis: RedisServer) -> Self {
        let mut stage = Self {
            redis,
            proxies: Vec::new(),
            nodes: Vec::new(),
            places: Vec::new(),
            talk: Talk::start(plan.pace, plan.len),
            control: Control::get(),
            begun: Instant::now(),
            plan,
        };
        for _ in 0..stage.plan.nodes {
            let proxy = Proxy::start(stage.redis.address());
            let node = Node::start(&stage.plan.arguments(proxy.address));
            stage.proxies.push(proxy);
            stage.nodes.push(node);
        }
        stage
    }

    /// Clients join, begin to talk, and have heard each other.
    pub(crate) fn gather(&mut self) {
        for node in 0..self.nodes.len() {
            self.join(node, true);
            self.join(node, false);
        }
        self.wait_until_heard(10);
    }

    /// One more client, who speaks or not.
    pub(crate) fn join(&mut self, node: usize, speaks: bool) -> Arc<Client> {
        self.join_room(node, "", speaks)
    }

    /// The same in another room than that of the path itself.
    pub(crate) fn join_room(
        &mut self,
        node: usize,
        room: &'static str,
        speaks: bool,
    ) -> Arc<Client> {
        let path = format!("/ws/{room}");
        let path = path.trim_end_matches('/');
        let client = Arc::new(Client::join(self.nodes[node].address, path));
        let is_newcomer = !self.talk.said().is_empty();
        if speaks {
            // Everybody who is there now hears all of it.
            self.talk.add(&client);
        }
        self.places.push(Place {
            node,
            room,
            client: Arc::clone(&client),
            is_newcomer,
            is_gone: false,
            speaks,
        });
        client
    }

    /// The speakers in the room of a place: those of its server, or those of the others.
    fn speakers(&self, of: &Place, are_own: bool) -> Vec<Speaker> {
        let speakers = self.places.iter();
        let speakers = speakers.filter(|place| place.speaks && place.room == of.room);
        let speakers = speakers.filter(|place| (place.node == of.node) == are_own);
        speakers.map(|place| place.client.speaker).collect()
    }

    /// The last messages that everybody in the speakers' rooms is to hear.
    fn goals(&self, last: impl Fn(Speaker) -> usize) -> Vec<Goal> {
        let speakers = self.places.iter();
        let speakers = speakers.filter(|place| place.speaks && !place.is_gone);
        let goals = speakers.map(|place| Goal {
            room: place.room,
            speaker: place.client.speaker,
            number: last(place.client.speaker),
        });
        goals.collect()
    }

    /// Waits until everybody has heard so many more of everybody who speaks.
    pub(crate) fn wait_until_heard(&self, more: usize) {
        self.wait_for(&self.goals(|speaker| self.talk.count(speaker) + more - 1));
    }

    fn wait_for(&self, goals: &[Goal]) {
        for place in self.places.iter().filter(|place| !place.is_gone) {
            for goal in goals.iter().filter(|goal| goal.room == place.room) {
                let Goal {
                    speaker, number, ..
                } = *goal;
                let begun = Instant::now();
                while place.client.last_of(speaker) < Some(number) {
                    place.client.read(|log| {
                        if let Some(end) = &log.end {
                            panic!("a client of node {}: {end}", place.node);
                        }
                    });
                    if begun.elapsed() > SETTLING {
                        let last = place.client.last_of(speaker);
                        self.tell_metrics();
                        panic!(
                            "a client of node {} waits for {number} of {speaker:?}, \
                             and the last is {last:?}",
                            place.node
                        );
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    pub(crate) fn wait_until_well(&self) {
        for node in &self.nodes {
            node.wait_until_well();
        }
    }

    /// A server is killed, and its clients with it.
    pub(crate) fn kill_node(&mut self, node: usize) {
        for place in self.places.iter_mut().filter(|place| place.node == node) {
            if !place.is_gone {
                self.talk.remove(place.client.speaker);
                place.is_gone = true;
            }
        }
        self.nodes[node].process.signal("KILL");
        let _ = self.nodes[node].process.end();
    }

    /// Another one takes its place. No clients yet.
    pub(crate) fn replace_node(&mut self, node: usize) {
        let arguments = self.plan.arguments(self.proxies[node].address);
        self.nodes[node] = Node::start(&arguments);
    }

    /// When all is well again, everybody says a last word that everybody hears. What was not heard
    /// until then is lost.
    pub(crate) fn finish(&mut self) -> Outcome {
        self.wait_until_well();
        self.wait_until_heard(10);
        let lateness = self.talk.stop() + self.control.worst(self.begun);
        let said = self.talk.said();
        self.wait_for(&self.goals(|speaker| said[&speaker].len() - 1));
        let accounts = self.places.iter().map(|place| {
            let account = |speakers: &[Speaker]| {
                Account::of(&place.client, speakers, &said, place.is_newcomer)
            };
            Accounts {
                node: place.node,
                room: place.room,
                own: account(&self.speakers(place, true)),
                foreign: account(&self.speakers(place, false)),
                is_gone: place.is_gone,
            }
        });
        Outcome {
            mode: self.plan.mode,
            said: said.values().map(Vec::len).sum(),
            accounts: accounts.collect(),
            lateness,
            took: self.begun.elapsed(),
        }
    }

    /// Whoever lost something has counted it, exactly, and who did not has not.
    pub(crate) fn all_lost_is_counted(&self, outcome: &Outcome) {
        for (index, node) in self.nodes.iter().enumerate() {
            let lost = outcome.lost_at(index) as u64;
            let begun = Instant::now();
            loop {
                let counted = node.metric("fanfare_redis_gap_messages_total");
                if counted == lost {
                    break;
                }
                if begun.elapsed() > COUNTING || counted > lost {
                    self.tell_metrics();
                    panic!("node {index} counted {counted} messages as lost, but {lost} were");
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// A fault without any loss: nobody missed anything, and nobody says so.
    pub(crate) fn nothing_was_lost(&mut self) -> Outcome {
        let outcome = self.finish();
        println!("{outcome}");
        outcome.own_clients_are_content();
        for (index, _) in self.nodes.iter().enumerate() {
            let lost = outcome.lost_at(index);
            if lost > 0 {
                self.tell_metrics();
            }
            assert_eq!(lost, 0, "messages lost at node {index}: {outcome}");
        }
        self.all_lost_is_counted(&outcome);
        outcome
    }

    /// A fault that may cost messages: those of other nodes, and all of them are counted.
    pub(crate) fn what_was_lost_is_counted(&mut self) -> Outcome {
        let outcome = self.finish();
        println!("{outcome}");
        outcome.own_clients_are_content();
        self.all_lost_is_counted(&outcome);
        outcome
    }

    /// In Pub/Sub what is lost is counted; in a stream nothing is.
    pub(crate) fn stream_loses_nothing(&mut self) -> Outcome {
        match self.plan.mode {
            Mode::PubSub => self.what_was_lost_is_counted(),
            Mode::Stream => self.nothing_was_lost(),
        }
    }

    pub(crate) fn tell_metrics(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            eprintln!("node {index}:\n{}", node.metrics().redis());
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mode = self.plan.mode.name();
            eprintln!("{mode}, {:.1?} after the start:", self.begun.elapsed());
        }
    }
}
