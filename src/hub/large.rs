//! The buffers of large messages, used again.

use std::rc::Rc;
use std::time::{Duration, Instant};

/// Bytes of such buffers that are remembered. What is larger, or more, is allocated each time.
pub(super) const MAX_HELD: usize = 16 * 1024 * 1024;

/// How long they are remembered after the last large message: a stream of them needs no fresh
/// memory, which the kernel would have to clear first, and a quiet server holds none.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// A buffer is not used for a message that would fill less than this part of it.
const MIN_PART: usize = 2;

/// Large frames that somebody is told, or has been told a moment ago: whole messages, each in the
/// buffer that it was assembled in. When the last one who is told has written it, the next large
/// message can be assembled there.
#[derive(Debug, Default)]
pub(super) struct LargeFrames {
    frames: Vec<Rc<Vec<u8>>>,
    /// What their buffers hold, in bytes.
    held: usize,
    /// When all of them are forgotten; set while there are some.
    forget_at: Option<Instant>,
}

impl LargeFrames {
    /// Makes a frame one that can be shared, and remembers its buffer.
    pub(super) fn share(&mut self, frame: Rc<Vec<u8>>, now: Instant) -> Rc<Vec<u8>> {
        if self.held + frame.capacity() <= MAX_HELD {
            self.held += frame.capacity();
            self.frames.push(Rc::clone(&frame));
        }
        self.forget_at = (!self.frames.is_empty()).then(|| now + KEPT_FOR);
        frame
    }

    /// A buffer of at least `len` bytes, with old ones in it.
    pub(super) fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let fits = |frame: &Rc<Vec<u8>>| {
            Rc::strong_count(frame) == 1 && frame.len() >= len && frame.capacity() / MIN_PART <= len
        };
        let position = self.frames.iter().position(fits)?;
        let frame = self.frames.swap_remove(position);
        self.held -= frame.capacity();
        if self.frames.is_empty() {
            self.forget_at = None;
        }
        Rc::try_unwrap(frame).ok()
    }

    /// Forgets what has not been used for long.
    pub(super) fn advance(&mut self, now: Instant) {
        if self.forget_at.is_some_and(|at| at <= now) {
            *self = Self::default();
        }
    }

    /// When [`advance`](Self::advance) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.forget_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn frame(len: usize) -> Rc<Vec<u8>> {
        Rc::new(vec![0; len])
    }

    #[test]
    fn a_buffer_is_used_again_when_nobody_shares_it() {
        let now = crate::hub::test_clock();
        let mut large = LargeFrames::default();
        let shared = large.share(frame(100 * KIB), now);
        let address = shared.as_ptr();
        assert_eq!(large.take(100 * KIB), None);
        drop(shared);
        assert_eq!(large.take(100 * KIB + 1), None, "it is too short");
        assert_eq!(large.take(50 * KIB - 1), None, "it is too long");
        let taken = large.take(50 * KIB).unwrap();
        assert_eq!((taken.as_ptr(), taken.len()), (address, 100 * KIB));
        assert_eq!((large.take(50 * KIB), large.held), (None, 0));
        assert_eq!(large.next_deadline(), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_in_size_and_time() {
        let now = crate::hub::test_clock();
        let mut large = LargeFrames::default();
        assert_eq!(large.next_deadline(), None);
        for _ in 0..40 {
            large.share(frame(MAX_HELD / 16), now);
            assert!(large.held <= MAX_HELD);
        }
        assert_eq!(large.frames.len(), 16);
        large.share(frame(MAX_HELD + 1), now);
        assert_eq!((large.frames.len(), large.held), (16, MAX_HELD));
        let deadline = large.next_deadline().unwrap();
        assert_eq!(deadline, now + KEPT_FOR);
        large.advance(now);
        assert_eq!(large.frames.len(), 16);
        large.advance(deadline);
        assert_eq!((large.frames.len(), large.held), (0, 0));
        assert_eq!(large.next_deadline(), None);
    }
}
