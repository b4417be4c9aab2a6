//! What a backplane counts, read from what operators read.

use std::time::Instant;

use fanfare::backplane::Backplane;

/// What a backplane counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    pub(crate) acked: u64,
    pub(crate) resent: u64,
    pub(crate) dropped: u64,
    pub(crate) received: u64,
    pub(crate) duplicates: u64,
    pub(crate) gaps: u64,
    pub(crate) missed: u64,
    pub(crate) replayed: u64,
    pub(crate) diverted: u64,
    pub(crate) peers: u64,
    pub(crate) queue_bytes: u64,
    pub(crate) lag: u64,
}

impl Counters {
    pub(crate) fn of(backplane: &Backplane, now: Instant) -> Self {
        let mut text = String::new();
        backplane.write_metrics(&mut text, now);
        let sum = |name: &str| {
            let lines = text.lines().filter_map(|line| {
                let rest = line.strip_prefix("fanfare_redis_")?.strip_prefix(name)?;
                let is_whole = rest.starts_with([' ', '{']);
                is_whole.then(|| rest.rsplit(' ').next())?
            });
            let mut values = lines.map(|value| value.parse::<u64>().expect("a number"));
            let first = values.next().expect("it is counted");
            values.fold(first, |sum, value| sum + value)
        };
        Self {
            acked: sum("acked_total"),
            resent: sum("resent_total"),
            dropped: sum("dropped_total"),
            received: sum("received_total"),
            duplicates: sum("duplicates_filtered_total"),
            gaps: sum("gap_messages_total"),
            missed: sum("missed_total"),
            replayed: sum("replayed_total"),
            diverted: sum("diverted_total"),
            peers: sum("peers"),
            queue_bytes: sum("queue_bytes"),
            lag: sum("stream_lag_entries"),
        }
    }
}
