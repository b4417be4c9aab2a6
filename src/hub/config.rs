//! What the hub may hold, and how long it waits.

use std::fmt;
use std::time::Duration;

use super::admission::RejectWith;
use super::outgoing::PIECE_COST;
use super::rate::Rate;
use super::trust::TrustedProxy;
use crate::protocol::{FrameHeader, Handshake, Limits};

/// The most bytes that one call of [`Hub::receive`](super::Hub::receive) should be given: what the
/// read buffer of a loop holds.
pub const MAX_RECEIVE: usize = 64 * 1024;

/// The settings of a [`Hub`](super::Hub). Start from the default and change what you need.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubConfig {
    /// The bounds of one connection.
    pub limits: Limits,
    /// Which requests are upgraded.
    pub handshake: Handshake,
    /// Whether `GET /` serves the demo page. Default yes.
    pub demo: bool,
    /// Bytes that may be queued for one client before it is dropped as too slow. Default 1 MiB.
    /// Each piece of the queue counts 64 bytes on top, so that a queue of tiny messages is bounded
    /// as well. Messages are shared between all clients that wait for them: what a thousand slow
    /// clients of one room owe is held once.
    pub max_client_buffer: usize,
    /// Clients at once, those in the opening or closing handshake included. Default 1024; more
    /// are answered with 503.
    pub max_connections: usize,
    /// Rooms at once. Default 65,536; a client who asks for one more is answered with 503. A room
    /// exists as long as it has a member.
    pub max_rooms: usize,
    /// Silence after which a client is sent a Ping. Default 25 s, below the idle limits of
    /// proxies (30–60 s). Zero: never.
    pub ping_interval: Duration,
    /// Silence after a Ping that ends a connection. Default 10 s. Not zero, and shorter than
    /// `ping_interval`.
    pub pong_timeout: Duration,
    /// From accepting a connection to the end of its request head. Default 5 s. A trickle does not
    /// extend it.
    pub handshake_timeout: Duration,
    /// Output that makes no progress for so long drops its client as too slow. Default 10 s.
    pub write_timeout: Duration,
    /// From our last word (a Close, or a refusal) to the end of the connection, if the client does
    /// not end it itself. Default 5 s.
    pub close_timeout: Duration,
    /// How a client learns that the handler has not let it in. Default by the status.
    pub reject_with: RejectWith,
    /// Connections at once from one IPv4 address, or one IPv6 network of 64 bits; more are answered
    /// with 429. Default no limit.
    pub max_connections_per_ip: Option<usize>,
    /// Connections whose request has not come yet; beyond, the one that has waited the longest goes
    /// with 503. Default no limit.
    pub max_handshakes: Option<usize>,
    /// Messages from one client; beyond, it is closed with 1008. Default no limit.
    pub message_rate: Option<Rate>,
    /// Bytes from one open client, framing included; beyond, it is closed with 1008. Default no
    /// limit.
    pub byte_rate: Option<Rate>,
    /// Members of one room; who comes then is answered with 503. Default no limit.
    pub max_room_members: Option<usize>,
    /// Bytes owed to all clients, what they share counted once; beyond, the client that owes the
    /// most goes, at the end of a turn. Not less than `max_client_buffer`. While it is limited the
    /// buffers of batches are not used again: each costs an allocation. Default no limit.
    pub max_total_buffer: Option<usize>,
    /// What becomes of a client that lags. Default: it is closed.
    pub slow_policy: SlowPolicy,
    /// Peers who are believed when they say for whom they connect. Default none.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Whether those peers begin each connection with a PROXY header (version 1 or 2); there must
    /// be some then. Default no.
    pub proxy_protocol: bool,
}

/// What becomes of a client that cannot take what its room says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowPolicy {
    /// It is dropped when it owes more than `max_client_buffer`: it hears everything or is gone.
    #[default]
    Close,
    /// Whole messages that do not fit into `max_client_buffer` are left out, and counted.
    Drop,
    /// Of what its room says while it lags it hears the newest message alone; the others are
    /// counted. For rooms whose every message replaces the one before.
    Latest,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            handshake: Handshake::default(),
            demo: true,
            max_client_buffer: 1 << 20,
            max_connections: 1024,
            max_rooms: 65_536,
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            reject_with: RejectWith::Status,
            max_connections_per_ip: None,
            max_handshakes: None,
            message_rate: None,
            byte_rate: None,
            max_room_members: None,
            max_total_buffer: None,
            slow_policy: SlowPolicy::Close,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
        }
    }
}

