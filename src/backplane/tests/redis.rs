//! A Redis that is a model: one thread, one order, nothing on a disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::backplane::Endpoint;
use crate::backplane::resp::{Decoder, RespLimits};

/// What a client of the model has said and is told.
#[derive(Debug)]
pub(super) struct Client {
    decoder: Decoder,
    is_known: bool,
    pub(super) channels: BTreeSet<Vec<u8>>,
    /// What it is told, until the wire takes it.
    pub(super) output: Vec<u8>,
    /// Its commands, by name and arguments, as they were executed.
    pub(super) commands: Vec<Vec<Vec<u8>>>,
}

/// A model of Redis, or of a sentinel.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "faults come in any combination"
)]
pub(super) struct Redis {
    pub(super) at: Endpoint,
    pub(super) is_running: bool,
    /// Takes connections, and does nothing else.
    pub(super) is_frozen: bool,
    pub(super) role: &'static str,
    pub(super) password: Option<&'static str>,
    /// Whether a client's own messages come behind the reply, as from 7.2 on.
    pub(super) pushes_last: bool,
    /// Answers that are given whatever is asked: by command.
    pub(super) answers: BTreeMap<&'static str, &'static str>,
    /// Answers that are given so often: by command.
    pub(super) answers_once: Vec<(&'static str, &'static str)>,
    /// Messages that end so are refused.
    pub(super) refuses: Option<&'static str>,
    /// Messages that end so are refused, and whoever sends them is cut off.
    pub(super) hangs_up: Option<&'static str>,
    /// Where the channels are, if not here.
    pub(super) moved: Option<&'static str>,
    /// How the names of those channels begin.
    pub(super) moved_prefix: &'static str,
    /// Channels that swallow what is published, for those who have subscribed.
    pub(super) is_deaf: bool,
    /// Of a sentinel: where the masters are.
    pub(super) masters: BTreeMap<String, (String, u16)>,
    /// Connections, ever.
    pub(super) accepted: usize,
    /// All that was published, ever: channel and payload.
    pub(super) published: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) clients: BTreeMap<usize, Client>,
    /// Clients that are cut off as soon as their output has left.
    pub(super) hung_up: Vec<usize>,
    next_client: usize,
}

fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

impl Redis {
    pub(super) fn new(host: &str) -> Self {
        Self {
            at: Endpoint::Tcp(host.to_owned(), 6379),
            is_running: true,
            is_frozen: false,
            role: "master",
            password: None,
            pushes_last: false,
            answers: BTreeMap::new(),
            answers_once: Vec::new(),
            refuses: None,
            hangs_up: None,
            moved: None,
            moved_prefix: "",
            is_deaf: false,
            masters: BTreeMap::new(),
            accepted: 0,
            published: Vec::new(),
            clients: BTreeMap::new(),
            hung_up: Vec::new(),
            next_client: 0,
        }
    }

    pub(super) fn accept(&mut self) -> usize {
        self.accepted += 1;
        self.next_client += 1;
        let client = Client {
            decoder: Decoder::new(RespLimits::new(1 << 20, 1)),
            is_known: self.password.is_none(),
            channels: BTreeSet::new(),
            output: Vec::new(),
            commands: Vec::new(),
        };
        self.clients.insert(self.next_client, client);
        self.next_client
    }

    /// Takes what a client has sent, and executes what is whole.
    pub(super) fn receive(&mut self, id: usize, mut input: &[u8]) {
        loop {
            let Some(client) = self.clients.get_mut(&id) else {
                return;
            };
            if self.hung_up.contains(&id) {
                return;
            }
            let Some(command) = client.decoder.decode(&mut input).unwrap() else {
                return;
            };
            let command: Vec<Vec<u8>> = command
                .into_array()
                .unwrap()
                .into_iter()
                .map(|arg| arg.into_bytes().unwrap())
                .collect();
            client.commands.push(command.clone());
            self.execute(id, &command);
        }
    }

    fn execute(&mut self, id: usize, command: &[Vec<u8>]) {
        let name = String::from_utf8(command[0].clone()).unwrap();
        let once = self.answers_once.iter().position(|(of, _)| *of == name);
        let answer = match once {
            Some(index) => Some(self.answers_once.remove(index).1),
            None => self.answers.get(name.as_str()).copied(),
        };
        let client = self.clients.get_mut(&id).unwrap();
        if let Some(answer) = answer {
            client.output.extend_from_slice(answer.as_bytes());
            return;
        }
        if name == "HELLO" {
            return self.hello(id, command);
        }
        if name == "AUTH" {
            client.is_known = Some(command[2].as_slice()) == self.password.map(str::as_bytes);
            let reply = if client.is_known {
                "+OK\r\n"
            } else {
                "-WRONGPASS no\r\n"
            };
            client.output.extend_from_slice(reply.as_bytes());
            return;
        }
        if !client.is_known {
            client
                .output
                .extend_from_slice(b"-NOAUTH Authentication required.\r\n");
            return;
        }
        let payload = command.last().unwrap();
        if self
            .refuses
            .is_some_and(|refused| payload.ends_with(refused.as_bytes()))
        {
            client.output.extend_from_slice(b"-ERR no\r\n");
            return;
        }
        if self
            .hangs_up
            .is_some_and(|refused| payload.ends_with(refused.as_bytes()))
        {
            let error = b"-ERR Protocol error: invalid bulk length\r\n";
            client.output.extend_from_slice(error);
            self.hung_up.push(id);
            return;
        }
        let is_away = || command[1].starts_with(self.moved_prefix.as_bytes());
        let node = self.moved.filter(|_| command.len() > 1 && is_away());
        if let (Some(node), "SSUBSCRIBE" | "SPUBLISH") = (node, name.as_str()) {
            let reply = format!("-MOVED 42 {node}\r\n");
            client.output.extend_from_slice(reply.as_bytes());
            return;
        }
        self.obey(id, &name, command);
    }

