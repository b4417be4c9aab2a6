//! How many entries are asked for at once.

/// The most. More take longer to come, and bring no more in a second.
const MAX_COUNT: usize = 128;

/// The fewest that are asked for whatever their length, at first and at the most when messages may
/// be very long.
const MIN_MAX_COUNT: usize = 16;

/// What the entries of one reply may amount to, in bytes, if there are no more than
/// [`MIN_MAX_COUNT`] of them: the reply is held as a whole.
const MAX_REPLY: usize = 32 * 1024 * 1024;

/// What the entries of one reply should amount to, in bytes. They go to all clients at once.
const TARGET: usize = 512 * 1024;

/// How many entries are asked for at once: as many as make a handy reply, by the length of those
/// that came last.
#[derive(Debug)]
pub(super) struct Batch {
    count: usize,
    max_count: usize,
}

impl Batch {
    pub(super) fn new(max_message_size: usize) -> Self {
        Self {
            count: MIN_MAX_COUNT,
            max_count: max_count(max_message_size),
        }
    }

    /// How many to ask for.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// So many came, of so many bytes in all.
    pub(super) fn came(&mut self, entries: usize, bytes: usize) {
        if bytes > TARGET {
            self.count = (self.count / 2).max(1);
        } else if entries >= self.count && bytes <= TARGET / 2 {
            self.count = (self.count * 2).min(self.max_count);
        }
    }
}

/// How many entries one reply brings at most, where messages have at most so many bytes.
pub(in super::super) fn max_count(max_message_size: usize) -> usize {
    (MAX_REPLY / max_message_size.max(1)).clamp(MIN_MAX_COUNT, MAX_COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_messages_come_by_the_hundred_and_long_ones_alone() {
        let mut batch = Batch::new(1024 * 1024);
        assert_eq!(batch.count(), MIN_MAX_COUNT);
        batch.came(3, 300);
        assert_eq!(batch.count(), MIN_MAX_COUNT, "there were no more");
        for _ in 0..10 {
            batch.came(batch.count(), 100 * batch.count());
        }
        assert_eq!(batch.count(), 32, "one reply of the longest has 32 MiB");
        batch.came(32, TARGET);
        assert_eq!(batch.count(), 32, "it is as it should be");
        for _ in 0..10 {
            batch.came(batch.count(), TARGET + 1);
        }
        assert_eq!(batch.count(), 1);
        batch.came(1, TARGET / 2);
        assert_eq!(batch.count(), 2);
    }

    #[test]
    fn the_most_depends_on_the_longest() {
        let most = [0, 1000, MAX_REPLY / 128, MAX_REPLY / 127, MAX_REPLY].map(max_count);
        assert_eq!(most, [128, 128, 128, 127, 16]);
    }
}
