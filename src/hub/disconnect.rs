//! Why clients leave.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::client::{ClientId, Traffic};
use super::peer::Peer;
use crate::protocol::{CloseCode, HandshakeError, ProtocolError};

/// Why a client is no longer connected. The first cause counts: a client that is told to go and
/// then resets the connection was [`Ended`](Self::Ended).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disconnect {
    /// The client closed, with this code if it gave one.
    Closed(Option<CloseCode>),
    /// We closed: the handler, or a drain.
    Ended(CloseCode),
    /// The client's side of the connection ended without a Close.
    Gone,
    /// The transport failed.
    Reset,
    /// The client broke the protocol, or a limit of it.
    Protocol(ProtocolError),
    /// More control frames in one read than anybody needs.
    Flood,
    /// It owed more than `max_client_buffer`, or took nothing for `write_timeout`.
    TooSlow,
    /// Silent, and it did not answer a Ping.
    TimedOut,
    /// The opening handshake was refused.
    Refused(HandshakeError),
    /// A request of plain HTTP, answered.
    Answered,
    /// It said more than `message_rate` or `byte_rate` allow.
    RateLimited,
    /// It said something, and may only listen.
    NotAllowed,
    /// What it was admitted with has expired.
    Expired,
    /// It owed the most when `max_total_buffer` was reached.
    Evicted,
}

impl Disconnect {
    /// All labels, in the order in which metrics list them.
    pub(super) const LABELS: [&'static str; 14] = [
        "closed",
        "ended",
        "gone",
        "reset",
        "protocol",
        "flood",
        "too_slow",
        "timed_out",
        "refused",
        "answered",
        "rate_limited",
        "not_allowed",
        "expired",
        "evicted",
    ];

    /// The cause without its details: one of a closed set.
    pub const fn label(self) -> &'static str {
        Self::LABELS[self.ordinal()]
    }

    pub(super) const fn ordinal(self) -> usize {
        match self {
            Self::Closed(_) => 0,
            Self::Ended(_) => 1,
            Self::Gone => 2,
            Self::Reset => 3,
            Self::Protocol(_) => 4,
            Self::Flood => 5,
            Self::TooSlow => 6,
            Self::TimedOut => 7,
            Self::Refused(_) => 8,
            Self::Answered => 9,
            Self::RateLimited => 10,
            Self::NotAllowed => 11,
            Self::Expired => 12,
            Self::Evicted => 13,
        }
    }
}

impl From<ProtocolError> for Disconnect {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::MessageNotAllowed => Self::NotAllowed,
            error => Self::Protocol(error),
        }
    }
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(None) => f.write_str("closed by the client without a code"),
            Self::Closed(Some(code)) => write!(f, "closed by the client with {code}"),
            Self::Ended(code) => write!(f, "closed by the server with {code}"),
            Self::Gone => f.write_str("ended without a close"),
            Self::Reset => f.write_str("connection reset"),
            Self::Protocol(error) => write!(f, "{error}, closed with {}", error.close_code()),
            Self::Flood => f.write_str("too many control frames, closed with 1008"),
            Self::TooSlow => f.write_str("too slow"),
            Self::TimedOut => f.write_str("no answer to a ping"),
            Self::Refused(error) => write!(f, "refused with {}: {error}", error.status()),
            Self::Answered => f.write_str("request answered"),
            Self::RateLimited => f.write_str("over its rate, closed with 1008"),
            Self::NotAllowed => f.write_str("may not publish, closed with 1008"),
            Self::Expired => f.write_str("its admission expired, closed with 1008"),
            Self::Evicted => f.write_str("owed the most when too much was owed in all"),
        }
    }
}

/// The last that is known of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Departure {
    /// Its id, which no other client will have.
    pub id: ClientId,
    /// Where it was connected from.
    pub peer: Peer,
    /// The room that it was in, if it got that far.
    pub room: Option<Rc<str>>,
    /// Why it left.
    pub why: Disconnect,
    /// How long it was connected.
    pub age: Duration,
    /// What it said and was told.
    pub traffic: Traffic,
    /// The most that it owed at once, in bytes.
    pub peak_backlog: usize,
    /// Whether it was an operator's connection and no client.
    pub is_admin: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_labelled_and_told_in_words() {
        let cases = [
            (
                Disconnect::Closed(None),
                "closed",
                "closed by the client without a code",
            ),
            (
                Disconnect::Closed(Some(CloseCode::NORMAL)),
                "closed",
                "closed by the client with 1000",
            ),
            (
                Disconnect::Ended(CloseCode::GOING_AWAY),
                "ended",
                "closed by the server with 1001",
            ),
            (Disconnect::Gone, "gone", "ended without a close"),
            (Disconnect::Reset, "reset", "connection reset"),
            (
                Disconnect::Protocol(ProtocolError::Unmasked),
                "protocol",
                "frame not masked, closed with 1002",
            ),
            (
                Disconnect::Flood,
                "flood",
                "too many control frames, closed with 1008",
            ),
            (Disconnect::TooSlow, "too_slow", "too slow"),
            (Disconnect::TimedOut, "timed_out", "no answer to a ping"),
            (
                Disconnect::Refused(HandshakeError::NotFound),
                "refused",
                "refused with 404: not found",
            ),
            (Disconnect::Answered, "answered", "request answered"),
            (
                Disconnect::RateLimited,
                "rate_limited",
                "over its rate, closed with 1008",
            ),
            (
                Disconnect::NotAllowed,
                "not_allowed",
                "may not publish, closed with 1008",
            ),
            (
                Disconnect::Expired,
                "expired",
                "its admission expired, closed with 1008",
            ),
            (
                Disconnect::Evicted,
                "evicted",
                "owed the most when too much was owed in all",
            ),
        ];
        for (cause, label, words) in cases {
            assert_eq!(cause.label(), label);
            assert_eq!(cause.to_string(), words);
        }
    }
}
