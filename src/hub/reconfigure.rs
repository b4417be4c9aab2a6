//! Other settings while clients are there.

use std::time::Instant;

use super::client::{ClientId, Phase};
use super::config::{HubConfig, HubConfigError, SlowPolicy};
use super::disconnect::Disconnect;
use super::{Hub, live};
use crate::protocol::Limits;

impl Hub {
    /// Replaces the settings. Nobody is disconnected by it but those who are in the middle of a
    /// message that is longer than the new `max_message_size`: 1009. It looks at each client once.
    ///
    /// - What decides on newcomers decides on the next one. More clients or rooms than may be from
    ///   now on may stay.
    /// - The limits of a connection hold for all, from their next frame on; a smaller
    ///   `max_client_buffer` from the next time that something is appended to what a client owes.
    /// - Timeouts hold from the next time that one begins. Shorter ones hold at once as well,
    ///   counted from now. Another `slow_policy` holds at once; but [`SlowPolicy::Latest`] replaces
    ///   what has been queued only for those who owe nothing, or as soon as they have caught up.
    ///   Output that takes nothing has done so since it began to.
    ///
    /// # Errors
    /// The first relation between the settings that does not hold; nothing has changed then.
    pub fn reconfigure(&mut self, config: HubConfig, now: Instant) -> Result<(), HubConfigError> {
        config.check()?;
        for (_, client) in &mut self.clients {
            let is_latest = config.slow_policy == SlowPolicy::Latest;
            client.outgoing.set_apart(is_latest);
        }
        // What has been said is owed by the settings under which it was said.
        self.seal(now);
        let old = std::mem::replace(&mut self.config, config);
        if old.max_connections_per_ip.is_none() && self.config.max_connections_per_ip.is_some() {
            self.count_all_addresses();
        }
        let limits = self.config.limits;
        let ids: Vec<ClientId> = self.clients.iter().map(|(_, client)| client.id).collect();
        for id in ids {
            if limits != old.limits {
                self.set_limits(id, limits, now);
            }
            if let Some(client) = live(&mut self.clients, id) {
                client.hasten(&old, &self.config, now);
            }
            // A hint that comes too late would hide the earlier deadline.
            self.arm(id, now);
        }
        Ok(())
    }

    fn set_limits(&mut self, id: ClientId, limits: Limits, now: Instant) {
        let Some(client) = live(&mut self.clients, id) else {
            return;
        };
        let (Phase::Open(connection) | Phase::Closing(connection)) = &mut client.phase else {
            return;
        };
        if let Err(error) = connection.set_limits(limits, &mut self.reply) {
            self.end(id, Disconnect::Protocol(error), now);
        }
    }
}
