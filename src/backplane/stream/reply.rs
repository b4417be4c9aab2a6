//! What Redis says of a stream.

use super::super::resp::Value;
use super::id::StreamId;

/// The field of an entry that holds the message. An entry without it is somebody else's, and its
/// first field is taken for the message: so `XADD … * message hello` works as it is.
pub(super) const FIELD: &[u8] = b"m";

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// What the stream calls it.
    pub(super) id: StreamId,
    /// The message: an envelope, or none. `None` if it is so long that nobody has kept it.
    pub(super) bytes: Option<Vec<u8>>,
}

/// What `XINFO STREAM` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamInfo {
    /// Entries that it has.
    pub(super) length: u64,
    /// The highest ID that it has given: its last entry's, if that has not been deleted.
    pub(super) last: StreamId,
    /// The first entry that it has.
    pub(super) first: Option<StreamId>,
    /// Entries that it ever had. Redis counts them since 7.0.
    pub(super) added: Option<u64>,
}

impl StreamInfo {
    /// Reads it. `None` if it is something else.
    pub(super) fn parse(reply: &Value) -> Option<Self> {
        let number = |name: &[u8]| u64::try_from(reply.map_get(name)?.as_int()?).ok();
        let first = match reply.map_get(b"first-entry")? {
            Value::Null => None,
            entry => Some(id(entry.as_array()?.first()?)?),
        };
        Some(Self {
            length: number(b"length")?,
            last: id(reply.map_get(b"last-generated-id")?)?,
            first,
            added: number(b"entries-added"),
        })
    }

    /// How many of its first entries are gone, if that is known. Those that were deleted from its
    /// middle count as well.
    pub(super) fn gone(&self) -> Option<u64> {
        Some(self.added?.saturating_sub(self.length))
    }
}

/// Whether an error says that there is no stream, which is no error.
pub(super) fn is_no_stream(error: &[u8]) -> bool {
    error.starts_with(b"ERR no such key")
}

/// The entries in the reply to `XREAD` of one stream; none if it has waited in vain. `None` if it
/// is something else.
pub(super) fn read(reply: Value) -> Option<Vec<Item>> {
    match reply {
        Value::Null => Some(Vec::new()),
        Value::Map(streams) => {
            let (_, entries) = streams.into_iter().next()?;
            items(entries)
        }
        _ => None,
    }
}

/// The entries in the reply to `XRANGE`. `None` if it is something else.
pub(super) fn items(reply: Value) -> Option<Vec<Item>> {
    let Value::Array(entries) = reply else {
        return None;
    };
    entries.into_iter().map(item).collect()
}

/// An ID and a list in which fields and values take turns.
fn item(entry: Value) -> Option<Item> {
    let mut parts = entry.into_array()?.into_iter();
    let id = id(&parts.next()?)?;
    let mut values = parts.next()?.into_array()?;
    let named = values
        .chunks_exact(2)
        .position(|pair| pair[0].as_bytes() == Some(FIELD));
    let index = 2 * named.unwrap_or_default() + 1;
    if index >= values.len() {
        return None;
    }
    let bytes = match values.swap_remove(index) {
        Value::Null => None,
        value => Some(value.into_bytes()?),
    };
    Some(Item { id, bytes })
}

/// An ID.
pub(super) fn id(value: &Value) -> Option<StreamId> {
    StreamId::parse(value.as_bytes()?)
}

#[cfg(test)]
mod tests {
    use super::super::super::resp::{Decoder, RespLimits};
    use super::*;

    /// What these bytes say.
    fn decode(bytes: &str) -> Value {
        let mut decoder = Decoder::new(RespLimits::new(1000, 10));
        let mut input = bytes.as_bytes();
        let value = decoder.decode(&mut input).unwrap().unwrap();
        assert!(input.is_empty());
        value
    }

