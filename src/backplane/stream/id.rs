//! What a stream calls its entries.

use std::fmt;
use std::time::Duration;

/// The ID of a stream's entry: Redis' time of day in milliseconds, and a number within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StreamId {
    /// Milliseconds since 1970 by the clock of whoever added it.
    pub(super) ms: u64,
    /// Tells those of one millisecond apart.
    pub(super) seq: u64,
}

impl StreamId {
    /// Behind all entries: a stream that has it takes no more.
    #[cfg(test)]
    pub(super) const MAX: Self = Self {
        ms: u64::MAX,
        seq: u64::MAX,
    };

    /// Before every entry: `0-0`, which no entry has.
    pub(super) const ZERO: Self = Self { ms: 0, seq: 0 };

    /// Reads `1526919030474-55`, as Redis writes it.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (ms, seq) = text.split_once('-')?;
        Some(Self {
            ms: digits(ms)?,
            seq: digits(seq)?,
        })
    }

    /// The ID that is so much older, and before all of its millisecond.
    pub(super) fn minus(self, time: Duration) -> Self {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            ms: self.ms.saturating_sub(millis),
            seq: 0,
        }
    }
}

/// A number without the sign that `str::parse` would take.
fn digits(text: &str) -> Option<u64> {
    if text.starts_with('+') {
        return None;
    }
    text.parse().ok()
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    #[test]
    fn ids_are_read_as_redis_writes_them() {
        assert_eq!(StreamId::parse(b"0-0"), Some(StreamId::ZERO));
        let last = id(u64::MAX, u64::MAX);
        assert_eq!(StreamId::parse(last.to_string().as_bytes()), Some(last));
        assert_eq!(
            StreamId::parse(b"1526919030474-55").unwrap().to_string(),
            "1526919030474-55"
        );
        let wrong: [&[u8]; 9] = [
            b"",
            b"-",
            b"1",
            b"1-",
            b"-1",
            b"1-+1",
            b"1-2-3",
            b"18446744073709551616-0",
            b"1-\xFF",
        ];
        for wrong in wrong {
            assert_eq!(StreamId::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn ids_are_ordered_and_older_ones_begin_their_millisecond() {
        assert!(id(1, 9) < id(2, 0) && id(2, 0) < id(2, 1) && id(9, 0) < id(10, 0));
        assert_eq!(id(7000, 3).minus(Duration::from_secs(5)), id(2000, 0));
        assert_eq!(id(4999, 3).minus(Duration::from_secs(5)), StreamId::ZERO);
    }
}
