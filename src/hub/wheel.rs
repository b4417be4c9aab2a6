//! Who may be due when: a hashed timer wheel.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::client::ClientId;

/// Deadlines are met within one tick of it. Coarse enough that an idle server of thousands of
/// clients wakes at most 20 times a second.
const TICK: Duration = Duration::from_millis(50);

/// The wheel reaches a tick less than 51.2 s ahead. What is due later is put in the last slot,
/// fires early there and is put in again.
const SLOTS: usize = 1024;

/// The ticks at which clients want to be looked at.
///
/// The client's own deadline is the truth and the wheel holds hints: one that fires early, or for
/// a client who has left, costs a look and nothing else. So a deadline that moves (with every
/// message) needs no work here.
#[derive(Debug)]
pub(super) struct TimerWheel {
    /// The time of tick 0.
    start: Instant,
    /// The last tick of which nothing is left: entries are at `drained + 1 ..= drained + SLOTS`.
    drained: u64,
    slots: Box<[Vec<ClientId>]>,
    /// One bit a slot: whether it has entries.
    occupied: [u64; SLOTS / Self::WORD],
}

/// A point in time that the wheel can tell from its neighbours. No hint is at tick 0, the wheel's
/// own beginning, so that the place of a hint takes no more than its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(NonZeroU64);

impl TimerWheel {
    /// What it holds without entries, in bytes.
    pub(super) const BYTES: usize = size_of::<Self>() + SLOTS * size_of::<Vec<ClientId>>();

    const WORD: usize = u64::BITS as usize;

    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            drained: 0,
            slots: vec![Vec::new(); SLOTS].into_boxed_slice(),
            occupied: [0; SLOTS / Self::WORD],
        }
    }

    /// The first tick at which `deadline` has passed, and which comes behind `behind`; or the last
    /// one that the wheel reaches.
    pub(super) fn tick(&self, deadline: Instant, behind: Option<Tick>) -> Tick {
        let ticks = deadline
            .saturating_duration_since(self.start)
            .as_nanos()
            .div_ceil(TICK.as_nanos());
        let ticks = u64::try_from(ticks).unwrap_or(u64::MAX);
        let least = behind.map_or(0, |behind| behind.0.get() + 1);
        let reach = self.drained + SLOTS as u64 - 1;
        Tick::from(ticks.max(least).clamp(self.drained + 1, reach))
    }

    /// Moves an empty wheel to the present, so that it need not be turned there tick by tick.
    pub(super) fn catch_up(&mut self, now: Instant) {
        if self.next_tick().is_none() {
            self.drained = self.drained.max(self.ticks_until(now));
        }
    }

    /// The last tick that has come, or the first one if none has.
    pub(super) fn reached(&self, now: Instant) -> Tick {
        Tick::from(self.ticks_until(now))
    }

    fn ticks_until(&self, now: Instant) -> u64 {
        let ticks = now.saturating_duration_since(self.start).as_nanos() / TICK.as_nanos();
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// Enters a hint at a tick that [`tick`](Self::tick) has just given.
    pub(super) fn insert(&mut self, id: ClientId, tick: Tick) {
        let slot = slot(tick.0.get());
        self.slots[slot].push(id);
        self.occupied[slot / Self::WORD] |= 1 << (slot % Self::WORD);
    }

    /// Takes out one hint whose tick has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(ClientId, Tick)> {
        let reached = self.ticks_until(now);
        let Some(next) = self.next_tick().filter(|next| *next <= reached) else {
            self.drained = self.drained.max(reached);
            return None;
        };
        self.drained = next - 1;
        let slot = slot(next);
        let id = self.slots[slot].pop()?;
        if self.slots[slot].is_empty() {
            // A slot that was crowded once must not keep the memory.
            self.slots[slot] = Vec::new();
            self.occupied[slot / Self::WORD] &= !(1 << (slot % Self::WORD));
        }
        // The wheel has one slot for each tick that it reaches, so all of a slot is of one tick.
        Some((id, Tick::from(next)))
    }

    /// When the next hint's tick comes.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let nanos = TICK.as_nanos().checked_mul(u128::from(self.next_tick()?))?;
        self.start
            .checked_add(Duration::from_nanos(u64::try_from(nanos).ok()?))
    }

    /// The tick of the next slot that has entries: at most `SLOTS / 64 + 1` words are looked at.
    fn next_tick(&self) -> Option<u64> {
        let first = slot(self.drained + 1);
        // The word of the first slot is looked at twice: its upper bits first, its lower ones last.
        let upper = u64::MAX << (first % Self::WORD);
        let words = self.occupied.len();
        (0..=words).find_map(|i| {
            let word = (first / Self::WORD + i) % words;
            let mask = if i == 0 {
                upper
            } else if i == words {
                !upper
            } else {
                u64::MAX
            };
            let bits = self.occupied[word] & mask;
            let slot = word * Self::WORD + bits.trailing_zeros() as usize;
            (bits != 0).then(|| self.drained + 1 + ((slot + SLOTS - first) % SLOTS) as u64)
        })
    }
}

impl From<u64> for Tick {
    fn from(ticks: u64) -> Self {
        Self(NonZeroU64::new(ticks).unwrap_or(NonZeroU64::MIN))
    }
}

fn slot(tick: u64) -> usize {
    usize::try_from(tick % SLOTS as u64).expect("less than SLOTS")
}

const _: () = assert!(SLOTS.is_power_of_two() && SLOTS >= TimerWheel::WORD);

#[cfg(test)]
mod tests {
    use super::*;

    const START: fn() -> Instant = crate::hub::test_clock;

    fn id(index: u32) -> ClientId {
        ClientId::new(index, 1)
    }

