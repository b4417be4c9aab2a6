//! A node, which is one server of those that share their rooms: its driver, without sockets.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fanfare::backplane::{
    Action, Backplane, Endpoint, Event, Health, LinkFailure, LinkId, MAX_LINKS,
};

use super::ledger::{Key, Ledger, bit};
use super::pipe::Pipe;
use super::plan::{ALL, ROOMS};
use super::redis::{Conn, Peer, Session};
use super::runner::dice::Dice;
use super::runner::meter::Meter;
use super::settings::Settings;
use super::world::World;

/// Bytes that the kernel takes before some have left.
const MAX_SENDING: usize = 200_000;

/// Bytes that one turn reads from a connection, and writes to it.
const MAX_PER_TURN: usize = 256 * 1024;

/// What a link may have to write at most, beside a message: the bound is the backplane's.
const MAX_OUTPUT: usize = 1024 * 1024 + 4096;

/// How often a driver may be woken at one time by nothing but the time.
const MAX_SPINS: usize = 4;

/// How often it may be woken so in a second, for each shard.
const MAX_WAKES: usize = 150;

/// How many connections it may open in ten seconds if none succeeds, for each link that it has;
/// each that succeeds allows for some more.
const MAX_ATTEMPTS: usize = 40;
const ATTEMPTS_PER_SUCCESS: usize = 6;

/// A node: perhaps a process, and the way to Redis.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) life: Option<Box<Process>>,
    /// The process does nothing before.
    pub(crate) stopped_until: Duration,
    /// Deliveries that its clients take in a turn.
    pub(crate) appetite: Option<usize>,
    /// How long bytes travel, if not as long as everybody's.
    pub(crate) slow: Option<Duration>,
    /// Nothing arrives before, in either direction.
    pub(crate) holes: [Duration; 2],
    /// No connection can be made before.
    pub(crate) cut_until: Duration,
    /// The Redis that is the master, as far as is known here.
    pub(crate) lead: usize,
    attempts: VecDeque<Duration>,
    successes: VecDeque<Duration>,
    wakes: VecDeque<Duration>,
}

/// A process: a backplane, and what it drives it with.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) who: usize,
    pub(crate) backplane: Backplane,
    /// What the backplane holds.
    pub(crate) meter: Meter,
    /// What it may hold at worst.
    pub(crate) worst_case: usize,
    /// The connection of each link, by the link's place.
    links: BTreeMap<usize, (LinkId, usize)>,
    /// What its clients say next: room and length.
    pub(crate) to_say: Vec<(usize, usize)>,
    pub(crate) deadline: Option<Duration>,
    /// Messages that have arrived in this turn, and on which connection.
    arrived: Vec<(Key, usize)>,
    /// Turns at the same time that nothing but the time has called for.
    spins: usize,
    turned_at: Duration,
    /// Since when its own clients may be waiting, as far as it is not its own fault: it was
    /// stopped, or they take nothing.
    excused: Duration,
}

/// What a turn has moved.
#[derive(Clone, Copy, Debug)]
struct Moved {
    /// Whether something was said, or has come from Redis.
    has_come: bool,
    /// Whether something has left.
    has_gone: bool,
}

impl Node {
    pub(crate) fn latency(&self, settings: &Settings, dice: &mut Dice) -> Duration {
        let jitter = u32::try_from(dice.below(101)).expect("it is small");
        self.slow.unwrap_or(settings.latency) + settings.jitter * jitter / 100
    }

    /// Redis lets it do what it has come for.
    pub(crate) fn note_success(&mut self, now: Duration) {
        self.successes.push_back(now);
    }

    fn note_attempt(&mut self, links: usize, now: Duration) {
        const WINDOW: Duration = Duration::from_secs(10);

        self.attempts.push_back(now);
        for times in [&mut self.attempts, &mut self.successes] {
            while times.front().is_some_and(|at| *at + WINDOW < now) {
                times.pop_front();
            }
        }
        let most = links * (MAX_ATTEMPTS + ATTEMPTS_PER_SUCCESS * self.successes.len());
        assert!(
            self.attempts.len() <= most,
            "I7: it calls Redis {} times in ten seconds",
            self.attempts.len()
        );
    }

    fn note_wake(&mut self, shards: usize, now: Duration) {
        self.wakes.push_back(now);
        while self
            .wakes
            .front()
            .is_some_and(|at| *at + Duration::from_secs(1) < now)
        {
            self.wakes.pop_front();
        }
        assert!(
            self.wakes.len() <= MAX_WAKES * shards,
            "I7: it wakes {} times a second",
            self.wakes.len()
        );
    }
}

