//! What has been heard of whom.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::peers::PEER_TIMEOUT;

/// Origins that are known at most; then the one that was silent longest goes, and never a server
/// that is there.
const MAX_ORIGINS: usize = 4096;

/// How long an origin may be silent before it is forgotten. A message that comes twice at that
/// distance is heard twice.
const MEMORY: Duration = Duration::from_secs(600);

/// Ranges of missing messages that are remembered of one origin; then the oldest is given up.
const MAX_HOLES: usize = 16;

/// How long a missing message may come late.
const PATIENCE: Duration = Duration::from_secs(10);

/// How exactly it is known who was silent longest. Not for each message is a list put in order.
const TOUCH: Duration = Duration::from_secs(1);

/// Whether a message was heard before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It was not: deliver it.
    New,
    /// It was, or it is so late that it has been counted as lost.
    Duplicate,
}

/// What has been heard of whom, so that nothing is delivered twice and what is lost is counted.
///
/// An origin numbers its messages one by one. What is missing may come late, when two connections
/// are read; until then it is a hole, and when that is given up it is lost: counted, and refused
/// from then on. So what was delivered and what was counted is everything, each once.
#[derive(Debug, Default)]
pub(super) struct Origins {
    known: BTreeMap<u64, Origin>,
    /// All of them by when they were touched.
    by_silence: BySilence,
    /// Those with holes by when the oldest hole is to be given up, or before.
    by_patience: BTreeSet<(Instant, u64)>,
    /// Messages given up since [`Origins::take_lost`].
    lost: u64,
    /// Whether what comes late is refused.
    is_strict: bool,
}

/// Origins by when they were touched: those silent longest are first.
#[derive(Debug, Default)]
struct BySilence {
    /// Those of which no heartbeat has come. Whoever may publish makes up as many as it likes.
    strangers: BTreeSet<(Instant, u64)>,
    /// The others.
    servers: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Origin {
    /// The highest number that was heard, or heard of.
    highest: u64,
    /// Missing numbers below it, the oldest knowledge first.
    holes: Vec<Hole>,
    /// When it was heard, to within [`TOUCH`]: its place among its like.
    touched: Instant,
    /// Whether a heartbeat of it has come.
    is_server: bool,
    /// Its place in `by_patience`.
    patience: Option<Instant>,
}

/// Numbers that are missing.
#[derive(Clone, Copy, Debug)]
struct Hole {
    first: u64,
    last: u64,
    since: Instant,
}

impl Origins {
    /// The most that all of them take, in bytes: with room in each table for as much again.
    pub(super) const BYTES: usize =
        2 * MAX_ORIGINS * (size_of::<(u64, Origin)>() + 64 + (MAX_HOLES + 1) * size_of::<Hole>());

    pub(super) fn new() -> Self {
        Self::default()
    }

    /// For a bus that brings the messages of each origin in order: one that comes behind a later
    /// one has been on its way for too long, on a connection that was given up, and nobody wants to
    /// hear it any more. It stays missing.
    pub(super) fn in_order() -> Self {
        let is_strict = true;
        Self {
            is_strict,
            ..Self::default()
        }
    }

    /// A message of an origin has come, of which a heartbeat has come if `is_server` says so. The
    /// first one of all is where we begin to listen: those before it are not missing.
    pub(super) fn see(
        &mut self,
        origin: u64,
        seq: u64,
        is_server: impl FnOnce() -> bool,
        now: Instant,
    ) -> Seen {
        let Some(known) = self.known.get_mut(&origin) else {
            self.begin(origin, seq, is_server(), now);
            return Seen::New;
        };
        self.by_silence.touch(origin, known, now);
        if seq > known.highest {
            let missing = known.highest + 1;
            known.highest = seq;
            if missing < seq {
                self.open(origin, missing, seq - 1, now);
            }
            Seen::New
        } else if !self.is_strict && known.fill(seq) {
            self.bound(origin);
            Seen::New
        } else {
            Seen::Duplicate
        }
    }

    /// An origin says that Redis has its messages up to this one: what is missing at the end is
    /// missing too. Of an unknown one they are from before we listened, and those that are sent
    /// once more since Redis has lost them are not news.
    pub(super) fn heard_last(&mut self, origin: u64, last: u64, now: Instant) {
        self.beat(origin, now);
        let Some(known) = self.known.get_mut(&origin) else {
            self.begin(origin, last, true, now);
            return;
        };
        if last > known.highest {
            let missing = known.highest + 1;
            known.highest = last;
            self.open(origin, missing, last, now);
        }
    }

