//! What is going to happen: settings and steps, all of them known before anything happens, so that
//! a failure can be had again, and with fewer steps.

use std::time::Duration;

use fanfare::backplane::{
    BackplaneConfig, Credentials, DeliveryOrder, Endpoint, Format, Mode, Target,
};

use super::dice::Dice;
use super::world::PASSWORD;

/// Rooms in which something is said.
pub(crate) const ROOMS: [&str; 3] = ["", "a", "café"];

/// Settings and steps.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) steps: Vec<Step>,
}

/// What may happen in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// Nothing but talk.
    Calm,
    /// Everything comes, however late.
    Late,
    /// Connections and Redises are lost as well.
    Rough,
}

/// One world.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) temper: Temper,
    /// For what happens by chance while it runs.
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) is_stream: bool,
    /// Whether a server's own clients never wait for Redis.
    pub(crate) is_local: bool,
    pub(crate) is_raw: bool,
    pub(crate) shards: Option<u16>,
    pub(crate) database: u32,
    pub(crate) has_password: bool,
    /// Whether a sentinel says where Redis is.
    pub(crate) has_sentinel: bool,
    /// Whether everybody has heard everybody before anything goes wrong.
    pub(crate) is_warm: bool,
    /// How long bytes travel, at least, and how much longer at most.
    pub(crate) latency: Duration,
    pub(crate) jitter: Duration,
    /// Bytes that a server reads and writes at once, at most.
    pub(crate) read: usize,
    pub(crate) write: usize,
    pub(crate) max_message_size: usize,
    /// Beyond the least that it can be.
    pub(crate) queue: usize,
    pub(crate) queue_max_age: Duration,
    pub(crate) echo_deadline: Duration,
    pub(crate) op_timeout: Duration,
    pub(crate) stream_maxlen: u64,
    pub(crate) catchup_max: u64,
    /// Bytes that Redis keeps for a subscriber who does not read before it hangs up.
    pub(crate) output_limit: usize,
    /// Whether Redis counts what was ever added to a stream, as it does since 7.0.
    pub(crate) counts_added: bool,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// So many messages are said at one server, at once.
    Say {
        node: usize,
        room: usize,
        len: usize,
        count: usize,
    },
    /// Somebody who is no server says something through Redis.
    Outsider { what: Outsider, server: usize },
    /// Time passes.
    Pass { millis: u64 },
    /// Whatever goes wrong, and for how long.
    Fault { fault: Fault, millis: u64 },
}

/// What somebody publishes who is no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outsider {
    /// Bytes without an envelope, on the channel.
    Published,
    /// The same in the stream.
    Added,
    /// An envelope without an origin, on the channel.
    Nameless,
    /// What begins like an envelope and is none.
    Wrong,
}

/// What goes wrong. The servers are nodes here, so that a server is a Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A node does nothing at all: its process is stopped.
    Stop { node: usize },
    /// A node's clients take so few messages a turn.
    Dawdle { node: usize, appetite: usize },
    /// A node dies, and another one comes in its place.
    Kill { node: usize },
    /// The way of a node takes longer.
    Slow { node: usize, latency: u64 },
    /// Nothing arrives that is on a node's way; one connection alone, if `is_narrow`.
    Hole {
        node: usize,
        way: Way,
        is_narrow: bool,
    },
    /// A node's connections are reset, or one of them, and none can be made.
    Cut { node: usize, is_narrow: bool },
    /// Redis hangs up on a node, which may come again at once.
    HangUp { node: usize },
    /// Redis does nothing at all.
    Freeze,
    /// Redis dies, and comes back with so much of what it had.
    Crash { keeps: Keeps, skew: i64 },
    /// Another Redis becomes the master, without what was added last. Each node learns of it a
    /// while later than the one before.
    Failover {
        lost: usize,
        stagger: u64,
        /// Whether the one before is a master still, for whoever has not learnt of it.
        is_split: bool,
    },
    /// Redis is a replica.
    Demote,
    /// Redis refuses something.
    Refuse { what: Refusal },
    /// All but so many entries of the stream are removed.
    Trim { keep: usize },
    /// The stream is removed.
    Delete,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToRedis,
    FromRedis,
    Both,
}

/// What a Redis has that comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    All,
    /// All but so many of the last entries.
    AllBut(usize),
    Nothing,
}

/// What Redis refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// To write to a stream: its memory is full.
    Memory,
    /// Everything: a script runs.
    Busy,
    /// Everything that needs the data: it loads.
    Loading,
    /// Whoever comes.
    Password,
    /// What carries messages.
    Permission,
}

/// Entries of a short stream, at most; all that is ever said is less than a long one.
const NARROW: u64 = 10_000;

/// Everything there is.
pub(crate) const ALL: usize = usize::MAX;

