//! Lets made-up worlds happen: many seeds, as many as there is time for, or one. A failure prints
//! its seed and the fewest steps that were found to fail in the same way.
//!
//! What a world is says each simulation: it has a `plan` with settings and steps, a `world` in
//! which a plan happens, and a [`Tally`] of what happened.

pub(crate) mod dice;
pub(crate) mod meter;
pub(crate) mod seeds;
pub(crate) mod shrink;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Tally;
use crate::plan::Plan;
use seeds::{clock, play, variable};

/// How long the long run takes, in seconds, if `SECONDS_OF_SIMULATION` does not say otherwise.
const LONG: u64 = 3600;

/// Where it begins, far behind what the short one plays, if `SEED` does not say otherwise.
const FIRST_OF_LONG: u64 = 1_000_000;

/// Plays the first so many seeds, or as many as `SEEDS` says. Returns how many, and what happened.
pub(crate) fn many(what: &str, seeds: u64, steps: usize) -> (u64, Tally) {
    let started = clock();
    let seeds = variable("SEEDS").unwrap_or(seeds);
    let tally = play(0, steps, |seed| seed < seeds);
    print(what, seeds, steps, &tally, started.elapsed());
    (seeds, tally)
}

/// Plays seeds for an hour, or for `SECONDS_OF_SIMULATION`.
pub(crate) fn long(what: &str, steps: usize) {
    let started = clock();
    let limit = Duration::from_secs(variable("SECONDS_OF_SIMULATION").unwrap_or(LONG));
    let first = variable("SEED").unwrap_or(FIRST_OF_LONG);
    let last = AtomicU64::new(first);
    let tally = play(first, steps, |seed| {
        last.fetch_max(seed, Ordering::Relaxed);
        started.elapsed() < limit
    });
    let seeds = last.into_inner() - first;
    print(what, seeds, steps, &tally, started.elapsed());
}

/// Plays the seed that `SEED` names, to look at.
pub(crate) fn one(steps: usize) {
    let Some(seed) = variable("SEED") else { return };
    let plan = Plan::new(seed, steps);
    println!("{:#?}", plan.settings);
    if let Some(failure) = shrink::failure(&plan) {
        panic!("{}", shrink::report(seed, &plan, &failure));
    }
}

fn print(what: &str, seeds: u64, steps: usize, tally: &Tally, elapsed: Duration) {
    let seconds = elapsed.as_secs_f64();
    println!("{what}: {seeds} seeds of {steps} steps, {seconds:.1} s; {tally}");
}
