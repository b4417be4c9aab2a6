//! RFC 6455 as a function of bytes: bytes in, events out.
//!
//! This ring knows no socket, no clock, no log and no thread. It never waits, never allocates by a
//! length that a peer declared, and never panics on what a peer sent. However the bytes of a
//! connection are cut into pieces, the events and the answers are the same.
//!
//! | what arrives | who reads it | what comes out |
//! |---|---|---|
//! | a proxy's word, if one stands before us | [`ProxyHeader`] | a [`ProxySource`] |
//! | the head | [`http::HeadBuffer`], [`http::Request`] | a request, or a [`HandshakeError`] |
//! | the request, from a proxy | [`forwarded`] | the address of the client |
//! | the request | [`Handshake`] | an [`Upgrade`] with its answer, or a [`HandshakeError`] |
//! | frames | [`Connection`] | [`Event`]s, answers, or a [`ProtocolError`] |
//!
//! What the RFC obliges an endpoint to answer (Pong, Close) is appended to the buffer that the
//! caller hands in: nothing is returned "for you to send".

mod close;
mod connection;
mod error;
mod event;
pub mod forwarded;
mod frame;
mod handshake;
pub mod http;
mod input;
mod limits;
mod mask;
mod message;
mod opcode;
mod origin;
mod partial;
mod payload;
mod proxy_header;
mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use connection::Connection;
pub use error::{HandshakeError, ProtocolError};
pub use event::Event;
pub use frame::{EncodedHeader, FrameHeader};
#[cfg(feature = "redis")]
pub(crate) use handshake::is_room_name;
pub(crate) use handshake::room_name;
pub use handshake::{Handshake, Upgrade};
pub use input::Input;
pub use limits::Limits;
pub use mask::unmask;
pub use message::{Message, MessageAssembler, MessageKind, encode_message};
pub use opcode::Opcode;
pub use origin::{InvalidOrigin, OriginPattern};
pub use payload::Payload;
pub use proxy_header::{MAX_PROXY_BLOCK, MAX_PROXY_LINE, ProxyHeader, ProxySource};
pub use utf8::{InvalidUtf8, Utf8Validator};
