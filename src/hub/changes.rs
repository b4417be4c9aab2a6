//! What is different between two settings, in words for a log.

use std::fmt;
use std::time::Duration;

use super::admission::RejectWith;
use super::config::{HubConfig, SlowPolicy};
use super::rate::Rate;
use super::trust::TrustedProxy;
use crate::protocol::{Handshake, Limits, OriginPattern};

/// A setting that has another value than before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The name of the field.
    pub setting: &'static str,
    /// What it was.
    pub from: String,
    /// What it should be.
    pub to: String,
    /// It cannot be changed while the server runs, so it has not been.
    pub needs_restart: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}..{}", self.setting, self.from, self.to)
    }
}

/// Changes as they are found.
#[derive(Default)]
pub(crate) struct Changes(pub(crate) Vec<Change>);

impl Changes {
    /// Takes note of a setting that can be changed while the server runs.
    pub(crate) fn live<T: Setting + PartialEq>(&mut self, setting: &'static str, from: &T, to: &T) {
        self.note(setting, [from, to], false);
    }

    /// The same for one that cannot.
    pub(crate) fn at_restart<T: Setting + PartialEq>(
        &mut self,
        setting: &'static str,
        from: &T,
        to: &T,
    ) {
        self.note(setting, [from, to], true);
    }

    fn note<T: Setting + PartialEq>(
        &mut self,
        setting: &'static str,
        [from, to]: [&T; 2],
        needs_restart: bool,
    ) {
        if from != to {
            self.0.push(Change {
                setting,
                from: from.shown(),
                to: to.shown(),
                needs_restart,
            });
        }
    }
}

impl HubConfig {
    /// What is different in `new`. Everything can be changed while the server runs.
    pub(crate) fn note_changes(&self, new: &Self, changes: &mut Changes) {
        // Without `..`, so that no setting is forgotten.
        let Self {
            limits: Limits { max_message_size },
            handshake:
                Handshake {
                    path,
                    allowed_origins,
                    subprotocols,
                },
            demo,
            max_client_buffer,
            max_connections,
            max_rooms,
            ping_interval,
            pong_timeout,
            handshake_timeout,
            write_timeout,
            close_timeout,
            reject_with,
            max_connections_per_ip,
            max_handshakes,
            message_rate,
            byte_rate,
            max_room_members,
            max_total_buffer,
            slow_policy,
            trusted_proxies,
            proxy_protocol,
        } = new;
        let limits = &self.limits;
        changes.live(
            "max_message_size",
            &limits.max_message_size,
            max_message_size,
        );
        let handshake = &self.handshake;
        changes.live("path", &handshake.path, path);
        changes.live(
            "allowed_origins",
            &handshake.allowed_origins,
            allowed_origins,
        );
        changes.live("subprotocols", &handshake.subprotocols, subprotocols);
        changes.live("demo", &self.demo, demo);
        changes.live(
            "max_client_buffer",
            &self.max_client_buffer,
            max_client_buffer,
        );
        changes.live("max_connections", &self.max_connections, max_connections);
        changes.live("max_rooms", &self.max_rooms, max_rooms);
        changes.live("ping_interval", &self.ping_interval, ping_interval);
        changes.live("pong_timeout", &self.pong_timeout, pong_timeout);
        changes.live(
            "handshake_timeout",
            &self.handshake_timeout,
            handshake_timeout,
        );
        changes.live("write_timeout", &self.write_timeout, write_timeout);
        changes.live("close_timeout", &self.close_timeout, close_timeout);
        changes.live("reject_with", &self.reject_with, reject_with);
        let per_ip = &self.max_connections_per_ip;
        changes.live("max_connections_per_ip", per_ip, max_connections_per_ip);
        changes.live("max_handshakes", &self.max_handshakes, max_handshakes);
        changes.live("message_rate", &self.message_rate, message_rate);
        changes.live("byte_rate", &self.byte_rate, byte_rate);
        changes.live("max_room_members", &self.max_room_members, max_room_members);
        changes.live("max_total_buffer", &self.max_total_buffer, max_total_buffer);
        changes.live("slow_policy", &self.slow_policy, slow_policy);
        changes.live("trusted_proxies", &self.trusted_proxies, trusted_proxies);
        changes.live("proxy_protocol", &self.proxy_protocol, proxy_protocol);
    }
}

/// A value as a log shows it: without blanks.
pub(crate) trait Setting {
    fn shown(&self) -> String;
}

impl Setting for usize {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Setting for bool {
    fn shown(&self) -> String {
        if *self { "on" } else { "off" }.to_owned()
    }
}

impl Setting for Duration {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

impl Setting for String {
    fn shown(&self) -> String {
        self.clone()
    }
}

impl Setting for OriginPattern {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Setting for TrustedProxy {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Setting for Rate {
    fn shown(&self) -> String {
        format!("{}:{}", self.per_second, self.burst)
    }
}

impl Setting for RejectWith {
    fn shown(&self) -> String {
        match self {
            Self::Status => "status",
            Self::Close => "close",
        }
        .to_owned()
    }
}

impl Setting for SlowPolicy {
    fn shown(&self) -> String {
        match self {
            Self::Close => "close",
            Self::Drop => "drop",
            Self::Latest => "latest",
        }
        .to_owned()
    }
}

impl<T: Setting> Setting for Option<T> {
    fn shown(&self) -> String {
        self.as_ref().map_or("none".to_owned(), Setting::shown)
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn shown(&self) -> String {
        if self.is_empty() {
            return "none".to_owned();
        }
        let shown: Vec<_> = self.iter().map(Setting::shown).collect();
        shown.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The changes that a log would show.
    fn changes(change: impl FnOnce(&mut HubConfig)) -> String {
        let (old, mut changes) = (HubConfig::default(), Changes::default());
        let mut new = old.clone();
        change(&mut new);
        old.note_changes(&new, &mut changes);
        let shown: Vec<_> = changes.0.iter().map(ToString::to_string).collect();
        shown.join(" ")
    }

    #[test]
    fn equal_settings_differ_in_nothing() {
        assert_eq!(changes(|_| {}), "");
    }

    #[test]
    fn numbers_lists_and_what_may_be_off_are_shown() {
        let shown = changes(|config| {
            config.handshake.allowed_origins = ["*", "https://*.a.com", "http://a.com:81"]
                .map(|origin| origin.parse().unwrap())
                .into();
            config.max_rooms = 2;
            config.ping_interval = Duration::from_millis(30_500);
            config.message_rate = Some(Rate {
                per_second: 5,
                burst: 9,
            });
            config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
            config.proxy_protocol = true;
        });
        assert_eq!(
            shown,
            "allowed_origins=same-origin..*,https://*.a.com,http://a.com:81 \
             max_rooms=65536..2 ping_interval=25s..30.5s message_rate=none..5:9 \
             trusted_proxies=none..10.0.0.0/8,::1/128 proxy_protocol=off..on"
        );
    }
}
