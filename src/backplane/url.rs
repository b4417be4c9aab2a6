//! Where Redis is, in one line of text.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use super::config::{BackplaneConfig, Credentials, Endpoint, Target};

/// The port of Redis, unless a URL names another.
const PORT: u16 = 6379;

/// The port of a sentinel, unless a URL names another.
const SENTINEL_PORT: u16 = 26379;

/// The most sentinels of a URL: they are asked in turn, and there are three or five of them.
const MAX_SENTINELS: usize = 16;

/// The longest name of a host (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;

/// The ACL user of whoever gives a password and no name.
const DEFAULT_USER: &str = "default";

/// A text that is no URL of a Redis.
///
/// It says what is wrong and what would be right, and never what the text was: a password may be in
/// there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It begins like none that is known.
    Scheme,
    /// A host that is none, or is missing.
    Host,
    /// An IPv6 address without brackets, or with something else in them.
    Ipv6,
    /// A port that is none.
    Port,
    /// A percent sign that encodes nothing, or what is not UTF-8 then.
    Encoding,
    /// A database that is no number.
    Database,
    /// More behind the host than the number of a database.
    Path,
    /// A path of a Unix socket that does not begin with a slash.
    SocketPath,
    /// Something behind `?` or `#` that this kind of URL does not have.
    Query,
    /// Sentinels without the name of a master.
    Master,
    /// More sentinels than may be.
    Sentinels,
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a password with a slash or the like in it may have led to.
        let (text, may_be_a_password) = match self {
            Self::Scheme => (
                "not a URL like redis://127.0.0.1:6379, rediss://host (TLS), \
                 unix:///run/redis.sock, redis+sentinel://host,host/master or the same with \
                 rediss+sentinel (TLS)",
                false,
            ),
            Self::Host => ("no host in the URL, or none that can be", true),
            Self::Ipv6 => (
                "an IPv6 address in a URL is written like [::1], without a zone",
                true,
            ),
            Self::Port => ("the port in the URL is not a number from 1 to 65535", true),
            Self::Encoding => (
                "a percent sign in the URL that encodes nothing: % itself is written %25",
                false,
            ),
            Self::Database => (
                "the database in the URL is not a number: it is 5 in redis://host/5 and in \
                 unix:///path?db=5",
                true,
            ),
            Self::Path => (
                "too much behind the host in the URL: redis://host/5 is database 5",
                true,
            ),
            Self::SocketPath => (
                "the path of a Unix socket begins with a slash: unix:///run/redis.sock",
                true,
            ),
            Self::Query => (
                "a ? or a # in the URL, where only unix:///path?db=5 has one",
                true,
            ),
            Self::Master => (
                "no name of a master, or none that can be: redis+sentinel://host,host/master",
                true,
            ),
            Self::Sentinels => {
                return write!(f, "more than {MAX_SENTINELS} sentinels in the URL");
            }
        };
        f.write_str(text)?;
        if may_be_a_password {
            f.write_str("; in a user or a password / ? # @ : are written %2F %3F %23 %40 %3A")?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidUrl {}

/// Reads `redis://[user[:password]@]host[:port][/database]`, the same with `rediss` (TLS),
/// `unix://[user[:password]@]/path[?db=database]` (or `redis+unix`), or
/// `redis+sentinel://[user[:password]@]host[:port],host[:port]/master[/database]`, and that with
/// `rediss` (TLS, with the sentinels and with the master). All other settings are the defaults.
///
/// Users and passwords are percent-encoded, and an IPv6 address stands in brackets. A user without
/// a password has an empty one.
impl FromStr for BackplaneConfig {
    type Err = InvalidUrl;

    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = url.split_once(':').ok_or(InvalidUrl::Scheme)?;
        let with_slashes = rest.strip_prefix("//");
        match scheme.to_ascii_lowercase().as_str() {
            // As addresses to listen at are written.
            "unix" => socket(with_slashes.unwrap_or(rest)),
            "redis+unix" => socket(with_slashes.ok_or(InvalidUrl::Scheme)?),
            "redis" => server(with_slashes.ok_or(InvalidUrl::Scheme)?),
            "rediss" => {
                let config = server(with_slashes.ok_or(InvalidUrl::Scheme)?)?;
                Ok(Self {
                    tls: true,
                    ..config
                })
            }
            "redis+sentinel" => sentinels(with_slashes.ok_or(InvalidUrl::Scheme)?),
            // Of the sentinels, too.
            "rediss+sentinel" => {
                let config = sentinels(with_slashes.ok_or(InvalidUrl::Scheme)?)?;
                Ok(Self {
                    tls: true,
                    ..config
                })
            }
            _ => Err(InvalidUrl::Scheme),
        }
    }
}

