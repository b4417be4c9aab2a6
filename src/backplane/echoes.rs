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

    /// Whether nothing waits to come back.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// When [`advance`](Self::advance) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Ordered => self
                .pending
                .front()
                .map(|oldest| oldest.said_at() + self.deadline),
            State::Local {
                calm_since,
                is_doubted: false,
                backlog: None,
            } => Some(calm_since + CALM),
            State::AlwaysLocal | State::Away | State::Local { .. } => None,
        }
    }

    /// The next message that local members hear.
    pub(super) fn next_delivery(&mut self) -> Option<Rc<Entry>> {
        self.ready.pop_front()
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
        self.ready.push_back(entry);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::backplane::entry::test_entry;
    use crate::hub::test_clock;

    const DEADLINE: Duration = Duration::from_millis(250);
    const MILLI: Duration = Duration::from_millis(1);

    fn echoes(order: DeliveryOrder) -> Echoes {
        Echoes::new(order, DEADLINE, 1024 * 1024)
    }

    /// Echoes that are waited for, at the instant that is returned.
    fn ordered() -> (Echoes, Instant) {
        let (mut echoes, start) = (echoes(DeliveryOrder::Ordered), test_clock());
        echoes.link_up(start);
        echoes.advance(true, start + CALM);
        assert!(!echoes.is_degraded());
        (echoes, start + CALM)
    }

    fn say(echoes: &mut Echoes, seq: u64, now: Instant) {
        echoes.said(test_entry(seq, 10, now), now);
    }

    fn heard(echoes: &mut Echoes) -> Vec<u64> {
        let heard = std::iter::from_fn(|| echoes.next_delivery());
        heard.map(|entry| entry.seq()).collect()
    }

    #[test]
    fn messages_are_heard_when_they_come_back() {
        let (mut echoes, now) = ordered();
        say(&mut echoes, 1, now);
        say(&mut echoes, 2, now);
        assert!(echoes.ready.is_empty());
        assert_eq!(echoes.echoed(1, now + MILLI), Some(MILLI));
        assert_eq!(heard(&mut echoes), [1]);
        assert_eq!(echoes.echoed(1, now + MILLI), None, "it came twice");
        assert_eq!(echoes.echoed(2, now + 2 * MILLI), Some(2 * MILLI));
        assert_eq!(heard(&mut echoes), [2]);
        assert_eq!(echoes.take_local(), 0);
    }

    #[test]
    fn what_is_lost_is_heard_before_what_follows() {
        let (mut echoes, now) = ordered();
        (1..=4).for_each(|seq| say(&mut echoes, seq, now));
        echoes.echoed(3, now);
        assert_eq!(heard(&mut echoes), [1, 2, 3]);
        assert_eq!(echoes.echoed(2, now), None);
        assert!(echoes.ready.is_empty());
        assert_eq!(echoes.take_local(), 2);
    }

    #[test]
    fn both_sides_of_the_deadline() {
        let (mut echoes, now) = ordered();
        say(&mut echoes, 1, now);
        say(&mut echoes, 2, now + MILLI);
        assert_eq!(echoes.next_deadline(), Some(now + DEADLINE));
        echoes.advance(false, now + DEADLINE.saturating_sub(MILLI));
        assert!(echoes.ready.is_empty());
        echoes.advance(false, now + DEADLINE);
        assert_eq!(heard(&mut echoes), [1, 2], "what is behind goes along");
        assert!(echoes.is_degraded());
        say(&mut echoes, 3, now + DEADLINE);
        assert_eq!(heard(&mut echoes), [3], "at once");
        for seq in 1..=3 {
            echoes.echoed(seq, now + 2 * DEADLINE);
        }
        assert!(echoes.ready.is_empty());
        assert_eq!(echoes.take_local(), 3);
    }

    #[test]
    fn without_a_connection_messages_are_heard_at_once() {
        let (mut echoes, now) = ordered();
        say(&mut echoes, 1, now);
        echoes.link_down();
        assert_eq!(heard(&mut echoes), [1]);
        say(&mut echoes, 2, now);
        assert_eq!(heard(&mut echoes), [2]);
        assert_eq!(echoes.next_deadline(), None);
    }

    #[test]
    fn after_an_outage_echoes_are_waited_for_when_the_backlog_is_through() {
        let (mut echoes, start) = (echoes(DeliveryOrder::Ordered), test_clock());
        (1..=2).for_each(|seq| say(&mut echoes, seq, start));
        echoes.link_up(start);
        echoes.advance(false, start + CALM);
        assert!(echoes.is_degraded(), "Redis has not got number 2");
        assert_eq!(echoes.next_deadline(), None, "so nothing is due");
        echoes.echoed(2, start + CALM);
        assert_eq!(echoes.next_deadline(), Some(start + CALM));
        echoes.advance(false, start + CALM);
        assert!(!echoes.is_degraded());
        echoes.link_down();
        echoes.link_up(start + CALM);
        echoes.advance(true, start + (2 * CALM).saturating_sub(MILLI));
        assert!(echoes.is_degraded(), "not before it was calm for a while");
        echoes.advance(true, start + 2 * CALM);
        assert!(!echoes.is_degraded(), "or Redis has acknowledged all");
    }

    #[test]
    fn after_a_late_echo_one_in_time_is_wanted() {
        let (mut echoes, mut now) = ordered();
        say(&mut echoes, 1, now);
        now += DEADLINE;
        echoes.advance(true, now);
        assert!(echoes.is_degraded() && echoes.wants_probe());
        now += 10 * CALM;
        echoes.advance(true, now);
        assert!(
            echoes.is_degraded(),
            "nothing shows that it would be better now"
        );
        echoes.observe(DEADLINE / 2, now);
        assert!(!echoes.wants_probe());
        echoes.advance(true, now);
        assert!(!echoes.is_degraded());
    }

    #[test]
    fn echoes_beyond_half_the_deadline_are_not_waited_for_again() {
        let (mut echoes, mut now) = ordered();
        say(&mut echoes, 1, now);
        now += DEADLINE;
        echoes.advance(true, now);
        // Each comes back a little too late, and some never do.
        for seq in 2..40 {
            say(&mut echoes, seq, now);
            now += DEADLINE / 2 + MILLI;
            if seq % 3 > 0 {
                assert_eq!(echoes.echoed(seq, now), Some(DEADLINE / 2 + MILLI));
            }
            echoes.advance(true, now);
            assert!(echoes.is_degraded());
        }
        // From now on they are in time: it takes as long as it must, and no longer.
        let since = now;
        for seq in 40.. {
            say(&mut echoes, seq, now);
            now += DEADLINE / 2;
            echoes.echoed(seq, now);
            echoes.advance(true, now);
            if !echoes.is_degraded() {
                break;
            }
        }
        assert!((CALM..=CALM + DEADLINE / 2).contains(&(now - since)));
    }

    #[test]
    fn a_server_that_was_stopped_itself_finds_its_echoes_in_time() {
        let (mut echoes, now) = ordered();
        say(&mut echoes, 1, now);
        let later = now + 4 * DEADLINE;
        assert_eq!(echoes.echoed(1, later), Some(4 * DEADLINE));
        echoes.advance(true, later);
        assert!(!echoes.is_degraded());
    }

    #[test]
    fn what_waits_is_bounded_in_bytes() {
        let (mut echoes, now) = ordered();
        let cost = test_entry(1, 10, now).cost();
        echoes.max_bytes = 3 * cost;
        (1..=3).for_each(|seq| say(&mut echoes, seq, now));
        assert!(echoes.ready.is_empty());
        say(&mut echoes, 4, now);
        assert_eq!(heard(&mut echoes), [1, 2, 3, 4]);
        assert!(echoes.is_degraded());
    }

    #[test]
    fn who_speaks_in_our_name_changes_nothing() {
        let (mut echoes, now) = ordered();
        assert_eq!(echoes.echoed(1, now), None);
        say(&mut echoes, 1, now);
        assert_eq!(echoes.echoed(2, now), None);
        assert_eq!(echoes.echoed(u64::MAX, now), None);
        assert!(echoes.ready.is_empty());
    }

    #[test]
    fn by_local_order_nothing_is_waited_for_and_echoes_are_timed() {
        let (mut echoes, now) = (echoes(DeliveryOrder::Local), test_clock());
        say(&mut echoes, 1, now);
        echoes.link_up(now);
        say(&mut echoes, 2, now);
        say(&mut echoes, 3, now);
        assert_eq!(heard(&mut echoes), [1, 2, 3]);
        assert_eq!(echoes.echoed(1, now + MILLI), None);
        assert_eq!(echoes.echoed(2, now + MILLI), Some(MILLI));
        assert_eq!(echoes.echoed(3, now + MILLI), None);
        echoes.advance(true, now + 10 * CALM);
        assert!(echoes.ready.is_empty() && !echoes.is_degraded());
        assert_eq!(echoes.next_deadline(), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Say,
        /// So many ticks pass.
        Pass(u32),
        /// From now on Redis takes so many milliseconds.
        Slow(u32),
        /// The next message does not come back, or comes back twice.
        Lose,
        Double,
        /// The connection is lost; what was on its way does not come back.
        Cut,
        /// There is one again, and what did not come back is sent again.
        Connect,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => Just(Step::Say),
            4 => (1..30_u32).prop_map(Step::Pass),
            1 => (100..300_u32).prop_map(Step::Pass),
            2 => (0..400_u32).prop_map(Step::Slow),
            1 => Just(Step::Lose),
            1 => Just(Step::Double),
            1 => Just(Step::Cut),
            2 => Just(Step::Connect),
        ]
    }

    const TICK: Duration = Duration::from_millis(10);

    /// A server and a Redis that keeps the order, and not all.
    struct World {
        echoes: Echoes,
        now: Instant,
        said: Vec<Instant>,
        heard: u64,
        is_up: bool,
        latency: Duration,
        loses: bool,
        doubles: bool,
        /// What is on its way, and when it comes.
        coming: VecDeque<(Instant, u64)>,
        last_late: Option<Instant>,
    }

    impl World {
        fn send(&mut self, seq: u64) {
            let soonest = self.coming.back().map_or(self.now, |(at, _)| *at);
            let at = soonest.max(self.now + self.latency);
            if std::mem::take(&mut self.doubles) {
                self.coming.push_back((at, seq));
            }
            self.coming.push_back((at, seq));
        }

        fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
            match *step {
                Step::Say => {
                    self.said.push(self.now);
                    let seq = self.said.len() as u64;
                    say(&mut self.echoes, seq, self.now);
                    if self.is_up && !std::mem::take(&mut self.loses) {
                        self.send(seq);
                    }
                }
                Step::Pass(ticks) => {
                    for _ in 0..ticks {
                        self.now += TICK;
                        self.turn()?;
                    }
                }
                Step::Slow(millis) => self.latency = MILLI * millis,
                Step::Lose => self.loses = true,
                Step::Double => self.doubles = true,
                Step::Cut => {
                    self.is_up = false;
                    self.echoes.link_down();
                }
                Step::Connect => {
                    if !self.is_up {
                        self.is_up = true;
                        self.echoes.link_up(self.now);
                        let again: Vec<u64> = self.coming.drain(..).map(|(_, seq)| seq).collect();
                        for seq in again {
                            self.send(seq);
                        }
                    }
                }
            }
            self.listen()
        }

        /// Reads the socket, and looks who is late.
        fn turn(&mut self) -> Result<(), TestCaseError> {
            while let Some(&(at, seq)) = self.coming.front() {
                if !self.is_up || at > self.now {
                    break;
                }
                self.coming.pop_front();
                self.echoes.echoed(seq, self.now);
            }
            let was_degraded = self.echoes.is_degraded();
            self.echoes.advance(self.coming.is_empty(), self.now);
            if !was_degraded && self.echoes.is_degraded() {
                self.last_late = Some(self.now);
            } else if was_degraded && !self.echoes.is_degraded() {
                let since = self.last_late.map(|late| self.now - late);
                prop_assert!(since.is_none_or(|since| since >= CALM), "{:?}", since);
            }
            self.listen()
        }

        /// Hears what is to be heard: exactly once, in order, in time.
        fn listen(&mut self) -> Result<(), TestCaseError> {
            while let Some(entry) = self.echoes.next_delivery() {
                self.heard += 1;
                prop_assert_eq!(entry.seq(), self.heard);
            }
            let oldest = usize::try_from(self.heard).unwrap();
            if let Some(oldest) = self.said.get(oldest) {
                prop_assert!(self.now - *oldest < DEADLINE + TICK);
                prop_assert!(self.is_up, "without a connection nothing is waited for");
                prop_assert!(!self.echoes.is_degraded());
            }
            Ok(())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        #[cfg_attr(miri, ignore = "to make up a case takes a minute there")]
        fn each_is_heard_once_in_order_and_in_time(
            is_ordered in any::<bool>(),
            steps in vec(step(), 1..150),
        ) {
            let order = [DeliveryOrder::Local, DeliveryOrder::Ordered][usize::from(is_ordered)];
            let mut world = World {
                echoes: echoes(order),
                now: test_clock(),
                said: Vec::new(),
                heard: 0,
                is_up: false,
                latency: MILLI,
                loses: false,
                doubles: false,
                coming: VecDeque::new(),
                last_late: None,
            };
            for step in &steps {
                world.step(step)?;
                if !is_ordered {
                    prop_assert_eq!(world.heard, world.said.len() as u64, "at once");
                }
            }
            // In the end nobody has missed anything, whatever Redis does.
            world.step(&Step::Pass(30))?;
            prop_assert_eq!(world.heard, world.said.len() as u64);
            // And where all is well again, echoes are waited for again.
            for step in [Step::Connect, Step::Slow(5), Step::Pass(60)] {
                world.step(&step)?;
            }
            for _ in 0..150 {
                world.step(&Step::Say)?;
                world.step(&Step::Pass(1))?;
            }
            prop_assert!(!world.echoes.is_degraded());
        }
    }
}
