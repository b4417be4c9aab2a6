//! What a client must hear, in which order, and what it does hear.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::wire::{self, BINARY, CLOSE, PING, PONG, TEXT};

/// What one turn said to one room: it counts as long as somebody is owed some of it.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Cell<usize>,
    /// The sum over all batches that somebody is owed some of.
    total: Rc<Cell<usize>>,
}

impl Batch {
    pub(crate) fn new(total: &Rc<Cell<usize>>) -> Rc<Self> {
        Rc::new(Self {
            bytes: Cell::new(0),
            total: Rc::clone(total),
        })
    }

    /// A payload of this length is said; how long the batch is then.
    pub(crate) fn grow(&self, payload: usize) -> usize {
        let by = wire::server_frame_len(payload);
        self.bytes.set(self.bytes.get() + by);
        self.total.set(self.total.get() + by);
        self.bytes.get()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.total.set(self.total.get() - self.bytes.get());
    }
}

/// Something that must be heard.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// The answer to the request.
    Response(u16),
    Data {
        text: bool,
        payload: Rc<[u8]>,
        /// Where its bytes are shared, if they are.
        batch: Option<Rc<Batch>>,
    },
    Pong {
        payload: Rc<[u8]>,
        must: bool,
    },
    Close(u16),
    /// A Close of any code, or whatever else ends what nobody understands.
    Anything,
}

/// More than a response, or a Close, of ours is long.
const LAST_WORD: usize = 800;

impl Said {
    /// How long it is, in bytes, as far as that is known: no longer than it really is.
    fn len(&self) -> usize {
        match self {
            Self::Data { payload, .. } | Self::Pong { payload, .. } => {
                wire::server_frame_len(payload.len())
            }
            Self::Response(_) | Self::Close(_) | Self::Anything => 0,
        }
    }
}

/// What is notable about a frame that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Response(u16),
    Message,
    Ping,
    Pong,
    Close(u16),
}

/// One client's ears.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Hearing {
    expected: VecDeque<Said>,
    /// The bytes of all that.
    owed: usize,
    /// What of it is this client's alone, or may be a copy.
    own: usize,
    /// The most that this was since the client had heard everything: a piece of the queue is held
    /// until the last of it is written.
    most_own: usize,
    /// How many of the last ones are of this turn, and whether the client heard something else in
    /// this turn than the others of its room.
    fresh: usize,
    is_spliced: bool,
    /// The answer to the latest Ping that came while the transport took nothing.
    late_pong: Option<Rc<[u8]>>,
    /// What makes no whole frame yet.
    partial: Vec<u8>,
    has_response: bool,
    is_upgraded: bool,
    has_close: bool,
    /// It hears nothing more.
    is_given_up: bool,
    /// It said what nobody understands, and what it hears is not known.
    pub(crate) is_lost: bool,
    /// It owes so much that it may be dropped instead of hearing its last word.
    pub(crate) may_be_slow: bool,
    /// It was dropped as too slow, and hears that and nothing else.
    is_dropped: bool,
    /// Bytes heard up to a Ping or a Close, which is answered once the client takes it.
    events: VecDeque<(u64, Heard)>,
    heard: u64,
    /// Messages that it was to hear.
    pub(crate) said: u64,
}

impl Hearing {
    pub(crate) fn expect(&mut self, said: Said) {
        if self.is_given_up {
            return;
        }
        self.owed += said.len();
        if !matches!(said, Said::Data { batch: Some(_), .. }) {
            self.own += said.len();
            self.is_spliced = true;
        }
        self.said += u64::from(matches!(said, Said::Data { .. }));
        self.fresh += 1;
        self.expected.push_back(said);
    }

    /// It does not hear what its room hears now.
    pub(crate) fn splice(&mut self) {
        self.is_spliced = true;
    }

