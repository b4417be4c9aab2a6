//! What whoever runs the server may want to read of.

use std::fmt;

/// Something that happened and that whoever runs the server may want to read of. Its `Display`
/// output is a line of the log, without passwords and with bytes of peers escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Messages go through Redis from now on.
    Joined,
    /// They do not any longer, or cannot yet: why, in words. Said once for each reason until they
    /// do.
    Lost(String),
    /// Redis refuses what the settings ask for, in words. Said once until that changes.
    Misconfigured(String),
    /// Redis does not answer, and keeps its connection: another one is opened beside it.
    Stalled,
    /// Messages come back late: local clients hear each other without Redis.
    Late,
    /// They come back in time again.
    InTime,
    /// Messages of this server will not reach the others.
    Dropped {
        /// How many.
        messages: u64,
        /// Why, in one word.
        reason: &'static str,
    },
    /// Messages of other servers have not come, by their numbers.
    Missing {
        /// How many.
        messages: u64,
    },
    /// Entries of the stream were gone before they were read, or were too many to catch up with.
    Missed {
        /// How many.
        entries: u64,
    },
    /// Redis has no memory left for the stream: messages go past it, to those who are there.
    StreamFull,
    /// Somebody has used up the stream's IDs: nothing can be added before it is deleted. Messages
    /// go past it, to those who are there.
    StreamExhausted,
    /// The stream had lost messages of this server, which are added again.
    Replayed {
        /// How many.
        messages: u64,
    },
    /// Other servers are not heard any longer.
    PeersGone {
        /// How many.
        gone: usize,
        /// How many are left.
        left: usize,
    },
}

impl Event {
    /// Whether somebody should do something about it.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::Joined | Self::InTime | Self::PeersGone { .. } => false,
            Self::Lost(_)
            | Self::Misconfigured(_)
            | Self::Stalled
            | Self::Late
            | Self::Dropped { .. }
            | Self::Missing { .. }
            | Self::Missed { .. }
            | Self::StreamFull
            | Self::StreamExhausted
            | Self::Replayed { .. } => true,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined => f.write_str("messages go through Redis"),
            Self::Lost(why) => write!(f, "no way through Redis: {why}"),
            Self::Misconfigured(why) => write!(f, "Redis and the settings do not agree: {why}"),
            Self::Stalled => f.write_str("Redis does not answer: another connection is tried"),
            Self::Late => f.write_str("Redis is late: local clients do not wait for it"),
            Self::InTime => f.write_str("Redis is in time again"),
            Self::Dropped { messages, reason } => {
                write!(
                    f,
                    "messages dropped on their way to Redis: {messages} reason={reason}"
                )
            }
            Self::Missing { messages } => {
                write!(f, "messages of other servers have not come: {messages}")
            }
            Self::Missed { entries } => {
                write!(
                    f,
                    "entries of the stream were gone before they were read: {entries}"
                )
            }
            Self::StreamFull => {
                f.write_str("Redis has no memory left for the stream: messages go past it")
            }
            Self::StreamExhausted => f.write_str(
                "the stream has no IDs left, and should be deleted: messages go past it",
            ),
            Self::Replayed { messages } => {
                write!(
                    f,
                    "the stream had lost messages, which are added again: {messages}"
                )
            }
            Self::PeersGone { gone, left } => {
                write!(f, "other servers are silent: {gone}, and {left} are left")
            }
        }
    }
}