impl World {
    /// A process starts on a node.
    pub(super) fn be_born(&mut self, node: usize) {
        let who = self.ledger.begin(node);
        let config = self.settings.config();
        let origin = Ledger::origin(who);
        let holdings = config.worst_case_memory().into_iter();
        let worst_case = holdings.map(|part| part.bytes_each * part.count).sum();
        let (seed, now) = (self.dice.next(), self.instant());
        let mut meter = Meter::default();
        let backplane = meter.count(|| Backplane::new(config, origin, seed, now));
        self.trace
            .note(self.now, format_args!("node {node} lives as {who}"));
        self.nodes[node].life = Some(Box::new(Process {
            who,
            backplane,
            meter,
            worst_case,
            links: BTreeMap::new(),
            to_say: Vec::new(),
            arrived: Vec::new(),
            deadline: Some(self.now),
            spins: 0,
            turned_at: self.now,
            excused: self.now,
        }));
    }

    /// The process of a node is no more.
    pub(super) fn die(&mut self, node: usize) {
        let Some(life) = self.nodes[node].life.take() else {
            return;
        };
        self.ledger.lives[life.who].has_died = true;
        for (_, id) in life.links.values() {
            self.hang_up(*id);
        }
        self.check_dead(&life);
    }

    /// When the driver of a node turns next.
    pub(super) fn next_turn(&self, node: usize) -> Option<Duration> {
        let node = &self.nodes[node];
        let life = node.life.as_ref()?;
        let next = if life.to_say.is_empty() {
            let links = life.links.values();
            let events = links.filter_map(|(link, id)| self.next_arrival(life, *link, *id));
            events.chain(life.deadline).min()?
        } else {
            self.now
        };
        Some(next.max(node.stopped_until))
    }

    /// When something arrives on a link, or may be sent.
    fn next_arrival(&self, life: &Process, link: LinkId, id: usize) -> Option<Duration> {
        let conn = &self.conns[&id];
        if let Some((at, _)) = conn.opens {
            return Some(at);
        }
        if conn.is_blocked && conn.up.len() < MAX_SENDING / 2 {
            return Some(self.now);
        }
        let arrival = conn.down.arrival()?;
        life.backplane.wants_input(link).then_some(arrival)
    }

    /// The driver of a node turns.
    pub(super) fn turn(&mut self, node: usize) {
        let Some(mut life) = self.nodes[node].life.take() else {
            return;
        };
        self.tally.turns += 1;
        if self.nodes[node].stopped_until > Duration::ZERO {
            life.excused = self.nodes[node].stopped_until;
            self.nodes[node].stopped_until = Duration::ZERO;
        }
        let mut moved = Moved {
            has_come: !life.to_say.is_empty(),
            has_gone: false,
        };
        moved.has_come |= self.read(&mut life);
        self.say(&mut life);
        let now = self.instant();
        life.meter.count(|| life.backplane.advance(now));
        self.hear(node, &mut life);
        self.act(node, &mut life);
        moved.has_gone = self.write(&mut life);
        self.settle(node, &mut life, moved);
        self.nodes[node].life = Some(life);
    }

    /// Reads what has come. Whether anything has.
    fn read(&mut self, life: &mut Process) -> bool {
        let now = self.instant();
        let mut has_read = false;
        for (link, id) in life.links.values().copied().collect::<Vec<_>>() {
            let conn = self.conns.get_mut(&id).expect("the node has it");
            if let Some((at, stands)) = conn.opens {
                if at > self.now {
                    continue;
                }
                has_read = true;
                conn.opens = None;
                if stands {
                    life.meter.count(|| life.backplane.connected(link, now));
                } else {
                    self.lose(life, link, LinkFailure::Connect);
                    continue;
                }
            }
            has_read |= self.read_link(life, link, id);
        }
        has_read
    }

    fn read_link(&mut self, life: &mut Process, link: LinkId, id: usize) -> bool {
        let now = self.instant();
        let mut read = 0;
        while life.backplane.wants_input(link) && read < MAX_PER_TURN {
            let conn = self.conns.get_mut(&id).expect("the node has it");
            let bytes = conn.down.take(self.settings.read, self.now);
            if bytes.is_empty() {
                if conn.down.has_ended(self.now) {
                    let why = if conn.is_reset {
                        LinkFailure::Reset
                    } else {
                        LinkFailure::End
                    };
                    self.lose(life, link, why);
                    return true;
                }
                break;
            }
            read += bytes.len();
            let cargo = conn.unload();
            let entries = conn.unload_entries();
            self.ledger.lives[life.who].read.extend(entries);
            life.meter
                .count(|| life.backplane.receive(link, &bytes, now));
            for key in cargo {
                self.ledger.message(key).arrived |= bit(life.who);
                life.arrived.push((key, id));
            }
        }
        let arrival = self.conns[&id].down.arrival();
        let is_unread = arrival.is_some_and(|at| at <= self.now);
        life.backplane.readable(link, is_unread, now);
        read > 0
    }

