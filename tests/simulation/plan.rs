//! What is going to happen: settings and steps, all of them known before anything happens, so that
//! a failure can be had again, and with fewer steps.

use std::time::Duration;

use super::runner::dice::Dice;
use super::wire::{Ask, ROOMS, STATUSES};

/// Settings and steps.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) steps: Vec<Step>,
}

/// One world.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// People who come and go. Each is one client at a time.
    pub(crate) people: usize,
    /// How many bytes there is room for on the way to each of them, if they do not say otherwise.
    pub(crate) capacities: Vec<usize>,
    /// Whether the application only broadcasts, so that nobody hears more than was said.
    pub(crate) is_plain: bool,
    pub(crate) echo: bool,
    /// Whether the application says something in the room when somebody leaves.
    pub(crate) farewell: bool,
    pub(crate) max_connections: usize,
    pub(crate) max_rooms: usize,
    pub(crate) max_message_size: usize,
    /// Beyond the least that it can be.
    pub(crate) buffer: usize,
    pub(crate) ping_interval: Duration,
    pub(crate) pong_timeout: Duration,
    pub(crate) handshake_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) close_timeout: Duration,
}

/// One thing that happens. What is about somebody who is not there lets them come instead.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Somebody connects, with room for so many bytes on the way to them, and sends so many bytes
    /// of the request; the rest goes with what they say.
    Come {
        who: usize,
        ask: Ask,
        capacity: usize,
        send: usize,
    },
    /// Somebody says something, and sends so many bytes of it, and of what is left from before.
    Say {
        who: usize,
        what: What,
        send: usize,
    },
    /// Somebody takes so many bytes a turn from now on.
    Take {
        who: usize,
        appetite: usize,
    },
    /// Somebody answers Pings from now on, or does not; and ends connections as one should.
    Manners {
        who: usize,
        pongs: bool,
        ends: bool,
    },
    Leave {
        who: usize,
        how: Leave,
    },
    /// Somebody outside says something to a room.
    Publish {
        room: usize,
        len: usize,
    },
    /// The driver goes round once; it reads and writes so many bytes at most from each and to each.
    Turn {
        read: usize,
        write: usize,
    },
    /// Time passes, and the driver goes round whenever something is due.
    Pass {
        millis: u64,
    },
    /// Time passes, and the driver does not go round.
    Stall {
        millis: u64,
    },
    /// News of one who has left.
    Stale {
        which: usize,
        late: u64,
    },
    /// News of one who is there, which the driver need not have told.
    Noise {
        who: usize,
        what: usize,
    },
    /// The end begins, and everybody is closed within so long.
    Drain {
        millis: u64,
    },
}

/// How somebody goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Says nothing more, and listens.
    HalfClose,
    /// The process dies: everything that arrives from now on is answered with a reset.
    Reset,
}

/// Something that can be said in frames.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// A message of about this length; the application does with it what its first byte says. In
    /// fragments of so many bytes, if that is not 0, with a Ping behind each perhaps.
    Message {
        act: Act,
        text: bool,
        len: usize,
        fragment: usize,
        pings: bool,
    },
    Ping {
        len: usize,
    },
    Pong {
        len: usize,
    },
    /// So many Pings at once.
    Pings {
        count: usize,
    },
    Close {
        code: Option<u16>,
        reason: usize,
    },
    /// Something that fails the connection.
    Wrong(Wrong),
    /// Any bytes.
    Junk {
        len: usize,
        seed: u64,
    },
    Nothing,
}

/// What the application does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Says it to the room.
    Broadcast,
    /// Says it to the sender alone.
    Answer,
    /// Says it to the room, to the sender alone, and to the room again.
    Both,
    /// Says it to somebody else, in whatever room, who may have left.
    Unicast(usize),
    /// Says it in another room.
    Elsewhere(usize),
    /// Closes somebody's connection; it may be the sender's.
    Kick(usize),
}

/// What a client must not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Utf8 { fragmented: bool },
    TooBig { fragmented: bool },
    Unmasked,
    ReservedBit,
    ReservedOpcode,
    ControlFragment,
    LongControl,
    CloseCode,
    CloseByte,
    CloseReason,
    Continuation,
    Interleaved,
    NotMinimal,
    TopBit,
    Fragments,
}