    /// A heartbeat of an origin has come: it is a server, and there.
    pub(super) fn beat(&mut self, origin: u64, now: Instant) {
        if let Some(known) = self.known.get_mut(&origin) {
            self.by_silence.touch(origin, known, now);
            self.by_silence.promote(origin, known);
        }
    }

    /// Gives up what has been missing for too long, and forgets who has been silent for too long.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(&(due, origin)) = self.by_patience.first() {
            if due > now {
                break;
            }
            self.by_patience.pop_first();
            self.give_up(origin, |hole| hole.since + PATIENCE <= now);
        }
        while let Some((touched, origin)) = self.by_silence.first() {
            if touched + MEMORY + TOUCH > now {
                break;
            }
            self.forget(origin);
        }
    }

    /// When [`advance`](Self::advance) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let patience = self.by_patience.first().map(|&(due, _)| due);
        let silent = self.by_silence.first();
        let memory = silent.map(|(touched, _)| touched + MEMORY + TOUCH);
        patience.into_iter().chain(memory).min()
    }

    /// Gives up at once what is missing of an origin.
    pub(super) fn settle(&mut self, origin: u64) {
        self.give_up(origin, |_| true);
    }

    /// Gives up at once all that is missing.
    #[cfg(test)]
    pub(super) fn settle_all(&mut self) {
        let with_holes: Vec<u64> = self.by_patience.iter().map(|&(_, origin)| origin).collect();
        for origin in with_holes {
            self.settle(origin);
        }
    }

    /// How many messages have been given up since this was asked last.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// How many origins are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Begins to listen to an origin, if there is place. There is none if as many servers are there
    /// as are known at most: then a newcomer is heard, and not remembered.
    fn begin(&mut self, origin: u64, highest: u64, is_server: bool, now: Instant) {
        if self.known.len() >= MAX_ORIGINS {
            let Some(silent) = self.by_silence.least_missed(now) else {
                return;
            };
            self.forget(silent);
        }
        self.by_silence.like(is_server).insert((now, origin));
        self.known.insert(
            origin,
            Origin {
                highest,
                holes: Vec::new(),
                touched: now,
                is_server,
                patience: None,
            },
        );
    }

    /// Numbers are missing from now on.
    fn open(&mut self, origin: u64, first: u64, last: u64, now: Instant) {
        let Some(known) = self.known.get_mut(&origin) else {
            return;
        };
        known.holes.push(Hole {
            first,
            last,
            since: now,
        });
        if known.patience.is_none() {
            known.patience = Some(now + PATIENCE);
            self.by_patience.insert((now + PATIENCE, origin));
        }
        self.bound(origin);
    }

    /// Gives up the oldest hole if there are too many: one more was opened, or one was split.
    fn bound(&mut self, origin: u64) {
        if let Some(known) = self.known.get_mut(&origin) {
            if known.holes.len() > MAX_HOLES {
                self.lost = self.lost.saturating_add(known.holes.remove(0).len());
            }
        }
    }

    /// Gives up some of an origin's holes, and puts it where it belongs among those with holes.
    fn give_up(&mut self, origin: u64, is_given_up: impl Fn(&Hole) -> bool) {
        let Some(known) = self.known.get_mut(&origin) else {
            return;
        };
        let lost = &mut self.lost;
        known.holes.retain(|hole| {
            let is_given_up = is_given_up(hole);
            if is_given_up {
                *lost = lost.saturating_add(hole.len());
            }
            !is_given_up
        });
        if let Some(due) = known.patience.take() {
            self.by_patience.remove(&(due, origin));
        }
        if let Some(oldest) = known.holes.first() {
            let due = oldest.since + PATIENCE;
            known.patience = Some(due);
            self.by_patience.insert((due, origin));
        }
    }

    fn forget(&mut self, origin: u64) {
        self.settle(origin);
        if let Some(known) = self.known.remove(&origin) {
            let like = self.by_silence.like(known.is_server);
            like.remove(&(known.touched, origin));
        }
    }
}

impl BySilence {
    /// Who was silent longest, and since when.
    fn first(&self) -> Option<(Instant, u64)> {
        let all = [self.strangers.first(), self.servers.first()];
        all.into_iter().flatten().min().copied()
    }

