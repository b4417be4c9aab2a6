//! The log: one line per event, `key=value`, never a payload.

use std::fmt::Write;
use std::io;
use std::time::Instant;

use log::{Level, debug, info, log_enabled, warn};

use super::Outcome;
use super::config::{ListenAddress, ServerConfig};
use super::throttle::Throttle;
use crate::hub::{ClientId, Departure, Disconnect, Hub, MAX_ADMIN, Peer};
use crate::protocol::HandshakeError;

/// The warnings that clients can cause, each at its own pace.
#[derive(Debug, Default)]
pub(super) struct Report {
    full: Throttle,
    accept: Throttle,
    origin: Throttle,
    slow: Throttle,
    too_big: Throttle,
    proxy: Throttle,
    has_told_of_untrusted: bool,
    admin: Throttle,
    crowded: Throttle,
    rate: Throttle,
    evicted: Throttle,
}

pub(super) fn listening(address: &ListenAddress, is_tls: bool) {
    let scheme = if is_tls { "https" } else { "http" };
    match address {
        ListenAddress::Tcp(address) => info!("listening on {scheme}://{address}/"),
        _ => info!("listening on {address}"),
    }
}

pub(super) fn stopping(hub: &Hub, config: &ServerConfig) {
    info!(
        "stopping clients={} drain_delay={:?} drain_time={:?} shutdown_timeout={:?}",
        hub.len(),
        config.drain_delay,
        config.drain_time,
        config.shutdown_timeout,
    );
}

pub(super) fn stopped_listening(hub: &Hub) {
    info!("no longer listening clients={}", hub.len());
}

pub(super) fn reload_ignored() {
    info!("SIGHUP ignored: the server is stopping");
}

/// Not "listening": that line tells where clients connect.
pub(super) fn admin(address: &ListenAddress) {
    match address {
        ListenAddress::Tcp(address) => info!("admin at http://{address}/"),
        _ => info!("admin at {address}"),
    }
}

/// Every connection is either left or has gone for one of the causes, which are told if they are
/// not 0.
pub(super) fn stopped(hub: &Hub, outcome: Outcome) {
    let metrics = hub.metrics();
    let mut causes = String::new();
    for (cause, count) in metrics.departures_by_cause().filter(|cause| cause.1 > 0) {
        // Writing to a String cannot fail.
        let _ = write!(causes, " {cause}={count}");
    }
    info!(
        "stopped outcome={} left={} connections={} messages_in={} messages_out={}{causes}",
        match outcome {
            Outcome::Drained => "drained",
            Outcome::TimedOut => "timeout",
            Outcome::Interrupted => "interrupted",
        },
        hub.len(),
        metrics.connections_accepted,
        metrics.messages_received,
        metrics.messages_sent,
    );
}

pub(super) fn opened(hub: &Hub, id: ClientId) {
    if let (Some(peer), Some(room)) = (hub.peer(id), hub.room_name_of(id)) {
        debug!("open id={id} peer={peer} room={room:?}");
    }
}

/// The reason may quote the client's certificate.
pub(super) fn handshake_failed(hub: &Hub, id: ClientId, error: &io::Error) {
    if let Some(peer) = hub.peer(id) {
        debug!(
            "tls handshake failed id={id} peer={peer} why={:?}",
            error.to_string()
        );
    }
}

fn gone(departure: &Departure) {
    let Departure {
        id,
        peer,
        why,
        age,
        traffic,
        peak_backlog,
        ..
    } = departure;
    // Whoever was refused had none.
    let room = departure
        .room
        .as_ref()
        .map_or(String::new(), |room| format!(" room={room:?}"));
    debug!(
        "gone id={id} peer={peer}{room} cause={} age={:.3}s messages_in={} bytes_in={} \
         messages_out={} messages_dropped={} bytes_out={} peak_backlog={peak_backlog} ({why})",
        why.label(),
        age.as_secs_f64(),
        traffic.messages_received,
        traffic.bytes_received,
        traffic.messages_sent,
        traffic.messages_dropped,
        traffic.bytes_sent,
    );
}

