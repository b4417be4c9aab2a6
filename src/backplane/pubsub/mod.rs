//! Pub/Sub: at most once, with the least delay.

mod answers;
mod carrier;
mod gate;
mod heartbeat;

use std::time::Instant;

pub(super) use carrier::MAX_HELD;
use carrier::{Carrier, Stage};

use super::action::LinkId;
use super::channels::{Channels, Said};
use super::config::BackplaneConfig;
use super::dialler::Dialler;
use super::engine::{Desk, Engine, sending_deadline};
use super::links::Links;
use super::loss::Loss;
use super::pace::Pace;
use super::refusals::Refusals;
use super::request::Request;
use super::resp::Value;
use super::traffic::Traffic;

/// Pub/Sub on one connection, for both directions: whoever is heard is there, and publishing does
/// not go on while listening does not.
///
/// When the connection is lost there is another one, and what Redis has not acknowledged is sent
/// again as soon as the others are back. When it only stalls it is kept, and another one opened
/// beside it: the first that answers is the one. What comes on the new one is held until the old
/// one has brought what was published before.
#[derive(Debug)]
pub(super) struct PubSub {
    channels: Channels,
    dialler: Dialler,
    /// Whose messages are heard.
    current: Option<Carrier>,
    /// Who follows when the current one has said everything. Only while that one is stalled.
    successor: Option<Carrier>,
    /// The link on which messages were sent last.
    sent_on: Option<LinkId>,
    /// Until the current link has brought this heartbeat, what it brings was heard on the one
    /// before.
    overlap: Option<u64>,
    /// How many hear the channel, as far as is known.
    subscribers: Option<u64>,
    pace: Pace,
    refusals: Refusals,
}

impl PubSub {
    pub(super) fn new(config: &BackplaneConfig, shard: u16, seed: u64, now: Instant) -> Self {
        Self {
            channels: Channels::new(config, shard),
            dialler: Dialler::new(shard, seed, now),
            current: None,
            successor: None,
            sent_on: None,
            overlap: None,
            subscribers: None,
            pace: Pace::new(now),
            refusals: Refusals::default(),
        }
    }

    fn carrier(&mut self, link: LinkId) -> Option<&mut Carrier> {
        [&mut self.current, &mut self.successor]
            .into_iter()
            .flatten()
            .find(|carrier| carrier.link == link)
    }

    fn is_current(&self, link: LinkId) -> bool {
        self.current
            .as_ref()
            .is_some_and(|carrier| carrier.link == link)
    }

    /// Who takes messages: the newest connection that can.
    fn sender(&self) -> Option<LinkId> {
        [&self.successor, &self.current]
            .into_iter()
            .flatten()
            .find(|carrier| carrier.is_open())
            .map(|carrier| carrier.link)
    }

    /// Gives a link up.
    fn give_up(&mut self, link: LinkId, why: Loss, desk: &mut Desk<'_>) {
        desk.links.close(link);
        self.lost(link, why, desk);
    }

    /// Gives a link up on which Redis refuses something.
    fn give_up_refused(&mut self, link: LinkId, error: &[u8], desk: &mut Desk<'_>) {
        if let Some(why) = desk.links.loss_from_error(link, error) {
            self.give_up(link, why, desk);
        }
    }

    /// A message, of the link that is heard.
    fn hear(&mut self, said: Said, desk: &mut Desk<'_>) {
        if self.overlap.is_some() && desk.traffic.is_anonymous(&said) {
            desk.news.metrics.duplicates += 1;
            return;
        }
        let beat = desk.traffic.hear(said, desk.news, desk.now);
        if beat.is_none() {
            return;
        }
        // Not before: whoever takes subscriptions and brings nothing would be called without a
        // pause.
        self.dialler.succeeded(desk.now);
        if self.overlap == beat {
            self.overlap = None;
        }
        if self
            .successor
            .as_ref()
            .is_some_and(|next| next.marker == beat)
        {
            self.hand_over(beat, desk);
        }
    }

