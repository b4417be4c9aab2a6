//! What happened, in numbers.

use std::fmt;

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) lives: u64,
    pub(crate) turns: u64,
    pub(crate) commands: u64,
    pub(crate) faults: u64,
    pub(crate) said: u64,
    pub(crate) heard: u64,
    /// Messages that somebody has not heard, and of these those that Redis had no way to bring.
    pub(crate) lost: u64,
    pub(crate) gaps: u64,
    pub(crate) dropped: u64,
    pub(crate) resent: u64,
    pub(crate) replayed: u64,
    pub(crate) missed: u64,
    pub(crate) duplicates: u64,
    pub(crate) diverted: u64,
    pub(crate) stalls: u64,
    pub(crate) lates: u64,
    pub(crate) overflows: u64,
    /// The most that one backplane has held at once, in bytes.
    pub(crate) peak_memory: u64,
    /// The most that one still held when nothing was said any more.
    pub(crate) idle_memory: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        // Without `..`: a number that is not added here does not compile.
        let Self {
            lives,
            turns,
            commands,
            faults,
            said,
            heard,
            lost,
            gaps,
            dropped,
            resent,
            replayed,
            missed,
            duplicates,
            diverted,
            stalls,
            lates,
            overflows,
            peak_memory,
            idle_memory,
        } = self;
        *idle_memory = other.idle_memory.max(*idle_memory);
        *peak_memory = other.peak_memory.max(*peak_memory);
        for (sum, more) in [
            (lives, other.lives),
            (turns, other.turns),
            (commands, other.commands),
            (faults, other.faults),
            (said, other.said),
            (heard, other.heard),
            (lost, other.lost),
            (gaps, other.gaps),
            (dropped, other.dropped),
            (resent, other.resent),
            (replayed, other.replayed),
            (missed, other.missed),
            (duplicates, other.duplicates),
            (diverted, other.diverted),
            (stalls, other.stalls),
            (lates, other.lates),
            (overflows, other.overflows),
        ] {
            *sum += more;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