    /// Who goes for a newcomer: the one silent longest of the strangers, and of the servers that
    /// are not there any longer.
    fn least_missed(&self, now: Instant) -> Option<u64> {
        let is_gone = |(touched, _): &&(Instant, u64)| *touched + PEER_TIMEOUT + TOUCH <= now;
        let gone = self.servers.first().filter(is_gone);
        let least = self.strangers.first().into_iter().chain(gone).min();
        least.map(|&(_, origin)| origin)
    }

    /// Takes note that an origin has been heard.
    fn touch(&mut self, origin: u64, known: &mut Origin, now: Instant) {
        if now.saturating_duration_since(known.touched) >= TOUCH {
            let like = self.like(known.is_server);
            like.remove(&(known.touched, origin));
            known.touched = now;
            like.insert((now, origin));
        }
    }

    /// Takes note that an origin is a server.
    fn promote(&mut self, origin: u64, known: &mut Origin) {
        if !std::mem::replace(&mut known.is_server, true) {
            self.strangers.remove(&(known.touched, origin));
            self.servers.insert((known.touched, origin));
        }
    }

    /// Those that are servers, or those that are not.
    fn like(&mut self, is_server: bool) -> &mut BTreeSet<(Instant, u64)> {
        if is_server {
            &mut self.servers
        } else {
            &mut self.strangers
        }
    }
}

impl Origin {
    /// Whether a number was missing. It is not any longer.
    fn fill(&mut self, seq: u64) -> bool {
        let Some(index) = self.holes.iter().position(|hole| hole.contains(seq)) else {
            return false;
        };
        let hole = self.holes[index];
        let below = (hole.first < seq).then(|| Hole {
            last: seq - 1,
            ..hole
        });
        let above = (seq < hole.last).then(|| Hole {
            first: seq + 1,
            ..hole
        });
        self.holes
            .splice(index..=index, below.into_iter().chain(above));
        true
    }
}

impl Hole {
    fn contains(&self, seq: u64) -> bool {
        (self.first..=self.last).contains(&seq)
    }

