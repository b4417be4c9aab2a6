//! One member, from its first byte to its last.

mod id;

use std::time::{Duration, Instant};

use super::admin::AdminConnection;
use super::allowance::Allowance;
use super::config::{HubConfig, SlowPolicy};
use super::congestion::Behind;
use super::disconnect::Disconnect;
use super::outgoing::Outgoing;
use super::peer::Peer;
use super::room::RoomId;
use super::wheel::Tick;
pub use id::ClientId;

use crate::protocol::http::HeadBuffer;
use crate::protocol::{Connection, HandshakeError, ProxyHeader};

/// This much of a frame counts as a sign of life although the frame is not complete: a byte now
/// and then does not keep a connection.
const SIGN_OF_LIFE: u32 = 1024;

/// What one client said and was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Messages from the client.
    pub messages_received: u64,
    /// Bytes from the client, framing and handshake included.
    pub bytes_received: u64,
    /// Messages queued for the client.
    pub messages_sent: u64,
    /// Bytes that the transport took, framing and handshake included.
    pub bytes_sent: u64,
    /// Messages that were left out for the client, because it lagged.
    pub messages_dropped: u64,
}

/// How far a client has come.
///
/// ```text
///   ProxyHeader ──▶ Handshake ──▶ Open ──▶ Closing ──▶ Lingering ──▶ (doomed, reaped)
///                       │           └──────────────────────▲
///                       └──────────────────────────────────┘
/// ```
#[derive(Debug)]
pub(super) enum Phase {
    /// A trusted proxy is saying for whom it connects.
    ProxyHeader(ProxyHeader),
    /// The request head is arriving (CONNECTING, RFC 6455, section 4.1).
    Handshake(HeadBuffer),
    /// Messages go both ways.
    Open(Connection),
    /// Our Close is out and the client's is awaited.
    Closing(Connection),
    /// Our last word is queued. What still arrives is read and thrown away, since closing a socket
    /// with unread input would reset the connection and could destroy that last word.
    Lingering,
    /// An operator's: requests of plain HTTP, one after another.
    Admin(Box<AdminConnection>),
}

/// One connected client, as the hub sees it.
///
/// The fields stand in the order in which they lie in memory: first what every message to the
/// client touches, in as few cache lines as can be, which is what a large room costs.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Client {
    pub(super) id: ClientId,
    /// The turn in which it was last put on the list of those to be flushed.
    pub(super) named_in: u64,
    /// It will be reaped at the end of the turn, and hears nothing more.
    pub(super) doomed: bool,
    /// Nothing more will arrive.
    pub(super) input_ended: bool,
    /// Nothing more can be written: the driver was told to end the sending side, or could not.
    pub(super) output_ended: bool,
    /// It was accepted beyond some limit, to be told so.
    pub(super) surplus: Option<HandshakeError>,
    /// The driver knows of input that it has not read yet.
    pub(super) is_unread: bool,
    /// It is an operator's, and counts nowhere among clients.
    pub(super) is_admin: bool,
    /// What its phase will ask for when `due_at` has come: one thing at a time.
    next_due: Due,
    /// What is known of `peer`. It is here since there is a byte to spare.
    pub(super) address: AddressState,
    pub(super) outgoing: Outgoing,
    pub(super) traffic: Traffic,
    /// Since when the transport has taken nothing of what is owed.
    pub(super) stalled_since: Option<Instant>,
    /// The answer to the latest Ping of a client that does not read; sent when it does.
    pub(super) pong: Option<Box<[u8]>>,
    pub(super) phase: Phase,
    /// A Ping's is moved by every sign of life.
    due_at: Instant,
    /// Where the wheel's hint for this client is, if there is one. Older ones are stale.
    pub(super) hint: Option<Tick>,
    /// Bytes of an incomplete frame since the last sign of life.
    trickled: u32,
    /// Since when it has been behind, unless it has caught up.
    pub(super) behind: Option<Behind>,
    /// Why it leaves; set once, by what happens first.
    pub(super) cause: Option<Disconnect>,
    /// The room and the position in its list of members, from the upgrade to the reaping.
    pub(super) room: Option<(RoomId, u32)>,
    pub(super) accepted_at: Instant,
    /// Who connected; from the time when it is known, whom a trusted proxy connected for.
    pub(super) peer: Peer,
    /// What few have: absent unless one of it is there.
    pub(super) terms: Option<Box<Terms>>,
}

const _: () = assert!(
    std::mem::offset_of!(Client, phase) <= 3 * 64,
    "what a message touches lies in three cache lines"
);

