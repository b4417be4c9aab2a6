//! What can be wrong with what a client hears.

use std::fmt;

/// Why a run fails. The first fault ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A message that was said before this one was not heard before it.
    Missing {
        /// Who said it.
        publisher: u32,
        /// Which message was due.
        expected: u32,
        /// Which came.
        heard: u32,
    },
    /// A message was heard again, or after a later one.
    Doubled {
        /// Who said it.
        publisher: u32,
        /// Which message was due.
        expected: u32,
        /// Which came.
        heard: u32,
    },
    /// The order of the messages of different publishers is not the one that others in the room
    /// heard.
    OtherOrder {
        /// Who said the message that came.
        publisher: u32,
        /// Which of its messages that is.
        heard: u32,
    },
    /// A message is of somebody who does not speak in this room.
    Stranger {
        /// Who said it.
        publisher: u32,
    },
    /// The payload is not the one that was said.
    Corrupt,
    /// The bytes in the middle of a frame are not those that others in the room heard.
    Differs,
    /// The payload is shorter or longer than what was said.
    Length(u64),
    /// The frame is masked: RFC 6455, section 5.1, forbids it to a server.
    Masked,
    /// A frame with this first byte was not to come: another opcode, a fragment, or reserved bits.
    Unexpected(u8),
    /// A control frame is longer than RFC 6455, section 5.5, allows.
    LongControl,
    /// The server closes the connection, with this status code.
    Close(Option<u16>),
    /// The fastest client of the room is so many bytes ahead of the slowest.
    FarBehind(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing {
                publisher,
                expected,
                heard,
            } => write!(
                f,
                "message {expected} of publisher {publisher} is missing: {heard} was heard"
            ),
            Self::Doubled {
                publisher,
                expected,
                heard,
            } => write!(
                f,
                "message {heard} of publisher {publisher} came again, or late: {expected} was due"
            ),
            Self::OtherOrder { publisher, heard } => write!(
                f,
                "message {heard} of publisher {publisher} came where others heard another"
            ),
            Self::Stranger { publisher } => {
                write!(f, "publisher {publisher} does not speak in this room")
            }
            Self::Corrupt => write!(f, "a payload is corrupt"),
            Self::Differs => write!(f, "bytes within a frame differ from what others heard"),
            Self::Length(len) => write!(f, "a payload has {len} bytes"),
            Self::Masked => write!(f, "a frame is masked"),
            Self::Unexpected(first) => {
                write!(f, "unexpected frame: its first byte is {first:#04x}")
            }
            Self::LongControl => write!(f, "a control frame is too long"),
            Self::Close(Some(code)) => write!(f, "the server closes the connection: {code}"),
            Self::Close(None) => write!(f, "the server closes the connection without a code"),
            Self::FarBehind(bytes) => {
                write!(f, "others of the room are more than {bytes} bytes ahead")
            }
        }
    }
}

impl std::error::Error for Fault {}
