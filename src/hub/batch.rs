//! What a room is told in one turn, and the buffers that such batches are written in.

use std::rc::Rc;
use std::time::Instant;

use super::large::LargeFrames;
use super::outgoing::PIECE_COST;
use crate::protocol::{MessageKind, Payload, encode_message};

/// Bytes of buffers that are kept for the batches to come, over all rooms. They are what makes a
/// broadcast free of allocations; a server that has fallen quiet holds at most so much.
pub(super) const MAX_KEPT: usize = 512 * 1024;

/// Free buffers that are looked at to find one of the right size.
const MAX_LOOKS: usize = 16;

/// Frames that every member gets, encoded once, one behind the other. A room that was told nothing
/// in this turn owns no buffer.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Shared with nobody before it is sealed.
    frames: Option<Rc<Vec<u8>>>,
    messages: u64,
    /// Where the last message begins.
    newest: usize,
    /// Whether it began with a message in the buffer that that was assembled in.
    is_large: bool,
}

/// A batch that is complete: shareable bytes with little slack, and the messages in it.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) frames: Rc<Vec<u8>>,
    pub(super) messages: u64,
    /// Where the last message begins.
    pub(super) newest: usize,
}

/// The buffers that batches are written in, used again and again.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// Empty ones.
    free: Vec<Rc<Vec<u8>>>,
    /// Those of sealed batches, which members share until they have written them.
    lent: Vec<Rc<Vec<u8>>>,
    /// What all of them hold, in bytes.
    kept: usize,
}

impl Batch {
    /// How long it is by now, in bytes.
    pub(super) fn len(&self) -> usize {
        self.frames.as_ref().map_or(0, |frames| frames.len())
    }

    /// How many messages are in it.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Appends a message as one frame. A large one that was assembled is not copied if it is the
    /// first.
    pub(super) fn push(&mut self, kind: MessageKind, payload: Payload<'_>, buffers: &mut Buffers) {
        self.messages += 1;
        self.newest = self.len();
        let payload = match payload.into_frame(kind) {
            Ok(frame) if self.frames.is_none() => {
                self.frames = Some(Rc::new(frame));
                self.is_large = true;
                return;
            }
            Ok(frame) => return self.frames(buffers).extend_from_slice(&frame),
            Err(payload) => payload,
        };
        encode_message(kind, &payload, self.frames(buffers));
    }

    fn frames(&mut self, buffers: &mut Buffers) -> &mut Vec<u8> {
        let frames = self.frames.get_or_insert_with(|| buffers.take());
        Rc::get_mut(frames).expect("a batch is not shared before it is sealed")
    }

    /// Ends the batch; the next one begins empty.
    pub(super) fn seal(
        &mut self,
        buffers: &mut Buffers,
        large: Option<&mut LargeFrames>,
        now: Instant,
    ) -> Sealed {
        let batch = std::mem::take(self);
        let frames = batch.frames.unwrap_or_default();
        Sealed {
            frames: match large {
                Some(large) if batch.is_large => large.share(frames, now),
                None if batch.is_large => frames,
                large => buffers.lend(frames, large.is_some()),
            },
            messages: batch.messages,
            newest: batch.newest,
        }
    }
}

impl Buffers {
    /// An empty buffer: the largest of those at hand, since what has been said in one turn is the
    /// best guess at what will be said in another.
    fn take(&mut self) -> Rc<Vec<u8>> {
        self.reclaim();
        let looked_at = self.free.len().saturating_sub(MAX_LOOKS)..self.free.len();
        let largest = looked_at.max_by_key(|&i| self.free[i].capacity());
        largest.map_or_else(Rc::default, |i| self.take_free(i))
    }

    /// Makes a batch that can be shared of a buffer that nobody shares. Members who lag hold it for
    /// long, so it must not be a large buffer with little in it: that one is kept back, and what is
    /// in it is copied once, for everybody. Unless it `is_kept`, nobody else holds the batch.
    fn lend(&mut self, frames: Rc<Vec<u8>>, is_kept: bool) -> Rc<Vec<u8>> {
        if fits(&frames, frames.len()) {
            if is_kept {
                self.keep_lent(&frames);
            }
            return frames;
        }
        let mut sealed = self.fitting(frames.len());
        let copy = Rc::get_mut(&mut sealed).expect("a free buffer is not shared");
        copy.extend_from_slice(&frames);
        // If there is no room for both, the one that batches need now is kept: otherwise a buffer
        // of large batches that are gone would have each small one allocated anew.
        if is_kept {
            self.keep_lent(&sealed);
        }
        self.keep(frames);
        sealed
    }

