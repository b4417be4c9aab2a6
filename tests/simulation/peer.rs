//! One client: what it does, what the server must make of that, and the wire between them.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use fanfare::{ClientId, HubConfig};

use super::hearing::{Heard, Hearing};
use super::plan::{ALL, Leave};
use super::speech::{Meaning, Speech};

/// The tick of the hub's timer wheel is 50 ms; a deadline is met within one tick of it.
pub(crate) const TICK: std::time::Duration = std::time::Duration::from_millis(50);

/// This much of a frame is a sign of life although the frame is not complete.
const SIGN_OF_LIFE: usize = 1024;

/// How far a client has come, by what has happened and not by what the hub says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Handshake,
    Open,
    /// The server has said Close first, and the client has not.
    Closing,
    /// The server has said its last word, and waits for the end.
    Lingering,
    /// Given up: it must not be told anything more.
    Doomed,
}

/// Why a client leaves: the hub's label, and the close code or the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause(pub(crate) &'static str, pub(crate) Option<u16>);

/// One client.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Peer {
    pub(crate) id: ClientId,
    pub(crate) state: State,
    pub(crate) cause: Option<Cause>,
    /// It came when the server was full.
    pub(crate) is_surplus: bool,
    /// The room that it is in, until the application hears that it is gone; and that it was let
    /// into.
    pub(crate) room: Option<usize>,
    pub(crate) was_in: Option<usize>,
    /// Nobody knows what it says.
    pub(crate) is_wild: bool,

    // What it says.
    pub(crate) speech: Speech,
    /// What it has sent and the server has not read.
    pub(crate) input: VecDeque<u8>,
    /// How much the server has read.
    pub(crate) read: u64,
    /// And how much of that before it was given up.
    pub(crate) listened_to: u64,
    /// What the server has read and not acted upon yet.
    pub(crate) due: VecDeque<Meaning>,
    pub(crate) control_frames: usize,
    pub(crate) messages: u64,
    has_said_close: bool,
    /// It has begun to say something wrong behind our Close, and the server may know from then on.
    pub(crate) may_have_failed: bool,
    pub(crate) left: Option<Leave>,
    /// The driver has seen the end of what it sends.
    pub(crate) input_has_ended: bool,
    /// The server has read a part of a fragmented message.
    pub(crate) is_mid_message: bool,

    // What it hears.
    pub(crate) hearing: Hearing,
    /// Bytes that fit between the server and the client.
    capacity: usize,
    pub(crate) written: u64,
    /// The most bytes that were to be written to it at once.
    pub(crate) most_owed: usize,
    taken: u64,
    appetite: usize,
    answers_pings: bool,
    ends: bool,
    pub(crate) output_has_ended: bool,

    // What the driver has told the hub, or must do.
    pub(crate) is_blocked: bool,
    pub(crate) is_unread: bool,
    pub(crate) is_ready: bool,
    /// Whether it did not take all that it was owed the last time.
    pub(crate) is_behind: bool,
    /// What it may have been dropped for: for being slow, for being silent.
    pub(crate) dropped_for: Option<(bool, bool)>,

    // Times.
    pub(crate) accepted_at: Instant,
    pub(crate) life: Instant,
    pub(crate) has_shown_life: bool,
    trickled: usize,
    /// When the Ping came that it has not answered.
    pub(crate) pinged_at: Option<Instant>,
    /// Pings that may be under way, and the silence that the last of them is for.
    pub(crate) pings: usize,
    pub(crate) pinged_for: Option<Instant>,
    /// When the hub last looked at its deadlines and was told that it has something to say.
    pub(crate) excused_at: Instant,
    pub(crate) stalled_since: Option<Instant>,
    /// Since when it should have been dropped for that.
    pub(crate) stuck_since: Option<Instant>,
    /// When its connection must have ended, and before when it must not: its time may begin anew
    /// with something wrong behind a Close.
    pub(crate) gone_by: Option<Instant>,
    pub(crate) not_before: Option<Instant>,
}

