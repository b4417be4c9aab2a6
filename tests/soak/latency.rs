//! How long deliveries took, in buckets of an eighth of a power of two.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Enough for any number of microseconds.
const BUCKETS: usize = 64 * 8;

#[derive(Clone)]
pub(crate) struct Latency(Vec<u64>);

impl Latency {
    pub(crate) fn new() -> Self {
        Self(vec![0; BUCKETS])
    }

    pub(crate) fn note(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0[bucket(micros)] += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(&other.0) {
            *count += more;
        }
    }

    /// The duration that so many of a thousand did not exceed.
    pub(crate) fn per_mille(&self, share: u64) -> Duration {
        let wanted = self.0.iter().sum::<u64>() * share / 1000;
        let mut seen = 0;
        let reached = self.0.iter().position(|count| {
            seen += count;
            seen >= wanted && seen > 0
        });
        Duration::from_micros(reached.map_or(0, upper_bound))
    }
}

/// Eight buckets for each power of two, and one for each number below 16.
fn bucket(micros: u64) -> usize {
    let shift = (64 - micros.leading_zeros()).saturating_sub(4);
    let leading = usize::try_from(micros >> shift).expect("four bits");
    8 * shift as usize + leading
}

fn upper_bound(bucket: usize) -> u64 {
    let shift = (bucket / 8).saturating_sub(1);
    ((bucket - 8 * shift) as u64 + 1)
        .checked_shl(shift as u32)
        .map_or(u64::MAX, |above| above - 1)
}

/// The buckets that are not empty: `12:3401,13:20`.
impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        for (position, (bucket, count)) in used.enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{bucket}:{count}")?;
        }
        Ok(())
    }
}

impl FromStr for Latency {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut latency = Self::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (bucket, count) = pair.split_once(':').ok_or(())?;
            let bucket: usize = bucket.parse().map_err(drop)?;
            *latency.0.get_mut(bucket).ok_or(())? += count.parse::<u64>().map_err(drop)?;
        }
        Ok(latency)
    }
}

#[test]
fn a_bucket_is_at_most_an_eighth_too_wide() {
    for micros in [0, 1, 15, 16, 17, 31, 32, 1000, 999_999, 1 << 40] {
        let bound = upper_bound(bucket(micros));
        assert!(
            micros <= bound && bound <= micros + micros / 8,
            "{micros}: {bound}"
        );
    }
}

#[test]
fn percentiles_survive_the_way_between_processes() {
    let mut latency = Latency::new();
    for micros in 1..=1000 {
        latency.note(Duration::from_micros(micros));
    }
    let copy: Latency = latency.to_string().parse().expect("its own words");
    let [median, p99] = [500, 990].map(|share| copy.per_mille(share).as_micros());
    assert!((500..=563).contains(&median), "{median}");
    assert!((990..=1114).contains(&p99), "{p99}");
}
