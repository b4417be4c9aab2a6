//! All connections of a backplane.

use std::collections::VecDeque;
use std::time::Instant;

use super::action::{Action, LinkId, MAX_LINKS};
use super::config::{BackplaneConfig, Endpoint};
use super::greeting::Greeting;
use super::link::{Errand, Heard, Link};
use super::loss::Loss;
use super::request::Request;
use super::resp::RespLimits;

/// All connections of a backplane, and what the driver is to do about them.
#[derive(Debug)]
pub(super) struct Links {
    slots: Vec<Slot>,
    /// At most two for each slot: a slot is not used again before it has been forgotten.
    actions: VecDeque<Action>,
    greeting: Greeting,
    limits: RespLimits,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Free,
    /// A link of the shard with this number.
    Used(u16, Box<Link>),
    /// The link is closed, and the driver has not been told yet.
    Closing,
}

impl Links {
    pub(super) fn new(config: &BackplaneConfig, origin: u64, limits: RespLimits) -> Self {
        Self {
            slots: Vec::new(),
            actions: VecDeque::new(),
            greeting: Greeting::new(config, origin),
            limits,
        }
    }

    /// Has a connection opened for a shard. `None` while there is no place for one more.
    pub(super) fn open(
        &mut self,
        owner: u16,
        errand: Errand,
        to: Endpoint,
        config: &BackplaneConfig,
        now: Instant,
    ) -> Option<LinkId> {
        let free = |slot: &Slot| matches!(slot.state, State::Free);
        let position = self.slots.iter().position(free).or_else(|| {
            let is_full = self.slots.len() >= MAX_LINKS;
            (!is_full).then(|| {
                self.slots.push(Slot {
                    generation: 0,
                    state: State::Free,
                });
                self.slots.len() - 1
            })
        })?;
        let index = u16::try_from(position).ok()?;
        let slot = &mut self.slots[position];
        slot.generation = slot.generation.wrapping_add(1);
        let link = LinkId {
            index,
            generation: slot.generation,
        };
        let opened = Link::new(errand, to.clone(), config, self.limits, now);
        slot.state = State::Used(owner, Box::new(opened));
        self.actions.push_back(Action::Connect { link, to });
        Some(link)
    }

    /// Gives a link up. The driver is told, unless it has not heard of the link yet.
    pub(super) fn close(&mut self, id: LinkId) {
        if self.get(id).is_none() {
            return;
        }
        let is_known =
            |action: &Action| !matches!(action, Action::Connect { link, .. } if *link == id);
        let before = self.actions.len();
        self.actions.retain(is_known);
        self.slots[id.index()].state = if self.actions.len() == before {
            self.actions.push_back(Action::Disconnect(id));
            State::Closing
        } else {
            State::Free
        };
    }

    /// The driver has closed a link and forgotten it. Whether it was one that we still had, and
    /// whose.
    pub(super) fn forget(&mut self, id: LinkId) -> Option<u16> {
        let slot = self.slots.get_mut(id.index())?;
        if slot.generation != id.generation {
            return None;
        }
        // Both have given it up in the same turn: the driver need not be told.
        self.actions
            .retain(|action| *action != Action::Disconnect(id));
        match std::mem::replace(&mut slot.state, State::Free) {
            State::Used(owner, _) => Some(owner),
            State::Free | State::Closing => None,
        }
    }

