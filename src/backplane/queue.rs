//! What Redis has not acknowledged yet.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::entry::Entry;

/// What Redis has not acknowledged yet, in the order in which it was said: first what is on its
/// way, then what has not been sent on this connection.
///
/// Bounded in bytes and in age; beyond, the oldest goes. That may be one on its way: its
/// acknowledgement, when it comes, names it and so takes nobody else out.
#[derive(Debug)]
pub(super) struct Queue {
    max_bytes: usize,
    max_age: Duration,
    /// In order of their numbers.
    entries: VecDeque<Queued>,
    /// How many of them, from the front, have been sent on this connection.
    sent: usize,
    /// What all of them cost.
    bytes: usize,
}

#[derive(Debug)]
struct Queued {
    entry: Rc<Entry>,
    /// Since when it waits.
    since: Instant,
    /// Whether it has been sent before, on whatever connection.
    was_sent: bool,
}

/// What is to be sent next.
#[derive(Debug)]
pub(super) struct Unsent {
    /// The message.
    pub(super) entry: Rc<Entry>,
    /// Whether it has been sent before, on another connection: others may know it.
    pub(super) is_repeated: bool,
}

impl Queue {
    pub(super) fn new(max_bytes: usize, max_age: Duration) -> Self {
        Self {
            max_bytes,
            max_age,
            entries: VecDeque::new(),
            sent: 0,
            bytes: 0,
        }
    }

    /// Takes the newest message, and drops the oldest until all that is left fits in; the message
    /// itself if it never can. Returns how many were dropped.
    pub(super) fn push(&mut self, entry: Rc<Entry>) -> u64 {
        let since = entry.said_at();
        self.put(Queued {
            entry,
            since,
            was_sent: false,
        })
    }

    /// Takes a message back that was acknowledged, and that Redis has lost: it goes where its
    /// number belongs, and waits from now on. Nothing has been sent since the last
    /// [`rewind`](Self::rewind). Returns how many were dropped.
    pub(super) fn put_back(&mut self, entry: Rc<Entry>, now: Instant) -> u64 {
        self.put(Queued {
            entry,
            since: now,
            was_sent: true,
        })
    }

    fn put(&mut self, queued: Queued) -> u64 {
        let cost = queued.entry.cost();
        if cost > self.max_bytes {
            return 1;
        }
        let Err(index) = self.position(queued.entry.seq()) else {
            return 0; // it is here already
        };
        assert!(index >= self.sent, "what is on its way keeps its order");
        self.bytes += cost;
        self.entries.insert(index, queued);
        let mut dropped = 0;
        while self.bytes > self.max_bytes {
            self.drop_oldest();
            dropped += 1;
        }
        dropped
    }

