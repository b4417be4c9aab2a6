//! Some servers and a Redis, without sockets and without waiting.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::super::super::output::MAX_OUTPUT;
use super::super::super::{
    Action, Backplane, BackplaneConfig, Endpoint, Event, Health, LinkFailure, LinkId, Mode, Target,
};
use super::fake::{Conn, Fake};
use crate::hub::test_clock;
use crate::protocol::MessageKind;

/// How long a turn takes.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Some servers, and the Redis that they share.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) redis: Fake,
    /// Another one, that nobody new finds: it has been the master, and thinks that it is.
    pub(super) old: Option<Fake>,
    /// Whether Redis runs.
    pub(super) is_up: bool,
    pub(super) nodes: Vec<Node>,
}

/// A server.
pub(super) struct Node {
    pub(super) backplane: Backplane,
    /// Its connections, and whether each is to the old Redis.
    conns: BTreeMap<LinkId, (Conn, bool)>,
    /// How long the way to Redis and back is, and what is on it.
    pub(super) distance: Duration,
    under_way: BTreeMap<LinkId, VecDeque<(Instant, Vec<u8>)>>,
    /// Whether Redis can be reached from here.
    pub(super) is_cut: bool,
    /// Whether clients are too slow to take anything.
    pub(super) is_clogged: bool,
    /// What clients have heard, and when.
    pub(super) heard: Vec<(Instant, String)>,
    /// What was said here, and when.
    pub(super) said: Vec<(Instant, String)>,
    pub(super) events: Vec<Event>,
}

impl World {
    /// So many servers, with settings that may be changed; and Redis is not running.
    pub(super) fn stopped(count: u64, change: impl Fn(&mut BackplaneConfig)) -> Self {
        let now = test_clock();
        let mut config =
            BackplaneConfig::new(Target::Server(Endpoint::Tcp("redis".to_owned(), 6379)));
        config.mode = Mode::Stream;
        change(&mut config);
        let node = |origin| Node {
            backplane: Backplane::new(config.clone(), origin, 77 * origin, now),
            conns: BTreeMap::new(),
            distance: Duration::ZERO,
            under_way: BTreeMap::new(),
            is_cut: false,
            is_clogged: false,
            heard: Vec::new(),
            said: Vec::new(),
            events: Vec::new(),
        };
        Self {
            now,
            redis: Fake::new(now),
            old: None,
            is_up: false,
            nodes: (1..=count).map(node).collect(),
        }
    }

    /// So many servers, and all is well.
    pub(super) fn new(count: u64) -> Self {
        Self::with(count, |_| {})
    }

    pub(super) fn with(count: u64, change: impl Fn(&mut BackplaneConfig)) -> Self {
        let mut world = Self::stopped(count, change);
        world.is_up = true;
        world.settle();
        world
    }

    /// Waits until all servers are well.
    pub(super) fn settle(&mut self) {
        for _ in 0..2000 {
            self.turn();
            let is_up = |node: &Node| node.backplane.health() == Health::Up;
            if self.nodes.iter().all(is_up) {
                return;
            }
        }
        panic!("it does not get well");
    }

