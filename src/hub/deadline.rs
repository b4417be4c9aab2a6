//! Heartbeats and timeouts: what happens when nothing happens.

use std::time::Instant;

use super::client::{ClientId, Due, Phase};
use super::disconnect::Disconnect;
use super::wheel::Tick;
use super::{Hub, live};
use crate::protocol::{CloseCode, FrameHeader, HandshakeError, Opcode};

/// Deadlines that one turn looks at; the rest are looked at in the next, after the sockets.
const MAX_DEADLINES_PER_TURN: usize = 1024;

impl Hub {
    /// Fires the deadlines that have passed: pings who is silent, gives up who does not answer,
    /// and closes those whose turn it is in a [`drain`](Self::drain).
    pub fn advance(&mut self, now: Instant) {
        self.large.advance(now);
        self.advance_drain(now);
        // However far behind the wheel is, it is turned to the present, and nobody is looked at in
        // each tick of that way.
        let present = self.wheel.reached(now);
        for _ in 0..MAX_DEADLINES_PER_TURN {
            let Some((id, tick)) = self.wheel.pop(now) else {
                return;
            };
            let Some(client) = self.client_mut(id) else {
                continue;
            };
            if client.hint != Some(tick) {
                // A later one was replaced by an earlier one, which has been looked at.
                continue;
            }
            client.hint = None;
            let config = &self.config;
            let client = &mut self.clients[id.index()];
            if let Some(due) = client.due(config, self.dirty.names(client), now) {
                self.fire(id, due, now);
            }
            self.arm_behind(id, Some(present));
        }
    }

    /// When [`advance`](Self::advance) should be called again; `None` if nothing is ever due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.wheel.next_deadline(),
            self.large.next_deadline(),
            self.drain.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn fire(&mut self, id: ClientId, due: Due, now: Instant) {
        let Some(client) = live(&mut self.clients, id) else {
            return;
        };
        match due {
            Due::Handshake => match &client.phase {
                Phase::ProxyHeader(_) => self.not_proxied(id),
                _ => self.refuse_half_open(id, HandshakeError::TimedOut, now),
            },
            Due::Ping => {
                client.note_ping(&self.config, now);
                let ping = FrameHeader::unmasked(Opcode::Ping, 0).to_wire();
                self.say(id, [&ping, b""], now);
            }
            Due::Pong => self.doom(id, Disconnect::TimedOut),
            Due::Write => self.give_up(id, Disconnect::TooSlow, now),
            // The cause is what began the closing.
            Due::Close => self.doom(id, Disconnect::Gone),
            Due::Expiry => {
                let code = CloseCode::POLICY_VIOLATION;
                self.close_for(id, code, "credential expired", Disconnect::Expired, now);
            }
            Due::Admin => self.admin_due(id, now),
        }
    }

    /// Sees to it that the wheel names a client no later than its deadline.
    pub(super) fn arm(&mut self, id: ClientId, now: Instant) {
        self.wheel.catch_up(now);
        self.arm_behind(id, None);
    }

    /// The same for a client that was looked at when time had come so far, and will be again in the
    /// next tick at the earliest.
    fn arm_behind(&mut self, id: ClientId, looked_at: Option<Tick>) {
        let config = &self.config;
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        if client.id != id || client.doomed {
            return;
        }
        let Some(deadline) = client.deadline(config, self.dirty.names(client)) else {
            return;
        };
        let tick = self.wheel.tick(deadline, looked_at);
        if client.hint.is_none_or(|hint| tick < hint) {
            client.hint = Some(tick);
            self.wheel.insert(id, tick);
        }
    }
}
