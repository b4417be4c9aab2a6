//! Where a client is connected from.

use std::fmt;
use std::net::SocketAddr;

/// Where a client is connected from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An IP address and a port, which is 0 if a proxy told the address alone.
    Inet(SocketAddr),
    /// A process on this machine.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) if address.port() == 0 => address.ip().fmt(f),
            Self::Inet(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl Peer {
    /// The same, without IPv6's clothes around an IPv4 address: `::ffff:192.0.2.1` is how a
    /// dual-stack socket shows `192.0.2.1`.
    #[must_use]
    pub fn canonical(self) -> Self {
        match self {
            Self::Inet(address) if address.ip().to_canonical() != address.ip() => {
                Self::Inet((address.ip().to_canonical(), address.port()).into())
            }
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_shown_as_its_address() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8080));
        assert_eq!(Peer::Inet(address).to_string(), "127.0.0.1:8080");
        assert_eq!(Peer::Unix.to_string(), "unix");
    }
}
