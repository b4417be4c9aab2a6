//! What was lost, and whether it may be, and whether it was counted.

use std::collections::BTreeSet;
use std::time::Duration;

use super::counters::Counters;
use super::ledger::{Key, Message, bit};
use super::node::Process;
use super::plan::{Fault, Refusal};
use super::settings::Temper;
use super::world::World;

/// How late a message may come, and how long one is held at most that came on a connection which
/// must not be heard yet.
const LATE: Duration = Duration::from_secs(10);
const HELD: Duration = Duration::from_secs(9);

/// How long a server keeps what a stream has acknowledged, with a margin.
const KEPT: Duration = Duration::from_secs(25);

/// How far a server goes back in a stream when it comes back, but not behind where it began.
const OVERLAP: Duration = Duration::from_secs(5);

/// What a receiver misses of somebody.
#[derive(Debug, Default)]
struct Missing {
    messages: Vec<Key>,
    /// How many of them it must have counted.
    owed: u64,
}

impl World {
    /// Compares all that was said with all that was heard and counted.
    pub(super) fn compare(&mut self) {
        self.tally.lives = self.ledger.lives.len() as u64;
        let nodes = std::mem::take(&mut self.nodes);
        let lives: Vec<&Process> = nodes
            .iter()
            .filter_map(|node| node.life.as_deref())
            .collect();
        let mut dropped = vec![0; self.ledger.lives.len()];
        for life in &lives {
            let counters = Counters::of(&life.backplane, self.instant());
            dropped[life.who] = counters.dropped;
            self.compare_sender(life, &counters);
        }
        for life in &lives {
            self.compare_receiver(life, &dropped);
        }
        drop(lives);
        self.nodes = nodes;
    }

    /// Each message was acknowledged, dropped, or both: once for each time that it was queued.
    fn compare_sender(&mut self, life: &Process, counters: &Counters) {
        let messages = self.ledger.lives[life.who].messages.iter();
        let said = messages.filter(|message| message.number > 0).count() as u64;
        let waiting = life.backplane.unacknowledged() as u64;
        assert_eq!(waiting, 0, "I9: Redis has not acknowledged everything");
        // What the stream has lost is queued once more; of that some may be dropped at once.
        let queued = said + self.ledger.lives[life.who].replayed;
        assert_eq!(
            counters.acked + counters.dropped,
            queued,
            "I5: life {} has queued {queued}: {counters:?}",
            life.who
        );
        assert_eq!(counters.peers, self.alive() - 1, "I9: peers");
        let tally = &mut self.tally;
        tally.dropped += counters.dropped;
        tally.resent += counters.resent;
        tally.replayed += counters.replayed;
        tally.duplicates += counters.duplicates;
        tally.gaps += counters.gaps;
        tally.missed += counters.missed;
        tally.diverted += counters.diverted;
        if self.settings.temper == Temper::Calm {
            let Counters {
                resent,
                gaps,
                missed,
                replayed,
                ..
            } = *counters;
            let sum = resent + gaps + missed + replayed + counters.dropped;
            assert_eq!(sum, 0, "nothing was wrong: {counters:?}");
        }
    }

    fn alive(&self) -> u64 {
        let lives = self.ledger.lives.iter();
        lives.filter(|life| !life.has_died).count() as u64
    }

