//! What has happened so far, in numbers.

use std::time::Duration;

use super::Hub;
use super::admin::Route;
use super::client::Phase;
use super::disconnect::Disconnect;
use crate::metrics::{Histogram, Kind, Page};
use crate::protocol::HandshakeError;

/// Classes of statuses that requests of operators are answered with.
const STATUS_CLASSES: [&str; 3] = ["2xx", "4xx", "5xx"];

/// Counters since the hub was made. They only grow; what *is* now is asked of the hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Connections taken in, those that were refused with an answer included.
    pub connections_accepted: u64,
    /// Connections that were closed at once: not even a place for an answer was left.
    pub connections_dropped: u64,
    /// Opening handshakes that ended in an open connection.
    pub handshakes_completed: u64,
    /// Messages from clients.
    pub messages_received: u64,
    /// Bytes from clients.
    pub bytes_received: u64,
    /// Messages queued for clients: a broadcast counts once for each member.
    pub messages_sent: u64,
    /// Bytes that the transport took.
    pub bytes_sent: u64,
    /// Requests that said for whom they are, from peers who are not trusted with that.
    pub forwarded_ignored: u64,
    /// Messages that were left out for clients that lag: what `messages_sent` does not count.
    pub messages_dropped: u64,
    departures: [u64; Disconnect::LABELS.len()],
    refusals: [u64; HandshakeError::ALL.len()],
    admin_requests: [[u64; STATUS_CLASSES.len()]; Route::ALL.len()],
    loop_times: LoopTimes,
    /// Messages that were counted as sent and have been left out since. `messages_sent` never goes
    /// back: that many of the next ones are not counted.
    unsent: u64,
}

/// What the driver tells of its loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LoopTimes {
    turns: Histogram,
    lag: Histogram,
}

impl Default for LoopTimes {
    fn default() -> Self {
        /// Up to what no turn should take.
        const BOUNDS: [Duration; 13] = [
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
            Duration::from_millis(500),
            Duration::from_secs(1),
        ];

        Self {
            turns: Histogram::new(&BOUNDS),
            lag: Histogram::new(&BOUNDS),
        }
    }
}

/// All metrics, in the order in which they are written: name, type and help. README has the same
/// table.
const TABLE: [(&str, Kind, &str); 21] = [
    (
        "fanfare_connections_accepted_total",
        Kind::Counter,
        "Connections taken in, those refused with an answer included.",
    ),
    (
        "fanfare_connections_dropped_total",
        Kind::Counter,
        "Connections closed at once, with no place left even for an answer.",
    ),
    (
        "fanfare_handshakes_completed_total",
        Kind::Counter,
        "Connections opened.",
    ),
    (
        "fanfare_messages_received_total",
        Kind::Counter,
        "Messages from clients.",
    ),
    (
        "fanfare_received_bytes_total",
        Kind::Counter,
        "Bytes from clients, framing and handshakes included.",
    ),
    (
        "fanfare_messages_sent_total",
        Kind::Counter,
        "Messages queued for clients: a broadcast counts once for each member.",
    ),
    (
        "fanfare_sent_bytes_total",
        Kind::Counter,
        "Bytes that the kernel took for clients, framing and handshakes included.",
    ),
    (
        "fanfare_messages_dropped_total",
        Kind::Counter,
        "Messages left out for clients that lag, by --slow-policy; not counted as sent.",
    ),
    (
        "fanfare_forwarded_ignored_total",
        Kind::Counter,
        "Requests of peers that are not trusted to say for whom they ask, and say so.",
    ),
    (
        "fanfare_clients_departed_total",
        Kind::Counter,
        "Clients gone, by cause.",
    ),
    (
        "fanfare_refusals_total",
        Kind::Counter,
        "Handshakes refused, by reason.",
    ),
    (
        "fanfare_admin_requests_total",
        Kind::Counter,
        "Requests to the operators' address, by route and class of status.",
    ),
    (
        "fanfare_turn_duration_seconds",
        Kind::Histogram,
        "How long the turns of the event loop took, waiting aside.",
    ),
    (
        "fanfare_lag_seconds",
        Kind::Histogram,
        "How late the event loop was when a deadline had come.",
    ),
    (
        "fanfare_clients",
        Kind::Gauge,
        "Clients connected, by phase.",
    ),
    (
        "fanfare_max_clients",
        Kind::Gauge,
        "Clients that there may be at once.",
    ),
    ("fanfare_rooms", Kind::Gauge, "Rooms with a member."),
    (
        "fanfare_owed_bytes",
        Kind::Gauge,
        "Bytes queued for clients; what several wait for counts for each of them.",
    ),
    (
        "fanfare_admin_connections",
        Kind::Gauge,
        "Connections to the operators' address.",
    ),
    (
        "fanfare_draining",
        Kind::Gauge,
        "Whether the server is about to stop: 1 or 0.",
    ),
    (
        "fanfare_build_info",
        Kind::Gauge,
        "Always 1; the version is in the label.",
    ),
];

