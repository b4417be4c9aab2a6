//! The result, as JSON or as text.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::options::{Options, Pace, Scenario};
use crate::process::{Memory, Used};

/// One value of the result.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing: the option was not given, or there is no such thing here.
    Null,
    /// A word.
    Text(String),
    /// A count.
    Count(u64),
    /// A number with a fraction.
    Number(f64),
    /// Counts, one after the other.
    Counts(Vec<u64>),
    /// Numbers with names.
    Numbers(Vec<(&'static str, f64)>),
}

/// What was measured, by name, in the order of printing.
#[derive(Clone, Debug, Default)]
pub struct Report(Vec<(&'static str, Value)>);

/// What a scenario has found out, of which a report is made.
#[derive(Debug)]
pub struct Measured<'m> {
    /// Messages said.
    pub messages: u64,
    /// Messages heard, by all.
    pub deliveries: u64,
    /// How long it took.
    pub nanoseconds: u64,
    /// What was used meanwhile.
    pub used: Used,
    /// The server's memory before anybody was connected.
    pub before: Memory,
    /// The server's memory at the end, with all connected.
    pub after: Memory,
    /// Nanoseconds.
    pub latency: Option<&'m Histogram<u64>>,
}

impl Report {
    /// What every scenario reports.
    pub fn new(options: &Options, measured: &Measured) -> Self {
        let mut report = Self::default();
        let (mut window, mut burst, mut rate) = (Value::Null, Value::Null, Value::Null);
        match options.pace {
            Pace::Burst(count) => burst = Value::Count(count.into()),
            Pace::Window(count) => window = Value::Count(count.into()),
            // Nobody speaks.
            Pace::Rate(_) if options.scenario == Scenario::Idle => {}
            Pace::Rate(number) => rate = Value::Number(number),
        }
        report.add("scenario", Value::Text(options.scenario.name().to_owned()));
        report.add("clients", Value::Count(options.clients as u64));
        report.add("publishers", Value::Count(options.publishers.into()));
        report.add("size", Value::Count(options.size as u64));
        report.add("window", window);
        report.add("burst", burst);
        report.add("rate", rate);
        report.add("messages", Value::Count(measured.messages));
        report.add("deliveries", Value::Count(measured.deliveries));
        let seconds = measured.nanoseconds as f64 / 1e9;
        report.add("seconds", Value::Number(seconds));
        let used = &measured.used;
        for (name, per_delivery, ns) in [
            ("cpu_ns", "cpu_ns_per_delivery", used.cpu_ns),
            ("user_ns", "user_ns_per_delivery", used.user_ns),
            ("system_ns", "system_ns_per_delivery", used.system_ns),
        ] {
            report.add(name, Value::Count(ns));
            report.add(per_delivery, per(ns, measured.deliveries));
        }
        report.add("load_cpu_ns", Value::Count(used.load_cpu_ns));
        let load = per(used.load_cpu_ns, measured.deliveries);
        report.add("load_cpu_ns_per_delivery", load);
        report.add("others_cpu_percent", Value::Number(used.others_percent));
        report.add("latency_us", measured.latency.map_or(Value::Null, latency));
        report.add("rss_kib_before", Value::Count(measured.before.rss_kib));
        report.add("rss_kib_after", Value::Count(measured.after.rss_kib));
        report.add("rss_kib_peak", Value::Count(measured.after.peak_kib));
        report.add("pss_kib_before", Value::Count(measured.before.pss_kib));
        report.add("pss_kib_after", Value::Count(measured.after.pss_kib));
        let [voluntary, involuntary] = [used.voluntary, used.involuntary].map(Value::Count);
        report.add("voluntary_context_switches", voluntary);
        report.add("involuntary_context_switches", involuntary);
        report
    }

    /// Adds what is this scenario's own.
    pub fn add(&mut self, name: &'static str, value: Value) {
        self.0.push((name, value));
    }

    /// One JSON object on one line.
    pub fn json(&self) -> String {
        let fields = self.0.iter();
        let fields: Vec<String> = fields
            .map(|(name, value)| format!("\"{name}\": {}", value.json()))
            .collect();
        format!("{{{}}}\n", fields.join(", "))
    }

    /// A line for each value that there is.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.0 {
            if !matches!(value, Value::Null) {
                let _ = writeln!(text, "{name:<28} {}", value.text());
            }
        }
        text
    }
}

impl Value {
    fn json(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            // All our words are plain.
            Self::Text(text) => format!("\"{text}\""),
            Self::Count(count) => count.to_string(),
            Self::Number(number) => json_number(*number),
            Self::Counts(counts) => {
                let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
                format!("[{}]", counts.join(", "))
            }
            Self::Numbers(numbers) => {
                let numbers = numbers.iter();
                let numbers: Vec<String> = numbers
                    .map(|(name, number)| format!("\"{name}\": {}", json_number(*number)))
                    .collect();
                format!("{{{}}}", numbers.join(", "))
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Numbers(numbers) => {
                let numbers = numbers.iter();
                let numbers: Vec<String> = numbers
                    .map(|(name, number)| format!("{name} {number:.1}"))
                    .collect();
                numbers.join(", ")
            }
            other => other.json(),
        }
    }
}

/// JSON knows no infinity: what was divided by nothing is nothing.
fn json_number(number: f64) -> String {
    if number.is_finite() {
        format!("{number:.3}")
    } else {
        "null".to_owned()
    }
}

/// So much for each, where there is any.
pub fn per(total: u64, count: u64) -> Value {
    match count {
        0 => Value::Null,
        count => Value::Number(total as f64 / count as f64),
    }
}

/// Percentiles, in microseconds.
pub fn latency(histogram: &Histogram<u64>) -> Value {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Value::Numbers(vec![
        ("p50", at(0.5)),
        ("p90", at(0.9)),
        ("p99", at(0.99)),
        ("p99_9", at(0.999)),
        ("max", histogram.max() as f64 / 1e3),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_object_on_one_line() {
        let mut report = Report::default();
        report.add("scenario", Value::Text("fanout".to_owned()));
        report.add("window", Value::Null);
        report.add("messages", Value::Count(7));
        report.add("seconds", Value::Number(1.5));
        report.add("each", Value::Number(f64::INFINITY));
        report.add("samples", Value::Counts(vec![1, 2]));
        report.add(
            "latency_us",
            Value::Numbers(vec![("p50", 0.25), ("max", 3.0)]),
        );
        assert_eq!(
            report.json(),
            "{\"scenario\": \"fanout\", \"window\": null, \"messages\": 7, \"seconds\": 1.500, \
             \"each\": null, \"samples\": [1, 2], \"latency_us\": {\"p50\": 0.250, \"max\": 3.000}}\n"
        );
        assert!(
            !report.text().contains("window"),
            "what there is not is not told"
        );
    }

    #[test]
    fn percentiles_are_microseconds() {
        let mut histogram = Histogram::new(3).unwrap();
        for microseconds in 1..=1000 {
            histogram.record(microseconds * 1000).unwrap();
        }
        let Value::Numbers(numbers) = latency(&histogram) else {
            panic!("not by name");
        };
        let expected = [500.0, 900.0, 990.0, 999.0, 1000.0];
        for ((name, number), expected) in numbers.iter().zip(expected) {
            assert!((number / expected - 1.0).abs() < 0.01, "{name} {number}");
        }
    }
}
