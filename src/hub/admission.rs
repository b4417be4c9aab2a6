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
    /// How long it may stay; then it is closed with 1008. Default for ever.
    pub valid_for: Option<Duration>,
    /// The subprotocol to answer with instead of the one that was chosen among those on offer. It
    /// must be one that the client offered (RFC 6455, section 4.2.2). Default none.
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
    /// The credential that was given does not suffice, or is none: 403.
    Forbidden,
}

impl From<Rejection> for HandshakeError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Unauthorized => Self::Unauthorized,
            Rejection::Forbidden => Self::Forbidden,
        }
    }
}

/// How a client learns that it is not let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RejectWith {
    /// By the status of the answer, before the upgrade.
    #[default]
    Status,
    /// By Close 1008 after the upgrade: a script in a browser cannot see a status.
    Close,
}
