//! What Redis may send at once.

use super::value::Value;

/// The bounds of one reply or push. Whoever goes beyond one of them is no Redis that we asked for
/// this, and its connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RespLimits {
    /// Aggregates inside each other. 8: the reply to `XREAD`, which is the deepest that we ask for,
    /// has 4.
    pub max_depth: usize,
    /// Elements of one aggregate; a key and its value are two. 4096: `XREAD` is asked for 1024.
    /// One that has more is passed over if it is inside another, as an entry of a stream is, and
    /// [`Value::Null`] stands in its place; over 268,435,456 none is.
    pub max_elements: usize,
    /// One line without its end, in bytes: all that is neither a bulk nor an aggregate. 64 KiB.
    pub max_line: usize,
    /// One bulk string, in bytes. The longest message and 64 KiB, for its envelope and the room. A
    /// longer one is passed over, and [`Value::Null`] stands in its place; over 512 MiB none is.
    pub max_bulk: usize,
    /// One value with all that is in it: its bytes as they arrive, and as many again for each value
    /// in it as a [`Value`] takes, so that small ones are not held for nothing. Enough for the
    /// messages that are expected at once, and for two more: the reply to `XINFO STREAM` holds the
    /// first and the last one. What goes beyond is passed over, with all behind it in the same
    /// aggregate, if that is inside another, and [`Value::Omitted`] stands in its place. A decoder
    /// takes at most twice as much memory.
    pub max_value: usize,
    /// What of [`max_value`](Self::max_value) is left to the outermost aggregate for its own
    /// elements, in bytes; what is inside them is cut before. Else somebody's entry could leave no
    /// room for the rest of the reply to `XINFO STREAM`, nor for as much as the head of the entry
    /// behind it, and be what ends every connection that it comes on. 8 KiB: that has less than 32
    /// keys with their values, of 128 bytes each with what they cost.
    pub reserve: usize,
}

impl RespLimits {
    const MAX_DEPTH: usize = 8;
    const MAX_ELEMENTS: usize = 4096;
    const MAX_LINE: usize = 64 * 1024;
    /// What surrounds a message in its bulk string.
    const BULK_MARGIN: usize = 64 * 1024;
    /// What surrounds a message in a reply: lengths, names of fields, its number in the stream.
    const ENTRY_MARGIN: usize = 4 * 1024;
    /// The first and the last entry, as `XINFO STREAM` shows them.
    const MORE_MESSAGES: usize = 2;
    const RESERVE: usize = 2 * 32 * 128;

    /// The bounds where messages have at most `max_message_size` bytes, and one reply has room for
    /// so many `messages` of that length.
    pub const fn new(max_message_size: usize, messages: usize) -> Self {
        let max_bulk = max_message_size.saturating_add(Self::BULK_MARGIN);
        Self {
            max_depth: Self::MAX_DEPTH,
            max_elements: Self::MAX_ELEMENTS,
            max_line: Self::MAX_LINE,
            max_bulk,
            max_value: max_bulk
                .saturating_add(Self::ENTRY_MARGIN)
                .saturating_mul(messages.saturating_add(Self::MORE_MESSAGES))
                .saturating_add(Self::RESERVE),
            reserve: Self::RESERVE,
        }
    }

    /// What a value costs beside its bytes.
    pub(super) const VALUE_COST: usize = size_of::<Value>();
}
