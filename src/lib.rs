//! A WebSocket broadcast server: what one client sends, every client in the same room hears.
//!
//! RFC 6455 written by hand on mio, one thread, few dependencies. The `fanfare` binary is one use
//! of this library; here are the others, from the outside in:
//!
//! ```text
//!            sockets, clock, log          who, what, when            bytes in, events out
//!          ┌─────────────────────┐      ┌──────────────────┐      ┌─────────────────────┐
//!   mio ──▶│ server::Server      │─────▶│ hub::Hub         │─────▶│ protocol::Connection│
//!          │ one loop, one buffer│      │ rooms, deadlines │      │ frames, messages    │
//!          └─────────────────────┘      └──────────────────┘      └─────────────────────┘
//!                                    calls your hub::Handler
//! ```
//!
//! 1. **A server with your handler**: [`Server`] and [`Handler`].
//! 2. **The hub in your own loop**, or in a simulator: [`Hub`], which knows no socket and no clock.
//! 3. **The protocol alone**: [`protocol`], a function of bytes.
//!
//! ```
//! use fanfare::{Handler, Outbox, ClientId, Message, Server, ServerConfig};
//!
//! /// Every client hears itself, and nobody else.
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: Message<'_>) {
//!         outbox.send(id, message.kind, message.payload);
//!     }
//! }
//!
//! let mut config = ServerConfig::default();
//! config.listen = vec!["127.0.0.1:0".parse()?];
//! let mut server = Server::bind(config)?;
//! let handle = server.handle();
//! std::thread::spawn(move || handle.stop());
//! server.run(&mut Echo)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a broadcast costs
//!
//! A message is encoded once, into its room's batch of the turn. At the end of the turn the batch
//! becomes shared bytes, and each member's queue gets a reference to them: nothing is copied or
//! allocated for a member who keeps up, and everything that was said in a turn is one write per
//! member. What slow members have not taken yet is held once for all of them, and whoever owes more
//! than [`HubConfig::max_client_buffer`] is dropped, never skipped; unless [`SlowPolicy`] says so.
//!
//! # Who may do what
//!
//! [`Handler::on_upgrade`] is asked before a client joins anything. It may refuse, with a status or
//! with a Close that scripts in browsers can see ([`HubConfig::reject_with`]); and whom it lets in
//! may be allowed to listen alone, or for a while ([`Admission`]).
//!
//! # Many servers, one room
//!
//! With the feature `redis`, `ServerConfig::backplane` has all rooms shared with other servers
//! through Redis: `config.backplane = Some("redis://127.0.0.1:6379".parse()?)`. What the hub, its
//! handler, or a [`ServerHandle`] says to a room is heard by its members on all of them; what is
//! said to one client is not. The module `backplane` is for loops of your own.
//!
//! # What is answered to a request
//!
//! | request | answer |
//! |---|---|
//! | valid upgrade of `/ws` or `/ws/<room>` | 101 |
//! | anything malformed, without exactly one `Host`, or with a body | 400 |
//! | not let in by [`Handler::on_upgrade`] | 401, 403, or 400 |
//! | origin not allowed | 403 |
//! | nothing there | 404 |
//! | not GET | 405 |
//! | head not in time | 408 |
//! | request line over 8 KiB | 414 |
//! | WebSocket path without an upgrade, or another version than 13 | 426 |
//! | too many connections from one address | 429 |
//! | head over 16 KiB or 100 fields | 431 |
//! | full, or draining | 503 |
//! | another HTTP version than 1.1 | 505 |

#[cfg(feature = "redis")]
pub mod backplane;
pub mod hub;
mod metrics;
pub mod protocol;
pub mod server;

pub use hub::{
    Admission, Broadcast, Change, ClientId, Disconnect, Handler, Hub, HubConfig, HubConfigError,
    MemoryPart, MemoryScope, Network, Outbox, Peer, Rate, RejectWith, Rejection, RoomId,
    SlowPolicy, TrustedProxy,
};
pub use protocol::http::Request;
pub use protocol::{
    CloseCode, Handshake, HandshakeError, Limits, Message, MessageKind, OriginPattern, Payload,
    ProtocolError,
};
#[cfg(all(feature = "redis", feature = "tls"))]
pub use server::TlsClientConfig;
pub use server::{
    BindError, ListenAddress, Outcome, PublishError, Server, ServerConfig, ServerHandle,
};
#[cfg(feature = "tls")]
pub use server::{TlsConfig, TlsError};
