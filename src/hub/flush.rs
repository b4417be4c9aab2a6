//! What is written: who is to be flushed, and what became of it.

use std::time::Instant;

use super::client::{ClientId, Phase};
use super::config::SlowPolicy;
use super::disconnect::Disconnect;
use super::outgoing::Outgoing;
use super::{Hub, live};

/// Buffers of at most 4 KiB that are kept for what is said to one client alone.
pub(super) const MAX_SPARES: usize = 128;

impl Hub {
    /// Seals the batches of this turn, and appends those who are to be flushed to `ids`.
    pub fn take_dirty(&mut self, ids: &mut Vec<ClientId>, now: Instant) {
        self.seal(now);
        self.dirty.take(ids);
        self.ledger.is_settled = false;
    }

    /// What a client is owed; `None` if it is gone.
    pub fn outgoing(&mut self, id: ClientId) -> Option<&mut Outgoing> {
        self.client_mut(id).map(|client| &mut client.outgoing)
    }

    /// The driver has written `written` bytes of what a client is owed, and taken note of it with
    /// [`Outgoing::advance`]. `blocked` tells that the transport takes no more; otherwise the
    /// client is named again in the next turn if something is left.
    ///
    /// Returns whether the driver should end the sending side now (`shutdown(Write)`): the last
    /// word has been written.
    #[must_use]
    pub fn flushed(&mut self, id: ClientId, written: usize, blocked: bool, now: Instant) -> bool {
        let Some(client) = live(&mut self.clients, id) else {
            return false;
        };
        let all = client.outgoing.is_empty();
        client.traffic.bytes_sent += written as u64;
        client.outgoing.set_blocked(blocked && !all);
        let has_caught_up = client.note_output(all, written > 0, &self.config, now);
        if has_caught_up {
            // Another policy may have come since.
            let is_latest = self.config.slow_policy == SlowPolicy::Latest;
            client.outgoing.set_apart(is_latest);
        }
        let pong = if all { client.pong.take() } else { None };
        if let Some(spare) = client.outgoing.take_spare() {
            if self.spares.len() < MAX_SPARES {
                self.spares.push(spare);
            }
        }
        let is_done = all && matches!(client.phase, Phase::Lingering);
        let ends_now = is_done && !client.output_ended;
        client.output_ended |= is_done;
        let nobody_listens = is_done && client.input_ended;
        self.metrics.bytes_sent += written as u64;
        if let Some(pong) = pong {
            self.say(id, [&pong, b""], now);
        }
        if nobody_listens {
            self.doom(id, Disconnect::Gone);
        }
        if !all {
            self.touch(id);
            self.note_behind(id, now);
        }
        if has_caught_up {
            self.note_caught_up(id);
        }
        if !all || has_caught_up {
            self.arm(id, now);
        }
        ends_now && !nobody_listens
    }
}
