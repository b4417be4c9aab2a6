//! Settings that are read again while the server runs, on SIGHUP.
//!
//! Everything that is said, and every file that settings name, is read and checked first. Only if
//! all of it is in order it takes the place of what was there: a server that runs is never the
//! worse for a bad file.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use fanfare::{Broadcast, Outcome, Server};
use log::{info, warn};

use crate::access::{Access, Gate};
use crate::certificates;
use crate::cli::Arguments;
use crate::config::{AccessSettings, ConfigError, ConfigFile, Settings, TlsFiles};
use crate::descriptors::settle_max_connections;
use crate::redis;

/// All that can be replaced, read and checked.
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    /// Whether the file of settings says something.
    pub(crate) has_file: bool,
    pub(crate) access: Access,
}

impl Loaded {
    /// Reads what the command line, the environment, and the files that they name say.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub(crate) fn load(arguments: &Arguments) -> Result<Self, ConfigError> {
        let environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        let file = ConfigFile::read(arguments, &environment)?;
        let mut settings = Settings::new(arguments, environment, file.as_ref())?;
        certificates::load(&settings.tls, &mut settings.server)
            .map_err(ConfigError::Contradiction)?;
        redis::load(&mut settings).map_err(ConfigError::Contradiction)?;
        let access = Access::load(&settings.access).map_err(ConfigError::Contradiction)?;
        Ok(Self {
            settings,
            has_file: file.is_some_and(|file| !file.is_empty()),
            access,
        })
    }
}

/// What is run, and what it runs with.
pub(crate) struct Service<'a> {
    pub(crate) server: Server,
    pub(crate) arguments: &'a Arguments,
    pub(crate) descriptor_limit: Option<u64>,
    pub(crate) gate: Gate<Broadcast>,
    pub(crate) has_file: bool,
    /// What holds now.
    pub(crate) settings: Settings,
}

impl Service<'_> {
    /// Runs until the server has stopped; whenever SIGHUP comes, everything is loaded again.
    ///
    /// # Errors
    /// As [`Server::run`].
    pub(crate) fn run(mut self) -> io::Result<Outcome> {
        loop {
            if let Some(outcome) = self.server.run_until_reload(&mut self.gate)? {
                return Ok(outcome);
            }
            self.server.notify_reloading();
            match self.reload() {
                Ok(changes) if changes.is_empty() => info!("reloaded, nothing changed"),
                Ok(changes) => info!("reloaded {}", changes.join(" ")),
                Err(error) => warn!("not reloaded, everything stays as it was: {error}"),
            }
            self.server.notify_ready();
        }
    }

    /// Loads everything again and puts it into its place; returns what has changed.
    fn reload(&mut self) -> Result<Vec<String>, Box<dyn Error>> {
        // 1. What can fail.
        let loaded = Loaded::load(self.arguments)?;
        let Loaded {
            mut settings,
            has_file,
            access,
        } = loaded;
        if self.has_file && !has_file {
            // Somebody is about to write it, or a disk was full: credentials may be named in it.
            return Err("the file of settings is empty".into());
        }
        settle_max_connections(&mut settings, self.descriptor_limit);
        let server_changes = self.server.reconfigure(settings.server.clone())?;
        // 2. What cannot.
        let mut report = Report::default();
        let gate = Gate::new(Broadcast::new(settings.echo), access);
        if self.gate.has_other_credentials_than(&gate) {
            report.note(&"credentials=other", false);
        }
        self.gate = gate;
        self.has_file = has_file;
        // 3. What has come of it.
        for change in server_changes {
            report.note(&change, change.needs_restart);
        }
        report.compare(&self.settings, &settings);
        // What needs a restart is told as often as somebody wants it.
        settings.log_level = self.settings.log_level;
        self.settings = settings;
        Ok(report.changes)
    }
}

/// What a reload has changed. What needs a restart is warned about at once.
#[derive(Default)]
struct Report {
    changes: Vec<String>,
}

impl Report {
    fn note(&mut self, change: &impl Display, needs_restart: bool) {
        if needs_restart {
            warn!("{change} needs a restart");
        } else {
            self.changes.push(change.to_string());
        }
    }

    fn live<T: PartialEq>(&mut self, name: &str, [from, to]: [&T; 2], show: fn(&T) -> String) {
        if from != to {
            self.note(&format_args!("{name}={}..{}", show(from), show(to)), false);
        }
    }

    /// What is no setting of the server's.
    fn compare(&mut self, old: &Settings, new: &Settings) {
        // Without `..`, so that no setting is forgotten.
        let Settings {
            server: _,
            max_connections: _,
            echo,
            access:
                AccessSettings {
                    publish,
                    tokens,
                    token_in_query,
                    ticket_key,
                    subprotocols: _,
                },
            tls:
                TlsFiles {
                    cert,
                    key,
                    client_ca,
                },
            // What holds of it is the server's.
            redis: _,
            file: _,
            explain_memory: _,
            log_level,
            warnings: _,
        } = new;
        self.live("echo", [&old.echo, echo], switch);
        let (access, tls) = (&old.access, &old.tls);
        self.live("publish", [&access.publish, publish], |publish| {
            format!("{publish:?}").to_ascii_lowercase()
        });
        self.live("tokens", [&access.tokens, tokens], place);
        self.live(
            "token_in_query",
            [&access.token_in_query, token_in_query],
            switch,
        );
        self.live("ticket_key", [&access.ticket_key, ticket_key], place);
        self.live("tls_cert", [&tls.cert, cert], place);
        self.live("tls_key", [&tls.key, key], place);
        self.live("tls_client_ca", [&tls.client_ca, client_ca], place);
        if old.log_level != *log_level {
            let was = old.log_level;
            self.note(&format_args!("log_level={was}..{log_level}"), true);
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "all values are shown by reference"
)]
fn switch(is_on: &bool) -> String {
    if *is_on { "on" } else { "off" }.to_owned()
}

/// Where a file is; what is in it is nobody's business.
#[expect(clippy::ref_option, reason = "as the settings have it")]
fn place(path: &Option<PathBuf>) -> String {
    path.as_ref()
        .map_or("none".to_owned(), |path| format!("{:?}", path.display()))
}
