//! Who is not taken in, or not any more: limits on connections.

use std::time::Instant;

use slab::Slab;

use super::client::{AddressState, Client, ClientId, Phase};
use super::disconnect::Disconnect;
use super::peer::Peer;
use super::{Hub, MAX_SURPLUS, Refusal};
use crate::protocol::HandshakeError;

impl Hub {
    /// Whether there is a place for one more connection, if only to be told that there is none.
    pub(super) fn admit_connection(&mut self, peer: Peer) -> Result<(), Refusal> {
        if self.drain.has_begun() {
            return self.turn_away(HandshakeError::Draining, Refusal::Draining);
        }
        let places = self.config.max_connections.saturating_add(MAX_SURPLUS);
        if self.len() >= places {
            return self.turn_away(HandshakeError::Full, Refusal::Full);
        }
        let has_place = self.addresses.told() < MAX_SURPLUS;
        if !has_place && !self.config.trusts(peer) && self.is_address_full(peer) {
            let error = HandshakeError::TooManyFromAddress;
            return self.turn_away(error, Refusal::TooManyFromAddress);
        }
        Ok(())
    }

    fn turn_away(&mut self, error: HandshakeError, refusal: Refusal) -> Result<(), Refusal> {
        self.metrics.connections_dropped += 1;
        self.metrics.count_refusal(Disconnect::Refused(error));
        Err(refusal)
    }

    /// A connection has been taken in, and its request is awaited.
    pub(super) fn begin_handshake(&mut self, id: ClientId) {
        let clients = &self.clients;
        self.handshakes.begin(id, |id| is_half_open(clients, id));
        if let (Some(account), Some(client)) =
            (&self.ledger.account, self.clients.get_mut(id.index()))
        {
            client.outgoing.open_account(account);
        }
    }

    /// Makes a place among the handshakes for one more. The one that has waited the longest goes:
    /// an honest one takes a round trip, so whoever is there for longer than all the others has had
    /// its time, and is most likely one of those who never ask for anything. Were it the newest,
    /// they would keep everybody out for as long as `handshake_timeout`, over and over.
    pub(super) fn make_way(&mut self, now: Instant) {
        let max = self.config.max_handshakes.unwrap_or(usize::MAX);
        while self.handshakes.len() >= max {
            let clients = &self.clients;
            let Some(id) = self.handshakes.take_oldest(|id| is_half_open(clients, id)) else {
                return;
            };
            self.refuse_half_open(id, HandshakeError::TooManyHandshakes, now);
        }
    }

    /// Refuses a client whose request has not come. Where nothing was asked, nothing is answered.
    pub(super) fn refuse_half_open(&mut self, id: ClientId, error: HandshakeError, now: Instant) {
        match self.client_mut(id).map(|client| &client.phase) {
            Some(Phase::ProxyHeader(_)) => self.doom(id, Disconnect::Refused(error)),
            Some(Phase::Handshake(head)) if head.is_empty() => {
                self.doom(id, Disconnect::Refused(error));
            }
            _ => self.refuse(id, error, now),
        }
    }

    /// Counts a client as one of its address's connections, once: when that address is final. That
    /// is when it connects, or, if a trusted proxy connects for it, when its request has come. One
    /// too many is told so in answer to its request.
    pub(super) fn count_address(&mut self, id: ClientId) {
        let Some(max) = self.config.max_connections_per_ip else {
            return;
        };
        let Some(client) = self
            .clients
            .get_mut(id.index())
            .filter(|client| client.id == id)
        else {
            return;
        };
        if client.address == AddressState::Counted || client.surplus.is_some() {
            return;
        }
        if self.addresses.is_full(client.peer, max) {
            client.surplus = Some(HandshakeError::TooManyFromAddress);
            self.addresses.begin_telling();
        } else {
            client.address = AddressState::Counted;
            self.addresses.join(client.peer);
        }
    }

    /// Counts those who came while there was no limit. They may stay, however many they are.
    pub(super) fn count_all_addresses(&mut self) {
        for (_, client) in &mut self.clients {
            let is_due = client.address == AddressState::Settled;
            if is_due && client.surplus.is_none() {
                client.address = AddressState::Counted;
                self.addresses.join(client.peer);
            }
        }
    }

    /// Takes back what [`count_address`](Self::count_address) has counted.
    pub(super) fn uncount_address(&mut self, client: &Client) {
        if client.address == AddressState::Counted {
            self.addresses.leave(client.peer);
        } else if client.surplus == Some(HandshakeError::TooManyFromAddress) {
            self.addresses.end_telling();
        }
    }

    fn is_address_full(&self, peer: Peer) -> bool {
        let max = self.config.max_connections_per_ip;
        max.is_some_and(|max| self.addresses.is_full(peer, max))
    }
}

fn is_half_open(clients: &Slab<Client>, id: ClientId) -> bool {
    let client = clients.get(id.index());
    client.is_some_and(|client| client.id == id && client.is_half_open())
}
