//! What Redis says of a stream.

use super::super::resp::Value;
use super::id::StreamId;
use super::ring::Acked;

/// The field of an entry that holds the message. An entry without it is somebody else's, and its
/// first field is taken for the message: so `XADD … * message hello` works as it is.
pub(super) const FIELD: &[u8] = b"m";

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// What the stream calls it.
    pub(super) id: StreamId,
    /// The message: an envelope, or none. `None` if it is so long that nobody has kept it, or the
    /// whole entry is.
    pub(super) bytes: Option<Vec<u8>>,
    /// How long all of the entry is, with the fields that are not ours; `None` if nobody knows,
    /// since something of it was so long that it was not kept.
    pub(super) len: Option<usize>,
}

impl Item {
    /// An entry of which nothing but its ID was kept.
    fn too_long(id: StreamId) -> Self {
        let (bytes, len) = (None, None);
        Self { id, bytes, len }
    }
}

/// Entries that came together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// As many of them as there was room for.
    pub(super) items: Vec<Item>,
    /// Whether there were more: they have to be asked for again.
    pub(super) is_cut: bool,
}

impl Page {
    /// Whether an entry of ours is among them. Another one may have got its ID.
    pub(super) fn has(&self, acked: &Acked) -> bool {
        let mut found = self.items.iter().filter(|item| item.id == acked.id);
        found.any(|item| item.bytes.as_deref() == Some(acked.entry.envelope()))
    }
}

/// What is left of an entry.
enum Kept {
    Whole(Item),
    /// It was so long that there was no room for it, or others before it were.
    Omitted(StreamId),
    /// Nothing.
    Nothing,
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
    /// The highest ID of those that somebody has deleted, which says nothing of what was trimmed.
    /// Redis remembers it since 7.0.
    pub(super) deleted: Option<StreamId>,
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
            deleted: reply.map_get(b"max-deleted-entry-id").and_then(id),
        })
    }

    /// How many of its first entries are gone, if that is known. Those that were deleted from its
    /// middle count as well.
    pub(super) fn gone(&self) -> Option<u64> {
        Some(self.added?.saturating_sub(self.length))
    }

    /// Whether an entry that it has not got may be one that somebody has deleted, which is no loss.
    pub(super) fn may_have_deleted(&self, id: StreamId) -> bool {
        self.deleted.is_some_and(|deleted| id <= deleted)
    }
}

/// Whether an error says that there is no stream, which is no error.
pub(super) fn is_no_stream(error: &[u8]) -> bool {
    error.starts_with(b"ERR no such key")
}

/// The entries in the reply to `XREAD` of one stream; none if it has waited in vain. `None` if it
/// is something else.
pub(super) fn read(reply: Value) -> Option<Page> {
    match reply {
        Value::Null => Some(Page::default()),
        Value::Map(streams) => {
            let (_, entries) = streams.into_iter().next()?;
            page(entries)
        }
        _ => None,
    }
}

/// The entries in the reply to `XRANGE`. `None` if it is something else.
pub(super) fn page(reply: Value) -> Option<Page> {
    let Value::Array(entries) = reply else {
        return None;
    };
    let mut page = Page::default();
    for entry in entries {
        match item(entry)? {
            Kept::Whole(item) => page.items.push(item),
            // Nothing was before it, so it is too long by itself.
            Kept::Omitted(id) if page.items.is_empty() => page.items.push(Item::too_long(id)),
            Kept::Omitted(_) | Kept::Nothing => {
                page.is_cut = true;
                break;
            }
        }
    }
    Some(page)
}

