//! The settings of a world.

use std::time::Duration;

use fanfare::backplane::{
    BackplaneConfig, Credentials, DeliveryOrder, Endpoint, Format, Mode, Target,
};

use super::plan::{ALL, Fault};
use super::runner::dice::Dice;
use super::world::PASSWORD;

/// What may happen in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// Nothing but talk.
    Calm,
    /// Everything comes, however late.
    Late,
    /// One thing goes wrong, and nothing else.
    Single,
    /// A stream is trimmed, and not everybody reads it at once.
    Short,
    /// Everything that can go wrong does, at once.
    Rough,
}

/// One world.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "worlds differ in all of it")]
pub(crate) struct Settings {
    pub(crate) temper: Temper,
    /// What goes wrong, if it is one thing.
    pub(crate) single: Option<Fault>,
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

/// Entries of a short stream, at most; all that is ever said is less than a long one.
const NARROW: u64 = 10_000;

/// Bytes and time that a queue has if it never drops anything.
const ROOM: usize = 16 << 20;
const LONG: Duration = Duration::from_secs(120);

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

    /// Whether a queue holds all that is ever said, for as long as a world lasts.
    pub(crate) fn has_room(&self) -> bool {
        self.queue >= ROOM && self.queue_max_age >= LONG
    }

    pub(crate) fn new(dice: &mut Dice) -> Self {
        let millis = |dice: &mut Dice, from: &[u64]| Duration::from_millis(dice.pick(from));
        let temper = match dice.below(16) {
            0..=1 => Temper::Calm,
            2..=3 => Temper::Late,
            4..=8 => Temper::Single,
            9 => Temper::Short,
            _ => Temper::Rough,
        };
        let is_rough = temper == Temper::Rough;
        let is_stream = temper == Temper::Short || dice.percent(50);
        let is_raw = !is_stream && dice.percent(10);
        let has_shards = !is_raw && dice.percent(10);
        let has_room = !is_rough || dice.percent(60);
        let is_wide = temper != Temper::Short && (!is_rough || dice.percent(70));
        let max_message_size = dice.pick(&[100, 100, 300, 300, 300, 4096, 4096, 70_000]);
        // Long messages in short pieces take too long.
        let piece = max_message_size / 50;
        Self {
            temper,
            single: None,
            seed: dice.next(),
            nodes: dice.pick(&[2, 2, 3, 3, 4]),
            is_stream,
            is_local: !is_raw && dice.percent(15),
            is_raw,
            shards: has_shards.then(|| dice.pick(&[1, 2])),
            database: if has_shards { 0 } else { dice.pick(&[0, 0, 3]) },
            has_password: dice.percent(30),
            has_sentinel: dice.percent(15),
            is_warm: !is_rough && temper != Temper::Late || dice.percent(80),
            latency: Duration::from_micros(dice.pick(&[20, 100, 1000, 3000])),
            jitter: Duration::from_micros(dice.pick(&[0, 50, 1000, 2000])),
            read: dice.pick(&[ALL, ALL, ALL, 4096, 100, 7]).max(piece),
            write: dice.pick(&[ALL, ALL, ALL, 4096, 100, 7]).max(piece),
            max_message_size,
            queue: if has_room {
                ROOM
            } else {
                dice.pick(&[0, 3000, 50_000])
            },
            queue_max_age: if has_room {
                LONG
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
