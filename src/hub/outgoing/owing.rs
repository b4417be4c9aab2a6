//! What one client owes of what is owed by all: see [`Account`].

use std::rc::Rc;

use super::piece::Piece;
use super::{Outgoing, PIECE_COST};
use crate::hub::account::{Account, Debt};

impl Outgoing {
    /// The same where somebody adds up what is owed: piece by piece, since two of them may be of
    /// one batch.
    #[cold]
    pub(super) fn advance_and_repay(&mut self, mut written: usize) {
        while written > 0 {
            let mut step = written;
            if let (Some(debt), Some(first)) = (&mut self.debt, &self.first) {
                step = written.min(first.bytes().len());
                first.repay(debt, step);
            }
            self.advance_pieces(step);
            written -= step;
        }
    }

    /// Counts what is owed in an account from now on.
    pub(in crate::hub) fn open_account(&mut self, account: &Account) {
        let own = self
            .all()
            .map(|piece| PIECE_COST + piece.own_len(piece.bytes().len()));
        self.debt = Some(Box::new(Debt::new(account, own.sum())));
    }

    /// The batches that it owes parts of: where each lies, and its length.
    pub(in crate::hub) fn shared(&self) -> impl Iterator<Item = (*const u8, usize)> {
        self.all().filter_map(|piece| match piece {
            Piece::Shared { batch, .. } => Some((batch.as_ptr(), batch.len())),
            Piece::Own { .. } => None,
        })
    }

    /// What of it is counted in an account as its own.
    #[cfg(test)]
    pub(in crate::hub) fn own(&self) -> usize {
        let own = |piece: &Piece| PIECE_COST + piece.own_len(piece.bytes().len());
        self.debt.as_ref().map_or(0, |_| self.all().map(own).sum())
    }

    /// The same of frames that no other client has.
    pub(super) fn push_alone(&mut self, frames: &Rc<Vec<u8>>) {
        self.push_shared(frames, 0, frames.len());
        self.owe(PIECE_COST);
        if let Some(debt) = &self.debt {
            debt.share(frames.len());
        }
    }

    /// Adds to what is owed to all, if somebody adds that up.
    pub(super) fn owe(&mut self, bytes: usize) {
        if let Some(debt) = &mut self.debt {
            debt.add(bytes);
        }
    }
}