    /// What was not heard was lost for a reason, and counted.
    fn compare_receiver(&mut self, life: &Process, dropped: &[u64]) {
        let by = life.who;
        let counters = Counters::of(&life.backplane, self.instant());
        let (mut least, mut most) = (0, 0);
        for (who, budget) in dropped.iter().copied().enumerate() {
            if who == by {
                continue;
            }
            let missing = self.missing(who, by);
            least += missing.owed;
            most += missing.messages.len() as u64;
            self.tally.lost += missing.messages.len() as u64;
            let mut unexplained = missing.messages;
            unexplained.retain(|key| !self.may_be_lost(*key, by));
            // What was dropped before Redis had it, nobody can have heard.
            let is_dropped = |key: &Key| {
                let fate = self.ledger.lives[key.0].messages[key.1].fate;
                !fate.is_published && fate.added_at.is_none() || budget > 0
            };
            let is_explained =
                unexplained.len() as u64 <= budget && unexplained.iter().all(is_dropped);
            assert!(
                is_explained,
                "I8: life {by} has not heard {:?} of {who}, and nothing explains it \
                 ({budget} were dropped)",
                unexplained
                    .iter()
                    .map(|key| (key.1, &self.ledger.lives[key.0].messages[key.1]))
                    .next(),
            );
        }
        let is_counted = !self.settings.is_raw;
        let range = if is_counted { least..=most } else { 0..=0 };
        assert!(
            range.contains(&counters.gaps),
            "I5: life {by} misses {range:?}, and counts {counters:?}"
        );
        // A Redis that does not count what was ever added cannot tell what is gone of it.
        if self.settings.temper == Temper::Short && self.settings.counts_added {
            let unread = self.ledger.unread(by) as u64;
            assert_eq!(counters.missed, unread, "I5: entries missed by life {by}");
        }
        self.compare_received(by, &counters);
    }

    /// What it says that it has heard of others is what it has heard.
    fn compare_received(&self, by: usize, counters: &Counters) {
        let lives = self.ledger.lives.iter().enumerate();
        let others = lives.filter(|(who, _)| *who != by);
        let messages = others.flat_map(|(_, life)| &life.messages);
        let heard = messages
            .filter(|message| message.heard & bit(by) != 0)
            .count();
        let outsiders = self
            .ledger
            .outsiders_heard(by)
            .map(usize::from)
            .sum::<usize>();
        assert_eq!(
            counters.received,
            (heard + outsiders) as u64,
            "of life {by}"
        );
        let is_gentle = self.settings.temper != Temper::Rough;
        for times in self.ledger.outsiders_heard(by).filter(|_| is_gentle) {
            assert!(times <= 1, "I1: what is raw is heard {times} times");
        }
    }

    /// What somebody has said and somebody else has not heard.
    fn missing(&self, who: usize, by: usize) -> Missing {
        let mut missing = Missing::default();
        let (speaker, hearer) = (&self.ledger.lives[who], &self.ledger.lives[by]);
        for (shard, numbered) in self.ledger.numbered(who) {
            let contact = hearer.first_contact.get(&(who, shard)).copied();
            let is_heard = |index: &usize| speaker.messages[*index].heard & bit(by) != 0;
            let last_heard = numbered.iter().rposition(&is_heard);
            for (place, index) in numbered.iter().enumerate() {
                if is_heard(index) {
                    continue;
                }
                missing.messages.push((who, *index));
                let is_behind_contact = contact.is_some_and(|said| *index >= said);
                let is_before_last = last_heard.is_some_and(|last| place < last);
                missing.owed += u64::from(is_behind_contact && is_before_last);
            }
        }
        missing
    }

    /// Whether there is a reason for which a message may not be heard by somebody.
    fn may_be_lost(&self, key: Key, by: usize) -> bool {
        let message = &self.ledger.lives[key.0].messages[key.1];
        let hearer = &self.ledger.lives[by];
        if hearer.joined.is_none_or(|joined| message.said_at < joined) {
            return true;
        }
        if self.must_be_heard(message, by) {
            return false;
        }
        let is_here = message.arrived & bit(by) != 0;
        if is_here && self.may_be_passed_over(key, by) {
            return true;
        }
        if self.settings.is_stream {
            self.may_be_lost_by_stream(key, by, is_here)
        } else {
            let fate = message.fate;
            let has_died = self.ledger.lives[key.0].has_died;
            if fate.is_published {
                !is_here
            } else {
                has_died || self.settings.is_raw
            }
        }
    }

