//! A soak: the release build among two thousand clients who come, speak, listen and go, some of
//! them slow and some hostile. Nobody who is honest may miss a message or be dropped, everybody
//! who leaves must have a cause in the log, and the server must not grow.
//!
//! Run it by `./test soak`, or `./test soak=3600` for an hour. `SEED` repeats what the clients do,
//! though not the moments at which they do it.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(
    clippy::disallowed_methods,
    reason = "what is measured here is the machine's time"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "figures are printed to a few digits, and numbers are cut where the low bits are meant"
)]

mod attack;
mod connection;
mod gauge;
mod honest;
mod latency;
mod ledger;
mod listener;
mod payload;
mod plan;
mod processes;
mod random;
mod room;
mod rough;
#[path = "../support/process.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;
mod watch;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::str::FromStr;
use std::time::Duration;

use watch::Watch;

/// How long the clients come and go, unless `SOAK_SECONDS` says otherwise.
const SECONDS: u64 = 180;

#[test]
#[ignore = "2000 clients for three minutes: run by ./test soak"]
fn honest_clients_miss_nothing_and_the_server_does_not_grow() {
    let seed = variable("SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let duration = Duration::from_secs(variable("SOAK_SECONDS").unwrap_or(SECONDS));
    println!("SEED={seed} for {} s", duration.as_secs());
    let mut watch = Watch::start(seed);
    watch.gather();
    watch.live(duration);
    watch.disband();
    watch.report();
}

/// What the test above starts again and again.
#[test]
#[ignore = "a part of the soak"]
fn a_process_of_clients() {
    processes::play_role();
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    let value = text.parse().ok();
    Some(value.unwrap_or_else(|| panic!("{name}={text} is no number")))
}
