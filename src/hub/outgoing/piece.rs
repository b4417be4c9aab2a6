//! A piece of what one client is owed.

use std::rc::Rc;

use super::PIECE_COST;
use crate::hub::account::Debt;

#[derive(Debug)]
pub(super) enum Piece {
    /// A part of a sealed batch.
    Shared {
        batch: Rc<Vec<u8>>,
        start: usize,
        end: usize,
    },
    /// What was said to this client alone.
    Own { bytes: Vec<u8>, start: usize },
}

impl Piece {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared { batch, start, end } => &batch[*start..*end],
            Self::Own { bytes, start } => &bytes[*start..],
        }
    }

    pub(super) fn skip(&mut self, count: usize) {
        match self {
            Self::Shared { start, .. } | Self::Own { start, .. } => *start += count,
        }
    }

    /// Takes note in the account that so many bytes of it have been written.
    #[cold]
    pub(super) fn repay(&self, debt: &mut Debt, written: usize) {
        let is_done = written == self.bytes().len();
        debt.subtract(self.own_len(written) + if is_done { PIECE_COST } else { 0 });
        if let Self::Shared { batch, .. } = self {
            if is_done {
                debt.release(batch);
            }
        }
    }

    /// So many bytes of it as no other client owes: all of them or none.
    pub(super) fn own_len(&self, len: usize) -> usize {
        match self {
            Self::Shared { .. } => 0,
            Self::Own { .. } => len,
        }
    }
}