    /// Whether the one thing that goes wrong is no reason for a message to be lost on a node, for
    /// Pub/Sub. With a stream, reasons are looked at one by one.
    fn must_be_heard(&self, message: &Message, by: usize) -> bool {
        if self.settings.is_stream || self.settings.is_raw {
            return false;
        }
        let Some(fault) = self.settings.single else {
            return self.settings.temper == Temper::Calm;
        };
        match fault {
            Fault::Stop { .. }
            | Fault::Dawdle { .. }
            | Fault::Slow { .. }
            | Fault::Hole { .. }
            | Fault::Freeze
            | Fault::Refuse {
                what: Refusal::Memory,
            }
            | Fault::Trim { .. }
            | Fault::Delete => true,
            // It was away itself.
            Fault::Cut { node: cut, .. } | Fault::HangUp { node: cut } => {
                cut != self.ledger.lives[by].node
            }
            // Nothing is sent to a Redis that has just come back before the others are there.
            Fault::Crash { .. } => message.pushed & bit(by) == 0,
            // Who finds that it is no master any longer leaves it, one server before another.
            Fault::Demote | Fault::Kill { .. } | Fault::Failover { .. } | Fault::Refuse { .. } => {
                false
            }
        }
    }

    /// Whether a message that has arrived may not be heard: it was late, or on a connection that
    /// was given up before it was to be heard, or another copy of what was published before.
    fn may_be_passed_over(&self, key: Key, by: usize) -> bool {
        let message = &self.ledger.lives[key.0].messages[key.1];
        if message.fate.first_to.is_some_and(|to| to & bit(by) == 0) {
            return true;
        }
        let said_at = message.said_at;
        let arrivals = self.held.iter();
        let mut arrivals = arrivals.filter(|(who, held, ..)| (*who, *held) == (by, key));
        arrivals.all(|(_, _, conn, at)| {
            let closed = self.closed.get(conn);
            let is_given_up = closed.is_some_and(|closed| *closed <= *at + HELD);
            is_given_up || said_at + LATE <= *at
        })
    }

    fn may_be_lost_by_stream(&self, key: Key, by: usize, is_here: bool) -> bool {
        let fate = self.ledger.lives[key.0].messages[key.1].fate;
        let speaker = &self.ledger.lives[key.0];
        let is_diverted = fate.is_published && !is_here;
        if self.settings.is_narrow() || self.is_skewed {
            return true;
        }
        if fate.is_removed || is_diverted || is_here {
            return fate.is_removed || is_diverted;
        }
        let Some(added_at) = fate.added_at else {
            return speaker.has_died;
        };
        if self.is_taken_for_older(added_at, by) {
            return true;
        }
        let is_old = self.losses.iter().any(|loss| added_at + KEPT < *loss);
        !self.is_in_stream(key) && (speaker.has_died || is_old || self.is_trimmed)
    }

    /// Whether somebody had begun to read just before the stream lost its end and its clock went
    /// back: what was added then may have an ID from before the beginning.
    fn is_taken_for_older(&self, added_at: Duration, by: usize) -> bool {
        let began = self.ledger.lives[by].joined.unwrap_or_default();
        self.setbacks.iter().any(|(at, until)| {
            let has_just_begun = (began..=began + OVERLAP).contains(at);
            has_just_begun && (*at..=*until).contains(&added_at)
        })
    }

    /// Whether a message is in the stream in the end.
    fn is_in_stream(&self, key: Key) -> bool {
        let message = &self.ledger.lives[key.0].messages[key.1];
        let streams = self.servers[self.leader].streams.values();
        let entries = streams.flat_map(|stream| &stream.entries);
        let mut values = entries.map(|entry| entry.words.last().expect("a value"));
        values.any(|value| message.is_in(value))
    }

    /// What holds for one that has died, and that nobody waits for.
    pub(super) fn check_dead(&mut self, life: &Process) {
        let counters = Counters::of(&life.backplane, self.instant());
        let others = (0..self.ledger.lives.len()).filter(|who| *who != life.who);
        let missing: BTreeSet<Key> = others
            .flat_map(|who| self.missing(who, life.who).messages)
            .collect();
        assert!(
            counters.gaps <= missing.len() as u64,
            "I5: life {} misses {}, and counts {counters:?}",
            life.who,
            missing.len()
        );
    }
}
