//! Streams: nothing is lost that the stream still holds.

mod answers;
mod batch;
mod cursor;
mod detour;
mod id;
mod raw_ids;
mod reader;
mod reply;
mod ring;
mod search;
#[cfg(test)]
mod tests;
mod witness;

use std::time::Instant;

pub(super) use batch::room;
pub(super) use ring::MAX_BYTES as MAX_RING;

use detour::Detour;
use id::StreamId;
use reader::Reader;
use reply::{FIELD, StreamInfo};
use ring::Ring;
use search::{Search, is_trimmed};
use witness::{Doubt, Witness};

use super::action::LinkId;
use super::channels::Channels;
use super::config::{BackplaneConfig, Format};
use super::dialler::Dialler;
use super::engine::{Desk, Engine, sending_deadline};
use super::links::Links;
use super::loss::Loss;
use super::pace::Pace;
use super::refusals::Refusals;
use super::request::Request;
use super::resp::Value;
use super::traffic::Traffic;

/// A stream, on two connections: one for commands and for what is published beside the stream, and
/// one that waits for entries ([`Reader`]).
///
/// Readers go on where they were, so what is added while one is away is not lost on it. A Redis
/// that comes back without what it has acknowledged, as one that writes nothing to disk does or a
/// replica that was behind, is given it once more: each server keeps what it has added lately,
/// looks for it after each connection, and adds what is gone again before anything new. Who has
/// read it knows it by its number.
#[derive(Debug)]
pub(super) struct Stream {
    channels: Channels,
    key: String,
    max_length: String,
    dialler: Dialler,
    command: Option<Command>,
    reader: Reader,
    ring: Ring,
    pace: Pace,
    refusals: Refusals,
    /// The last entry that the stream has given an ID, as the link for commands knows it.
    last: StreamId,
    /// What the reader's Redis does not have, if that is so: the other connection's must not have
    /// it either.
    doubt: Option<Doubt>,
    /// Why messages go past the stream, if they do.
    detour: Option<Detour>,
}

/// The link for commands, and how far it is.
#[derive(Debug)]
struct Command {
    link: LinkId,
    stage: Stage,
    /// How often it was asked how the stream is, and has not answered.
    looks: usize,
}

/// How far a link for commands is.
#[derive(Debug)]
enum Stage {
    /// It connects, and says who it is.
    Dialling,
    /// It has asked for the channels, and how the stream is.
    Joining,
    /// It looks for what we have added lately.
    Searching {
        search: Search,
        stream: Option<StreamInfo>,
    },
    /// Messages go through it.
    Open,
}

impl Stream {
    pub(super) fn new(config: &BackplaneConfig, shard: u16, seed: u64, now: Instant) -> Self {
        let channels = Channels::new(config, shard);
        let key = channels.stream.clone();
        Self {
            channels,
            key: key.clone(),
            max_length: config.stream_maxlen.to_string(),
            dialler: Dialler::new(shard, seed, now),
            command: None,
            reader: Reader::new(shard, key, !seed, config.max_message_size, now),
            ring: Ring::default(),
            pace: Pace::new(now),
            refusals: Refusals::default(),
            last: StreamId::ZERO,
            doubt: None,
            detour: None,
        }
    }

    fn command(&mut self, link: LinkId) -> Option<&mut Command> {
        self.command.as_mut().filter(|command| command.link == link)
    }

    /// Who takes messages.
    fn sender(&self) -> Option<LinkId> {
        let open = |command: &&Command| matches!(command.stage, Stage::Open);
        self.command
            .as_ref()
            .filter(open)
            .map(|command| command.link)
    }

    /// What the stream is known to have had.
    fn witness(&self) -> Witness {
        let added = self.ring.newest(0).cloned();
        let id = added.as_ref().map(|acked| acked.id);
        Witness {
            last: self.last.max(id.unwrap_or_default()),
            added,
        }
    }

    /// Gives a link up.
    fn give_up(&mut self, link: LinkId, why: Loss, desk: &mut Desk<'_>) {
        desk.links.close(link);
        self.lost(link, why, desk);
    }

