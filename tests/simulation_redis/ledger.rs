//! What was said and heard, and what became of each message: what the backplanes are compared with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fanfare::MessageKind;
use fanfare::backplane::{Backplane, Delivery};

use super::holdings::MOST_BEYOND;
use super::plan::ROOMS;
use super::settings::{Settings, Temper};
use super::stream::Id;

/// A message: who has said it, and how many they had said before.
pub(crate) type Key = (usize, usize);

/// Lives that there can be in a world: each is a bit.
pub(crate) const MAX_LIVES: usize = 64;

/// What begins an envelope, and its version; then come the flags.
const MAGIC: &[u8] = b"\xFFWB\x01";

/// What was said and heard.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) lives: Vec<Life>,
    is_raw: bool,
    shards: usize,
    /// Whether a message may be heard behind later ones: it has no number, or the stream had
    /// dropped it before it was read, and has it again since it had lost more than that.
    pub(crate) may_disorder: bool,
    /// Whether a message may be heard twice: it has no number, and not everything is fine.
    may_double: bool,
    /// How late a message is that may be heard behind later ones, if a queue drops any: what it has
    /// dropped may be under way on a connection that stalls, and be added to a stream in the end.
    late: Option<Duration>,
    /// All entries that were ever added, by key and ID.
    pub(crate) added: Vec<(Vec<u8>, Id)>,
    /// How often each of those who are no servers was heard in each life.
    outsiders: Vec<Vec<u8>>,
}

/// A node from its start to its end.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) node: usize,
    /// What it said.
    pub(crate) messages: Vec<Message>,
    /// What of it has a number, by shard and number.
    numbered: Vec<Vec<usize>>,
    /// What it said and its own clients have not heard, by shard; last what does not travel.
    unheard: Vec<VecDeque<usize>>,
    /// The last number that was heard, by who has said it and shard.
    last_heard: BTreeMap<(usize, usize), usize>,
    /// How many messages somebody had said on a shard when the first of them was heard.
    pub(crate) first_contact: BTreeMap<(usize, usize), usize>,
    /// All that was heard, in this order.
    pub(crate) log: Vec<Key>,
    /// When messages got through to it first.
    pub(crate) joined: Option<Duration>,
    pub(crate) has_died: bool,
    /// Whether something of it went past the stream: that may be heard before what did not.
    pub(crate) is_diverted: bool,
    /// Messages of its own that the stream had lost, as it says.
    pub(crate) replayed: u64,
    /// Where it has begun to read each stream, and which entries it has read.
    pub(crate) floors: BTreeMap<Vec<u8>, Id>,
    pub(crate) read: BTreeSet<(Vec<u8>, Id)>,
}

/// Something that was said.
pub(crate) struct Message {
    room: usize,
    payload: Rc<[u8]>,
    kind: MessageKind,
    exempt: Option<u64>,
    pub(crate) said_at: Duration,
    pub(crate) shard: usize,
    /// Its number on its shard, from 1 on; 0 if it does not travel.
    pub(crate) number: usize,
    /// The lives that have heard it, that it was pushed to, and where it has arrived: a bit each.
    pub(crate) heard: u64,
    pub(crate) pushed: u64,
    pub(crate) arrived: u64,
    pub(crate) fate: Fate,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "number {} of shard {}, said at {:?}, heard {:b}, pushed {:b}, arrived {:b}, {:?}",
            self.number, self.shard, self.said_at, self.heard, self.pushed, self.arrived, self.fate
        )
    }
}

/// What a Redis did with a message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fate {
    /// It was published on the channel.
    pub(crate) is_published: bool,
    /// To whom it was pushed when it was published first: a bit each. Another copy may come when
    /// later messages have been heard of.
    pub(crate) first_to: Option<u64>,
    /// It was added to the stream, first at this time.
    pub(crate) added_at: Option<Duration>,
    /// It was in the stream, and was removed.
    pub(crate) is_removed: bool,
    /// It was refused.
    pub(crate) is_refused: bool,
}

