//! What comes of it all: for clients, for the log, and in numbers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::config::Endpoint;
use super::delivery::Delivery;
use super::envelope::EnvelopeError;
use super::event::Event;
use super::inbox::Inbox;
use super::loss::Loss;
use super::metrics::Metrics;
use super::reasons::{Dropped, Lost};

/// Events that wait to be read; beyond, new ones are left out. Counters miss nothing.
const MAX_EVENTS: usize = 64;

/// How often it is said what has been lost: not for each message.
const DIGEST_INTERVAL: Duration = Duration::from_secs(10);

/// What comes of it all: for clients, for the log, and in numbers.
#[derive(Debug, Default)]
pub(super) struct News {
    /// What local members hear.
    pub(super) inbox: Inbox,
    /// What is counted.
    pub(super) metrics: Metrics,
    events: VecDeque<Event>,
    /// What has been lost and not said: by reason, and what others have lost.
    dropped: [u64; Dropped::ALL.len()],
    missing: u64,
    /// Entries of streams that were missed and not said.
    missed: u64,
    /// When that may be said.
    digest_at: Option<Instant>,
    /// What has been said of lost connections since messages got through.
    told: [bool; Lost::ALL.len()],
    /// What was said of the settings last.
    told_settings: Option<String>,
    /// When it may be said again that Redis stalls.
    stall_at: Option<Instant>,
    /// When it may be said again that it has no memory left for a stream, or the stream no IDs.
    full_at: Option<Instant>,
    exhausted_at: Option<Instant>,
}

impl News {
    /// Says something, unless there is too much to say, or it was said last: all shards lose the
    /// same Redis.
    pub(super) fn say(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS && self.events.back() != Some(&event) {
            self.events.push_back(event);
        }
    }

    /// Local members hear what another server has said.
    pub(super) fn heard(&mut self, delivery: Delivery) {
        self.metrics.received += 1;
        self.inbox.push(delivery);
    }

    /// A stream had lost so many messages of ours, which are added again. Shards that find it at
    /// the same time say it together.
    pub(super) fn replayed(&mut self, lost: u64) {
        if let Some(Event::Replayed { messages }) = self.events.back_mut() {
            *messages = messages.saturating_add(lost);
        } else {
            self.say(Event::Replayed { messages: lost });
        }
    }

    /// Messages get through.
    pub(super) fn joined(&mut self) {
        self.told = Default::default();
        self.told_settings = None;
        self.say(Event::Joined);
    }

    /// A connection to this place is lost, or was none. What is said of it is said once until
    /// messages get through: there will be many more.
    pub(super) fn lost(&mut self, why: &Loss, to: &Endpoint, is_misconfigured: bool) {
        self.metrics.count_lost(why.reason());
        if let Some(what) = why.misconfigured() {
            self.metrics.count_misconfigured(what);
        }
        let words = format!("{to}: {why}");
        if is_misconfigured {
            if self.told_settings.as_ref() != Some(&words) {
                self.told_settings = Some(words.clone());
                self.say(Event::Misconfigured(words));
            }
        } else if !matches!(why, Loss::Moved(_))
            && !std::mem::replace(&mut self.told[why.reason() as usize], true)
        {
            self.say(Event::Lost(words));
        }
    }

    /// Redis does not answer.
    pub(super) fn stalled(&mut self, now: Instant) {
        if self.stall_at.is_none_or(|at| at <= now) {
            self.stall_at = Some(now + DIGEST_INTERVAL);
            self.say(Event::Stalled);
        }
    }

    /// Messages of ours will not reach Redis.
    pub(super) fn dropped(&mut self, why: Dropped, messages: u64) {
        self.metrics.count_dropped(why, messages);
        let dropped = &mut self.dropped[why as usize];
        *dropped = dropped.saturating_add(messages);
    }

    /// Messages of others have not come. Who makes up numbers may have any number of them missing.
    pub(super) fn missing(&mut self, messages: u64) {
        self.metrics.gaps = self.metrics.gaps.saturating_add(messages);
        self.missing = self.missing.saturating_add(messages);
    }

    /// What came from Redis is so long that nobody has kept it.
    pub(super) fn too_long(&mut self) {
        self.metrics.count_rejected(EnvelopeError::Size);
    }

    /// Entries of a stream will not be read.
    pub(super) fn missed(&mut self, entries: u64) {
        self.metrics.missed = self.metrics.missed.saturating_add(entries);
        self.missed = self.missed.saturating_add(entries);
    }