    /// Remembers a sealed batch, to take its buffer back, unless enough is kept.
    fn keep_lent(&mut self, sealed: &Rc<Vec<u8>>) {
        let cost = cost(sealed);
        if self.kept + cost <= MAX_KEPT {
            self.kept += cost;
            self.lent.push(Rc::clone(sealed));
        }
    }

    /// An empty buffer that `len` bytes fit into without much slack.
    fn fitting(&mut self, len: usize) -> Rc<Vec<u8>> {
        let looked_at = self.free.len().saturating_sub(MAX_LOOKS)..self.free.len();
        let fitting = looked_at.rev().find(|&i| fits(&self.free[i], len));
        fitting.map_or_else(|| Rc::new(Vec::with_capacity(len)), |i| self.take_free(i))
    }

    fn take_free(&mut self, index: usize) -> Rc<Vec<u8>> {
        let buffer = self.free.swap_remove(index);
        self.kept -= cost(&buffer);
        buffer
    }

    /// Takes back what was lent, once a turn: batches are written first and sealed afterwards.
    /// What somebody still has to write belongs to those who write it: it goes with the last of
    /// them.
    fn reclaim(&mut self) {
        while let Some(buffer) = self.lent.pop() {
            self.kept -= cost(&buffer);
            self.keep(buffer);
        }
    }

    /// Forgets what was lent.
    pub(super) fn forget_lent(&mut self) {
        for buffer in self.lent.drain(..) {
            self.kept -= cost(&buffer);
        }
    }

    /// Keeps a buffer for later, unless somebody shares it or enough is kept.
    fn keep(&mut self, mut buffer: Rc<Vec<u8>>) {
        let cost = cost(&buffer);
        if self.kept + cost > MAX_KEPT {
            return;
        }
        if let Some(bytes) = Rc::get_mut(&mut buffer) {
            bytes.clear();
            self.kept += cost;
            self.free.push(buffer);
        }
    }
}

/// Whether `len` bytes fill a good part of a buffer: at least about half.
fn fits(buffer: &Vec<u8>, len: usize) -> bool {
    (len..=2 * len + PIECE_COST).contains(&buffer.capacity())
}

