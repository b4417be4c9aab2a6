//! The settings of a [`Server`](super::Server).

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

#[cfg(all(feature = "redis", feature = "tls"))]
use super::tls::TlsClientConfig;
#[cfg(feature = "tls")]
use super::tls::TlsConfig;
#[cfg(feature = "redis")]
use crate::backplane::BackplaneConfig;
use crate::hub::{
    HubConfig, HubConfigError, MAX_ADMIN, MAX_SURPLUS, MemoryPart, MemoryScope, Rate,
};

/// The settings of a [`Server`](super::Server). Start from the default and change what you need.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// What the hub may hold, and how long it waits.
    pub hub: HubConfig,
    /// Where to listen. Default `127.0.0.1:8080`.
    pub listen: Vec<ListenAddress>,
    /// Where operators ask: health, metrics, lists, publishing over HTTP. Default nowhere.
    pub admin: Option<ListenAddress>,
    /// Connections that are accepted in a second; the others wait in the kernel. Default no limit.
    pub accept_rate: Option<Rate>,
    /// The mode of Unix sockets in the file system, such as `0o660`. Default what the umask leaves.
    pub unix_mode: Option<u32>,
    /// Whether other processes may listen at the same TCP addresses, and share what comes
    /// (`SO_REUSEPORT`). Default no.
    pub reuse_port: bool,
    /// Has TLS spoken at all TCP addresses of `listen`, those that a supervisor passes on included;
    /// Unix sockets and `admin` stay plain. Default none.
    #[cfg(feature = "tls")]
    pub tls: Option<TlsConfig>,
    /// Shares the rooms with other servers, through Redis. Its `max_message_size` is the hub's of
    /// the start, whatever it says. Default none.
    #[cfg(feature = "redis")]
    pub backplane: Option<BackplaneConfig>,
    /// Whom to believe that it is Redis, where TLS is spoken with it. Default none.
    #[cfg(all(feature = "redis", feature = "tls"))]
    pub backplane_tls: Option<TlsClientConfig>,
    /// From the signal to stop to the end of listening: time for load balancers to look elsewhere,
    /// so it is waited for even if nobody is connected. Default zero.
    pub drain_delay: Duration,
    /// How long it takes to close all clients, evenly. They hear 1012 then, and 1001 if it is zero.
    /// Default zero: all at once. Together with `drain_delay` shorter than `shutdown_timeout`.
    pub drain_time: Duration,
    /// From the signal to stop, or [`Server::drain`](super::Server::drain), to the end of
    /// [`Server::run`](super::Server::run), whoever is still connected. Default 30 s.
    pub shutdown_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            hub: HubConfig::default(),
            listen: vec![ListenAddress::Tcp("127.0.0.1:8080".to_owned())],
            admin: None,
            accept_rate: None,
            unix_mode: None,
            reuse_port: false,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "redis")]
            backplane: None,
            #[cfg(all(feature = "redis", feature = "tls"))]
            backplane_tls: None,
            drain_delay: Duration::ZERO,
            drain_time: Duration::ZERO,
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

impl ServerConfig {
    /// Checks the relations between the settings, the hub's included.
    ///
    /// # Errors
    /// The first relation that does not hold.
    pub fn check(&self) -> Result<(), HubConfigError> {
        if self.shutdown_timeout.is_zero() {
            return Err(HubConfigError::Zero("shutdown timeout"));
        }
        if self.shutdown_timeout > HubConfig::MAX_DURATION {
            return Err(HubConfigError::TooLong("shutdown timeout"));
        }
        let drain = self.drain_delay.saturating_add(self.drain_time);
        if !drain.is_zero() && drain >= self.shutdown_timeout {
            return Err(HubConfigError::Drain {
                delay: self.drain_delay,
                time: self.drain_time,
                shutdown_timeout: self.shutdown_timeout,
            });
        }
        if let Some(admin) = &self.admin {
            if *admin == ListenAddress::Systemd {
                return Err(HubConfigError::Admin(
                    "cannot be systemd, whose sockets are for clients",
                ));
            }
            if self.listen.iter().any(|address| address.overlaps(admin)) {
                return Err(HubConfigError::Admin(
                    "must not be one where clients connect",
                ));
            }
        }
        let is_none = |rate: &Rate| rate.per_second == 0 || rate.burst == 0;
        if self.accept_rate.as_ref().is_some_and(is_none) {
            return Err(HubConfigError::Zero("accept rate"));
        }
        #[cfg(feature = "redis")]
        self.check_backplane()?;
        self.hub.check()
    }

