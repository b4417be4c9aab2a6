//! What one client is owed.

mod owing;
mod piece;
mod share;
mod splices;

use std::collections::VecDeque;
use std::rc::Rc;

use super::account::Debt;
use piece::Piece;
pub(super) use share::MIN_SHARED_PART;
use splices::Splices;

/// What a piece of the queue counts on top of its bytes, so that a queue of tiny messages is
/// bounded too: the piece itself, and its share of the batch behind it.
pub(super) const PIECE_COST: usize = 64;

/// The largest buffer that is used again when all of it has been written.
pub(super) const MAX_SPARE: usize = 4 * 1024;

/// The client owes more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow;

/// One client's bounded write buffer: a queue of pieces, most of them shared with the room.
///
/// A client that keeps up has at most one piece, and that one is stored in place: appending and
/// flushing it allocates nothing and copies nothing.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// The piece that is being written. Where nothing is owed it is `None`, or an empty buffer for
    /// what is said next.
    first: Option<Piece>,
    /// Absent unless there are others.
    rest: Option<Box<Rest>>,
    /// What is said to this client alone while its room has a batch that is not sealed yet.
    splices: Option<Box<Splices>>,
    /// Its part of what is owed to all, if somebody adds that up: all of `queued` but the bytes
    /// that are shared.
    debt: Option<Box<Debt>>,
    /// Bytes and piece costs of the queue.
    queued: usize,
    /// The most that was ever owed at once.
    peak: usize,
    /// Whether bytes of `first` have been written, so that its start is inside a frame perhaps.
    first_begun: bool,
    /// Whether the transport took less than all the last time. The driver sets it.
    blocked: bool,
    /// Whether what the room is told, and nothing else, is in shared pieces: newer messages may
    /// replace it.
    is_apart: bool,
}

const _: () = assert!(
    size_of::<Option<Piece>>() == 4 * size_of::<usize>(),
    "every client has one"
);

/// The pieces behind the first one, of a client that lags: at least one.
#[derive(Debug, Default)]
struct Rest {
    pieces: VecDeque<Piece>,
}

impl Outgoing {
    /// An empty queue. `is_apart` tells that its room's messages may be replaced by newer ones.
    pub(super) fn new(is_apart: bool) -> Self {
        Self {
            is_apart,
            ..Self::default()
        }
    }

    /// Whether nothing is owed. What the room's batch of this turn holds is owed once it is sealed.
    pub fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// What is owed, in bytes, with [`HubConfig::max_client_buffer`]'s 64 per piece.
    ///
    /// [`HubConfig::max_client_buffer`]: super::HubConfig::max_client_buffer
    pub fn owed(&self) -> usize {
        self.queued + self.splices.as_ref().map_or(0, |splices| splices.cost())
    }

