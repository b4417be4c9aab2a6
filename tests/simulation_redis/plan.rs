//! What is going to happen: settings and steps, all of them known before anything happens, so that
//! a failure can be had again, and with fewer steps.

use super::runner::dice::Dice;
use super::settings::{Settings, Temper};

/// Rooms in which something is said.
pub(crate) const ROOMS: [&str; 3] = ["", "a", "café"];

/// Settings and steps.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) steps: Vec<Step>,
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

/// Everything there is.
pub(crate) const ALL: usize = usize::MAX;

impl Plan {
    pub(crate) fn new(seed: u64, steps: usize) -> Self {
        let mut dice = Dice::new(seed);
        let mut settings = Settings::new(&mut dice);
        let faults = match settings.temper {
            Temper::Calm | Temper::Single => 0,
            Temper::Short => 10,
            Temper::Late | Temper::Rough => dice.pick(&[2, 5, 10, 20]),
        };
        let mut plan: Vec<Step> = (0..steps)
            .map(|_| match dice.below(100) {
                chance if chance < faults => faulty(&settings, &mut dice).1,
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
        if settings.temper == Temper::Single {
            let (fault, step) = faulty(&settings, &mut dice);
            settings.single = Some(fault);
            plan[steps / 4 + dice.below(steps / 2)] = step;
        }
        let steps = plan;
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

/// Something that goes wrong, for a while.
fn faulty(settings: &Settings, dice: &mut Dice) -> (Fault, Step) {
    let is_late = match settings.temper {
        Temper::Calm | Temper::Late => true,
        Temper::Single => dice.percent(50),
        Temper::Rough => dice.percent(35),
        Temper::Short => false,
    };
    let fault = if is_late {
        late(settings, dice)
    } else if settings.temper == Temper::Short {
        trimming(settings, dice)
    } else {
        rough(settings, dice)
    };
    // Whoever waits longer than that is given up by the kernel.
    let longest = match fault {
        _ if settings.temper == Temper::Rough || !is_late => 20_000,
        Fault::Freeze => 10_000,
        _ => 4000,
    };
    let millis = dice.pick(&[
        1, 30, 150, 400, 1000, 1500, 2500, 4000, 7000, 10_000, 20_000,
    ]);
    let millis = millis.min(longest);
    (fault, Step::Fault { fault, millis })
}

/// What makes a reader of a stream miss something.
fn trimming(settings: &Settings, dice: &mut Dice) -> Fault {
    let node = dice.below(settings.nodes);
    match dice.below(6) {
        0..=3 => Fault::Stop { node },
        4 => Fault::Trim { keep: 5 },
        _ => Fault::Trim { keep: 100 },
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
