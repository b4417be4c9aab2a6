//! What one client is told of a sealed batch.

use std::ops::Range;
use std::rc::Rc;

use super::piece::Piece;
use super::splices::Part;
use super::{Outgoing, Overflow, PIECE_COST};
use crate::protocol::FrameHeader;

/// A client that keeps less than this part of a batch gets a copy of what it keeps: otherwise a
/// few bytes that it owes could hold a whole batch of its own messages in memory.
pub(in crate::hub) const MIN_SHARED_PART: usize = 4;

/// A shorter part is copied as well: that costs less than another piece does.
const MIN_SHARED_LEN: usize = 256;

impl Outgoing {
    /// The same of a part of the batch: whole messages. What was said to the client alone is queued
    /// in any case.
    pub(in crate::hub) fn append_window(
        &mut self,
        batch: &Rc<Vec<u8>>,
        window: Range<usize>,
        max: usize,
    ) -> Result<(), Overflow> {
        let Some(splices) = self.splices.take() else {
            self.admit(window.len() + PIECE_COST, max)?;
            self.push_shared(batch, window.start, window.end);
            self.owe(PIECE_COST);
            return Ok(());
        };
        let is_apart = self.is_apart;
        let kept = splices.kept(batch.len()).min(window.len());
        let is_shared = kept >= batch.len() / MIN_SHARED_PART;
        // What may be replaced stays apart from what may not.
        let is_piece = |part: &Part| match part {
            Part::Batch(range) => is_apart || is_shared && range.len() >= MIN_SHARED_LEN,
            Part::Insert(_) => false,
        };
        let parts = || splices.parts(batch.len(), window.clone());
        // 1. The limit is checked before anything is queued.
        let mut joins = self.ends_with_own();
        let cost = parts().map(|part| {
            let is_piece = is_piece(&part);
            let is_new = is_piece || !joins;
            joins = !is_piece;
            let (Part::Batch(range) | Part::Insert(range)) = part;
            range.len() + if is_new { PIECE_COST } else { 0 }
        });
        if let Err(overflow) = self.admit(cost.sum(), max) {
            self.splices = Some(splices);
            return Err(overflow);
        }
        // 2. Batch and inserts in turn.
        for part in parts() {
            match part {
                Part::Batch(range) if is_piece(&Part::Batch(range.clone())) => {
                    if is_shared && range.len() >= MIN_SHARED_LEN {
                        self.push_shared(batch, range.start, range.end);
                        self.owe(PIECE_COST);
                    } else {
                        self.push_alone(&Rc::new(batch[range].to_vec()));
                    }
                }
                Part::Batch(range) => self.push_own([&batch[range], b""]),
                Part::Insert(range) => self.push_own([&splices.inserts()[range], b""]),
            }
        }
        Ok(())
    }

    /// Queues nothing of a sealed batch but what was said to the client alone: the room for that
    /// was there when it was said.
    pub(in crate::hub) fn append_none(&mut self, batch: &Rc<Vec<u8>>) {
        if self.splices.is_some() {
            let said = self.append_window(batch, 0..0, usize::MAX);
            said.expect("that is no limit");
        }
    }

    /// How many messages of a sealed batch the client would hear, of `messages` that it has.
    pub(in crate::hub) fn share_of(&self, batch: &Rc<Vec<u8>>, messages: u64) -> u64 {
        let Some(splices) = &self.splices else {
            return messages;
        };
        let parts = splices.parts(batch.len(), 0..batch.len());
        let counts = parts.map(|part| match part {
            Part::Batch(range) => count_messages(&batch[range]),
            Part::Insert(_) => 0,
        });
        counts.sum()
    }

    /// Where the last message lies that the client would hear of a sealed batch whose last begins
    /// at `newest`; `None` if it would hear none.
    pub(in crate::hub) fn newest(
        &self,
        batch: &Rc<Vec<u8>>,
        newest: usize,
    ) -> Option<Range<usize>> {
        let Some(splices) = &self.splices else {
            return Some(newest..batch.len());
        };
        let parts = splices.parts(batch.len(), 0..batch.len());
        let told = parts.filter_map(|part| match part {
            Part::Batch(range) => Some(range),
            Part::Insert(_) => None,
        });
        let last = told.last()?;
        let start = if last.end == batch.len() {
            newest
        } else {
            last.start + last_message(&batch[last.clone()], &mut 0)
        };
        Some(start..last.end)
    }

    /// Forgets the messages of its room that have not been begun to be written. Returns how many.
    pub(in crate::hub) fn forget_room(&mut self) -> u64 {
        if !self.is_apart || self.queued == 0 {
            return 0;
        }
        let mut messages = 0;
        // One after the other is let go of: two of them may be of one batch.
        if !self.first_begun {
            let first = self.first.take().expect("what is owed is in a piece");
            self.first = self.unless_of_room(first, &mut messages);
        }
        if let Some(mut rest) = self.rest.take() {
            for _ in 0..rest.pieces.len() {
                let piece = rest.pieces.pop_front().expect("so many are there");
                if let Some(kept) = self.unless_of_room(piece, &mut messages) {
                    rest.pieces.push_back(kept);
                }
            }
            if self.first.is_none() {
                self.first = rest.pieces.pop_front();
            }
            self.rest = Some(rest).filter(|rest| !rest.pieces.is_empty());
        }
        messages
    }

    /// Lets go of a piece of what the room was told; what was said to the client alone is given
    /// back.
    fn unless_of_room(&mut self, piece: Piece, messages: &mut u64) -> Option<Piece> {
        let Piece::Shared { batch, start, end } = &piece else {
            return Some(piece);
        };
        *messages += count_messages(&batch[*start..*end]);
        self.queued -= end - start + PIECE_COST;
        if let Some(debt) = &mut self.debt {
            piece.repay(debt, end - start);
        }
        None
    }
}

/// Messages in whole frames that we have written: each is one frame.
fn count_messages(frames: &[u8]) -> u64 {
    let mut count = 0;
    last_message(frames, &mut count);
    count
}

/// Where the last of these messages begins.
fn last_message(mut frames: &[u8], count: &mut u64) -> usize {
    let (len, mut last) = (frames.len(), 0);
    while let Ok(Some((header, header_len))) = FrameHeader::decode(frames) {
        last = len - frames.len();
        *count += 1;
        let payload_len = usize::try_from(header.payload_len).expect("it is in memory");
        frames = &frames[header_len + payload_len..];
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Opcode;

    #[test]
    fn messages_are_counted_and_the_last_is_found() {
        let mut frames = Vec::new();
        for len in [0, 125, 126, 70_000, 3] {
            FrameHeader::unmasked(Opcode::Binary, len).encode(&mut frames);
            frames.resize(frames.len() + len, 0);
        }
        let mut count = 0;
        assert_eq!(last_message(&frames, &mut count), frames.len() - 5);
        assert_eq!((count, count_messages(&[])), (5, 0));
    }
}
