//! What a backplane holds, by its own account and by the allocator's, and what it may.

use super::counters::Counters;
use super::node::Process;
use super::world::World;

/// What one message that waits for Redis counts at the least, in bytes: its envelope.
const LEAST_COST: u64 = 22;

/// What one counts at the most beyond its payload: its envelope, its room, and what goes with it.
pub(crate) const MOST_BEYOND: usize = 300;

/// What a backplane may still hold that has nothing to say, in bytes for each of its shards: who
/// else is there, what was heard of whom, and buffers that are used again. In a stream there is
/// also what was acknowledged lately.
const IDLE: usize = 1024 * 1024;

impl World {
    /// What waits at each node is what was said there and neither acknowledged nor dropped, and is
    /// bounded.
    pub(super) fn check_holdings(&self) {
        for life in self.nodes.iter().filter_map(|node| node.life.as_deref()) {
            let counters = Counters::of(&life.backplane, self.instant());
            let numbered = self.ledger.numbered(life.who);
            let said = numbered.map(|(_, said)| said.len() as u64).sum::<u64>();
            let said = said + self.ledger.lives[life.who].replayed;
            let waiting = life.backplane.unacknowledged() as u64;
            assert_eq!(
                counters.acked + counters.dropped + waiting,
                said,
                "I6: {waiting} of life {} wait of {said}: {counters:?}",
                life.who
            );
            let bytes = counters.queue_bytes;
            let most_each = (self.settings.max_message_size + MOST_BEYOND) as u64;
            assert!(
                (waiting * LEAST_COST..=waiting * most_each).contains(&bytes),
                "I6: {waiting} messages of life {} wait in {bytes} bytes",
                life.who
            );
            let most = (life.backplane.config().queue_bytes * self.shards()) as u64;
            assert!(bytes <= most, "I6: {bytes} bytes of {most} wait");
        }
    }

    /// A backplane holds no more than its settings allow, by the books of the allocator.
    pub(super) fn check_memory(&mut self, life: &Process) {
        let peak = life.meter.peak();
        assert!(
            peak <= life.worst_case,
            "I6: life {} held {peak} bytes of {} at most",
            life.who,
            life.worst_case
        );
        self.tally.peak_memory = self.tally.peak_memory.max(peak as u64);
    }

    /// Everything was heard: nothing waits any more, on its way out or in.
    pub(super) fn expect_nothing_held(&mut self) {
        for life in self.nodes.iter().filter_map(|node| node.life.as_deref()) {
            let live = life.meter.live();
            self.tally.idle_memory = self.tally.idle_memory.max(live as u64);
            let kept = if self.settings.is_stream {
                self.ledger.said_bytes(life.who)
            } else {
                0
            };
            let most = IDLE * self.shards() + kept;
            assert!(
                live <= most,
                "I6: life {} holds {live} of {most} bytes",
                life.who
            );
            let (who, backplane) = (life.who, &life.backplane);
            let counters = Counters::of(backplane, self.instant());
            assert_eq!(
                (counters.queue_bytes, counters.lag),
                (0, 0),
                "I6: life {who} holds something: {counters:?}"
            );
            let is_quiet = !backplane.has_unheard() && !backplane.has_deliveries();
            assert!(is_quiet, "I6: life {who} has something to say");
            assert!(!backplane.is_full(), "I6: life {who} is full");
            for link in backplane.links() {
                let waiting = backplane.output(link).len();
                assert_eq!(waiting, 0, "I6: life {who} has output");
            }
        }
    }

    fn shards(&self) -> usize {
        usize::from(self.settings.shards.unwrap_or(1))
    }
}