    fn lose(&mut self, life: &mut Process, link: LinkId, why: LinkFailure) {
        let now = self.instant();
        let (_, id) = life.links.remove(&link.index()).expect("it is there");
        self.trace.note(
            self.now,
            format_args!("life {}: connection {id} {why:?}", life.who),
        );
        self.hang_up(id);
        life.meter
            .count(|| life.backplane.disconnected(link, why, now));
    }

    /// A node closes a connection. What it has sent arrives, or does not.
    pub(super) fn hang_up(&mut self, id: usize) {
        let at = self.now + self.settings.latency;
        let is_rude = self.dice.percent(30);
        let conn = self.conns.get_mut(&id).expect("the node has it");
        conn.has_left = true;
        conn.down.lose();
        if is_rude {
            conn.up.lose();
        }
        conn.up.end(at);
        if conn.opens.take().is_some() {
            conn.is_dropped = true;
        }
    }

    /// Clients say what they have to say.
    fn say(&mut self, life: &mut Process) {
        let now = self.instant();
        for (room, len) in std::mem::take(&mut life.to_say) {
            let message = self.ledger.say(life.who, room, len, self.now);
            life.meter
                .count(|| message.publish(&mut life.backplane, ROOMS[room], now));
            self.tally.said += 1;
        }
    }

    /// Clients hear what there is to hear.
    fn hear(&mut self, node: usize, life: &mut Process) {
        let mut appetite = self.nodes[node].appetite.unwrap_or(ALL);
        while appetite > 0 {
            let Some(delivery) = life.meter.count(|| life.backplane.next_delivery()) else {
                break;
            };
            appetite -= 1;
            self.tally.heard += 1;
            if let Some((who, index)) = self.ledger.hear(life.who, &delivery, self.now) {
                self.trace.sum(who << 40 | index << 8 | node);
            }
            life.meter.count(|| drop(delivery));
        }
        if life.backplane.has_deliveries() {
            life.excused = self.now;
        }
        for (key, conn) in life.arrived.drain(..) {
            if self.ledger.message(key).heard & bit(life.who) == 0 {
                self.held.push((life.who, key, conn, self.now));
            }
        }
    }

    /// Opens and closes connections, and reads the events.
    fn act(&mut self, node: usize, life: &mut Process) {
        while let Some(action) = life.meter.count(|| life.backplane.next_action()) {
            match &action {
                Action::Connect { link, to } => {
                    let conn = self.open(node, life.who, to);
                    life.links.insert(link.index(), (*link, conn));
                }
                Action::Disconnect(link) => {
                    if let Some((_, id)) = life.links.remove(&link.index()) {
                        self.trace.note(
                            self.now,
                            format_args!("life {}: connection {id} closed", life.who),
                        );
                        self.hang_up(id);
                    }
                }
                _ => panic!("an action that nobody knows"),
            }
            life.meter.count(|| drop(action));
        }
        assert!(life.links.len() <= MAX_LINKS);
        while let Some(event) = life.meter.count(|| life.backplane.next_event()) {
            self.trace
                .note(self.now, format_args!("life {}: {event}", life.who));
            match &event {
                Event::Stalled => self.tally.stalls += 1,
                Event::Late => self.tally.lates += 1,
                Event::Replayed { messages } => {
                    self.ledger.lives[life.who].replayed += messages;
                }
                _ => {}
            }
            life.meter.count(|| drop(event));
        }
    }