const WRONGS: [Wrong; 17] = [
    Wrong::Utf8 { fragmented: false },
    Wrong::Utf8 { fragmented: true },
    Wrong::TooBig { fragmented: false },
    Wrong::TooBig { fragmented: true },
    Wrong::Unmasked,
    Wrong::ReservedBit,
    Wrong::ReservedOpcode,
    Wrong::ControlFragment,
    Wrong::LongControl,
    Wrong::CloseCode,
    Wrong::CloseByte,
    Wrong::CloseReason,
    Wrong::Continuation,
    Wrong::Interleaved,
    Wrong::NotMinimal,
    Wrong::TopBit,
    Wrong::Fragments,
];

/// Everything there is.
pub(crate) const ALL: usize = usize::MAX;

/// What somebody is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Character {
    Honest,
    /// Takes what it is told slowly or not at all.
    Slow,
    /// Says what it must not.
    Hostile,
    /// Comes, says little, and answers nothing.
    Silent,
}

impl Plan {
    pub(crate) fn new(seed: u64, steps: usize) -> Self {
        let mut dice = Dice::new(seed);
        let mut settings = Settings::new(&mut dice);
        let characters: Vec<Character> = (0..settings.people)
            .map(|_| match dice.below(10) {
                0..=4 => Character::Honest,
                5..=6 => Character::Slow,
                7..=8 => Character::Hostile,
                _ => Character::Silent,
            })
            .collect();
        settings.capacities = characters
            .iter()
            .map(|character| match character {
                Character::Slow => dice.pick(&[1, 100, 3000, 70_000]),
                _ => dice.pick(&[3000, 70_000, ALL, ALL]),
            })
            .collect();
        let drains = dice.percent(15);
        // Not by the dice, which would throw otherwise from here on.
        let millis = [0, 1, 700, 20_000][usize::try_from(seed % 4).expect("less than 4")];
        let steps = (0..steps)
            .map(|i| {
                if drains && i == steps - steps / 10 {
                    return Step::Drain { millis };
                }
                if dice.percent(40) {
                    return turn(&mut dice);
                }
                let who = dice.below(settings.people);
                step(who, characters[who], &settings, &mut dice)
            })
            .collect();
        Self { settings, steps }
    }

    /// How many there are whose steps can be left out.
    pub(crate) fn actors(&self) -> usize {
        self.settings.people
    }
}

impl Step {
    /// Who does it.
    pub(crate) fn actor(&self) -> Option<usize> {
        match *self {
            Self::Come { who, .. }
            | Self::Say { who, .. }
            | Self::Take { who, .. }
            | Self::Manners { who, .. }
            | Self::Leave { who, .. }
            | Self::Noise { who, .. } => Some(who),
            _ => None,
        }
    }
}

impl Settings {
    fn new(dice: &mut Dice) -> Self {
        let millis = |dice: &mut Dice, from: &[u64]| Duration::from_millis(dice.pick(from));
        let people = dice.pick(&[1, 2, 3, 5, 8, 13, 24]);
        let pong_timeout = millis(dice, &[300, 1000, 10_000]);
        Self {
            people,
            capacities: Vec::new(),
            is_plain: dice.percent(40),
            echo: dice.percent(60),
            farewell: dice.percent(40),
            max_connections: dice.pick(&[2, people, 100, 100, 100]),
            max_rooms: dice.pick(&[1, 2, 6, 6]),
            max_message_size: dice.pick(&[64, 125, 126, 1000, 4096, 70_000]),
            buffer: dice.pick(&[0, 1000, 20_000, 300_000]),
            ping_interval: dice.pick(&[Duration::ZERO, pong_timeout * 2, pong_timeout * 5]),
            pong_timeout,
            handshake_timeout: millis(dice, &[100, 5000, 5000]),
            write_timeout: millis(dice, &[200, 3000, 10_000]),
            close_timeout: millis(dice, &[50, 500, 5000]),
        }
    }
}

fn turn(dice: &mut Dice) -> Step {
    Step::Turn {
        read: dice.pick(&[ALL, ALL, ALL, ALL, 1, 2, 3, 7, 100, 5000]),
        write: dice.pick(&[ALL, ALL, ALL, ALL, 1, 5, 70, 3000]),
    }
}

