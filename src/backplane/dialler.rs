//! When the next connection is opened, and where to.

use std::time::{Duration, Instant};

use super::action::LinkId;
use super::backoff::{Backoff, CONFIGURATION_WAIT};
use super::config::{BackplaneConfig, Endpoint};
use super::engine::Desk;
use super::links::Links;
use super::loss::Loss;
use super::route::{Again, Route};

/// How long a connection must have carried messages if the waits shall begin anew behind it.
/// Somebody who hangs up on us again and again is not called without a pause.
const PROBATION: Duration = Duration::from_secs(1);

/// When the next connection of an engine is opened, and where to. One at a time: whoever uses this
/// asks for another when the one before has succeeded or is lost.
#[derive(Debug)]
pub(super) struct Dialler {
    shard: u16,
    backoff: Backoff,
    route: Route,
    /// No attempt before.
    not_before: Instant,
    /// Since when the last attempt is a success.
    proved_at: Option<Instant>,
    /// Where the last attempt led.
    dialled: Option<Endpoint>,
    /// Whether an attempt has failed since the last success.
    has_failed: bool,
}

impl Dialler {
    /// For the shard with this number. The first attempt may come at once.
    pub(super) fn new(shard: u16, seed: u64, now: Instant) -> Self {
        Self {
            shard,
            backoff: Backoff::new(seed),
            route: Route::default(),
            not_before: now,
            proved_at: None,
            dialled: None,
            has_failed: false,
        }
    }

    /// Opens a connection if it is time; of a sentinel's too, and then one where that says.
    pub(super) fn dial(
        &mut self,
        links: &mut Links,
        config: &BackplaneConfig,
        now: Instant,
    ) -> Option<LinkId> {
        if now < self.not_before {
            return None;
        }
        let opened = self.route.next(config, links).and_then(|(errand, to)| {
            self.dialled = Some(to.clone());
            links.open(self.shard, errand, to, config, now)
        });
        if opened.is_none() {
            self.not_before = now + self.backoff.next_wait();
        }
        opened
    }

    /// When [`dial`](Self::dial) may open a connection.
    pub(super) fn next_deadline(&self) -> Instant {
        self.not_before
    }

    /// The connection that was opened last is lost.
    pub(super) fn lost(&mut self, why: &Loss, desk: &mut Desk<'_>) {
        let proved_at = self.proved_at.take();
        if proved_at.is_some_and(|proved_at| proved_at + PROBATION <= desk.now) {
            self.backoff.reset();
        }
        let again = self.route.lost(why, desk.config);
        let wait = match again {
            Again::Now => Duration::ZERO,
            Again::Later => self.backoff.next_wait(),
            Again::Changed => CONFIGURATION_WAIT,
        };
        self.not_before = desk.now + wait;
        let is_answer = matches!(why, Loss::Located(_));
        self.has_failed |= !is_answer && again != Again::Now;
        // It stays: one that was stalled may be lost after another that was tried beside it.
        if let Some(to) = self.dialled.as_ref().filter(|_| !is_answer) {
            desk.news.lost(why, to, again == Again::Changed);
        }
    }

    /// The connection that was opened last carries messages.
    pub(super) fn succeeded(&mut self, now: Instant) {
        self.proved_at.get_or_insert(now);
        self.route.succeeded();
        self.has_failed = false;
    }

    /// Whether an attempt has failed since the last success.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// What was opened is not needed: the connection before it has come back.
    pub(super) fn forgive(&mut self, now: Instant) {
        self.backoff.reset();
        self.succeeded(now);
    }
}
