//! The settings of a [`Backplane`](super::Backplane).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a [`Backplane`](super::Backplane).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackplaneConfig {
    /// Where Redis is.
    pub target: Target,
    /// Whether Redis is spoken to over TLS. The driver's business; here for completeness.
    pub tls: bool,
    /// Whom we are, if Redis wants to know.
    pub credentials: Option<Credentials>,
    /// The database's number (`SELECT`); Pub/Sub knows none, a stream does. Default 0.
    pub database: u32,
    /// How messages travel. Default [`Mode::PubSub`].
    pub mode: Mode,
    /// When a server's own clients hear each other. Default [`DeliveryOrder::Ordered`].
    pub delivery: DeliveryOrder,
    /// What is published. Default [`Format::Envelope`].
    pub format: Format,
    /// The channel of Pub/Sub, and what the stream's key and the control channel begin with.
    /// Default `websocket-broadcast`.
    pub channel: String,
    /// Channels among which the rooms are divided, with hash tags, for a Redis Cluster; `None` is
    /// one plain channel. Default none.
    pub shards: Option<u16>,
    /// Bytes of messages that may wait for Redis to acknowledge them; then the oldest go. Default
    /// 16 MiB.
    pub queue_bytes: usize,
    /// How long a message may wait for that. Default 30 s.
    pub queue_max_age: Duration,
    /// How late a message may come back from Redis before it is heard locally without. Default
    /// 250 ms.
    pub echo_deadline: Duration,
    /// How long Redis may take to answer a command, or to be connected to. Default 1 s.
    pub op_timeout: Duration,
    /// Entries that the stream is trimmed to (`MAXLEN ~`). Default 100,000.
    pub stream_maxlen: u64,
    /// Entries that a reader of the stream may be behind before it skips to the newest ones.
    /// Default 100,000.
    pub catchup_max: u64,
    /// The longest message that is believed to anybody, in bytes. Default 1 MiB.
    pub max_message_size: usize,
}

/// Where Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// At this address.
    Server(Endpoint),
    /// Wherever one of these sentinels says that the master of this name is.
    Sentinel {
        /// The sentinels, asked in turn.
        sentinels: Vec<Endpoint>,
        /// The master's name.
        master: String,
    },
}

/// An address that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// A host name or an IP literal (an IPv6 one without brackets), and a port.
    Tcp(String, u16),
    /// A Unix socket's path.
    Unix(PathBuf),
}

/// What Redis is told of who we are. Its `Debug` output hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The ACL user; `default` if none was named.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// How messages travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `PUBLISH` and `SUBSCRIBE`: at most once, with the least delay.
    #[default]
    PubSub,
    /// `XADD` and `XREAD`: nothing is lost that the stream still holds.
    Stream,
}

/// When a server's own clients hear each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryOrder {
    /// When the message has come back from Redis, so that all servers hear one order; at once while
    /// Redis is late or away.
    #[default]
    Ordered,
    /// At once, always.
    Local,
}

/// What is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The payload in an envelope: origin, number, room.
    #[default]
    Envelope,
    /// The bare payload, as programs that know no envelope want it: the default room's alone.
    Raw,
}

/// As the binary's flag has it.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PubSub => "pubsub",
            Self::Stream => "stream",
        })
    }
}

/// As the binary's flag has it.
impl fmt::Display for DeliveryOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ordered => "ordered",
            Self::Local => "local",
        })
    }
}

/// As the binary's flag has it.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Envelope => "envelope",
            Self::Raw => "raw",
        })
    }
}

