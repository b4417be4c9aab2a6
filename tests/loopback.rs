//! The server over real sockets: what a client sees of it, byte by byte, and how it ends.
//!
//! Most tests run the server in a thread of their own, through the public API, on a port that the
//! kernel chose. Nobody sleeps: every wait is for an event and has a deadline.

#[path = "loopback/access.rs"]
#[cfg(feature = "auth")]
mod access;
#[path = "loopback/addresses.rs"]
#[cfg(feature = "cli")]
mod addresses;
#[path = "loopback/admin.rs"]
mod admin;
#[path = "support/process.rs"]
#[cfg(feature = "cli")]
mod binary;
#[path = "loopback/closing.rs"]
mod closing;
#[path = "loopback/draining.rs"]
mod draining;
#[path = "loopback/fake_redis.rs"]
#[cfg(feature = "redis")]
mod fake_redis;
#[path = "loopback/files.rs"]
#[cfg(feature = "cli")]
mod files;
#[path = "loopback/handshake.rs"]
mod handshake;
#[path = "loopback/heartbeat.rs"]
mod heartbeat;
#[path = "loopback/large.rs"]
mod large;
#[path = "loopback/limits.rs"]
#[cfg(feature = "cli")]
mod limits;
#[path = "loopback/listening.rs"]
mod listening;
#[path = "loopback/malformed.rs"]
mod malformed;
#[path = "loopback/peer.rs"]
mod peer;
#[path = "loopback/pressure.rs"]
mod pressure;
#[path = "loopback/process.rs"]
#[cfg(feature = "cli")]
mod process;
#[path = "loopback/reconfiguring.rs"]
mod reconfiguring;
#[path = "loopback/redis.rs"]
#[cfg(feature = "redis")]
mod redis;
#[path = "loopback/refusals.rs"]
mod refusals;
#[path = "loopback/reloading.rs"]
#[cfg(feature = "cli")]
mod reloading;
#[path = "loopback/rooms.rs"]
mod rooms;
#[path = "loopback/running.rs"]
mod running;
#[path = "support/scratch.rs"]
#[cfg(feature = "auth")]
mod scratch;
#[path = "loopback/stopping.rs"]
mod stopping;
#[path = "loopback/supervisor.rs"]
#[cfg(feature = "cli")]
mod supervisor;
#[path = "loopback/tls.rs"]
#[cfg(feature = "tls")]
mod tls;
