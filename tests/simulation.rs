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
#[path = "simulation/dice.rs"]
mod dice;
#[path = "simulation/hearing.rs"]
mod hearing;
#[path = "simulation/meter.rs"]
mod meter;
#[path = "simulation/peer.rs"]
mod peer;
#[path = "simulation/plan.rs"]
mod plan;
#[path = "simulation/shrink.rs"]
mod shrink;
#[path = "simulation/speech.rs"]
mod speech;
#[path = "simulation/turn.rs"]
mod turn;
#[path = "simulation/wire.rs"]
mod wire;
#[path = "simulation/world.rs"]
mod world;

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cast::Tally;
use plan::Plan;

/// Seeds in one run, and steps in each. Without optimisation a seed takes ten times as long.
const SEEDS: u64 = if cfg!(debug_assertions) { 200 } else { 2000 };
const STEPS: usize = 600;

/// Of so many seeds one is played twice.
const TWICE: u64 = 20;

/// How long the long run takes, in seconds, if `SECONDS_OF_SIMULATION` does not say otherwise.
const LONG: u64 = 3600;

#[test]
fn every_seed_holds() {
    let started = clock();
    let seeds = variable("SEEDS").unwrap_or(SEEDS);
    let tally = play(0, |seed| seed < seeds);
    print(seeds, &tally, started.elapsed());
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
    let started = clock();
    let limit = Duration::from_secs(variable("SECONDS_OF_SIMULATION").unwrap_or(LONG));
    let first = variable("SEED").unwrap_or(1_000_000);
    let last = AtomicU64::new(first);
    let tally = play(first, |seed| {
        last.fetch_max(seed, Ordering::Relaxed);
        started.elapsed() < limit
    });
    print(last.into_inner() - first, &tally, started.elapsed());
}

/// One seed, to look at.
#[test]
fn one_world() {
    let Some(seed) = variable("SEED") else { return };
    let plan = Plan::new(seed, STEPS);
    println!("{:#?}", plan.settings);
    if let Some(failure) = shrink::failure(&plan) {
        panic!("{}", shrink::report(seed, &plan, &failure));
    }
}

/// Plays seeds from `first` on, on all cores, for as long as `goes_on`.
fn play(first: u64, goes_on: impl Fn(u64) -> bool + Sync) -> Tally {
    let next = AtomicU64::new(first);
    let has_failed = AtomicBool::new(false);
    let work = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if has_failed.load(Ordering::Relaxed) || !goes_on(seed) {
                return Ok(tally);
            }
            match shrink::play(seed, STEPS, seed % TWICE == 0) {
                Ok(one) => tally.add(&one),
                Err(report) => {
                    // The others need not look any further.
                    has_failed.store(true, Ordering::Relaxed);
                    return Err(report);
                }
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut sum = Tally::default();
    let done: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("failures are returned"))
            .collect()
    });
    for tally in done {
        sum.add(&tally.unwrap_or_else(|report| panic!("{report}")));
    }
    sum
}

fn print(seeds: u64, tally: &Tally, elapsed: Duration) {
    println!(
        "simulation: {seeds} seeds of {STEPS} steps, {} clients, {} turns, {} messages delivered, \
         {} heard, {} stale news, at most {} KiB in one hub, {:.1} s; left: {:?}",
        tally.clients,
        tally.turns,
        tally.delivered,
        tally.heard,
        tally.stale,
        tally.peak_memory / 1024,
        elapsed.as_secs_f64(),
        tally.causes,
    );
}

#[expect(clippy::disallowed_methods, reason = "to say how long it took")]
fn clock() -> Instant {
    Instant::now()
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {value}")),
    )
}