    #[cfg(feature = "redis")]
    fn check_backplane(&self) -> Result<(), HubConfigError> {
        let Some(backplane) = self.backplane() else {
            return Ok(());
        };
        #[cfg(feature = "tls")]
        let can_secure = self.backplane_tls.is_some();
        #[cfg(not(feature = "tls"))]
        let can_secure = false;
        if backplane.tls && !can_secure {
            return Err(HubConfigError::Backplane(
                "cannot speak TLS without the certificates of whom to believe",
            ));
        }
        backplane
            .check()
            .map_err(|error| HubConfigError::Backplane(error.summary()))
    }
}

impl ServerConfig {
    /// The backplane's settings with the limits that are the hub's.
    #[cfg(feature = "redis")]
    pub(super) fn backplane(&self) -> Option<BackplaneConfig> {
        let mut backplane = self.backplane.clone()?;
        backplane.max_message_size = self.hub.limits.max_message_size;
        Some(backplane)
    }

    /// What a server with these settings may hold at worst, part by part: what its hub may, a place
    /// for each socket, and what the loop reads into. What the kernel holds for sockets is not in
    /// there, and neither is what other threads have published and the loop has not taken.
    pub fn worst_case_memory(&self) -> Vec<MemoryPart> {
        let clients = self.hub.max_connections.saturating_add(MAX_SURPLUS);
        let mut parts = self.hub.worst_case_memory();
        parts.extend([
            MemoryPart::new(MemoryScope::Client, "socket", super::SOCKET_BYTES, clients),
            MemoryPart::new(MemoryScope::Server, "loop", super::LOOP_BYTES, 1),
        ]);
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            let bytes = super::tls::STREAM_BYTES;
            parts.push(MemoryPart::new(MemoryScope::Client, "TLS", bytes, clients));
        }
        #[cfg(feature = "redis")]
        if let Some(backplane) = self.backplane() {
            parts.extend(super::bridge::worst_case_memory(&self.hub, &backplane));
        }
        if self.admin.is_some() {
            let bytes = self.hub.admin_bytes().saturating_add(super::SOCKET_BYTES);
            let scope = MemoryScope::Server;
            parts.push(MemoryPart::new(scope, "operator", bytes, MAX_ADMIN));
        }
        parts
    }
}

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `host:port`, `[::]:8080`; port 0 lets the kernel choose.
    Tcp(String),
    /// `unix:/path`: a stream socket in the file system. A file that nobody answers on is
    /// replaced; ours is removed at the end.
    Unix(PathBuf),
    /// `systemd`: the sockets that a supervisor passes on (`LISTEN_FDS`).
    Systemd,
}

impl ListenAddress {
    /// Whether who connects to the one may reach the other.
    fn overlaps(&self, other: &Self) -> bool {
        let (Self::Tcp(left), Self::Tcp(right)) = (self, other) else {
            return self == other;
        };
        match (left.parse::<SocketAddr>(), right.parse::<SocketAddr>()) {
            // The kernel chooses two ports.
            (Ok(left), _) if left.port() == 0 => false,
            (Ok(left), Ok(right)) => {
                let is_any = left.ip().is_unspecified() || right.ip().is_unspecified();
                left.port() == right.port() && (is_any || left.ip() == right.ip())
            }
            // A host by its name: whatever it means, it means it twice.
            _ => left == right && !left.ends_with(":0"),
        }
    }
}

/// A text that is no address to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidListenAddress;

impl fmt::Display for InvalidListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an address like 127.0.0.1:8080, [::]:8080, unix:/path or systemd")
    }
}

impl std::error::Error for InvalidListenAddress {}