    fn look(&mut self, link: LinkId, desk: &mut Desk<'_>) {
        if let Some(command) = &mut self.command {
            command.looks += 1;
        }
        let args: [&[u8]; 3] = [b"XINFO", b"STREAM", self.key.as_bytes()];
        desk.links.send(link, Request::Look, &args, desk.now);
    }

    /// Asks for the next of our own entries, or begins if it is known which are lost.
    fn advance_search(&mut self, link: LinkId, desk: &mut Desk<'_>) {
        let added = self.reader.cursor().added();
        // Each round learns something, and a search ends.
        loop {
            let Some(Command {
                stage: Stage::Searching { search, stream },
                ..
            }) = &mut self.command
            else {
                return;
            };
            let Some(place) = search.next() else {
                let lost = search.lost();
                return self.open(link, lost, desk);
            };
            let Some(acked) = self.ring.newest(place) else {
                return;
            };
            if is_trimmed(acked.id, stream.as_ref(), added, desk.config.stream_maxlen) {
                search.learn(true);
                continue;
            }
            let id = acked.id.to_string();
            let args: [&[u8]; 4] = [b"XRANGE", self.key.as_bytes(), id.as_bytes(), id.as_bytes()];
            desk.links.send(link, Request::Find, &args, desk.now);
            return;
        }
    }

    /// Messages go through the link from now on, and first those that the stream has lost.
    fn open(&mut self, link: LinkId, lost: usize, desk: &mut Desk<'_>) {
        self.refusals.end_pause();
        desk.traffic.rewind(desk.news, desk.now);
        // From the newest on: each goes to the front of the queue, and nothing is moved for it.
        for entry in self.ring.take_newest(lost).rev() {
            desk.traffic.replay(entry, desk.news, desk.now);
        }
        if lost > 0 {
            desk.news.replayed(lost as u64);
        }
        self.pace.begin(desk.traffic.said());
        if let Some(command) = &mut self.command {
            command.stage = Stage::Open;
        }
        if let Some(to) = desk.links.get(link).map(|link| link.to().clone()) {
            self.reader.follow(to, desk);
        }
    }

    /// Says that we are there, and asks how things are.
    fn advance_heartbeat(&mut self, desk: &mut Desk<'_>) {
        let now = desk.now;
        let Some(link) = self.sender().filter(|link| !desk.links.is_stalled(*link)) else {
            return;
        };
        if !desk.traffic.peers.is_heartbeat_due(now) {
            return;
        }
        let (beat, bytes) = desk.traffic.next_heartbeat(now);
        let control = self.channels.control.as_bytes();
        let args = [self.channels.publish(), control, &bytes];
        desk.links
            .send(link, Request::Heartbeat { beat }, &args, now);
        self.look(link, desk);
        desk.links.send(link, Request::Role, &[b"HELLO", b"3"], now);
    }

    /// Tells the traffic whether messages get through.
    fn settle(&mut self, desk: &mut Desk<'_>) {
        if self.carries() {
            desk.traffic.link_up(desk.now);
        } else {
            desk.traffic.link_down(desk.news);
        }
    }
}

impl Engine for Stream {
    fn ready(&mut self, link: LinkId, desk: &mut Desk<'_>) {
        if self.reader.is_link(link) {
            let witness = self.witness();
            return self.reader.ready(link, witness, desk);
        }
        let Some(command) = self.command(link) else {
            return;
        };
        command.stage = Stage::Joining;
        let args = [
            self.channels.subscribe(),
            self.channels.messages.as_bytes(),
            self.channels.control.as_bytes(),
        ];
        desk.links.send(link, Request::Subscribe, &args, desk.now);
        self.look(link, desk);
    }

    fn reply(&mut self, link: LinkId, request: Request, reply: Value, desk: &mut Desk<'_>) {
        if self.reader.is_link(link) {
            let witness = self.witness();
            if let Err(why) = self.reader.replied(request, reply, witness, desk) {
                self.give_up(link, why, desk);
            }
        } else if self.command(link).is_some() {
            if let Err(why) = self.answered(link, request, &reply, desk) {
                self.give_up(link, why, desk);
            }
        }
        self.settle(desk);
    }

