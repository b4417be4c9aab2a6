//! How long something took, over and over, in few numbers.

use std::fmt::Write;
use std::time::Duration;

/// The most buckets that a histogram has, the last one included.
const MAX_BUCKETS: usize = 16;

/// Durations, counted in buckets of fixed bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// The upper bounds of the buckets but the last, which has none.
    bounds: &'static [Duration],
    /// How many lie in each bucket and in none before it.
    buckets: [u64; MAX_BUCKETS],
    /// The sum of all, in nanoseconds: enough for 584 years.
    sum: u64,
}

impl Histogram {
    /// An empty one. The bounds rise.
    pub(crate) const fn new(bounds: &'static [Duration]) -> Self {
        assert!(bounds.len() < MAX_BUCKETS, "there are so many buckets");
        Self {
            bounds,
            buckets: [0; MAX_BUCKETS],
            sum: 0,
        }
    }

    /// Counts one more.
    pub(crate) fn observe(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|bound| *bound < duration);
        self.buckets[bucket] += 1;
        self.sum = self.sum.saturating_add(nanos);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Appends the samples in the text format of Prometheus: buckets, each with those before it,
    /// the sum in seconds, and the count.
    pub(super) fn write_samples(&self, name: &str, text: &mut String) {
        const NANOS: u64 = 1_000_000_000;

        let last = "+Inf".to_owned();
        let bounds = self.bounds.iter().copied().map(seconds).chain([last]);
        let mut so_far = 0;
        // Writing to a String cannot fail.
        for (bound, count) in bounds.zip(self.buckets) {
            so_far += count;
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {so_far}");
        }
        let (whole, part) = (self.sum / NANOS, self.sum % NANOS);
        let _ = writeln!(text, "{name}_sum {whole}.{part:09}\n{name}_count {so_far}");
    }
}

/// A bound as it is written: in seconds, and always with a point.
fn seconds(bound: Duration) -> String {
    let text = bound.as_secs_f64().to_string();
    if text.contains('.') {
        text
    } else {
        text + ".0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: [Duration; 3] = [
        Duration::from_micros(50),
        Duration::from_micros(250),
        Duration::from_secs(1),
    ];

    #[test]
    fn both_sides_of_a_bound_and_the_last_bucket() {
        let mut histogram = Histogram::new(&BOUNDS);
        for nanos in [0, 50_000, 50_001, 1_000_000_000, 1_000_000_001] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        assert_eq!(histogram.count(), 5);
        let mut text = String::new();
        histogram.write_samples("x", &mut text);
        let lines: Vec<&str> = text.lines().collect();
        let expected = [
            "x_bucket{le=\"0.00005\"} 2",
            "x_bucket{le=\"0.00025\"} 3",
            "x_bucket{le=\"1.0\"} 4",
            "x_bucket{le=\"+Inf\"} 5",
            "x_sum 2.000100002",
            "x_count 5",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn there_is_room_for_the_most_buckets() {
        const MANY: [Duration; MAX_BUCKETS - 1] = [Duration::ZERO; MAX_BUCKETS - 1];

        let mut histogram = Histogram::new(&MANY);
        histogram.observe(Duration::MAX);
        assert_eq!(histogram.count(), 1);
        assert_eq!(histogram.sum, u64::MAX);
    }
}
