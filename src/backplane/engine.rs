//! What carries messages: the interface between a shard and its bus.

use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use super::action::LinkId;
use super::config::BackplaneConfig;
use super::entry::Entry;
use super::links::Links;
use super::loss::Loss;
use super::news::News;
use super::pace::Pace;
use super::refusals::Refusals;
use super::request::Request;
use super::resp::Value;
use super::traffic::Traffic;

/// What carries a shard's messages to the other servers and theirs to us. It opens links, says what
/// is sent on them and understands what comes; it decides nothing about what is delivered: that is
/// [`Traffic`].
///
/// Another bus than Redis would be another one of these.
pub(super) trait Engine: fmt::Debug {
    /// A link is connected, and Redis has said that it is a master.
    fn ready(&mut self, link: LinkId, desk: &mut Desk<'_>);

    /// Redis has answered a command of this engine's, perhaps with an error.
    fn reply(&mut self, link: LinkId, request: Request, reply: Value, desk: &mut Desk<'_>);

    /// Redis says something that answers nothing: a message of a channel, mostly.
    fn push(&mut self, link: LinkId, parts: Vec<Value>, desk: &mut Desk<'_>);

    /// An answer is overdue. The link stays until the engine closes it.
    fn stalled(&mut self, link: LinkId, desk: &mut Desk<'_>);

    /// A link that was stalled says something again; what that is follows.
    fn revived(&mut self, link: LinkId, desk: &mut Desk<'_>);

    /// A link is no more: it is closed already.
    fn lost(&mut self, link: LinkId, why: Loss, desk: &mut Desk<'_>);

    /// Opens the links that are missing, fires what is due and sends what waits in the queue, as
    /// far as the links have room. Called at least once a turn.
    fn advance(&mut self, desk: &mut Desk<'_>);

    /// Sends what waits in the queue: a link has room again.
    fn pump(&mut self, desk: &mut Desk<'_>);

    /// When [`advance`](Self::advance) has something to do; never a time that it has seen.
    fn next_deadline(&self, traffic: &Traffic, links: &Links) -> Option<Instant>;

    /// Whether what arrives on a link has a place to go. The inbox is the facade's business.
    fn wants_input(&self, link: LinkId) -> bool;

    /// Whether messages go to Redis and come back, however late.
    fn carries(&self) -> bool;

    /// Whether Redis is silent at the moment, though nothing is lost yet.
    fn is_stalled(&self, links: &Links) -> bool;

    /// Entries that are not read yet, as far as is known.
    fn lag(&self) -> u64 {
        0
    }
}

/// What an engine works with: its shard's messages, and what all shards share.
#[derive(Debug)]
pub(super) struct Desk<'d> {
    /// What this shard says and hears.
    pub(super) traffic: &'d mut Traffic,
    /// All connections.
    pub(super) links: &'d mut Links,
    /// What comes of it.
    pub(super) news: &'d mut News,
    /// The settings.
    pub(super) config: &'d BackplaneConfig,
    /// The time.
    pub(super) now: Instant,
}

impl Desk<'_> {
    /// The next message that may be sent on a link now, and its number.
    pub(super) fn next_to_send(
        &mut self,
        link: LinkId,
        refusals: &Refusals,
        pace: &mut Pace,
    ) -> Option<(u64, Rc<Entry>)> {
        let seq = self.traffic.queue.first_unsent()?;
        let may_send = self.links.has_room(link)
            && refusals.allows(self.links.is_idle(link))
            && pace.allows(seq, self.now);
        let entry = may_send.then(|| self.traffic.next_unsent(self.news))??;
        Some((seq, entry))
    }
}

/// When [`Desk::next_to_send`] has something for a link that it has not now, unless somebody says
/// or answers something before.
pub(super) fn sending_deadline(
    link: LinkId,
    refusals: &Refusals,
    pace: &Pace,
    traffic: &Traffic,
    links: &Links,
) -> Option<Instant> {
    if !links.has_room(link) {
        return None;
    }
    let is_idle = links.is_idle(link);
    let unsent = traffic.queue.first_unsent();
    let unsent = unsent.filter(|_| refusals.allows(is_idle));
    let pace = unsent.and_then(|seq| pace.next_deadline(seq));
    let pause = refusals.next_deadline().filter(|_| is_idle);
    pace.into_iter().chain(pause).min()
}