    fn push(&mut self, link: LinkId, parts: Vec<Value>, desk: &mut Desk<'_>) {
        match self.channels.message(parts) {
            Ok(Some(said)) => {
                let beat = desk.traffic.hear(said, desk.news, desk.now);
                // Not before: whoever takes subscriptions and brings nothing would be called
                // without a pause.
                if beat.is_some() {
                    self.dialler.succeeded(desk.now);
                }
            }
            Ok(None) => {}
            Err(why) => self.give_up(link, why, desk),
        }
    }

    fn stalled(&mut self, link: LinkId, desk: &mut Desk<'_>) {
        // Nothing is lost with it: what is not acknowledged is added again, and reading goes on
        // where it was.
        self.give_up(link, Loss::Stalled, desk);
    }

    fn revived(&mut self, _: LinkId, _: &mut Desk<'_>) {}

    fn lost(&mut self, link: LinkId, why: Loss, desk: &mut Desk<'_>) {
        if self.reader.is_link(link) {
            self.reader.lost(&why, desk);
            match why {
                // Both lead to the same place.
                Loss::Role(_) | Loss::Moved(_) => {
                    if let Some(link) = self.sender() {
                        self.give_up(link, why, desk);
                    }
                }
                // One of the two leads to another Redis: which, shows now.
                Loss::Deaf => {
                    self.last = StreamId::ZERO;
                    if let Some(link) = self.sender() {
                        self.doubt = Some(Doubt {
                            last: self.reader.doubt(),
                            earlier: self.command.as_ref().map_or(0, |command| command.looks),
                        });
                        self.look(link, desk);
                    }
                }
                _ => {}
            }
        } else if self.command(link).is_some() {
            self.command = None;
            self.doubt = None;
            self.reader.stay();
            self.dialler.lost(&why, desk);
        }
        self.settle(desk);
    }

    fn advance(&mut self, desk: &mut Desk<'_>) {
        if self.command.is_none() {
            let link = self.dialler.dial(desk.links, desk.config, desk.now);
            self.command = link.map(|link| Command {
                link,
                stage: Stage::Dialling,
                looks: 0,
            });
        }
        if self.sender().is_some() {
            self.ring.expire(desk.now);
        }
        let witness = self.witness();
        self.reader.advance(witness, desk);
        self.settle(desk);
        self.pump(desk);
        self.advance_heartbeat(desk);
    }

    fn pump(&mut self, desk: &mut Desk<'_>) {
        let now = desk.now;
        let Some(link) = self.sender() else {
            return;
        };
        if self.refusals.pause_is_over(desk.links.is_idle(link), now) {
            desk.traffic.queue.rewind();
            self.pace.begin(desk.traffic.said());
        }
        while let Some((seq, entry)) = desk.next_to_send(link, &self.refusals, &mut self.pace) {
            let published = entry.published(Format::Envelope);
            self.pace.spend(seq, published.len());
            let args = [
                b"XADD".as_slice(),
                self.key.as_bytes(),
                b"MAXLEN",
                b"~",
                self.max_length.as_bytes(),
                b"*",
                FIELD,
                published,
            ];
            desk.links.send(link, Request::Add { seq }, &args, now);
        }
    }

    fn next_deadline(&self, traffic: &Traffic, links: &Links) -> Option<Instant> {
        let dial = self.command.is_none().then(|| self.dialler.next_deadline());
        let reader = self.reader.next_deadline();
        let sender = self.sender();
        let heartbeat = sender.and_then(|_| traffic.peers.heartbeat_due());
        let sending = sender
            .and_then(|link| sending_deadline(link, &self.refusals, &self.pace, traffic, links));
        [dial, reader, heartbeat, sending]
            .into_iter()
            .flatten()
            .min()
    }

    fn wants_input(&self, _: LinkId) -> bool {
        true
    }

    fn carries(&self) -> bool {
        self.sender().is_some() && self.reader.is_joined()
    }

    fn is_stalled(&self, _: &Links) -> bool {
        false // whoever stalls is left
    }

    fn lag(&self) -> u64 {
        self.reader.cursor().lag()
    }
}