impl Metrics {
    /// Clients that left for a cause like this one.
    pub fn departures(&self, why: Disconnect) -> u64 {
        self.departures[why.ordinal()]
    }

    /// The causes for which clients leave, each with the number of those who did.
    pub fn departures_by_cause(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Disconnect::LABELS.into_iter().zip(self.departures)
    }

    /// Clients that were refused for this reason.
    pub fn refusals(&self, reason: HandshakeError) -> u64 {
        self.refusals[reason as usize]
    }

    /// The reasons for which connections are refused, each with the number of those that were:
    /// with an answer, or without one if they had asked for nothing or no place for one was left.
    pub fn refusals_by_reason(&self) -> impl Iterator<Item = (HandshakeError, u64)> {
        HandshakeError::ALL.into_iter().zip(self.refusals)
    }

    /// Takes note of why a client goes, if it is because it is refused.
    pub(super) fn count_refusal(&mut self, why: Disconnect) {
        if let Disconnect::Refused(error) = why {
            self.refusals[error as usize] += 1;
        }
    }

    /// Takes note of messages that a client was to hear, and does not.
    pub(super) fn count_dropped(&mut self, messages: u64) {
        self.messages_dropped += messages;
        self.unsent += messages;
    }

    /// Sees to it that of the messages counted since there were `before` none has been left out.
    pub(super) fn settle_sent(&mut self, before: u64) {
        let settled = self.unsent.min(self.messages_sent - before);
        self.messages_sent -= settled;
        self.unsent -= settled;
    }

    /// How long turns of the loop took; empty unless the driver tells.
    pub fn turns(&self) -> &Histogram {
        &self.loop_times.turns
    }

    /// How late the loop was when a deadline had come; empty unless the driver tells.
    pub fn lag(&self) -> &Histogram {
        &self.loop_times.lag
    }

    /// Requests of operators that this route has answered.
    pub fn admin_requests(&self, route: Route) -> u64 {
        self.admin_requests[route as usize].iter().sum()
    }

    pub(super) fn count_departure(&mut self, why: Disconnect) {
        self.departures[why.ordinal()] += 1;
    }

    pub(super) fn count_admin_request(&mut self, route: Route, status: u16) {
        let class = match status {
            ..400 => 0,
            400..500 => 1,
            500.. => 2,
        };
        self.admin_requests[route as usize][class] += 1;
    }

    /// Appends the counters in the text format of Prometheus, version 0.0.4.
    pub fn write_text(&self, text: &mut String) {
        // Without `..`: a counter that is not listed here does not compile.
        let Self {
            connections_accepted,
            connections_dropped,
            handshakes_completed,
            messages_received,
            bytes_received,
            messages_sent,
            bytes_sent,
            forwarded_ignored,
            messages_dropped,
            unsent: _,
            departures,
            refusals,
            admin_requests,
            loop_times: LoopTimes { turns, lag },
        } = self;
        let mut page = Page::new("", &TABLE, text);
        page.value("fanfare_connections_accepted_total", connections_accepted);
        page.value("fanfare_connections_dropped_total", connections_dropped);
        page.value("fanfare_handshakes_completed_total", handshakes_completed);
        page.value("fanfare_messages_received_total", messages_received);
        page.value("fanfare_received_bytes_total", bytes_received);
        page.value("fanfare_messages_sent_total", messages_sent);
        page.value("fanfare_sent_bytes_total", bytes_sent);
        page.value("fanfare_messages_dropped_total", messages_dropped);
        page.value("fanfare_forwarded_ignored_total", forwarded_ignored);
        let causes = Disconnect::LABELS.into_iter().zip(departures);
        page.values("fanfare_clients_departed_total", "cause", causes);
        let reasons = HandshakeError::ALL.map(HandshakeError::label);
        let reasons = reasons.into_iter().zip(refusals);
        page.values("fanfare_refusals_total", "reason", reasons);
        page.head("fanfare_admin_requests_total");
        for (route, classes) in Route::ALL.iter().zip(admin_requests) {
            for (status, count) in STATUS_CLASSES.iter().zip(classes) {
                let labels = format!("{{route=\"{}\",status=\"{status}\"}}", route.label());
                page.sample("fanfare_admin_requests_total", &labels, count);
            }
        }
        page.histogram("fanfare_turn_duration_seconds", turns);
        page.histogram("fanfare_lag_seconds", lag);
    }
}