    /// The turn is over: what it said differently to this client may be a copy.
    pub(crate) fn end_turn(&mut self) {
        if std::mem::take(&mut self.is_spliced) {
            let fresh = self.expected.len().saturating_sub(self.fresh);
            for said in self.expected.range_mut(fresh..) {
                if let Said::Data { batch, .. } = said {
                    if batch.take().is_some() {
                        self.own += said.len();
                    }
                }
            }
        }
        self.fresh = 0;
        self.most_own = self.most_own.max(self.own);
    }

    pub(crate) fn expect_pong(&mut self, payload: Rc<[u8]>) {
        self.late_pong = None;
        self.expect(Said::Pong {
            payload,
            must: true,
        });
    }

    pub(crate) fn expect_late_pong(&mut self, payload: Rc<[u8]>) {
        self.late_pong = Some(payload);
    }

    /// It has been written all that it was owed: the Pong that waited for that has its place now.
    pub(crate) fn catch_up(&mut self) {
        self.most_own = 0;
        if let Some(payload) = self.late_pong.take() {
            self.expect_pong(payload);
        }
    }

    /// Nothing is answered any more.
    pub(crate) fn forget_pongs(&mut self) {
        self.late_pong = None;
    }

    /// The last Pong before a connection is failed for too many Pings need not come.
    pub(crate) fn excuse_last_pong(&mut self) {
        if let Some(Said::Pong { must, .. }) = self.expected.back_mut() {
            *must = false;
        }
    }

    pub(crate) fn give_up(&mut self) {
        self.expected.clear();
        (self.owed, self.own, self.most_own) = (0, 0, 0);
        self.late_pong = None;
        self.is_given_up = true;
    }

    /// It was dropped as too slow: what it is owed is gone, and a Close 1013 may come.
    pub(crate) fn drop_as_slow(&mut self) {
        self.give_up();
        self.is_given_up = false;
        (self.is_lost, self.is_dropped) = (true, true);
    }

    /// Bytes that it is owed and has not heard.
    pub(crate) fn owed(&self) -> usize {
        self.owed.saturating_sub(self.partial.len())
    }

    /// More than the hub can count for it: pieces and splices cost, beside their bytes.
    pub(crate) fn owed_at_most(&self) -> usize {
        const COST: usize = 200;

        self.owed() + LAST_WORD + COST * (self.expected.len() + 1)
    }

    /// What memory that is its alone may be.
    pub(crate) fn own_memory(&self) -> usize {
        const COST: usize = 300;

        2 * (self.most_own + self.own + LAST_WORD) + COST * (self.expected.len() + 1)
    }

    /// Whether it has heard everything that it must hear.
    pub(crate) fn is_complete(&self) -> bool {
        let may_wait =
            |said: &Said| matches!(said, Said::Anything | Said::Pong { must: false, .. });
        self.is_lost || self.late_pong.is_none() && self.expected.iter().all(may_wait)
    }

    pub(crate) fn missing(&self) -> String {
        let mut text = format!("{} missing, the first:", self.expected.len());
        for said in self.expected.iter().take(3) {
            let line = match said {
                Said::Data { payload, .. } => {
                    let start = &payload[..payload.len().min(12)];
                    format!(" data '{}'", start.escape_ascii())
                }
                other => format!(" {other:?}"),
            };
            text += &line;
        }
        text
    }

    /// What it has taken and not reacted to: a Ping or a Close.
    pub(crate) fn next_taken(&mut self, taken: u64) -> Option<Heard> {
        let (_, event) = self
            .events
            .front()
            .filter(|(at, _)| *at <= taken)
            .copied()?;
        self.events.pop_front();
        Some(event)
    }