impl BackplaneConfig {
    /// The URL of the same Redis, without the user and the password: for logs.
    pub fn public_url(&self) -> String {
        let database = match self.database {
            0 => String::new(),
            number => format!("/{number}"),
        };
        let scheme = if self.tls { "rediss" } else { "redis" };
        match &self.target {
            Target::Server(Endpoint::Unix(_)) if self.database > 0 => {
                format!("{}?db={}", self.target, self.database)
            }
            Target::Server(Endpoint::Tcp(..)) => format!("{scheme}://{}{database}", self.target),
            Target::Server(Endpoint::Unix(_)) => self.target.to_string(),
            Target::Sentinel { .. } => format!("{scheme}+sentinel://{}{database}", self.target),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(endpoint) => endpoint.fmt(f),
            Self::Sentinel { sentinels, master } => {
                for (index, sentinel) in sentinels.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "," };
                    write!(f, "{separator}{sentinel}")?;
                }
                write!(f, "/{master}")
            }
        }
    }
}

/// As it stands in a URL: `host:port`, `[::1]:6379`, `unix:///path`.
impl Endpoint {
    /// The one of which a peer says where it is; `None` if it cannot be anywhere. It gets into the
    /// log, and to the resolver.
    pub(super) fn named(host: &str, port: u16) -> Option<Self> {
        let is_host = is_host_name(host) || host.parse::<Ipv6Addr>().is_ok();
        is_host.then(|| Self::Tcp(host.to_owned(), port))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// `[user[:password]@]host[:port][/database]`
fn server(rest: &str) -> Result<BackplaneConfig, InvalidUrl> {
    let (authority, path) = split_authority(rest)?;
    let (credentials, host) = split_credentials(authority)?;
    let target = Target::Server(endpoint(host, PORT)?);
    let number = database(path)?;
    Ok(BackplaneConfig {
        credentials,
        database: number,
        ..BackplaneConfig::new(target)
    })
}

/// `[user[:password]@]/path[?db=database]`
fn socket(rest: &str) -> Result<BackplaneConfig, InvalidUrl> {
    let (before, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    if rest.contains('#') {
        return Err(InvalidUrl::Query);
    }
    let start = before.find('/').ok_or(InvalidUrl::SocketPath)?;
    let (credentials, host) = split_credentials(&before[..start])?;
    let path = decoded(&before[start..]).ok_or(InvalidUrl::Encoding)?;
    if !host.is_empty() || path.contains('\0') {
        return Err(InvalidUrl::SocketPath);
    }
    let number = match query {
        Some(query) => query.strip_prefix("db=").ok_or(InvalidUrl::Query)?,
        None => "0",
    };
    let target = Target::Server(Endpoint::Unix(PathBuf::from(path)));
    Ok(BackplaneConfig {
        credentials,
        database: number_of(number)?,
        ..BackplaneConfig::new(target)
    })
}

/// `[user[:password]@]host[:port],host[:port]/master[/database]`
fn sentinels(rest: &str) -> Result<BackplaneConfig, InvalidUrl> {
    let (authority, path) = split_authority(rest)?;
    let (credentials, hosts) = split_credentials(authority)?;
    if hosts.split(',').count() > MAX_SENTINELS {
        return Err(InvalidUrl::Sentinels);
    }
    let sentinels = hosts.split(',').map(|host| endpoint(host, SENTINEL_PORT));
    let sentinels = sentinels.collect::<Result<Vec<_>, _>>()?;
    let (master, rest) = path.split_once('/').unwrap_or((path, ""));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if master.is_empty() || master.len() > MAX_HOST || !master.bytes().all(is_plain) {
        return Err(InvalidUrl::Master);
    }
    let target = Target::Sentinel {
        sentinels,
        master: master.to_owned(),
    };
    Ok(BackplaneConfig {
        credentials,
        database: database(rest)?,
        ..BackplaneConfig::new(target)
    })
}

/// What stands before the first slash, and what stands behind it.
fn split_authority(rest: &str) -> Result<(&str, &str), InvalidUrl> {
    if rest.contains(['?', '#']) {
        return Err(InvalidUrl::Query);
    }
    Ok(rest.split_once('/').unwrap_or((rest, "")))
}

/// Who we are, and what stands behind it.
fn split_credentials(authority: &str) -> Result<(Option<Credentials>, &str), InvalidUrl> {
    // The last one: browsers read it so as well, and nothing behind it may hold another.
    let Some((who, host)) = authority.rsplit_once('@') else {
        return Ok((None, authority));
    };
    let (user, password) = who.split_once(':').unwrap_or((who, ""));
    let part = |text| decoded(text).ok_or(InvalidUrl::Encoding);
    let (user, password) = (part(user)?, part(password)?);
    if user.is_empty() && password.is_empty() {
        return Ok((None, host));
    }
    let user = if user.is_empty() {
        DEFAULT_USER.to_owned()
    } else {
        user
    };
    Ok((Some(Credentials { user, password }), host))
}

/// `host`, `host:port`, `[::1]:port`
fn endpoint(text: &str, default_port: u16) -> Result<Endpoint, InvalidUrl> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(InvalidUrl::Ipv6)?;
        let host = host
            .parse::<Ipv6Addr>()
            .map_err(|_| InvalidUrl::Ipv6)?
            .to_string();
        let port = match rest.strip_prefix(':') {
            Some(port) => port_of(port)?,
            None if rest.is_empty() => default_port,
            None => return Err(InvalidUrl::Ipv6),
        };
        return Ok(Endpoint::Tcp(host, port));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => return Err(InvalidUrl::Ipv6),
        Some((host, port)) => (host, port_of(port)?),
        None => (text, default_port),
    };
    if !is_host_name(host) {
        return Err(InvalidUrl::Host);
    }
    Ok(Endpoint::Tcp(host.to_owned(), port))
}

fn is_host_name(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MAX_HOST).contains(&host.len()) && host.bytes().all(is_plain)
}

