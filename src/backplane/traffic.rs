//! What one shard says and hears.

use std::rc::Rc;
use std::time::Instant;

use super::channels::{Channel, Said};
use super::config::{BackplaneConfig, Format, Mode};
use super::delivery::Delivery;
use super::echoes::Echoes;
use super::entry::Entry;
use super::envelope::{Envelope, Parsed};
use super::event::Event;
use super::news::News;
use super::origins::{Origins, Seen};
use super::peers::Peers;
use super::queue::{Queue, Unsent};
use super::raw_echoes::RawEchoes;
use super::reasons::Dropped;
use super::tails::Tails;
use crate::protocol::MessageKind;

/// What one shard says and hears: which of it is delivered, when, and which is kept until Redis has
/// it. How it gets to Redis is the engine's business.
#[derive(Debug)]
pub(super) struct Traffic {
    origin: u64,
    format: Format,
    max_message_size: usize,
    /// What Redis has not acknowledged.
    pub(super) queue: Queue,
    /// Who else is there.
    pub(super) peers: Peers,
    echoes: Echoes,
    origins: Origins,
    /// What others say they have sent, if messages come later than heartbeats do.
    tails: Option<Tails>,
    raw_echoes: RawEchoes,
    /// The number of the last message that was said.
    said: u64,
    is_up: bool,
    /// Whether a heartbeat has come back since.
    is_proved: bool,
    /// Whether Redis was late when that was looked at last; `None` until it was in time once.
    is_late: Option<bool>,
}

impl Traffic {
    pub(super) fn new(config: &BackplaneConfig, origin: u64) -> Self {
        Self {
            origin,
            format: config.format,
            max_message_size: config.max_message_size,
            queue: Queue::new(config.queue_bytes, config.queue_max_age),
            peers: Peers::new(),
            echoes: Echoes::new(config.delivery, config.echo_deadline, config.queue_bytes),
            origins: match config.mode {
                Mode::PubSub => Origins::in_order(),
                Mode::Stream => Origins::new(),
            },
            tails: (config.mode == Mode::Stream).then(Tails::default),
            raw_echoes: RawEchoes::default(),
            said: 0,
            is_up: false,
            is_proved: false,
            is_late: None,
        }
    }

    /// Whether something that was said here is not heard here yet: it waits to come back.
    pub(super) fn has_unheard(&self) -> bool {
        !self.echoes.is_empty()
    }

    /// Something was said to a room here.
    pub(super) fn say(
        &mut self,
        room: &str,
        kind: MessageKind,
        payload: &[u8],
        exempt: Option<u64>,
        news: &mut News,
        now: Instant,
    ) {
        let seq = self.said + 1;
        let Ok(entry) = Entry::new((self.origin, seq), room, kind, payload, exempt, now) else {
            news.dropped(Dropped::Refused, 1); // no client can be in a room of that name
            return;
        };
        if self.format == Format::Raw && !room.is_empty() {
            // Who reads raw messages knows one room.
            news.inbox.push(Delivery::own(entry));
        } else if !self.is_believable(kind, payload) {
            news.dropped(Dropped::Refused, 1);
            news.inbox.push(Delivery::own(entry));
        } else {
            self.said = seq;
            let dropped = self.queue.push(Rc::clone(&entry));
            news.dropped(Dropped::Full, dropped);
            self.echoes.said(entry, now);
            self.deliver_own(news);
        }
    }

    /// Something came from Redis. The number of a heartbeat of our own, if it is one.
    pub(super) fn hear(&mut self, said: Said, news: &mut News, now: Instant) -> Option<u64> {
        let Said { channel, bytes } = said;
        let Some(bytes) = bytes else {
            news.too_long();
            return None;
        };
        if channel == Channel::Messages && self.format == Format::Raw {
            if let Some(seq) = self.raw_echoes.recognise(&bytes, now) {
                self.echoed(seq, news, now);
                return None;
            }
        }
        let parsed = Envelope::parse(&bytes, self.max_message_size);
        let envelope = match parsed.and_then(|parsed| channel.admit(parsed)) {
            Ok(Parsed::Envelope(envelope)) => envelope,
            Ok(Parsed::Raw { kind, .. }) => {
                let len = bytes.len();
                news.heard(Delivery::foreign(kind, bytes, 0, len));
                return None;
            }
            Err(error) => {
                news.metrics.count_rejected(error);
                return None;
            }
        };
        let Envelope {
            origin, seq, kind, ..
        } = envelope;
        if envelope.is_control {
            return self.hear_heartbeat(&envelope, news, now);
        }
        if origin == self.origin {
            self.echoed(seq, news, now);
            return None;
        }
        let is_server = || self.peers.is_there(origin);
        let read_at = Tails::time(self.tails.as_ref(), now);
        if origin != 0 && self.origins.see(origin, seq, is_server, read_at) == Seen::Duplicate {
            news.metrics.duplicates += 1;
            return None;
        }
        let (room_len, payload_len) = (envelope.room.len(), envelope.payload.len());
        news.heard(Delivery::foreign(kind, bytes, room_len, payload_len));
        None
    }

