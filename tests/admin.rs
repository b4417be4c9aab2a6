//! Operators of the built binary: its flag, its health check, and what their asking costs clients.
#![cfg(all(feature = "cli", target_os = "linux"))]

#[path = "support/pair.rs"]
#[allow(dead_code, reason = "each test binary needs a part of it")]
mod pair;
#[path = "loopback/peer.rs"]
#[allow(dead_code, reason = "each test binary needs a part of it")]
mod peer;
#[path = "support/process.rs"]
mod process;
mod support;

#[path = "admin/asking.rs"]
mod asking;
#[path = "admin/flag.rs"]
mod flag;
