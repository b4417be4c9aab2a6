//! A Redis in memory: as much of one as a stream's engine talks to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::super::id::StreamId;

/// A connection to it.
pub(super) type Conn = u64;

/// A Redis in memory, with one stream.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) stream: Option<Entries>,
    /// What it says to a command instead of obeying: the command's name, and the error.
    pub(super) errors: BTreeMap<&'static str, &'static str>,
    /// Milliseconds since 1970, by its clock, at this instant.
    pub(super) clock: (u64, Instant),
    /// `master` or `slave`.
    pub(super) role: &'static str,
    /// The stream that is read on connections that have subscribed to nothing, if it is another.
    pub(super) read_stream: Option<Entries>,
    /// The role that those are told, if it is another.
    pub(super) read_role: Option<&'static str>,
    /// Whether it answers `XREAD` at once, with nothing if there is nothing.
    pub(super) never_waits: bool,
    /// Whether it counts what was ever added, as Redis does since 7.0.
    pub(super) counts: bool,
    /// Whether it is stopped: it takes bytes and does nothing.
    pub(super) is_stopped: bool,
    conns: BTreeMap<Conn, State>,
    next: Conn,
    /// Names of all commands that it has obeyed, or not.
    pub(super) log: Vec<String>,
}

/// A stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    pub(super) kept: VecDeque<(StreamId, Vec<u8>)>,
    pub(super) last: StreamId,
    pub(super) added: u64,
    /// The highest ID that was deleted.
    pub(super) deleted: StreamId,
    /// To how many it is trimmed, whatever the command says.
    pub(super) max_length: Option<usize>,
    /// Entries that have other fields before the one that is ours: so many, of so many bytes.
    pub(super) more: BTreeMap<StreamId, (usize, usize)>,
}

#[derive(Debug, Default)]
struct State {
    input: Vec<u8>,
    output: Vec<u8>,
    commands: VecDeque<Vec<Vec<u8>>>,
    channels: BTreeSet<Vec<u8>>,
    /// An `XREAD` that waits: from where, how many, and until when.
    waits: Option<(StreamId, usize, Instant)>,
}

