//! When local members hear what this server has said.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::config::DeliveryOrder;
use super::entry::Entry;

/// For how long echoes must have come in time before they are waited for again.
const CALM: Duration = Duration::from_secs(1);

/// When local members hear what this server has said: with everybody else, when it comes back from
/// Redis; at once, while Redis is late or away. Each message exactly once, in the order in which
/// they were said, and never later than the deadline (and the time until
/// [`advance`](Self::advance) is called).
///
/// In a turn echoes are taken in before `advance` asks who is late: a server that was stopped
/// itself finds them in its sockets.
#[derive(Debug)]
pub(super) struct Echoes {
    deadline: Duration,
    /// What messages that are waited for may cost.
    max_bytes: usize,
    state: State,
    /// Said, and waited for, in the order of their numbers. Empty unless `state` is `Ordered`.
    pending: VecDeque<Rc<Entry>>,
    pending_bytes: usize,
    /// To be delivered now.
    ready: VecDeque<Rc<Entry>>,
    ready_bytes: usize,
    /// Messages that were delivered before they came back, since [`Echoes::take_local`].
    local: u64,
    /// The last message that was said.
    said: Option<u64>,
    /// Whether there is a connection.
    is_up: bool,
    /// A message of which the echo is timed, while echoes are not waited for.
    probe: Option<(u64, Instant)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is ever waited for.
    AlwaysLocal,
    /// Echoes are waited for.
    Ordered,
    /// They are not: Redis is away.
    Away,
    /// They are not yet, or not any longer.
    Local {
        /// Since when nothing was late.
        calm_since: Instant,
        /// Whether an echo in time must be seen first: one was late before.
        is_doubted: bool,
        /// The last message that was said before: first it comes back, or one behind it.
        backlog: Option<u64>,
    },
}

impl Echoes {
    /// Redis is away, to begin with.
    pub(super) fn new(order: DeliveryOrder, deadline: Duration, max_bytes: usize) -> Self {
        Self {
            deadline,
            max_bytes,
            state: match order {
                DeliveryOrder::Ordered => State::Away,
                DeliveryOrder::Local => State::AlwaysLocal,
            },
            pending: VecDeque::new(),
            pending_bytes: 0,
            ready: VecDeque::new(),
            ready_bytes: 0,
            local: 0,
            said: None,
            is_up: false,
            probe: None,
        }
    }

    /// A message was said. Numbers rise.
    pub(super) fn said(&mut self, entry: Rc<Entry>, now: Instant) {
        assert!(self.said < Some(entry.seq()), "numbers rise");
        self.said = Some(entry.seq());
        match self.state {
            State::Ordered => {
                self.pending_bytes += entry.cost();
                self.pending.push_back(entry);
                if self.pending_bytes > self.max_bytes {
                    self.degrade(now);
                }
            }
            State::AlwaysLocal | State::Away | State::Local { .. } => {
                if self.is_up {
                    self.probe.get_or_insert((entry.seq(), now));
                }
                self.local += 1;
                self.deliver(entry);
            }
        }
    }

    /// A message came back. What was said before it and has not come back is lost, or late: it is
    /// delivered first. Returns how long the message took, if that is known.
    pub(super) fn echoed(&mut self, seq: u64, now: Instant) -> Option<Duration> {
        if Some(seq) > self.said {
            return None; // somebody else speaks in our name
        }
        let mut took = None;
        while self
            .pending
            .front()
            .is_some_and(|oldest| oldest.seq() <= seq)
        {
            let Some(entry) = self.pending.pop_front() else {
                break;
            };
            self.pending_bytes -= entry.cost();
            if entry.seq() == seq {
                took = Some(now.saturating_duration_since(entry.said_at()));
            } else {
                self.local += 1;
            }
            self.deliver(entry);
        }
        if let State::Local { backlog, .. } = &mut self.state {
            backlog.take_if(|last| *last <= seq);
        }
        if let Some((_, sent)) = self.probe.take_if(|(probe, _)| *probe <= seq) {
            let late = now.saturating_duration_since(sent);
            self.observe(late, now);
            took = Some(late);
        }
        took
    }