impl HubConfig {
    /// What a batch may hold when the driver stops reading, on top of the largest message.
    const MAX_BATCH: usize = 256 * 1024;

    /// The longest that anything may be waited for: far beyond use, and far from overflow.
    pub const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// What a client that may lag keeps free of messages, for what the protocol has to say to it: a
    /// Ping, and a Close.
    const RESERVE: usize = 512;

    /// The least that `max_client_buffer` must be, for this `max_message_size`: a client that owes
    /// nothing must be able to take all that one turn can bring; with [`SlowPolicy::Latest`] one
    /// more message, so that the newest fits behind what has been begun.
    pub const fn min_client_buffer(&self) -> usize {
        let frame = self
            .limits
            .max_message_size
            .saturating_add(FrameHeader::MAX_LEN + PIECE_COST);
        let turn = frame.saturating_add(MAX_RECEIVE + PIECE_COST);
        match self.slow_policy {
            SlowPolicy::Close => turn,
            SlowPolicy::Drop => turn.saturating_add(Self::RESERVE),
            SlowPolicy::Latest => turn.saturating_add(Self::RESERVE).saturating_add(frame),
        }
    }

    /// What of `max_client_buffer` messages may take.
    pub(super) const fn room_buffer(&self) -> usize {
        match self.slow_policy {
            SlowPolicy::Close => self.max_client_buffer,
            SlowPolicy::Drop | SlowPolicy::Latest => {
                self.max_client_buffer.saturating_sub(Self::RESERVE)
            }
        }
    }

    /// Bytes in a room's batch from which on the driver should end its turn, so that members who
    /// keep up are not mistaken for slow ones.
    pub(super) fn batch_limit(&self) -> usize {
        Self::MAX_BATCH.min(
            self.max_client_buffer
                .saturating_sub(self.min_client_buffer()),
        )
    }

    /// Checks the relations between the settings.
    ///
    /// # Errors
    /// The first relation that does not hold.
    pub fn check(&self) -> Result<(), HubConfigError> {
        if self.max_client_buffer < self.min_client_buffer() {
            return Err(HubConfigError::ClientBuffer {
                buffer: self.max_client_buffer,
                least: self.min_client_buffer(),
            });
        }
        if !self.ping_interval.is_zero() && self.ping_interval <= self.pong_timeout {
            return Err(HubConfigError::Heartbeat {
                ping_interval: self.ping_interval,
                pong_timeout: self.pong_timeout,
            });
        }
        let durations = [
            ("pong timeout", self.pong_timeout),
            ("handshake timeout", self.handshake_timeout),
            ("write timeout", self.write_timeout),
            ("close timeout", self.close_timeout),
            ("ping interval", self.ping_interval),
        ];
        for (name, duration) in durations {
            if duration.is_zero() && name != "ping interval" {
                return Err(HubConfigError::Zero(name));
            }
            if duration > Self::MAX_DURATION {
                return Err(HubConfigError::TooLong(name));
            }
        }
        self.check_counts()?;
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            return Err(HubConfigError::ProxyProtocol);
        }
        let path = &self.handshake.path;
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#%\"<>\\^`{|}".contains(&byte);
        if !path.starts_with('/')
            || path.ends_with('/')
            || path == "/healthz"
            || !path.bytes().all(is_plain)
        {
            return Err(HubConfigError::Path);
        }
        if !self
            .handshake
            .subprotocols
            .iter()
            .all(|name| is_token(name))
        {
            return Err(HubConfigError::Subprotocol);
        }
        Ok(())
    }

    /// What limits something must let something through.
    fn check_counts(&self) -> Result<(), HubConfigError> {
        let rate = |rate: Option<Rate>| rate.map(|rate| rate.per_second.min(rate.burst) > 0);
        let count = |count: Option<usize>| count.map(|count| count > 0);
        let limits = [
            (
                "max message size",
                count(Some(self.limits.max_message_size)),
            ),
            ("max connections", count(Some(self.max_connections))),
            ("max rooms", count(Some(self.max_rooms))),
            ("max connections per ip", count(self.max_connections_per_ip)),
            ("max handshakes", count(self.max_handshakes)),
            ("max room members", count(self.max_room_members)),
            ("message rate", rate(self.message_rate)),
            ("byte rate", rate(self.byte_rate)),
        ];
        if let Some((name, _)) = limits.iter().find(|(_, is_some)| *is_some == Some(false)) {
            return Err(HubConfigError::Zero(name));
        }
        match self.max_total_buffer {
            Some(total) if total < self.max_client_buffer => Err(HubConfigError::TotalBuffer {
                total,
                least: self.max_client_buffer,
            }),
            _ => Ok(()),
        }
    }
}

