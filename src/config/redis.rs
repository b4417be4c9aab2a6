//! What is said of Redis.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::values::{count, count_limit, file, size, timeout, word};

/// What has Redis' password. It is no flag's: a command line is seen by all who see the process.
pub(crate) const PASSWORD_VARIABLE: &str = "FANFARE_REDIS_PASSWORD";

/// What is said of Redis, whether or not this binary knows what that is. The defaults are those of
/// the library, which may not be there to say them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RedisSettings {
    pub(crate) url: Option<Secret>,
    /// What [`PASSWORD_VARIABLE`] says.
    pub(crate) password: Option<Secret>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// `--redis-mode stream`.
    pub(crate) is_stream: bool,
    /// `--redis-delivery local`.
    pub(crate) is_local: bool,
    /// `--redis-format raw`.
    pub(crate) is_raw: bool,
    pub(crate) channel: String,
    pub(crate) shards: Option<usize>,
    pub(crate) queue_bytes: usize,
    pub(crate) queue_max_age: Duration,
    pub(crate) echo_deadline: Duration,
    pub(crate) op_timeout: Duration,
    pub(crate) stream_maxlen: usize,
    pub(crate) catchup_max: usize,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: None,
            password: None,
            password_file: None,
            ca: None,
            cert: None,
            key: None,
            is_stream: false,
            is_local: false,
            is_raw: false,
            channel: "websocket-broadcast".to_owned(),
            shards: None,
            queue_bytes: 16 << 20,
            queue_max_age: Duration::from_secs(30),
            echo_deadline: Duration::from_millis(250),
            op_timeout: Duration::from_secs(1),
            stream_maxlen: 100_000,
            catchup_max: 100_000,
        }
    }
}

impl RedisSettings {
    /// Sets what a flag says, if it is one of these.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "redis" => self.url = url(value)?,
            "redis-password-file" => self.password_file = file(value)?,
            "redis-ca" => self.ca = file(value)?,
            "redis-cert" => self.cert = file(value)?,
            "redis-key" => self.key = file(value)?,
            "redis-mode" => self.is_stream = word(value, &[("pubsub", false), ("stream", true)])?,
            "redis-delivery" => {
                self.is_local = word(value, &[("ordered", false), ("local", true)])?;
            }
            "redis-format" => self.is_raw = word(value, &[("envelope", false), ("raw", true)])?,
            "redis-channel" => value.clone_into(&mut self.channel),
            "redis-shards" => self.shards = count_limit(value)?,
            "redis-queue-bytes" => self.queue_bytes = size(value)?,
            "redis-queue-max-age" => self.queue_max_age = timeout(value)?,
            "redis-echo-deadline" => self.echo_deadline = timeout(value)?,
            "redis-op-timeout" => self.op_timeout = timeout(value)?,
            "redis-stream-maxlen" => self.stream_maxlen = count(value)?,
            "redis-catchup-max" => self.catchup_max = count(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes what [`PASSWORD_VARIABLE`] says.
    pub(super) fn set_password(&mut self, value: OsString) -> Result<(), String> {
        let value = value.into_string();
        let value = value.map_err(|_| "the value is not UTF-8".to_owned())?;
        self.password = Some(value).filter(|it| !it.is_empty()).map(Secret);
        Ok(())
    }

    /// A warning if something is not as it was meant. `is_in_arguments`: the URL stands on the
    /// command line.
    pub(super) fn warning(&self, is_in_arguments: bool) -> Option<String> {
        if self.password.is_some() && self.url.is_none() {
            return Some(format!("{PASSWORD_VARIABLE} means nothing without --redis"));
        }
        (is_in_arguments && self.has_password_in_url()).then(|| {
            format!(
                "the password in --redis is seen by all who see this process: see \
                 --redis-password-file and {PASSWORD_VARIABLE}"
            )
        })
    }

    /// Whether the URL holds a password, as far as that can be seen without understanding it.
    fn has_password_in_url(&self) -> bool {
        let url = self.url.as_ref().map_or("", Secret::reveal);
        let rest = url.split_once(':').map_or("", |(_, rest)| rest);
        rest.rsplit_once('@')
            .is_some_and(|(who, _)| who.contains(':'))
    }

    /// The first flag that says something else than what holds without it, the URL's aside.
    pub(crate) fn first_detail(&self) -> Option<&'static str> {
        // Without `..`, so that no setting is forgotten.
        let Self {
            url: _,
            password: _,
            password_file,
            ca,
            cert,
            key,
            is_stream,
            is_local,
            is_raw,
            channel,
            shards,
            queue_bytes,
            queue_max_age,
            echo_deadline,
            op_timeout,
            stream_maxlen,
            catchup_max,
        } = self;
        let unsaid = Self::default();
        let details = [
            ("--redis-password-file", password_file.is_some()),
            ("--redis-ca", ca.is_some()),
            ("--redis-cert", cert.is_some()),
            ("--redis-key", key.is_some()),
            ("--redis-mode", *is_stream),
            ("--redis-delivery", *is_local),
            ("--redis-format", *is_raw),
            ("--redis-channel", *channel != unsaid.channel),
            ("--redis-shards", shards.is_some()),
            ("--redis-queue-bytes", *queue_bytes != unsaid.queue_bytes),
            (
                "--redis-queue-max-age",
                *queue_max_age != unsaid.queue_max_age,
            ),
            (
                "--redis-echo-deadline",
                *echo_deadline != unsaid.echo_deadline,
            ),
            ("--redis-op-timeout", *op_timeout != unsaid.op_timeout),
            (
                "--redis-stream-maxlen",
                *stream_maxlen != unsaid.stream_maxlen,
            ),
            ("--redis-catchup-max", *catchup_max != unsaid.catchup_max),
        ];
        let found = details.into_iter().find(|(_, is_said)| *is_said);
        found.map(|(flag, _)| flag)
    }
}

/// Reads the URL, unless it is `none`. The error does not name it: it may hold a password.
fn url(text: &str) -> Result<Option<Secret>, String> {
    match text {
        "" => Err("'' is no URL: say none if there is none".to_owned()),
        "none" => Ok(None),
        text => {
            #[cfg(feature = "redis")]
            text.parse::<fanfare::backplane::BackplaneConfig>()
                .map_err(|error| error.to_string())?;
            Ok(Some(Secret(text.to_owned())))
        }
    }
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> RedisSettings {
        RedisSettings {
            url: Some(Secret(url.to_owned())),
            ..RedisSettings::default()
        }
    }

    #[test]
    fn a_password_in_a_url_is_seen() {
        for url in [
            "redis://:pw@h",
            "redis://app:pw@h:1/5",
            "unix://app:pw@/run/r",
            "redis+sentinel://:pw@a:1,b:2/m",
        ] {
            assert!(of(url).has_password_in_url(), "{url}");
        }
        for url in [
            "redis://h:1",
            "redis://app@h:1",
            "unix:///run/r",
            "redis://[::1]:1",
        ] {
            assert!(!of(url).has_password_in_url(), "{url}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let mut settings = of("redis://:hunter2@h");
        settings.set_password("hunter2".into()).unwrap();
        let shown = format!("{settings:?}");
        assert!(
            shown.contains("Secret(..)") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[cfg(feature = "redis")]
    #[test]
    fn a_url_that_is_none_is_refused_without_being_named() {
        let error = url("redis://:hunter2@h/x").unwrap_err();
        assert!(
            error.starts_with("the database in the URL is not a number"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
}
