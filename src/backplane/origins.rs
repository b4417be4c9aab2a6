//! What has been heard of whom.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Origins that are known at most; then the one that was silent longest goes.
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
    /// All of them by when they were touched: the one silent longest is first.
    by_silence: BTreeSet<(Instant, u64)>,
    /// Those with holes by when the oldest hole is to be given up, or before.
    by_patience: BTreeSet<(Instant, u64)>,
    /// Messages given up since [`Origins::take_lost`].
    lost: u64,
}

#[derive(Debug)]
struct Origin {
    /// The highest number that was heard, or heard of.
    highest: u64,
    /// Missing numbers below it, the oldest knowledge first.
    holes: Vec<Hole>,
    /// When it was heard, to within [`TOUCH`]: its place in `by_silence`.
    touched: Instant,
    /// Its place in `by_patience`.
    patience: Option<Instant>,
}

/// Numbers that are missing.
#[derive(Clone, Copy, Debug)]
struct Hole {
    first: u64,
    last: u64,
    since: Instant,
    /// Whether they are lost if they do not come: not if they may have been said before we
    /// listened.
    is_owed: bool,
}

impl Origins {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A message of an origin has come. The first one of all is where we begin to listen: those
    /// before it are not missing.
    pub(super) fn see(&mut self, origin: u64, seq: u64, now: Instant) -> Seen {
        let Some(known) = self.known.get_mut(&origin) else {
            self.begin(origin, seq, now);
            return Seen::New;
        };
        touch(&mut self.by_silence, known, origin, now);
        if seq > known.highest {
            let missing = known.highest + 1;
            known.highest = seq;
            if missing < seq {
                self.open(origin, missing, seq - 1, true, now);
            }
            Seen::New
        } else if known.fill(seq) {
            Seen::New
        } else {
            Seen::Duplicate
        }
    }

    /// An origin says that it has sent messages up to this one: what is missing at the end is
    /// missing too. Of an unknown one what was sent may still be on its way to us, or have been
    /// sent before we listened: it is new if it comes, and not lost if it does not.
    pub(super) fn heard_last(&mut self, origin: u64, last: u64, now: Instant) {
        let Some(known) = self.known.get_mut(&origin) else {
            self.begin(origin, last, now);
            self.open(origin, 0, last, false, now);
            return;
        };
        touch(&mut self.by_silence, known, origin, now);
        if last > known.highest {
            let missing = known.highest + 1;
            known.highest = last;
            self.open(origin, missing, last, true, now);
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
        while let Some(&(touched, origin)) = self.by_silence.first() {
            if touched + MEMORY + TOUCH > now {
                break;
            }
            self.forget(origin);
        }
    }

    /// When [`advance`](Self::advance) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let patience = self.by_patience.first().map(|&(due, _)| due);
        let memory = self
            .by_silence
            .first()
            .map(|&(touched, _)| touched + MEMORY + TOUCH);
        patience.into_iter().chain(memory).min()
    }

    /// Gives up at once what is missing of an origin.
    pub(super) fn settle(&mut self, origin: u64) {
        self.give_up(origin, |_| true);
    }

    /// Gives up at once all that is missing.
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
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Begins to listen to an origin.
    fn begin(&mut self, origin: u64, highest: u64, now: Instant) {
        let silent = self.by_silence.first().map(|&(_, silent)| silent);
        if let Some(silent) = silent.filter(|_| self.known.len() >= MAX_ORIGINS) {
            self.forget(silent);
        }
        self.by_silence.insert((now, origin));
        self.known.insert(
            origin,
            Origin {
                highest,
                holes: Vec::new(),
                touched: now,
                patience: None,
            },
        );
    }

    /// Numbers are missing from now on.
    fn open(&mut self, origin: u64, first: u64, last: u64, is_owed: bool, now: Instant) {
        let Some(known) = self.known.get_mut(&origin) else {
            return;
        };
        if known.holes.len() >= MAX_HOLES {
            self.lost = self.lost.saturating_add(known.holes.remove(0).owed());
        }
        known.holes.push(Hole {
            first,
            last,
            since: now,
            is_owed,
        });
        if known.patience.is_none() {
            known.patience = Some(now + PATIENCE);
            self.by_patience.insert((now + PATIENCE, origin));
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
                *lost = lost.saturating_add(hole.owed());
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
            self.by_silence.remove(&(known.touched, origin));
        }
    }
}

/// Takes note that an origin has been heard.
fn touch(by_silence: &mut BTreeSet<(Instant, u64)>, known: &mut Origin, origin: u64, now: Instant) {
    if now.saturating_duration_since(known.touched) >= TOUCH {
        by_silence.remove(&(known.touched, origin));
        known.touched = now;
        by_silence.insert((now, origin));
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

    /// How many are lost if they do not come.
    fn owed(&self) -> u64 {
        if self.is_owed {
            self.last - self.first + 1
        } else {
            0
        }
    }
}
