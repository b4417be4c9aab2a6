//! The world in which backplanes live: time, and what moves in it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::ledger::{Key, Ledger};
use super::node::Node;
use super::plan::{Outsider, Plan, Step};
use super::redis::{Conn, Peer, Redis};
use super::runner::dice::Dice;
use super::runner::seeds::clock;
use super::runner::shrink::IS_TOLD;
use super::settings::Settings;
use super::tally::Tally;
use super::wire::Reply;

/// What Redis wants to hear, if anything.
pub(crate) const PASSWORD: &str = "hush";

/// Steps of the world at one time.
const MAX_STEPS_AT_ONCE: usize = 100_000;

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) dice: Dice,
    start: Instant,
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    pub(crate) servers: [Redis; 2],
    /// The one that is the master.
    pub(crate) leader: usize,
    pub(crate) conns: BTreeMap<usize, Conn>,
    pub(crate) opened: usize,
    pub(crate) ledger: Ledger,
    /// What ends, and when.
    pub(crate) timers: Vec<(Duration, Timer)>,
    /// When a Redis lost what it had.
    pub(crate) losses: Vec<Duration>,
    /// Whether a stream was trimmed by somebody who is no server: then nobody can tell what was
    /// lost behind that from what was trimmed.
    pub(crate) is_trimmed: bool,
    /// Whether the clock of a Redis was wrong by more than readers go back.
    pub(crate) is_skewed: bool,
    /// When a Redis lost the end of what it had and its clock went back, and until when its clock
    /// named times that it had named before.
    pub(crate) setbacks: Vec<(Duration, Duration)>,
    /// Messages that arrived and were not heard in the same turn: who should have heard them, on
    /// which connection, and when.
    pub(crate) held: Vec<(usize, Key, usize, Duration)>,
    /// When connections were closed.
    pub(crate) closed: BTreeMap<usize, Duration>,
    pub(crate) tally: Tally,
    pub(crate) trace: Trace,
}

/// Something that ends, or follows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timer {
    /// A node's clients take everything again.
    Hunger { node: usize },
    /// A node that died is there again.
    Birth { node: usize },
    /// A node's way is as it was.
    Quicken { node: usize },
    /// The kernel of a node gives up what it could not send.
    Tire { node: usize },
    /// A node learns which Redis is the master.
    Lead { node: usize },
    /// A Redis comes back.
    Revive { server: usize },
    /// A Redis is a master again.
    Promote { server: usize },
    /// A Redis refuses nothing any longer.
    Allow { server: usize },
    /// A Redis is stopped for good.
    Retire { server: usize },
}

/// What has happened, as a number, and in words if somebody wants to read them.
#[derive(Debug)]
pub(crate) struct Trace {
    digest: u64,
    is_told: bool,
}

/// Lets a plan happen. Returns what happened, and a number that sums it up.
///
/// # Panics
/// If something does that must not.
pub(crate) fn run(plan: &Plan) -> (Tally, u64) {
    let mut world = World::new(&plan.settings);
    world.begin();
    for step in &plan.steps {
        world.take(*step);
    }
    world.end();
    (world.tally, world.trace.digest)
}

impl World {
    fn new(settings: &Settings) -> Self {
        Self {
            dice: Dice::new(settings.seed),
            start: clock(),
            now: Duration::ZERO,
            nodes: (0..settings.nodes).map(|_| Node::default()).collect(),
            servers: [Redis::default(), Redis::default()],
            leader: 0,
            conns: BTreeMap::new(),
            opened: 0,
            ledger: Ledger::new(settings),
            timers: Vec::new(),
            losses: Vec::new(),
            is_trimmed: false,
            is_skewed: false,
            setbacks: Vec::new(),
            held: Vec::new(),
            closed: BTreeMap::new(),
            tally: Tally::default(),
            trace: Trace::new(),
            settings: settings.clone(),
        }
    }

    /// The time as backplanes are told it.
    pub(crate) fn instant(&self) -> Instant {
        self.start + self.now
    }

    /// A time that a backplane has told.
    pub(crate) fn since_start(&self, time: Instant) -> Duration {
        time.saturating_duration_since(self.start)
    }

