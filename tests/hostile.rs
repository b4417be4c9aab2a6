//! Hostile clients against the built binary.
//!
//! Each theme is a table: what is sent, and exactly what must come of it, on the wire and in the
//! room. The clients are plain sockets with a frame codec of their own. Meanwhile two honest
//! clients, the control pair, talk in the same room: they must lose nothing, hear nothing twice,
//! and hardly notice. `./test hostile` runs all of it in release mode, and prints what the pair
//! has met with.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::too_many_lines, reason = "a table is as long as it has cases")]

#[path = "hostile/abort.rs"]
mod abort;
#[path = "hostile/admin.rs"]
mod admin;
#[path = "hostile/case.rs"]
mod case;
#[path = "hostile/client.rs"]
mod client;
#[path = "hostile/close.rs"]
mod close;
#[path = "hostile/crowd.rs"]
mod crowd;
#[path = "hostile/deaf.rs"]
mod deaf;
#[path = "hostile/flood.rs"]
mod flood;
#[path = "hostile/fragments.rs"]
mod fragments;
#[path = "hostile/frames.rs"]
mod frames;
#[path = "hostile/ground.rs"]
mod ground;
#[path = "hostile/head.rs"]
mod head;
#[path = "hostile/log.rs"]
mod log;
#[path = "hostile/origin.rs"]
mod origin;
#[path = "support/pair.rs"]
mod pair;
#[path = "loopback/peer.rs"]
#[allow(dead_code, reason = "each test binary needs a part of it")]
mod peer;
#[path = "support/process.rs"]
mod process;
#[path = "hostile/proxied.rs"]
mod proxied;
#[path = "hostile/request_line.rs"]
mod request_line;
#[path = "hostile/rooms.rs"]
mod rooms;
#[path = "hostile/smuggling.rs"]
mod smuggling;
mod support;
#[path = "hostile/time.rs"]
mod time;
#[path = "hostile/upgrade.rs"]
mod upgrade;
#[path = "hostile/utf8.rs"]
mod utf8;
