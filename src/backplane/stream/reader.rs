//! Who reads a stream.

use std::time::{Duration, Instant};

use super::super::action::LinkId;
use super::super::backoff::{Backoff, CONFIGURATION_WAIT};
use super::super::channels::{Channel, Said};
use super::super::config::Endpoint;
use super::super::engine::Desk;
use super::super::envelope::Envelope;
use super::super::link::Errand;
use super::super::loss::Loss;
use super::super::request::Request;
use super::super::resp::Value;
use super::batch::Batch;
use super::cursor::Cursor;
use super::id::StreamId;
use super::raw_ids::RawIds;
use super::reply::{Item, StreamInfo, is_no_stream, page, read};
use super::witness::Witness;

/// How long `XREAD` waits for an entry. Between two of them there is time for a question.
const BLOCK: Duration = Duration::from_secs(1);

/// How often it is asked how the stream is.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The least time between two readings that bring nothing, whatever Redis thinks of waiting; and
/// how soon it is looked again whether there is place for more.
const REST: Duration = Duration::from_millis(10);

/// Who reads a stream, on a connection of its own: `XREAD` waits there, and nothing that is sent
/// behind it would be answered. It leads to where the connection for commands does, and nowhere
/// else.
#[derive(Debug)]
pub(super) struct Reader {
    shard: u16,
    key: String,
    link: Option<LinkId>,
    /// Where the link leads.
    to: Option<Endpoint>,
    /// Whether the connection for commands leads there as well: then a link may be opened.
    is_led: bool,
    stage: Stage,
    /// Whether the link has shown that it knows the stream.
    is_joined: bool,
    backoff: Backoff,
    /// No link is opened before.
    not_before: Instant,
    cursor: Cursor,
    raw: RawIds,
    batch: Batch,
    /// When `XREAD` was sent last, and when it was answered last.
    asked_at: Instant,
    heard_at: Instant,
    /// When it was asked last how the stream is, and when that was answered last.
    looked_at: Instant,
    told_at: Instant,
    /// What the stream had when that was asked.
    witness: Witness,
    /// Whether it has our own entry of that.
    has_added: bool,
}

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The link.
    Dialling,
    /// How the stream is.
    Looking,
    /// Entries.
    Reading,
    /// That there is place for more, or that it makes sense to ask.
    Resting { until: Instant },
}

impl Reader {
    pub(super) fn new(
        shard: u16,
        key: String,
        seed: u64,
        max_message_size: usize,
        now: Instant,
    ) -> Self {
        Self {
            shard,
            key,
            link: None,
            to: None,
            is_led: false,
            stage: Stage::Dialling,
            is_joined: false,
            backoff: Backoff::new(seed),
            not_before: now,
            cursor: Cursor::default(),
            raw: RawIds::default(),
            batch: Batch::new(max_message_size),
            asked_at: now,
            heard_at: now,
            looked_at: now,
            told_at: now,
            witness: Witness::default(),
            has_added: false,
        }
    }

    pub(super) fn is_link(&self, link: LinkId) -> bool {
        self.link == Some(link)
    }

    /// Whether entries are read.
    pub(super) fn is_joined(&self) -> bool {
        self.is_joined
    }

    pub(super) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// What the stream should have had when that was asked last.
    pub(super) fn doubt(&self) -> StreamId {
        self.witness.last
    }

    /// There is another connection for commands, which leads there: this one follows. What was read
    /// so far stays read.
    pub(super) fn follow(&mut self, to: Endpoint, desk: &mut Desk<'_>) {
        if let Some(link) = self.link.take() {
            desk.links.close(link);
        }
        self.to = Some(to);
        self.is_led = true;
        self.reset();
        self.not_before = desk.now;
        desk.traffic.fell_behind(desk.now);
    }

    /// There is no connection for commands: this one stays as long as it lasts.
    pub(super) fn stay(&mut self) {
        self.is_led = false;
    }

