//! Who is let in, and with which rights.

use std::time::Duration;

use crate::protocol::HandshakeError;

/// What a client that is let in may do: everything for as long as it likes, unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admission {
    /// Whether its messages reach the handler. One that may only listen is closed with 1008 when it
    /// sends one. Default yes.
    pub may_publish: bool,
    /// How long it may stay, from its request on; then it is closed with 1008. Default for ever.
    pub valid_for: Option<Duration>,
    /// The subprotocol to answer with instead of the one that was chosen among those on offer. One
    /// that the client did not offer is no answer (RFC 6455, section 4.2.2), and changes nothing.
    /// Default none.
    pub subprotocol: Option<String>,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            may_publish: true,
            valid_for: None,
            subprotocol: None,
        }
    }
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// A credential is needed and none was given: 401.
    Unauthorized,
    /// The credential that was given is unknown, forged or expired: 401.
    InvalidCredential,
    /// The credential that was given is valid, and does not suffice: 403.
    Forbidden,
    /// Credentials that differ were given in several places: 400.
    SeveralCredentials,
}

impl From<Rejection> for HandshakeError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Unauthorized => Self::Unauthorized,
            Rejection::InvalidCredential => Self::InvalidCredential,
            Rejection::Forbidden => Self::Forbidden,
            Rejection::SeveralCredentials => Self::SeveralCredentials,
        }
    }
}

/// How a client learns that it is not let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RejectWith {
    /// By the status of the answer, before the upgrade.
    #[default]
    Status,
    /// By Close 1008 after the upgrade: a script in a browser cannot see a status. Such a client is
    /// never in a room, and the handler hears no more of it.
    Close,
}
