//! Why messages go past a stream.

/// Why messages go past the stream: it takes nothing, and those who are there hear them all the
/// same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detour {
    /// Redis has no memory left for it.
    NoMemory,
    /// It has an entry with the last ID that there is, so that none can be added.
    NoIds,
}

impl Detour {
    /// What an error after `XADD` says of the stream; `None` if it is about something else.
    pub(super) fn from_error(text: &[u8]) -> Option<Self> {
        // Redis 7 says the first, and Redis 6 the second, as to somebody who asks for an ID.
        let exhausted: [&[u8]; 2] = [
            b"ERR The stream has exhausted",
            b"ERR The ID specified in XADD is equal or smaller",
        ];
        if text.starts_with(b"OOM ") {
            Some(Self::NoMemory)
        } else if exhausted.iter().any(|words| text.starts_with(words)) {
            Some(Self::NoIds)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stream_that_takes_nothing_is_passed_by() {
        let cases: [(&[u8], _); 6] = [
            (b"OOM command not allowed", Some(Detour::NoMemory)),
            (
                b"ERR The stream has exhausted the last possible ID, unable to add more items",
                Some(Detour::NoIds),
            ),
            (
                b"ERR The ID specified in XADD is equal or smaller than the target stream top item",
                Some(Detour::NoIds),
            ),
            (b"ERR Elements are too large to be stored", None),
            (b"OOMERR", None),
            (b"MISCONF", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Detour::from_error(text), expected);
        }
    }
}