    fn begin(&mut self) {
        self.servers[1].is_down = true;
        for node in 0..self.nodes.len() {
            self.be_born(node);
        }
        if self.settings.is_warm {
            self.warm_up();
        }
    }

    fn take(&mut self, step: Step) {
        self.trace.note(self.now, format_args!("{step:?}"));
        match step {
            Step::Say {
                node,
                room,
                len,
                count,
            } => {
                if let Some(life) = &mut self.nodes[node].life {
                    life.to_say.extend(std::iter::repeat_n((room, len), count));
                }
                self.run(Duration::ZERO);
            }
            Step::Outsider { what, server } => self.be_outsider(what, server),
            Step::Pass { millis } => {
                self.run(Duration::from_millis(millis));
                self.check_holdings();
            }
            Step::Fault { fault, millis } => self.fail(fault, Duration::from_millis(millis)),
        }
    }

    /// Lets so much time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        let (mut last, mut steps) = (self.now, 0);
        while let Some(at) = self.next_event().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            steps = if self.now == last { steps + 1 } else { 0 };
            last = self.now;
            assert!(steps < MAX_STEPS_AT_ONCE, "I7: time stands still");
            self.step();
        }
        self.now = until;
        self.check_silence();
    }

    /// When something happens.
    fn next_event(&self) -> Option<Duration> {
        let timers = self.timers.iter().map(|(at, _)| *at);
        let nodes = (0..self.nodes.len()).filter_map(|node| self.next_turn(node));
        let conns = self.conns.values();
        let arrivals = conns.filter_map(|conn| self.next_service(conn));
        timers.chain(nodes).chain(arrivals).min()
    }

    fn step(&mut self) {
        while let Some(index) = self.timers.iter().position(|(at, _)| *at <= self.now) {
            let (_, timer) = self.timers.remove(index);
            self.fire(timer);
        }
        self.serve();
        let first = self.dice.below(self.nodes.len());
        for i in 0..self.nodes.len() {
            let node = (first + i) % self.nodes.len();
            if self.next_turn(node).is_some_and(|at| at <= self.now) {
                self.turn(node);
            }
        }
        self.forget_closed();
        self.check_silence();
    }

    /// When Redis has something to do about a connection.
    fn next_service(&self, conn: &Conn) -> Option<Duration> {
        if conn.is_dropped {
            return None;
        }
        let frozen = match conn.to {
            Peer::Redis(server) => self.servers[server].frozen_until,
            Peer::Sentinel => Duration::ZERO,
        };
        let wait = conn.session.waits.as_ref().map(|waits| waits.until);
        let next = conn.up.arrival().into_iter().chain(wait).min();
        next.map(|at| at.max(frozen))
    }

    /// The Redises read what has arrived, and answer.
    fn serve(&mut self) {
        self.end_waits();
        let ids: Vec<usize> = self.conns.keys().copied().collect();
        let first = self.dice.below(ids.len().max(1));
        for i in 0..ids.len() {
            let id = ids[(first + i) % ids.len()];
            self.serve_one(id);
        }
        let is_woken = |conn: &mut Conn| std::mem::take(&mut conn.session.is_woken);
        let conns = self.conns.iter_mut();
        let woken = conns.filter_map(|(id, conn)| is_woken(conn).then_some(*id));
        for id in woken.collect::<Vec<_>>() {
            self.execute_all(id);
        }
    }

    fn serve_one(&mut self, id: usize) {
        let now = self.now;
        let conn = &self.conns[&id];
        if self.next_service(conn).is_none_or(|at| at > now) {
            return;
        }
        let conn = self.conns.get_mut(&id).expect("it is there");
        let mut has_come = false;
        loop {
            let bytes = conn.up.take(usize::MAX, now);
            if bytes.is_empty() {
                break;
            }
            has_come = true;
            conn.session.input.extend_from_slice(&bytes);
        }
        if has_come {
            self.execute_all(id);
        }
        let conn = self.conns.get_mut(&id).expect("it is there");
        if conn.up.has_ended(now) {
            conn.is_dropped = true;
        }
    }

    /// Redis says something on a connection.
    #[expect(clippy::needless_pass_by_value, reason = "it is made to be said")]
    pub(crate) fn reply(&mut self, id: usize, reply: Reply) {
        self.send_down(id, &reply.0);
    }

    pub(crate) fn send_down(&mut self, id: usize, bytes: &[u8]) {
        let conn = &self.conns[&id];
        let at = self.now + self.nodes[conn.node].latency(&self.settings, &mut self.dice);
        let conn = self.conns.get_mut(&id).expect("it is there");
        if conn.is_dropped || conn.has_left {
            return;
        }
        conn.down.send(bytes, at);
        let is_subscribed = !conn.session.channels.is_empty();
        if is_subscribed && conn.down.len() > self.settings.output_limit {
            self.trace
                .note(self.now, format_args!("{id} does not read"));
            self.tally.overflows += 1;
            self.reset(id);
        }
    }

    /// Takes note of a message that has just been sent down a connection.
    pub(crate) fn load(&mut self, id: usize, key: Key) {
        let conn = self.conns.get_mut(&id).expect("it is there");
        conn.cargo.push((conn.down.sent, key));
        let bit = super::ledger::bit(conn.who);
        self.ledger.message(key).pushed |= bit;
    }

    /// A connection is reset: what is on its way is lost, and both find it ended.
    pub(crate) fn reset(&mut self, id: usize) {
        let now = self.now;
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.is_reset = true;
            conn.is_dropped = true;
            conn.up.lose();
            conn.down.lose();
            conn.down.release();
            conn.down.end(now);
            if let Some((at, stands)) = &mut conn.opens {
                (*at, *stands) = (now, false);
            }
        }
    }

    fn forget_closed(&mut self) {
        let (now, closed) = (self.now, &mut self.closed);
        self.conns.retain(|id, conn| {
            let is_over = conn.has_left && conn.is_dropped;
            if conn.has_left {
                closed.entry(*id).or_insert(now);
            }
            !is_over
        });
    }

    /// Somebody who is no server says something through Redis.
    fn be_outsider(&mut self, what: Outsider, server: usize) {
        let server = if self.servers[server].is_down {
            self.leader
        } else {
            server
        };
        let is_away = self.servers[server].is_down || self.servers[server].frozen_until > self.now;
        if is_away {
            return;
        }
        let payload = super::ledger::outsider_payload(self.ledger.outsider());
        let bytes = match what {
            Outsider::Published | Outsider::Added => payload,
            Outsider::Nameless => {
                let header = b"\xFFWB\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\0";
                [header.as_slice(), &payload].concat()
            }
            Outsider::Wrong => b"\xFFWB\x01\x0F".to_vec(),
        };
        if what == Outsider::Added {
            let streams = &mut self.servers[server].streams;
            let key = streams.keys().next().cloned();
            if let Some((database, key)) = key.filter(|_| !self.servers[server].is_replica) {
                self.add_entry(server, (database, &key), &[b"message", &bytes]);
            }
            return;
        }
        let channels = self.conns.values().filter(|conn| conn.is_served_by(server));
        let mut channels = channels.flat_map(|conn| conn.session.channels.iter());
        let channel = channels.find(|(name, _)| !name.ends_with(b":ctl")).cloned();
        if let Some((name, is_sharded)) = channel {
            self.publish(server, &name, &bytes, is_sharded);
        }
    }
}

impl Trace {
    fn new() -> Self {
        Self {
            digest: 0xCBF2_9CE4_8422_2325,
            is_told: IS_TOLD.load(Ordering::Relaxed),
        }
    }

    /// Something has happened.
    pub(crate) fn note(&mut self, now: Duration, what: fmt::Arguments<'_>) {
        if self.is_told {
            let millis = now.as_secs_f64() * 1e3;
            println!("{millis:12.3} {what}");
        }
    }

    /// Something has happened that must happen again in the same way.
    pub(crate) fn sum(&mut self, number: usize) {
        self.digest = (self.digest ^ number as u64).wrapping_mul(0x100_0000_01B3);
    }
}