/// Whether a name is a token (RFC 9110, section 5.6.2).
pub(super) fn is_token(name: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token_byte)
}

/// Settings that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubConfigError {
    /// A buffer that could not take what one turn brings.
    ClientBuffer {
        /// The setting, in bytes.
        buffer: usize,
        /// What it must be at least, in bytes.
        least: usize,
    },
    /// A buffer for all that could not take what one client may owe.
    TotalBuffer {
        /// The setting, in bytes.
        total: usize,
        /// What it must be at least, in bytes.
        least: usize,
    },
    /// A Ping would be due before the last one could have been given up.
    Heartbeat {
        /// The setting.
        ping_interval: Duration,
        /// The setting.
        pong_timeout: Duration,
    },
    /// Closing everybody would not be over when the server ends.
    Drain {
        /// The setting.
        delay: Duration,
        /// The setting.
        time: Duration,
        /// The setting.
        shutdown_timeout: Duration,
    },
    /// A setting that must not be zero.
    Zero(&'static str),
    /// A duration of more than a year.
    TooLong(&'static str),
    /// PROXY headers are to be read, and nobody is trusted with them.
    ProxyProtocol,
    /// A path that is not `/` and plain segments, or that plain HTTP needs.
    Path,
    /// A subprotocol whose name is not a token (RFC 6455, section 4.1).
    Subprotocol,
    /// An operators' address that cannot be one, and why.
    Admin(&'static str),
    /// A backplane that cannot work, and why.
    Backplane(&'static str),
}

impl fmt::Display for HubConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientBuffer { buffer, least } => write!(
                f,
                "max client buffer {buffer} is too small for max message size: \
                 needs at least {least}"
            ),
            Self::TotalBuffer { total, least } => write!(
                f,
                "max total buffer {total} is less than max client buffer {least}"
            ),
            Self::Heartbeat {
                ping_interval,
                pong_timeout,
            } => write!(
                f,
                "ping interval {ping_interval:?} is not longer than pong timeout {pong_timeout:?}"
            ),
            Self::Drain {
                delay,
                time,
                shutdown_timeout,
            } => write!(
                f,
                "drain delay {delay:?} and drain time {time:?} together are not shorter than \
                 shutdown timeout {shutdown_timeout:?}"
            ),
            Self::Zero(name) => write!(f, "{name} must not be 0"),
            Self::TooLong(name) => write!(f, "{name} is longer than a year"),
            Self::ProxyProtocol => {
                f.write_str("proxy protocol needs a trusted proxy: from others it is not read")
            }
            Self::Path => f.write_str(
                "path must be like /ws: a slash and plain characters, no slash at its end, \
                 not /healthz",
            ),
            Self::Admin(why) => write!(f, "admin address {why}"),
            Self::Backplane(why) => write!(f, "backplane {why}"),
            Self::Subprotocol => f.write_str("subprotocol must be a token like chat.v1"),
        }
    }
}

