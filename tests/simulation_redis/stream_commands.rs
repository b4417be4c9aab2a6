//! What the model of a Redis answers about its streams.

use std::time::Duration;

use super::redis::{Peer, Waits};
use super::settings::Temper;
use super::stream::{Entry, Id, Stream};
use super::wire::Reply;
use super::world::World;

impl World {
    pub(super) fn execute_on_stream(
        &mut self,
        id: usize,
        server: usize,
        name: &str,
        words: &[&[u8]],
    ) {
        match name {
            "XADD" => self.add(id, server, words),
            "XREAD" => self.read_entries(id, server, words),
            "XRANGE" => {
                let (first, last) = (parse_id(words[2]), parse_id(words[3]));
                let stream = self.stream(id, server, words[1]);
                let entries = stream.into_iter().flat_map(|s| s.between(first, last));
                let reply = write_entries(Reply::default(), &entries.collect::<Vec<_>>());
                self.reply(id, reply);
            }
            "XINFO" => {
                assert_eq!(words[1], b"STREAM");
                let counts = self.settings.counts_added;
                let reply = match self.stream(id, server, words[2]) {
                    Some(stream) => describe(stream, counts),
                    None => Reply::error("ERR no such key"),
                };
                self.reply(id, reply);
            }
            _ => panic!("no Redis knows {name}"),
        }
    }

    fn stream(&self, id: usize, server: usize, key: &[u8]) -> Option<&Stream> {
        let database = self.conns[&id].session.database;
        self.servers[server].streams.get(&(database, key.to_vec()))
    }

    /// `XADD key MAXLEN ~ count * field value…`.
    fn add(&mut self, id: usize, server: usize, words: &[&[u8]]) {
        assert_eq!(words[2..4], [b"MAXLEN".as_slice(), b"~"]);
        assert_eq!(words[5], b"*");
        if self.servers[server].is_replica {
            let error = "READONLY You can't write against a read only replica.";
            return self.reply(id, Reply::error(error));
        }
        let keep = number(words[4]);
        let database = self.conns[&id].session.database;
        let added = self.add_entry(server, (database, words[1]), &words[6..]);
        let key = (database, words[1].to_vec());
        let streams = &mut self.servers[server].streams;
        let stream = streams.get_mut(&key).expect("it was added to");
        let removed = stream.trim_about(keep);
        self.take_note_of_removed(&removed);
        self.reply(id, Reply::default().bulk(write_id(added)));
    }

    /// Adds an entry, and wakes who waits for it.
    pub(super) fn add_entry(
        &mut self,
        server: usize,
        (database, key): (u32, &[u8]),
        words: &[&[u8]],
    ) -> Id {
        let redis = &mut self.servers[server];
        let millis = redis.clock(self.now);
        let stream = redis.streams.entry((database, key.to_vec())).or_default();
        let added = stream.add(words, millis);
        self.ledger.added.push((key.to_vec(), added));
        if let Some((_, message)) = self.ledger.recognise(words.last().expect("a value")) {
            message.fate.added_at.get_or_insert(self.now);
        }
        let waiting: Vec<usize> = self.conns.keys().copied().collect();
        for id in waiting {
            self.wake(id, server, key);
        }
        added
    }

    pub(super) fn take_note_of_removed(&mut self, removed: &[Entry]) {
        for entry in removed {
            let value = entry.words.last().expect("a value");
            if let Some((_, message)) = self.ledger.recognise(value) {
                message.fate.is_removed = true;
            }
        }
    }

    /// `XREAD COUNT count BLOCK millis STREAMS key id`.
    fn read_entries(&mut self, id: usize, server: usize, words: &[&[u8]]) {
        let keywords = [words[1], words[3], words[5]];
        assert_eq!(keywords, [b"COUNT".as_slice(), b"BLOCK", b"STREAMS"]);
        let node = self.conns[&id].node;
        self.nodes[node].note_success(self.now);
        let block = u64::try_from(number(words[4])).expect("it is short");
        let key = words[6].to_vec();
        let waits = Waits {
            key: key.clone(),
            after: parse_id(words[7]),
            count: number(words[2]),
            until: self.now + Duration::from_millis(block),
        };
        let who = self.conns[&id].who;
        let floors = &mut self.ledger.lives[who].floors;
        floors.entry(key.clone()).or_insert(waits.after);
        let conn = self.conns.get_mut(&id).expect("it asks");
        conn.session.waits = Some(waits);
        self.wake(id, server, &key);
    }