impl BackplaneConfig {
    /// The defaults, for a Redis at `target`.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            tls: false,
            credentials: None,
            database: 0,
            mode: Mode::default(),
            delivery: DeliveryOrder::default(),
            format: Format::default(),
            channel: "websocket-broadcast".to_owned(),
            shards: None,
            queue_bytes: 16 * 1024 * 1024,
            queue_max_age: Duration::from_secs(30),
            echo_deadline: Duration::from_millis(250),
            op_timeout: Duration::from_secs(1),
            stream_maxlen: 100_000,
            catchup_max: 100_000,
            max_message_size: 1024 * 1024,
        }
    }
    /// The longest duration of any setting: a year, so that no deadline overflows.
    pub const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

    /// The most shards: each has up to two connections, one that takes over among them, and with
    /// sentinels one more to those.
    pub const MAX_SHARDS: u16 = 64;

    /// The longest name of a channel, in bytes.
    pub const MAX_CHANNEL: usize = 128;

    /// Checks the values, and the relations between them.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), BackplaneConfigError> {
        use BackplaneConfigError as Error;

        let durations = [
            ("queue max age", self.queue_max_age),
            ("echo deadline", self.echo_deadline),
            ("op timeout", self.op_timeout),
        ];
        for (name, duration) in durations {
            if duration.is_zero() {
                return Err(Error::Zero(name));
            }
            if duration > Self::MAX_DURATION {
                return Err(Error::TooLong(name));
            }
        }
        let counts = [
            ("stream maxlen", self.stream_maxlen),
            ("catchup max", self.catchup_max),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(Error::Zero(name));
        }
        let is_plain = |byte: u8| byte > b' ' && byte != 0x7f && !b"{}".contains(&byte);
        let len = self.channel.len();
        if !(1..=Self::MAX_CHANNEL).contains(&len) || !self.channel.bytes().all(is_plain) {
            return Err(Error::Channel);
        }
        let least = self.max_message_size.saturating_add(ENVELOPE);
        if self.queue_bytes < least {
            return Err(Error::Queue {
                bytes: self.queue_bytes,
                least,
            });
        }
        if let Some(shards) = self.shards {
            if !(1..=Self::MAX_SHARDS).contains(&shards) {
                return Err(Error::Shards);
            }
            if self.database > 0 {
                return Err(Error::Contradiction("a database", "shards"));
            }
        }
        if self.format == Format::Raw {
            let contradictions = [
                (self.mode == Mode::Stream, "the stream mode"),
                (self.delivery == DeliveryOrder::Local, "local delivery"),
                (self.shards.is_some(), "shards"),
            ];
            if let Some((_, what)) = contradictions.into_iter().find(|(is_set, _)| *is_set) {
                return Err(Error::Contradiction("the raw format", what));
            }
        }
        Ok(())
    }
}

/// What an envelope and its place in the queue may take beside the message, in bytes.
const ENVELOPE: usize = 1024;

/// Settings that cannot be, or that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackplaneConfigError {
    /// A duration or a count that must not be 0.
    Zero(&'static str),
    /// A duration over [`BackplaneConfig::MAX_DURATION`].
    TooLong(&'static str),
    /// A channel's name that is empty, too long, or not plain.
    Channel,
    /// No shards, or more than [`BackplaneConfig::MAX_SHARDS`].
    Shards,
    /// A queue in which no message has room.
    Queue {
        /// The setting, in bytes.
        bytes: usize,
        /// What it must be at least, in bytes.
        least: usize,
    },
    /// Two settings that do not go together.
    Contradiction(&'static str, &'static str),
}

impl BackplaneConfigError {
    /// What it is, without the values.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Zero(_) => "has a duration or a count of 0",
            Self::TooLong(_) => "has a duration of more than a year",
            Self::Channel => "has a name of a channel that cannot be one",
            Self::Shards => "has no shards, or too many",
            Self::Queue { .. } => "has a queue that is too small for the longest message",
            Self::Contradiction(..) => "has settings that do not go together",
        }
    }
}

impl fmt::Display for BackplaneConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero(name) => write!(f, "redis {name} must not be 0"),
            Self::TooLong(name) => write!(f, "redis {name} is longer than a year"),
            Self::Channel => write!(
                f,
                "redis channel must have 1 to {} bytes, without spaces and braces",
                BackplaneConfig::MAX_CHANNEL
            ),
            Self::Shards => write!(
                f,
                "redis shards must be 1 to {}",
                BackplaneConfig::MAX_SHARDS
            ),
            Self::Queue { bytes, least } => write!(
                f,
                "redis queue of {bytes} bytes is too small for the longest message, which takes \
                 {least}"
            ),
            Self::Contradiction(one, other) => {
                write!(f, "redis: {one} and {other} do not go together")
            }
        }
    }
}

