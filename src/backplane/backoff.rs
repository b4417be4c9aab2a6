//! How long to wait before the next attempt.

use std::time::Duration;

/// The least wait: no attempt comes at once.
const FLOOR: Duration = Duration::from_millis(10);

/// What the first wait may add to it at most; each attempt doubles that.
const FIRST: Duration = Duration::from_millis(50);

/// What no wait adds more than: the gate of Pub/Sub, which waits 2.5 s for the others, outlasts it.
const CEILING: Duration = Duration::from_secs(1);

/// The wait while Redis says that our settings are wrong: somebody has to change something.
pub(super) const CONFIGURATION_WAIT: Duration = Duration::from_secs(5);

/// How long to wait before the next attempt to connect: ever longer, and nobody as long as anybody
/// else, so that a Redis that comes back is not met by all servers at once.
#[derive(Debug)]
pub(super) struct Backoff {
    random: Random,
    /// Attempts since the last success.
    attempts: u32,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            attempts: 0,
        }
    }

    /// The wait before the next attempt, which is counted.
    pub(super) fn next_wait(&mut self) -> Duration {
        let widest = FIRST
            .saturating_mul(1 << self.attempts.min(16))
            .min(CEILING);
        self.attempts = self.attempts.saturating_add(1);
        FLOOR + self.random.below(widest)
    }

    /// An attempt has succeeded: the subscription is confirmed. No less is a success, or whoever
    /// accepts and hangs up is called on without a pause.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// `SplitMix64` (Steele, Lea, Flood, 2014): any seed is as good as another.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From nothing up to `limit`, in whole microseconds. That some are likelier by a part in 2⁴⁴
    /// matters to nobody.
    fn below(&mut self, limit: Duration) -> Duration {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.next() % (micros + 1))
    }
}