    fn drain(wheel: &mut TimerWheel, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| wheel.pop(now))
            .map(|(id, _)| id.index_u32())
            .collect()
    }

    fn insert(wheel: &mut TimerWheel, index: u32, deadline: Instant) {
        let tick = wheel.tick(deadline, None);
        wheel.insert(id(index), tick);
    }

    #[test]
    fn a_deadline_fires_never_early_and_at_most_a_tick_late() {
        let start = START();
        for millis in [1, 49, 50, 51, 100, 1_234, 51_000] {
            let deadline = start + Duration::from_millis(millis);
            let mut wheel = TimerWheel::new(start);
            insert(&mut wheel, 7, deadline);
            let just_before = start + Duration::from_nanos(millis * 1_000_000 - 1);
            assert_eq!(drain(&mut wheel, just_before), []);
            let next = wheel.next_deadline().unwrap();
            assert!(next >= deadline && next < deadline + TICK);
            assert_eq!(drain(&mut wheel, next), [7]);
            assert_eq!(wheel.next_deadline(), None);
        }
    }

    #[test]
    fn what_is_out_of_reach_fires_early_and_can_be_put_in_again() {
        let start = START();
        let mut wheel = TimerWheel::new(start);
        let deadline = start + Duration::from_secs(120);
        insert(&mut wheel, 1, deadline);
        let mut now = start;
        for _ in 0..3 {
            now = wheel.next_deadline().unwrap();
            assert_eq!(drain(&mut wheel, now), [1]);
            insert(&mut wheel, 1, deadline);
        }
        assert!(now >= deadline);
    }

    #[test]
    #[cfg_attr(miri, ignore = "three turns of the wheel take minutes there")]
    fn the_next_slot_is_found_across_the_wrap_and_after_long_sleep() {
        let start = START();
        let mut wheel = TimerWheel::new(start);
        for offset in 0..3 * SLOTS as u64 {
            let now = start + TICK * u32::try_from(offset * 7).unwrap();
            assert_eq!(drain(&mut wheel, now), []);
            for ahead in [1, 63, 64, 65, 1022, 1023] {
                let at = now + TICK * ahead;
                insert(&mut wheel, ahead, at);
                assert_eq!(wheel.next_deadline(), Some(at));
                assert_eq!(wheel.pop(at), Some((id(ahead), wheel.tick(at, None))));
                // Back to where this round began, as if the entry had been due right away.
                wheel.drained = offset * 7;
            }
        }
    }

    #[test]
    fn a_deadline_that_has_passed_fires_at_the_next_tick() {
        let start = START();
        let mut wheel = TimerWheel::new(start);
        let now = start + Duration::from_secs(10);
        assert_eq!(drain(&mut wheel, now), []);
        insert(&mut wheel, 3, start);
        assert_eq!(drain(&mut wheel, now + TICK), [3]);
    }
}

#[cfg(test)]
mod properties {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        /// Somebody is due so many milliseconds from now, or was so many ago.
        Insert(i64),
        /// So many milliseconds pass, and everything that is due is taken out.
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (-100..2_000_i64).prop_map(Step::Insert),
            1 => (0..150_000_i64).prop_map(Step::Insert),
            2 => (0..300_u64).prop_map(Step::Pass),
            1 => (0..100_000_u64).prop_map(Step::Pass),
        ]
    }

    /// Who is due when, and how far the wheel had turned when that became known, in order of the
    /// deadlines.
    type List = Vec<(Instant, Instant, ClientId)>;

    fn enter(
        wheel: &mut TimerWheel,
        list: &mut List,
        id: ClientId,
        deadline: Instant,
        now: Instant,
    ) {
        wheel.catch_up(now);
        let tick = wheel.tick(deadline, None);
        wheel.insert(id, tick);
        let since = wheel.start + TICK * u32::try_from(wheel.drained).unwrap();
        list.push((deadline, since, id));
        list.sort_by_key(|(deadline, ..)| *deadline);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        #[cfg_attr(miri, ignore = "to make up a case takes a minute there")]
        fn the_wheel_is_a_sorted_list_but_for_a_tick(steps in vec(step(), 1..60)) {
            let reach = TICK * (u32::try_from(SLOTS).unwrap() - 2);
            let mut now = crate::hub::test_clock();
            let (mut wheel, mut list) = (TimerWheel::new(now), List::new());
            for (index, step) in (0..).zip(steps) {
                match step {
                    Step::Insert(millis) => {
                        let distance = Duration::from_millis(millis.unsigned_abs());
                        let deadline = if millis < 0 {
                            now.checked_sub(distance).unwrap_or(now)
                        } else {
                            now + distance
                        };
                        enter(&mut wheel, &mut list, ClientId::new(index, 1), deadline, now);
                    }
                    Step::Pass(millis) => now += Duration::from_millis(millis),
                }
                while let Some((id, _)) = wheel.pop(now) {
                    let position = list.iter().position(|(.., other)| *other == id);
                    let (deadline, since, _) = list.remove(position.expect("it was put in once"));
                    if deadline > now {
                        prop_assert!(deadline - since >= reach, "it was in reach and fired early");
                        enter(&mut wheel, &mut list, id, deadline, now);
                    }
                }
                if let Some((first, ..)) = list.first() {
                    let is_late = |(deadline, since, _): &(Instant, Instant, ClientId)| {
                        *deadline.max(since) + TICK <= now
                    };
                    prop_assert!(!list.iter().any(is_late), "somebody is late by a tick");
                    let next = wheel.next_deadline().expect("somebody is in there");
                    prop_assert!(next > now && next <= (*first).max(now) + TICK);
                } else {
                    prop_assert_eq!(wheel.next_deadline(), None);
                }
            }
        }
    }
}
