//! Servers that share a Redis, all of them models, in a time that stands still until it is moved.

mod faults;
mod greeting;
mod handover;
mod kinds;
mod places;
mod random;
mod redis;
mod storm;
mod strangers;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::{Pipe, Redis};

use super::*;
use crate::hub::test_clock;

const SECOND: u64 = 1000;

/// Rounds of bytes to and fro in one millisecond, at most: nobody talks for ever.
const MAX_ROUNDS: usize = 200;

/// A connection of a node to a Redis.
#[derive(Debug)]
struct Wire {
    redis: usize,
    client: usize,
    to_redis: Pipe,
    to_node: Pipe,
    /// Whether bytes stay where they are, in both directions.
    is_holed: bool,
    /// Milliseconds on the way.
    delay: u64,
    /// Bytes in a millisecond towards Redis, if the line is thin.
    rate: Option<usize>,
}

impl Wire {
    /// Sends bytes on their way to Redis.
    fn send(&mut self, ms: u64, bytes: Vec<u8>) {
        let Some(rate) = self.rate else {
            return self.to_redis.push(ms + self.delay, bytes);
        };
        let last = self.to_redis.chunks.back().map(|(at, _)| *at);
        let begin = last.unwrap_or_default().max(ms + self.delay);
        for (at, piece) in (begin + 1..).zip(bytes.chunks(rate)) {
            self.to_redis.push(at, piece.to_vec());
        }
    }
}

/// What a node's clients heard.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HeardAt {
    at: u64,
    room: String,
    kind: MessageKind,
    payload: Vec<u8>,
    exempt: Option<u64>,
}

impl HeardAt {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}

/// A server without sockets.
#[expect(
    clippy::struct_excessive_bools,
    reason = "faults come in any combination"
)]
struct Node {
    backplane: Backplane,
    wires: BTreeMap<LinkId, Wire>,
    /// Closed here, while the other end may not know it yet.
    closed: Vec<Wire>,
    /// Connections that are asked for, and when the answer comes.
    dialling: BTreeMap<LinkId, (Endpoint, u64)>,
    /// What was said here: when, and what.
    said: Vec<(u64, String)>,
    heard: Vec<HeardAt>,
    events: Vec<Event>,
    /// Whether new connections lead nowhere: neither refused nor made.
    is_unreachable: bool,
    /// Whether new connections are refused.
    is_refused: bool,
    /// Whether new connections are holed.
    is_holed: bool,
    delay: u64,
    /// Whether deliveries are left where they are.
    is_congested: bool,
    connects: usize,
    /// Turns that nothing but a deadline was the reason for.
    wakes: usize,
    /// Bytes of one read.
    max_read: usize,
}

/// All of it.
struct World {
    epoch: Instant,
    /// Milliseconds since.
    ms: u64,
    nodes: Vec<Node>,
    redises: Vec<Redis>,
}

fn redis_config() -> BackplaneConfig {
    BackplaneConfig::new(Target::Server(Endpoint::Tcp("redis".to_owned(), 6379)))
}

impl Node {
    fn new(config: BackplaneConfig, origin: u64, now: Instant) -> Self {
        Self {
            backplane: Backplane::new(config, origin, origin.wrapping_mul(77), now),
            wires: BTreeMap::new(),
            closed: Vec::new(),
            dialling: BTreeMap::new(),
            said: Vec::new(),
            heard: Vec::new(),
            events: Vec::new(),
            is_unreachable: false,
            is_refused: false,
            is_holed: false,
            delay: 0,
            is_congested: false,
            connects: 0,
            wakes: 0,
            max_read: 16 * 1024,
        }
    }

    /// All connections, those that are closed here included.
    fn all_wires(&mut self) -> impl Iterator<Item = &mut Wire> {
        self.wires.values_mut().chain(&mut self.closed)
    }

    /// What clients here heard, as strings.
    fn texts(&self) -> Vec<&str> {
        self.heard.iter().map(HeardAt::text).collect()
    }

    /// What clients here heard of those whose messages begin so.
    fn texts_of(&self, prefix: &str) -> Vec<&str> {
        let texts = self.texts().into_iter();
        texts.filter(|text| text.starts_with(prefix)).collect()
    }