impl Report {
    pub(super) fn full(&mut self, clients: usize, now: Instant) {
        if let Some(suppressed) = self.full.admit(now) {
            warn!(
                "connection dropped, raise --max-connections: clients={clients} \
                 suppressed={suppressed}"
            );
        }
    }

    pub(super) fn admin_full(&mut self, now: Instant) {
        if let Some(suppressed) = self.admin.admit(now) {
            warn!(
                "admin connection dropped, there are as many as may be: connections={MAX_ADMIN} \
                 suppressed={suppressed}"
            );
        }
    }

    pub(super) fn crowded(&mut self, peer: Peer, now: Instant) {
        if let Some(suppressed) = self.crowded.admit(now) {
            warn!("too many connections from this address: peer={peer} suppressed={suppressed}");
        }
    }

    pub(super) fn cannot_accept(&mut self, error: &io::Error, now: Instant) {
        if let Some(suppressed) = self.accept.admit(now) {
            warn!("cannot accept, resting for 100ms: {error} suppressed={suppressed}");
        }
    }

    pub(super) fn too_big(&mut self, size: usize, now: Instant) {
        if let Some(suppressed) = self.too_big.admit(now) {
            warn!("published message dropped, max_message_size: {size} suppressed={suppressed}");
        }
    }

    /// Somebody says for whom it asks, and is not believed: told once, since whoever likes can do
    /// that, and an operator need not learn more than that a proxy may be missing.
    pub(super) fn untrusted(&mut self, hub: &Hub) {
        if self.has_told_of_untrusted {
            return;
        }
        if let Some(peer) = hub.first_untrusted() {
            self.has_told_of_untrusted = true;
            warn!(
                "X-Forwarded-For or Forwarded ignored, see --trusted-proxy: peer={peer} \
                 (told once)"
            );
        }
    }

    pub(super) fn departed(&mut self, departure: &Departure, now: Instant) {
        if departure.is_admin {
            let Departure { id, peer, why, .. } = departure;
            return debug!("admin gone id={id} peer={peer} ({why})");
        }
        if log_enabled!(Level::Debug) {
            gone(departure);
        }
        let Departure {
            id,
            peer,
            why,
            peak_backlog,
            ..
        } = departure;
        match why {
            Disconnect::TooSlow => {
                if let Some(suppressed) = self.slow.admit(now) {
                    warn!(
                        "client too slow: id={id} peer={peer} backlog={peak_backlog} \
                         suppressed={suppressed}"
                    );
                }
            }
            Disconnect::Refused(HandshakeError::OriginNotAllowed) => {
                if let Some(suppressed) = self.origin.admit(now) {
                    warn!(
                        "origin not allowed, see --allow-origin: peer={peer} \
                         suppressed={suppressed}"
                    );
                }
            }
            Disconnect::Refused(HandshakeError::InvalidProxyHeader) => {
                if let Some(suppressed) = self.proxy.admit(now) {
                    warn!(
                        "trusted proxy without a PROXY header, see --proxy-protocol: peer={peer} \
                         suppressed={suppressed}"
                    );
                }
            }
            Disconnect::Evicted => {
                if let Some(suppressed) = self.evicted.admit(now) {
                    warn!(
                        "too much is queued in all, dropped who owed the most, see \
                         --max-total-buffer: id={id} peer={peer} backlog={peak_backlog} \
                         suppressed={suppressed}"
                    );
                }
            }
            Disconnect::RateLimited => {
                if let Some(suppressed) = self.rate.admit(now) {
                    warn!("client over its rate: id={id} peer={peer} suppressed={suppressed}");
                }
            }
            Disconnect::Refused(HandshakeError::TooManyFromAddress) => self.crowded(*peer, now),
            Disconnect::Refused(
                error @ (HandshakeError::Full
                | HandshakeError::TooManyRooms
                | HandshakeError::TooManyHandshakes
                | HandshakeError::RoomFull),
            ) => {
                if let Some(suppressed) = self.full.admit(now) {
                    warn!("client refused, {error}: peer={peer} suppressed={suppressed}");
                }
            }
            _ => {}
        }
    }
}