impl FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(text: &str) -> Result<Self, InvalidListenAddress> {
        if text == "systemd" {
            return Ok(Self::Systemd);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::Unix(path))
            } else {
                Err(InvalidListenAddress)
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidListenAddress)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || port.parse::<u16>().is_err() || (host.contains(':') && !bracketed) {
            return Err(InvalidListenAddress);
        }
        Ok(Self::Tcp(text.to_owned()))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd => f.write_str("systemd"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_ends_before_the_server() {
        let check = |delay: u64, time: u64, timeout: u64| {
            let config = ServerConfig {
                drain_delay: Duration::from_millis(delay),
                drain_time: Duration::from_millis(time),
                shutdown_timeout: Duration::from_millis(timeout),
                ..ServerConfig::default()
            };
            config.check().map_err(|error| error.to_string())
        };
        assert_eq!(check(0, 0, 1), Ok(()));
        assert_eq!(check(4000, 5999, 10_000), Ok(()));
        let error = "drain delay 4s and drain time 6s together are not shorter than \
                     shutdown timeout 10s";
        assert_eq!(check(4000, 6000, 10_000), Err(error.to_owned()));
        assert!(check(10_000, 0, 10_000).is_err() && check(0, 10_000, 10_000).is_err());
        assert!(check(u64::MAX, u64::MAX, 10_000).is_err());
    }

    #[cfg(feature = "redis")]
    #[test]
    fn a_backplane_holds_as_well() {
        let check = |change: fn(&mut ServerConfig, &mut BackplaneConfig)| {
            let mut config = ServerConfig::default();
            let mut backplane = "redis://h".parse().unwrap();
            change(&mut config, &mut backplane);
            config.backplane = Some(backplane);
            config.check().map_err(|error| error.to_string())
        };
        assert_eq!(check(|_, _| {}), Ok(()));
        let error = check(|_, backplane| backplane.channel.clear()).unwrap_err();
        assert_eq!(
            error,
            "backplane has a name of a channel that cannot be one"
        );
        // A message is as long as the hub's may be, whatever stands there.
        let queue = |config: &mut ServerConfig, backplane: &mut BackplaneConfig| {
            config.hub.limits.max_message_size = 1000;
            backplane.queue_bytes = 2024;
        };
        assert_eq!(check(queue), Ok(()));
        let error = check(|_, backplane| backplane.queue_bytes = 2024).unwrap_err();
        assert!(error.contains("queue that is too small"), "{error}");
        let error = check(|_, backplane| backplane.tls = true).unwrap_err();
        assert!(error.contains("TLS"), "{error}");
    }

    #[test]
    fn operators_count_in_the_worst_case_if_there_may_be_some() {
        let mut config = ServerConfig::default();
        let operators = |config: &ServerConfig| {
            let parts = config.worst_case_memory().into_iter();
            let mut parts = parts.filter(|part| part.what == "operator");
            parts.next().map(|part| (part.bytes_each, part.count))
        };
        assert_eq!(operators(&config), None);
        config.admin = Some("127.0.0.1:0".parse().unwrap());
        let (small, count) = operators(&config).unwrap();
        assert!(count == MAX_ADMIN && small > 2 << 20, "lists are the most");
        config.hub.limits.max_message_size = 1 << 30;
        let (large, _) = operators(&config).unwrap();
        assert!(large > 2 << 30, "then a message is");
    }

    #[test]
    fn operators_have_an_address_of_their_own() {
        let check = |listen: &str, admin: &str| {
            let config = ServerConfig {
                listen: vec!["unix:/run/x".parse().unwrap(), listen.parse().unwrap()],
                admin: Some(admin.parse().unwrap()),
                ..ServerConfig::default()
            };
            config.check()
        };
        for (listen, admin) in [
            ("127.0.0.1:8080", "127.0.0.1:9090"),
            ("127.0.0.1:8080", "127.0.0.2:8080"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("localhost:0", "localhost:0"),
            ("[::1]:8080", "127.0.0.1:8080"),
            ("systemd", "unix:/run/a"),
        ] {
            assert_eq!(check(listen, admin), Ok(()), "{listen} {admin}");
        }
        for (listen, admin) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("127.0.0.1:8080", "0.0.0.0:8080"),
            ("[::]:8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[0:0::1]:8080"),
            ("localhost:80", "localhost:80"),
            ("127.0.0.1:1", "unix:/run/x"),
        ] {
            let error = check(listen, admin).unwrap_err().to_string();
            let expected = "admin address must not be one where clients connect";
            assert_eq!(error, expected, "{listen} {admin}");
        }
        let error = check("127.0.0.1:1", "systemd").unwrap_err();
        let expected = "admin address cannot be systemd, whose sockets are for clients";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn addresses_are_read_and_printed() {
        for text in [
            "127.0.0.1:8080",
            "[::]:0",
            "localhost:80",
            "unix:/run/f.sock",
            "systemd",
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "8080",
            ":8080",
            "::1:8080",
            "host:",
            "host:65536",
            "unix:",
            "unix:a",
        ] {
            assert_eq!(
                text.parse::<ListenAddress>(),
                Err(InvalidListenAddress),
                "{text}"
            );
        }
    }
}
