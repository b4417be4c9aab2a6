//! How one client's share of a batch differs from the others'.

use std::ops::Range;

/// What is said to a client alone while its room has a batch that is not sealed yet, and what it
/// does not hear of that batch.
#[derive(Debug, Default)]
pub(super) struct Splices {
    list: Vec<Splice>,
    /// What is inserted, one splice's behind the other's.
    inserts: Vec<u8>,
    /// Messages of the batch that are left out.
    skipped_messages: u64,
}

/// At `at` something is inserted, then `skip` bytes of the batch are left out.
#[derive(Clone, Copy, Debug)]
struct Splice {
    at: usize,
    insert: usize,
    skip: usize,
}

/// What a client is told, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Of the batch.
    Batch(Range<usize>),
    /// Of what is inserted.
    Insert(Range<usize>),
}

impl Splices {
    pub(super) fn insert(&mut self, at: usize, parts: [&[u8]; 2]) {
        let insert = parts[0].len() + parts[1].len();
        self.inserts.extend_from_slice(parts[0]);
        self.inserts.extend_from_slice(parts[1]);
        match self.list.last_mut() {
            Some(last) if last.at == at && last.skip == 0 => last.insert += insert,
            _ => self.list.push(Splice {
                at,
                insert,
                skip: 0,
            }),
        }
    }

    pub(super) fn skip(&mut self, at: usize, len: usize, messages: u64) {
        self.skipped_messages += messages;
        match self.list.last_mut() {
            Some(last) if last.at.saturating_add(last.skip) == at => {
                last.skip = last.skip.saturating_add(len);
            }
            _ => self.list.push(Splice {
                at,
                insert: 0,
                skip: len,
            }),
        }
    }

    pub(super) fn skipped_messages(&self) -> u64 {
        self.skipped_messages
    }

    /// What is inserted in all, one behind the other.
    pub(super) fn inserts(&self) -> &[u8] {
        &self.inserts
    }

    /// What the splices hold in memory, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.inserts.len() + self.list.len() * size_of::<Splice>()
    }

    /// How much of a batch of `len` bytes is not left out.
    pub(super) fn kept(&self, len: usize) -> usize {
        let left_out = |splice: &Splice| splice.skip.min(len.saturating_sub(splice.at));
        len.saturating_sub(self.list.iter().map(left_out).sum())
    }

    /// What is told of a batch of `len` bytes, and between; no part is empty. Of the batch only
    /// what lies in the `window` is told.
    pub(super) fn parts(&self, len: usize, window: Range<usize>) -> impl Iterator<Item = Part> {
        let end = Splice {
            at: len,
            insert: 0,
            skip: 0,
        };
        let (mut position, mut inserted) = (0, 0);
        let parts = self
            .list
            .iter()
            .copied()
            .chain([end])
            .flat_map(move |splice| {
                let told = position.max(window.start)..splice.at.min(window.end);
                let insert = inserted..inserted + splice.insert;
                inserted = insert.end;
                position = splice.at.saturating_add(splice.skip);
                [Part::Batch(told), Part::Insert(insert)]
            });
        parts.filter(|part| match part {
            Part::Batch(range) | Part::Insert(range) => !range.is_empty(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_left_out_one_behind_the_other_cost_as_much_as_one() {
        let mut splices = Splices::default();
        for i in 0..100 {
            splices.skip(3 * i, 3, 1);
        }
        assert_eq!(splices.cost(), size_of::<Splice>());
        assert_eq!(splices.skipped_messages(), 100);
    }

    #[test]
    fn a_window_cuts_the_batch_and_not_what_is_inserted() {
        use Part::{Batch, Insert};

        let mut splices = Splices::default();
        splices.insert(2, [b"ab", b"c"]);
        splices.skip(4, 2, 1);
        splices.insert(9, [b"d", b""]);
        let parts = |window| splices.parts(10, window).collect::<Vec<_>>();
        let all = [
            Batch(0..2),
            Insert(0..3),
            Batch(2..4),
            Batch(6..9),
            Insert(3..4),
            Batch(9..10),
        ];
        assert_eq!(parts(0..10), all);
        assert_eq!(
            parts(8..10),
            [Insert(0..3), Batch(8..9), Insert(3..4), Batch(9..10)]
        );
        assert_eq!(parts(0..0), [Insert(0..3), Insert(3..4)]);
        assert_eq!((splices.kept(10), splices.inserts()), (8, &b"abcd"[..]));
    }
}