impl Ledger {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            is_raw: settings.is_raw,
            may_double: settings.is_raw && settings.temper != Temper::Calm,
            late: (settings.is_stream && !settings.has_room()).then_some(settings.op_timeout),
            may_disorder: settings.is_raw || settings.is_stream && settings.is_narrow(),
            shards: usize::from(settings.shards.unwrap_or(1)),
            ..Self::default()
        }
    }

    /// A node starts. Returns the number of its life.
    pub(crate) fn begin(&mut self, node: usize) -> usize {
        assert!(self.lives.len() < MAX_LIVES, "too many lives");
        self.lives.push(Life {
            node,
            messages: Vec::new(),
            numbered: vec![Vec::new(); self.shards],
            unheard: vec![VecDeque::new(); self.shards + 1],
            last_heard: BTreeMap::new(),
            first_contact: BTreeMap::new(),
            log: Vec::new(),
            joined: None,
            has_died: false,
            is_diverted: false,
            replayed: 0,
            floors: BTreeMap::new(),
            read: BTreeSet::new(),
        });
        self.lives.len() - 1
    }

    /// What the backplane of a life calls it.
    pub(crate) fn origin(who: usize) -> u64 {
        who as u64 + 1
    }

    /// Something is said in a life. Returns it.
    pub(crate) fn say(&mut self, who: usize, room: usize, len: usize, now: Duration) -> &Message {
        let life = &mut self.lives[who];
        let index = life.messages.len();
        let (kind, payload) = payload(who, index, len);
        let travels = !self.is_raw || ROOMS[room].is_empty();
        let shard = shard_of(ROOMS[room], self.shards);
        let number = if travels {
            life.numbered[shard].push(index);
            life.unheard[shard].push_back(index);
            life.numbered[shard].len()
        } else {
            life.unheard[self.shards].push_back(index);
            0
        };
        life.messages.push(Message {
            room,
            payload,
            kind,
            exempt: (index % 3 == 0).then_some(index as u64),
            said_at: now,
            shard,
            number,
            heard: 0,
            pushed: 0,
            arrived: 0,
            fate: Fate::default(),
        });
        &life.messages[index]
    }

    /// A name for somebody who is no server and says one thing.
    pub(crate) fn outsider(&mut self) -> usize {
        self.outsiders.push(Vec::new());
        self.outsiders.len() - 1
    }

    /// Clients of a life hear something: what was said, as it was said, once, and in order.
    pub(crate) fn hear(&mut self, by: usize, delivery: &Delivery, now: Duration) -> Option<Key> {
        let heard = delivery.payload();
        let key = match parse(heard) {
            Some(Source::Life(who, index)) => (who, index),
            Some(Source::Outsider(which)) => {
                let times = &mut self.outsiders[which];
                times.resize(self.lives.len().max(times.len()), 0);
                times[by] += 1;
                assert_eq!(
                    (delivery.room(), delivery.exempt()),
                    ("", None),
                    "what is raw is for the default room"
                );
                return None;
            }
            None => panic!("nobody has said: {}", heard.escape_ascii()),
        };
        let said_so_far = self.lives[key.0].messages.len();
        let message = &mut self.lives[key.0].messages[key.1];
        assert_eq!(
            (delivery.room(), delivery.kind()),
            (ROOMS[message.room], message.kind)
        );
        assert!(heard == &*message.payload, "{key:?} was changed");
        let is_again = message.heard & bit(by) != 0;
        if is_again && self.may_double {
            return None;
        }
        assert!(!is_again, "I1: {key:?} is heard twice");
        message.heard |= bit(by);
        let (shard, number) = (message.shard, message.number);
        let exempt = message.exempt;
        let may_be_late = message.fate.is_refused || self.may_disorder;
        let is_late = self.late.is_some_and(|late| message.said_at + late <= now);
        let may_be_late = may_be_late || is_late || self.lives[key.0].is_diverted;
        let life = &mut self.lives[by];
        life.log.push(key);
        if key.0 == by {
            assert_eq!(delivery.exempt(), exempt, "who does not hear {key:?}");
            let queue = if number == 0 { self.shards } else { shard };
            let expected = life.unheard[queue].pop_front();
            assert_eq!(
                expected,
                Some(key.1),
                "I3: its own clients miss one, or hear it out of order"
            );
            return Some(key);
        }
        assert_eq!(delivery.exempt(), None, "nobody there is exempt");
        let contact = life.first_contact.entry((key.0, shard));
        contact.or_insert(said_so_far);
        let last = life.last_heard.entry((key.0, shard)).or_default();
        assert!(
            number > *last || may_be_late,
            "I2: {number} of {} is heard behind {last}",
            key.0
        );
        *last = number.max(*last);
        Some(key)
    }

    /// Since when clients of a life wait for what one of them has said, and whether that travels.
    pub(crate) fn waits_since(&self, who: usize) -> Option<Duration> {
        let life = &self.lives[who];
        let fronts = life.unheard.iter().filter_map(|queue| queue.front());
        fronts.map(|index| life.messages[*index].said_at).min()
    }

    /// The message that these bytes are, as they are published.
    pub(crate) fn recognise(&mut self, bytes: &[u8]) -> Option<(Key, &mut Message)> {
        let key = match bytes.strip_prefix(MAGIC) {
            Some(rest) => {
                // Another's flags are those of a heartbeat.
                let flags = *rest.first()?;
                let number = |at| Some(u64::from_be_bytes(*rest.get(at..)?.first_chunk()?));
                let (origin, number) = (number(1)?, number(9)?);
                let (len, rest) = rest.get(17..)?.split_first()?;
                let room = std::str::from_utf8(rest.get(..usize::from(*len))?).ok()?;
                if flags & 0x10 != 0 || origin == 0 {
                    return None;
                }
                let who = usize::try_from(origin - 1).ok()?;
                let number = usize::try_from(number).ok()?.checked_sub(1)?;
                let shard = shard_of(room, self.shards);
                (who, *self.lives.get(who)?.numbered[shard].get(number)?)
            }
            None => match parse(bytes)? {
                Source::Life(who, index) => (who, index),
                Source::Outsider(_) => return None,
            },
        };
        let message = self.message(key);
        assert!(
            bytes.ends_with(&message.payload),
            "{key:?} is not what was said"
        );
        Some((key, message))
    }

    pub(crate) fn message(&mut self, key: Key) -> &mut Message {
        &mut self.lives[key.0].messages[key.1]
    }

    /// The messages of a life that have numbers, by shard.
    pub(crate) fn numbered(&self, who: usize) -> impl Iterator<Item = (usize, &[usize])> {
        let shards = self.lives[who].numbered.iter();
        shards.map(Vec::as_slice).enumerate()
    }

    /// What all that was said in a life takes in memory, at the most.
    pub(crate) fn said_bytes(&self, who: usize) -> usize {
        let messages = self.lives[who].messages.iter();
        let bytes = messages.map(|message| message.payload.len() + MOST_BEYOND);
        bytes.sum()
    }

    /// How many entries of streams somebody has never read, of those that it should have.
    pub(crate) fn unread(&self, by: usize) -> usize {
        let life = &self.lives[by];
        let added = self.added.iter().filter(|(key, id)| {
            let is_behind = life.floors.get(key).is_some_and(|floor| floor < id);
            is_behind && !life.read.contains(&(key.clone(), *id))
        });
        added.count()
    }

    /// How often something of an outsider's was heard in a life, for all of them.
    pub(crate) fn outsiders_heard(&self, by: usize) -> impl Iterator<Item = u8> {
        let times = self.outsiders.iter();
        times.map(move |times| times.get(by).copied().unwrap_or_default())
    }
}

