//! Backplanes in a made-up world without sockets: two to four servers that share their rooms, a
//! model of Redis that speaks RESP, and everything that happens to them: connections are cut,
//! stalled and black-holed, Redis dies, forgets, freezes, refuses and is replaced, servers stop and
//! die. All of it follows from one number, the time included.
//!
//! What is compared is what was said with what was heard and counted:
//!
//! 1. (I1) nobody hears a message twice;
//! 2. (I2) what one server says is heard in its order, but for what Redis has refused meanwhile;
//! 3. (I3) a server's own clients hear all of it, when the echo's deadline has passed at the
//!    latest;
//! 4. (I4) as long as nothing is wrong all servers hear the same in the same order;
//! 5. (I5) what is not heard is counted, and nothing else is: by who misses it, message by message,
//!    and by who drops it;
//! 6. (I6) what waits is bounded, by its own account and by the allocator's, and all that was said
//!    waits, was acknowledged or was dropped; when everything is heard, nothing waits;
//! 7. (I7) nobody is woken, calls or turns without end;
//! 8. (I8) nothing is lost without a reason that the model of Redis knows: with Pub/Sub it was
//!    never brought here, and with a stream it was trimmed, removed, or added by somebody who died;
//! 9. (I9) ten seconds after the last fault everything works, and what is said then is heard by
//!    all;
//! 10. the same seed does the same.
//!
//! A failure prints the seed and the fewest steps that were found to fail in the same way. To see
//! it again: `SEED=… cargo test --features redis --test simulation_redis one_world -- --nocapture`,
//! with `TRACE=1` to read what happens.
#![cfg(feature = "redis")]

#[path = "simulation_redis/commands.rs"]
mod commands;
#[path = "simulation_redis/counters.rs"]
mod counters;
#[path = "simulation_redis/ending.rs"]
mod ending;
#[path = "simulation_redis/faults.rs"]
mod faults;
#[path = "simulation_redis/holdings.rs"]
mod holdings;
#[path = "simulation_redis/ledger.rs"]
mod ledger;
#[path = "simulation_redis/node.rs"]
mod node;
#[path = "simulation_redis/pipe.rs"]
mod pipe;
#[path = "simulation_redis/plan.rs"]
mod plan;
#[path = "simulation_redis/redis.rs"]
mod redis;
mod runner;
#[path = "simulation_redis/settings.rs"]
mod settings;
#[path = "simulation_redis/stream.rs"]
mod stream;
#[path = "simulation_redis/stream_commands.rs"]
mod stream_commands;
#[path = "simulation_redis/tally.rs"]
mod tally;
#[path = "simulation_redis/verdict.rs"]
mod verdict;
#[path = "simulation_redis/wire.rs"]
mod wire;
#[path = "simulation_redis/world.rs"]
mod world;

use tally::Tally;

/// Seeds in one run, and steps in each.
const SEEDS: u64 = if cfg!(debug_assertions) { 300 } else { 3000 };
const STEPS: usize = 120;

#[test]
fn every_seed_holds() {
    runner::many("simulation of the backplane", SEEDS, STEPS);
}

#[test]
#[ignore = "an hour, or SECONDS_OF_SIMULATION=…; from seed 1,000,000 on, or from SEED=…"]
fn long() {
    runner::long("simulation of the backplane", STEPS);
}

/// One seed, to look at.
#[test]
fn one_world() {
    runner::one(STEPS);
}
