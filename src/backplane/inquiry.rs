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

/// Whether the master is still where we are. When other servers fall silent, and the connection is
/// fine, they may be at another Redis that has become the master while ours thinks that it still is
/// one: then all sentinels are asked, for a while. The connection is left for another one only if
/// most of those that answer name the same one: one of them that is cut off knows no better than
/// our Redis does.
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
    /// What was answered in this round: no more than there are sentinels.
    answers: Vec<Endpoint>,
}

impl Inquiry {
    /// Somebody has fallen silent.
    pub(super) fn begin(&mut self, config: &BackplaneConfig, now: Instant) {
        if matches!(config.target, Target::Sentinel { .. }) {
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
        if let Some(to) = sentinels.get(self.next).filter(|_| carries) {
            let errand = Errand::Ask {
                master: master.clone(),
                credentials: config.credentials.clone(),
            };
            self.link = links.open(shard, errand, to.clone(), config, now);
        }
        if self.link.is_none() {
            self.due = Some(now + INTERVAL);
        }
    }

    /// The question that was under way is answered, or will not be. At the end of a round, where
    /// the master is if the sentinels agree.
    pub(super) fn answered(
        &mut self,
        answer: Loss,
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
        let mut answers = std::mem::take(&mut self.answers);
        answers.sort_unstable();
        // Whatever more than half of them say stands in the middle.
        let most = answers.get(answers.len() / 2)?.clone();
        let count = answers.iter().filter(|answer| **answer == most).count();
        (2 * count > answers.len()).then_some(most)
    }

    /// When [`advance`](Self::advance) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.due.filter(|_| self.link.is_none())
    }
}