/// Something that this one does, or that happens meanwhile.
fn step(who: usize, character: Character, settings: &Settings, dice: &mut Dice) -> Step {
    let send = dice.pick(&[ALL, ALL, ALL, ALL, 0, 1, 3, 50, 2000]);
    match dice.below(100) {
        0..=9 => Step::Come {
            who,
            ask: ask(dice),
            capacity: dice.pick(&[1, 100, 3000, 70_000, ALL]),
            send: dice.pick(&[ALL, ALL, ALL, ALL, 0, 1, 50]),
        },
        10..=59 => {
            let what = what(character, settings, dice);
            Step::Say { who, what, send }
        }
        60..=67 => Step::Take {
            who,
            appetite: match character {
                Character::Slow => dice.pick(&[0, 0, 1, 10, 1000, ALL]),
                _ => dice.pick(&[ALL, ALL, ALL, 5000]),
            },
        },
        68..=71 => Step::Manners {
            who,
            pongs: dice.percent(if character == Character::Silent {
                5
            } else {
                95
            }),
            ends: dice.percent(if character == Character::Hostile {
                30
            } else {
                95
            }),
        },
        72..=74 => Step::Leave {
            who,
            how: dice.pick(&[Leave::HalfClose, Leave::Reset]),
        },
        75..=79 => Step::Publish {
            room: dice.below(ROOMS.len()),
            len: len(settings, dice),
        },
        80..=91 => Step::Pass {
            millis: dice.pick(&[1, 20, 50, 99, 300, 1100, 4000, 11_000, 70_000]),
        },
        92..=93 => Step::Stall {
            millis: dice.pick(&[10, 200, 6000, 90_000]),
        },
        94..=96 => Step::Stale {
            which: dice.below(1 << 16),
            late: dice.next(),
        },
        _ => Step::Noise {
            who,
            what: dice.below(5),
        },
    }
}

fn ask(dice: &mut Dice) -> Ask {
    match dice.below(10) {
        0 => Ask::Other(dice.pick(&STATUSES)),
        1..=5 => Ask::Upgrade(0),
        _ => Ask::Upgrade(dice.below(ROOMS.len())),
    }
}

fn len(settings: &Settings, dice: &mut Dice) -> usize {
    let most = settings.max_message_size;
    match dice.below(8) {
        0..=4 => dice.below(200).min(most),
        5 => dice.below(most + 1),
        6 => dice.pick(&[125, 126, 127, 65_535, 65_536]).min(most),
        _ => most,
    }
}

fn what(character: Character, settings: &Settings, dice: &mut Dice) -> What {
    match (character, dice.below(100)) {
        (Character::Silent, 0..=79) | (_, 0..=4) => What::Nothing,
        (Character::Hostile, 0..=9) => What::Wrong(dice.pick(&WRONGS)),
        (Character::Hostile, 10..=12) => What::Junk {
            len: 1 + dice.below(300),
            seed: dice.next(),
        },
        (Character::Hostile, 13..=14) => What::Pings {
            count: dice.pick(&[20, 512, 513, 600]),
        },
        (_, 5..=14) => What::Ping {
            len: dice.pick(&[0, 1, 4, 125]),
        },
        (_, 15..=17) => What::Pong {
            len: dice.pick(&[0, 125]),
        },
        (_, 18..=19) => What::Close {
            code: dice.pick(&[None, Some(1000), Some(1001), Some(3000), Some(4999)]),
            reason: dice.pick(&[0, 1, 123]),
        },
        _ => What::Message {
            act: act(settings, dice),
            text: dice.percent(60),
            len: len(settings, dice),
            fragment: dice.pick(&[0, 0, 0, 0, 9, 100, 1000]),
            pings: dice.percent(20),
        },
    }
}

fn act(settings: &Settings, dice: &mut Dice) -> Act {
    if settings.is_plain {
        return Act::Broadcast;
    }
    match dice.below(20) {
        0..=12 => Act::Broadcast,
        13..=14 => Act::Answer,
        15 => Act::Both,
        16..=17 => Act::Unicast(dice.below(settings.people)),
        18 => Act::Elsewhere(dice.below(ROOMS.len())),
        _ => Act::Kick(dice.below(settings.people)),
    }
}