    /// So much time passes.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.turn();
        }
    }

    /// A turn of all.
    pub(super) fn turn(&mut self) {
        self.now += TICK;
        // What is asked and answered within a turn: however long, it ends.
        for round in 0.. {
            assert!(round < 5000, "they never stop talking");
            let mut is_busy = false;
            for index in 0..self.nodes.len() {
                is_busy |= self.talk(index);
            }
            self.redis.run(self.now);
            if let Some(old) = &mut self.old {
                old.run(self.now);
            }
            if !is_busy {
                break;
            }
        }
        for node in &mut self.nodes {
            let deadline = node.backplane.next_deadline();
            let is_past = deadline.is_some_and(|deadline| deadline <= self.now);
            assert!(!is_past, "a deadline that has been seen");
            assert!(node.backplane.links().count() <= 2, "one for each purpose");
        }
    }

    /// What a server's driver does in a turn. Whether something was said or heard.
    fn talk(&mut self, index: usize) -> bool {
        let (node, now) = (&mut self.nodes[index], self.now);
        let (redis, old) = (&mut self.redis, &mut self.old);
        let mut is_busy = false;
        for (link, (conn, is_old)) in node.conns.clone() {
            let redis = of(redis, old, is_old);
            if node.is_cut || !redis.is_connected(conn) {
                node.conns.remove(&link);
                node.under_way.remove(&link);
                redis.hang_up(conn);
                node.backplane.disconnected(link, LinkFailure::Reset, now);
                is_busy = true;
            } else if node.backplane.wants_input(link) {
                let bytes = redis.take_output(conn);
                let bytes = node.travel(link, bytes, now);
                is_busy |= !bytes.is_empty();
                node.backplane.receive(link, &bytes, now);
                node.backplane.readable(link, false, now);
            } else {
                node.backplane.readable(link, true, now);
            }
        }
        node.backplane.advance(now);
        is_busy |= node.hear(now);
        while let Some(action) = node.backplane.next_action() {
            is_busy = true;
            match action {
                Action::Connect { link, .. } if self.is_up && !node.is_cut => {
                    node.conns.insert(link, (redis.connect(), false));
                    node.backplane.connected(link, now);
                }
                Action::Connect { link, .. } => {
                    node.backplane.disconnected(link, LinkFailure::Connect, now);
                }
                Action::Disconnect(link) => {
                    if let Some((conn, is_old)) = node.conns.remove(&link) {
                        of(redis, old, is_old).hang_up(conn);
                    }
                }
            }
        }
        for (link, (conn, is_old)) in &node.conns {
            let redis = of(redis, old, *is_old);
            let output = node.backplane.output(*link).to_vec();
            let most = MAX_OUTPUT + node.backplane.config().max_message_size;
            assert!(output.len() <= most, "{} bytes wait", output.len());
            if !output.is_empty() {
                is_busy = true;
                redis.receive(*conn, &output);
                node.backplane.written(*link, output.len(), now);
            }
        }
        is_busy
    }

    /// A client of a server says something to the default room.
    pub(super) fn say(&mut self, index: usize, text: &str) {
        let (node, now) = (&mut self.nodes[index], self.now);
        node.said.push((now, text.to_owned()));
        let kind = MessageKind::Text;
        node.backplane.publish("", kind, text.as_bytes(), None, now);
        node.hear(now);
    }

    /// A client of a server says the next of its numbers: `1.7` is the seventh of the second
    /// server.
    pub(super) fn say_next(&mut self, index: usize) {
        let number = self.nodes[index].said.len();
        self.say(index, &format!("{index}.{number}"));
    }

    /// Clients of all servers say so many, one each in a turn.
    pub(super) fn chat(&mut self, count: usize) {
        for _ in 0..count {
            for index in 0..self.nodes.len() {
                self.say_next(index);
            }
            self.turn();
        }
    }

    /// There is another master, which has all that the one had that all are connected to: whoever
    /// connects from now on connects to that.
    pub(super) fn split(&mut self) {
        let mut redis = Fake::new(self.now);
        (redis.stream, redis.clock) = (self.redis.stream.clone(), self.redis.clock);
        self.old = Some(std::mem::replace(&mut self.redis, redis));
        for (_, is_old) in self
            .nodes
            .iter_mut()
            .flat_map(|node| node.conns.values_mut())
        {
            *is_old = true;
        }
    }

    /// Redis is killed, and starts again with what this leaves of its stream.
    pub(super) fn restart(&mut self, leave: impl Fn(&mut Option<super::fake::Entries>)) {
        self.redis.hang_up_all();
        leave(&mut self.redis.stream);
    }

    /// How often Redis was told this.
    pub(super) fn count(&self, command: &str) -> usize {
        let names = self.redis.log.iter();
        names.filter(|name| *name == command).count()
    }

    /// What a metric of a server says.
    pub(super) fn metric(&self, index: usize, name: &str) -> u64 {
        let mut text = String::new();
        self.nodes[index]
            .backplane
            .write_metrics(&mut text, self.now);
        let prefix = format!("fanfare_redis_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&prefix));
        value.expect("there is one").parse().unwrap()
    }

    /// Panics unless all clients have heard all that was said, each once, and what was said on one
    /// server in its order.
    pub(super) fn assert_complete(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            let mut heard: Vec<&str> = node.heard.iter().map(|(_, text)| text.as_str()).collect();
            for (sender, other) in self.nodes.iter().enumerate() {
                let prefix = format!("{sender}.");
                let of_sender = heard.iter().filter(|text| text.starts_with(&prefix));
                let of_sender: Vec<&str> = of_sender.copied().collect();
                let said: Vec<&str> = other.said.iter().map(|(_, text)| text.as_str()).collect();
                assert_eq!(of_sender, said, "at {index} of {sender}");
            }
            heard.sort_unstable();
            heard.dedup();
            assert_eq!(heard.len(), node.heard.len(), "each once");
        }
    }

    /// What clients of a server have heard.
    pub(super) fn texts(&self, index: usize) -> Vec<&str> {
        let heard = self.nodes[index].heard.iter();
        heard.map(|(_, text)| text.as_str()).collect()
    }
}

/// The Redis that a connection leads to.
fn of<'r>(redis: &'r mut Fake, old: &'r mut Option<Fake>, is_old: bool) -> &'r mut Fake {
    match old {
        Some(old) if is_old => old,
        _ => redis,
    }
}

impl Node {
    /// Redis has sent this on a link. What arrives there.
    fn travel(&mut self, link: LinkId, bytes: Vec<u8>, now: Instant) -> Vec<u8> {
        let under_way = self.under_way.entry(link).or_default();
        if !bytes.is_empty() {
            under_way.push_back((now + self.distance, bytes));
        }
        let mut arrived = Vec::new();
        while under_way.front().is_some_and(|(due, _)| *due <= now) {
            arrived.extend(under_way.pop_front().map(|(_, bytes)| bytes).unwrap());
        }
        arrived
    }

    /// Clients hear what there is for them. Whether there was something.
    fn hear(&mut self, now: Instant) -> bool {
        while let Some(event) = self.backplane.next_event() {
            self.events.push(event);
        }
        let before = self.heard.len();
        while let Some(delivery) = (!self.is_clogged)
            .then(|| self.backplane.next_delivery())
            .flatten()
        {
            let text = String::from_utf8_lossy(delivery.payload()).into_owned();
            self.heard.push((now, text));
        }
        self.heard.len() > before
    }

    /// Panics unless every message of a client of this server was heard here by then.
    pub(super) fn assert_prompt(&self, limit: Duration) {
        let mut first = BTreeMap::new();
        for (heard_at, text) in &self.heard {
            first.entry(text.as_str()).or_insert(*heard_at);
        }
        for (said_at, text) in &self.said {
            let heard_at = *first.get(text.as_str()).expect("it was heard");
            assert!(
                heard_at <= *said_at + limit,
                "{text} took {:?}",
                heard_at - *said_at
            );
        }
    }

    pub(super) fn has_said(&self, is_it: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| is_it(event)).count()
    }
}