/// How far it is known where a client is connected from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressState {
    /// A proxy that is believed may still say for whom it connects.
    Open,
    /// It will not change any more.
    Settled,
    /// The same, and the client is one of the address's connections.
    Counted,
}

/// What a client was let in with, where that is limited.
#[derive(Debug, Default)]
pub(super) struct Terms {
    /// When it must go. Gone when the closing has begun.
    pub(super) expires_at: Option<Instant>,
    /// What it may say by now, if that is limited and it has said something.
    pub(super) allowance: Allowance,
}

/// What a client's deadline asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The request head did not come in time.
    Handshake,
    /// Silence: ask whether it is there.
    Ping,
    /// It is not.
    Pong,
    /// It takes nothing.
    Write,
    /// It does not end the connection.
    Close,
    /// What it was admitted with has expired, whatever its phase asks for.
    Expiry,
    /// An operator's request, or the next one, did not come in time.
    Admin,
}

impl Client {
    pub(super) fn new(
        id: ClientId,
        peer: Peer,
        surplus: Option<HandshakeError>,
        config: &HubConfig,
        now: Instant,
    ) -> Self {
        Self {
            id,
            peer,
            address: AddressState::Open,
            phase: Phase::Handshake(HeadBuffer::default()),
            room: None,
            outgoing: Outgoing::new(config.slow_policy == SlowPolicy::Latest),
            pong: None,
            cause: None,
            doomed: false,
            named_in: 0,
            surplus,
            is_unread: false,
            is_admin: false,
            input_ended: false,
            output_ended: false,
            accepted_at: now,
            next_due: Due::Handshake,
            due_at: now + config.handshake_timeout,
            stalled_since: None,
            trickled: 0,
            behind: None,
            hint: None,
            traffic: Traffic::default(),
            terms: None,
        }
    }

    /// An operator's connection, whose first request is due like a client's.
    pub(super) fn admin(id: ClientId, peer: Peer, config: &HubConfig, now: Instant) -> Self {
        let mut client = Self::new(id, peer, None, config, now);
        client.is_admin = true;
        client.phase = Phase::Admin(Box::default());
        client.next_due = Due::Admin;
        client
    }

    /// Waits for the next step of an operator until then.
    pub(super) fn expect(&mut self, deadline: Instant) {
        self.next_due = Due::Admin;
        self.due_at = deadline;
    }

    /// Whether it owes something that its transport could have taken and has not.
    pub(super) fn lags(&self) -> bool {
        self.stalled_since.is_some() && !self.outgoing.is_empty()
    }

