//! Who is believed about whom.

use std::fmt;
use std::str::FromStr;

use super::client::{AddressState, ClientId, Phase};
use super::disconnect::Disconnect;
use super::network::Network;
use super::peer::Peer;
use super::{Hub, HubConfig};
use crate::protocol::http::{HeadBuffer, Request};
use crate::protocol::{HandshakeError, ProxyHeader, ProxySource, forwarded};

/// Peers that are believed when they say for whom they connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Those with an address in this range: `10.0.0.0/8`, `::1`.
    Network(Network),
    /// Those who connect to a Unix socket: `unix`. Who may do that is for the mode of the socket
    /// to say.
    Unix,
}

/// A text that names no peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTrustedProxy;

impl fmt::Display for InvalidTrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an address, a range like 10.0.0.0/8 or fd00::/8, or unix")
    }
}

impl std::error::Error for InvalidTrustedProxy {}

impl FromStr for TrustedProxy {
    type Err = InvalidTrustedProxy;

    fn from_str(text: &str) -> Result<Self, InvalidTrustedProxy> {
        match text {
            "unix" => Ok(Self::Unix),
            _ => text
                .parse()
                .map(Self::Network)
                .map_err(|_| InvalidTrustedProxy),
        }
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl HubConfig {
    /// Whether a peer is believed when it says for whom it connects.
    pub fn trusts(&self, peer: Peer) -> bool {
        self.trusted_proxies
            .iter()
            .any(|trusted| match (trusted, peer) {
                (TrustedProxy::Network(network), Peer::Inet(address)) => {
                    network.contains(address.ip())
                }
                (TrustedProxy::Unix, Peer::Unix) => true,
                _ => false,
            })
    }
}

impl Hub {
    /// A connection has just been taken in. Of a peer that is not trusted, its address is known.
    pub(super) fn meet(&mut self, id: ClientId) {
        let client = &mut self.clients[id.index()];
        let peer = client.peer;
        if !self.config.trusts(peer) {
            self.settle_address(id, peer);
        } else if self.config.proxy_protocol {
            client.phase = Phase::ProxyHeader(ProxyHeader::default());
        }
    }

    /// A trusted peer has said in a PROXY header for whom it connects.
    pub(super) fn proxied(&mut self, id: ClientId, source: ProxySource) {
        let Some(client) = self.client_mut(id) else {
            return;
        };
        client.phase = Phase::Handshake(HeadBuffer::default());
        match source {
            // It speaks for itself, as any peer that it is trusted with.
            ProxySource::Local => {}
            // It passes on what it does not know, so what is said further is not its word.
            ProxySource::Unknown => {
                let peer = client.peer;
                self.settle_address(id, peer);
            }
            ProxySource::Client(address) => {
                let peer = Peer::Inet(address).canonical();
                client.peer = peer;
                if !self.config.trusts(peer) {
                    self.settle_address(id, peer);
                }
            }
        }
    }

    /// What should have been a PROXY header is none, or did not come in time. Nothing is answered:
    /// whoever is there does not speak HTTP yet.
    pub(super) fn not_proxied(&mut self, id: ClientId) {
        self.doom(id, Disconnect::Refused(HandshakeError::InvalidProxyHeader));
    }

    /// A request has come: a trusted peer may have said in it for whom it asks. Behind this the
    /// client's address is known in any case.
    pub(super) fn resolve(&mut self, id: ClientId, request: &Request<'_>) {
        let client = &self.clients[id.index()];
        let peer = client.peer;
        if client.address != AddressState::Open {
            if forwarded::is_forwarded(request) {
                self.metrics.forwarded_ignored += 1;
                self.first_untrusted.get_or_insert(peer);
            }
            return;
        }
        // It may have been trusted when it connected, and not be any more.
        let address = if self.config.trusts(peer) {
            let trusts = |address| self.config.trusts(Peer::Inet((address, 0).into()));
            forwarded::client_address(request, trusts)
        } else {
            None
        };
        self.settle_address(id, address.map_or(peer, Peer::Inet));
    }

    /// The address of a client is known for good: at once if its peer is not trusted, else behind
    /// the PROXY header or the request. Called once for each client, before its request is judged;
    /// never for one that a trusted peer has connected and that makes no proper request.
    fn settle_address(&mut self, id: ClientId, peer: Peer) {
        let client = &mut self.clients[id.index()];
        client.peer = peer;
        client.address = AddressState::Settled;
        self.count_address(id);
    }

    /// Where a client is connected from. As long as a trusted proxy has not said for whom it
    /// connects, that is the proxy.
    pub fn peer(&self, id: ClientId) -> Option<Peer> {
        let client = self.clients.get(id.index())?;
        (client.id == id).then_some(client.peer)
    }

    /// The first peer that was not believed, although it said for whom it asks; `None` if there was
    /// none. Worth a warning: a proxy may be missing in `trusted_proxies`.
    pub fn first_untrusted(&self) -> Option<Peer> {
        self.first_untrusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_trusted_is_read_and_printed() {
        for text in ["unix", "10.0.0.0/8", "fd00::/8", "::1/128"] {
            assert_eq!(text.parse::<TrustedProxy>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "Unix",
            "unix:",
            "unix:/run/f.sock",
            "none",
            "10.0.0.0/33",
        ] {
            assert_eq!(
                text.parse::<TrustedProxy>(),
                Err(InvalidTrustedProxy),
                "{text}"
            );
        }
    }

    #[test]
    fn peers_are_trusted_by_their_kind() {
        let inet = Peer::Inet(([10, 0, 0, 1], 80).into());
        let mapped = Peer::Inet("[::ffff:10.0.0.1]:80".parse().unwrap());
        let trusts = |trusted: &[&str], peer| {
            let trusted_proxies = trusted.iter().map(|text| text.parse().unwrap());
            let config = HubConfig {
                trusted_proxies: trusted_proxies.collect(),
                ..HubConfig::default()
            };
            config.trusts(peer)
        };
        assert!(!trusts(&[], inet) && !trusts(&[], Peer::Unix));
        assert!(trusts(&["::1", "10.0.0.0/8"], inet) && trusts(&["10.0.0.0/8"], mapped));
        assert!(!trusts(&["unix"], inet) && trusts(&["unix"], Peer::Unix));
        assert!(!trusts(&["0.0.0.0/0", "::/0"], Peer::Unix));
    }
}
