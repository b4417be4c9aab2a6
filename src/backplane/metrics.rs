//! What has happened between this server and Redis, in numbers.

use std::time::Duration;

use super::envelope::EnvelopeError;
use super::reasons::{Dropped, Lost, Misconfigured};
use crate::metrics::{Histogram, Kind, Page};

/// Counters since the backplane was made. They only grow; what *is* now is a [`Gauges`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metrics {
    /// Messages given to Redis for the first time.
    pub(super) published: u64,
    /// Messages that Redis has acknowledged.
    pub(super) acked: u64,
    /// Messages given to Redis once more: the connection they went by was lost.
    pub(super) resent: u64,
    /// Messages of others, delivered.
    pub(super) received: u64,
    /// Messages of others that had been heard before.
    pub(super) duplicates: u64,
    /// Messages of others that are missing by their numbers.
    pub(super) gaps: u64,
    /// Entries of the stream that were gone before they were read, if Redis counts its entries.
    pub(super) missed: u64,
    /// Own messages that the stream had lost, and that were added anew.
    pub(super) replayed: u64,
    /// Messages published by `PUBLISH` since the stream had no room for them.
    pub(super) diverted: u64,
    /// Own messages that were heard locally before they came back: Redis was late or away.
    pub(super) local: u64,
    reconnects: [u64; Lost::ALL.len()],
    dropped: [u64; Dropped::ALL.len()],
    rejected: [u64; EnvelopeError::ALL.len()],
    config_errors: [u64; Misconfigured::ALL.len()],
    echoes: Echoes,
}

/// How long echoes took.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Echoes(Histogram);

impl Default for Echoes {
    fn default() -> Self {
        /// From what one message takes on one machine to what no deadline allows.
        const BOUNDS: [Duration; 15] = [
            Duration::from_micros(50),
            Duration::from_micros(100),
            Duration::from_micros(250),
            Duration::from_micros(500),
            Duration::from_millis(1),
            Duration::from_micros(2500),
            Duration::from_millis(5),
            Duration::from_millis(10),
            Duration::from_millis(25),
            Duration::from_millis(50),
            Duration::from_millis(100),
            Duration::from_millis(250),
            Duration::from_secs(1),
            Duration::from_secs(5),
            Duration::from_secs(30),
        ];

        Self(Histogram::new(&BOUNDS))
    }
}

/// How things are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Gauges {
    /// Whether messages go to Redis.
    pub(super) is_up: bool,
    /// Whether local members hear each other without it.
    pub(super) is_degraded: bool,
    /// What waits for an acknowledgement, in bytes.
    pub(super) queue_bytes: usize,
    /// For how long the oldest of it has been waiting.
    pub(super) queue_oldest: Duration,
    /// Entries of the stream that are not read yet, as far as is known.
    pub(super) stream_lag: u64,
    /// Other servers that are heard.
    pub(super) peers: usize,
}

impl Metrics {
    /// A connection is no more.
    pub(super) fn count_lost(&mut self, why: Lost) {
        self.reconnects[why as usize] += 1;
    }

    /// Messages of ours will not reach Redis.
    pub(super) fn count_dropped(&mut self, why: Dropped, messages: u64) {
        let dropped = &mut self.dropped[why as usize];
        *dropped = dropped.saturating_add(messages);
    }

    /// A message from Redis is not believed.
    pub(super) fn count_rejected(&mut self, why: EnvelopeError) {
        self.rejected[why.index()] += 1;
    }

    /// Somebody has to change something.
    pub(super) fn count_misconfigured(&mut self, what: Misconfigured) {
        self.config_errors[what as usize] += 1;
    }

    /// A message of ours came back.
    pub(super) fn observe_echo(&mut self, took: Duration) {
        self.echoes.0.observe(took);
    }

