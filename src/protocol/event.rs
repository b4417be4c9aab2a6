//! What comes out of the bytes of a connection.

use super::close::CloseFrame;
use super::message::Message;

/// What a peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// A whole message.
    Message(Message<'i>),
    /// A Ping. Its Pong has been appended to the output; nothing else was in this step.
    Ping,
    /// A Pong, asked for or not.
    Pong,
    /// The peer began or completed the closing handshake. The answer, if one was due, has been
    /// appended to the output; nothing that follows will be read.
    Close(CloseFrame<'static>),
}