    /// Opens the link if it is missing, and asks for more if it is time.
    pub(super) fn advance(&mut self, witness: Witness, desk: &mut Desk<'_>) {
        match (&self.to, self.link) {
            (Some(to), None) if self.is_led && self.not_before <= desk.now => {
                let to = to.clone();
                self.link = desk
                    .links
                    .open(self.shard, Errand::Serve, to, desk.config, desk.now);
                if self.link.is_none() {
                    self.not_before = desk.now + self.backoff.next_wait();
                }
            }
            (_, Some(link)) => {
                self.ask_if_rested(link, witness, desk);
            }
            (None | Some(_), None) => {}
        }
    }

    /// When [`advance`](Self::advance) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match (&self.to, self.link, self.stage) {
            (Some(_), None, _) if self.is_led => Some(self.not_before),
            (_, Some(_), Stage::Resting { until }) => Some(until),
            _ => None,
        }
    }

    /// The link is ready.
    pub(super) fn ready(&mut self, link: LinkId, witness: Witness, desk: &mut Desk<'_>) {
        self.look(link, witness, desk);
    }

    /// Redis has answered. Whether the link is any good.
    pub(super) fn replied(
        &mut self,
        request: Request,
        reply: Value,
        witness: Witness,
        desk: &mut Desk<'_>,
    ) -> Result<(), Loss> {
        let Some(link) = self.link else {
            return Ok(());
        };
        match request {
            Request::Find => self.found(link, reply, desk)?,
            Request::Look => self.told(link, &reply, desk)?,
            Request::Read => self.came(link, reply, desk)?,
            _ => return Ok(()), // the link's own
        }
        self.ask_if_rested(link, witness, desk);
        Ok(())
    }

    /// The link is no more.
    pub(super) fn lost(&mut self, why: &Loss, desk: &mut Desk<'_>) {
        self.link = None;
        self.reset();
        desk.traffic.fell_behind(desk.now);
        let is_misconfigured = why.misconfigured().is_some();
        self.not_before = desk.now
            + if is_misconfigured {
                CONFIGURATION_WAIT
            } else {
                self.backoff.next_wait()
            };
        if let Some(to) = &self.to {
            desk.news.lost(why, to, is_misconfigured);
        }
    }

    fn reset(&mut self) {
        self.stage = Stage::Dialling;
        self.is_joined = false;
    }

    fn ask_if_rested(&mut self, link: LinkId, witness: Witness, desk: &mut Desk<'_>) {
        if matches!(self.stage, Stage::Resting { until } if until <= desk.now) {
            self.ask(link, witness, desk);
        }
    }

    /// Asks for what is next: how the stream is, from time to time, and whether this is the master;
    /// otherwise for entries, if there is place for them.
    fn ask(&mut self, link: LinkId, witness: Witness, desk: &mut Desk<'_>) {
        if self.looked_at + LOOK_INTERVAL <= desk.now {
            desk.links
                .send(link, Request::Role, &[b"HELLO", b"3"], desk.now);
            self.look(link, witness, desk);
        } else if desk.news.inbox.is_full() {
            let until = desk.now + REST;
            self.stage = Stage::Resting { until };
            desk.traffic.fell_behind(desk.now);
        } else {
            self.read(link, desk);
        }
    }

    fn look(&mut self, link: LinkId, witness: Witness, desk: &mut Desk<'_>) {
        if let Some(added) = &witness.added {
            let id = added.id.to_string();
            let args: [&[u8]; 4] = [b"XRANGE", self.key.as_bytes(), id.as_bytes(), id.as_bytes()];
            desk.links.send(link, Request::Find, &args, desk.now);
        }
        let args: [&[u8]; 3] = [b"XINFO", b"STREAM", self.key.as_bytes()];
        desk.links.send(link, Request::Look, &args, desk.now);
        self.stage = Stage::Looking;
        self.looked_at = desk.now;
        self.witness = witness;
        self.has_added = false;
    }

    fn read(&mut self, link: LinkId, desk: &mut Desk<'_>) {
        let count = self.batch.count().to_string();
        let block = BLOCK.as_millis().to_string();
        let next = self.cursor.next().to_string();
        let args: [&[u8]; 8] = [
            b"XREAD",
            b"COUNT",
            count.as_bytes(),
            b"BLOCK",
            block.as_bytes(),
            b"STREAMS",
            self.key.as_bytes(),
            next.as_bytes(),
        ];
        if let Some(link) = desk.links.get_mut(link) {
            link.send_waiting(Request::Read, &args, BLOCK, desk.now);
        }
        self.stage = Stage::Reading;
        self.asked_at = desk.now;
    }

    /// Whether our own entry is there.
    fn found(&mut self, link: LinkId, reply: Value, desk: &mut Desk<'_>) -> Result<(), Loss> {
        if let Some(error) = reply.as_error() {
            return Err(refusal(error, link, desk));
        }
        let page = page(reply).ok_or(Loss::Unexpected("no entries after XRANGE"))?;
        let added = self.witness.added.as_ref();
        self.has_added = added.is_some_and(|added| page.has(added));
        Ok(())
    }

    /// How the stream is.
    fn told(&mut self, link: LinkId, reply: &Value, desk: &mut Desk<'_>) -> Result<(), Loss> {
        let stream = look_at(reply, link, desk)?;
        let (added, max_length) = (self.cursor.added(), desk.config.stream_maxlen);
        let witness = &self.witness;
        if witness.contradicts(stream.as_ref(), self.has_added, added, max_length) {
            return Err(Loss::Deaf);
        }
        if stream.is_none() {
            self.raw.clear();
        }
        let max_behind = desk.config.catchup_max;
        let missed = if self.is_joined {
            let since = desk.now.saturating_duration_since(self.told_at);
            self.cursor.check(stream.as_ref(), since, max_behind)
        } else {
            // It was sure of the stream when it looked at it, and read it until it did not.
            let sure_at = self.told_at.min(self.heard_at);
            let away = desk.now.saturating_duration_since(sure_at);
            self.cursor.resume(stream.as_ref(), away, max_behind)
        };
        desk.news.missed(missed);
        self.told_at = desk.now;
        self.is_joined = true;
        self.stage = Stage::Resting { until: desk.now };
        Ok(())
    }

    /// Entries, or none.
    fn came(&mut self, link: LinkId, reply: Value, desk: &mut Desk<'_>) -> Result<(), Loss> {
        if let Some(error) = reply.as_error() {
            return Err(refusal(error, link, desk));
        }
        let page = read(reply).ok_or(Loss::Unexpected("no entries after XREAD"))?;
        let (count, asked) = (page.items.len(), self.batch.count());
        if page.is_cut && asked == 1 {
            return Err(Loss::Unexpected("more than one entry after XREAD"));
        }
        self.batch.came(&page);
        let is_all = count < asked && !page.is_cut;
        for item in page.items {
            self.hear(item, desk);
        }
        if is_all {
            desk.traffic.reached_end(self.asked_at, desk.now);
        } else {
            desk.traffic.fell_behind(desk.now);
        }
        self.backoff.reset();
        self.heard_at = desk.now;
        let is_early = count == 0 && is_all && desk.now < self.asked_at + REST;
        let until = if is_early {
            self.asked_at + REST
        } else {
            desk.now
        };
        self.stage = Stage::Resting { until };
        Ok(())
    }

    fn hear(&mut self, item: Item, desk: &mut Desk<'_>) {
        self.cursor.read(item.id);
        let is_anonymous = item.bytes.as_deref().is_none_or(Envelope::is_anonymous);
        if is_anonymous && !self.raw.see(item.id) {
            desk.news.metrics.duplicates += 1;
            return;
        }
        let said = Said {
            channel: Channel::Messages,
            bytes: item.bytes,
        };
        desk.traffic.hear(said, desk.news, desk.now);
    }
}

/// What the answer to `XINFO STREAM` says; nothing if there is no stream.
pub(super) fn look_at(
    reply: &Value,
    link: LinkId,
    desk: &Desk<'_>,
) -> Result<Option<StreamInfo>, Loss> {
    match reply.as_error() {
        Some(error) if is_no_stream(error) => Ok(None),
        Some(error) => Err(refusal(error, link, desk)),
        None => StreamInfo::parse(reply)
            .map(Some)
            .ok_or(Loss::Unexpected("no map after XINFO")),
    }
}

/// What an error on a link means for it.
pub(super) fn refusal(error: &[u8], link: LinkId, desk: &Desk<'_>) -> Loss {
    desk.links
        .loss_from_error(link, error)
        .unwrap_or(Loss::Unexpected("an answer on a link that is closed"))
}
