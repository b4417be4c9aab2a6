//! What must be true of the times at which something happens, and of the memory.

use std::time::Instant;

use fanfare::HubConfig;

use super::peer::{Cause, Peer, State, TICK};
use super::plan::Leave;
use super::wire::ROOMS;
use super::world::World;

impl World {
    /// The allocator says what the hub holds; what happened says what it may hold.
    pub(super) fn check_memory(&mut self) {
        /// Tables that grow by doubling: a client's place, a room's, the lists of ids.
        const PER_CLIENT: usize = 4096;
        const SLACK: usize = 16 * 1024;
        /// Buffers that are kept for the next batches: of each room the one that it is written in,
        /// and one that a short batch is copied to.
        const MAX_KEPT: usize = 512 * 1024;
        const MAX_LARGE: usize = 16 * 1024 * 1024;

        let cast = &mut self.app.cast;
        let kept = MAX_KEPT.min(2 * ROOMS.len() * 2 * cast.longest_batch);
        // So are buffers of large messages, for a second after the last of them.
        let large = MAX_LARGE.min(2 * cast.large.0);
        let own: usize = cast.present().map(|peer| peer.memory(&cast.config)).sum();
        let tables = self.base + SLACK + PER_CLIENT * self.most_present;
        let most = tables + kept + large + own + 2 * cast.shared.get();
        let live = self.meter.live();
        cast.tally.peak_memory = cast.tally.peak_memory.max(self.meter.peak());
        assert!(
            live <= most,
            "the hub holds {live} bytes, and may hold {most}"
        );
    }
}

impl Peer {
    /// Deadlines are met, within a tick of the wheel and one more to be looked at again.
    pub(super) fn check_times(&mut self, config: &HubConfig, now: Instant) {
        let stuck = self.stalled_since.map(|since| since + config.write_timeout);
        if stuck.is_none_or(|at| now < at + TICK) {
            self.stuck_since = None;
        } else if self.state == State::Open {
            // A Ping may have been due before, and one thing is done at a time.
            let since = *self.stuck_since.get_or_insert(now);
            assert!(now < since + 2 * TICK, "it takes nothing, and stays");
        }
        let is_past = |deadline: Instant| now >= deadline.max(self.excused_at) + 2 * TICK;
        let is_due = |at: Option<Instant>| at.is_some_and(|at| now >= at + 2 * TICK);
        if self.state == State::Doomed {
            return;
        }
        assert!(
            !is_due(self.gone_by),
            "it should be gone: {:?} {:?}",
            self.state,
            self.cause
        );
        let timeout = config.handshake_timeout;
        let is_late = self.state == State::Handshake && is_past(self.accepted_at + timeout);
        assert!(
            !is_late || self.is_unread,
            "its request is late, and it stays"
        );
        let is_watched = self.state == State::Open
            && !config.ping_interval.is_zero()
            && !self.is_wild
            && !self.is_unread
            && self.stalled_since.is_none();
        if is_watched {
            match self.pinged_at {
                None => assert!(!is_past(self.life + config.ping_interval), "no Ping"),
                Some(at) => assert!(!is_past(at + config.pong_timeout), "silent, and it stays"),
            }
        }
    }

    /// What the hub may hold for this client alone.
    fn memory(&self, config: &HubConfig) -> usize {
        const HEAD: usize = 16 * 1024;

        // Of a message of which so much has arrived, the rest is read where it belongs: perhaps in
        // a buffer of so many times what has arrived, that others have left.
        const MIN_ARRIVED: usize = 16 * 1024;
        const MAX_LENT: usize = 16;

        let half = match self.state {
            State::Handshake => 2 * self.half_read().min(HEAD),
            _ if self.is_wild || self.is_mid_message => 2 * config.limits.max_message_size,
            _ if self.half_read() < MIN_ARRIVED => 2 * self.half_read(),
            _ => (MAX_LENT * self.half_read()).min(2 * config.limits.max_message_size),
        };
        half + self.hearing.own_memory()
    }

    /// Whether a driver would still learn something of it.
    pub(super) fn has_news(&self) -> bool {
        let can_take = self.is_blocked && self.left != Some(Leave::Reset);
        can_take || self.left.is_some() && !self.input_has_ended
    }

    /// It was leaving, and has been given up: not before its time.
    pub(super) fn check_end(&self, config: &HubConfig, now: Instant) {
        let is_due = self.not_before.is_some_and(|at| now >= at);
        let since = self.stalled_since;
        let is_stuck = since.is_some_and(|since| now >= since + config.write_timeout);
        let owes_too_much = self.hearing.owed_at_most() > config.max_client_buffer;
        let is_unknown = self.is_wild || self.may_have_failed || self.may_know_wrong().is_some();
        let is_over = self.input_has_ended || owes_too_much || self.dropped_for.is_some();
        assert!(
            is_due || is_stuck || is_over || is_unknown,
            "it was given up early"
        );
    }

    /// The hub's cause is what has happened.
    pub(super) fn check_departure(&self, why: Cause) {
        match (self.cause, self.dropped_for) {
            (_, Some((slow, silent))) => {
                assert!(
                    why.0 == "too_slow" && slow || why.0 == "timed_out" && silent,
                    "it left for {why:?}"
                );
            }
            (Some(cause), None) => {
                let may_be_slow = self.is_behind || self.hearing.may_be_slow;
                let is_unknown = self.is_wild || may_be_slow && why.0 == "too_slow";
                assert!(
                    cause == why || is_unknown,
                    "it left for {why:?}, and not for {cause:?}"
                );
            }
            (None, None) => panic!("it left for {why:?}, and nothing has happened"),
        }
    }
}