fn port_of(text: &str) -> Result<u16, InvalidUrl> {
    let port = digits(text).and_then(|text| text.parse().ok());
    port.filter(|port| *port > 0).ok_or(InvalidUrl::Port)
}

/// The database of a path without its first slash.
fn database(path: &str) -> Result<u32, InvalidUrl> {
    match path.split_once('/') {
        Some(_) => Err(InvalidUrl::Path),
        None if path.is_empty() => Ok(0),
        None => number_of(path),
    }
}

fn number_of(text: &str) -> Result<u32, InvalidUrl> {
    let number = digits(text).and_then(|text| text.parse().ok());
    number.ok_or(InvalidUrl::Database)
}

/// The text, if it is digits and nothing else: `parse` alone takes a sign.
fn digits(text: &str) -> Option<&str> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some(text)
}

/// RFC 3986, section 2.1; `None` for a percent sign that encodes nothing, or what is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            u8::try_from(high * 16 + low).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_names_is_a_host_or_nothing() {
        let long = "x".repeat(MAX_HOST + 1);
        for host in ["10.0.0.1", "::1", "2001:db8::1", "redis-2.internal"] {
            let named = Endpoint::named(host, 7).map(|endpoint| endpoint.to_string());
            assert!(named.is_some_and(|text| text.contains(host)), "{host}");
        }
        for host in ["", "a b", "a\nb", "\u{1b}[31m", "a/b", "[::1]", "é", &long] {
            assert_eq!(Endpoint::named(host, 7), None, "{host:?}");
        }
    }

    fn parsed(url: &str) -> BackplaneConfig {
        url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp(host.to_owned(), port)
    }

    fn who(config: &BackplaneConfig) -> Option<(&str, &str)> {
        let credentials = config.credentials.as_ref()?;
        Some((&credentials.user, &credentials.password))
    }

    #[test]
    fn a_server_is_a_host_a_port_and_a_database() {
        for (url, host, port, database, tls) in [
            ("redis://localhost", "localhost", 6379, 0, false),
            ("redis://10.0.0.1:7000/", "10.0.0.1", 7000, 0, false),
            ("redis://redis_1.a-b.c/5", "redis_1.a-b.c", 6379, 5, false),
            ("REDIS://h:1/4294967295", "h", 1, u32::MAX, false),
            ("rediss://h:65535/1", "h", 65535, 1, true),
            ("redis://[::1]:7000/2", "::1", 7000, 2, false),
            ("rediss://[FE80:0:0:0::1]", "fe80::1", 6379, 0, true),
        ] {
            let config = parsed(url);
            let expected = BackplaneConfig {
                tls,
                database,
                ..BackplaneConfig::new(Target::Server(tcp(host, port)))
            };
            assert_eq!(config, expected, "{url}");
        }
    }

    #[test]
    fn users_and_passwords_are_percent_decoded() {
        for (url, credentials) in [
            ("redis://h", None),
            ("redis://@h", None),
            ("redis://:@h", None),
            ("redis://app@h", Some(("app", ""))),
            ("redis://app:@h", Some(("app", ""))),
            ("redis://:secret@h", Some(("default", "secret"))),
            ("redis://app:a:b@h", Some(("app", "a:b"))),
            (
                "redis://a%40b:%2f%3F%23%25%20@[::1]:1",
                Some(("a@b", "/?#% ")),
            ),
            // A browser takes the last one as well.
            ("redis://app:p@ss@h", Some(("app", "p@ss"))),
            ("rediss://app:%C3%A4%00@h", Some(("app", "ä\0"))),
            ("unix://app:pw@/run/r.sock", Some(("app", "pw"))),
            ("redis+sentinel://:pw@a,b/m", Some(("default", "pw"))),
        ] {
            assert_eq!(who(&parsed(url)), credentials, "{url}");
        }
    }

    #[test]
    fn a_socket_is_a_path_and_a_database() {
        for (url, path, database) in [
            ("unix:///run/redis.sock", "/run/redis.sock", 0),
            ("unix:/run/redis.sock?db=3", "/run/redis.sock", 3),
            ("redis+unix:///a%20b/c%3Fd?db=0", "/a b/c?d", 0),
        ] {
            let target = Target::Server(Endpoint::Unix(PathBuf::from(path)));
            let expected = BackplaneConfig {
                database,
                ..BackplaneConfig::new(target)
            };
            assert_eq!(parsed(url), expected, "{url}");
        }
    }

    #[test]
    fn sentinels_are_asked_for_a_master() {
        let config = parsed("redis+sentinel://a,b:7,[::1],[::2]:8/my-master.1/4");
        let target = Target::Sentinel {
            sentinels: vec![
                tcp("a", 26379),
                tcp("b", 7),
                tcp("::1", 26379),
                tcp("::2", 8),
            ],
            master: "my-master.1".to_owned(),
        };
        assert!(!config.tls);
        assert_eq!((config.target, config.database), (target.clone(), 4));
        let config = parsed("RedisS+sentinel://:pw@a,b:7,[::1],[::2]:8/my-master.1/4");
        assert!(config.tls);
        assert_eq!((config.target, config.database), (target, 4));
        let many = |count| format!("redis+sentinel://{}/m", vec!["a"; count].join(","));
        assert!(many(16).parse::<BackplaneConfig>().is_ok());
        let error = many(17).parse::<BackplaneConfig>();
        assert_eq!(error, Err(InvalidUrl::Sentinels));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        use InvalidUrl::*;

        for (url, error) in [
            ("", Scheme),
            ("localhost", Scheme),
            ("localhost:6379", Scheme),
            ("http://h", Scheme),
            ("redis:h", Scheme),
            ("redis:/h", Scheme),
            ("redis+unix:/run/r", Scheme),
            ("rediss+unix:///run/r", Scheme),
            ("redis://", Host),
            ("redis:///5", Host),
            ("redis://:6379", Host),
            ("redis://a b", Host),
            ("redis://ä", Host),
            ("redis://a,b", Host),
            ("redis://h:", Port),
            ("redis://h:0", Port),
            ("redis://h:65536", Port),
            ("redis://h:+1", Port),
            ("redis://h:1a", Port),
            ("redis://::1", Ipv6),
            ("redis://::1:6379", Ipv6),
            ("redis://[::1", Ipv6),
            ("redis://[h]", Ipv6),
            ("redis://[fe80::1%25eth0]", Ipv6),
            ("redis://[::1]6379", Ipv6),
            ("redis://[::1]:", Port),
            ("redis://a:%4@h", Encoding),
            ("redis://a:%zz@h", Encoding),
            ("redis://%ff@h", Encoding),
            ("redis://h/a", Database),
            ("redis://h/-1", Database),
            ("redis://h/+1", Database),
            ("redis://h/4294967296", Database),
            ("redis://h/1/2", Path),
            ("redis://h/1/", Path),
            ("redis://h?db=5", Query),
            ("redis://h/#5", Query),
            ("unix://", SocketPath),
            ("unix:run/r", SocketPath),
            ("unix://host/run/r", SocketPath),
            ("unix:///a%00b", SocketPath),
            ("unix:///a%b", Encoding),
            ("unix:///a?", Query),
            ("unix:///a?db=1&x=2", Database),
            ("unix:///a?password=x", Query),
            ("unix:///a?db=", Database),
            ("unix:///a#b", Query),
            ("redis+sentinel://a,b", Master),
            ("redis+sentinel://a,b/", Master),
            ("redis+sentinel://a,b//5", Master),
            ("redis+sentinel://a,b/m m", Master),
            ("redis+sentinel://a,,b/m", Host),
            ("redis+sentinel:///m", Host),
            ("rediss+sentinel:///m", Host),
            ("rediss+sentinel:a/m", Scheme),
            ("redis+sentinel://a/m/x", Database),
            ("redis+sentinel://a/m/1/2", Path),
        ] {
            assert_eq!(url.parse::<BackplaneConfig>(), Err(error), "{url}");
        }
    }

    /// A password that is not encoded breaks a URL in the wrong places: its parts must not be told
    /// to a terminal or a log, and how to write it must be.
    #[test]
    fn errors_tell_no_password_and_how_to_write_it() {
        for password in [
            "hun/ter", "hun?ter", "hun#ter", "12/ter", "12/3/ter", "12/ter@x",
        ] {
            let url = format!("redis://app:{password}@h");
            let error = url.parse::<BackplaneConfig>().unwrap_err().to_string();
            assert!(!error.contains("ter"), "{url}: {error}");
            assert!(error.contains("%2F %3F %23 %40"), "{url}: {error}");
        }
    }

    /// `Debug` is what an embedder's log gets by mistake.
    #[test]
    fn no_output_has_the_password() {
        let config = parsed("rediss://app:hunter2@h:1/5");
        let shown = format!("{config:?} {config:#?} {}", config.public_url());
        assert!(
            shown.contains("app") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn the_public_url_names_the_same_redis() {
        for url in [
            "redis://localhost:6379",
            "redis://[::1]:7000/2",
            "rediss://h:1/5",
            "unix:///run/redis.sock",
            "unix:///run/redis.sock?db=3",
            "redis+sentinel://a:26379,[::1]:7/m",
            "redis+sentinel://a:26379/m/4",
            "rediss+sentinel://a:26379,b:26379/m/4",
        ] {
            assert_eq!(parsed(url).public_url(), url);
        }
        let with_password = parsed("rediss://app:pw@h:1/5").public_url();
        assert_eq!(with_password, "rediss://h:1/5");
    }
}