    /// Whether nothing that is believed says whose a message is: nobody could tell that it comes
    /// twice.
    pub(super) fn is_anonymous(&self, said: &Said) -> bool {
        match said.parse(self.max_message_size) {
            Ok(Parsed::Envelope(envelope)) => envelope.origin == 0,
            Ok(Parsed::Raw { .. }) | Err(_) => true,
        }
    }

    /// The next message to send, which counts as sent now.
    pub(super) fn next_unsent(&mut self, news: &mut News) -> Option<Rc<Entry>> {
        let Unsent { entry, is_repeated } = self.queue.next_unsent()?;
        if is_repeated {
            news.metrics.resent += 1;
        } else {
            news.metrics.published += 1;
        }
        if self.format == Format::Raw {
            self.raw_echoes.sent(Rc::clone(&entry));
        }
        Some(entry)
    }

    /// Redis has a message.
    pub(super) fn acked(&mut self, seq: u64, news: &mut News) -> Option<Rc<Entry>> {
        let entry = self.queue.ack(seq)?;
        news.metrics.acked += 1;
        Some(entry)
    }

    /// Everything that came before the acknowledgement of this message has been heard.
    pub(super) fn heard_until(&mut self, seq: u64) {
        self.raw_echoes.acked(seq);
    }

    /// Redis refuses a message, and will do so again.
    pub(super) fn refused(&mut self, seq: u64, news: &mut News) {
        if self.queue.ack(seq).is_some() {
            news.dropped(Dropped::Refused, 1);
        }
    }

    /// What was sent and is not acknowledged is sent again, on another connection. Raw messages are
    /// not: nobody could tell that they come twice.
    pub(super) fn rewind(&mut self, news: &mut News, now: Instant) {
        match self.format {
            Format::Envelope => self.queue.rewind(),
            Format::Raw => {
                let dropped = self.queue.drop_sent();
                news.dropped(Dropped::Raw, dropped);
                let next = self.queue.first_unsent().unwrap_or(self.said + 1);
                self.raw_echoes.moved(next, now);
            }
        }
    }

    /// Redis has lost a message that it had acknowledged: it is sent again, before all that were
    /// said later.
    pub(super) fn replay(&mut self, entry: Rc<Entry>, news: &mut News, now: Instant) {
        let dropped = self.queue.put_back(entry, now);
        news.metrics.replayed += 1 - dropped.min(1);
        news.dropped(Dropped::Full, dropped);
    }

    /// All messages have been read that there were at this time.
    pub(super) fn reached_end(&mut self, asked_at: Instant, now: Instant) {
        let tails = self.tails.as_mut();
        let settled = tails.map(|tails| tails.reached_end(asked_at, now));
        let read_at = Tails::time(self.tails.as_ref(), now);
        for (origin, last) in settled.into_iter().flatten() {
            self.origins.heard_last(origin, last, read_at);
        }
    }

    /// There are messages that have not been read.
    pub(super) fn fell_behind(&mut self, now: Instant) {
        if let Some(tails) = &mut self.tails {
            tails.fell_behind(now);
        }
    }

    /// Messages reach Redis, and come back.
    pub(super) fn link_up(&mut self, now: Instant) {
        if !self.is_up {
            self.is_up = true;
            self.peers.link_up(now);
            self.echoes.link_up(now);
            self.is_late = None;
            self.is_proved = false;
        }
    }

    /// They do not, or do not come back.
    pub(super) fn link_down(&mut self, news: &mut News) {
        if self.is_up {
            self.is_up = false;
            self.peers.link_down();
            self.echoes.link_down();
            self.raw_echoes.clear();
            self.deliver_own(news);
        }
    }

