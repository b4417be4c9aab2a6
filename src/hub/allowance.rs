//! What one client may say: so many messages and bytes in a while.

use std::time::{Duration, Instant};

use super::client::{Client, ClientId};
use super::config::HubConfig;
use super::disconnect::Disconnect;
use super::rate::{Rate, TokenBucket};
use super::{Hub, live};
use crate::protocol::Input;

/// What a client may say by now. Each bucket is made with the first thing that it holds back for,
/// so that a client that only listens has none.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    messages: Option<TokenBucket>,
    bytes: Option<TokenBucket>,
}

impl Client {
    /// Whether it may say one more message. Control frames are no messages: too many of them are a
    /// flood, however slow.
    #[inline]
    pub(super) fn may_say(&mut self, config: &HubConfig, now: Instant) -> bool {
        config
            .message_rate
            .is_none_or(|rate| self.take_message(rate, now))
    }

    #[cold]
    fn take_message(&mut self, rate: Rate, now: Instant) -> bool {
        let allowance = &mut self.terms.get_or_insert_default().allowance;
        take(&mut allowance.messages, rate, 1, now) == 1
    }

    /// How many of `bytes` that an open client has sent it may send.
    fn allowed_bytes(&mut self, bytes: usize, config: &HubConfig, now: Instant) -> usize {
        let Some(rate) = config.byte_rate.filter(|_| bytes > 0 && self.is_open()) else {
            return bytes;
        };
        let allowance = &mut self.terms.get_or_insert_default().allowance;
        let allowed = take(&mut allowance.bytes, rate, bytes as u64, now);
        usize::try_from(allowed).expect("no more are taken than are there")
    }
}

fn take(bucket: &mut Option<TokenBucket>, rate: Rate, wanted: u64, now: Instant) -> u64 {
    bucket
        .get_or_insert_with(|| TokenBucket::new(rate, now))
        .take(rate, wanted, now)
}

impl Hub {
    /// The driver's clock has stood still for so long in all, while this process was stopped:
    /// deadlines come later by that, but clients went on speaking, and may have.
    pub fn stood_still(&mut self, in_all: Duration) {
        self.stood_still = in_all;
    }

    /// Cuts off what an open client may not send. What came before that is heard, so that it makes
    /// no difference how the bytes were cut. Returns whether something is cut off.
    #[inline]
    pub(super) fn cut_excess(&mut self, id: ClientId, input: &mut Input<'_>, now: Instant) -> bool {
        self.config.byte_rate.is_some() && self.cut(id, input, now)
    }

    #[cold]
    fn cut(&mut self, id: ClientId, input: &mut Input<'_>, now: Instant) -> bool {
        let allowed = self.allowed_bytes(id, input.len(), now);
        let is_over = allowed < input.len();
        if is_over {
            *input = Input::new(input.take(allowed));
        }
        is_over
    }

    /// How many of `bytes` a client may send.
    pub(super) fn allowed_bytes(&mut self, id: ClientId, bytes: usize, now: Instant) -> usize {
        let client = live(&mut self.clients, id);
        client.map_or(bytes, |client| {
            client.allowed_bytes(bytes, &self.config, now + self.stood_still)
        })
    }

    /// Ends the connection of a client that says too much.
    pub(super) fn fail_rate(&mut self, id: ClientId, reason: &str, now: Instant) {
        self.fail(id, reason, Disconnect::RateLimited, now);
    }
}
