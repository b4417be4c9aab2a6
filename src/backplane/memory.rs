//! What a backplane may hold at worst.

use super::config::{BackplaneConfig, Mode, Target};
use super::inbox::MAX_INBOX;
use super::link::Link;
use super::origins::Origins;
use super::pubsub::MAX_HELD;
use super::resp::RespLimits;
use super::stream;

/// A buffer that grows has room for as much again as is in it.
const SLACK: usize = 2;

/// What a driver reads from a link at once, at most: so much may be heard when the inbox is full.
const MAX_READ: usize = 1024 * 1024;

/// So many things of so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holding {
    /// What it is.
    pub what: &'static str,
    /// The most that one of it takes, in bytes.
    pub bytes_each: usize,
    /// The most that there are of it.
    pub count: usize,
}

impl BackplaneConfig {
    /// Connections that a shard has at once: one and another that takes over from it, or one that
    /// adds to a stream and one that reads it.
    const LINKS: usize = 2;

    /// What a backplane with these settings may hold at worst, part by part.
    pub fn worst_case_memory(&self) -> Vec<Holding> {
        let shards = usize::from(self.shards.unwrap_or(1));
        let (messages, ring) = match self.mode {
            Mode::PubSub => (1, 0),
            Mode::Stream => {
                // What goes past a stream without memory is written once more.
                let diverted = self.queue_bytes.saturating_mul(SLACK);
                let ring = stream::MAX_RING.saturating_add(diverted);
                (stream::room(self.max_message_size), ring)
            }
        };
        let value = RespLimits::new(self.max_message_size, messages).max_value;
        let link = Link::bytes(self.max_message_size)
            .saturating_add(value.saturating_mul(SLACK))
            .saturating_add(MAX_HELD);
        // What was said and Redis has not acknowledged, and what has not come back from there.
        let said = self.queue_bytes.saturating_mul(2);
        let said = said.saturating_add(ring).saturating_add(Origins::BYTES);
        let heard = MAX_INBOX.saturating_add(value);
        let heard = heard.saturating_add(MAX_READ * SLACK);
        // One of them may be asked beside whether the master is another one.
        let sentinels = usize::from(matches!(self.target, Target::Sentinel { .. }));
        let links = shards.saturating_mul(Self::LINKS + sentinels);
        [
            ("said, for Redis and from there", said, shards),
            ("connection to Redis", link, links),
            ("heard from Redis", heard, 1),
        ]
        .map(|(what, bytes_each, count)| Holding {
            what,
            bytes_each,
            count,
        })
        .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(config: &BackplaneConfig) -> usize {
        let parts = config.worst_case_memory().into_iter();
        parts.map(|part| part.bytes_each * part.count).sum()
    }

    #[test]
    fn what_is_set_is_what_it_comes_to() {
        let mut config: BackplaneConfig = "redis://h".parse().unwrap();
        config.max_message_size = 64 * 1024;
        let least = total(&config);
        assert!((64 << 20..96 << 20).contains(&least), "{least}");
        config.queue_bytes += 1000;
        assert_eq!(total(&config), least + 2000);
        config.queue_bytes -= 1000;
        config.mode = Mode::Stream;
        assert!(total(&config) > least + stream::MAX_RING);
        config.mode = Mode::PubSub;
        config.target = "redis+sentinel://h/m"
            .parse::<BackplaneConfig>()
            .unwrap()
            .target;
        let link = config.worst_case_memory()[1].bytes_each;
        assert_eq!(total(&config), least + link, "one more connection");
        config.shards = Some(8);
        assert!(total(&config) > 7 * least);
        config.max_message_size = usize::MAX;
        let parts = config.worst_case_memory();
        assert!(parts.iter().any(|part| part.bytes_each == usize::MAX));
    }
}
