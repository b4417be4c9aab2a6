//! How long echoes took, in few numbers.

use std::fmt::Write;
use std::time::Duration;

/// The upper bounds of the buckets but the last, which has none: in nanoseconds, and as they are
/// written, in seconds. From what one message takes on one machine to what no deadline allows.
const BOUNDS: [(u64, &str); 15] = [
    (50_000, "0.00005"),
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (1_000_000_000, "1.0"),
    (5_000_000_000, "5.0"),
    (30_000_000_000, "30.0"),
];

/// Durations, counted in buckets of fixed bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Histogram {
    /// How many lie in each bucket and in none before it.
    buckets: [u64; BOUNDS.len() + 1],
    /// The sum of all, in nanoseconds: enough for 584 years.
    sum: u64,
}

impl Histogram {
    /// Counts one more.
    pub(super) fn observe(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < nanos);
        self.buckets[bucket] += 1;
        self.sum = self.sum.saturating_add(nanos);
    }

    /// Appends the samples in the text format of Prometheus: buckets, each with those before it,
    /// the sum in seconds, and the count.
    pub(super) fn write_samples(&self, name: &str, text: &mut String) {
        const NANOS: u64 = 1_000_000_000;

        let bounds = BOUNDS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_as_they_are_written_and_rise() {
        for (nanos, text) in BOUNDS {
            let seconds: f64 = text.parse().unwrap();
            assert_eq!(
                Duration::from_secs_f64(seconds),
                Duration::from_nanos(nanos)
            );
        }
        assert!(BOUNDS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn both_sides_of_a_bound_and_the_last_bucket() {
        let mut histogram = Histogram::default();
        for nanos in [0, 50_000, 50_001, 30_000_000_000, 30_000_000_001] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let mut text = String::new();
        histogram.write_samples("x", &mut text);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), BOUNDS.len() + 3);
        assert_eq!(
            lines[..2],
            ["x_bucket{le=\"0.00005\"} 2", "x_bucket{le=\"0.0001\"} 3"]
        );
        let last = [
            "x_bucket{le=\"30.0\"} 4",
            "x_bucket{le=\"+Inf\"} 5",
            "x_sum 60.000100002",
            "x_count 5",
        ];
        assert_eq!(lines[BOUNDS.len() - 1..], last);
    }
}
