//! What Redis answers on the link for commands.

use super::super::action::LinkId;
use super::super::engine::Desk;
use super::super::loss::Loss;
use super::super::refusals::Verdict;
use super::super::request::Request;
use super::super::resp::Value;
use super::detour::Detour;
use super::reader::{look_at, refusal};
use super::reply::{StreamInfo, id, page};
use super::search::Search;
use super::witness::Doubt;
use super::{Command, Stage, Stream};

impl Stream {
    /// Redis has answered. Whether the link is any good.
    pub(super) fn answered(
        &mut self,
        link: LinkId,
        request: Request,
        reply: &Value,
        desk: &mut Desk<'_>,
    ) -> Result<(), Loss> {
        match request {
            Request::Subscribe => match reply.as_error() {
                Some(error) => Err(refusal(error, link, desk)),
                None => Ok(()),
            },
            Request::Look => {
                let stream = look_at(reply, link, desk)?;
                self.looked(link, stream, desk)
            }
            Request::Find => self.found(link, reply, desk),
            Request::Add { seq } => self.added(link, seq, reply, desk),
            Request::Publish { seq } => self.published(link, seq, reply, desk),
            Request::Heartbeat { beat } => Self::heartbeat_answered(link, beat, reply, desk),
            // The link's own, and what this engine does not ask.
            Request::Hello
            | Request::Select
            | Request::Auth
            | Request::Master
            | Request::Ping
            | Request::Role
            | Request::CountSubscribers
            | Request::Read => Ok(()),
        }
    }

    /// How the stream is.
    fn looked(
        &mut self,
        link: LinkId,
        stream: Option<StreamInfo>,
        desk: &mut Desk<'_>,
    ) -> Result<(), Loss> {
        if let Some(command) = &mut self.command {
            command.looks = command.looks.saturating_sub(1);
        }
        if let Some(Doubt { earlier, .. }) = &mut self.doubt {
            if *earlier > 0 {
                *earlier -= 1;
                return Ok(());
            }
        }
        self.last = stream.map_or_else(Default::default, |stream| stream.last);
        // What the reader's Redis does not have, this one has: the two must meet again, and where
        // the reader was led last is where one is led now.
        if self
            .doubt
            .take()
            .is_some_and(|doubt| doubt.last <= self.last)
        {
            return Err(Loss::Deaf);
        }
        let Some(Command { stage, .. }) = &mut self.command else {
            return Ok(());
        };
        match stage {
            Stage::Joining => {
                let search = Search::new(self.ring.len());
                *stage = Stage::Searching { search, stream };
                self.advance_search(link, desk);
                Ok(())
            }
            // It has given an ID to what we have added: who says that it has not is not the same.
            Stage::Open
                if self
                    .ring
                    .newest(0)
                    .is_some_and(|acked| self.last < acked.id) =>
            {
                Err(Loss::Forgotten)
            }
            Stage::Open | Stage::Searching { .. } | Stage::Dialling => Ok(()),
        }
    }

    /// Whether an entry of ours is there.
    fn found(&mut self, link: LinkId, reply: &Value, desk: &mut Desk<'_>) -> Result<(), Loss> {
        if let Some(error) = reply.as_error() {
            return Err(refusal(error, link, desk));
        }
        let found = page(reply.clone()).ok_or(Loss::Unexpected("no entries after XRANGE"))?;
        if let Some(Command {
            stage: Stage::Searching { search, stream },
            ..
        }) = &mut self.command
        {
            // What somebody has deleted is not added again: it was there, with all before it.
            let is_deleted = |id| stream.is_some_and(|stream| stream.may_have_deleted(id));
            let acked = search.next().and_then(|place| self.ring.newest(place));
            search.learn(acked.is_some_and(|acked| found.has(acked) || is_deleted(acked.id)));
        }
        self.advance_search(link, desk);
        Ok(())
    }

    /// The stream has a message, or Redis refuses it.
    fn added(
        &mut self,
        link: LinkId,
        seq: u64,
        reply: &Value,
        desk: &mut Desk<'_>,
    ) -> Result<(), Loss> {
        if let Some(error) = reply.as_error() {
            if let Some(why) = Detour::from_error(error) {
                self.divert(link, seq, (why, error), desk);
                return Ok(());
            }
            return self.refused(link, seq, error, desk);
        }
        let id = id(reply).ok_or(Loss::Unexpected("no ID after XADD"))?;
        self.detour = None;
        self.refusals.accepted();
        if let Some(entry) = desk.traffic.acked(seq, desk.news) {
            self.ring.push(id, entry, desk.now);
        }
        Ok(())
    }

    /// The stream takes nothing: those who are there hear the message all the same. If too much
    /// waits to be written it is added once more a little later, with all behind it.
    fn divert(
        &mut self,
        link: LinkId,
        seq: u64,
        (why, error): (Detour, &[u8]),
        desk: &mut Desk<'_>,
    ) {
        let is_paused = !self.refusals.allows(true);
        if is_paused || !desk.links.has_room(link) {
            self.refusals.judge(seq, error, desk.now);
            return;
        }
        let Some(entry) = desk.traffic.queue.get(seq).cloned() else {
            return;
        };
        if self.detour.replace(why) != Some(why) {
            match why {
                Detour::NoMemory => desk.news.stream_is_full(desk.now),
                Detour::NoIds => desk.news.stream_is_exhausted(desk.now),
            }
        }
        desk.news.metrics.diverted += 1;
        let messages = self.channels.messages.as_bytes();
        let args = [self.channels.publish(), messages, entry.envelope()];
        desk.links
            .send(link, Request::Publish { seq }, &args, desk.now);
    }

    /// What was published past the stream has arrived, or is refused.
    fn published(
        &mut self,
        link: LinkId,
        seq: u64,
        reply: &Value,
        desk: &mut Desk<'_>,
    ) -> Result<(), Loss> {
        match (reply.as_error(), reply.as_int()) {
            (Some(error), _) => self.refused(link, seq, error, desk),
            (None, Some(_)) => {
                self.refusals.accepted();
                desk.traffic.acked(seq, desk.news);
                Ok(())
            }
            (None, None) => Err(Loss::Unexpected("no number after PUBLISH")),
        }
    }

    fn refused(
        &mut self,
        link: LinkId,
        seq: u64,
        error: &[u8],
        desk: &mut Desk<'_>,
    ) -> Result<(), Loss> {
        match refusal(error, link, desk) {
            Loss::Busy(_) => {
                if self.refusals.judge(seq, error, desk.now) == Verdict::Drop {
                    desk.traffic.refused(seq, desk.news);
                }
                Ok(())
            }
            why => Err(why),
        }
    }

    /// Redis has a heartbeat, or refuses it.
    fn heartbeat_answered(
        link: LinkId,
        beat: u64,
        reply: &Value,
        desk: &mut Desk<'_>,
    ) -> Result<(), Loss> {
        if let Some(error) = reply.as_error() {
            match refusal(error, link, desk) {
                Loss::Busy(_) => Ok(()),
                why => Err(why),
            }
        } else if desk.traffic.peers.is_deaf(beat) {
            Err(Loss::Deaf)
        } else {
            Ok(())
        }
    }
}