    /// Whether its opening handshake is under way.
    pub(super) fn is_half_open(&self) -> bool {
        matches!(self.phase, Phase::ProxyHeader(_) | Phase::Handshake(_)) && !self.doomed
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_)) && !self.doomed
    }

    /// Enters the phase `Open`.
    pub(super) fn open(&mut self, connection: Connection, config: &HubConfig, now: Instant) {
        self.phase = Phase::Open(connection);
        self.next_due = Due::Ping;
        self.due_at = now + self.first_ping(config.ping_interval);
    }

    /// The first Ping comes early by up to half an interval, so that clients that came together are
    /// not pinged together for ever.
    fn first_ping(&self, interval: Duration) -> Duration {
        /// 2^32 divided by the golden ratio: consecutive multiples of it lie far apart.
        const STEP: u32 = 0x9E37_79B9;
        const SPREAD: u32 = 1024;

        let spread = self.id.index_u32().wrapping_mul(STEP) / (u32::MAX / SPREAD + 1);
        interval * (2 * SPREAD - spread) / (2 * SPREAD)
    }

    /// Brings forward what would be due too late by new settings. What is due earlier than they say
    /// stays so once. The write timeout is not among this: it is added up anew each time.
    pub(super) fn hasten(&mut self, old: &HubConfig, new: &HubConfig, now: Instant) {
        let (before, after) = match self.next_due {
            Due::Handshake => (old.handshake_timeout, new.handshake_timeout),
            Due::Ping => (old.ping_interval, new.ping_interval),
            Due::Pong => (old.pong_timeout, new.pong_timeout),
            Due::Close => (old.close_timeout, new.close_timeout),
            Due::Write | Due::Expiry | Due::Admin => return,
        };
        if self.next_due != Due::Ping {
            if after < before {
                self.due_at = self.due_at.min(now + after);
            }
        } else if before.is_zero() {
            // There was none so far.
            self.due_at = now + self.first_ping(after);
        } else if after < before {
            self.due_at = self.due_at.min(now + self.first_ping(after));
        }
    }

    /// Enters `Closing` or `Lingering`, for `cause` if it is the first.
    pub(super) fn leave(
        &mut self,
        phase: Phase,
        cause: Disconnect,
        config: &HubConfig,
        now: Instant,
    ) {
        self.phase = phase;
        self.pong = None;
        if let Some(terms) = &mut self.terms {
            terms.expires_at = None;
        }
        self.next_due = Due::Close;
        self.due_at = now + config.close_timeout;
        self.cause.get_or_insert(cause);
    }

    /// Takes note of bytes from an open client, and whether they completed a frame.
    pub(super) fn note_input(
        &mut self,
        bytes: usize,
        completed: bool,
        config: &HubConfig,
        now: Instant,
    ) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.trickled = self.trickled.saturating_add(bytes);
        if completed || self.trickled >= SIGN_OF_LIFE {
            self.trickled = 0;
            if self.is_open() {
                self.next_due = Due::Ping;
                self.due_at = now + config.ping_interval;
            }
        }
    }

    pub(super) fn note_ping(&mut self, config: &HubConfig, now: Instant) {
        self.next_due = Due::Pong;
        self.due_at = now + config.pong_timeout;
    }

    /// Takes note of what became of its output: all of it was written, or `progress` was made.
    /// Whether it has caught up: a deadline that waited for that may be the next one now.
    pub(super) fn note_output(
        &mut self,
        all: bool,
        progress: bool,
        config: &HubConfig,
        now: Instant,
    ) -> bool {
        if !all {
            if progress || self.stalled_since.is_none() {
                self.stalled_since = Some(now);
            }
            return false;
        }
        let has_caught_up = self.stalled_since.take().is_some();
        if has_caught_up && self.next_due == Due::Pong {
            // The Ping that was in the queue can be answered from now on.
            self.note_ping(config, now);
        }
        has_caught_up
    }

    /// The client's next deadline: the truth that the wheel's hints point at. `is_named` tells
    /// whether it will be flushed at the end of this turn.
    pub(super) fn deadline(&self, config: &HubConfig, is_named: bool) -> Option<Instant> {
        self.deadlines(config, is_named)
            .map(|(deadline, _)| deadline)
            .min()
    }

    /// What the first of the deadlines that have passed asks for.
    pub(super) fn due(&self, config: &HubConfig, is_named: bool, now: Instant) -> Option<Due> {
        // What it is blamed for not having said may be among what the driver has not read.
        let is_excused = |due| match due {
            Due::Handshake | Due::Ping | Due::Pong => self.is_unread,
            // Operators are not read while they are owed something, and then that is the blame.
            Due::Admin => self.is_unread && self.outgoing.is_empty(),
            Due::Write | Due::Close | Due::Expiry => false,
        };
        self.deadlines(config, is_named)
            .filter(|(deadline, due)| *deadline <= now && !is_excused(*due))
            .min_by_key(|(deadline, _)| *deadline)
            .map(|(_, due)| due)
    }

    fn deadlines(
        &self,
        config: &HubConfig,
        is_named: bool,
    ) -> impl Iterator<Item = (Instant, Due)> {
        let is_off = match self.next_due {
            Due::Ping => config.ping_interval.is_zero(),
            // The Ping may be in the queue still.
            Due::Pong => self.stalled_since.is_some(),
            Due::Handshake | Due::Close | Due::Write | Due::Expiry | Due::Admin => false,
        };
        let phase = (!is_off).then_some((self.due_at, self.next_due));
        // A transport that takes bytes again is tried at the end of this turn, and then looked at.
        let is_tried = is_named && !self.outgoing.is_blocked() && !self.output_ended;
        let write = self
            .stalled_since
            .filter(|_| !is_tried)
            .map(|since| (since + config.write_timeout, Due::Write));
        let expiry = self.terms.as_deref().and_then(|terms| terms.expires_at);
        let expiry = expiry.map(|at| (at, Due::Expiry));
        phase.into_iter().chain(write).chain(expiry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_not_known_is_not_shown() {
        let shown = |ip: &str| Peer::Inet((ip.parse::<std::net::IpAddr>().unwrap(), 0).into());
        assert_eq!(shown("192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(shown("2001:db8::1").to_string(), "2001:db8::1");
    }

    #[test]
    fn ipv4_in_the_clothes_of_ipv6_is_ipv4() {
        let canonical = |text: &str| Peer::Inet(text.parse().unwrap()).canonical().to_string();
        assert_eq!(canonical("[::ffff:192.0.2.1]:80"), "192.0.2.1:80");
        assert_eq!(canonical("[::1]:80"), "[::1]:80");
        assert_eq!(canonical("192.0.2.1:80"), "192.0.2.1:80");
        assert_eq!(Peer::Unix.canonical(), Peer::Unix);
    }
}