impl std::error::Error for BackplaneConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with the defaults after a change.
    fn complaint(change: impl FnOnce(&mut BackplaneConfig)) -> Option<String> {
        let target = Target::Server(Endpoint::Tcp("localhost".to_owned(), 6379));
        let mut config = BackplaneConfig::new(target);
        change(&mut config);
        config.check().err().map(|error| error.to_string())
    }

    #[test]
    fn the_defaults_hold() {
        assert_eq!(complaint(|_| {}), None);
    }

    #[test]
    fn both_sides_of_every_limit() {
        let long = |len| complaint(move |config| config.channel = "c".repeat(len));
        assert_eq!(long(BackplaneConfig::MAX_CHANNEL), None);
        let error = "redis channel must have 1 to 128 bytes, without spaces and braces";
        assert_eq!(
            long(BackplaneConfig::MAX_CHANNEL + 1).as_deref(),
            Some(error)
        );
        for channel in ["", "a b", "a\n", "{a}", "a}", "\u{7f}"] {
            let said = complaint(|config| channel.clone_into(&mut config.channel));
            assert_eq!(said.as_deref(), Some(error), "{channel:?}");
        }
        let queue = |bytes| {
            complaint(|config| {
                config.max_message_size = 1000;
                config.queue_bytes = bytes;
            })
        };
        assert_eq!(queue(2024), None);
        let error = "redis queue of 2023 bytes is too small for the longest message, which takes \
                     2024";
        assert_eq!(queue(2023).as_deref(), Some(error));
        let shards = |count| complaint(|config| config.shards = Some(count));
        assert_eq!(shards(1), None);
        assert_eq!(shards(BackplaneConfig::MAX_SHARDS), None);
        let error = "redis shards must be 1 to 64";
        assert_eq!(shards(0).as_deref(), Some(error));
        assert_eq!(
            shards(BackplaneConfig::MAX_SHARDS + 1).as_deref(),
            Some(error)
        );
        let year = BackplaneConfig::MAX_DURATION;
        assert_eq!(complaint(|config| config.queue_max_age = year), None);
    }

    #[test]
    fn nothing_is_zero_and_nothing_takes_more_than_a_year() {
        type Set = fn(&mut BackplaneConfig, Duration);
        let durations: [(&str, Set); 3] = [
            ("queue max age", |config, time| config.queue_max_age = time),
            ("echo deadline", |config, time| config.echo_deadline = time),
            ("op timeout", |config, time| config.op_timeout = time),
        ];
        for (name, set) in durations {
            let zero = complaint(|config| set(config, Duration::ZERO));
            assert_eq!(zero, Some(format!("redis {name} must not be 0")));
            let long = BackplaneConfig::MAX_DURATION + Duration::from_nanos(1);
            let long = complaint(|config| set(config, long));
            assert_eq!(long, Some(format!("redis {name} is longer than a year")));
        }
        let error = |name| Some(format!("redis {name} must not be 0"));
        assert_eq!(complaint(|c| c.stream_maxlen = 0), error("stream maxlen"));
        assert_eq!(complaint(|c| c.catchup_max = 0), error("catchup max"));
    }

    #[test]
    fn contradictions_are_named() {
        type Change = fn(&mut BackplaneConfig);

        let said = complaint(|config| (config.shards, config.database) = (Some(4), 1));
        let error = "redis: a database and shards do not go together";
        assert_eq!(said.as_deref(), Some(error));
        let raw = |change: Change| {
            complaint(|config| {
                config.format = Format::Raw;
                change(config);
            })
        };
        assert_eq!(raw(|_| {}), None);
        let changes: [(&str, Change); 3] = [
            ("the stream mode", |config| config.mode = Mode::Stream),
            ("local delivery", |config| {
                config.delivery = DeliveryOrder::Local;
            }),
            ("shards", |config| config.shards = Some(1)),
        ];
        for (what, change) in changes {
            let error = format!("redis: the raw format and {what} do not go together");
            assert_eq!(raw(change), Some(error));
        }
    }
}
