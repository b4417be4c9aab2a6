//! Other settings while the server runs.

#[cfg(feature = "redis")]
mod redis;

use std::io;

use super::config::{ListenAddress, ServerConfig};
use super::signals::{self, Signals};
#[cfg(all(feature = "redis", feature = "tls"))]
use super::tls::TlsClientConfig;
#[cfg(feature = "tls")]
use super::tls::TlsConfig;
use super::{RELOADS, Server, report};
use crate::hub::{Change, Changes, HubConfigError, Setting};

impl Server {
    /// From now on SIGHUP asks for other settings instead of ending the process: see
    /// [`run_until_reload`](Self::run_until_reload); [`run`](Self::run) has none and goes on. It is
    /// caught for good, as by [`stop_on_signals`](Self::stop_on_signals).
    pub fn reload_on_signal(&mut self) -> io::Result<()> {
        let signals = Signals::new(self.poll.registry(), RELOADS, signals::RELOAD)?;
        self.reloads = Some(signals);
        Ok(())
    }

    /// Whether SIGHUP has come since the last call, once or many times. For those who call
    /// [`turn`](Self::turn) themselves. A server that is stopping ignores it, and says so in the
    /// log.
    pub fn take_reload(&mut self) -> bool {
        let wants_reload = std::mem::take(&mut self.wants_reload);
        if wants_reload && self.stop.is_some() {
            report::reload_ignored();
            return false;
        }
        wants_reload
    }

    /// Replaces the settings while the server runs, and returns what has changed. For what that
    /// means to those who are connected see [`Hub::reconfigure`](crate::Hub::reconfigure).
    ///
    /// `listen`, `admin`, `unix_mode`, `reuse_port`, whether TLS is spoken at all, and all of the
    /// backplane stay as they are; changes of them are returned as those that
    /// [need a restart](Change::needs_restart). A stop that is under way goes on as it was begun.
    ///
    /// # Errors
    /// The first relation between the settings that does not hold; nothing has changed then.
    pub fn reconfigure(&mut self, config: ServerConfig) -> Result<Vec<Change>, HubConfigError> {
        config.check()?;
        let mut changes = Changes::default();
        self.config.note_changes(&config, &mut changes);
        if config.hub != self.config.hub {
            let now = self.clock.now();
            self.hub.reconfigure(config.hub.clone(), now)?;
            let max = config.hub.limits.max_message_size;
            self.mailbox.set_max_message_size(max);
        }
        if config.accept_rate != self.config.accept_rate {
            let now = self.clock.now();
            self.pace.set_rate(config.accept_rate, now);
        }
        let old = std::mem::replace(&mut self.config, config);
        self.config.listen = old.listen;
        self.config.admin = old.admin;
        self.config.unix_mode = old.unix_mode;
        self.config.reuse_port = old.reuse_port;
        #[cfg(feature = "tls")]
        if self.config.tls.is_some() != old.tls.is_some() {
            self.config.tls = old.tls;
        }
        #[cfg(feature = "redis")]
        {
            self.config.backplane = old.backplane;
        }
        #[cfg(all(feature = "redis", feature = "tls"))]
        {
            self.config.backplane_tls = old.backplane_tls;
        }
        Ok(changes.0)
    }
}

#[cfg(feature = "tls")]
impl Setting for TlsConfig {
    fn shown(&self) -> String {
        self.fingerprint()
    }
}

#[cfg(all(feature = "redis", feature = "tls"))]
impl Setting for TlsClientConfig {
    fn shown(&self) -> String {
        self.fingerprint()
    }
}

impl ServerConfig {
    fn note_changes(&self, new: &Self, changes: &mut Changes) {
        // Without `..`, so that no setting is forgotten.
        let Self {
            hub,
            listen,
            admin,
            accept_rate,
            unix_mode,
            reuse_port,
            #[cfg(feature = "tls")]
            tls,
            #[cfg(feature = "redis")]
            backplane,
            #[cfg(all(feature = "redis", feature = "tls"))]
            backplane_tls,
            drain_delay,
            drain_time,
            shutdown_timeout,
        } = new;
        self.hub.note_changes(hub, changes);
        changes.at_restart("listen", &self.listen, listen);
        changes.at_restart("admin", &self.admin, admin);
        changes.live("accept_rate", &self.accept_rate, accept_rate);
        changes.at_restart("unix_mode", &self.unix_mode, unix_mode);
        changes.at_restart("reuse_port", &self.reuse_port, reuse_port);
        #[cfg(feature = "tls")]
        if self.tls.is_some() == tls.is_some() {
            changes.live("tls", &self.tls, tls);
        } else {
            changes.at_restart("tls", &self.tls, tls);
        }
        #[cfg(feature = "redis")]
        redis::note_changes(self.backplane.as_ref(), backplane.as_ref(), changes);
        #[cfg(all(feature = "redis", feature = "tls"))]
        changes.at_restart("backplane_tls", &self.backplane_tls, backplane_tls);
        changes.live("drain_delay", &self.drain_delay, drain_delay);
        changes.live("drain_time", &self.drain_time, drain_time);
        changes.live("shutdown_timeout", &self.shutdown_timeout, shutdown_timeout);
    }
}

impl Setting for ListenAddress {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Setting for u32 {
    fn shown(&self) -> String {
        format!("{self:o}")
    }
}
