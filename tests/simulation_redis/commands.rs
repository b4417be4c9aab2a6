//! What the model of a Redis answers.

use super::plan::Refusal;
use super::redis::{Conn, Peer};
use super::wire::{Reply, command};
use super::world::{PASSWORD, World};

/// Whether a command asks how many hear something, or brings something to them.
const CHANNEL: [&str; 5] = ["SUBSCRIBE", "SSUBSCRIBE", "PUBLISH", "SPUBLISH", "PUBSUB"];

impl World {
    /// Executes what has come whole on a connection.
    pub(super) fn execute_all(&mut self, id: usize) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let input = std::mem::take(&mut conn.session.input);
        let mut begin = 0;
        let is_served = |conn: &&Conn| conn.session.waits.is_none() && !conn.is_dropped;
        while self.conns.get(&id).as_ref().is_some_and(is_served) {
            let Some((words, len)) = command(&input[begin..]) else {
                break;
            };
            begin += len;
            self.execute(id, &words);
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.session.input = input[begin..].to_vec();
        }
    }

    fn execute(&mut self, id: usize, words: &[&[u8]]) {
        let name = std::str::from_utf8(words[0]).expect("commands are ASCII");
        self.tally.commands += 1;
        let conn = &self.conns[&id];
        let server = match conn.to {
            Peer::Redis(server) => server,
            Peer::Sentinel => return self.execute_at_sentinel(id, words),
        };
        if !conn.session.is_greeted && name != "HELLO" {
            assert!(conn.session.is_refused, "{name} before HELLO");
            return self.reply(id, Reply::error("NOAUTH Authentication required."));
        }
        if let Some(refusal) = self.refusal(server, name) {
            self.take_note_of_refusal(words);
            return self.reply(id, Reply::error(refusal));
        }
        match name {
            "HELLO" => self.hello(id, server, &words[1..]),
            "SELECT" => {
                let number = std::str::from_utf8(words[1]).expect("it is a number");
                let session = &mut self.conns.get_mut(&id).expect("it asks").session;
                session.database = number.parse().expect("it is a number");
                self.reply(id, Reply::ok());
            }
            "PING" => self.reply(id, Reply::default().simple("PONG")),
            "SUBSCRIBE" => self.subscribe(id, &words[1..], false),
            "SSUBSCRIBE" => self.subscribe(id, &words[1..], true),
            "PUBLISH" => self.publish_for(id, server, words, false),
            "SPUBLISH" => self.publish_for(id, server, words, true),
            "PUBSUB" => {
                let is_sharded = words[1] == b"SHARDNUMSUB";
                assert!(is_sharded || words[1] == b"NUMSUB");
                let count = self.subscribers(server, words[2], is_sharded);
                self.reply(id, Reply::default().map(1).bulk(words[2]).int(count));
            }
            _ => self.execute_on_stream(id, server, name, words),
        }
    }

    /// Why a command is refused now, if it is.
    fn refusal(&self, server: usize, name: &str) -> Option<&'static str> {
        let redis = &self.servers[server];
        let greets = matches!(name, "HELLO" | "SELECT");
        let carries = matches!(name, "PUBLISH" | "SPUBLISH" | "XADD");
        match redis.refuses? {
            Refusal::Memory => (name == "XADD")
                .then_some("OOM command not allowed when used memory > 'maxmemory'."),
            Refusal::Busy => (name != "HELLO").then_some(
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN \
                 NOSAVE.",
            ),
            Refusal::Loading => (!greets && !CHANNEL.contains(&name))
                .then_some("LOADING Redis is loading the dataset in memory"),
            Refusal::Password => None, // said after HELLO
            Refusal::Permission => {
                carries.then_some("NOPERM User default has no permissions to run the command")
            }
        }
    }

    /// A message was refused: it may be heard behind others.
    fn take_note_of_refusal(&mut self, words: &[&[u8]]) {
        let last = words.last().expect("there is a name");
        if let Some((_, message)) = self.ledger.recognise(last) {
            message.fate.is_refused = true;
        }
    }

    fn hello(&mut self, id: usize, server: usize, words: &[&[u8]]) {
        assert_eq!(words[0], b"3");
        let redis = &self.servers[server];
        let auth = words.iter().position(|word| *word == b"AUTH");
        let given = auth.map(|at| (words[at + 1], words[at + 2]));
        let is_right = match given {
            Some(given) => given == (b"default".as_slice(), PASSWORD.as_bytes()),
            None => !self.settings.has_password,
        };
        let is_known = self.conns[&id].session.is_greeted;
        if !is_known && (!is_right || redis.refuses == Some(Refusal::Password)) {
            let error = "WRONGPASS invalid username-password pair or user is disabled.";
            let conn = self.conns.get_mut(&id).expect("it asks");
            conn.session.is_refused = true;
            return self.reply(id, Reply::error(error));
        }
        let role = if redis.is_replica {
            "replica"
        } else {
            "master"
        };
        let reply = Reply::default().map(7).bulk("server").bulk("redis");
        let reply = reply.bulk("version").bulk("7.0.15").bulk("proto").int(3);
        let reply = reply.bulk("id").int(id).bulk("mode").bulk("standalone");
        let reply = reply.bulk("role").bulk(role).bulk("modules").array(0);
        let conn = self.conns.get_mut(&id).expect("it asks");
        conn.session.is_greeted = true;
        self.reply(id, reply);
    }

    fn subscribe(&mut self, id: usize, names: &[&[u8]], is_sharded: bool) {
        let kind = if is_sharded {
            "ssubscribe"
        } else {
            "subscribe"
        };
        for name in names {
            let conn = self.conns.get_mut(&id).expect("it asks");
            let channels = &mut conn.session.channels;
            channels.push((name.to_vec(), is_sharded));
            let reply = Reply::default().push(3).bulk(kind).bulk(name);
            let reply = reply.int(channels.len());
            self.reply(id, reply);
        }
        let node = self.conns[&id].node;
        self.nodes[node].note_success(self.now);
    }

    fn publish_for(&mut self, id: usize, server: usize, words: &[&[u8]], is_sharded: bool) {
        let count = self.publish(server, words[1], words[2], is_sharded);
        self.reply(id, Reply::number(count));
    }

    /// Brings something to all who hear a channel. Returns how many these are.
    pub(super) fn publish(
        &mut self,
        server: usize,
        channel: &[u8],
        bytes: &[u8],
        is_sharded: bool,
    ) -> usize {
        let kind = if is_sharded { "smessage" } else { "message" };
        let push = Reply::default().push(3).bulk(kind).bulk(channel);
        let push = push.bulk(bytes);
        let key = self.ledger.recognise(bytes).map(|(key, message)| {
            message.fate.is_published = true;
            key
        });
        if let Some((who, _)) = key.filter(|_| self.settings.is_stream) {
            self.ledger.lives[who].is_diverted = true;
        }
        let hearers: Vec<usize> = self.hearers(server, channel, is_sharded).collect();
        for id in &hearers {
            self.send_down(*id, &push.0);
            if let Some(key) = key {
                self.load(*id, key);
            }
        }
        if let Some(key) = key {
            let message = self.ledger.message(key);
            message.fate.first_to.get_or_insert(message.pushed);
        }
        hearers.len()
    }

    /// How many hear a channel.
    fn subscribers(&self, server: usize, channel: &[u8], is_sharded: bool) -> usize {
        self.hearers(server, channel, is_sharded).count()
    }

    fn hearers(
        &self,
        server: usize,
        channel: &[u8],
        is_sharded: bool,
    ) -> impl Iterator<Item = usize> {
        let hears = move |(name, sharded): &(Vec<u8>, bool)| {
            *sharded == is_sharded && name.as_slice() == channel
        };
        let conns = self.conns.iter();
        conns
            .filter(move |(_, conn)| {
                conn.is_served_by(server) && conn.session.channels.iter().any(hears)
            })
            .map(|(id, _)| *id)
    }

    fn execute_at_sentinel(&mut self, id: usize, words: &[&[u8]]) {
        assert_eq!(
            words[..2],
            [b"SENTINEL".as_slice(), b"GET-MASTER-ADDR-BY-NAME"]
        );
        let node = self.conns[&id].node;
        let host = format!("redis{}", self.nodes[node].lead);
        self.reply(id, Reply::default().array(2).bulk(host).bulk("6379"));
    }
}