    /// Opens a connection. It stands when bytes have gone to and fro.
    fn open(&mut self, node: usize, who: usize, to: &Endpoint) -> usize {
        let Endpoint::Tcp(host, 6379) = to else {
            panic!("nobody has said {to:?}");
        };
        let peer = match host.as_str() {
            "redis" => Peer::Redis(self.nodes[node].lead),
            "redis0" => Peer::Redis(0),
            "redis1" => Peer::Redis(1),
            "sentinel" => Peer::Sentinel,
            _ => panic!("nobody has named {host}"),
        };
        let links = if self.settings.is_stream { 2 } else { 1 };
        let links = links * usize::from(self.settings.shards.unwrap_or(1));
        let hops = if self.settings.has_sentinel { 2 } else { 1 };
        let (now, timeout) = (self.now, self.settings.op_timeout);
        let is_down = matches!(peer, Peer::Redis(server) if self.servers[server].is_down);
        let trip = self.nodes[node].latency(&self.settings, &mut self.dice) * 2;
        let here = &mut self.nodes[node];
        here.note_attempt(links * hops, now);
        let stands_at = here.holes[0].max(here.holes[1]).max(now) + trip;
        let opens = if stands_at > now + timeout {
            (now + timeout, false)
        } else {
            (stands_at, !is_down && here.cut_until <= now)
        };
        let mut conn = Conn {
            node,
            who,
            to: peer,
            opens: Some(opens),
            up: Pipe::default(),
            down: Pipe::default(),
            is_reset: false,
            has_left: false,
            is_dropped: false,
            is_blocked: false,
            cargo: Vec::new(),
            entries: Vec::new(),
            session: Session::default(),
        };
        conn.up.hold(here.holes[0]);
        conn.down.hold(here.holes[1]);
        let id = self.opened;
        self.opened += 1;
        self.conns.insert(id, conn);
        self.trace.note(
            now,
            format_args!("life {who}: connection {id} to {peer:?}: {opens:?}"),
        );
        id
    }

    /// Writes what there is to write. Whether anything was.
    fn write(&mut self, life: &mut Process) -> bool {
        let now = self.instant();
        let mut has_written = false;
        for (link, id) in life.links.values().copied().collect::<Vec<_>>() {
            let node = self.conns[&id].node;
            let at = self.now + self.nodes[node].latency(&self.settings, &mut self.dice);
            let conn = self.conns.get_mut(&id).expect("the node has it");
            let mut written = 0;
            conn.is_blocked = false;
            while conn.is_open() && written < MAX_PER_TURN {
                let output = life.backplane.output(link);
                let most = MAX_OUTPUT + self.settings.max_message_size;
                assert!(output.len() <= most, "I6: {} bytes of output", output.len());
                if output.is_empty() {
                    break;
                }
                let room = MAX_SENDING.saturating_sub(conn.up.len());
                let count = output.len().min(room).min(self.settings.write);
                if count == 0 {
                    conn.is_blocked = true;
                    break;
                }
                // Into the void if it is reset: that shows when it is read.
                if !conn.is_reset {
                    conn.up.send(&output[..count], at);
                }
                written += count;
                life.meter
                    .count(|| life.backplane.written(link, count, now));
            }
            has_written |= written > 0;
        }
        has_written
    }

    /// What holds behind a turn, and when the next one is due.
    fn settle(&mut self, node: usize, life: &mut Process, moved: Moved) {
        let now = self.now;
        let health = life.backplane.health();
        if health != Health::Down {
            self.ledger.lives[life.who].joined.get_or_insert(now);
        }
        if !moved.has_come {
            let shards = usize::from(self.settings.shards.unwrap_or(1));
            self.nodes[node].note_wake(shards, now);
        }
        let has_moved = moved.has_come || moved.has_gone;
        life.spins = if !has_moved && life.turned_at == now {
            life.spins + 1
        } else {
            0
        };
        life.turned_at = now;
        assert!(life.spins <= MAX_SPINS, "I7: it spins");
        self.check_memory(life);
        life.deadline = life
            .backplane
            .next_deadline()
            .map(|at| self.since_start(at));
        let mut at = |when: Duration| {
            life.deadline = Some(life.deadline.map_or(when, |at| at.min(when)));
        };
        let is_hungry = self.nodes[node].appetite != Some(0);
        if life.backplane.has_deliveries() && is_hungry {
            at(now + Duration::from_millis(10));
        }
        for (link, id) in life.links.values() {
            let conn = &self.conns[id];
            let has_output = !life.backplane.output(*link).is_empty();
            if conn.is_open() && !conn.is_blocked && has_output {
                at(now);
            }
        }
    }

    /// Nobody waits for long for what a client of the same node has said.
    pub(super) fn check_silence(&self) {
        for node in &self.nodes {
            let Some(life) = &node.life else { continue };
            let is_excused = node.stopped_until > self.now || life.backplane.has_deliveries();
            let Some(since) = self.ledger.waits_since(life.who).filter(|_| !is_excused) else {
                continue;
            };
            let wait = if self.settings.is_local {
                Duration::ZERO
            } else {
                self.settings.echo_deadline
            };
            let until = (since + wait).max(life.excused);
            assert!(
                self.now <= until,
                "I3: clients of life {} wait since {since:?}",
                life.who
            );
        }
    }
}