    /// Appends the counters, and how things are now, in the text format of Prometheus, version
    /// 0.0.4.
    pub(super) fn write(&self, now: &Gauges, text: &mut String) {
        // Without `..`: a counter that is not listed here does not compile.
        let Self {
            published,
            acked,
            resent,
            received,
            duplicates,
            gaps,
            missed,
            replayed,
            diverted,
            local,
            reconnects,
            dropped,
            rejected,
            config_errors,
            echoes,
        } = self;
        let mut page = Page::new(PREFIX, &TABLE, text);
        page.value("up", u8::from(now.is_up));
        page.value("degraded", u8::from(now.is_degraded));
        let reasons = Lost::ALL.map(Lost::label).into_iter().zip(reconnects);
        page.values("reconnects_total", "reason", reasons);
        page.value("published_total", published);
        page.value("acked_total", acked);
        page.value("resent_total", resent);
        let reasons = Dropped::ALL.map(Dropped::label).into_iter().zip(dropped);
        page.values("dropped_total", "reason", reasons);
        page.value("received_total", received);
        let reasons = EnvelopeError::ALL
            .map(EnvelopeError::reason)
            .into_iter()
            .zip(rejected);
        page.values("rejected_total", "reason", reasons);
        page.value("duplicates_filtered_total", duplicates);
        page.value("gap_messages_total", gaps);
        page.value("missed_total", missed);
        page.value("replayed_total", replayed);
        page.value("diverted_total", diverted);
        page.value("local_total", local);
        let reasons = Misconfigured::ALL.map(Misconfigured::label);
        let reasons = reasons.into_iter().zip(config_errors);
        page.values("config_errors_total", "reason", reasons);
        page.histogram("echo_seconds", &echoes.0);
        page.value("queue_bytes", now.queue_bytes);
        page.value("queue_oldest_seconds", now.queue_oldest.as_secs_f64());
        page.value("stream_lag_entries", now.stream_lag);
        page.value("peers", now.peers);
    }
}

/// What all names begin with.
const PREFIX: &str = "fanfare_redis_";

