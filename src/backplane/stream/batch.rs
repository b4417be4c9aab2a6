//! How many entries are asked for at once.

use super::reply::Page;

/// The most. One `XREAD` is under way at a time, so over a long way no more are read in a second
/// than this divided by the time there and back: 2560 at 400 ms.
const MAX_COUNT: usize = 1024;

/// The fewest that are asked for whatever their length, at first and at the most when messages may
/// be very long.
const MIN_MAX_COUNT: usize = 16;

/// What the entries of one reply may amount to, in bytes: Redis holds the reply as a whole, for
/// each server. It is more where messages may be so long that [`MIN_MAX_COUNT`] of them are more.
const MAX_REPLY: usize = 64 * 1024 * 1024;

/// For how much of it there is room here, in messages, and in bytes of the longest ones: that is
/// held as a whole. What there is no room for is asked for again.
const MAX_ROOM: usize = 128;
const MAX_ROOM_BYTES: usize = 32 * 1024 * 1024;

/// The fewest, once the next one has come alone: who has caught up is given one that has just been
/// added, and sees by that alone that there are no more.
const MIN_COUNT: usize = 2;

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

    /// These came. If there was no room for all of them, the next comes alone: then there is.
    pub(super) fn came(&mut self, page: &Page) {
        if page.is_cut {
            self.count = 1;
            return;
        }
        // How long one was that was not kept is not known: no reason for more of them.
        let lens = page.items.iter();
        let lens = lens.map(|item| item.len.unwrap_or(TARGET / 2 + 1));
        let bytes = lens.fold(0, usize::saturating_add);
        if bytes > TARGET {
            self.count /= 2;
        } else if page.items.len() >= self.count && bytes <= TARGET / 2 {
            self.count = (self.count * 2).min(self.max_count);
        }
        self.count = self.count.max(MIN_COUNT);
    }
}

/// How many entries are asked for at once, at most, where messages have at most so many bytes.
fn max_count(max_message_size: usize) -> usize {
    (MAX_REPLY / max_message_size.max(1)).clamp(MIN_MAX_COUNT, MAX_COUNT)
}

/// For how many of the longest messages one reply has room.
pub(in super::super) fn room(max_message_size: usize) -> usize {
    (MAX_ROOM_BYTES / max_message_size.max(1)).clamp(MIN_MAX_COUNT, MAX_ROOM)
}

#[cfg(test)]
mod tests {
    use super::super::id::StreamId;
    use super::super::reply::Item;
    use super::*;

    /// So many entries, of so many bytes in all.
    fn page(count: usize, bytes: usize) -> Page {
        let item = |index: usize| Item {
            id: StreamId::ZERO,
            bytes: Some(Vec::new()),
            len: Some(if index == 0 { bytes } else { 0 }),
        };
        Page {
            items: (0..count).map(item).collect(),
            is_cut: false,
        }
    }

    #[test]
    fn short_messages_come_by_the_thousand_and_long_ones_alone() {
        let mut batch = Batch::new(1024 * 1024);
        assert_eq!(batch.count(), MIN_MAX_COUNT);
        batch.came(&page(3, 300));
        assert_eq!(batch.count(), MIN_MAX_COUNT, "there were no more");
        for _ in 0..10 {
            batch.came(&page(batch.count(), 100 * batch.count()));
        }
        assert_eq!(batch.count(), 64, "one reply of the longest has 64 MiB");
        batch.came(&page(64, TARGET));
        assert_eq!(batch.count(), 64, "it is as it should be");
        for _ in 0..10 {
            batch.came(&page(batch.count(), TARGET + 1));
        }
        assert_eq!(
            batch.count(),
            MIN_COUNT,
            "who is given one knows that it is the last"
        );
        batch.came(&page(2, TARGET / 2));
        assert_eq!(batch.count(), 4);
    }

    #[test]
    fn what_there_is_no_room_for_comes_alone() {
        let mut batch = Batch::new(1000);
        for _ in 0..10 {
            batch.came(&page(batch.count(), 0));
        }
        assert_eq!(batch.count(), MAX_COUNT);
        let is_cut = true;
        batch.came(&Page {
            is_cut,
            ..page(700, 0)
        });
        assert_eq!(batch.count(), 1);
        let mut too_long = page(1, 0);
        too_long.items[0].len = None;
        batch.came(&too_long);
        assert_eq!(batch.count(), MIN_COUNT, "it was not cut");
        batch.came(&too_long);
        assert_eq!(batch.count(), MIN_COUNT, "the next may be as long");
        batch.came(&page(2, 0));
        assert_eq!(batch.count(), 4);
        batch.came(&Page {
            is_cut,
            ..page(1, 0)
        });
        batch.came(&page(1, TARGET));
        assert_eq!(batch.count(), MIN_COUNT);
    }

    #[test]
    fn what_others_add_beside_a_message_counts() {
        let mut batch = Batch::new(1000);
        let mut beside = page(MIN_MAX_COUNT, 100);
        beside.items[1].len = None;
        batch.came(&beside);
        assert_eq!(batch.count(), MIN_MAX_COUNT, "no reason for more");
        beside.items[2].len = None;
        batch.came(&beside);
        assert_eq!(batch.count(), MIN_MAX_COUNT / 2);
    }

    #[test]
    fn the_most_depends_on_the_longest() {
        let sizes = [0, 1000, MAX_REPLY / 1024, MAX_REPLY / 1023, MAX_REPLY];
        assert_eq!(sizes.map(max_count), [1024, 1024, 1024, 1023, 16]);
        assert_eq!(sizes.map(room), [128, 128, 128, 128, 16]);
        assert_eq!(room(1024 * 1024), 32);
    }
}
