//! Whether the master is still where we are.

use std::time::{Duration, Instant};

use super::action::LinkId;
use super::config::{BackplaneConfig, Endpoint, Target};
use super::link::Errand;
use super::links::Links;
use super::loss::Loss;

/// How long a round of questions is ago when the next one begins.
const INTERVAL: Duration = Duration::from_secs(10);

/// Rounds after somebody has fallen silent: 5 minutes. Sentinels look for 30 s whether a master is
/// gone, unless they are told otherwise, and may try for 3 minutes to make another one.
const MAX_ROUNDS: u32 = 30;

/// How long what was left is not gone back to because the only name that is listed says so: twice
/// as long as is asked after a silence.
const MAX_MEMORY: Duration = Duration::from_secs(600);

/// Whether the master is still where we are. When other servers fall silent, and the connection is
/// fine, they may be at another Redis that has become the master while ours thinks that it still is
/// one: then all sentinels are asked, for a while. The connection is left for another one only if
/// more than half of all that are listed name the same one, whether they answer or not: those that
/// are cut off know no better than our Redis does.
///
/// Where one name is listed, many may answer to it, one after the other, and each of them may be
/// the one that is cut off: it must say the same twice, and does not lead back.
#[derive(Debug, Default)]
pub(super) struct Inquiry {
    /// Rounds that are left.
    rounds: u32,
    /// When the next question may be asked.
    due: Option<Instant>,
    /// The sentinel that is asked next in this round.
    next: usize,
    /// The question that is under way.
    link: Option<LinkId>,
    /// The connections for messages when the round began. What was answered before there are others
    /// says nothing about those.
    about: Vec<LinkId>,
    /// What was answered in this round: no more than there are sentinels.
    answers: Vec<Endpoint>,
    /// What the only one that is listed has answered in the round before.
    before: Option<Endpoint>,
    /// What was left because that one said so, and when: a few places in two rounds at most.
    left: Vec<(Endpoint, Instant)>,
}

impl Inquiry {
    /// Somebody has fallen silent.
    pub(super) fn begin(&mut self, config: &BackplaneConfig, now: Instant) {
        if matches!(config.target, Target::Sentinel { .. }) {
            self.before.take_if(|_| self.rounds == 0);
            self.rounds = MAX_ROUNDS;
            self.due.get_or_insert(now);
        }
    }

    /// Whether a link is the question that is under way.
    pub(super) fn is_link(&self, link: LinkId) -> bool {
        self.link == Some(link)
    }

    /// Asks if it is time. Where there is no connection, `carries` says so: then the sentinels are
    /// asked anyway where to make one.
    pub(super) fn advance(
        &mut self,
        shard: u16,
        carries: bool,
        links: &mut Links,
        config: &BackplaneConfig,
        now: Instant,
    ) {
        let Target::Sentinel { sentinels, master } = &config.target else {
            return;
        };
        if self.link.is_some() || self.due.is_none_or(|due| now < due) {
            return;
        }
        if self.next == 0 {
            let about = links.serving(shard);
            self.before.take_if(|_| about != self.about);
            self.about = about;
        }
        if let Some(to) = sentinels.get(self.next).filter(|_| carries) {
            let errand = Errand::Ask {
                master: master.clone(),
                credentials: config.credentials.clone(),
            };
            self.link = links.open(shard, errand, to.clone(), config, now);
        }
        if self.link.is_none() {
            // From the beginning: answers of one round are of one age.
            self.next = 0;
            self.answers.clear();
            self.due = Some(now + INTERVAL);
        }
    }

    /// The question that was under way is answered, or will not be. At the end of a round, where
    /// the master is if the sentinels agree.
    pub(super) fn answered(
        &mut self,
        answer: Loss,
        shard: u16,
        links: &Links,
        config: &BackplaneConfig,
        now: Instant,
    ) -> Option<Endpoint> {
        self.link = None;
        self.next += 1;
        if let Loss::Located(endpoint) = answer {
            self.answers.push(endpoint);
        }
        let count = match &config.target {
            Target::Sentinel { sentinels, .. } => sentinels.len(),
            Target::Server(_) => 0,
        };
        if self.next < count {
            return None; // the next question is due at once
        }
        self.next = 0;
        self.rounds = self.rounds.saturating_sub(1);
        self.due = (self.rounds > 0).then_some(now + INTERVAL);
        let answers = std::mem::take(&mut self.answers);
        let named = most(answers, count).filter(|_| links.serving(shard) == self.about);
        if count > 1 {
            return named;
        }
        let is_said_again = std::mem::replace(&mut self.before, named.clone()) == named;
        self.believe(named.filter(|_| is_said_again)?, links, now)
    }

    /// What the only one that is listed has said twice; `None` if it leads back.
    fn believe(&mut self, named: Endpoint, links: &Links, now: Instant) -> Option<Endpoint> {
        self.left.retain(|(_, at)| now < *at + MAX_MEMORY);
        if self.left.iter().any(|(place, _)| *place == named) {
            return None;
        }
        let places = self.about.iter().filter_map(|link| links.get(*link));
        let places = places.map(|link| link.to().clone());
        let elsewhere = places.filter(|place| *place != named);
        self.left.extend(elsewhere.map(|place| (place, now)));
        Some(named)
    }

    /// When [`advance`](Self::advance) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due.filter(|_| self.link.is_none())
    }
}

/// What more than half of so many say, those included that say nothing.
fn most(mut answers: Vec<Endpoint>, count: usize) -> Option<Endpoint> {
    answers.sort_unstable();
    // Whatever more than half of those that answer say stands in the middle.
    let middle = answers.get(answers.len() / 2)?;
    let votes = answers.iter().filter(|answer| *answer == middle).count();
    (2 * votes > count).then(|| middle.clone())
}
