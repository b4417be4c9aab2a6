//! The timer wheel. It is private to the hub, so its file is built once more here.

mod client {
    /// As large as the hub's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct ClientId(pub(super) u32, pub(super) u32);
}

#[path = "../../../src/hub/wheel.rs"]
#[allow(
    clippy::module_inception,
    dead_code,
    reason = "the hub's file as it is"
)]
mod wheel;

use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

use client::ClientId;
use wheel::TimerWheel;

/// How far ahead a hint is entered, as in a heartbeat.
const AHEAD: Duration = Duration::from_secs(25);

/// Hints that come in one tick of 50 ms, each of which is taken out and entered again.
#[divan::bench(args = [1, 10, 100])]
fn pop_and_insert(bencher: Bencher, per_tick: u32) {
    const TICK: Duration = Duration::from_millis(50);

    let mut now = crate::start();
    let mut wheel = TimerWheel::new(now);
    for index in 0..500 * per_tick {
        let tick = wheel.tick(now + TICK * (index / per_tick + 1), None);
        wheel.insert(ClientId(index, 0), tick);
    }
    bencher.counter(ItemsCount::new(per_tick)).bench_local(|| {
        now += TICK;
        let mut count = 0;
        while let Some((id, _)) = wheel.pop(black_box(now)) {
            let tick = wheel.tick(now + AHEAD, None);
            wheel.insert(id, tick);
            count += 1;
        }
        assert_eq!(count, per_tick);
    });
}

/// The look at the next deadline that every turn takes: at worst, 1023 slots are empty.
#[divan::bench(args = [1, 500, 1023])]
fn next_deadline(bencher: Bencher, ticks_ahead: u32) {
    let now = crate::start();
    let mut wheel = TimerWheel::new(now);
    let tick = wheel.tick(now + Duration::from_millis(50) * ticks_ahead, None);
    wheel.insert(ClientId(0, 0), tick);
    bencher.bench_local(|| black_box(&wheel).next_deadline());
}