    /// Hears bytes; says what they were.
    pub(crate) fn hear(&mut self, bytes: &[u8], mut notice: impl FnMut(Heard)) {
        assert!(
            !self.is_given_up || bytes.is_empty(),
            "it was given up, and is told something"
        );
        self.heard += bytes.len() as u64;
        self.partial.extend_from_slice(bytes);
        let mut position = 0;
        if !self.has_response {
            let Some((status, len)) = wire::read_response(&self.partial) else {
                return;
            };
            position = len;
            (self.has_response, self.is_upgraded) = (true, status == 101);
            self.match_response(status);
            notice(Heard::Response(status));
        }
        while let Some(frame) = wire::read_frame(&self.partial[position..]) {
            assert!(self.is_upgraded, "frames without an upgrade");
            let payload = self.partial[position + frame.start..position + frame.end].to_vec();
            position += frame.end;
            let heard = self.hear_frame(frame.opcode, &payload);
            let left = (self.partial.len() - position) as u64;
            if matches!(heard, Heard::Ping | Heard::Close(_)) {
                self.events.push_back((self.heard - left, heard));
            }
            notice(heard);
        }
        self.partial.drain(..position);
    }

    fn hear_frame(&mut self, opcode: u8, payload: &[u8]) -> Heard {
        assert!(!self.has_close, "opcode {opcode} behind a Close");
        assert!(
            !self.is_dropped || opcode == CLOSE && payload.starts_with(&1013_u16.to_be_bytes()),
            "it was dropped, and is told opcode {opcode}"
        );
        match opcode {
            TEXT | BINARY => {
                self.match_data(opcode == TEXT, payload);
                Heard::Message
            }
            PING => {
                assert!(payload.is_empty());
                Heard::Ping
            }
            PONG => {
                self.match_pong(payload);
                Heard::Pong
            }
            CLOSE => {
                let code = payload.first_chunk().expect("ours have a code");
                let code = u16::from_be_bytes(*code);
                self.has_close = true;
                self.match_close(code);
                Heard::Close(code)
            }
            other => panic!("opcode {other} from a server"),
        }
    }

    fn match_response(&mut self, status: u16) {
        if self.is_lost {
            return;
        }
        match self.pop() {
            Some(Said::Response(expected)) => assert_eq!(status, expected),
            Some(Said::Anything) => {}
            other => panic!("a response {status}, but it must hear {other:?}"),
        }
    }

    fn match_data(&mut self, is_text: bool, heard: &[u8]) {
        if self.is_lost {
            return;
        }
        loop {
            match self.pop() {
                Some(Said::Data { text, payload, .. }) => {
                    assert!(
                        *payload == *heard && text == is_text,
                        "{}",
                        gap(&payload, heard)
                    );
                    return;
                }
                Some(Said::Pong { must: false, .. }) => {}
                other => panic!("'{}', but it must hear {other:?}", start(heard)),
            }
        }
    }

    fn match_pong(&mut self, heard: &[u8]) {
        if self.is_lost {
            return;
        }
        match self.pop() {
            Some(Said::Pong { payload, .. }) if *payload == *heard => {}
            other => panic!("a Pong '{}', but it must hear {other:?}", start(heard)),
        }
    }

    fn match_close(&mut self, code: u16) {
        self.is_lost |= self.may_be_slow && code == 1013;
        if self.is_lost {
            return;
        }
        loop {
            match self.pop() {
                Some(Said::Close(expected)) => return assert_eq!(code, expected),
                Some(Said::Anything) => return,
                Some(Said::Pong { must: false, .. }) => {}
                other => panic!("a Close {code}, but it must hear {other:?}"),
            }
        }
    }

    fn pop(&mut self) -> Option<Said> {
        let said = self.expected.pop_front()?;
        self.owed -= said.len();
        if !matches!(said, Said::Data { batch: Some(_), .. }) {
            self.own -= said.len();
        }
        self.fresh = self.fresh.min(self.expected.len());
        Some(said)
    }
}

fn start(payload: &[u8]) -> String {
    payload[..payload.len().min(16)].escape_ascii().to_string()
}

fn gap(expected: &[u8], heard: &[u8]) -> String {
    let (a, b) = (start(expected), start(heard));
    format!("a gap, or a change: it must hear '{a}' and hears '{b}'")
}
