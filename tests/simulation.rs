//! The hub in a made-up world without sockets: people come, talk, dawdle, cheat and vanish, time
//! passes in small and in large steps, and all of it follows from one number.
//!
//! What is compared is what the bytes on the wire mean by RFC 6455, read and written by hand here,
//! with what the hub does:
//!
//! 1. what the application is given is what that client has really sent, in order;
//! 2. what a client hears is what was said to its room from the join on, without a gap, and what
//!    was said to it alone in its place between;
//! 3. nobody honest is failed, and nobody who takes everything is too slow;
//! 4. whoever is silent, stuck or leaving is gone in time, and nobody before;
//! 5. news of those who have left changes nothing;
//! 6. the memory that the hub holds, by the allocator's books, stays below what may be owed;
//! 7. the same seed does the same.
//!
//! A failure prints the seed and the fewest steps that were found to fail in the same way. To see
//! it again: `SEED=… cargo test --test simulation one_world -- --nocapture`.

#[path = "simulation/app.rs"]
mod app;
#[path = "simulation/cast.rs"]
mod cast;
#[path = "simulation/checks.rs"]
mod checks;
#[path = "simulation/compare.rs"]
mod compare;
#[path = "simulation/departure.rs"]
mod departure;
#[path = "simulation/hearing.rs"]
mod hearing;
#[path = "simulation/peer.rs"]
mod peer;
#[path = "simulation/plan.rs"]
mod plan;
mod runner;
#[path = "simulation/speech.rs"]
mod speech;
#[path = "simulation/turn.rs"]
mod turn;
#[path = "simulation/wire.rs"]
mod wire;
#[path = "simulation/world.rs"]
mod world;

use cast::Tally;

/// Seeds in one run, and steps in each. Without optimisation a seed takes ten times as long.
const SEEDS: u64 = if cfg!(debug_assertions) { 200 } else { 2000 };
const STEPS: usize = 600;

#[test]
fn every_seed_holds() {
    let (seeds, tally) = runner::many("simulation", SEEDS, STEPS);
    for cause in [
        "closed",
        "ended",
        "gone",
        "reset",
        "protocol",
        "flood",
        "too_slow",
        "timed_out",
        "refused",
        "answered",
        "not_allowed",
    ] {
        assert!(
            tally.causes.contains_key(cause),
            "nobody has left for {cause}"
        );
    }
    assert!(tally.stale > seeds);
}

#[test]
#[ignore = "an hour, or SECONDS_OF_SIMULATION=…; from seed 1,000,000 on, or from SEED=…"]
fn long() {
    runner::long("simulation", STEPS);
}

/// One seed, to look at.
#[test]
fn one_world() {
    runner::one(STEPS);
}