impl Peer {
    pub(crate) fn new(id: ClientId, speech: Speech, capacity: usize, now: Instant) -> Self {
        Self {
            id,
            state: State::Handshake,
            cause: None,
            is_surplus: false,
            room: None,
            was_in: None,
            is_wild: false,
            speech,
            input: VecDeque::new(),
            read: 0,
            listened_to: 0,
            due: VecDeque::new(),
            control_frames: 0,
            messages: 0,
            has_said_close: false,
            may_have_failed: false,
            left: None,
            input_has_ended: false,
            is_mid_message: false,
            hearing: Hearing::default(),
            capacity,
            written: 0,
            most_owed: 0,
            taken: 0,
            appetite: ALL,
            answers_pings: true,
            ends: true,
            output_has_ended: false,
            is_blocked: false,
            is_unread: false,
            is_ready: false,
            is_behind: false,
            dropped_for: None,
            accepted_at: now,
            life: now,
            has_shown_life: false,
            trickled: 0,
            pinged_at: None,
            pings: 0,
            pinged_for: None,
            excused_at: now,
            stalled_since: None,
            stuck_since: None,
            gone_by: None,
            not_before: None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Sends so many bytes of what it has to send.
    pub(crate) fn send(&mut self, most: usize) {
        if self.left.is_none() {
            let count = most.min(self.speech.unsent.len());
            self.input.extend(self.speech.unsent.drain(..count));
        }
    }

    pub(crate) fn set_manners(&mut self, pongs: bool, ends: bool) {
        (self.answers_pings, self.ends) = (pongs, ends);
    }

    pub(crate) fn set_appetite(&mut self, appetite: usize) {
        self.appetite = appetite;
    }

    /// Everything fits on the way to it from now on.
    pub(crate) fn widen(&mut self) {
        self.capacity = ALL;
    }

    pub(crate) fn leave(&mut self, how: Leave) {
        if self.left != Some(Leave::Reset) {
            self.left = Some(how);
        }
    }

    /// How many bytes there is room for on the way to it.
    pub(crate) fn room_on_the_wire(&self) -> usize {
        let under_way = usize::try_from(self.written - self.taken).expect("it is in memory");
        self.capacity.saturating_sub(under_way)
    }

    /// Takes what has arrived, as much as it likes, and reacts to it as one should.
    pub(crate) fn take(&mut self) {
        let under_way = usize::try_from(self.written - self.taken).expect("it is in memory");
        self.taken += under_way.min(self.appetite) as u64;
        if self.left.is_some() {
            return;
        }
        while let Some(heard) = self.hearing.next_taken(self.taken) {
            match heard {
                Heard::Close(code) if self.ends && !self.has_said_close => {
                    self.has_said_close = true;
                    self.speech.close(code);
                    self.send(ALL);
                }
                Heard::Ping if self.answers_pings => {
                    self.speech.pong(b"");
                    self.send(ALL);
                }
                _ => {}
            }
        }
        if self.output_has_ended && self.taken == self.written && self.ends {
            self.leave(Leave::HalfClose);
        }
    }

    /// The server reads so many bytes of what has arrived: the bytes. What they mean becomes due.
    pub(crate) fn be_read(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.input.len());
        let bytes = self.input.drain(..count).collect();
        self.read += count as u64;
        self.control_frames = 0;
        while self
            .speech
            .utterances
            .front()
            .is_some_and(|utterance| utterance.ends <= self.read)
        {
            let utterance = self.speech.utterances.pop_front().expect("it was seen");
            match utterance.meaning {
                Meaning::Fragment => self.is_mid_message = true,
                Meaning::Message { .. } => self.is_mid_message = false,
                Meaning::Forbidden { fin } => self.is_mid_message = !fin,
                _ => {}
            }
            self.due.push_back(utterance.meaning);
        }
        let junk_from = self.speech.junk_from.unwrap_or(u64::MAX);
        self.is_wild |= junk_from < self.read;
        self.hearing.is_lost |= self.is_wild;
        bytes
    }

    /// Whether the server has begun to read something that fails the connection, and may know it.
    pub(crate) fn may_know_wrong(&self) -> Option<Meaning> {
        let utterance = self.speech.utterances.front()?;
        let is_wrong = match utterance.meaning {
            Meaning::Wrong(_) => true,
            // Behind our Close it is dropped like every message.
            Meaning::Forbidden { .. } => self.is_open(),
            _ => false,
        };
        (is_wrong && utterance.begins < self.read).then(|| utterance.meaning.clone())
    }

    /// How many bytes the server has read of something that is not complete.
    pub(crate) fn half_read(&self) -> usize {
        let complete = self
            .speech
            .utterances
            .front()
            .map_or(self.read, |utterance| utterance.begins.min(self.read));
        usize::try_from(self.read - complete).expect("it is in memory")
    }

    /// Takes note of bytes that the server has read while it was open.
    pub(crate) fn note_life(&mut self, bytes: usize, completed: bool, now: Instant) {
        self.trickled = if completed { 0 } else { self.trickled + bytes };
        if completed || self.trickled >= SIGN_OF_LIFE {
            self.trickled = 0;
            self.life = now;
            self.has_shown_life = true;
            self.pinged_at = None;
        }
    }

    /// When it has been silent for so long that it is asked whether it is there; the first time
    /// that may be early by half.
    pub(crate) fn ping_due(&self, config: &HubConfig) -> Instant {
        let parts = if self.has_shown_life { 1 } else { 2 };
        self.life + config.ping_interval / parts
    }

    /// Begins to leave, for this cause if there is none yet.
    pub(crate) fn begin_to_leave(
        &mut self,
        state: State,
        cause: Cause,
        config: &HubConfig,
        now: Instant,
    ) {
        self.state = state;
        self.cause.get_or_insert(cause);
        self.hearing.forget_pongs();
        // There may be no room for the last word.
        self.hearing.may_be_slow |= self.hearing.owed_at_most() > config.max_client_buffer;
        self.gone_by = Some(now + config.close_timeout);
        self.not_before.get_or_insert(now + config.close_timeout);
    }

    /// Whether the driver has something to do for it that waits for no event: something to write
    /// that may be taken, an end to tell of, or to let it go.
    pub(crate) fn awaits_driver(&self) -> bool {
        let may_be_owed = self.is_behind
            || !self.hearing.is_complete()
            || self.hearing.is_lost
            || self.is_wild
            || self.state == State::Lingering && !self.output_has_ended;
        self.state == State::Doomed || !self.is_blocked && may_be_owed
    }

    /// Is told nothing more from now on.
    pub(crate) fn doom(&mut self, cause: Cause) {
        self.state = State::Doomed;
        self.cause.get_or_insert(cause);
        self.hearing.give_up();
    }

    /// The answer to a Ping of its own, in its place in what it must hear; or when it has caught up
    /// if its transport takes nothing.
    pub(crate) fn expect_pong(&mut self, payload: Rc<[u8]>) {
        if self.is_blocked {
            self.hearing.expect_late_pong(payload);
        } else {
            self.hearing.expect_pong(payload);
        }
    }
}
