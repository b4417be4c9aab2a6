//! What a driver is to do, and what it says of it.

use super::config::Endpoint;

/// Connections that a backplane has at once, whatever its settings.
pub const MAX_LINKS: usize = 256;

/// Names a connection. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId {
    pub(super) index: u16,
    pub(super) generation: u32,
}

impl LinkId {
    /// The link's place in a driver's table: below [`MAX_LINKS`], and free for another link once
    /// this one has been disconnected.
    pub fn index(self) -> usize {
        usize::from(self.index)
    }
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Resolve the name, connect (each address in turn, without blocking), speak TLS if the
    /// settings say so; then [`Backplane::connected`] or [`Backplane::disconnected`]. Each step may
    /// take [`op_timeout`]; a driver that says nothing for ten times that is told to disconnect.
    ///
    /// [`Backplane::connected`]: super::Backplane::connected
    /// [`Backplane::disconnected`]: super::Backplane::disconnected
    /// [`op_timeout`]: super::BackplaneConfig::op_timeout
    Connect {
        /// The new link.
        link: LinkId,
        /// Where to.
        to: Endpoint,
    },
    /// Close the connection and forget the link: it is never mentioned again.
    Disconnect(LinkId),
}

/// Why a link is no more, as far as the driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkFailure {
    /// The name could not be resolved, or not in time.
    Resolve,
    /// Nobody answers there, or not in time.
    Connect,
    /// TLS failed: another certificate than expected, for instance.
    Tls,
    /// The connection was reset.
    Reset,
    /// The peer has ended the connection.
    End,
}

/// How the backplane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Messages go to Redis and come back in time.
    Up,
    /// They are late, or those of some rooms are: local clients hear each other without Redis.
    Degraded,
    /// There is no connection that carries them.
    Down,
}
