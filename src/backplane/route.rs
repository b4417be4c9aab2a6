//! Where the next connection goes.

use super::config::{BackplaneConfig, Endpoint, Target};
use super::link::Errand;
use super::links::Links;
use super::loss::Loss;

/// Redirects that are followed at once; then there is a wait as after any failure. Two nodes that
/// send us to each other are no reason to run.
const MAX_REDIRECTS: u32 = 5;

/// Where the next connection goes: where Redis is said to be, or to a sentinel that knows, or where
/// one of them has sent us.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// The sentinel that is asked next.
    sentinel: usize,
    /// Sentinels that have been asked in a row without an answer.
    asked: usize,
    /// Whether one of them did not know the master.
    is_unknown: bool,
    /// Where a sentinel or a node of the cluster has sent us: believed until it fails.
    sent_to: Option<Endpoint>,
    /// Redirects that have been followed in a row.
    redirects: u32,
    /// What the last connection was for: a sentinel's answer, or messages.
    was_question: bool,
    /// Whether another node is asked instead of the one that was named, if one is known.
    asks_elsewhere: bool,
}

/// When there may be another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// At once: there is another place to try, and how many there are is bounded.
    Now,
    /// After a while: it was the last place.
    Later,
    /// When somebody may have changed something.
    Changed,
}

impl Route {
    /// The next place to connect to, and what for. Where nothing answers at the place that was
    /// named, a node of the cluster that another connection has come to is asked, and they take
    /// turns: any of them knows where everything is.
    pub(super) fn next(
        &mut self,
        config: &BackplaneConfig,
        links: &Links,
    ) -> Option<(Errand, Endpoint)> {
        self.was_question = false;
        if let Some(endpoint) = &self.sent_to {
            return Some((Errand::Serve, endpoint.clone()));
        }
        match &config.target {
            Target::Server(named) => {
                let known = self.asks_elsewhere.then(|| links.elsewhere(named));
                let endpoint = known.flatten().unwrap_or(named);
                Some((Errand::Serve, endpoint.clone()))
            }
            Target::Sentinel { sentinels, master } => {
                self.was_question = true;
                let endpoint = sentinels.get(self.sentinel % sentinels.len().max(1))?;
                let errand = Errand::Ask {
                    master: master.clone(),
                    credentials: config.credentials.clone(),
                };
                Some((errand, endpoint.clone()))
            }
        }
    }

    /// The connection is no more. When there may be another one.
    pub(super) fn lost(&mut self, why: &Loss, config: &BackplaneConfig) -> Again {
        match why {
            Loss::Located(endpoint) => {
                self.sent_to = Some(endpoint.clone());
                (self.asked, self.is_unknown) = (0, false);
                Again::Now
            }
            Loss::Superseded(endpoint) => {
                self.sent_to = Some(endpoint.clone());
                Again::Now
            }
            Loss::Moved(endpoint) => {
                self.sent_to = Some(endpoint.clone());
                self.redirects += 1;
                if self.redirects <= MAX_REDIRECTS {
                    Again::Now
                } else {
                    Again::Later
                }
            }
            _ if self.was_question => self.next_sentinel(why, config),
            _ => {
                if self.sent_to.take().is_none() {
                    self.asks_elsewhere = !self.asks_elsewhere;
                }
                self.sentinel = self.sentinel.wrapping_add(1);
                // A sentinel may be behind: the next one is asked.
                let is_behind = matches!(config.target, Target::Sentinel { .. });
                if why.misconfigured().is_some() && !(is_behind && matches!(why, Loss::Role(_))) {
                    Again::Changed
                } else {
                    Again::Later
                }
            }
        }
    }

    /// A connection has become what it was for.
    pub(super) fn succeeded(&mut self) {
        self.redirects = 0;
        self.asks_elsewhere = false;
    }

    /// A sentinel has not said where the master is: the next one is asked, if there is one that was
    /// not asked in this round.
    fn next_sentinel(&mut self, why: &Loss, config: &BackplaneConfig) -> Again {
        let count = match &config.target {
            Target::Sentinel { sentinels, .. } => sentinels.len(),
            Target::Server(_) => 1,
        };
        self.sentinel = self.sentinel.wrapping_add(1);
        self.asked += 1;
        self.is_unknown |= why.misconfigured().is_some();
        if self.asked < count {
            return Again::Now;
        }
        self.asked = 0;
        if std::mem::take(&mut self.is_unknown) {
            Again::Changed
        } else {
            Again::Later
        }
    }
}
