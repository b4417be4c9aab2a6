//! From what was said, on the command line and in the environment, to settings that hold.

mod error;
mod exposure;
mod file;
mod redis;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use fanfare::{RejectWith, ServerConfig, SlowPolicy};
use log::LevelFilter;

use crate::cli::{Arguments, nearest};
use crate::flags::{FLAGS, Flag, VARIABLE_PREFIX};
pub(crate) use error::ConfigError;
pub(crate) use file::ConfigFile;
pub(crate) use redis::RedisSettings;
#[cfg(feature = "redis")]
pub(crate) use redis::{PASSWORD_VARIABLE as REDIS_PASSWORD, Secret};
use values::{
    count, count_limit, duration, each, file, mode, parsed, path, rate, size, size_limit,
    subprotocol, switch, timeout, word,
};

/// What the binary runs with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The server's settings, checked.
    pub(crate) server: ServerConfig,
    /// `--max-connections`. `None`: as many as the descriptor limit allows, which only `main`
    /// learns.
    pub(crate) max_connections: Option<usize>,
    /// Whether a client hears itself.
    pub(crate) echo: bool,
    /// Who may do what.
    pub(crate) access: AccessSettings,
    /// Where the certificates are.
    pub(crate) tls: TlsFiles,
    /// What is said of Redis.
    pub(crate) redis: RedisSettings,
    /// `--config`.
    pub(crate) file: Option<PathBuf>,
    /// Whether to explain the worst case of memory instead of serving.
    pub(crate) explain_memory: bool,
    /// What is logged unless `RUST_LOG` says otherwise.
    pub(crate) log_level: LevelFilter,
    /// What looks like a mistake and is none for sure; to be logged once there is a log.
    pub(crate) warnings: Vec<String>,
}

/// Who may do what: where the credentials are, and what they are asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessSettings {
    pub(crate) publish: Publish,
    pub(crate) tokens: Option<PathBuf>,
    pub(crate) token_in_query: bool,
    pub(crate) ticket_key: Option<PathBuf>,
    /// What the server speaks by itself, `--subprotocol`.
    pub(crate) subprotocols: Vec<String>,
}

/// Who may send messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Publish {
    #[default]
    Any,
    /// Those whose credential says so.
    Token,
    None,
}

/// The files that TLS needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) client_ca: Option<PathBuf>,
}

impl Settings {
    /// Understands a command line, an environment and a file. A flag wins over its variable, and
    /// both win over the file.
    ///
    /// # Errors
    /// The first value that cannot be understood, or the first contradiction between two.
    pub(crate) fn new(
        arguments: &Arguments,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        file: Option<&ConfigFile>,
    ) -> Result<Self, ConfigError> {
        let mut settings = Self::unsaid();
        // Sorted: the environment's own order means nothing, and must not decide which error is the
        // first. Compose files and units set variables to nothing where they mean "not set".
        let ours = environment.into_iter().filter_map(|(variable, value)| {
            Some((variable.into_string().ok()?, value))
                .filter(|(variable, _)| variable.starts_with(VARIABLE_PREFIX))
        });
        let variables: BTreeMap<String, OsString> = ours.collect();
        let is_flagged = |flag: &Flag| arguments.values(flag).is_some();
        // 1. The file, as far as the others are silent.
        let has_variable = |flag: &Flag| {
            let value = flag.variable().and_then(|name| variables.get(&name));
            value.is_some_and(|value| !value.is_empty())
        };
        for entry in file.map_or(&[][..], ConfigFile::entries) {
            if !is_overridden(entry.flag, |rival| is_flagged(rival) || has_variable(rival)) {
                settings.set_from(entry)?;
            }
        }
        // 2. The environment, as far as the command line is silent.
        for (variable, value) in variables {
            settings.set_from_variable(variable, value, is_flagged)?;
        }
        // 3. The command line.
        for flag in FLAGS {
            if let Some(values) = arguments.values(flag) {
                let setting = format!("--{}", flag.name);
                settings
                    .set(flag, values)
                    .map_err(|why| ConfigError::Invalid { setting, why })?;
            }
        }
        let is_said = |name| {
            FLAGS
                .iter()
                .any(|flag| flag.name == name && arguments.values(flag).is_some())
        };
        if is_said("verbose") && is_said("quiet") {
            return Err(ConfigError::Contradiction(
                "--verbose contradicts --quiet".to_owned(),
            ));
        }
        // 4. How they fit together.
        let check = settings.server.check();
        check.map_err(|error| ConfigError::Contradiction(error.to_string()))?;
        let own = &settings.server.hub.handshake.subprotocols;
        settings.access.subprotocols.clone_from(own);
        let access = &settings.access;
        if access.token_in_query && access.tokens.is_none() && access.ticket_key.is_none() {
            let warning = "--token-in-query means nothing without --tokens or --ticket-key";
            settings.warnings.push(warning.to_owned());
        }
        settings.warnings.extend(exposure::warning(&settings));
        settings
            .warnings
            .extend(settings.redis.warning(is_said("redis")));
        Ok(settings)
    }