    /// Something of ours, a message or a heartbeat, took so long to come back.
    pub(super) fn observe(&mut self, took: Duration, now: Instant) {
        let is_late = took > self.deadline / 2;
        if let State::Local {
            calm_since,
            is_doubted,
            ..
        } = &mut self.state
        {
            if is_late {
                *calm_since = now;
            }
            *is_doubted = is_late;
        }
    }

    /// Messages reach Redis, and come back.
    pub(super) fn link_up(&mut self, now: Instant) {
        self.is_up = true;
        if self.state == State::Away {
            self.state = State::Local {
                calm_since: now,
                is_doubted: false,
                backlog: self.said,
            };
        }
    }

    /// They do not: what is waited for is delivered now.
    pub(super) fn link_down(&mut self) {
        self.flush();
        self.is_up = false;
        self.probe = None;
        if self.state != State::AlwaysLocal {
            self.state = State::Away;
        }
    }

    /// Delivers what is late, and waits for echoes again if nothing was late for a while.
    /// `is_flushed` says that Redis has acknowledged everything.
    pub(super) fn advance(&mut self, is_flushed: bool, now: Instant) {
        self.judge_probe(now);
        match &mut self.state {
            State::AlwaysLocal | State::Away => {}
            State::Ordered => {
                if self.is_late(now) {
                    self.degrade(now);
                }
            }
            State::Local {
                calm_since,
                is_doubted,
                backlog,
            } => {
                backlog.take_if(|_| is_flushed);
                if !*is_doubted && backlog.is_none() && *calm_since + CALM <= now {
                    self.state = State::Ordered;
                    self.probe = None;
                }
            }
        }
    }

    /// What has not come back in time is late, and another one is timed.
    fn judge_probe(&mut self, now: Instant) {
        if !matches!(self.state, State::Local { .. }) {
            return;
        }
        let limit = self.deadline / 2;
        let is_late = |sent: Instant| now.saturating_duration_since(sent) > limit;
        if let Some((_, sent)) = self.probe.take_if(|(_, sent)| is_late(*sent)) {
            self.observe(now.saturating_duration_since(sent), now);
        }
    }

    /// When [`advance`](Self::advance) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::AlwaysLocal | State::Away => None,
            State::Ordered => self
                .pending
                .front()
                .map(|oldest| oldest.said_at() + self.deadline),
            State::Local {
                calm_since,
                is_doubted: false,
                backlog: None,
            } => Some(calm_since + CALM),
            State::Local { .. } => None,
        }
    }

    /// The next message that local members hear.
    pub(super) fn next_delivery(&mut self) -> Option<Rc<Entry>> {
        let entry = self.ready.pop_front()?;
        self.ready_bytes -= entry.cost();
        Some(entry)
    }

    pub(super) fn has_deliveries(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What the messages that are to be delivered now cost, in bytes.
    pub(super) fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// How many messages have been delivered before they came back since this was asked last.
    pub(super) fn take_local(&mut self) -> u64 {
        std::mem::take(&mut self.local)
    }

    /// Whether echoes should be waited for and are not.
    pub(super) fn is_degraded(&self) -> bool {
        matches!(self.state, State::Away | State::Local { .. })
    }

    /// Whether a heartbeat would help: an echo was late, and nothing is on its way that could show
    /// that they are in time again.
    pub(super) fn wants_probe(&self) -> bool {
        let is_doubted = matches!(
            self.state,
            State::Local {
                is_doubted: true,
                ..
            }
        );
        is_doubted && self.probe.is_none()
    }

    fn is_late(&self, now: Instant) -> bool {
        self.next_deadline().is_some_and(|deadline| deadline <= now)
    }

    fn degrade(&mut self, now: Instant) {
        self.flush();
        self.state = State::Local {
            calm_since: now,
            is_doubted: true,
            backlog: self.said,
        };
    }

    fn flush(&mut self) {
        self.pending_bytes = 0;
        while let Some(entry) = self.pending.pop_front() {
            self.local += 1;
            self.deliver(entry);
        }
    }

    fn deliver(&mut self, entry: Rc<Entry>) {
        self.ready_bytes += entry.cost();
        self.ready.push_back(entry);
    }
}