impl Plan {
    pub(crate) fn new(seed: u64, steps: usize) -> Self {
        let mut dice = Dice::new(seed);
        let settings = Settings::new(&mut dice);
        let faults = match settings.temper {
            Temper::Calm => 0,
            Temper::Late | Temper::Rough => dice.pick(&[2, 5, 10, 20]),
        };
        let steps = (0..steps)
            .map(|_| match dice.below(100) {
                chance if chance < faults => fault(&settings, &mut dice),
                chance if chance < 60 => say(&settings, &mut dice),
                60..=62 => Step::Outsider {
                    what: outsider(&settings, &mut dice),
                    server: dice.below(2),
                },
                _ => Step::Pass {
                    millis: dice.pick(&[1, 1, 3, 10, 40, 90, 200, 300, 900, 2000]),
                },
            })
            .collect();
        Self { settings, steps }
    }

    /// How many there are whose steps can be left out.
    pub(crate) fn actors(&self) -> usize {
        self.settings.nodes
    }
}

impl Step {
    /// Who does it.
    pub(crate) fn actor(&self) -> Option<usize> {
        match *self {
            Self::Say { node, .. } => Some(node),
            Self::Fault { fault, .. } => match fault {
                Fault::Stop { node }
                | Fault::Dawdle { node, .. }
                | Fault::Kill { node }
                | Fault::Slow { node, .. }
                | Fault::Hole { node, .. }
                | Fault::Cut { node, .. }
                | Fault::HangUp { node } => Some(node),
                _ => None,
            },
            Self::Outsider { .. } | Self::Pass { .. } => None,
        }
    }
}

impl Settings {
    /// What the backplanes run with.
    pub(crate) fn config(&self) -> BackplaneConfig {
        let at = |host: &str| Endpoint::Tcp(host.to_owned(), 6379);
        let target = if self.has_sentinel {
            Target::Sentinel {
                sentinels: vec![at("sentinel"), at("sentinel")],
                master: "mymaster".to_owned(),
            }
        } else {
            Target::Server(at("redis"))
        };
        let mut config = BackplaneConfig::new(target);
        if self.is_stream {
            config.mode = Mode::Stream;
        }
        if self.is_local {
            config.delivery = DeliveryOrder::Local;
        }
        if self.is_raw {
            config.format = Format::Raw;
        }
        config.credentials = self.has_password.then(|| Credentials {
            user: "default".to_owned(),
            password: PASSWORD.to_owned(),
        });
        config.database = self.database;
        config.shards = self.shards;
        config.queue_bytes = self.max_message_size + 1024 + self.queue;
        config.queue_max_age = self.queue_max_age;
        config.echo_deadline = self.echo_deadline;
        config.op_timeout = self.op_timeout;
        config.stream_maxlen = self.stream_maxlen;
        config.catchup_max = self.catchup_max;
        config.max_message_size = self.max_message_size;
        config.check().expect("the settings go together");
        config
    }

    /// Whether entries of the stream may be gone before everybody has read them, since it is short
    /// or skipped.
    pub(crate) fn is_narrow(&self) -> bool {
        self.stream_maxlen < NARROW || self.catchup_max < NARROW
    }

    fn new(dice: &mut Dice) -> Self {
        let millis = |dice: &mut Dice, from: &[u64]| Duration::from_millis(dice.pick(from));
        let temper = dice.pick(&[
            Temper::Calm,
            Temper::Late,
            Temper::Late,
            Temper::Rough,
            Temper::Rough,
            Temper::Rough,
            Temper::Rough,
        ]);
        let is_calm = temper == Temper::Calm;
        let is_stream = dice.percent(50);
        let is_raw = !is_stream && dice.percent(10);
        let has_shards = !is_raw && dice.percent(10);
        let has_room = temper != Temper::Rough || dice.percent(60);
        let is_wide = temper != Temper::Rough || dice.percent(70);
        let max_message_size = dice.pick(&[100, 100, 300, 300, 300, 4096, 4096, 70_000]);
        // Long messages in short pieces take too long.
        let piece = max_message_size / 50;
        Self {
            temper,
            seed: dice.next(),
            nodes: dice.pick(&[2, 2, 3, 3, 4]),
            is_stream,
            is_local: !is_raw && dice.percent(15),
            is_raw,
            shards: has_shards.then(|| dice.pick(&[1, 2])),
            database: if has_shards { 0 } else { dice.pick(&[0, 0, 3]) },
            has_password: dice.percent(30),
            has_sentinel: dice.percent(15),
            is_warm: is_calm || dice.percent(80),
            latency: Duration::from_micros(dice.pick(&[20, 100, 1000, 3000])),
            jitter: Duration::from_micros(dice.pick(&[0, 50, 1000, 2000])),
            read: dice.pick(&[ALL, ALL, ALL, 4096, 100, 7]).max(piece),
            write: dice.pick(&[ALL, ALL, ALL, 4096, 100, 7]).max(piece),
            max_message_size,
            queue: if has_room {
                16 << 20
            } else {
                dice.pick(&[0, 3000, 50_000])
            },
            queue_max_age: if has_room {
                Duration::from_secs(120)
            } else {
                millis(dice, &[700, 5000, 30_000])
            },
            echo_deadline: millis(dice, &[250, 250, 250, 100, 1000]),
            op_timeout: millis(dice, &[1000, 1000, 1000, 500]),
            stream_maxlen: if is_wide {
                100_000
            } else {
                dice.pick(&[20, 50, 200])
            },
            catchup_max: if is_wide {
                100_000
            } else {
                dice.pick(&[20, 150, 100_000])
            },
            output_limit: if is_wide { 32 << 20 } else { 1 << 20 },
            counts_added: dice.percent(80),
        }
    }
}