    /// Drops what has waited for too long, from the oldest on: behind what was put back others
    /// wait a little longer. Returns how many that were.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut dropped = 0;
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.drop_oldest();
            dropped += 1;
        }
        dropped
    }

    /// When the oldest will have waited for too long.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.oldest().map(|since| since + self.max_age)
    }

    /// The next message to send, which counts as sent now.
    pub(super) fn next_unsent(&mut self) -> Option<Unsent> {
        let next = self.entries.get_mut(self.sent)?;
        let is_repeated = std::mem::replace(&mut next.was_sent, true);
        self.sent += 1;
        Some(Unsent {
            entry: Rc::clone(&next.entry),
            is_repeated,
        })
    }

    /// Redis has this message. `None` if it is not here: it was dropped, or another connection has
    /// acknowledged it.
    pub(super) fn ack(&mut self, seq: u64) -> Option<Rc<Entry>> {
        let index = self.position(seq).ok()?;
        let Queued { entry, .. } = self.entries.remove(index)?;
        if index < self.sent {
            self.sent -= 1;
        }
        self.bytes -= entry.cost();
        Some(entry)
    }

    /// A message that waits here.
    pub(super) fn get(&self, seq: u64) -> Option<&Rc<Entry>> {
        let index = self.position(seq).ok()?;
        self.entries.get(index).map(|queued| &queued.entry)
    }

    /// The connection is another one: nothing has been sent on it.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// The connection is another one, and nobody could tell a message that comes twice: what was on
    /// its way is dropped. Returns how many that were.
    pub(super) fn drop_sent(&mut self) -> u64 {
        let dropped = self.sent as u64;
        while self.sent > 0 {
            self.drop_oldest();
        }
        dropped
    }

    /// The number of the oldest message that is here.
    pub(super) fn first_unacked(&self) -> Option<u64> {
        self.entries.front().map(|queued| queued.entry.seq())
    }

    /// The number of the oldest message that has not been sent on this connection.
    pub(super) fn first_unsent(&self) -> Option<u64> {
        self.entries.get(self.sent).map(|queued| queued.entry.seq())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many wait to be sent on this connection.
    #[cfg(test)]
    pub(super) fn unsent(&self) -> usize {
        self.entries.len() - self.sent
    }

    /// What all that wait cost, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Since when the oldest waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.entries.front().map(|queued| queued.since)
    }

    fn drop_oldest(&mut self) {
        if let Some(queued) = self.entries.pop_front() {
            self.bytes -= queued.entry.cost();
            self.sent = self.sent.saturating_sub(1);
        }
    }

    fn position(&self, seq: u64) -> Result<usize, usize> {
        // Acknowledgements come in order, but for a few, and so do messages.
        match (self.entries.front(), self.entries.back()) {
            (Some(first), _) if first.entry.seq() == seq => Ok(0),
            (_, Some(last)) if last.entry.seq() < seq => Err(self.entries.len()),
            _ => self
                .entries
                .binary_search_by_key(&seq, |queued| queued.entry.seq()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::backplane::entry::test_entry;
    use crate::hub::test_clock;

    const MAX_AGE: Duration = Duration::from_secs(30);

    fn numbers(queue: &mut Queue) -> Vec<u64> {
        std::iter::from_fn(|| queue.next_unsent())
            .map(|unsent| unsent.entry.seq())
            .collect()
    }

    #[test]
    fn the_oldest_goes_when_it_is_full() {
        let now = test_clock();
        let cost = test_entry(1, 10, now).cost();
        let mut queue = Queue::new(3 * cost, MAX_AGE);
        for seq in 1..=3 {
            assert_eq!(queue.push(test_entry(seq, 10, now)), 0);
        }
        assert_eq!(queue.push(test_entry(4, 10, now)), 1);
        assert_eq!((queue.len(), queue.bytes()), (3, 3 * cost));
        assert_eq!(numbers(&mut queue), [2, 3, 4]);
    }

    #[test]
    fn what_never_fits_in_drops_nobody_else() {
        let now = test_clock();
        let mut queue = Queue::new(test_entry(1, 100, now).cost(), MAX_AGE);
        assert_eq!(queue.push(test_entry(1, 100, now)), 0, "it just fits in");
        assert_eq!(queue.push(test_entry(2, 101, now)), 1);
        assert_eq!(numbers(&mut queue), [1]);
    }

    #[test]
    fn the_acknowledgement_of_what_was_dropped_takes_nobody_out() {
        let now = test_clock();
        let cost = test_entry(1, 10, now).cost();
        let mut queue = Queue::new(2 * cost, MAX_AGE);
        queue.push(test_entry(1, 10, now));
        queue.push(test_entry(2, 10, now));
        assert_eq!(numbers(&mut queue), [1, 2]);
        assert_eq!(
            queue.push(test_entry(3, 10, now)),
            1,
            "number 1 is on its way"
        );
        assert!(queue.ack(1).is_none());
        assert_eq!(queue.len(), 2);
        assert_eq!(numbers(&mut queue), [3], "number 2 is not sent again");
        assert_eq!(queue.ack(2).unwrap().seq(), 2);
        assert_eq!(queue.ack(3).unwrap().seq(), 3);
        assert!(queue.is_empty());
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn after_a_rewind_all_are_sent_again_and_known_as_repeated() {
        let now = test_clock();
        let mut queue = Queue::new(10_000, MAX_AGE);
        queue.push(test_entry(1, 0, now));
        queue.push(test_entry(2, 0, now));
        assert!(!queue.next_unsent().unwrap().is_repeated);
        queue.rewind();
        assert_eq!(queue.unsent(), 2);
        assert!(queue.next_unsent().unwrap().is_repeated);
        assert!(!queue.next_unsent().unwrap().is_repeated);
        assert!(queue.next_unsent().is_none());
    }

    #[test]
    fn the_acknowledgement_of_what_is_not_on_its_way_again_leaves_the_others_there() {
        let now = test_clock();
        let mut queue = Queue::new(10_000, MAX_AGE);
        for seq in 1..=3 {
            queue.push(test_entry(seq, 0, now));
        }
        assert_eq!(numbers(&mut queue), [1, 2, 3]);
        queue.rewind();
        assert_eq!(queue.next_unsent().unwrap().entry.seq(), 1);
        assert!(
            queue.ack(3).is_some(),
            "the other connection has brought it"
        );
        assert_eq!(queue.unsent(), 1);
        assert_eq!(numbers(&mut queue), [2]);
    }

    #[test]
    fn what_is_put_back_goes_where_its_number_belongs_and_waits_anew() {
        let now = test_clock();
        let mut queue = Queue::new(10_000, MAX_AGE);
        for seq in [3, 6] {
            queue.push(test_entry(seq, 0, now));
        }
        let later = now + MAX_AGE / 2;
        for seq in [1, 5, 2, 5] {
            assert_eq!(queue.put_back(test_entry(seq, 0, now), later), 0);
        }
        assert_eq!(queue.expire(now + MAX_AGE), 0);
        assert_eq!(numbers(&mut queue), [1, 2, 3, 5, 6]);
        assert_eq!(queue.expire(later + MAX_AGE), 5);
    }

    #[test]
    fn both_sides_of_the_age() {
        let now = test_clock();
        let mut queue = Queue::new(10_000, MAX_AGE);
        queue.push(test_entry(1, 0, now));
        let deadline = queue.next_deadline().unwrap();
        queue.push(test_entry(2, 0, now + Duration::from_nanos(1)));
        assert_eq!(
            queue.expire(now + MAX_AGE.saturating_sub(Duration::from_nanos(1))),
            0
        );
        assert_eq!(queue.expire(deadline), 1);
        assert_eq!(numbers(&mut queue), [2]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// A message of so many bytes is said.
        Say(usize),
        /// So many are sent.
        Send(usize),
        /// The connection answers so many requests.
        Answer(usize),
        /// The connection before answers so many: it was drained beside the new one.
        AnswerLate(usize),
        /// One request is answered out of order: it went another way.
        AnswerOther(usize),
        Reconnect,
        /// That many seconds pass.
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..300_usize).prop_map(Step::Say),
            4 => (0..6_usize).prop_map(Step::Send),
            4 => (0..6_usize).prop_map(Step::Answer),
            1 => (0..6_usize).prop_map(Step::AnswerLate),
            1 => (0..6_usize).prop_map(Step::AnswerOther),
            1 => Just(Step::Reconnect),
            1 => (0..20_u64).prop_map(Step::Pass),
        ]
    }

    /// A list, and who of it is on its way.
    #[derive(Default)]
    struct Model {
        waiting: Vec<(Rc<Entry>, bool)>,
        /// The requests that are not answered, oldest first; and those of the connection before.
        asked: VecDeque<u64>,
        asked_before: VecDeque<u64>,
        dropped: Vec<u64>,
        acked: Vec<u64>,
    }

    impl Model {
        fn bytes(&self) -> usize {
            self.waiting.iter().map(|(entry, _)| entry.cost()).sum()
        }

        /// Drops the oldest `count`.
        fn drop_oldest(&mut self, count: u64) {
            for _ in 0..count {
                self.dropped.push(self.waiting.remove(0).0.seq());
            }
        }

        fn answer(&mut self, queue: &mut Queue, seq: u64) -> Result<(), TestCaseError> {
            let place = self
                .waiting
                .iter()
                .position(|(entry, _)| entry.seq() == seq);
            let acked = queue.ack(seq).map(|entry| entry.seq());
            prop_assert_eq!(acked, place.map(|_| seq));
            if let Some(place) = place {
                self.waiting.remove(place);
                self.acked.push(seq);
            }
            Ok(())
        }

        fn step(
            &mut self,
            queue: &mut Queue,
            step: &Step,
            said: &mut u64,
            now: &mut Instant,
        ) -> Result<(), TestCaseError> {
            match *step {
                Step::Say(len) => {
                    *said += 1;
                    let entry = test_entry(*said, len, *now);
                    self.waiting.push((Rc::clone(&entry), false));
                    let dropped = queue.push(entry);
                    self.drop_oldest(dropped);
                    prop_assert!(dropped == 0 || self.bytes() + 500 > MODEL_BYTES, "in need");
                }
                Step::Send(count) => {
                    for _ in 0..count {
                        let next = self.waiting.iter_mut().find(|(_, is_sent)| !is_sent);
                        let sent = queue.next_unsent().map(|unsent| unsent.entry.seq());
                        prop_assert_eq!(sent, next.as_ref().map(|(entry, _)| entry.seq()));
                        if let Some((entry, is_sent)) = next {
                            *is_sent = true;
                            self.asked.push_back(entry.seq());
                        }
                    }
                }
                Step::Answer(count) => {
                    for _ in 0..count {
                        if let Some(seq) = self.asked.pop_front() {
                            self.answer(queue, seq)?;
                        }
                    }
                }
                Step::AnswerLate(count) => {
                    for _ in 0..count {
                        if let Some(seq) = self.asked_before.pop_front() {
                            self.answer(queue, seq)?;
                        }
                    }
                }
                Step::AnswerOther(which) => {
                    if let Some(seq) = self.asked.remove(which) {
                        self.answer(queue, seq)?;
                    }
                }
                Step::Reconnect => {
                    self.asked_before = std::mem::take(&mut self.asked);
                    self.waiting
                        .iter_mut()
                        .for_each(|(_, is_sent)| *is_sent = false);
                    queue.rewind();
                }
                Step::Pass(seconds) => {
                    *now += Duration::from_secs(seconds);
                    let old = |entry: &Entry| entry.said_at() + MAX_AGE <= *now;
                    let count = self.waiting.iter().filter(|(entry, _)| old(entry)).count();
                    prop_assert_eq!(queue.expire(*now), count as u64);
                    self.drop_oldest(count as u64);
                }
            }
            Ok(())
        }
    }

    const MODEL_BYTES: usize = 2000;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        #[cfg_attr(miri, ignore = "to make up a case takes a minute there")]
        fn the_queue_is_a_list_with_bounds(steps in vec(step(), 1..120)) {
            let (mut queue, mut model) = (Queue::new(MODEL_BYTES, MAX_AGE), Model::default());
            let (mut said, mut now) = (0, test_clock());
            for step in steps {
                model.step(&mut queue, &step, &mut said, &mut now)?;
                prop_assert!(queue.bytes() <= MODEL_BYTES);
                prop_assert_eq!(queue.bytes(), model.bytes());
                prop_assert_eq!(queue.len(), model.waiting.len());
                let unsent = model.waiting.iter().filter(|(_, is_sent)| !is_sent).count();
                prop_assert_eq!(queue.unsent(), unsent);
            }
            // Everything that was said waits, was acknowledged or was dropped: once.
            let mut all: Vec<u64> = model.waiting.iter().map(|(entry, _)| entry.seq()).collect();
            all.extend(model.dropped.iter().chain(&model.acked));
            all.sort_unstable();
            prop_assert_eq!(all, (1..=said).collect::<Vec<_>>());
        }
    }
}
