//! What the fuzz targets do with their input.
//!
//! Each is a plain function of bytes that panics where something is wrong: libFuzzer calls it with
//! what it makes up (`fuzz_targets/`), and `tests/fuzz_seeds.rs` of the crate above with the seeds.
//! So this file is the root of a crate here and a module there, and names its own parts relatively.

#![forbid(unsafe_code)]

mod client;
pub mod close_payload;
pub mod connection;
pub mod connection_vs_reference;
pub mod connection_vs_tungstenite;
#[cfg(feature = "redis")]
pub mod envelope;
pub mod forwarded;
pub mod frame_header;
pub mod handshake;
mod heard;
pub mod http_body;
pub mod http_head;
pub mod hub;
mod hub_member;
mod hub_people;
mod hub_world;
mod plan;
pub mod proxy_header;
mod reference;
#[cfg(feature = "redis")]
pub mod resp;
mod strict_request;
pub mod utf8;

/// A target's body.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its file, its binary and its folder of seeds.
pub const TARGETS: &[(&str, Target)] = &[
    ("close_payload", close_payload::run),
    ("connection", connection::run),
    ("connection_vs_reference", connection_vs_reference::run),
    ("connection_vs_tungstenite", connection_vs_tungstenite::run),
    #[cfg(feature = "redis")]
    ("envelope", envelope::run),
    ("forwarded", forwarded::run),
    ("frame_header", frame_header::run),
    ("handshake", handshake::run),
    ("http_body", http_body::run),
    ("http_head", http_head::run),
    ("hub", hub::run),
    ("proxy_header", proxy_header::run),
    #[cfg(feature = "redis")]
    ("resp", resp::run),
    ("utf8", utf8::run),
];