    fn len(&self) -> u64 {
        self.last - self.first + 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::hub::test_clock;

    const MILLI: Duration = Duration::from_millis(1);

    /// A message of one of whom no heartbeat is known.
    fn see(origins: &mut Origins, origin: u64, seq: u64, now: Instant) -> Seen {
        origins.see(origin, seq, || false, now)
    }

    #[test]
    fn in_order_what_comes_late_stays_missing() {
        let now = test_clock();
        let mut origins = Origins::in_order();
        assert_eq!(see(&mut origins, 1, 1, now), Seen::New);
        assert_eq!(see(&mut origins, 1, 4, now), Seen::New);
        assert_eq!(see(&mut origins, 1, 2, now), Seen::Duplicate);
        assert_eq!(see(&mut origins, 1, 5, now), Seen::New);
        origins.advance(now + PATIENCE);
        assert_eq!(origins.take_lost(), 2);
    }

    #[test]
    fn what_comes_twice_is_new_once() {
        let (mut origins, now) = (Origins::new(), test_clock());
        for seq in [5, 6, 7] {
            assert_eq!(see(&mut origins, 1, seq, now), Seen::New);
        }
        for seq in [7, 5, 6, 4, 0] {
            assert_eq!(see(&mut origins, 1, seq, now), Seen::Duplicate);
        }
        assert_eq!(
            see(&mut origins, 2, 1, now),
            Seen::New,
            "another origin, other numbers"
        );
        origins.settle_all();
        assert_eq!(origins.take_lost(), 0);
    }

    #[test]
    fn what_comes_late_fills_its_hole_once() {
        let (mut origins, now) = (Origins::new(), test_clock());
        see(&mut origins, 1, 1, now);
        see(&mut origins, 1, 6, now);
        for seq in [4, 2, 5] {
            assert_eq!(see(&mut origins, 1, seq, now), Seen::New);
            assert_eq!(see(&mut origins, 1, seq, now), Seen::Duplicate);
        }
        origins.settle(1);
        assert_eq!(origins.take_lost(), 1, "number 3");
        assert_eq!(
            see(&mut origins, 1, 3, now),
            Seen::Duplicate,
            "it is counted as lost"
        );
        assert_eq!(origins.take_lost(), 0);
    }

    #[test]
    fn both_sides_of_the_patience() {
        let (mut origins, now) = (Origins::new(), test_clock());
        see(&mut origins, 1, 1, now);
        see(&mut origins, 1, 3, now);
        see(&mut origins, 1, 5, now + MILLI);
        assert_eq!(origins.next_deadline(), Some(now + PATIENCE));
        origins.advance(now + PATIENCE.saturating_sub(MILLI));
        assert_eq!(origins.take_lost(), 0);
        origins.advance(now + PATIENCE);
        assert_eq!(origins.take_lost(), 1);
        assert_eq!(see(&mut origins, 1, 2, now + PATIENCE), Seen::Duplicate);
        assert_eq!(see(&mut origins, 1, 4, now + PATIENCE), Seen::New);
        assert_eq!(origins.next_deadline(), Some(now + PATIENCE + MILLI));
        origins.advance(now + PATIENCE + MILLI);
        assert_eq!(origins.take_lost(), 0);
    }

    #[test]
    fn a_heartbeat_shows_what_is_missing_at_the_end() {
        let (mut origins, now) = (Origins::new(), test_clock());
        see(&mut origins, 1, 1, now);
        origins.heard_last(1, 4, now);
        assert_eq!(see(&mut origins, 1, 3, now), Seen::New);
        assert_eq!(see(&mut origins, 1, 5, now), Seen::New);
        origins.heard_last(1, 5, now);
        origins.heard_last(1, 2, now);
        origins.settle(1);
        assert_eq!(origins.take_lost(), 2, "numbers 2 and 4");
    }

    #[test]
    fn what_an_unknown_origin_has_sent_is_from_before() {
        let (mut origins, now) = (Origins::new(), test_clock());
        origins.heard_last(1, 1000, now);
        for seq in [999, 1000, 0] {
            assert_eq!(see(&mut origins, 1, seq, now), Seen::Duplicate);
        }
        assert_eq!(see(&mut origins, 1, 1001, now), Seen::New);
        origins.advance(now + PATIENCE);
        assert_eq!(origins.take_lost(), 0);
        origins.heard_last(1, 1002, now);
        origins.settle(1);
        assert_eq!(origins.take_lost(), 1, "from then on it is missing");
    }

    #[test]
    fn holes_are_bounded_however_they_come_about() {
        let (mut origins, now) = (Origins::new(), test_clock());
        see(&mut origins, 1, 0, now);
        let holes = MAX_HOLES as u64;
        for i in 1..=holes + 3 {
            see(&mut origins, 1, 2 * i, now);
        }
        assert_eq!(origins.take_lost(), 3);
        assert_eq!(see(&mut origins, 1, 5, now), Seen::Duplicate);
        assert_eq!(
            see(&mut origins, 1, 7, now),
            Seen::New,
            "there is place for one"
        );
        // Ever more pieces of one hole.
        see(&mut origins, 2, 0, now);
        see(&mut origins, 2, 1000, now);
        for i in 1..400 {
            see(&mut origins, 2, 2 * i, now);
            assert!(origins.known[&2].holes.len() <= MAX_HOLES);
        }
        origins.settle_all();
        assert_eq!(origins.take_lost(), holes - 1 + 999 - 399);
    }

    #[test]
    fn the_highest_numbers_do_not_overflow() {
        let (mut origins, now) = (Origins::new(), test_clock());
        for origin in [1, 2] {
            see(&mut origins, origin, 0, now);
            assert_eq!(see(&mut origins, origin, u64::MAX, now), Seen::New);
            assert_eq!(see(&mut origins, origin, u64::MAX, now), Seen::Duplicate);
            origins.heard_last(origin, u64::MAX, now);
        }
        origins.heard_last(3, u64::MAX, now);
        origins.settle_all();
        assert_eq!(origins.take_lost(), u64::MAX);
    }

    #[test]
    fn the_one_silent_longest_goes_for_a_newcomer() {
        let (mut origins, start) = (Origins::new(), test_clock());
        for origin in 0..MAX_ORIGINS as u64 {
            see(&mut origins, origin, 1, start + TOUCH);
        }
        let now = start + 2 * TOUCH;
        for origin in (0..MAX_ORIGINS as u64).filter(|origin| *origin != 77) {
            see(&mut origins, origin, 3, now);
        }
        see(&mut origins, 99_999, 1, now);
        assert_eq!(origins.len(), MAX_ORIGINS);
        assert!(!origins.known.contains_key(&77));
        see(&mut origins, 99_998, 1, now + MILLI);
        assert_eq!(origins.len(), MAX_ORIGINS);
        assert_eq!(origins.take_lost(), 1, "what was missing of the next one");
    }

    #[test]
    fn a_server_that_is_there_does_not_go_for_a_stranger() {
        let (mut origins, now) = (Origins::new(), test_clock());
        see(&mut origins, 1, 1, now);
        origins.beat(1, now);
        origins.see(2, 1, || true, now);
        origins.heard_last(3, 1, now);
        see(&mut origins, 4, 1, now);
        let mut flood = 100..;
        let mut newcomers = |origins: &mut Origins, now| {
            for stranger in flood.by_ref().take(2 * MAX_ORIGINS) {
                assert_eq!(see(origins, stranger, 7, now), Seen::New);
            }
            assert_eq!(origins.len(), MAX_ORIGINS);
        };
        newcomers(&mut origins, now + MILLI);
        for (server, seen) in [
            (1, Seen::Duplicate),
            (2, Seen::Duplicate),
            (3, Seen::Duplicate),
            (4, Seen::New),
        ] {
            assert_eq!(see(&mut origins, server, 1, now), seen, "{server}");
        }
        // Both sides of the silence after which a server is not there any longer.
        let gone = now + PEER_TIMEOUT + TOUCH;
        newcomers(&mut origins, gone.checked_sub(MILLI).unwrap());
        assert_eq!(see(&mut origins, 1, 1, now), Seen::Duplicate);
        newcomers(&mut origins, gone);
        assert_eq!(see(&mut origins, 1, 1, gone), Seen::New);
    }

    #[test]
    fn servers_that_are_made_up_push_out_nobody_either() {
        let (mut origins, now) = (Origins::new(), test_clock());
        for server in 0..2 * MAX_ORIGINS as u64 {
            origins.heard_last(server, 5, now);
        }
        assert_eq!(origins.len(), MAX_ORIGINS);
        let last = MAX_ORIGINS as u64;
        assert_eq!(see(&mut origins, 0, 5, now), Seen::Duplicate);
        assert_eq!(see(&mut origins, last - 1, 5, now), Seen::Duplicate);
        // Who finds no place is heard all the same.
        assert_eq!(see(&mut origins, last, 5, now), Seen::New);
        assert_eq!(see(&mut origins, last, 5, now), Seen::New);
        let later = now + PEER_TIMEOUT + TOUCH;
        assert_eq!(see(&mut origins, last, 5, later), Seen::New);
        assert_eq!(see(&mut origins, last, 5, later), Seen::Duplicate);
        assert_eq!(origins.len(), MAX_ORIGINS);
        origins.advance(later + MEMORY);
        assert_eq!(origins.len(), 1);
    }

    #[test]
    fn who_is_silent_is_forgotten_and_who_is_not_is_not() {
        let (mut origins, start) = (Origins::new(), test_clock());
        see(&mut origins, 1, 1, start);
        see(&mut origins, 1, 3, start);
        see(&mut origins, 2, 1, start);
        let later = start + MEMORY / 2;
        see(&mut origins, 2, 1, later);
        origins.advance(start + MEMORY);
        assert_eq!(origins.take_lost(), 1);
        assert_eq!(origins.len(), 2);
        assert_eq!(origins.next_deadline(), Some(start + MEMORY + TOUCH));
        origins.advance(start + MEMORY + TOUCH);
        assert_eq!(origins.len(), 1);
        assert_eq!(
            see(&mut origins, 2, 1, start + MEMORY + TOUCH),
            Seen::Duplicate
        );
        origins.advance(start + 3 * MEMORY);
        assert_eq!((origins.len(), origins.next_deadline()), (0, None));
        assert!(origins.by_silence.first().is_none() && origins.by_patience.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// So many numbers further than the highest so far.
        Next(u64),
        /// The number so far below the highest.
        Back(u64),
        /// A heartbeat of the number so far above the highest, or below.
        Last(i64),
        Settle,
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = (u64, Step)> {
        let step = prop_oneof![
            8 => (1..4_u64).prop_map(Step::Next),
            1 => (1..40_u64).prop_map(Step::Next),
            8 => (0..50_u64).prop_map(Step::Back),
            2 => (-20..20_i64).prop_map(Step::Last),
            1 => Just(Step::Settle),
            3 => (0..4000_u64).prop_map(Step::Pass),
        ];
        (1..3_u64, step)
    }

    /// What is missing, number by number.
    #[derive(Default)]
    struct Naive {
        highest: Option<u64>,
        first: u64,
        delivered: BTreeSet<u64>,
        /// The number, and since when.
        missing: BTreeMap<u64, Instant>,
        lost: u64,
    }

    impl Naive {
        /// All numbers up to this one are heard of now.
        fn reach(&mut self, seq: u64, now: Instant) {
            let from = self.highest.map_or(seq, |highest| highest + 1);
            self.missing.extend((from..=seq).map(|seq| (seq, now)));
            self.highest = self.highest.max(Some(seq));
        }

        fn see(&mut self, seq: u64, now: Instant) -> Seen {
            if self.highest.is_none() {
                self.first = seq;
            }
            self.reach(seq, now);
            if self.missing.remove(&seq).is_none() {
                return Seen::Duplicate;
            }
            assert!(self.delivered.insert(seq), "nothing is delivered twice");
            Seen::New
        }

        fn heard_last(&mut self, seq: u64, now: Instant) {
            if self.highest.is_none() {
                self.first = seq + 1;
                self.highest = Some(seq);
            }
            self.reach(seq, now);
        }

        fn give_up(&mut self, is_given_up: impl Fn(u64, Instant) -> bool) {
            self.missing.retain(|seq, since| {
                let is_lost = is_given_up(*seq, *since);
                self.lost += u64::from(is_lost);
                !is_lost
            });
        }

        /// Gives up the oldest run of missing numbers if there are too many runs.
        fn bound(&mut self) {
            let mut runs: Vec<(Instant, u64, u64)> = Vec::new();
            for (seq, since) in &self.missing {
                match runs.last_mut() {
                    Some((time, _, last)) if (*time, *last + 1) == (*since, *seq) => *last = *seq,
                    _ => runs.push((*since, *seq, *seq)),
                }
            }
            if runs.len() > MAX_HOLES {
                let (_, first, last) = *runs.iter().min().unwrap();
                self.give_up(|seq, _| (first..=last).contains(&seq));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        #[cfg_attr(miri, ignore = "to make up a case takes a minute there")]
        fn what_is_delivered_and_what_is_lost_is_everything(steps in vec(step(), 1..150)) {
            let (mut origins, mut now) = (Origins::new(), test_clock());
            let mut naive: BTreeMap<u64, Naive> = BTreeMap::new();
            for (origin, step) in steps {
                // Never the same instant twice: so runs of numbers are told apart by it.
                now += Duration::from_nanos(1);
                let model = naive.entry(origin).or_default();
                let highest = model.highest.unwrap_or(100);
                match step {
                    Step::Next(ahead) => {
                        let seq = highest + ahead;
                        prop_assert_eq!(see(&mut origins, origin, seq, now), model.see(seq, now));
                    }
                    Step::Back(back) => {
                        let seq = highest.saturating_sub(back);
                        prop_assert_eq!(see(&mut origins, origin, seq, now), model.see(seq, now));
                    }
                    Step::Last(ahead) => {
                        let seq = highest.saturating_add_signed(ahead);
                        origins.heard_last(origin, seq, now);
                        model.heard_last(seq, now);
                    }
                    Step::Settle => {
                        origins.settle(origin);
                        model.give_up(|_, _| true);
                    }
                    Step::Pass(millis) => {
                        now += Duration::from_millis(millis);
                        origins.advance(now);
                        for model in naive.values_mut() {
                            model.give_up(|_, since| since + PATIENCE <= now);
                        }
                    }
                }
                naive.get_mut(&origin).unwrap().bound();
                let deadline = origins.next_deadline();
                let due = naive.values().flat_map(|model| model.missing.values());
                let due = due.map(|since| *since + PATIENCE).min();
                prop_assert!(due.is_none_or(|due| deadline.is_some_and(|it| it <= due)));
            }
            let lost: u64 = naive.values().map(|model| model.lost).sum();
            prop_assert_eq!(origins.take_lost(), lost);
            // In the end whatever was owed was delivered or is counted.
            origins.settle_all();
            let missing = naive.values().filter_map(|model| {
                let owed = model.first..=model.highest?;
                Some(owed.filter(|seq| !model.delivered.contains(seq)).count() as u64)
            });
            prop_assert_eq!(lost + origins.take_lost(), missing.sum::<u64>());
        }
    }
}