    fn at(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    /// What a Redis 7.0.15 has said of a stream of five entries.
    const INFO: &str = "%10\r\n$6\r\nlength\r\n:5\r\n$15\r\nradix-tree-keys\r\n:1\r\n\
        $16\r\nradix-tree-nodes\r\n:2\r\n$17\r\nlast-generated-id\r\n$15\r\n1795957803396-0\r\n\
        $20\r\nmax-deleted-entry-id\r\n$3\r\n0-0\r\n$13\r\nentries-added\r\n:7\r\n\
        $23\r\nrecorded-first-entry-id\r\n$15\r\n1795957803320-0\r\n$6\r\ngroups\r\n:0\r\n\
        $11\r\nfirst-entry\r\n*2\r\n$15\r\n1795957803320-0\r\n*2\r\n$1\r\nm\r\n$3\r\nhi1\r\n\
        $10\r\nlast-entry\r\n*2\r\n$15\r\n1795957803396-0\r\n*2\r\n$1\r\nm\r\n$3\r\nhi5\r\n";

    #[test]
    fn what_redis_says_of_a_stream_is_understood() {
        let info = StreamInfo::parse(&decode(INFO)).unwrap();
        let expected = StreamInfo {
            length: 5,
            last: at(1_795_957_803_396, 0),
            first: Some(at(1_795_957_803_320, 0)),
            added: Some(7),
        };
        assert_eq!((info, info.gone()), (expected, Some(2)));
        // As Redis 6.2 says it, of a stream of which everything was trimmed.
        let old = "%3\r\n+length\r\n:0\r\n+last-generated-id\r\n$3\r\n9-1\r\n+first-entry\r\n_\r\n";
        let expected = StreamInfo {
            length: 0,
            last: at(9, 1),
            first: None,
            added: None,
        };
        assert_eq!(StreamInfo::parse(&decode(old)), Some(expected));
        assert_eq!(expected.gone(), None);
        assert!(is_no_stream(b"ERR no such key") && !is_no_stream(b"ERR no"));
    }

    #[test]
    fn what_says_nothing_of_a_stream_is_refused() {
        for wrong in ["_\r\n", "%0\r\n", ":1\r\n", "*2\r\n+length\r\n:0\r\n"] {
            assert_eq!(StreamInfo::parse(&decode(wrong)), None, "{wrong}");
        }
        let negative = INFO.replace(":5", ":-5");
        assert_eq!(StreamInfo::parse(&decode(&negative)), None);
        let nameless = INFO.replace("1795957803396-0", "1795957803396_0");
        assert_eq!(StreamInfo::parse(&decode(&nameless)), None);
    }

    #[test]
    fn entries_are_read_with_the_field_that_is_ours_or_the_first() {
        let reply = "%1\r\n$1\r\nx\r\n*3\r\n\
            *2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nm\r\n$1\r\na\r\n\
            *2\r\n$3\r\n1-1\r\n*4\r\n$1\r\nk\r\n$1\r\nz\r\n$1\r\nm\r\n$1\r\nb\r\n\
            *2\r\n$3\r\n2-0\r\n*4\r\n$1\r\nk\r\n$1\r\nc\r\n$1\r\nl\r\n$1\r\nm\r\n";
        let expected = [(1, 0, b"a"), (1, 1, b"b"), (2, 0, b"c")].map(|(ms, seq, bytes)| Item {
            id: at(ms, seq),
            bytes: Some(bytes.to_vec()),
        });
        assert_eq!(read(decode(reply)), Some(expected.to_vec()));
        assert_eq!(
            read(decode("_\r\n")),
            Some(Vec::new()),
            "it has waited in vain"
        );
        assert_eq!(items(decode("*0\r\n")), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let wrong = [
            "%0\r\n",
            ":1\r\n",
            "%1\r\n$1\r\nx\r\n_\r\n",
            "%1\r\n$1\r\nx\r\n*1\r\n_\r\n",
            "%1\r\n$1\r\nx\r\n*1\r\n*0\r\n",
            "%1\r\n$1\r\nx\r\n*1\r\n*2\r\n$1\r\n1\r\n*2\r\n$1\r\nm\r\n$1\r\na\r\n",
            "%1\r\n$1\r\nx\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*0\r\n",
            "%1\r\n$1\r\nx\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*1\r\n$1\r\nm\r\n",
            "%1\r\n$1\r\nx\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nm\r\n:1\r\n",
            "%1\r\n$1\r\nx\r\n*1\r\n*2\r\n$3\r\n1-0\r\n_\r\n",
        ];
        for wrong in wrong {
            assert_eq!(read(decode(wrong)), None, "{wrong}");
        }
        assert_eq!(items(decode("_\r\n")), None);
    }
}