    fn metric(&self, name: &str, now: Instant) -> u64 {
        let mut text = String::new();
        self.backplane.write_metrics(&mut text, now);
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("fanfare_redis_{name} ")))
            .unwrap_or_else(|| panic!("no {name} in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// What the driver does after the rest of a turn.
    fn act(&mut self, ms: u64, now: Instant) {
        self.backplane.advance(now);
        while let Some(delivery) = (!self.is_congested)
            .then(|| self.backplane.next_delivery())
            .flatten()
        {
            self.heard.push(HeardAt {
                at: ms,
                room: delivery.room().to_owned(),
                kind: delivery.kind(),
                payload: delivery.payload().to_vec(),
                exempt: delivery.exempt(),
            });
        }
        while let Some(action) = self.backplane.next_action() {
            match action {
                Action::Connect { link, to } => {
                    self.connects += 1;
                    assert!(link.index() < MAX_LINKS);
                    let taken = self.wires.keys().chain(self.dialling.keys());
                    assert!(
                        taken.into_iter().all(|other| other.index() != link.index()),
                        "the place is taken"
                    );
                    self.dialling.insert(link, (to, ms));
                }
                Action::Disconnect(link) => {
                    self.closed.extend(self.wires.remove(&link));
                    self.dialling.remove(&link);
                }
            }
        }
        while let Some(event) = self.backplane.next_event() {
            assert!(!event.to_string().is_empty());
            self.events.push(event);
        }
        let links: Vec<LinkId> = self.backplane.links().collect();
        for link in links {
            let bytes = self.backplane.output(link).to_vec();
            assert!(bytes.len() < 3 * 1024 * 1024, "output is bounded");
            let Some(wire) = self.wires.get_mut(&link) else {
                assert!(bytes.is_empty(), "nothing is written before the connection");
                continue;
            };
            self.backplane.written(link, bytes.len(), now);
            wire.send(ms, bytes);
        }
    }
}

impl World {
    /// So many nodes, and one Redis.
    fn new(nodes: usize) -> Self {
        Self::with(nodes, |_| {})
    }

    fn with(nodes: usize, change: impl Fn(&mut BackplaneConfig)) -> Self {
        let epoch = test_clock();
        let mut config = redis_config();
        change(&mut config);
        let node = |index| Node::new(config.clone(), 1000 + index as u64, epoch);
        Self {
            epoch,
            ms: 0,
            nodes: (0..nodes).map(node).collect(),
            redises: vec![Redis::new("redis")],
        }
    }

    /// Nodes that have found each other, and wait for their echoes.
    fn joined(nodes: usize) -> Self {
        Self::joined_with(nodes, |_| {})
    }

    fn joined_with(nodes: usize, change: impl Fn(&mut BackplaneConfig)) -> Self {
        let mut world = Self::with(nodes, change);
        world.run(3 * SECOND);
        for node in &world.nodes {
            assert_eq!(node.backplane.health(), Health::Up, "{:?}", node.events);
        }
        world
    }

    fn now(&self) -> Instant {
        self.epoch + Duration::from_millis(self.ms)
    }

    fn health(&self, node: usize) -> Health {
        self.nodes[node].backplane.health()
    }

    fn metric(&self, node: usize, name: &str) -> u64 {
        self.nodes[node].metric(name, self.now())
    }

    /// Says something at a node, in a room.
    fn say_in(&mut self, node: usize, room: &str, text: &str) {
        let now = self.now();
        let node = &mut self.nodes[node];
        node.said.push((self.ms, text.to_owned()));
        let kind = MessageKind::Text;
        node.backplane
            .publish(room, kind, text.as_bytes(), None, now);
        node.act(self.ms, now);
    }

    fn say(&mut self, node: usize, text: &str) {
        self.say_in(node, "", text);
    }

    /// Each node says one more of its numbered messages.
    fn chatter(&mut self) {
        for node in 0..self.nodes.len() {
            self.say(node, &format!("{node}:{}", self.nodes[node].said.len()));
        }
    }

    /// Lets so many milliseconds pass. Those in which nothing can happen are not looked at.
    fn run(&mut self, ms: u64) {
        let end = self.ms + ms;
        let mut next = self.ms + 1;
        while next <= end {
            self.ms = next;
            self.tick();
            next = self.next_ms();
        }
        self.ms = end;
    }

    /// The next millisecond in which something can happen.
    fn next_ms(&self) -> u64 {
        let mut next = u64::MAX;
        for node in &self.nodes {
            if let Some(deadline) = node.backplane.next_deadline() {
                let passed = deadline.saturating_duration_since(self.epoch).as_micros();
                next = next.min(u64::try_from(passed.div_ceil(1000)).unwrap());
            }
            if !node.is_unreachable {
                let made = node
                    .dialling
                    .values()
                    .map(|(_, since)| since + node.delay + 1);
                next = made.fold(next, u64::min);
            }
            for (link, wire) in &node.wires {
                if wire.is_holed {
                    continue;
                }
                let is_frozen = self.redises[wire.redis].is_frozen;
                let to_redis = wire.to_redis.chunks.front().filter(|_| !is_frozen);
                let is_read = node.backplane.wants_input(*link);
                let to_node = wire.to_node.chunks.front().filter(|_| is_read);
                let chunks = to_redis.into_iter().chain(to_node);
                next = chunks.map(|(at, _)| *at).fold(next, u64::min);
            }
            for wire in node.closed.iter().filter(|wire| !wire.is_holed) {
                let chunks = wire.to_redis.chunks.front().map(|(at, _)| *at);
                next = chunks.into_iter().fold(next, u64::min);
            }
        }
        next.max(self.ms + 1)
    }

    /// Lets so many milliseconds pass, while all nodes talk every so often.
    fn run_chatting(&mut self, ms: u64, every: u64) {
        let end = self.ms + ms;
        while self.ms < end {
            let next = (self.ms / every + 1) * every;
            self.run(next.min(end + 1) - self.ms - 1);
            if next <= end {
                self.ms = next;
                self.chatter();
                self.tick();
            }
        }
    }

    /// Everything that happens in one millisecond.
    fn tick(&mut self) {
        let now = self.now();
        for round in 0..=MAX_ROUNDS {
            assert!(round < MAX_ROUNDS, "it does not end at {}", self.ms);
            let mut is_busy = false;
            for index in 0..self.nodes.len() {
                let is_news = self.read(index);
                let node = &mut self.nodes[index];
                let deadline = node.backplane.next_deadline();
                let is_due = deadline.is_some_and(|deadline| deadline <= now);
                if is_news || is_due {
                    node.act(self.ms, now);
                    node.wakes += usize::from(!is_news);
                    is_busy = true;
                    let deadline = self.nodes[index].backplane.next_deadline();
                    assert!(deadline.is_none_or(|deadline| deadline > now), "it spins");
                }
            }
            is_busy |= self.serve();
            if !is_busy {
                return;
            }
        }
    }

    /// What a node learns from its connections. Whether there was something.
    fn read(&mut self, index: usize) -> bool {
        let (ms, now) = (self.ms, self.now());
        let node = &mut self.nodes[index];
        let mut is_news = false;
        let dialling: Vec<_> = node.dialling.keys().copied().collect();
        for link in dialling {
            let (to, since) = node.dialling[&link].clone();
            if since + node.delay >= ms || node.is_unreachable {
                continue;
            }
            node.dialling.remove(&link);
            is_news = true;
            let redis = self.redises.iter().position(|redis| redis.at == to);
            let redis = redis.filter(|redis| self.redises[*redis].is_running);
            match redis.filter(|_| !node.is_refused) {
                Some(redis) => {
                    let wire = Wire {
                        redis,
                        client: self.redises[redis].accept(),
                        to_redis: Pipe::default(),
                        to_node: Pipe::default(),
                        is_holed: node.is_holed,
                        delay: node.delay,
                        rate: None,
                    };
                    node.wires.insert(link, wire);
                    node.backplane.connected(link, now);
                    // Some loops hear of it twice.
                    node.backplane.connected(link, now);
                }
                None => node.backplane.disconnected(link, LinkFailure::Connect, now),
            }
        }
        let links: Vec<_> = node.wires.keys().copied().collect();
        for link in links {
            let wire = node.wires.get_mut(&link).unwrap();
            let is_cut = !self.redises[wire.redis].clients.contains_key(&wire.client);
            if !wire.is_holed && node.backplane.wants_input(link) {
                let mut bytes = Vec::new();
                while bytes.len() < node.max_read {
                    let Some(chunk) = wire.to_node.pop(ms) else {
                        break;
                    };
                    bytes.extend(chunk);
                }
                if !bytes.is_empty() {
                    is_news = true;
                    let later = bytes.split_off(bytes.len().min(node.max_read));
                    if !later.is_empty() {
                        wire.to_node.chunks.push_front((ms, later));
                    }
                    node.backplane.receive(link, &bytes, now);
                    let is_unread = wire.to_node.has_arrived(ms);
                    node.backplane.readable(link, is_unread, now);
                    continue;
                }
                if is_cut && wire.to_node.chunks.is_empty() {
                    is_news = true;
                    node.wires.remove(&link);
                    node.backplane.disconnected(link, LinkFailure::Reset, now);
                    continue;
                }
            }
            let is_unread = !wire.is_holed && wire.to_node.has_arrived(ms);
            node.backplane.readable(link, is_unread, now);
        }
        is_news
    }

    /// What the servers do. Whether there was something.
    fn serve(&mut self) -> bool {
        let ms = self.ms;
        let mut is_busy = false;
        for node in &mut self.nodes {
            for wire in node.all_wires() {
                let redis = &mut self.redises[wire.redis];
                if redis.is_frozen || wire.is_holed {
                    continue;
                }
                while let Some(bytes) = wire.to_redis.pop(ms) {
                    redis.receive(wire.client, &bytes);
                    is_busy = true;
                }
            }
            // What was sent before a connection was closed still arrives.
            let redises = &mut self.redises;
            node.closed.retain(|wire| {
                let redis = &mut redises[wire.redis];
                let is_open = wire.is_holed || redis.is_frozen || !wire.to_redis.chunks.is_empty();
                if !is_open {
                    redis.clients.remove(&wire.client);
                }
                is_open
            });
        }
        for node in &mut self.nodes {
            for wire in node.wires.values_mut() {
                let redis = &mut self.redises[wire.redis];
                if let Some(client) = redis.clients.get_mut(&wire.client) {
                    let output = std::mem::take(&mut client.output);
                    is_busy |= !output.is_empty();
                    wire.to_node.push(ms + wire.delay, output);
                }
            }
        }
        for redis in &mut self.redises {
            for client in std::mem::take(&mut redis.hung_up) {
                redis.clients.remove(&client);
                is_busy = true;
            }
        }
        is_busy
    }

    /// Redis is killed.
    fn kill(&mut self) {
        self.redises[0].kill();
        for node in &mut self.nodes {
            for wire in node.all_wires().filter(|wire| wire.redis == 0) {
                wire.is_holed = false;
            }
        }
    }

    fn start(&mut self) {
        self.redises[0].is_running = true;
    }

    /// Connections of a node that stand, and new ones too, bring nothing any more, or do again.
    fn hole(&mut self, node: usize, is_holed: bool) {
        let node = &mut self.nodes[node];
        node.is_holed = is_holed;
        for wire in node.all_wires() {
            wire.is_holed = is_holed;
        }
    }

    /// Connections of a node are reset, and new ones refused.
    fn cut(&mut self, node: usize) {
        let now = self.now();
        let node = &mut self.nodes[node];
        node.is_refused = true;
        for (link, wire) in std::mem::take(&mut node.wires) {
            self.redises[wire.redis].clients.remove(&wire.client);
            node.backplane.disconnected(link, LinkFailure::Reset, now);
        }
        node.act(self.ms, now);
    }

    /// Clients of a node hear all that was said there, once, in order and in time.
    fn check_own(&self, node: usize) {
        /// What echoes may be late, and a tick.
        const LATE: u64 = 251;

        let prefix = format!("{node}:");
        let node = &self.nodes[node];
        let said = node
            .said
            .iter()
            .filter(|(_, text)| text.starts_with(&prefix));
        let heard = node
            .heard
            .iter()
            .filter(|heard| heard.text().starts_with(&prefix));
        let (mut said, mut heard) = (said, heard);
        loop {
            match (said.next(), heard.next()) {
                (None, None) => return,
                (Some((at, text)), Some(heard)) => {
                    assert_eq!(heard.text(), text, "in order, and all of them");
                    let late = heard.at - at;
                    assert!(late <= LATE, "{text} was {late} ms late");
                }
                other => panic!("not the same number: {other:?}"),
            }
        }
    }

    /// How many messages of a node the clients of another one do not hear. Those that they hear
    /// come in order, and once.
    fn lost(&self, from: usize, at: usize) -> usize {
        let prefix = format!("{from}:");
        let heard: Vec<usize> = self.nodes[at]
            .texts_of(&prefix)
            .iter()
            .map(|text| text[prefix.len()..].parse().unwrap())
            .collect();
        let wrong = heard.windows(2).position(|pair| pair[0] >= pair[1]);
        if let Some(index) = wrong {
            let around = &heard[index.saturating_sub(3)..(index + 5).min(heard.len())];
            panic!("neither twice nor out of order: of {from} at {at}: {around:?}");
        }
        self.nodes[from].said.len() - heard.len()
    }

    /// All hear everything.
    fn check_all(&self) {
        for from in 0..self.nodes.len() {
            self.check_own(from);
            for at in 0..self.nodes.len() {
                assert_eq!(self.lost(from, at), 0, "of {from} at {at}");
            }
        }
    }
}

#[test]
fn all_hear_all_in_one_order() {
    let mut world = World::joined(3);
    world.run_chatting(2 * SECOND, 7);
    world.run(100);
    world.check_all();
    let first = world.nodes[0].texts();
    assert_eq!(first.len(), 3 * world.nodes[0].said.len());
    for node in &world.nodes {
        assert_eq!(node.texts(), first, "one order");
    }
}
