//! How many connections each address has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use super::peer::Peer;

/// The bits of an IPv6 address that name the network: whoever has one address there can have all of
/// them (RFC 6177, RFC 4291, section 2.5.1).
const NETWORK: u128 = !0 << 64;

/// Connections of each address, those of nobody left out: no larger than the number of clients.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    counts: HashMap<IpAddr, usize>,
    /// Clients beyond the limit, who are there to be told so and are not counted above.
    told: usize,
}

impl Addresses {
    /// What one address takes in the table, in bytes.
    pub(super) const ENTRY: usize = size_of::<(IpAddr, usize)>() + 1;

    /// Whether an address has `max` connections by now, or more.
    pub(super) fn is_full(&self, peer: Peer, max: usize) -> bool {
        key(peer).is_some_and(|key| self.counts.get(&key).is_some_and(|count| *count >= max))
    }

    pub(super) fn join(&mut self, peer: Peer) {
        if let Some(key) = key(peer) {
            *self.counts.entry(key).or_default() += 1;
        }
    }

    /// Takes back what [`join`](Self::join) has counted.
    pub(super) fn leave(&mut self, peer: Peer) {
        let Some(key) = key(peer) else { return };
        let count = self.counts.get_mut(&key);
        let count = count.expect("whoever leaves was counted");
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&key);
        }
    }

    /// How many clients are there only to be told that they are too many.
    pub(super) fn told(&self) -> usize {
        self.told
    }

    pub(super) fn begin_telling(&mut self) {
        self.told += 1;
    }

    pub(super) fn end_telling(&mut self) {
        self.told -= 1;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }
}

/// What is counted as one address: an IPv4 address, however it is written, or 64 bits of an IPv6
/// one. `None` for a process on this machine, who needs no address and could be anybody.
fn key(peer: Peer) -> Option<IpAddr> {
    let Peer::Inet(address) = peer else {
        return None;
    };
    Some(match address.ip().to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::Inet(format!("{address}:1234").parse().unwrap())
    }

    #[test]
    fn both_sides_of_the_limit_and_nothing_is_left_of_who_is_gone() {
        let mut addresses = Addresses::default();
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(peer);
        for _ in 0..2 {
            assert!(!addresses.is_full(a, 2));
            addresses.join(a);
        }
        assert!(addresses.is_full(a, 2) && !addresses.is_full(b, 1));
        addresses.join(b);
        addresses.leave(a);
        assert!(!addresses.is_full(a, 2) && addresses.len() == 2);
        addresses.leave(a);
        addresses.leave(b);
        assert_eq!(addresses.len(), 0);
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_address() {
        let mut addresses = Addresses::default();
        addresses.join(peer("[2001:db8:0:1::1]"));
        assert!(addresses.is_full(peer("[2001:db8:0:1:ffff:ffff:ffff:ffff]"), 1));
        assert!(!addresses.is_full(peer("[2001:db8:0:2::1]"), 1));
        assert!(!addresses.is_full(peer("[2001:db8::1]"), 1));
    }

    #[test]
    fn an_ipv4_address_is_the_same_however_it_is_written() {
        let mut addresses = Addresses::default();
        addresses.join(peer("[::ffff:192.0.2.1]"));
        assert!(addresses.is_full(peer("192.0.2.1"), 1));
        assert!(!addresses.is_full(peer("[::ffff:192.0.2.2]"), 1));
        assert_eq!(addresses.len(), 1);
    }

    #[test]
    fn processes_on_this_machine_are_not_limited() {
        let mut addresses = Addresses::default();
        addresses.join(Peer::Unix);
        assert!(!addresses.is_full(Peer::Unix, 0) && addresses.len() == 0);
        addresses.leave(Peer::Unix);
    }
}
