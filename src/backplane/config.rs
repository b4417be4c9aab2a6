//! The settings of a [`Backplane`](super::Backplane).

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

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
}
