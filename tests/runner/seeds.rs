//! Many seeds, on all cores, until one fails.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::shrink;
use crate::Tally;

/// Of so many seeds one is played twice.
const TWICE: u64 = 20;

/// Plays seeds from `first` on, on all cores, for as long as `goes_on`.
pub(crate) fn play(first: u64, steps: usize, goes_on: impl Fn(u64) -> bool + Sync) -> Tally {
    let next = AtomicU64::new(first);
    let has_failed = AtomicBool::new(false);
    let work = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if has_failed.load(Ordering::Relaxed) || !goes_on(seed) {
                return Ok(tally);
            }
            match shrink::play(seed, steps, seed % TWICE == 0) {
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

/// The machine's time.
#[expect(clippy::disallowed_methods, reason = "to say how long it took")]
pub(crate) fn clock() -> Instant {
    Instant::now()
}

/// What a variable of the environment says.
pub(crate) fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {value}")),
    )
}
