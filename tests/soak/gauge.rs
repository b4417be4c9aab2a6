//! What the server holds, second by second, and whether it grows.

use std::fmt;

/// The most that a figure may grow in a minute, in parts of itself, beyond what its noise explains.
const MAX_GROWTH: f64 = 0.01;

/// How many standard errors of the slope are called noise. What an allocator holds goes up and down
/// by steps that last for seconds, so the errors allow for samples that resemble their neighbours.
const NOISE: f64 = 3.0;

/// Fewer samples than these tell nothing of a growth of one per cent.
const MIN_SAMPLES: usize = 60;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Since the first one, in seconds.
    pub(crate) at: f64,
    pub(crate) rss_bytes: u64,
    pub(crate) descriptors: usize,
}

/// A line through samples, by least squares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// Growth in a minute, in parts of the mean.
    growth: f64,
    /// The standard error of the growth.
    error: f64,
    samples: usize,
}

impl Line {
    /// Through the second half of these.
    pub(crate) fn through(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> Self {
        let samples = &samples[samples.len() / 2..];
        let count = samples.len() as f64;
        let mean_of = |f: &dyn Fn(&Sample) -> f64| samples.iter().map(f).sum::<f64>() / count;
        let (middle, mean) = (mean_of(&|sample| sample.at), mean_of(&figure));
        let spread: f64 = samples.iter().map(|s| (s.at - middle).powi(2)).sum();
        let slope = samples
            .iter()
            .map(|s| (s.at - middle) * (figure(s) - mean))
            .sum::<f64>()
            / spread;
        let rest = |s: &Sample| figure(s) - mean - slope * (s.at - middle);
        let rests: Vec<f64> = samples.iter().map(rest).collect();
        let squares: f64 = rests.iter().map(|rest| rest * rest).sum();
        let neighbours: f64 = rests.windows(2).map(|pair| pair[0] * pair[1]).sum();
        // The part of a deviation that is still there one sample later.
        let memory = (neighbours / squares.max(f64::MIN_POSITIVE)).clamp(0.0, 0.99);
        let variance = squares / (count - 2.0) * (1.0 + memory) / (1.0 - memory);
        Self {
            growth: 60.0 * slope / mean,
            error: 60.0 * (variance / spread).sqrt() / mean,
            samples: samples.len(),
        }
    }

    /// Whether the figure grows, as far as so many samples can tell.
    pub(crate) fn grows(&self) -> bool {
        self.samples >= MIN_SAMPLES && self.growth - NOISE * self.error > MAX_GROWTH
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = [self.growth, self.error].map(|part| 100.0 * part);
        write!(f, "{:+.2} %/min (± {:.2})", percent[0], percent[1])
    }
}

#[test]
fn growth_is_told_from_noise() {
    // A server of 10 MB that grows by so much of that in a minute, and goes up and down by `noise`
    // bytes every so many seconds.
    let line = |growth: f64, noise: f64, period: f64| {
        let samples: Vec<Sample> = (0..240)
            .map(|second| Sample {
                at: f64::from(second),
                rss_bytes: 0,
                descriptors: 0,
            })
            .collect();
        Line::through(&samples, |sample| {
            let is_up = (sample.at / period).floor() * 37.0 % 11.0 < 5.0;
            1e7 * (1.0 + growth * sample.at / 60.0) + if is_up { noise } else { 0.0 }
        })
    };
    assert!(!line(0.0, 0.0, 1.0).grows() && !line(0.0, 1e5, 1.0).grows());
    assert!(!line(0.008, 0.0, 1.0).grows() && !line(0.0, 1e6, 10.0).grows());
    assert!(line(0.012, 0.0, 1.0).grows() && line(0.02, 1e4, 1.0).grows());
    assert!(line(0.1, 1e5, 10.0).grows() && !line(0.1, 3e6, 10.0).grows());
}
