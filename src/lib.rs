//! fanfare
pub mod hub;
pub mod protocol;
pub mod server;
pub use hub::{Broadcast, ClientId, Disconnect, Handler, Hub, HubConfig, Outbox, RoomId};
pub use protocol::http::Request;
pub use protocol::{CloseCode, Handshake, Limits, Message, MessageKind, OriginPattern};
pub use server::{BindError, ListenAddress, Outcome, Server, ServerConfig, ServerHandle};