    /// The most that was ever owed.
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// The pieces, in the order in which they must be written.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.all().map(Piece::bytes)
    }

    /// The only piece; `None` if there are others, or none at all. That of a client that keeps up.
    pub fn only_piece(&self) -> Option<&[u8]> {
        match (&self.first, &self.rest) {
            (Some(first), None) if self.queued > 0 => Some(first.bytes()),
            _ => None,
        }
    }

    /// Takes note that `written` bytes from the front have been written.
    ///
    /// # Panics
    /// If that is more than the pieces hold.
    #[inline]
    pub fn advance(&mut self, written: usize) {
        if self.debt.is_some() {
            self.advance_and_repay(written);
        } else {
            self.advance_pieces(written);
        }
    }

    fn advance_pieces(&mut self, mut written: usize) {
        while written > 0 {
            assert!(self.queued > 0, "no more is written than was owed");
            let first = self.first.as_mut().expect("what is owed is in a piece");
            let len = first.bytes().len();
            if written < len {
                first.skip(written);
                self.first_begun = true;
                self.queued -= written;
                return;
            }
            written -= len;
            self.queued -= len + PIECE_COST;
            self.first_begun = false;
            self.next_piece();
        }
    }

    /// Goes on to the next piece; the first one has been written.
    fn next_piece(&mut self) {
        if let Some(rest) = &mut self.rest {
            self.first = rest.pieces.pop_front();
            if rest.pieces.is_empty() {
                // Whoever has caught up owns no queue.
                self.rest = None;
            }
            return;
        }
        match &mut self.first {
            Some(Piece::Own { bytes, start }) if bytes.capacity() <= MAX_SPARE => {
                bytes.clear();
                *start = 0;
            }
            first => *first = None,
        }
    }

    /// The buffer that is left when nothing is owed; whoever has caught up need not keep it.
    pub(super) fn take_spare(&mut self) -> Option<Vec<u8>> {
        match self.first.take_if(|_| self.queued == 0) {
            Some(Piece::Own { bytes, .. }) => Some(bytes),
            _ => None,
        }
    }

    /// Gives it an empty buffer for what is said next, if nothing is owed.
    pub(super) fn put_spare(&mut self, bytes: Vec<u8>) {
        if self.queued == 0 {
            self.first = Some(Piece::Own { bytes, start: 0 });
        }
    }

    fn all(&self) -> impl Iterator<Item = &Piece> {
        let first = self.first.iter().filter(|_| !self.is_empty());
        first.chain(self.rest.iter().flat_map(|rest| &rest.pieces))
    }

    /// Whether newer messages of its room may replace older ones from now on; as long as something
    /// is owed that stays as it is.
    pub(super) fn set_apart(&mut self, is_apart: bool) {
        if self.is_empty() {
            self.is_apart = is_apart;
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub(super) fn set_blocked(&mut self, blocked: bool) {
        self.blocked = blocked;
    }

    /// Whether something was said that waits for the batch to be sealed.
    pub(super) fn has_splices(&self) -> bool {
        self.splices.is_some()
    }

    /// Messages of this turn's batch that the client does not hear.
    pub(super) fn skipped_messages(&self) -> u64 {
        self.splices
            .as_ref()
            .map_or(0, |splices| splices.skipped_messages())
    }

    /// Queues bytes for this client alone, behind the first `at` bytes of its room's batch. They
    /// come in two parts, often a header and a payload, so that nobody has to join them first.
    pub(super) fn say(&mut self, parts: [&[u8]; 2], at: usize, max: usize) -> Result<(), Overflow> {
        self.admit(parts[0].len() + parts[1].len() + PIECE_COST, max)?;
        if at == 0 && self.splices.is_none() {
            self.push_own(parts);
        } else {
            self.splices.get_or_insert_default().insert(at, parts);
        }
        Ok(())
    }

    /// Queues a whole frame for this client alone, and shares its buffer if that can be.
    pub(super) fn say_frame(
        &mut self,
        frame: &Rc<Vec<u8>>,
        at: usize,
        max: usize,
    ) -> Result<(), Overflow> {
        if at > 0 || self.has_splices() || self.is_apart {
            return self.say([frame, b""], at, max);
        }
        self.admit(frame.len() + PIECE_COST, max)?;
        self.push_alone(frame);
        Ok(())
    }

    /// Leaves out what lies from `at` on in the room's batch, `len` bytes of it: so many messages.
    pub(super) fn skip(&mut self, at: usize, len: usize, messages: u64) {
        self.splices.get_or_insert_default().skip(at, len, messages);
    }

    /// Queues a sealed batch, or this client's share of it. If that is too much nothing is queued,
    /// and what was said to it alone still waits.
    pub(super) fn append(&mut self, batch: &Rc<Vec<u8>>, max: usize) -> Result<(), Overflow> {
        if self.splices.is_some() || self.debt.is_some() {
            return self.append_window(batch, 0..batch.len(), max);
        }
        self.admit(batch.len() + PIECE_COST, max)?;
        self.push_shared(batch, 0, batch.len());
        Ok(())
    }

    /// Forgets everything that is owed. Returns whether what has been written ends with a frame.
    pub(super) fn clear(&mut self) -> bool {
        let at_frame_boundary = !self.first_begun;
        if let Some(debt) = &mut self.debt {
            // One after the other: two of them may be of one batch.
            let rest = self.rest.take().map(|rest| rest.pieces);
            let pieces = self
                .first
                .take()
                .into_iter()
                .chain(rest.into_iter().flatten());
            for piece in pieces.filter(|_| self.queued > 0) {
                piece.repay(debt, piece.bytes().len());
            }
        }
        *self = Self {
            peak: self.peak,
            blocked: self.blocked,
            is_apart: self.is_apart,
            debt: self.debt.take(),
            ..Self::default()
        };
        at_frame_boundary
    }

    /// Whether so much more may be owed.
    pub(super) fn has_room(&self, more: usize, max: usize) -> bool {
        self.owed().saturating_add(more).saturating_add(PIECE_COST) <= max
    }

    /// The limit is checked before anything is taken.
    fn admit(&mut self, more: usize, max: usize) -> Result<(), Overflow> {
        let owed = self.owed().saturating_add(more);
        if owed > max {
            return Err(Overflow);
        }
        self.peak = self.peak.max(owed);
        Ok(())
    }

    fn push_shared(&mut self, batch: &Rc<Vec<u8>>, start: usize, end: usize) {
        self.push(
            Piece::Shared {
                batch: Rc::clone(batch),
                start,
                end,
            },
            end - start,
        );
    }

    /// Whether what is said to it alone is appended to a piece of that kind. A piece that has been
    /// begun takes no more: what is written of it is held until all of it is, and that would never
    /// come for a client that is always a little behind.
    fn ends_with_own(&self) -> bool {
        let last = match &self.rest {
            Some(rest) => rest.pieces.back(),
            None => self.first.as_ref(),
        };
        matches!(last, Some(Piece::Own { bytes, start: 0 }) if !bytes.is_empty())
    }

    fn push_own(&mut self, parts: [&[u8]; 2]) {
        let len = parts[0].len() + parts[1].len();
        if len == 0 {
            return;
        }
        let last = match &mut self.rest {
            Some(rest) => rest.pieces.back_mut(),
            None => self.first.as_mut(),
        };
        if let Some(Piece::Own { bytes, start: 0 }) = last {
            let cost = len + if bytes.is_empty() { PIECE_COST } else { 0 };
            self.queued += cost;
            bytes.extend_from_slice(parts[0]);
            bytes.extend_from_slice(parts[1]);
            self.owe(cost);
        } else {
            self.push(
                Piece::Own {
                    bytes: parts.concat(),
                    start: 0,
                },
                len,
            );
            self.owe(len + PIECE_COST);
        }
    }

    #[inline]
    fn push(&mut self, piece: Piece, len: usize) {
        let was_empty = self.is_empty();
        self.queued += len + PIECE_COST;
        if was_empty {
            self.first = Some(piece);
        } else {
            self.push_back(piece);
        }
    }

    /// Queues a piece behind others: what happens to those who lag.
    #[cold]
    fn push_back(&mut self, piece: Piece) {
        self.rest.get_or_insert_default().pieces.push_back(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 10_000;

    fn batch(text: &str) -> Rc<Vec<u8>> {
        Rc::new(text.as_bytes().to_vec())
    }

    fn owed(outgoing: &Outgoing) -> String {
        String::from_utf8(outgoing.pieces().flatten().copied().collect()).unwrap()
    }

    #[test]
    fn a_batch_is_shared_and_released_when_written() {
        let batch = batch("hello");
        let mut outgoing = Outgoing::default();
        outgoing.append(&batch, MAX).unwrap();
        assert_eq!(Rc::strong_count(&batch), 2);
        assert_eq!(outgoing.pieces().next().unwrap().as_ptr(), batch.as_ptr());
        assert!(outgoing.rest.is_none(), "one piece needs no queue");
        outgoing.advance(3);
        assert_eq!(owed(&outgoing), "lo");
        outgoing.advance(2);
        assert!(outgoing.is_empty() && outgoing.owed() == 0);
        assert_eq!(Rc::strong_count(&batch), 1);
    }

    #[test]
    fn partial_writes_at_every_byte_lose_nothing() {
        for step in 1..12 {
            let mut outgoing = Outgoing::default();
            outgoing.append(&batch("abc"), MAX).unwrap();
            outgoing.say([b"de", b""], 0, MAX).unwrap();
            outgoing.append(&batch("fghi"), MAX).unwrap();
            let mut written = String::new();
            while !outgoing.is_empty() {
                let rest = owed(&outgoing);
                let count = rest.len().min(step);
                written.push_str(&rest[..count]);
                outgoing.advance(count);
            }
            assert_eq!(written, "abcdefghi");
            assert!(outgoing.owed() == 0 && outgoing.rest.is_none());
        }
    }

    #[test]
    fn a_whole_frame_is_queued_where_it_lies_unless_it_goes_into_a_batch() {
        let mut outgoing = Outgoing::default();
        outgoing.say([b"ab", b"c"], 0, MAX).unwrap();
        let frame = batch("frame");
        outgoing.say_frame(&frame, 0, MAX).unwrap();
        assert_eq!(outgoing.pieces().nth(1).unwrap().as_ptr(), frame.as_ptr());
        assert_eq!(outgoing.owed(), 8 + 2 * PIECE_COST);
        outgoing.say_frame(&batch("++"), 2, MAX).unwrap();
        outgoing.say_frame(&batch("--"), 2, MAX).unwrap();
        outgoing.append(&batch("BaTcH"), MAX).unwrap();
        assert_eq!(owed(&outgoing), "abcframeBa++--TcH");
        let long = batch(&"x".repeat(MAX));
        assert_eq!(outgoing.say_frame(&long, 0, MAX), Err(Overflow));
    }

    #[test]
    fn a_reply_goes_behind_what_the_room_heard_before_it() {
        let mut outgoing = Outgoing::default();
        outgoing.say([b"1", b""], 0, MAX).unwrap();
        outgoing.say([b"(pong)", b""], 4, MAX).unwrap();
        outgoing.say([b"(pong)", b""], 4, MAX).unwrap();
        outgoing.say([b"!", b""], 8, MAX).unwrap();
        outgoing.append(&batch("aaaabbbb"), MAX).unwrap();
        assert_eq!(owed(&outgoing), "1aaaa(pong)(pong)bbbb!");
    }

    #[test]
    fn a_sender_may_leave_itself_out_and_a_newcomer_what_came_before_it() {
        let mut sender = Outgoing::default();
        sender.skip(2, 3, 1);
        sender.skip(5, 1, 1);
        sender.say([b"-", b""], 8, MAX).unwrap();
        sender.append(&batch("abCCCDefgh"), MAX).unwrap();
        assert_eq!(owed(&sender), "abef-gh");
        let mut newcomer = Outgoing::default();
        newcomer.skip(0, 4, 1);
        newcomer.say([b"101:", b""], 4, MAX).unwrap();
        newcomer.append(&batch("aaaabb"), MAX).unwrap();
        assert_eq!(owed(&newcomer), "101:bb");
    }

    #[test]
    fn nothing_follows_a_last_word() {
        let mut outgoing = Outgoing::default();
        outgoing.say([b"(close)", b""], 3, MAX).unwrap();
        outgoing.skip(3, usize::MAX, 1);
        outgoing.append(&batch("abcdef"), MAX).unwrap();
        assert_eq!(owed(&outgoing), "abc(close)");
    }

    #[test]
    fn who_keeps_little_of_a_batch_holds_a_copy_of_that() {
        let batch = batch(&"x".repeat(2000));
        let mut outgoing = Outgoing::default();
        outgoing.skip(10, 1980, 1);
        outgoing.append(&batch, MAX).unwrap();
        assert_eq!(owed(&outgoing).len(), 20);
        outgoing.skip(300, 1700, 1);
        outgoing.append(&batch, MAX).unwrap();
        assert_eq!(owed(&outgoing).len(), 320);
        assert_eq!(Rc::strong_count(&batch), 1);
        outgoing.skip(0, 1400, 1);
        outgoing.append(&batch, MAX).unwrap();
        assert_eq!(Rc::strong_count(&batch), 2);
    }

    #[test]
    fn short_parts_between_answers_are_one_piece() {
        let mut outgoing = Outgoing::default();
        let batch = batch(&"ab".repeat(5000));
        for i in 0..5000 {
            outgoing.say([b"!", b""], 2 * (i + 1), usize::MAX).unwrap();
        }
        outgoing.append(&batch, usize::MAX).unwrap();
        assert_eq!(owed(&outgoing), "ab!".repeat(5000));
        assert_eq!(
            (outgoing.pieces().count(), outgoing.owed()),
            (1, 15_000 + PIECE_COST)
        );
    }

    #[test]
    fn both_sides_of_the_limit_and_nothing_is_taken_beyond_it() {
        let mut outgoing = Outgoing::default();
        let max = 2 * (4 + PIECE_COST);
        outgoing.append(&batch("aaaa"), max).unwrap();
        assert_eq!(outgoing.append(&batch("bbbbb"), max), Err(Overflow));
        assert_eq!(outgoing.say([b"bbbbb", b""], 0, max), Err(Overflow));
        assert_eq!(owed(&outgoing), "aaaa");
        outgoing.append(&batch("bbbb"), max).unwrap();
        assert_eq!((outgoing.owed(), outgoing.peak()), (max, max));
        assert_eq!(outgoing.say([b"", b""], 0, max), Err(Overflow));
    }

    #[test]
    fn what_waits_for_the_batch_counts_too() {
        let mut outgoing = Outgoing::default();
        let max = 100 + PIECE_COST;
        outgoing.say([&[0; 60], b""], 7, max).unwrap();
        assert_eq!(outgoing.say([&[0; 17], b""], 7, max), Err(Overflow));
        outgoing.say([&[0; 16], b""], 7, max).unwrap();
        assert_eq!(outgoing.owed(), 100);
    }

    #[test]
    fn who_is_always_a_little_behind_holds_nothing_that_was_written() {
        let mut outgoing = Outgoing::default();
        outgoing.say([b"0123456789", b""], 0, MAX).unwrap();
        outgoing.advance(1);
        for _ in 0..1000 {
            outgoing.say([b"0123456789", b""], 0, MAX).unwrap();
            outgoing.advance(10);
            let own = |piece: &Piece| match piece {
                Piece::Own { bytes, .. } => bytes.capacity(),
                Piece::Shared { .. } => 0,
            };
            let held: usize = outgoing.all().map(own).sum();
            assert!(held < 100, "{held} bytes for 9 that are owed");
        }
        assert_eq!(owed(&outgoing), "123456789");
    }

    #[test]
    fn clearing_releases_everything_and_knows_the_frame_boundary() {
        let batch = batch("abc");
        let mut outgoing = Outgoing::default();
        outgoing.append(&batch, MAX).unwrap();
        outgoing.append(&batch, MAX).unwrap();
        outgoing.advance(1);
        outgoing.advance(2);
        assert!(outgoing.clear());
        outgoing.append(&batch, MAX).unwrap();
        outgoing.advance(1);
        outgoing.set_blocked(true);
        assert!(!outgoing.clear());
        assert!(outgoing.is_blocked(), "the transport is as full as it was");
        assert_eq!((Rc::strong_count(&batch), outgoing.owed()), (1, 0));
        assert_eq!(outgoing.peak(), 2 * (3 + PIECE_COST));
    }
}

#[cfg(test)]
mod properties {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        /// Everybody in the room hears this.
        Room(Vec<u8>),
        /// Everybody but this client does.
        Others(Vec<u8>),
        /// This client alone does.
        Client(Vec<u8>),
        /// The turn ends.
        Seal,
        /// The transport takes this share of what is owed, in hundredths.
        Write(usize),
    }

    /// Mostly short, and sometimes long enough to be shared.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![4 => vec(any::<u8>(), 1..40), 1 => vec(any::<u8>(), 200..600)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            bytes().prop_map(Step::Room),
            bytes().prop_map(Step::Others),
            bytes().prop_map(Step::Client),
            Just(Step::Seal),
            (0..=100_usize).prop_map(Step::Write),
        ]
    }

    /// A client's queue as it is, and as plain bytes.
    #[derive(Default)]
    struct Both {
        outgoing: Outgoing,
        /// What the room has heard in this turn, and what the client has.
        batch: Vec<u8>,
        heard: Vec<u8>,
        /// What is owed.
        queue: Vec<u8>,
    }

    impl Both {
        fn take(&mut self, step: Step, max: usize) -> Result<(), Overflow> {
            match step {
                Step::Room(bytes) => {
                    self.batch.extend_from_slice(&bytes);
                    self.heard.extend(bytes);
                }
                Step::Others(bytes) => {
                    self.outgoing.skip(self.batch.len(), bytes.len(), 1);
                    self.batch.extend(bytes);
                }
                Step::Client(bytes) => {
                    let (first, second) = bytes.split_at(bytes.len() / 3);
                    self.outgoing.say([first, second], self.batch.len(), max)?;
                    self.heard.extend(bytes);
                }
                Step::Seal if self.batch.is_empty() => {}
                Step::Seal => {
                    let batch = Rc::new(std::mem::take(&mut self.batch));
                    self.outgoing.append(&batch, max)?;
                }
                Step::Write(share) => {
                    let written = self.queue.len() * share / 100;
                    self.outgoing.advance(written);
                    self.queue.drain(..written);
                }
            }
            if self.batch.is_empty() {
                self.queue.append(&mut self.heard);
            }
            Ok(())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        #[cfg_attr(miri, ignore = "to make up a case takes a minute there")]
        fn a_queue_of_pieces_is_a_queue_of_bytes(steps in vec(step(), 1..60)) {
            let mut both = Both::default();
            for step in steps {
                both.take(step, usize::MAX).expect("nothing is too much");
                let outgoing = &both.outgoing;
                let owed: Vec<u8> = outgoing.pieces().flatten().copied().collect();
                prop_assert_eq!(&owed, &both.queue);
                prop_assert_eq!(outgoing.is_empty(), owed.is_empty());
                if !outgoing.has_splices() {
                    let pieces = outgoing.pieces().count();
                    prop_assert_eq!(outgoing.owed(), owed.len() + pieces * PIECE_COST);
                }
            }
        }

        #[test]
        #[cfg_attr(miri, ignore = "to make up a case takes a minute there")]
        fn no_more_than_the_limit_is_owed(steps in vec(step(), 1..60), max in 0..3_000_usize) {
            let mut both = Both::default();
            for step in steps {
                let had = both.outgoing.owed();
                let is_said_alone = matches!(step, Step::Client(_));
                if both.take(step, max) == Err(Overflow) {
                    // Such a client is dropped; a word to it alone is refused as a whole.
                    if is_said_alone {
                        prop_assert_eq!(both.outgoing.owed(), had);
                    }
                    both = Both::default();
                }
                // What the client does not hear costs a little, and asks nobody.
                if !both.outgoing.has_splices() {
                    prop_assert!(both.outgoing.owed() <= max && both.outgoing.peak() <= max);
                }
            }
        }
    }
}