    /// What the driver is to do next.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front()?;
        if let Action::Disconnect(link) = action {
            self.slots[link.index()].state = State::Free;
        }
        Some(action)
    }

    /// The driver has connected a link.
    pub(super) fn connected(&mut self, id: LinkId, now: Instant) {
        let Self {
            slots, greeting, ..
        } = self;
        if let Some(link) = slots.get_mut(id.index()).and_then(|slot| slot.link_mut(id)) {
            link.connected(greeting, now);
        }
    }

    /// Fires what is due on the link at a place of the table, and says whose it is.
    pub(super) fn advance(&mut self, index: usize, now: Instant) -> Option<(u16, LinkId, Heard)> {
        let slot = self.slots.get_mut(index)?;
        let generation = slot.generation;
        let State::Used(owner, link) = &mut slot.state else {
            return None;
        };
        let heard = link.advance(now)?;
        let index = u16::try_from(index).ok()?;
        Some((*owner, LinkId { index, generation }, heard))
    }

    /// How many places the table has.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// When something is due on a link.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let links = self.slots.iter().filter_map(|slot| match &slot.state {
            State::Used(_, link) => link.next_deadline(),
            State::Free | State::Closing => None,
        });
        links.min()
    }

    /// All links, in the order of the table.
    pub(super) fn ids(&self) -> impl Iterator<Item = LinkId> {
        (0..self.slots.len()).filter_map(|index| self.id(index))
    }

    /// The link at a place of the table, if there is one.
    pub(super) fn id(&self, index: usize) -> Option<LinkId> {
        let slot = self.slots.get(index)?;
        let id = LinkId {
            index: u16::try_from(index).ok()?,
            generation: slot.generation,
        };
        matches!(slot.state, State::Used(..)).then_some(id)
    }

    /// Whose link this is; `None` if it is given up.
    pub(super) fn owner(&self, id: LinkId) -> Option<u16> {
        match &self.slots.get(id.index())?.state {
            State::Used(owner, _) if self.get(id).is_some() => Some(*owner),
            _ => None,
        }
    }

    /// The links of a shard that are for messages.
    pub(super) fn serving(&self, owner: u16) -> Vec<LinkId> {
        let serves = |id: &LinkId| {
            let is_owned = self.owner(*id) == Some(owner);
            is_owned && self.get(*id).is_some_and(Link::serves)
        };
        self.ids().filter(serves).collect()
    }

    pub(super) fn get(&self, id: LinkId) -> Option<&Link> {
        let slot = self.slots.get(id.index())?;
        match &slot.state {
            State::Used(_, link) if slot.generation == id.generation => Some(link),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.slots.get_mut(id.index())?.link_mut(id)
    }

    /// Sends a command on a link, if it is still there.
    pub(super) fn send(&mut self, id: LinkId, request: Request, args: &[&[u8]], now: Instant) {
        if let Some(link) = self.get_mut(id) {
            link.send(request, args, now);
        }
    }

    /// Whether one more message may be sent on a link.
    pub(super) fn has_room(&self, id: LinkId) -> bool {
        self.get(id).is_some_and(Link::has_room)
    }

    /// Where a link leads that carries messages, if that is another place than this.
    pub(super) fn elsewhere(&self, than: &Endpoint) -> Option<&Endpoint> {
        let mut places = self.slots.iter().filter_map(|slot| match &slot.state {
            State::Used(_, link) if link.is_ready() => Some(link.to()),
            _ => None,
        });
        places.find(|to| *to != than)
    }

    /// Whether everything that was asked on a link is answered.
    pub(super) fn is_idle(&self, id: LinkId) -> bool {
        self.get(id).is_some_and(Link::is_idle)
    }

    /// Whether an answer is overdue on a link.
    pub(super) fn is_stalled(&self, id: LinkId) -> bool {
        self.get(id).is_some_and(Link::is_stalled)
    }

    /// Whether something was left unread on a link.
    pub(super) fn is_unread(&self, id: LinkId) -> bool {
        self.get(id).is_some_and(|link| link.is_unread)
    }

    /// What an error of Redis on a link means for it.
    pub(super) fn loss_from_error(&self, id: LinkId, text: &[u8]) -> Option<Loss> {
        Some(Loss::from_error(text, self.get(id)?.to()))
    }
}

impl Slot {
    fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        match &mut self.state {
            State::Used(_, link) if self.generation == id.generation => Some(link),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Target;
    use crate::hub::test_clock;

    fn links() -> (Links, BackplaneConfig, Endpoint, Instant) {
        let to = Endpoint::Tcp("redis".to_owned(), 6379);
        let config = BackplaneConfig::new(Target::Server(to.clone()));
        let links = Links::new(&config, 1, RespLimits::new(1000, 1));
        (links, config, to, test_clock())
    }

    fn actions(links: &mut Links) -> Vec<Action> {
        std::iter::from_fn(|| links.next_action()).collect()
    }

    #[test]
    fn a_place_is_free_when_the_driver_has_forgotten_who_had_it() {
        let (mut links, config, to, now) = links();
        let open = |links: &mut Links| {
            let (errand, to) = (Errand::Serve, to.clone());
            links.open(0, errand, to, &config, now).unwrap()
        };
        let first = open(&mut links);
        assert_eq!(actions(&mut links).len(), 1);
        links.close(first);
        links.close(first);
        let second = open(&mut links);
        assert_ne!(
            first.index(),
            second.index(),
            "the driver still has the first"
        );
        assert_eq!(actions(&mut links)[0], Action::Disconnect(first));
        let third = open(&mut links);
        assert_eq!(first.index(), third.index());
        assert_ne!(first, third);
        assert!(links.get(first).is_none() && links.get(third).is_some());
        assert_eq!(links.owner(first), None);
        links.close(first);
        assert!(links.get(third).is_some(), "an old name closes nobody");
        assert_eq!(links.forget(first), None);
        assert!(links.get(third).is_some());
    }

    #[test]
    fn what_the_driver_has_not_heard_of_is_not_mentioned() {
        let (mut links, config, to, now) = links();
        let link = links.open(0, Errand::Serve, to, &config, now).unwrap();
        links.close(link);
        assert!(actions(&mut links).is_empty());
        assert_eq!(links.ids().count(), 0);
    }

    #[test]
    fn both_sides_may_give_a_link_up_in_the_same_turn() {
        let (mut links, config, to, now) = links();
        let link = links.open(7, Errand::Serve, to, &config, now).unwrap();
        assert_eq!(actions(&mut links).len(), 1);
        links.close(link);
        assert_eq!(links.forget(link), None, "it was given up here");
        assert!(actions(&mut links).is_empty(), "the driver knows");
    }

    #[test]
    fn there_are_no_more_links_than_places() {
        let (mut links, config, to, now) = links();
        for _ in 0..MAX_LINKS {
            let opened = links.open(0, Errand::Serve, to.clone(), &config, now);
            assert!(opened.is_some());
        }
        assert!(links.open(0, Errand::Serve, to, &config, now).is_none());
    }
}
