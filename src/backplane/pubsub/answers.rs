//! What Redis answers.

use super::super::action::LinkId;
use super::super::engine::Desk;
use super::super::loss::Loss;
use super::super::refusals::Verdict;
use super::super::resp::Value;
use super::PubSub;
use super::carrier::Stage;
use super::gate::Gate;

impl PubSub {
    /// The channels are subscribed to, or are not.
    pub(super) fn subscribed(&mut self, link: LinkId, reply: &Value, desk: &mut Desk<'_>) {
        if let Some(error) = reply.as_error() {
            return self.give_up_refused(link, error, desk);
        }
        let gate = Gate::new(self.subscribers, self.dialler.has_failed(), desk.now);
        let is_current = self.is_current(link);
        let Some(carrier) = self.carrier(link) else {
            return;
        };
        carrier.subscribed(gate, desk.now);
        if !is_current {
            let beat = self.send_heartbeat(link, desk);
            if let Some(carrier) = self.carrier(link) {
                carrier.marker = Some(beat);
            }
        }
    }

    /// So many hear the channel.
    pub(super) fn counted(&mut self, link: LinkId, reply: &Value, desk: &mut Desk<'_>) {
        if let Some(error) = reply.as_error() {
            let why = desk.links.loss_from_error(link, error);
            if let Some(why) = why.filter(|why| why.misconfigured().is_some()) {
                return self.give_up(link, why, desk);
            }
        }
        let count = reply
            .map_get(self.channels.messages.as_bytes())
            .and_then(Value::as_int)
            .and_then(|count| u64::try_from(count).ok());
        let now = desk.now;
        let gate = self
            .carrier(link)
            .and_then(|carrier| match &mut carrier.stage {
                Stage::Gated(gate) => Some(gate),
                _ => None,
            });
        match (gate, count) {
            (Some(gate), Some(count)) => gate.counted(count, now),
            (Some(gate), None) => gate.not_counted(now),
            (None, Some(count)) => self.subscribers = Some(count),
            (None, None) => {}
        }
    }

    /// Redis has a message, or refuses it.
    pub(super) fn published(&mut self, link: LinkId, seq: u64, reply: &Value, desk: &mut Desk<'_>) {
        if let Some(error) = reply.as_error() {
            let why = desk.links.loss_from_error(link, error);
            if let Some(why) = why.filter(|why| !matches!(why, Loss::Busy(_))) {
                self.give_up(link, why, desk);
            } else if self.refusals.judge(seq, error, desk.now) == Verdict::Drop {
                desk.traffic.refused(seq, desk.news);
            }
            return;
        }
        match reply.as_int() {
            // We are subscribed ourselves, on this very connection.
            Some(0) => self.give_up(link, Loss::Unsubscribed, desk),
            Some(count) => {
                self.subscribers = u64::try_from(count).ok();
                self.refusals.accepted();
                desk.traffic.acked(seq, desk.news);
                if self.is_current(link) {
                    desk.traffic.heard_until(seq);
                }
            }
            None => self.give_up(link, Loss::Unexpected("no number after PUBLISH"), desk),
        }
    }

    /// Redis has a heartbeat, or refuses it.
    pub(super) fn heartbeat_answered(
        &mut self,
        link: LinkId,
        beat: u64,
        reply: &Value,
        desk: &mut Desk<'_>,
    ) {
        if let Some(error) = reply.as_error() {
            let why = desk.links.loss_from_error(link, error);
            if let Some(why) = why.filter(|why| !matches!(why, Loss::Busy(_))) {
                self.give_up(link, why, desk);
            }
        } else if reply.as_int() == Some(0) {
            self.give_up(link, Loss::Unsubscribed, desk);
        } else if self.is_current(link)
            && self.successor.is_none()
            && desk.traffic.peers.is_deaf(beat)
        {
            self.give_up(link, Loss::Deaf, desk);
        }
    }
}