    /// Sets what a variable says, unless a flag wins over it.
    fn set_from_variable(
        &mut self,
        variable: String,
        value: OsString,
        is_flagged: impl Fn(&Flag) -> bool,
    ) -> Result<(), ConfigError> {
        let said = if variable == redis::PASSWORD_VARIABLE {
            self.redis.set_password(value)
        } else if let Some(flag) = FLAGS.iter().find(|flag| is_variable_of(flag, &variable)) {
            if value.is_empty() || is_overridden(flag, is_flagged) {
                return Ok(());
            }
            values_of(flag, value).and_then(|values| self.set(flag, &values))
        } else {
            self.warnings.push(unknown_variable(&variable));
            return Ok(());
        };
        said.map_err(|why| ConfigError::Invalid {
            setting: variable,
            why,
        })
    }

    /// What holds if nothing is said.
    fn unsaid() -> Self {
        Self {
            server: ServerConfig::default(),
            max_connections: None,
            echo: true,
            access: AccessSettings::default(),
            tls: TlsFiles::default(),
            redis: RedisSettings::default(),
            file: None,
            explain_memory: false,
            log_level: LevelFilter::Info,
            warnings: Vec::new(),
        }
    }

    /// Sets what a flag says; the error says what is wrong with the values.
    fn set(&mut self, flag: &Flag, values: &[String]) -> Result<(), String> {
        let is_known = self.set_server(flag.name, values)?
            || self.set_access(flag.name, values)?
            || self.set_limit(flag.name, values)?
            || self.set_time(flag.name, values)?
            || self.redis.set(flag.name, last(values))?
            || self.set_log(flag.name, values)?;
        assert!(
            is_known,
            "--{} is in the table of flags and is not read",
            flag.name
        );
        Ok(())
    }