impl Hub {
    /// The driver says how long a turn took, waiting aside.
    pub fn observe_turn(&mut self, took: Duration) {
        self.metrics.loop_times.turns.observe(took);
    }

    /// The driver says how late it was when a deadline had come.
    pub fn observe_lag(&mut self, late: Duration) {
        self.metrics.loop_times.lag.observe(late);
    }

    /// Appends the counters, and how things are now, in the text format of Prometheus, version
    /// 0.0.4. Looks at every client.
    pub fn write_metrics(&self, text: &mut String) {
        const PHASES: [&str; 4] = ["handshake", "open", "closing", "lingering"];

        self.metrics.write_text(text);
        let (mut phases, mut owed) = ([0_u64; PHASES.len()], 0_usize);
        for (_, client) in self.clients.iter().filter(|(_, client)| !client.is_admin) {
            let phase = match client.phase {
                Phase::ProxyHeader(_) | Phase::Handshake(_) => 0,
                Phase::Open(_) => 1,
                Phase::Closing(_) => 2,
                Phase::Lingering | Phase::Admin(_) => 3,
            };
            phases[phase] += 1;
            owed += client.outgoing.owed();
        }
        let mut page = Page::new("", &TABLE, text);
        let phases = PHASES.into_iter().zip(&phases);
        page.values("fanfare_clients", "phase", phases);
        page.value("fanfare_max_clients", self.config.max_connections);
        page.value("fanfare_rooms", self.rooms.len());
        page.value("fanfare_owed_bytes", owed);
        page.value("fanfare_admin_connections", self.admin_count);
        page.value("fanfare_draining", u8::from(self.is_draining()));
        let version = [(env!("CARGO_PKG_VERSION"), 1)];
        page.values("fanfare_build_info", "version", version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{HubConfig, test_clock};

    fn text_of(metrics: &Metrics) -> String {
        let mut text = String::new();
        metrics.write_text(&mut text);
        text
    }

    #[test]
    fn refusals_are_counted_by_reason() {
        let mut metrics = Metrics::default();
        for error in HandshakeError::ALL {
            metrics.count_refusal(Disconnect::Refused(error));
            let counted = metrics.refusals_by_reason().filter(|(_, count)| *count > 0);
            assert_eq!(counted.last(), Some((error, 1)), "in the order of the list");
        }
        metrics.count_refusal(Disconnect::Gone);
        let all = HandshakeError::ALL.len() as u64;
        assert_eq!(metrics.refusals.iter().sum::<u64>(), all);
    }

    #[test]
    fn what_is_left_out_later_never_makes_a_counter_go_back() {
        let mut metrics = Metrics {
            messages_sent: 10,
            ..Metrics::default()
        };
        metrics.count_dropped(4);
        metrics.settle_sent(10);
        assert_eq!((metrics.messages_sent, metrics.messages_dropped), (10, 4));
        metrics.messages_sent += 3;
        metrics.settle_sent(10);
        assert_eq!(metrics.messages_sent, 10);
        metrics.messages_sent += 3;
        metrics.settle_sent(10);
        assert_eq!((metrics.messages_sent, metrics.unsent), (12, 0));
    }

    #[test]
    fn every_counter_has_its_lines() {
        let mut metrics = Metrics {
            messages_sent: 7,
            ..Metrics::default()
        };
        metrics.count_departure(Disconnect::TooSlow);
        let mut causes = metrics.departures_by_cause();
        assert_eq!(causes.next(), Some(("closed", 0)));
        assert_eq!(causes.find(|(_, count)| *count > 0), Some(("too_slow", 1)));
        let text = text_of(&metrics);
        assert!(text.contains(
            "# HELP fanfare_messages_sent_total Messages queued for clients: a broadcast counts \
             once for each member.\n\
             # TYPE fanfare_messages_sent_total counter\n\
             fanfare_messages_sent_total 7\n"
        ));
        assert!(text.contains("fanfare_clients_departed_total{cause=\"too_slow\"} 1\n"));
        assert!(text.contains("fanfare_clients_departed_total{cause=\"gone\"} 0\n"));
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn refusals_are_counted_by_reason_and_requests_by_route() {
        let mut metrics = Metrics::default();
        metrics.count_refusal(Disconnect::Refused(HandshakeError::InvalidProxyHeader));
        metrics.count_refusal(Disconnect::Refused(HandshakeError::MalformedHead));
        assert_eq!(metrics.refusals(HandshakeError::MalformedHead), 1);
        for status in [200, 202, 400, 413, 501, 503] {
            metrics.count_admin_request(Route::Publish, status);
        }
        metrics.count_admin_request(Route::Unknown, 499);
        let text = text_of(&metrics);
        for line in [
            "fanfare_refusals_total{reason=\"malformed_head\"} 1",
            "fanfare_refusals_total{reason=\"invalid_proxy_header\"} 1",
            "fanfare_refusals_total{reason=\"full\"} 0",
            "fanfare_admin_requests_total{route=\"publish\",status=\"2xx\"} 2",
            "fanfare_admin_requests_total{route=\"publish\",status=\"4xx\"} 2",
            "fanfare_admin_requests_total{route=\"publish\",status=\"5xx\"} 2",
            "fanfare_admin_requests_total{route=\"unknown\",status=\"4xx\"} 1",
            "fanfare_admin_requests_total{route=\"healthz\",status=\"2xx\"} 0",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}");
        }
    }

    #[test]
    fn all_of_the_table_is_written_once_and_in_its_order() {
        let mut hub = Hub::new(HubConfig::default(), test_clock());
        hub.observe_turn(Duration::from_micros(90));
        hub.observe_lag(Duration::from_millis(2));
        let mut text = String::new();
        hub.write_metrics(&mut text);
        let types: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .collect();
        let expected = TABLE.map(|(name, kind, _)| format!("{name} {}", kind.name()));
        assert_eq!(types, expected);
        for (name, kind, help) in TABLE {
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            assert!(
                !help.contains(['\\', '\n']) && help.ends_with('.'),
                "{help}"
            );
        }
        assert!(text.contains("\nfanfare_turn_duration_seconds_bucket{le=\"0.0001\"} 1\n"));
        assert!(text.contains("\nfanfare_lag_seconds_sum 0.002000000\n"));
        assert!(text.contains("\nfanfare_max_clients 1024\n"));
    }

    #[test]
    fn durations_are_counted_up_to_these_bounds() {
        let text = text_of(&Metrics::default());
        for name in ["turn_duration", "lag"] {
            let start = format!("fanfare_{name}_seconds_bucket{{le=\"");
            let bounds = text.lines().filter_map(|line| line.strip_prefix(&start));
            let bounds: Vec<&str> = bounds.map(|line| line.trim_end_matches("\"} 0")).collect();
            let expected = [
                "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05",
                "0.1", "0.25", "0.5", "1.0", "+Inf",
            ];
            assert_eq!(bounds, expected);
        }
    }

    #[test]
    fn readme_has_the_same_table() {
        let readme = include_str!("../../README.md");
        let (_, rest) = readme.split_once("<!-- metrics -->\n").unwrap();
        let (table, _) = rest.split_once("<!-- /metrics -->").unwrap();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        let expected = TABLE.map(|(name, kind, help)| {
            // What follows the name there are the labels.
            (
                format!("| `{name}"),
                format!("| {} | {help} |", kind.name()),
            )
        });
        assert_eq!(rows.len(), expected.len(), "rows of README's table");
        for (row, (start, end)) in rows.iter().zip(expected) {
            assert!(
                row.starts_with(&start) && row.ends_with(&end),
                "{row}\n{start} … {end}"
            );
        }
    }
}
