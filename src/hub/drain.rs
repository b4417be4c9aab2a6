//! How the hub ends: announced first, then all at once or little by little.

use std::time::{Duration, Instant};

use super::Hub;
use super::client::{ClientId, Phase};
use crate::protocol::{CloseCode, HandshakeError};

/// Clients that one turn closes when they are closed little by little.
const MAX_CLOSES_PER_TURN: usize = 1024;

/// Closes that are due within so long of one another are made together, so that a crowd of any size
/// wakes the loop at most 200 times a second.
const STEP: Duration = Duration::from_millis(5);

/// How far the end has come.
#[derive(Debug, Default)]
pub(super) enum Drain {
    /// There is none in sight.
    #[default]
    No,
    /// It is known that it will come, and all goes on.
    Announced,
    /// Nobody is taken in any more.
    Begun(Option<Pace>),
}

/// Who is still to be closed, and when.
#[derive(Debug)]
pub(super) struct Pace {
    begun: Instant,
    /// Not zero.
    over: Duration,
    /// Those who were open when it began, in the order in which they are closed. Who has left by
    /// itself keeps its place, so that nobody's time depends on others.
    order: Vec<ClientId>,
    /// How many of them have been looked at.
    done: usize,
    /// When the next step is due at the earliest; at the end none is waited for.
    rest_until: Instant,
}

impl Drain {
    pub(super) fn has_begun(&self) -> bool {
        matches!(self, Self::Begun(_))
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self {
            Self::Begun(Some(pace)) => Some(pace.next_deadline()),
            Self::No | Self::Announced | Self::Begun(None) => None,
        }
    }
}

impl Pace {
    fn new(order: Vec<ClientId>, over: Duration, now: Instant) -> Self {
        Self {
            begun: now,
            over,
            order,
            done: 0,
            rest_until: now,
        }
    }

    /// How many should have been closed by now: all of them exactly at the end.
    fn due(&self, now: Instant) -> usize {
        let passed = now.saturating_duration_since(self.begun).min(self.over);
        let due = self.order.len() as u128 * passed.as_nanos() / self.over.as_nanos();
        usize::try_from(due).unwrap_or(self.order.len())
    }

    fn next_deadline(&self) -> Instant {
        let (next, all) = (self.done as u128 + 1, self.order.len() as u128);
        let nanos = (self.over.as_nanos() * next).div_ceil(all.max(1));
        let wait = u64::try_from(nanos).map_or(self.over, Duration::from_nanos);
        let end = self.begun + self.over;
        (self.begun + wait).max(self.rest_until).min(end)
    }

    /// Takes the next ones whose time has come, as many as a turn may close.
    fn take(&mut self, now: Instant) -> Vec<ClientId> {
        let due = self.due(now);
        let end = due.min(self.done + MAX_CLOSES_PER_TURN);
        let taken = self.order.get(self.done..end).unwrap_or_default().to_vec();
        if end == due {
            self.rest_until = now + STEP;
        }
        self.done = self.done.max(end);
        taken
    }
}

impl Hub {
    /// Announces the end: from now on the hub [is draining](Self::is_draining) and not
    /// [ready](Self::is_ready), and otherwise all goes on, newcomers included, until
    /// [`drain`](Self::drain). It is how balancers learn of the end before connections are refused.
    pub fn announce_drain(&mut self) {
        if !self.drain.has_begun() {
            self.drain = Drain::Announced;
        }
    }

    /// Ends all connections. Nobody else is taken in, and half-open clients get a 503 or nothing.
    /// Open ones get a Close behind what is queued for them: all at once, with 1001, if `over` is
    /// zero; otherwise one by one with 1012, evenly over so long, as [`advance`](Self::advance) is
    /// called. No room is emptied before another, and everything goes on for those who are left.
    ///
    /// The hub is empty when all have answered, or `close_timeout` after the last Close. Called
    /// again, it begins anew with those who are still open.
    pub fn drain(&mut self, now: Instant, over: Duration) {
        let code = CloseCode::GOING_AWAY;
        let ids: Vec<ClientId> = self.clients.iter().map(|(_, client)| client.id).collect();
        for id in ids {
            let Some(client) = self.client_mut(id) else {
                continue;
            };
            match &client.phase {
                Phase::ProxyHeader(_) | Phase::Handshake(_) => {
                    self.refuse_half_open(id, HandshakeError::Draining, now);
                }
                Phase::Open(_) if over.is_zero() => self.close(id, code, "", now),
                Phase::Open(_) | Phase::Closing(_) | Phase::Lingering | Phase::Admin(_) => {}
            }
        }
        let pace = (!over.is_zero()).then(|| Pace::new(self.closing_order(), over, now));
        self.drain = Drain::Begun(pace.filter(|pace| !pace.order.is_empty()));
    }

    /// Whether the end has been announced or has begun.
    pub fn is_draining(&self) -> bool {
        !matches!(self.drain, Drain::No)
    }

    /// Whether balancers should send more clients here: the end is not in sight, and a newcomer
    /// would not be answered with 503.
    pub fn is_ready(&self) -> bool {
        !self.is_draining() && self.len() < self.config.max_connections
    }

    /// Closes those whose turn it is.
    pub(super) fn advance_drain(&mut self, now: Instant) {
        let Drain::Begun(Some(pace)) = &mut self.drain else {
            return;
        };
        let taken = pace.take(now);
        if pace.done == pace.order.len() {
            self.drain = Drain::Begun(None);
        }
        for id in taken {
            self.close(id, CloseCode::SERVICE_RESTART, "", now);
        }
    }

    /// The open clients such that those of each room are spread evenly over the whole.
    fn closing_order(&self) -> Vec<ClientId> {
        /// 2^32 divided by the golden ratio: rooms of equal size do not begin together.
        const STRIDE: u32 = 0x9E37_79B9;

        let open = self.clients.iter().filter(|(_, client)| client.is_open());
        let mut order: Vec<(u64, ClientId)> = open
            .map(|(_, client)| {
                let (room, position) = client.room.expect("whoever is open has a room");
                let members = self.rooms.get(room).map_or(1, |room| room.members().len());
                let offset = room.index().wrapping_mul(STRIDE);
                let place = (u64::from(position) << 32) + u64::from(offset);
                (place / members.max(1) as u64, client.id)
            })
            .collect();
        order.sort_unstable_by_key(|(place, id)| (*place, id.index()));
        order.into_iter().map(|(_, id)| id).collect()
    }
}