    /// Answers somebody who waits for entries of a stream, if there are any.
    fn wake(&mut self, id: usize, server: usize, key: &[u8]) {
        let conn = &self.conns[&id];
        let Some(waits) = conn.session.waits.as_ref().filter(|waits| waits.key == key) else {
            return;
        };
        if !conn.is_served_by(server) {
            return;
        }
        let Some(stream) = self.stream(id, server, key) else {
            return;
        };
        let entries: Vec<Entry> = stream.after(waits.after, waits.count).cloned().collect();
        if entries.is_empty() {
            return;
        }
        let reply = Reply::default().map(1).bulk(key);
        let reply = write_entries(reply, &entries.iter().collect::<Vec<_>>());
        let session = &mut self.conns.get_mut(&id).expect("it waits").session;
        session.waits = None;
        session.is_woken = true;
        self.reply(id, reply);
        if self.settings.temper == Temper::Short {
            let conn = self.conns.get_mut(&id).expect("it waits");
            let end = conn.down.sent;
            let ids = entries.iter().map(|entry| (end, key.to_vec(), entry.id));
            conn.entries.extend(ids);
        }
        for entry in &entries {
            let value = entry.words.last().expect("a value");
            if let Some((key, _)) = self.ledger.recognise(value) {
                self.load(id, key);
            }
        }
    }

    /// Answers who has waited in vain for long enough.
    pub(super) fn end_waits(&mut self) {
        let now = self.now;
        let frozen = self
            .servers
            .each_ref()
            .map(|redis| redis.frozen_until > now);
        let ended: Vec<usize> = self
            .conns
            .iter_mut()
            .filter_map(|(id, conn)| {
                let is_frozen = matches!(conn.to, Peer::Redis(server) if frozen[server]);
                let waits = &mut conn.session.waits;
                let ended = waits.take_if(|waits| waits.until <= now && !is_frozen);
                ended.map(|_| *id)
            })
            .collect();
        for id in ended {
            self.reply(id, Reply::default().null());
            self.execute_all(id);
        }
    }
}

fn write_entries(reply: Reply, entries: &[&Entry]) -> Reply {
    entries
        .iter()
        .fold(reply.array(entries.len()), |reply, entry| {
            let reply = reply.array(2).bulk(write_id(entry.id));
            let reply = reply.array(entry.words.len());
            entry.words.iter().fold(reply, Reply::bulk)
        })
}

fn describe(stream: &Stream, counts_added: bool) -> Reply {
    let reply = Reply::default().map(if counts_added { 9 } else { 7 });
    let reply = reply.bulk("length").int(stream.entries.len());
    let reply = reply.bulk("radix-tree-keys").int(1);
    let reply = reply.bulk("radix-tree-nodes").int(2);
    let mut reply = reply.bulk("last-generated-id").bulk(write_id(stream.last));
    if counts_added {
        // That of `XDEL`, which nobody has said.
        reply = reply.bulk("max-deleted-entry-id").bulk("0-0");
        reply = reply.bulk("entries-added").int(stream.added);
    }
    reply = reply.bulk("groups").int(0);
    let ends = [
        ("first-entry", stream.entries.front()),
        ("last-entry", stream.entries.back()),
    ];
    ends.into_iter().fold(reply, |reply, (name, entry)| {
        let reply = reply.bulk(name);
        match entry {
            Some(entry) => {
                let reply = reply.array(2).bulk(write_id(entry.id));
                let reply = reply.array(entry.words.len());
                entry.words.iter().fold(reply, Reply::bulk)
            }
            None => reply.null(),
        }
    })
}

fn number(word: &[u8]) -> usize {
    let text = std::str::from_utf8(word).expect("numbers are ASCII");
    text.parse().expect("it is a number")
}

fn parse_id(word: &[u8]) -> Id {
    let text = std::str::from_utf8(word).expect("IDs are ASCII");
    let (millis, number) = text.split_once('-').expect("an ID has two parts");
    (
        millis.parse().expect("it is a number"),
        number.parse().expect("it is a number"),
    )
}

fn write_id((millis, number): Id) -> String {
    format!("{millis}-{number}")
}
