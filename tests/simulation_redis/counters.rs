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

/// What each of them is called.
const NAMES: [&str; 12] = [
    "acked_total",
    "resent_total",
    "dropped_total",
    "received_total",
    "duplicates_filtered_total",
    "gap_messages_total",
    "missed_total",
    "replayed_total",
    "diverted_total",
    "peers",
    "queue_bytes",
    "stream_lag_entries",
];

impl Counters {
    pub(crate) fn of(backplane: &Backplane, now: Instant) -> Self {
        let mut text = String::new();
        backplane.write_metrics(&mut text, now);
        let mut sums = [None; NAMES.len()];
        let samples = text
            .lines()
            .filter_map(|line| line.strip_prefix("fanfare_redis_"));
        for sample in samples {
            let name = sample.split([' ', '{']).next();
            let place = NAMES.iter().position(|known| Some(*known) == name);
            let Some(sum) = place.map(|place| &mut sums[place]) else {
                continue;
            };
            let value = sample.rsplit(' ').next().expect("a value");
            *sum = Some(sum.unwrap_or(0) + value.parse::<u64>().expect("a number"));
        }
        let [
            acked,
            resent,
            dropped,
            received,
            duplicates,
            gaps,
            missed,
            replayed,
            diverted,
            peers,
            queue_bytes,
            lag,
        ] = sums.map(|sum| sum.expect("it is counted"));
        Self {
            acked,
            resent,
            dropped,
            received,
            duplicates,
            gaps,
            missed,
            replayed,
            diverted,
            peers,
            queue_bytes,
            lag,
        }
    }
}