impl std::error::Error for HubConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut HubConfig)) -> Result<(), HubConfigError> {
        let mut config = HubConfig::default();
        change(&mut config);
        config.check()
    }

    #[test]
    fn the_default_is_consistent() {
        assert_eq!(check(|_| {}), Ok(()));
    }

    #[test]
    fn both_sides_of_the_client_buffer() {
        let least = HubConfig::default().min_client_buffer();
        assert_eq!(least, 64 * 1024 + 64 * 1024 + 14 + 128);
        assert_eq!(check(|config| config.max_client_buffer = least), Ok(()));
        let error = check(|config| config.max_client_buffer = least - 1);
        assert_eq!(
            error,
            Err(HubConfigError::ClientBuffer {
                buffer: least - 1,
                least
            })
        );
    }

    #[test]
    fn both_sides_of_the_client_buffer_of_those_who_may_lag() {
        let least = |slow_policy| {
            let config = HubConfig {
                slow_policy,
                ..HubConfig::default()
            };
            config.min_client_buffer()
        };
        let close = least(SlowPolicy::Close);
        assert_eq!(least(SlowPolicy::Drop), close + 512);
        let latest = least(SlowPolicy::Latest);
        assert_eq!(latest, close + 512 + 64 * 1024 + 14 + 64);
        for (buffer, is_enough) in [(latest, true), (latest - 1, false)] {
            let checked = check(|config| {
                config.slow_policy = SlowPolicy::Latest;
                config.max_client_buffer = buffer;
            });
            assert_eq!(checked.is_ok(), is_enough);
        }
    }

    #[test]
    fn both_sides_of_the_total_buffer() {
        let total = |total| check(|config| config.max_total_buffer = Some(total));
        assert_eq!(total(1 << 20), Ok(()));
        assert_eq!(
            total((1 << 20) - 1).unwrap_err().to_string(),
            "max total buffer 1048575 is less than max client buffer 1048576"
        );
    }

    #[test]
    fn limits_let_something_through() {
        let zero = |name| Err(HubConfigError::Zero(name));
        let rate = |per_second, burst| Some(Rate { per_second, burst });
        assert_eq!(
            check(|config| config.max_handshakes = Some(0)),
            zero("max handshakes")
        );
        assert_eq!(
            check(|config| config.max_connections_per_ip = Some(0)),
            zero("max connections per ip")
        );
        assert_eq!(
            check(|config| config.max_room_members = Some(0)),
            zero("max room members")
        );
        assert_eq!(
            check(|config| config.message_rate = rate(0, 1)),
            zero("message rate")
        );
        assert_eq!(
            check(|config| config.byte_rate = rate(1, 0)),
            zero("byte rate")
        );
        assert_eq!(check(|config| config.byte_rate = rate(1, 1)), Ok(()));
    }

    #[test]
    fn a_batch_is_bounded_by_what_a_client_may_owe_and_by_itself() {
        let mut config = HubConfig::default();
        assert_eq!(config.batch_limit(), 262_144);
        config.max_client_buffer = config.min_client_buffer() + 1000;
        assert_eq!(config.batch_limit(), 1000);
    }

    #[test]
    fn a_heartbeat_may_be_off_but_not_overlap() {
        let seconds = Duration::from_secs;
        assert_eq!(
            check(|config| config.ping_interval = Duration::ZERO),
            Ok(())
        );
        assert_eq!(check(|config| config.ping_interval = seconds(11)), Ok(()));
        let error = check(|config| config.ping_interval = seconds(10)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ping interval 10s is not longer than pong timeout 10s"
        );
    }

    #[test]
    fn zero_is_refused_where_it_would_mean_never() {
        let error = check(|config| config.write_timeout = Duration::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "write timeout must not be 0");
        let error = check(|config| config.close_timeout = Duration::MAX).unwrap_err();
        assert_eq!(error.to_string(), "close timeout is longer than a year");
        let year = Duration::from_secs(31_536_000);
        assert_eq!(check(|config| config.write_timeout = year), Ok(()));
        let longer = year + Duration::from_nanos(1);
        let error = check(|config| config.write_timeout = longer);
        assert_eq!(error, Err(HubConfigError::TooLong("write timeout")));
        assert_eq!(
            check(|config| config.max_rooms = 0),
            Err(HubConfigError::Zero("max rooms"))
        );
    }

    #[test]
    fn paths_and_subprotocols_are_plain() {
        for path in ["/ws", "/w", "/a/b", "/chat-1"] {
            assert_eq!(
                check(|config| config.handshake.path = path.to_owned()),
                Ok(()),
                "{path}"
            );
        }
        for path in [
            "", "/", "ws", "/ws/", "/w s", "/ws?x", "/w%73", "/healthz", "/ü",
        ] {
            let error = check(|config| config.handshake.path = path.to_owned());
            assert_eq!(error, Err(HubConfigError::Path), "{path}");
        }
        let offer = |name: &str| {
            check(|config| config.handshake.subprotocols = vec!["v1".to_owned(), name.to_owned()])
        };
        for name in ["chat", "v2.example.com", "!#$%&'*+-.^_`|~"] {
            assert_eq!(offer(name), Ok(()), "{name}");
        }
        for name in ["", "a b", "a,b", "a/b", "ü"] {
            assert_eq!(offer(name), Err(HubConfigError::Subprotocol), "{name}");
        }
    }
}