/// All metrics, in the order in which they are written: name without the prefix, type and help.
const TABLE: [(&str, Kind, &str); 21] = [
    ("up", Kind::Gauge, "Whether messages go to Redis: 1 or 0."),
    (
        "degraded",
        Kind::Gauge,
        "Whether Redis is late or away, and local clients do not wait for it: 1 or 0.",
    ),
    (
        "reconnects_total",
        Kind::Counter,
        "Connections to Redis lost, or not made, by reason.",
    ),
    (
        "published_total",
        Kind::Counter,
        "Messages given to Redis for the first time.",
    ),
    (
        "acked_total",
        Kind::Counter,
        "Messages that Redis has acknowledged.",
    ),
    (
        "resent_total",
        Kind::Counter,
        "Messages given to Redis again after a connection was lost.",
    ),
    (
        "dropped_total",
        Kind::Counter,
        "Messages of this server that Redis will not get, by reason.",
    ),
    (
        "received_total",
        Kind::Counter,
        "Messages of others, delivered to local clients.",
    ),
    (
        "rejected_total",
        Kind::Counter,
        "Messages from Redis that were not believed, by reason.",
    ),
    (
        "duplicates_filtered_total",
        Kind::Counter,
        "Messages of others that had been heard before.",
    ),
    (
        "gap_messages_total",
        Kind::Counter,
        "Messages of others that are missing by their numbers.",
    ),
    (
        "missed_total",
        Kind::Counter,
        "Entries of the stream that were skipped, or gone unread; 0 before Redis 7.0.",
    ),
    (
        "replayed_total",
        Kind::Counter,
        "Messages of this server added to the stream again, since it had lost them.",
    ),
    (
        "diverted_total",
        Kind::Counter,
        "Messages published past the stream, which had no memory or no IDs left.",
    ),
    (
        "local_total",
        Kind::Counter,
        "Messages that local clients heard before Redis had brought them back.",
    ),
    (
        "config_errors_total",
        Kind::Counter,
        "Times that Redis has refused the settings, by reason.",
    ),
    (
        "echo_seconds",
        Kind::Histogram,
        "How long messages of this server took to come back from Redis.",
    ),
    (
        "queue_bytes",
        Kind::Gauge,
        "Bytes of messages that Redis has not acknowledged.",
    ),
    (
        "queue_oldest_seconds",
        Kind::Gauge,
        "How long the oldest of them has been waiting.",
    ),
    (
        "stream_lag_entries",
        Kind::Gauge,
        "Entries of the stream that are not read yet, as far as is known.",
    ),
    (
        "peers",
        Kind::Gauge,
        "Other servers that have been heard within 15 s.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(metrics: &Metrics, now: &Gauges) -> String {
        let mut text = String::new();
        metrics.write(now, &mut text);
        text
    }

    #[test]
    fn every_metric_of_the_table_is_written_once_in_its_order() {
        let text = text_of(&Metrics::default(), &Gauges::default());
        let heads = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
        let heads: Vec<String> = heads.map(str::to_owned).collect();
        let table = TABLE.map(|(name, _, help)| format!("{PREFIX}{name} {help}"));
        assert_eq!(heads, table);
        for (name, kind, _) in TABLE {
            let type_line = format!("# TYPE {PREFIX}{name} {}\n", kind.name());
            assert!(text.contains(&type_line), "{name}");
            assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
        }
    }

    #[test]
    fn the_documentation_has_the_same_table() {
        let page = include_str!("../../docs/backplane.md");
        let (_, rest) = page.split_once("<!-- redis metrics -->\n").unwrap();
        let (table, _) = rest.split_once("<!-- /redis metrics -->").unwrap();
        let text = text_of(&Metrics::default(), &Gauges::default());
        let rows = TABLE.map(|(name, kind, help)| {
            let is_labelled = text.contains(&format!("\n{PREFIX}{name}{{reason="));
            let labels = if is_labelled { "{reason}" } else { "" };
            format!("| `{PREFIX}{name}{labels}` | {} | {help} |", kind.name())
        });
        let found: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(found, rows);
    }

    #[test]
    fn echoes_are_counted_up_to_these_bounds() {
        let text = text_of(&Metrics::default(), &Gauges::default());
        let start = "fanfare_redis_echo_seconds_bucket{le=\"";
        let bounds = text.lines().filter_map(|line| line.strip_prefix(start));
        let bounds: Vec<&str> = bounds.map(|line| line.trim_end_matches("\"} 0")).collect();
        let expected = [
            "0.00005", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025",
            "0.05", "0.1", "0.25", "1.0", "5.0", "30.0", "+Inf",
        ];
        assert_eq!(bounds, expected);
    }

    #[test]
    fn each_value_stands_by_its_name() {
        let mut metrics = Metrics {
            published: 1,
            acked: 2,
            resent: 3,
            received: 4,
            duplicates: 5,
            gaps: 6,
            missed: 7,
            replayed: 8,
            diverted: 9,
            local: 10,
            ..Metrics::default()
        };
        metrics.count_lost(Lost::Role);
        metrics.count_dropped(Dropped::Age, 11);
        metrics.count_rejected(EnvelopeError::Room);
        metrics.count_misconfigured(Misconfigured::WrongType);
        metrics.observe_echo(Duration::from_millis(3));
        let now = Gauges {
            is_up: true,
            is_degraded: true,
            queue_bytes: 12,
            queue_oldest: Duration::from_millis(1500),
            stream_lag: 13,
            peers: 14,
        };
        let text = text_of(&metrics, &now);
        let samples = [
            "up 1",
            "degraded 1",
            "reconnects_total{reason=\"role\"} 1",
            "reconnects_total{reason=\"reset\"} 0",
            "published_total 1",
            "acked_total 2",
            "resent_total 3",
            "dropped_total{reason=\"age\"} 11",
            "dropped_total{reason=\"full\"} 0",
            "received_total 4",
            "rejected_total{reason=\"room\"} 1",
            "rejected_total{reason=\"size\"} 0",
            "duplicates_filtered_total 5",
            "gap_messages_total 6",
            "missed_total 7",
            "replayed_total 8",
            "diverted_total 9",
            "local_total 10",
            "config_errors_total{reason=\"wrong_type\"} 1",
            "echo_seconds_bucket{le=\"0.005\"} 1",
            "echo_seconds_count 1",
            "queue_bytes 12",
            "queue_oldest_seconds 1.5",
            "stream_lag_entries 13",
            "peers 14",
        ];
        for sample in samples {
            assert!(
                text.contains(&format!("\nfanfare_redis_{sample}\n")),
                "{sample}"
            );
        }
    }
}