    /// What becomes of a command that nothing speaks against.
    fn obey(&mut self, id: usize, name: &str, command: &[Vec<u8>]) {
        let client = self.clients.get_mut(&id).unwrap();
        match name {
            "PING" => client.output.extend_from_slice(b"+PONG\r\n"),
            "SELECT" => client.output.extend_from_slice(b"+OK\r\n"),
            "SUBSCRIBE" | "SSUBSCRIBE" => {
                for channel in &command[1..] {
                    client.channels.insert(channel.clone());
                    client.output.extend_from_slice(b">3\r\n");
                    bulk(name.to_lowercase().as_bytes(), &mut client.output);
                    bulk(channel, &mut client.output);
                    let count = format!(":{}\r\n", client.channels.len());
                    client.output.extend_from_slice(count.as_bytes());
                }
            }
            "PUBSUB" => {
                let count = self.subscribers(&command[2]);
                let output = &mut self.clients.get_mut(&id).unwrap().output;
                output.extend_from_slice(b"*2\r\n");
                bulk(&command[2], output);
                output.extend_from_slice(format!(":{count}\r\n").as_bytes());
            }
            "PUBLISH" | "SPUBLISH" => {
                let kind = if name == "PUBLISH" {
                    "message"
                } else {
                    "smessage"
                };
                self.publish(Some(id), kind, &command[1], &command[2]);
            }
            "SENTINEL" => {
                let master = std::str::from_utf8(&command[2]).unwrap();
                match self.masters.get(master) {
                    Some((host, port)) => {
                        client.output.extend_from_slice(b"*2\r\n");
                        bulk(host.as_bytes(), &mut client.output);
                        bulk(port.to_string().as_bytes(), &mut client.output);
                    }
                    None => client.output.extend_from_slice(b"*-1\r\n"),
                }
            }
            _ => client.output.extend_from_slice(b"-ERR unknown command\r\n"),
        }
    }

    fn hello(&mut self, id: usize, command: &[Vec<u8>]) {
        let client = self.clients.get_mut(&id).unwrap();
        if let Some(auth) = command.iter().position(|arg| arg == b"AUTH") {
            if Some(command[auth + 2].as_slice()) != self.password.map(str::as_bytes) {
                client.output.extend_from_slice(b"-WRONGPASS invalid\r\n");
                return;
            }
            client.is_known = true;
        }
        let reply = if client.is_known {
            let role = self.role;
            format!(
                "%4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$4\r\nmode\r\n\
                 $10\r\nstandalone\r\n$4\r\nrole\r\n${}\r\n{role}\r\n",
                role.len()
            )
        } else {
            "-NOAUTH HELLO must be called with the client already authenticated\r\n".to_owned()
        };
        client.output.extend_from_slice(reply.as_bytes());
    }

    fn subscribers(&self, channel: &[u8]) -> usize {
        let has = |client: &&Client| client.channels.contains(channel);
        self.clients.values().filter(has).count()
    }

    /// Publishes, as a client or as somebody else who is not answered.
    pub(super) fn publish(
        &mut self,
        by: Option<usize>,
        kind: &str,
        channel: &[u8],
        payload: &[u8],
    ) {
        self.published.push((channel.to_vec(), payload.to_vec()));
        let mut push = b">3\r\n".to_vec();
        for part in [kind.as_bytes(), channel, payload] {
            bulk(part, &mut push);
        }
        let reply = format!(":{}\r\n", self.subscribers(channel));
        for (id, client) in &mut self.clients {
            let is_own = by == Some(*id);
            if is_own && self.pushes_last {
                client.output.extend_from_slice(reply.as_bytes());
            }
            if client.channels.contains(channel) && !self.is_deaf {
                client.output.extend_from_slice(&push);
            }
            if is_own && !self.pushes_last {
                client.output.extend_from_slice(reply.as_bytes());
            }
        }
    }

    /// The process is killed: everybody who was connected is cut off.
    pub(super) fn kill(&mut self) {
        self.is_running = false;
        self.is_frozen = false;
        self.clients.clear();
    }
}

/// Bytes that are on their way for a while.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) chunks: VecDeque<(u64, Vec<u8>)>,
}

impl Pipe {
    /// Puts bytes in that come out at that millisecond.
    pub(super) fn push(&mut self, at: u64, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.chunks.push_back((at, bytes));
        }
    }

    /// What has come out by now.
    pub(super) fn pop(&mut self, now: u64) -> Option<Vec<u8>> {
        self.has_arrived(now)
            .then(|| self.chunks.pop_front().unwrap().1)
    }

    /// Whether something has come out by now.
    pub(super) fn has_arrived(&self, now: u64) -> bool {
        self.chunks.front().is_some_and(|(at, _)| *at <= now)
    }
}