impl Message {
    /// Tells a backplane of it.
    pub(crate) fn publish(&self, backplane: &mut Backplane, room: &str, now: Instant) {
        backplane.publish(room, self.kind, &self.payload, self.exempt, now);
    }

    /// Whether these bytes, as they are published, are this one.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        bytes.ends_with(&self.payload)
    }
}

/// The bit of a life.
pub(crate) fn bit(who: usize) -> u64 {
    1 << who
}

/// Who says something.
enum Source {
    Life(usize, usize),
    Outsider(usize),
}

/// What is said: about so many bytes that say who has said them.
fn payload(who: usize, index: usize, len: usize) -> (MessageKind, Rc<[u8]>) {
    let is_text = index % 4 > 0;
    let mut payload = if is_text { Vec::new() } else { vec![0xFE] };
    payload.extend_from_slice(format!("<{who}/{index}/").as_bytes());
    let filler = if is_text { b'x' } else { 0xFF };
    payload.resize(payload.len().max(len), filler);
    let kind = if is_text {
        MessageKind::Text
    } else {
        MessageKind::Binary
    };
    (kind, payload.into())
}

/// What somebody says who is no server.
pub(crate) fn outsider_payload(which: usize) -> Vec<u8> {
    format!("<-/{which}/").into_bytes()
}

fn parse(payload: &[u8]) -> Option<Source> {
    let text = payload.strip_prefix(&[0xFE]).unwrap_or(payload);
    let text = text.strip_prefix(b"<")?;
    let mut parts = text.split(|byte| *byte == b'/');
    let mut number = || std::str::from_utf8(parts.next()?).ok();
    let (who, index) = (number()?, number()?.parse().ok()?);
    if who == "-" {
        return Some(Source::Outsider(index));
    }
    Some(Source::Life(who.parse().ok()?, index))
}

/// The shard of a room: FNV-1a in 64 bits, modulo how many there are.
fn shard_of(room: &str, shards: usize) -> usize {
    let hash = room.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    });
    usize::try_from(hash % shards as u64).expect("there are few")
}