impl Fake {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            stream: None,
            errors: BTreeMap::new(),
            clock: (1_000_000_000, now),
            role: "master",
            read_stream: None,
            read_role: None,
            never_waits: false,
            counts: true,
            is_stopped: false,
            conns: BTreeMap::new(),
            next: 0,
            log: Vec::new(),
        }
    }

    pub(super) fn connect(&mut self) -> Conn {
        self.next += 1;
        self.conns.insert(self.next, State::default());
        self.next
    }

    /// The other side is no more.
    pub(super) fn hang_up(&mut self, conn: Conn) {
        self.conns.remove(&conn);
    }

    /// It is killed, and starts again: nobody is connected any more.
    pub(super) fn hang_up_all(&mut self) {
        self.conns.clear();
    }

    /// Whoever has subscribed to something loses its connection.
    pub(super) fn hang_up_subscribers(&mut self) {
        self.conns.retain(|_, state| state.channels.is_empty());
    }

    /// Whoever has subscribed to nothing loses its connection.
    pub(super) fn hang_up_readers(&mut self) {
        self.conns.retain(|_, state| !state.channels.is_empty());
    }

    pub(super) fn is_connected(&self, conn: Conn) -> bool {
        self.conns.contains_key(&conn)
    }

    /// Bytes from a client.
    pub(super) fn receive(&mut self, conn: Conn, bytes: &[u8]) {
        if let Some(state) = self.conns.get_mut(&conn) {
            state.input.extend_from_slice(bytes);
            while let Some(command) = take_command(&mut state.input) {
                state.commands.push_back(command);
            }
        }
    }

    /// Bytes for a client.
    pub(super) fn take_output(&mut self, conn: Conn) -> Vec<u8> {
        let state = self.conns.get_mut(&conn);
        state
            .map(|state| std::mem::take(&mut state.output))
            .unwrap_or_default()
    }

    /// Obeys what it was told.
    pub(super) fn run(&mut self, now: Instant) {
        if self.is_stopped {
            return;
        }
        let conns: Vec<Conn> = self.conns.keys().copied().collect();
        for conn in conns {
            while let Some(state) = self.conns.get_mut(&conn) {
                if let Some((from, count, until)) = state.waits {
                    let reply = match self.read(conn, from, count) {
                        Some(reply) => reply,
                        None if until <= now => b"_\r\n".to_vec(),
                        None => break,
                    };
                    let state = self.conns.get_mut(&conn).unwrap();
                    state.output.extend(reply);
                    state.waits = None;
                    continue;
                }
                let Some(command) = state.commands.pop_front() else {
                    break;
                };
                self.obey(conn, &command, now);
            }
        }
        // Who waits has been looked at before others have added something.
        let mut waiting = self.conns.iter();
        if waiting.any(|(conn, state)| {
            let waits = state.waits;
            waits.is_some_and(|(from, ..)| self.has_after(*conn, from))
        }) {
            self.run(now);
        }
    }

    /// How often it was given this command.
    pub(super) fn commands(&self, name: &str) -> usize {
        self.log.iter().filter(|other| *other == name).count()
    }

    /// Adds an entry from nowhere.
    pub(super) fn add(&mut self, bytes: &[u8], now: Instant) -> StreamId {
        let (at, since) = self.clock;
        let ms = at + u64::try_from((now - since).as_millis()).unwrap();
        let stream = self.stream.get_or_insert_default();
        let id = if ms > stream.last.ms {
            StreamId { ms, seq: 0 }
        } else {
            StreamId {
                seq: stream.last.seq + 1,
                ..stream.last
            }
        };
        self.add_as(id, bytes);
        id
    }

    /// Adds an entry from nowhere that has this ID.
    pub(super) fn add_as(&mut self, id: StreamId, bytes: &[u8]) {
        let stream = self.stream.get_or_insert_default();
        stream.last = id;
        stream.added += 1;
        stream.kept.push_back((id, bytes.to_vec()));
        if let Some(max) = stream.max_length {
            stream.trim(max);
        }
    }

    /// Publishes something from nowhere. Returns how many hear it.
    pub(super) fn publish(&mut self, channel: &[u8], bytes: &[u8]) -> usize {
        let mut heard = 0;
        for state in self.conns.values_mut() {
            if state.channels.contains(channel) {
                heard += 1;
                state.output.extend(b">3\r\n$7\r\nmessage\r\n");
                bulk(channel, &mut state.output);
                bulk(bytes, &mut state.output);
            }
        }
        heard
    }

    /// The clock is set to another time.
    pub(super) fn set_back(&mut self, by: Duration) {
        self.clock.0 -= u64::try_from(by.as_millis()).unwrap();
    }

    /// Whether this connection is one that reads alone.
    fn only_reads(&self, conn: Conn) -> bool {
        self.conns[&conn].channels.is_empty()
    }

    /// The stream as this connection has it.
    fn stream_of(&self, conn: Conn) -> Option<&Entries> {
        let other = self.read_stream.as_ref().filter(|_| self.only_reads(conn));
        other.or(self.stream.as_ref())
    }

    fn has_after(&self, conn: Conn, from: StreamId) -> bool {
        let stream = self.stream_of(conn);
        stream.is_some_and(|stream| stream.kept.back().is_some_and(|(id, _)| *id > from))
    }

    fn read(&self, conn: Conn, from: StreamId, count: usize) -> Option<Vec<u8>> {
        let entries = &self.stream_of(conn)?.kept;
        let index = entries.partition_point(|(id, _)| *id <= from);
        let found: Vec<_> = entries.range(index..).take(count).collect();
        if found.is_empty() {
            return None;
        }
        let mut reply = b"%1\r\n$1\r\ns\r\n".to_vec();
        self.write_entries(&found, &mut reply);
        Some(reply)
    }

    fn obey(&mut self, conn: Conn, command: &[Vec<u8>], now: Instant) {
        let name = String::from_utf8(command[0].clone()).unwrap();
        let word = |index: usize| std::str::from_utf8(&command[index]).unwrap();
        let mut reply = Vec::new();
        if let Some(error) = self.errors.get(name.as_str()) {
            reply = format!("-{error}\r\n").into_bytes();
        } else {
            match name.as_str() {
                "HELLO" => {
                    let other = self.read_role.filter(|_| self.only_reads(conn));
                    let role = other.unwrap_or(self.role);
                    reply = format!("%2\r\n+proto\r\n:3\r\n+role\r\n+{role}\r\n").into_bytes();
                }
                "PING" => reply = b"+PONG\r\n".to_vec(),
                "SUBSCRIBE" => {
                    for channel in &command[1..] {
                        reply.extend(b">3\r\n$9\r\nsubscribe\r\n");
                        bulk(channel, &mut reply);
                        reply.extend(b":1\r\n");
                        let state = self.conns.get_mut(&conn).unwrap();
                        state.channels.insert(channel.clone());
                    }
                }
                "PUBLISH" => {
                    let heard = self.publish(&command[1], &command[2]);
                    reply = format!(":{heard}\r\n").into_bytes();
                }
                "XINFO" => reply = self.info(conn),
                "XRANGE" => {
                    let id = StreamId::parse(&command[2]).unwrap();
                    let entries = self.stream.iter().flat_map(|stream| &stream.kept);
                    let found: Vec<_> = entries.filter(|(other, _)| *other == id).collect();
                    self.write_entries(&found, &mut reply);
                }
                "XADD" => {
                    assert_eq!(
                        (word(2), word(3), word(5), word(6)),
                        ("MAXLEN", "~", "*", "m")
                    );
                    let last = self.stream.as_ref().map(|stream| stream.last);
                    if last == Some(StreamId::MAX) {
                        let error = "The stream has exhausted the last possible ID";
                        reply = format!("-ERR {error}, unable to add more items\r\n").into();
                    } else {
                        let id = self.add(&command[7], now);
                        bulk(id.to_string().as_bytes(), &mut reply);
                    }
                }
                "XREAD" => {
                    let (count, block) = (word(2).parse().unwrap(), word(4).parse().unwrap());
                    let from = StreamId::parse(&command[7]).unwrap();
                    let block = if self.never_waits { 0 } else { block };
                    let until = now + Duration::from_millis(block);
                    self.conns.get_mut(&conn).unwrap().waits = Some((from, count, until));
                }
                _ => panic!("{name} is not for this Redis"),
            }
        }
        self.log.push(name);
        self.conns.get_mut(&conn).unwrap().output.extend(reply);
    }

    fn info(&self, conn: Conn) -> Vec<u8> {
        let Some(stream) = self.stream_of(conn) else {
            return b"-ERR no such key\r\n".to_vec();
        };
        let mut reply = format!("%5\r\n+length\r\n:{}\r\n", stream.kept.len()).into_bytes();
        reply.extend(b"+last-generated-id\r\n");
        bulk(stream.last.to_string().as_bytes(), &mut reply);
        let (name, deleted) = if self.counts {
            ("entries-added", "max-deleted-entry-id")
        } else {
            ("groups", "radix-tree-keys")
        };
        reply.extend(format!("+{deleted}\r\n").bytes());
        bulk(stream.deleted.to_string().as_bytes(), &mut reply);
        reply.extend(format!("+{name}\r\n:{}\r\n+first-entry\r\n", stream.added).bytes());
        match stream.kept.front() {
            Some((id, bytes)) => stream.write_entry(*id, bytes, &mut reply),
            None => reply.extend(b"_\r\n"),
        }
        reply
    }

    fn write_entries(&self, entries: &[&(StreamId, Vec<u8>)], output: &mut Vec<u8>) {
        output.extend(format!("*{}\r\n", entries.len()).bytes());
        for (id, bytes) in entries {
            let stream = self.stream.as_ref().expect("they are in it");
            stream.write_entry(*id, bytes, output);
        }
    }
}