    /// A heartbeat's number, and what is published of it: the last message that Redis has
    /// acknowledged, with all before it. What it has not may be sent again, and whoever took it for
    /// missing would not take it any more.
    pub(super) fn next_heartbeat(&mut self, now: Instant) -> (u64, Vec<u8>) {
        let beat = self.peers.next_heartbeat(now);
        let acked = self.queue.first_unacked();
        let last = acked.map_or(self.said, |seq| seq - 1).to_be_bytes();
        let mut bytes = Vec::new();
        let envelope = Envelope {
            kind: MessageKind::Binary,
            is_control: true,
            origin: self.origin,
            seq: beat,
            room: "",
            // Raw messages have no numbers.
            payload: match self.format {
                Format::Envelope => &last,
                Format::Raw => &[],
            },
        };
        envelope
            .encode(&mut bytes)
            .expect("the default room has a name");
        (beat, bytes)
    }

    /// The number of the last message that was said.
    pub(super) fn said(&self) -> u64 {
        self.said
    }

    /// Whether local members hear each other without Redis.
    pub(super) fn is_degraded(&self) -> bool {
        self.echoes.is_degraded()
    }

    /// Fires what is due.
    pub(super) fn advance(&mut self, news: &mut News, now: Instant) {
        let expired = self.queue.expire(now);
        news.dropped(Dropped::Age, expired);
        self.echoes.advance(self.queue.is_empty(), now);
        self.deliver_own(news);
        let read_at = Tails::time(self.tails.as_ref(), now);
        self.origins.advance(read_at);
        news.missing(self.origins.take_lost());
        let gone = self.peers.expire(now);
        if gone > 0 {
            let left = self.peers.count();
            news.say(Event::PeersGone { gone, left });
        }
        if self.echoes.wants_probe() {
            self.peers.hurry();
        }
        if self.is_up {
            self.tell_lateness(news);
        }
    }

    /// When [`advance`](Self::advance) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let when = |due| Tails::when(self.tails.as_ref(), due);
        [
            self.queue.next_deadline(),
            self.echoes.next_deadline(),
            self.origins.next_deadline().and_then(when),
            self.peers.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether a server would believe this message if it came from another one.
    fn is_believable(&self, kind: MessageKind, payload: &[u8]) -> bool {
        payload.len() <= self.max_message_size
            && (kind == MessageKind::Binary || std::str::from_utf8(payload).is_ok())
    }

    fn hear_heartbeat(
        &mut self,
        heartbeat: &Envelope<'_>,
        news: &mut News,
        now: Instant,
    ) -> Option<u64> {
        let Envelope {
            origin,
            seq,
            payload,
            ..
        } = *heartbeat;
        if origin == self.origin {
            if !self.peers.has_sent(seq) {
                return None; // somebody else speaks in our name
            }
            let took = self.peers.echoed(seq, now);
            // What comes as soon as a heartbeat does is a message if none has to be read before.
            let is_at_end = self.tails.as_ref().is_none_or(Tails::is_at_end);
            if let Some(took) = took.filter(|_| is_at_end) {
                self.echoes.observe(took, now);
            }
            if self.is_up && !std::mem::replace(&mut self.is_proved, true) {
                news.joined();
            }
            return Some(seq);
        }
        self.peers.heard(origin, now);
        self.origins
            .beat(origin, Tails::time(self.tails.as_ref(), now));
        if let Ok(last) = payload.try_into().map(u64::from_be_bytes) {
            match &mut self.tails {
                Some(tails) => tails.heard(origin, last, now),
                None => self.origins.heard_last(origin, last, now),
            }
        }
        None
    }

    /// A message of ours came back.
    fn echoed(&mut self, seq: u64, news: &mut News, now: Instant) {
        if let Some(took) = self.echoes.echoed(seq, now) {
            news.metrics.observe_echo(took);
        }
        self.deliver_own(news);
    }

    /// What local members hear now of what this server has said: before anything that comes later.
    fn deliver_own(&mut self, news: &mut News) {
        while let Some(entry) = self.echoes.next_delivery() {
            news.inbox.push(Delivery::own(entry));
        }
        news.metrics.local += self.echoes.take_local();
    }

    /// Says that Redis begins to be late, or ends. After a connection it is late for a while.
    fn tell_lateness(&mut self, news: &mut News) {
        let is_late = self.echoes.is_degraded();
        match self.is_late {
            None if is_late => return,
            Some(was_late) if was_late != is_late => {
                news.say(if is_late { Event::Late } else { Event::InTime });
            }
            _ => {}
        }
        self.is_late = Some(is_late);
    }
}