fn cost(buffer: &Vec<u8>) -> usize {
    buffer.capacity() + PIECE_COST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(batch: &mut Batch, buffers: &mut Buffers) -> Sealed {
        batch.seal(
            buffers,
            Some(&mut LargeFrames::default()),
            crate::hub::test_clock(),
        )
    }

    /// A batch of one message of this size, sealed.
    fn sealed(size: usize, buffers: &mut Buffers) -> Rc<Vec<u8>> {
        let mut batch = Batch::default();
        batch.push(MessageKind::Binary, (&vec![0; size]).into(), buffers);
        seal(&mut batch, buffers).frames
    }

    /// What the buffers that are kept hold, in bytes.
    fn held(buffers: &Buffers) -> usize {
        let all = buffers.free.iter().chain(&buffers.lent);
        all.map(|buffer| cost(buffer)).sum()
    }

    #[test]
    fn messages_of_a_turn_are_one_batch() {
        let (mut batch, mut buffers) = (Batch::default(), Buffers::default());
        assert_eq!(batch.len(), 0);
        batch.push(MessageKind::Text, b"ab".into(), &mut buffers);
        assert_eq!((batch.len(), batch.messages()), (4, 1));
        batch.push(MessageKind::Binary, b"".into(), &mut buffers);
        let Sealed {
            frames,
            messages,
            newest,
        } = seal(&mut batch, &mut buffers);
        assert_eq!(
            (frames.as_slice(), messages, newest),
            (&b"\x81\x02ab\x82\x00"[..], 2, 4)
        );
        assert_eq!((batch.len(), batch.messages()), (0, 0));
    }

    #[test]
    fn a_buffer_that_all_have_written_is_used_again_and_not_before() {
        let mut buffers = Buffers::default();
        let first = sealed(100, &mut buffers);
        let address = first.as_ptr();
        let second = sealed(100, &mut buffers).as_ptr();
        assert_ne!(second, address, "the first is still shared");
        assert_eq!(first.len(), 102);
        assert_eq!(sealed(100, &mut buffers).as_ptr(), second);
        drop(first);
        assert_eq!(sealed(100, &mut buffers).as_ptr(), second);
        assert_eq!(
            buffers.free.len() + buffers.lent.len(),
            1,
            "what lagged is not kept"
        );
    }

    #[test]
    fn equal_batches_are_written_in_one_buffer() {
        let mut buffers = Buffers::default();
        let address = sealed(20_000, &mut buffers).as_ptr();
        for _ in 0..3 {
            assert_eq!(sealed(20_000, &mut buffers).as_ptr(), address);
        }
        assert_eq!(buffers.free.len() + buffers.lent.len(), 1);
    }

    #[test]
    fn a_large_message_that_was_assembled_is_the_batch_if_it_is_the_first() {
        let mut buffers = Buffers::default();
        let large = || Payload::from(vec![7; 0x1_0000]);
        let mut batch = Batch::default();
        batch.push(MessageKind::Binary, large(), &mut buffers);
        batch.push(MessageKind::Text, b"ab".into(), &mut buffers);
        batch.push(MessageKind::Binary, large(), &mut buffers);
        let Sealed {
            frames, messages, ..
        } = seal(&mut batch, &mut buffers);
        let len = 0x1_0000 + 10;
        assert_eq!((frames.len(), messages), (2 * len + 4, 3));
        assert_eq!(frames[..10], frames[len + 4..len + 14]);
        assert_eq!(frames[len..len + 4], *b"\x81\x02ab");
        batch.push(MessageKind::Binary, large(), &mut buffers);
        assert_eq!(seal(&mut batch, &mut buffers).frames.len(), len);

        let payload = large();
        let alone = payload.as_ptr();
        batch.push(MessageKind::Binary, payload, &mut buffers);
        assert_eq!(seal(&mut batch, &mut buffers).frames[10..].as_ptr(), alone);
    }

    #[test]
    fn little_in_a_large_buffer_is_copied_out_of_it() {
        let mut buffers = Buffers::default();
        drop(sealed(20_000, &mut buffers));
        let small: Vec<_> = (0..3).map(|_| sealed(10, &mut buffers)).collect();
        for frames in &small {
            assert!(frames.capacity() <= 2 * frames.len() + PIECE_COST);
        }
        drop(small);
        // Large and small take turns, and each has its buffer.
        let large = sealed(20_000, &mut buffers).as_ptr();
        let small = sealed(10, &mut buffers).as_ptr();
        for _ in 0..3 {
            assert_eq!(sealed(20_000, &mut buffers).as_ptr(), large);
            assert_eq!(sealed(10, &mut buffers).as_ptr(), small);
        }
    }

    #[test]
    fn a_buffer_that_leaves_no_room_for_others_makes_way() {
        let mut buffers = Buffers::default();
        drop(sealed(MAX_KEPT - 100, &mut buffers));
        assert!(buffers.kept > MAX_KEPT - 50);
        drop(sealed(10, &mut buffers));
        assert_eq!((buffers.lent.len(), buffers.free.len()), (1, 0));
        let address = buffers.lent[0].as_ptr();
        assert_eq!(sealed(10, &mut buffers).as_ptr(), address);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut buffers = Buffers::default();
        drop(sealed(MAX_KEPT, &mut buffers));
        assert_eq!((buffers.lent.len(), buffers.kept), (0, 0));
        let mut batches: Vec<_> = (0..300).map(|_| Batch::default()).collect();
        for batch in &mut batches {
            batch.push(MessageKind::Binary, (&[0; 6_000]).into(), &mut buffers);
        }
        for batch in &mut batches {
            seal(batch, &mut buffers);
        }
        assert!(buffers.kept <= MAX_KEPT && held(&buffers) == buffers.kept);
        let one = sealed(6_000, &mut buffers);
        assert!(buffers.free.len() > 10 && held(&buffers) == buffers.kept);
        drop(one);
    }

    /// What was kept when the turn began may be too much when it ends.
    #[test]
    fn a_buffer_with_too_much_slack_is_kept_within_the_bound_too() {
        let mut buffers = Buffers::default();
        let mut batches: Vec<_> = (0..4).map(|_| Batch::default()).collect();
        for sizes in [
            [MAX_KEPT / 3; 4],
            [10, MAX_KEPT / 5, MAX_KEPT / 5, MAX_KEPT / 5],
        ] {
            for (batch, size) in batches.iter_mut().zip(sizes) {
                batch.push(MessageKind::Binary, (&vec![0; size]).into(), &mut buffers);
            }
            for batch in batches.iter_mut().rev() {
                seal(batch, &mut buffers);
                assert!(buffers.kept <= MAX_KEPT && held(&buffers) == buffers.kept);
            }
        }
    }
}