    /// Redis has no memory left for a stream. At the limit it has some, and none, many times a
    /// second.
    pub(super) fn stream_is_full(&mut self, now: Instant) {
        if self.full_at.is_none_or(|at| at <= now) {
            self.full_at = Some(now + DIGEST_INTERVAL);
            self.say(Event::StreamFull);
        }
    }

    /// A stream has no IDs left. Whoever uses them up may do it again and again.
    pub(super) fn stream_is_exhausted(&mut self, now: Instant) {
        if self.exhausted_at.is_none_or(|at| at <= now) {
            self.exhausted_at = Some(now + DIGEST_INTERVAL);
            self.say(Event::StreamExhausted);
        }
    }

    /// Says what has been lost, if that was not done a moment ago.
    pub(super) fn advance(&mut self, now: Instant) {
        let counts = self.dropped.into_iter().chain([self.missing, self.missed]);
        let lost = counts.fold(0, u64::saturating_add);
        if lost == 0 || self.digest_at.is_some_and(|at| now < at) {
            return;
        }
        self.digest_at = Some(now + DIGEST_INTERVAL);
        for why in Dropped::ALL {
            let messages = std::mem::take(&mut self.dropped[why as usize]);
            if messages > 0 {
                let reason = why.label();
                self.say(Event::Dropped { messages, reason });
            }
        }
        let messages = std::mem::take(&mut self.missing);
        if messages > 0 {
            self.say(Event::Missing { messages });
        }
        let entries = std::mem::take(&mut self.missed);
        if entries > 0 {
            self.say(Event::Missed { entries });
        }
    }

    /// The next thing that is said.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::test_clock;

    #[test]
    fn losses_are_said_in_sums() {
        let now = test_clock();
        let mut news = News::default();
        news.dropped(Dropped::Full, 3);
        news.missing(2);
        news.advance(now);
        let (messages, reason) = (3, "full");
        assert_eq!(news.next_event(), Some(Event::Dropped { messages, reason }));
        assert_eq!(news.next_event(), Some(Event::Missing { messages: 2 }));
        for _ in 0..100 {
            news.missing(1);
            news.advance(now + DIGEST_INTERVAL / 2);
        }
        assert_eq!(news.next_event(), None);
        news.advance(now + DIGEST_INTERVAL);
        assert_eq!(news.next_event(), Some(Event::Missing { messages: 100 }));
        assert_eq!(news.metrics.gaps, 102);
    }

    #[test]
    fn what_two_shards_add_again_is_said_in_sum() {
        let mut news = News::default();
        news.replayed(2);
        news.replayed(2);
        assert_eq!(news.next_event(), Some(Event::Replayed { messages: 4 }));
        news.replayed(1);
        assert_eq!(news.next_event(), Some(Event::Replayed { messages: 1 }));
        assert_eq!(news.next_event(), None);
    }

    #[test]
    fn whoever_makes_up_numbers_makes_no_counter_begin_anew() {
        let now = test_clock();
        let mut news = News::default();
        for _ in 0..2 {
            news.missing(u64::MAX);
            news.missed(u64::MAX);
            news.dropped(Dropped::Full, u64::MAX);
        }
        news.advance(now);
        assert_eq!(
            (news.metrics.gaps, news.metrics.missed),
            (u64::MAX, u64::MAX)
        );
        let messages = u64::MAX;
        let said: Vec<_> = std::iter::from_fn(|| news.next_event()).collect();
        assert!(said.contains(&Event::Missing { messages }), "{said:?}");
    }

    #[test]
    fn a_stream_that_is_full_off_and_on_is_said_to_be_so_now_and_then() {
        let now = test_clock();
        let mut news = News::default();
        let mut said = 0_usize;
        for millis in 0..15_000 {
            news.stream_is_full(now + Duration::from_millis(millis));
            news.stream_is_exhausted(now + Duration::from_millis(millis));
            said += std::iter::from_fn(|| news.next_event()).count();
        }
        assert_eq!(said, 4, "each twice");
    }

    #[test]
    fn what_nobody_reads_takes_no_room() {
        let mut news = News::default();
        news.say(Event::Stalled);
        news.say(Event::Stalled);
        assert_eq!(news.events.len(), 1, "once is enough");
        for gone in 0..10 * MAX_EVENTS {
            news.say(Event::PeersGone { gone, left: 0 });
        }
        assert_eq!(news.events.len(), MAX_EVENTS);
    }
}
