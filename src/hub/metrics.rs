//! What has happened so far, in numbers.

use std::fmt::Write;

use super::disconnect::Disconnect;

/// Counters since the hub was made. They only grow; what *is* now is asked of the hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Connections taken in, those that were refused with an answer included.
    pub connections_accepted: u64,
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
    departures: [u64; Disconnect::LABELS.len()],
}

impl Metrics {
    /// Clients that left for a cause like this one.
    pub fn departures(&self, why: Disconnect) -> u64 {
        self.departures[why.ordinal()]
    }

    /// The causes for which clients leave, each with the number of those who did.
    pub fn departures_by_cause(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Disconnect::LABELS.into_iter().zip(self.departures)
    }

    pub(super) fn count_departure(&mut self, why: Disconnect) {
        self.departures[why.ordinal()] += 1;
    }

    /// Appends the counters in the text format of Prometheus.
    pub fn write_text(&self, text: &mut String) {
        let counters = [
            (
                "fanfare_connections_accepted_total",
                "Connections taken in.",
                self.connections_accepted,
            ),
            (
                "fanfare_handshakes_completed_total",
                "Connections opened.",
                self.handshakes_completed,
            ),
            (
                "fanfare_messages_received_total",
                "Messages from clients.",
                self.messages_received,
            ),
            (
                "fanfare_received_bytes_total",
                "Bytes from clients.",
                self.bytes_received,
            ),
            (
                "fanfare_messages_sent_total",
                "Messages queued for clients.",
                self.messages_sent,
            ),
            (
                "fanfare_sent_bytes_total",
                "Bytes sent to clients.",
                self.bytes_sent,
            ),
        ];
        // Writing to a String cannot fail.
        for (name, help, value) in counters {
            let _ = writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}"
            );
        }
        let name = "fanfare_clients_departed_total";
        let _ = writeln!(
            text,
            "# HELP {name} Clients gone, by cause.\n# TYPE {name} counter"
        );
        for (cause, count) in self.departures_by_cause() {
            let _ = writeln!(text, "{name}{{cause=\"{cause}\"}} {count}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut text = String::new();
        metrics.write_text(&mut text);
        assert!(text.contains(
            "# HELP fanfare_messages_sent_total Messages queued for clients.\n\
             # TYPE fanfare_messages_sent_total counter\n\
             fanfare_messages_sent_total 7\n"
        ));
        assert!(text.contains("fanfare_clients_departed_total{cause=\"too_slow\"} 1\n"));
        assert!(text.contains("fanfare_clients_departed_total{cause=\"gone\"} 0\n"));
        assert!(text.ends_with('\n'));
    }
}