    /// The successor is heard from now on, and what it has brought so far. What it brings before
    /// this heartbeat, if there is one, was heard on the connection before.
    fn hand_over(&mut self, overlap: Option<u64>, desk: &mut Desk<'_>) {
        let Some(mut next) = self.successor.take() else {
            return;
        };
        if let Some(old) = self.current.take() {
            desk.links.close(old.link);
            desk.news.metrics.count_lost(Loss::Stalled.reason());
        }
        if overlap.is_some() && next.is_subscribed() {
            // Both lead to the same Redis, and it was there all the time: so are the others.
            next.stage = Stage::Open;
        }
        self.overlap = overlap;
        let held = next.take_held();
        self.current = Some(next);
        for said in held {
            self.hear(said, desk);
        }
    }

    /// Opens gates.
    fn advance_gates(&mut self, desk: &mut Desk<'_>) {
        let now = desk.now;
        let carriers = [&self.current, &self.successor];
        let links = carriers.map(|carrier| carrier.as_ref().map(|carrier| carrier.link));
        for link in links.into_iter().flatten() {
            let (count, name) = (self.channels.count(), self.channels.messages.clone());
            let Some(carrier) = self.carrier(link) else {
                continue;
            };
            let Stage::Gated(gate) = &mut carrier.stage else {
                continue;
            };
            if gate.is_open(now) {
                carrier.stage = Stage::Open;
            } else if gate.asks(now) {
                let args: [&[u8]; 3] = [b"PUBSUB", count, name.as_bytes()];
                desk.links.send(link, Request::CountSubscribers, &args, now);
            }
        }
    }

    /// Opens the connection that is missing.
    fn advance_connections(&mut self, desk: &mut Desk<'_>) {
        let subscribed = self.successor.as_ref().filter(|next| next.is_subscribed());
        let drain = subscribed.and_then(Carrier::drain_until);
        if drain.is_some_and(|until| until <= desk.now) {
            self.hand_over(None, desk);
        }
        if !self.needs_link(desk.links) {
            return;
        }
        let Some(link) = self.dialler.dial(desk.links, desk.config, desk.now) else {
            return;
        };
        let carrier = Some(Carrier::new(link));
        if self.current.is_none() {
            self.current = carrier;
        } else {
            self.successor = carrier;
        }
    }