/// An ID and a list in which fields and values take turns.
fn item(entry: Value) -> Option<Kept> {
    if entry == Value::Omitted {
        return Some(Kept::Nothing);
    }
    let mut parts = entry.into_array()?.into_iter();
    let first = parts.next()?;
    if first == Value::Omitted {
        return Some(Kept::Nothing);
    }
    let id = id(&first)?;
    let mut values = match parts.next()? {
        Value::Omitted => return Some(Kept::Omitted(id)),
        Value::Null => return Some(Kept::Whole(Item::too_long(id))),
        values => values.into_array()?,
    };
    if values.last() == Some(&Value::Omitted) {
        return Some(Kept::Omitted(id));
    }
    let named = values
        .chunks_exact(2)
        .position(|pair| pair[0].as_bytes() == Some(FIELD));
    let index = 2 * named.unwrap_or_default() + 1;
    if index >= values.len() {
        return None;
    }
    let lens = values.iter().map(|value| value.as_bytes().map(<[u8]>::len));
    let len = lens.sum();
    let bytes = match values.swap_remove(index) {
        Value::Null => None,
        value => Some(value.into_bytes()?),
    };
    Some(Kept::Whole(Item { id, bytes, len }))
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
            deleted: Some(StreamId::ZERO),
        };
        assert_eq!((info, info.gone()), (expected, Some(2)));
        // As Redis 6.2 says it, of a stream of which everything was trimmed.
        let old = "%3\r\n+length\r\n:0\r\n+last-generated-id\r\n$3\r\n9-1\r\n+first-entry\r\n_\r\n";
        let expected = StreamInfo {
            length: 0,
            last: at(9, 1),
            first: None,
            added: None,
            deleted: None,
        };
        assert_eq!(StreamInfo::parse(&decode(old)), Some(expected));
        let deleted = INFO.replace("$3\r\n0-0", "$3\r\n7-1");
        let info = StreamInfo::parse(&decode(&deleted)).unwrap();
        assert!(info.may_have_deleted(at(7, 1)) && !info.may_have_deleted(at(7, 2)));
        assert!(!expected.may_have_deleted(at(0, 1)), "nobody knows");
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
        let expected = [(1, 0, b"a", 2), (1, 1, b"b", 4), (2, 0, b"c", 4)];
        let expected = expected.map(|(ms, seq, bytes, len)| Item {
            id: at(ms, seq),
            bytes: Some(bytes.to_vec()),
            len: Some(len),
        });
        let whole = |items: &[Item]| Page {
            items: items.to_vec(),
            is_cut: false,
        };
        assert_eq!(read(decode(reply)), Some(whole(&expected)));
        assert_eq!(
            read(decode("_\r\n")),
            Some(whole(&[])),
            "it has waited in vain"
        );
        assert_eq!(page(decode("*0\r\n")), Some(whole(&[])));
    }

    #[test]
    fn what_there_was_no_room_for_is_too_long_if_nothing_was_before_it() {
        let name = |ms: u64| Value::Bulk(format!("{ms}-0").into_bytes());
        let entry = |ms, values| Value::Array(vec![name(ms), values]);
        let bytes = |byte: u8| Value::Bulk(vec![byte]);
        let whole = |ms| entry(ms, Value::Array(vec![bytes(b'm'), bytes(b'x')]));
        let page = |entries: &[Value]| {
            let page = page(Value::Array(entries.to_vec())).unwrap();
            let items = page.items.iter();
            let items = items.map(|item| (item.id.ms, item.bytes.is_some()));
            (items.collect::<Vec<_>>(), page.is_cut)
        };
        let omitted = |ms| entry(ms, Value::Array(vec![bytes(b'm'), Value::Omitted]));
        assert_eq!(page(&[omitted(1)]), (vec![(1, false)], false));
        assert_eq!(
            page(&[omitted(1), whole(2)]),
            (vec![(1, false), (2, true)], false)
        );
        let cut = (vec![(1, true)], true);
        assert_eq!(page(&[whole(1), omitted(2), whole(3)]), cut);
        for nothing in [Value::Omitted, Value::Array(vec![Value::Omitted])] {
            assert_eq!(page(&[whole(1), nothing.clone()]), cut);
            assert_eq!(page(&[nothing]), (vec![], true));
        }
        let nameless = entry(1, Value::Omitted);
        assert_eq!(page(&[nameless]), (vec![(1, false)], false));
        // It is too long wherever it is.
        let nulls = [whole(1), entry(2, Value::Null), whole(3)];
        assert_eq!(
            page(&nulls),
            (vec![(1, true), (2, false), (3, true)], false)
        );
    }

    #[test]
    fn how_long_an_entry_is_is_known_if_all_of_it_was_kept() {
        let len = |second: &str| {
            let entry = format!("*1\r\n*2\r\n$3\r\n1-0\r\n*4\r\n+m\r\n+hi\r\n+meta\r\n{second}");
            let page = page(decode(&entry)).unwrap();
            assert_eq!(page.items[0].bytes.as_deref(), Some(b"hi".as_slice()));
            page.items[0].len
        };
        assert_eq!(len("$3\r\nabc\r\n"), Some(10));
        let too_long = format!("$200000\r\n{}\r\n", "x".repeat(200_000));
        assert_eq!(len(&too_long), None);
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
            "%1\r\n$1\r\nx\r\n*1\r\n*2\r\n$3\r\n1-0\r\n:1\r\n",
        ];
        for wrong in wrong {
            assert_eq!(read(decode(wrong)), None, "{wrong}");
        }
        assert_eq!(page(decode("_\r\n")), None);
    }
}