fn say(settings: &Settings, dice: &mut Dice) -> Step {
    let most = settings.max_message_size;
    let len = match dice.below(20) {
        0..=14 => dice.below(100),
        15..=18 => dice.below(most + 1),
        _ => most,
    };
    Step::Say {
        node: dice.below(settings.nodes),
        room: dice.pick(&[0, 0, 1, 2]),
        len: len.min(most),
        count: dice.pick(&[1, 1, 1, 2, 5, 12, 30]),
    }
}

fn outsider(settings: &Settings, dice: &mut Dice) -> Outsider {
    match dice.below(4) {
        0 => Outsider::Wrong,
        1 => Outsider::Nameless,
        2 if settings.is_stream => Outsider::Added,
        _ => Outsider::Published,
    }
}

fn fault(settings: &Settings, dice: &mut Dice) -> Step {
    let fault = if settings.temper == Temper::Late || dice.percent(35) {
        late(settings, dice)
    } else {
        rough(settings, dice)
    };
    // Whoever waits longer than that is given up by the kernel.
    let longest = match fault {
        Fault::Freeze if settings.temper == Temper::Late => 10_000,
        _ if settings.temper == Temper::Late => 4000,
        _ => 20_000,
    };
    let millis = dice.pick(&[
        1, 30, 150, 400, 1000, 1500, 2500, 4000, 7000, 10_000, 20_000,
    ]);
    Step::Fault {
        fault,
        millis: millis.min(longest),
    }
}

/// What makes everything late, and nothing else.
fn late(settings: &Settings, dice: &mut Dice) -> Fault {
    let node = dice.below(settings.nodes);
    match dice.below(12) {
        0..=1 => Fault::Stop { node },
        2 => Fault::Dawdle {
            node,
            appetite: dice.pick(&[0, 1, 10]),
        },
        3..=4 => Fault::Slow {
            node,
            latency: dice.pick(&[10, 60, 130, 300]),
        },
        5..=9 => Fault::Hole {
            node,
            way: dice.pick(&[Way::ToRedis, Way::FromRedis, Way::Both]),
            is_narrow: dice.percent(50),
        },
        _ => Fault::Freeze,
    }
}

/// What loses something.
fn rough(settings: &Settings, dice: &mut Dice) -> Fault {
    let node = dice.below(settings.nodes);
    let entries = |dice: &mut Dice| dice.pick(&[1, 5, 40, 300]);
    match dice.below(16) {
        0..=3 => Fault::Cut {
            node,
            is_narrow: dice.percent(40),
        },
        4..=5 => Fault::HangUp { node },
        6..=8 => Fault::Crash {
            keeps: match dice.below(4) {
                0..=1 => Keeps::All,
                2 => Keeps::AllBut(entries(dice)),
                _ => Keeps::Nothing,
            },
            skew: dice.pick(&[0, 0, 3000, -3000, -60_000]),
        },
        9..=10 => {
            let is_split = dice.percent(40);
            // Who goes back reads the last five seconds once more: a split that lasts longer loses
            // what only the other half has heard.
            let longest = if is_split { 1000 } else { 4000 };
            Fault::Failover {
                lost: dice.pick(&[0, 1, 10, 60]),
                stagger: dice.pick(&[0, 10, 1000, 4000]).min(longest),
                is_split,
            }
        }
        11 => Fault::Demote,
        12..=13 => Fault::Refuse {
            what: dice.pick(&[
                Refusal::Memory,
                Refusal::Memory,
                Refusal::Busy,
                Refusal::Loading,
                Refusal::Password,
                Refusal::Permission,
            ]),
        },
        14 if settings.is_stream => dice.pick(&[
            Fault::Delete,
            Fault::Trim { keep: 0 },
            Fault::Trim { keep: 5 },
            Fault::Trim { keep: 100 },
        ]),
        _ => Fault::Kill { node },
    }
}
