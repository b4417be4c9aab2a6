//! A part of the rooms, and what carries their messages.

use std::time::Instant;

use super::action::{Health, LinkId};
use super::backoff::Random;
use super::channels::shard_of;
use super::config::{BackplaneConfig, Endpoint, Mode};
use super::engine::{Desk, Engine};
use super::inquiry::Inquiry;
use super::link::Heard;
use super::links::Links;
use super::loss::Loss;
use super::news::News;
use super::pubsub::PubSub;
use super::stream::Stream;
use super::traffic::Traffic;

/// A part of the rooms, and what carries their messages: shards know nothing of each other.
#[derive(Debug)]
pub(super) struct Shard {
    number: u16,
    pub(super) traffic: Traffic,
    pub(super) engine: Box<dyn Engine>,
    inquiry: Inquiry,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Shards(Vec<Shard>);

impl Shard {
    /// Dispatches what a link of this shard's has said.
    pub(super) fn heard(&mut self, link: LinkId, heard: Heard, mut around: Around<'_>) {
        if self.inquiry.is_link(link) {
            // All else is the link's own: the answer ends it.
            if let Heard::Lost(answer) = heard {
                around.links.close(link);
                let (links, config) = (&*around.links, around.config);
                let master = self
                    .inquiry
                    .answered(answer, self.number, links, config, around.now);
                if let Some(master) = master {
                    self.move_to(&master, around);
                }
            }
            return;
        }
        let desk = &mut around.desk(&mut self.traffic);
        let engine = &mut self.engine;
        match heard {
            Heard::Ready => engine.ready(link, desk),
            Heard::Reply(request, reply) => engine.reply(link, request, reply, desk),
            Heard::Push(parts) => engine.push(link, parts, desk),
            Heard::Stalled => engine.stalled(link, desk),
            Heard::Revived => engine.revived(link, desk),
            Heard::Lost(why) => {
                desk.links.close(link);
                engine.lost(link, why, desk);
            }
        }
    }

    /// The master is there: links that lead elsewhere are given up.
    fn move_to(&mut self, master: &Endpoint, mut around: Around<'_>) {
        for link in around.links.serving(self.number) {
            // The engine may have closed it with the one before.
            let opened = around.links.get(link);
            if opened.is_some_and(|link| link.to() != master) {
                let why = Loss::Superseded(master.clone());
                self.heard(link, Heard::Lost(why), around.reborrow());
            }
        }
    }

    /// Fires what is due.
    pub(super) fn advance(&mut self, mut around: Around<'_>) {
        self.traffic.advance(around.news, around.now);
        if self.traffic.peers.take_vanished() {
            self.inquiry.begin(around.config, around.now);
        }
        let (carries, now) = (self.engine.carries(), around.now);
        self.inquiry
            .advance(self.number, carries, around.links, around.config, now);
        self.engine.advance(&mut around.desk(&mut self.traffic));
    }

    /// Sends what waits.
    pub(super) fn pump(&mut self, mut around: Around<'_>) {
        self.engine.pump(&mut around.desk(&mut self.traffic));
    }

    /// When something is due.
    pub(super) fn next_deadline(&self, links: &Links) -> Option<Instant> {
        let engine = self.engine.next_deadline(&self.traffic, links);
        let inquiry = self.inquiry.next_deadline();
        let deadlines = [engine, self.traffic.next_deadline(), inquiry];
        deadlines.into_iter().flatten().min()
    }

    /// Who says nothing misses no echo of it: that Redis is silent counts as well.
    fn health(&self, links: &Links) -> Health {
        if !self.engine.carries() {
            Health::Down
        } else if self.traffic.is_degraded() || self.engine.is_stalled(links) {
            Health::Degraded
        } else {
            Health::Up
        }
    }
}

/// What all shards share.
#[derive(Debug)]
pub(super) struct Around<'a> {
    pub(super) links: &'a mut Links,
    pub(super) news: &'a mut News,
    pub(super) config: &'a BackplaneConfig,
    pub(super) now: Instant,
}

impl Around<'_> {
    /// The same once more, for one of several.
    pub(super) fn reborrow(&mut self) -> Around<'_> {
        Around {
            links: self.links,
            news: self.news,
            config: self.config,
            now: self.now,
        }
    }

    fn desk<'d>(&'d mut self, traffic: &'d mut Traffic) -> Desk<'d> {
        Desk {
            traffic,
            links: self.links,
            news: self.news,
            config: self.config,
            now: self.now,
        }
    }
}

impl Shards {
    pub(super) fn new(config: &BackplaneConfig, origin: u64, seed: u64, now: Instant) -> Self {
        let mut random = Random::new(seed);
        let shards = 0..config.shards.unwrap_or(1).max(1);
        Self(
            shards
                .map(|shard| Shard {
                    number: shard,
                    inquiry: Inquiry::default(),
                    traffic: Traffic::new(config, origin),
                    engine: match config.mode {
                        Mode::PubSub => Box::new(PubSub::new(config, shard, random.next(), now)),
                        Mode::Stream => Box::new(Stream::new(config, shard, random.next(), now)),
                    },
                })
                .collect(),
        )
    }

    /// The one that a room belongs to.
    pub(super) fn of_room(&mut self, room: &str) -> Option<&mut Shard> {
        let index = shard_of(room, self.0.len());
        self.0.get_mut(index)
    }

    /// The one that a link belongs to.
    pub(super) fn get(&self, owner: u16) -> Option<&Shard> {
        self.0.get(usize::from(owner))
    }

    /// The one that a link belongs to.
    pub(super) fn get_mut(&mut self, owner: u16) -> Option<&mut Shard> {
        self.0.get_mut(usize::from(owner))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Shard> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        self.0.iter_mut()
    }

    /// How they are together: down if none carries anything, and up if all are.
    pub(super) fn health(&self, links: &Links) -> Health {
        let is = |health| move |shard: &Shard| shard.health(links) == health;
        if self.0.iter().all(is(Health::Down)) {
            Health::Down
        } else if self.0.iter().all(is(Health::Up)) {
            Health::Up
        } else {
            Health::Degraded
        }
    }
}