    fn needs_link(&self, links: &Links) -> bool {
        match (&self.current, &self.successor) {
            (None, None) => true,
            (Some(current), None) => links.is_stalled(current.link),
            (_, Some(_)) => false,
        }
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

impl Engine for PubSub {
    fn ready(&mut self, link: LinkId, desk: &mut Desk<'_>) {
        let args = [
            self.channels.subscribe(),
            self.channels.messages.as_bytes(),
            self.channels.control.as_bytes(),
        ];
        desk.links.send(link, Request::Subscribe, &args, desk.now);
        if let Some(carrier) = self.carrier(link) {
            carrier.stage = Stage::Subscribing;
        }
    }

    fn reply(&mut self, link: LinkId, request: Request, reply: Value, desk: &mut Desk<'_>) {
        match request {
            Request::Subscribe => self.subscribed(link, &reply, desk),
            Request::CountSubscribers => self.counted(link, &reply, desk),
            Request::Publish { seq } => self.published(link, seq, &reply, desk),
            Request::Heartbeat { beat } => self.heartbeat_answered(link, beat, &reply, desk),
            // The link's own, and what this engine does not ask.
            Request::Hello
            | Request::Select
            | Request::Auth
            | Request::Master
            | Request::Ping
            | Request::Role
            | Request::Look
            | Request::Find
            | Request::Read
            | Request::Add { .. } => {}
        }
        self.settle(desk);
    }

    fn push(&mut self, link: LinkId, parts: Vec<Value>, desk: &mut Desk<'_>) {
        let said = match self.channels.message(parts) {
            Ok(Some(said)) => said,
            Ok(None) => return,
            Err(why) => return self.give_up(link, why, desk),
        };
        if self.is_current(link) {
            self.hear(said, desk);
            self.settle(desk);
        } else if let Some(carrier) = self.carrier(link) {
            carrier.hold(said);
        }
    }

    fn stalled(&mut self, link: LinkId, desk: &mut Desk<'_>) {
        let current = self.current.as_ref().filter(|current| current.link == link);
        if current.is_some_and(Carrier::is_subscribed) {
            desk.news.stalled(desk.now);
        } else {
            self.give_up(link, Loss::Stalled, desk);
        }
    }

    fn revived(&mut self, link: LinkId, desk: &mut Desk<'_>) {
        if !self.is_current(link) {
            return;
        }
        if let Some(next) = self.successor.take_if(|next| !next.is_subscribed()) {
            desk.links.close(next.link);
            self.dialler.forgive(desk.now);
        }
    }

    fn lost(&mut self, link: LinkId, why: Loss, desk: &mut Desk<'_>) {
        let is_current = self.is_current(link);
        if self.carrier(link).is_none() {
            return;
        }
        if is_current && self.successor.is_some() {
            desk.news.metrics.count_lost(why.reason());
            self.current = None;
            self.hand_over(None, desk);
        } else {
            if is_current {
                self.current = None;
                // What ends it was on its way there, and will not come anywhere else.
                self.overlap = None;
            } else {
                self.successor = None;
            }
            self.dialler.lost(&why, desk);
        }
        self.settle(desk);
    }

    fn advance(&mut self, desk: &mut Desk<'_>) {
        if let (Some(current), Some(next)) = (&self.current, &mut self.successor) {
            next.note_reading(!desk.links.is_unread(current.link), desk.now);
        }
        self.advance_connections(desk);
        self.advance_gates(desk);
        self.settle(desk);
        self.pump(desk);
        self.advance_heartbeat(desk);
    }

    fn pump(&mut self, desk: &mut Desk<'_>) {
        let now = desk.now;
        let Some(link) = self.sender().filter(|link| !desk.links.is_stalled(*link)) else {
            return;
        };
        if self.sent_on != Some(link) {
            // It may be one that was sent on before: what went another way since is sent again too,
            // or it would come later than what is sent now.
            self.sent_on = Some(link);
            self.refusals.end_pause();
            desk.traffic.rewind(desk.news, now);
            self.pace.begin(desk.traffic.said());
            desk.traffic.peers.link_up(now);
        }
        if self.refusals.pause_is_over(desk.links.is_idle(link), now) {
            desk.traffic.queue.rewind();
            self.pace.begin(desk.traffic.said());
        }
        while let Some((seq, entry)) = desk.next_to_send(link, &self.refusals, &mut self.pace) {
            let published = entry.published(desk.config.format);
            self.pace.spend(seq, published.len());
            let messages = self.channels.messages.as_bytes();
            let args = [self.channels.publish(), messages, published];
            desk.links.send(link, Request::Publish { seq }, &args, now);
        }
    }

    fn next_deadline(&self, traffic: &Traffic, links: &Links) -> Option<Instant> {
        let carriers = [&self.current, &self.successor].into_iter().flatten();
        let gates = carriers.filter_map(Carrier::next_deadline);
        let drain = self.successor.as_ref().and_then(Carrier::drain_until);
        let dial = self.needs_link(links).then(|| self.dialler.next_deadline());
        let sending = self.sender().filter(|link| !links.is_stalled(*link));
        let heartbeat = sending.and_then(|_| traffic.peers.heartbeat_due());
        let sending = sending
            .and_then(|link| sending_deadline(link, &self.refusals, &self.pace, traffic, links));
        gates
            .chain(drain)
            .chain(dial)
            .chain(heartbeat)
            .chain(sending)
            .min()
    }

    fn wants_input(&self, link: LinkId) -> bool {
        let next = self.successor.as_ref().filter(|next| next.link == link);
        next.is_none_or(Carrier::can_hold)
    }

    fn carries(&self) -> bool {
        self.sender().is_some()
    }

    fn is_stalled(&self, links: &Links) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|current| links.is_stalled(current.link))
    }
}
