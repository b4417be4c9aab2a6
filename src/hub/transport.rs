//! What the driver learns of a client's connection.

use std::time::Instant;

use super::Hub;
use super::client::{ClientId, Phase};
use super::disconnect::Disconnect;

impl Hub {
    /// The driver saw the end of a client's input ([`Disconnect::Gone`]), or an error.
    pub fn hang_up(&mut self, id: ClientId, why: Disconnect) {
        let Some(client) = self.client_mut(id) else {
            return;
        };
        let owes = !client.outgoing.is_empty() || client.outgoing.has_splices();
        let can_hear = matches!(client.phase, Phase::Lingering) && !client.output_ended;
        if why == Disconnect::Gone && owes && can_hear {
            // It has said all it wanted to say, and may still be listening for our last word.
            client.input_ended = true;
        } else {
            self.doom(id, why);
        }
    }

    /// Writing to a client failed: what it is owed is dropped. What it has said may still be read;
    /// the end, or the error, that is behind it says that the client is gone.
    pub fn output_failed(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.client_mut(id) else {
            return;
        };
        client.outgoing.clear();
        client.outgoing.set_blocked(true);
        client.output_ended = true;
        client.stalled_since.get_or_insert(now);
        self.arm(id, now);
    }

    /// The driver knows that a client has something to say and will read it later, or has found
    /// that there is nothing. Nobody is given up for silence whose answer is there.
    pub fn readable(&mut self, id: ClientId, is_unread: bool) {
        if let Some(client) = self.client_mut(id) {
            client.is_unread = is_unread;
        }
    }

    /// The transport takes bytes again. Harmless if it always did.
    pub fn writable(&mut self, id: ClientId) {
        let Some(client) = self.client_mut(id) else {
            return;
        };
        if client.outgoing.is_blocked() {
            client.outgoing.set_blocked(false);
            self.touch(id);
        }
    }
}