    /// Where to listen, what is spoken there, and who stands between.
    fn set_server(&mut self, name: &str, values: &[String]) -> Result<bool, String> {
        let value = last(values);
        let server = &mut self.server;
        let hub = &mut server.hub;
        match name {
            "listen" => server.listen = each(values, parsed)?,
            "unix-mode" => server.unix_mode = Some(mode(value)?),
            "reuse-port" => server.reuse_port = switch(value)?,
            "admin" if value == "none" => server.admin = None,
            "admin" => server.admin = Some(parsed(value)?),
            "config" => self.file = file(value)?,
            "path" => hub.handshake.path = path(value)?,
            "subprotocol" => hub.handshake.subprotocols = each(values, subprotocol)?,
            "no-echo" => self.echo = !switch(value)?,
            "no-demo" => hub.demo = !switch(value)?,
            "trusted-proxy" if values == ["none"] => hub.trusted_proxies = Vec::new(),
            "trusted-proxy" => hub.trusted_proxies = each(values, parsed)?,
            "proxy-protocol" => hub.proxy_protocol = switch(value)?,
            "tls-cert" => self.tls.cert = file(value)?,
            "tls-key" => self.tls.key = file(value)?,
            "tls-client-ca" => self.tls.client_ca = file(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set_access(&mut self, name: &str, values: &[String]) -> Result<bool, String> {
        const PUBLISH: [(&str, Publish); 3] = [
            ("any", Publish::Any),
            ("token", Publish::Token),
            ("none", Publish::None),
        ];
        const REJECT_WITH: [(&str, RejectWith); 2] =
            [("status", RejectWith::Status), ("close", RejectWith::Close)];

        let value = last(values);
        let (hub, access) = (&mut self.server.hub, &mut self.access);
        match name {
            "allow-origin" => hub.handshake.allowed_origins = each(values, parsed)?,
            "publish" => access.publish = word(value, &PUBLISH)?,
            "tokens" => access.tokens = file(value)?,
            "token-in-query" => access.token_in_query = switch(value)?,
            "ticket-key" => access.ticket_key = file(value)?,
            "reject-with" => hub.reject_with = word(value, &REJECT_WITH)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set_limit(&mut self, name: &str, values: &[String]) -> Result<bool, String> {
        const SLOW_POLICIES: [(&str, SlowPolicy); 3] = [
            ("close", SlowPolicy::Close),
            ("drop", SlowPolicy::Drop),
            ("latest", SlowPolicy::Latest),
        ];

        let value = last(values);
        let server = &mut self.server;
        let hub = &mut server.hub;
        match name {
            "max-message-size" => hub.limits.max_message_size = size(value)?,
            "max-client-buffer" => hub.max_client_buffer = size(value)?,
            "max-total-buffer" => hub.max_total_buffer = size_limit(value)?,
            "max-connections" => self.max_connections = Some(count(value)?),
            "max-connections-per-ip" => hub.max_connections_per_ip = count_limit(value)?,
            "max-handshakes" => hub.max_handshakes = count_limit(value)?,
            "max-rooms" => hub.max_rooms = count(value)?,
            "max-room-members" => hub.max_room_members = count_limit(value)?,
            "accept-rate" => server.accept_rate = rate(value)?,
            "message-rate" => hub.message_rate = rate(value)?,
            "byte-rate" => hub.byte_rate = rate(value)?,
            "slow-policy" => hub.slow_policy = word(value, &SLOW_POLICIES)?,
            "explain-memory" => self.explain_memory = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set_time(&mut self, name: &str, values: &[String]) -> Result<bool, String> {
        let value = last(values);
        let server = &mut self.server;
        let hub = &mut server.hub;
        match name {
            "ping-interval" => hub.ping_interval = duration(value)?,
            "pong-timeout" => hub.pong_timeout = timeout(value)?,
            "handshake-timeout" => hub.handshake_timeout = timeout(value)?,
            "write-timeout" => hub.write_timeout = timeout(value)?,
            "close-timeout" => hub.close_timeout = timeout(value)?,
            "drain-delay" => server.drain_delay = duration(value)?,
            "drain-time" => server.drain_time = duration(value)?,
            "shutdown-timeout" => server.shutdown_timeout = timeout(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set_log(&mut self, name: &str, values: &[String]) -> Result<bool, String> {
        match name {
            "verbose" => {
                let said = each(values, switch)?;
                self.log_level = match said.into_iter().filter(|on| *on).count() {
                    0 => self.log_level,
                    1 => LevelFilter::Debug,
                    _ => LevelFilter::Trace,
                };
            }
            "quiet" => {
                if switch(last(values))? {
                    self.log_level = LevelFilter::Warn;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Of what is said several times the last counts.
fn last(values: &[String]) -> &str {
    values.last().map_or("", String::as_str)
}

fn is_variable_of(flag: &Flag, variable: &str) -> bool {
    flag.variable().is_some_and(|name| name == variable)
}

/// Whether those who win leave a flag nothing to say: whether they said it. `-v` and `-q` are two
/// words on one matter.
fn is_overridden(flag: &Flag, is_said: impl Fn(&Flag) -> bool) -> bool {
    let is_loudness = |flag: &Flag| matches!(flag.name, "verbose" | "quiet");
    let mut rivals = FLAGS
        .iter()
        .filter(|rival| rival.name == flag.name || (is_loudness(flag) && is_loudness(rival)));
    rivals.any(is_said)
}

/// What a variable says: of a repeatable flag several things, with commas between them.
fn values_of(flag: &Flag, value: OsString) -> Result<Vec<String>, String> {
    let value = value
        .into_string()
        .map_err(|_| "the value is not UTF-8".to_owned())?;
    if flag.repeatable {
        return Ok(value
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect());
    }
    Ok(vec![value])
}

fn unknown_variable(variable: &str) -> String {
    // The prefix, which always matches, would make everything look near.
    let rest = |name: &str| name.trim_start_matches(VARIABLE_PREFIX).to_owned();
    let known = FLAGS
        .iter()
        .filter_map(Flag::variable)
        .map(|name| rest(&name));
    match nearest(&rest(variable), known) {
        Some(name) => {
            format!("unknown variable {variable}, did you mean {VARIABLE_PREFIX}{name}?")
        }
        None => format!("unknown variable {variable}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};

    /// The settings that a command line and an environment (`NAME=value …`) make.
    fn settings(line: &str, environment: &str) -> Result<Settings, ConfigError> {
        let command = parse(line.split_whitespace().map(OsString::from)).unwrap();
        let Command::Serve(arguments) = command else {
            panic!("{line} does not serve")
        };
        let environment = environment.split_whitespace().map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (OsString::from(name), OsString::from(value))
        });
        Settings::new(&arguments, environment, None)
    }

    fn complaint(line: &str, environment: &str) -> String {
        settings(line, environment).unwrap_err().to_string()
    }

    /// A value that is not the default, and fits to the other defaults.
    fn sample(flag: &Flag) -> Option<&'static str> {
        Some(match flag.value {
            // No less than one client may owe.
            Some("SIZE") if flag.name == "max-total-buffer" => "8M",
            Some("MODE") if flag.name == "redis-mode" => "stream",
            Some("URL") => "redis://localhost",
            Some("ORDER") => "local",
            Some("FORMAT") => "raw",
            Some("ADDR") => "[::]:9000",
            Some("PATH") => "/chat",
            Some("ORIGIN") => "https://example.com",
            Some("NAME") => "chat.v1",
            Some("SIZE") => "512K",
            Some("COUNT") => "77",
            Some("DURATION") => "11s",
            Some("MODE") => "600",
            Some("RATE") => "5:9",
            Some("FILE") => "/a/file",
            Some("CIDR") => "10.0.0.0/8",
            Some("WHO") => "token",
            Some("HOW") => "close",
            Some("WHAT") => "latest",
            Some(value) => panic!("no sample of a {value}"),
            None => return None,
        })
    }

    #[test]
    fn every_flag_and_every_variable_changes_something_and_the_same() {
        for flag in FLAGS {
            let Some(variable) = flag.variable() else {
                continue;
            };
            let line = sample(flag).map_or(format!("--{}", flag.name), |value| {
                format!("--{}={value}", flag.name)
            });
            let mut pair = format!("{variable}={}", sample(flag).unwrap_or("yes"));
            // What another flag is needed for comes with it.
            let (line, untouched) = if flag.name == "proxy-protocol" {
                pair += " FANFARE_TRUSTED_PROXY=::1";
                (
                    line + " --trusted-proxy ::1",
                    settings("--trusted-proxy ::1", "").unwrap(),
                )
            } else {
                (line, settings("", "").unwrap())
            };
            let by_flag = settings(&line, "").unwrap();
            assert_ne!(by_flag, untouched, "{line}");
            assert_eq!(settings("", &pair), Ok(by_flag), "{pair}");
            let empty = format!("{variable}=");
            assert_eq!(settings("", &empty), settings("", ""), "{empty}");
        }
    }

    #[test]
    fn the_defaults_in_the_table_are_the_library_s() {
        let untouched = settings("", "").unwrap();
        for flag in FLAGS.iter().filter(|flag| flag.value.is_some()) {
            if matches!(flag.name, "max-connections" | "subprotocol" | "unix-mode") {
                continue;
            }
            let line = format!("--{}={}", flag.name, flag.default);
            assert_eq!(settings(&line, "").as_ref(), Ok(&untouched), "{line}");
        }
    }

    #[test]
    fn a_flag_wins_over_its_variable_even_over_a_broken_one() {
        let by_flag = settings("--path /a", "").unwrap();
        assert_eq!(settings("--path /a", "FANFARE_PATH=/b").unwrap(), by_flag);
        assert_eq!(settings("--path /a", "FANFARE_PATH=b").unwrap(), by_flag);
        assert_eq!(
            complaint("", "FANFARE_PATH=b").split(": ").next(),
            Some("FANFARE_PATH")
        );
        let loud = settings("-v", "FANFARE_QUIET=1").unwrap();
        assert_eq!(loud.log_level, LevelFilter::Debug);
    }

    #[test]
    fn repeated_values_add_up_and_of_others_the_last_wins() {
        let line = "--listen 127.0.0.1:1 --listen unix:/run/f.sock";
        let listen = settings(line, "").unwrap().server.listen;
        let same = "FANFARE_LISTEN=127.0.0.1:1,unix:/run/f.sock";
        assert_eq!(listen, settings("", same).unwrap().server.listen);
        assert_eq!(listen.len(), 2);
        let settings = settings("--max-rooms 1 --max-rooms 2", "").unwrap();
        assert_eq!(settings.server.hub.max_rooms, 2);
    }

    #[test]
    fn switches_can_be_off_in_the_environment() {
        let environment = "FANFARE_NO_ECHO=off FANFARE_NO_DEMO=False FANFARE_VERBOSE=0";
        assert_eq!(settings("", environment), settings("", ""));
        assert_eq!(
            complaint("", "FANFARE_NO_ECHO=nope"),
            "FANFARE_NO_ECHO: 'nope' is neither 1, true, yes, on nor 0, false, no, off"
        );
    }

    #[test]
    fn loudness() {
        let level = |line: &str| settings(line, "").unwrap().log_level;
        assert_eq!(level(""), LevelFilter::Info);
        assert_eq!(level("-q"), LevelFilter::Warn);
        assert_eq!(level("-v"), LevelFilter::Debug);
        assert_eq!(level("-vv"), LevelFilter::Trace);
        assert_eq!(complaint("-v -q", ""), "--verbose contradicts --quiet");
    }

    #[test]
    fn only_what_says_so_may_be_zero() {
        assert!(settings("--ping-interval 0", "").is_ok());
        for flag in FLAGS {
            if matches!(flag.value, Some("SIZE" | "COUNT" | "DURATION")) {
                let result = settings(&format!("--{} 0", flag.name), "");
                assert_eq!(
                    result.is_ok(),
                    flag.name == "ping-interval" || flag.default == "0",
                    "{}",
                    flag.name
                );
            }
        }
        assert_eq!(
            complaint("--write-timeout 0ms", ""),
            "--write-timeout: must not be 0"
        );
    }

    #[test]
    fn errors_name_the_setting_and_the_value() {
        for (line, error) in [
            (
                "--max-message-size abc",
                "--max-message-size: 'abc' is not a size like 64K or 1M",
            ),
            (
                "--listen 8080",
                "--listen: '8080' is not an address like 127.0.0.1:8080",
            ),
            (
                "--allow-origin a.com",
                "--allow-origin: 'a.com' is not an origin like https://",
            ),
            (
                "--path ws",
                "--path: 'ws' is refused: path must be like /ws",
            ),
            (
                "--subprotocol a/b",
                "--subprotocol: 'a/b' is refused: subprotocol must be a token",
            ),
            (
                "--pong-timeout 25s",
                "ping interval 25s is not longer than pong timeout 25s",
            ),
            (
                "--max-client-buffer 64K",
                "max client buffer 65536 is too small for",
            ),
            (
                "--trusted-proxy all",
                "--trusted-proxy: 'all' is not an address, a range like 10.0.0.0/8",
            ),
            ("--proxy-protocol", "proxy protocol needs a trusted proxy"),
        ] {
            let said = complaint(line, "");
            assert!(said.starts_with(error), "{line}: {said}");
        }
    }

    #[test]
    fn an_open_admin_address_is_warned_about() {
        let warnings = |line: &str| settings(line, "").unwrap().warnings;
        assert_eq!(warnings("--admin 127.0.0.1:1"), [""; 0]);
        assert_eq!(warnings("--admin unix:/run/a"), [""; 0]);
        assert_eq!(warnings("--admin 0.0.0.0:1 --tokens /a/file"), [""; 0]);
        assert_eq!(
            warnings("--admin 0.0.0.0:1"),
            [
                "admin=0.0.0.0:1 can be reached from other machines, and everybody there may \
                 publish: see --tokens"
            ]
        );
        assert_eq!(
            complaint("--admin 127.0.0.1:8080", ""),
            "admin address must not be one where clients connect"
        );
    }

    #[test]
    fn unknown_variables_are_warned_about_and_others_are_not_ours() {
        let settings = settings("", "PATH=/bin FANFARE_XYZ=1 FANFARE_LISTN=x FANFARE_HELP=1");
        assert_eq!(
            settings.unwrap().warnings,
            [
                "unknown variable FANFARE_HELP",
                "unknown variable FANFARE_LISTN, did you mean FANFARE_LISTEN?",
                "unknown variable FANFARE_XYZ",
            ]
        );
    }
}
