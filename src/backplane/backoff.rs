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

#[cfg(test)]
mod tests {
    use super::*;

    /// The `attempt`th wait (from 0) of many servers.
    fn waits(attempt: usize) -> Vec<Duration> {
        (0..2000)
            .map(|seed| {
                let mut backoff = Backoff::new(seed);
                (0..attempt).for_each(|_| _ = backoff.next_wait());
                backoff.next_wait()
            })
            .collect()
    }

    #[test]
    fn waits_fill_their_bounds_and_no_more() {
        let widest = [50, 100, 200, 400, 800, 1000, 1000];
        for (attempt, widest) in (0..).zip(widest).chain([(70, 1000)]) {
            let widest = Duration::from_millis(widest);
            let waits = waits(attempt);
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!(*least >= FLOOR && *most <= FLOOR + widest);
            assert!(*least < FLOOR + widest / 50, "{least:?} of {widest:?}");
            assert!(*most > FLOOR + widest * 49 / 50, "{most:?} of {widest:?}");
            let low = waits.iter().filter(|wait| **wait < FLOOR + widest / 2);
            assert!((900..1100).contains(&low.count()), "halves are as likely");
        }
    }

    #[test]
    fn a_success_begins_anew() {
        let mut backoff = Backoff::new(1);
        (0..20).for_each(|_| _ = backoff.next_wait());
        for _ in 0..100 {
            backoff.reset();
            assert!(backoff.next_wait() <= FLOOR + FIRST);
        }
    }

    #[test]
    fn attempts_do_not_overflow() {
        let mut backoff = Backoff::new(1);
        backoff.attempts = u32::MAX;
        assert!(backoff.next_wait() <= FLOOR + CEILING);
        assert!(backoff.next_wait() <= FLOOR + CEILING);
    }

    #[test]
    fn the_generator_is_the_published_one() {
        // The first numbers of SplitMix64 from 1234567, as its authors' code prints them.
        let mut random = Random::new(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!([random.next(), random.next(), random.next()], expected);
    }
}
