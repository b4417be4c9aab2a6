//! Several servers that share their rooms through a real Redis, while everything is done to it, and
//! to the way there, that happens to one in production. Each row of the table of failures in
//! `docs/backplane.md` is a test.
//!
//! They need Debian's `redis-server`, `redis-sentinel` and `redis-cli`, and are run by
//! `./test redis`: in release mode. `FANFARE_REDIS_SEEDS` is how many random sequences of faults
//! there are, or `N..M` for those from N up to M.
#![cfg(all(feature = "cli", feature = "redis", target_os = "linux"))]
#![allow(
    clippy::disallowed_methods,
    reason = "faults last for a time, and what is measured here is the machine's"
)]

#[path = "support/process.rs"]
mod binary;
#[path = "redis/client.rs"]
mod client;
#[path = "redis/control.rs"]
mod control;
#[path = "redis/fake.rs"]
mod fake;
#[path = "redis/ledger.rs"]
mod ledger;
#[path = "redis/node.rs"]
mod node;
#[path = "redis/outcome.rs"]
mod outcome;
#[path = "loopback/peer.rs"]
#[allow(dead_code, reason = "each test binary needs a part of it")]
mod peer;
#[path = "redis/probe.rs"]
mod probe;
#[path = "redis/proxy.rs"]
mod proxy;
#[path = "redis/resp.rs"]
mod resp;
#[path = "redis/server.rs"]
mod server;
#[path = "redis/stage.rs"]
mod stage;
mod support;
#[path = "redis/talk.rs"]
mod talk;
#[cfg(feature = "tls")]
#[path = "redis/tls.rs"]
mod tls;

#[path = "redis/cluster.rs"]
mod cluster;
#[path = "redis/crashes.rs"]
mod crashes;
#[path = "redis/documented.rs"]
mod documented;
#[path = "redis/failover.rs"]
mod failover;
#[path = "redis/harness.rs"]
mod harness;
#[path = "redis/links.rs"]
mod links;
#[path = "redis/names.rs"]
mod names;
#[path = "redis/nodes.rs"]
mod nodes;
#[path = "redis/overflow.rs"]
mod overflow;
#[path = "redis/publishers.rs"]
mod publishers;
#[path = "redis/random.rs"]
mod random;
#[path = "redis/refusals.rs"]
mod refusals;
#[path = "redis/stalls.rs"]
mod stalls;

use std::time::{Duration, Instant};

/// Waits until `look` finds what it looks for.
fn wait_until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        // Nothing tells of what is looked for here.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until it is so.
fn eventually(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    wait_until(what, limit, || is_so().then_some(()));
}

/// Lets the clients talk, or a fault last, for so long.
fn pass(time: Duration) {
    std::thread::sleep(time);
}