impl Entries {
    /// The newest are lost with all that was known of them: by a replica that lags.
    pub(super) fn lose(&mut self, count: usize) {
        for _ in 0..count.min(self.kept.len()) {
            self.kept.pop_back();
            self.added -= 1;
        }
        self.last = self.kept.back().map_or(StreamId::ZERO, |(id, _)| *id);
    }

    /// Somebody deletes the newest.
    pub(super) fn delete(&mut self, count: usize) {
        for (id, _) in self.kept.split_off(self.kept.len() - count) {
            self.deleted = self.deleted.max(id);
        }
    }

    pub(super) fn trim(&mut self, length: usize) {
        let gone = self.kept.len().saturating_sub(length);
        self.kept.drain(..gone);
    }

    fn write_entry(&self, id: StreamId, bytes: &[u8], output: &mut Vec<u8>) {
        output.extend(b"*2\r\n");
        bulk(id.to_string().as_bytes(), output);
        let (fields, len) = self.more.get(&id).copied().unwrap_or_default();
        output.extend(format!("*{}\r\n", 2 * fields + 2).bytes());
        for _ in 0..2 * fields {
            bulk(&vec![b'x'; len], output);
        }
        bulk(b"m", output);
        bulk(bytes, output);
    }
}

/// Takes a command out: an array of bulk strings.
fn take_command(input: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let mut rest = &input[..];
    let mut number = |sign: u8| -> Option<usize> {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        assert_eq!(rest[0], sign);
        let number = std::str::from_utf8(&rest[1..end]).unwrap().parse().unwrap();
        rest = &rest[end + 2..];
        Some(number)
    };
    let count = number(b'*')?;
    let mut command = Vec::new();
    let mut taken = rest;
    for _ in 0..count {
        let end = taken.windows(2).position(|two| two == b"\r\n")?;
        assert_eq!(taken[0], b'$');
        let len: usize = std::str::from_utf8(&taken[1..end])
            .unwrap()
            .parse()
            .unwrap();
        taken = &taken[end + 2..];
        command.push(taken.get(..len)?.to_vec());
        taken = taken.get(len + 2..)?;
    }
    let left = taken.len();
    input.drain(..input.len() - left);
    Some(command)
}

fn bulk(bytes: &[u8], output: &mut Vec<u8>) {
    output.extend(format!("${}\r\n", bytes.len()).bytes());
    output.extend_from_slice(bytes);
    output.extend(b"\r\n");
}
