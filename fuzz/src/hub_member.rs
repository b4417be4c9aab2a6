//! One client of the hub: what it has said, and what it must hear.

use std::collections::VecDeque;

use fanfare::hub::Departure;
use fanfare::protocol::{FrameHeader, Opcode};
use fanfare::{ClientId, Disconnect};

use super::client;
use super::hub_world::Appetite;

/// What is known of a client.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Member {
    pub(crate) id: ClientId,
    pub(crate) appetite: Appetite,
    /// What it will send next.
    pub(crate) unsent: Vec<u8>,
    /// Whether it has sent something in this turn.
    pub(crate) has_sent: bool,
    /// Whether it has sent a request.
    pub(crate) has_asked: bool,
    /// Whether it has sent nothing but what it may.
    pub(crate) is_honest: bool,
    /// Whether it has always taken all that it was owed.
    pub(crate) keeps_up: bool,
    /// Whether nothing more can be written to it.
    pub(crate) is_cut_off: bool,
    /// The room that it was let into.
    pub(crate) room: Option<String>,
    /// Its messages that have not come up yet, and whether it has said Close behind them.
    said: VecDeque<Vec<u8>>,
    has_said_close: bool,
    /// Its Pings that have not been answered.
    pings: VecDeque<Vec<u8>>,
    /// What it must hear next.
    expected: VecDeque<Vec<u8>>,
    /// What it has heard, as far as it makes no whole frame.
    unread: Vec<u8>,
    has_read_head: bool,
    has_heard_close: bool,
    output_has_ended: bool,
    bytes_heard: u64,
}

impl Member {
    pub(crate) fn new(id: ClientId) -> Self {
        Self {
            id,
            appetite: Appetite::All,
            unsent: Vec::new(),
            has_sent: false,
            has_asked: false,
            is_honest: true,
            keeps_up: true,
            is_cut_off: false,
            room: None,
            said: VecDeque::new(),
            has_said_close: false,
            pings: VecDeque::new(),
            expected: VecDeque::new(),
            unread: Vec::new(),
            has_read_head: false,
            has_heard_close: false,
            output_has_ended: false,
            bytes_heard: 0,
        }
    }

    /// Says a message, in these frames. One behind its Close must not come up.
    pub(crate) fn say(&mut self, payload: &[u8], frames: &[u8]) {
        // Frames before the request are none.
        self.is_honest &= self.has_asked;
        self.unsent.extend(frames);
        if !self.has_said_close {
            self.said.push_back(payload.to_vec());
        }
    }

    pub(crate) fn ping(&mut self, payload: &[u8]) {
        self.is_honest &= self.has_asked;
        self.unsent.extend(client::frame(0x89, payload));
        self.pings.push_back(payload.to_vec());
    }

    pub(crate) fn say_close(&mut self, code: u16) {
        self.is_honest &= self.has_asked;
        self.unsent.extend(client::frame(0x88, &code.to_be_bytes()));
        self.has_said_close = true;
    }

    /// The hub says that this client said so.
    pub(crate) fn check_said(&mut self, payload: &[u8]) {
        if self.is_honest {
            assert_eq!(
                self.said.pop_front().as_deref(),
                Some(payload),
                "it never said that"
            );
        }
    }

    pub(crate) fn expect(&mut self, payload: &[u8]) {
        self.expected.push_back(payload.to_vec());
    }

    /// Bytes from the server.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        assert!(
            bytes.is_empty() || !self.output_has_ended && !self.is_cut_off,
            "something came behind the end"
        );
        self.bytes_heard += bytes.len() as u64;
        self.unread.extend(bytes);
        if !self.has_read_head {
            let end = self
                .unread
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            let Some(end) = end else { return };
            if !self.unread.starts_with(b"HTTP/1.1 101 ") {
                // A refusal, or a page: no frames.
                return;
            }
            self.unread.drain(..end + 4);
            self.has_read_head = true;
        }
        while let Some((header, len)) = FrameHeader::decode(&self.unread).expect("it is right") {
            let end = len + usize::try_from(header.payload_len).expect("it is short");
            if self.unread.len() < end {
                return;
            }
            let frame: Vec<u8> = self.unread.drain(..end).collect();
            assert!(header.fin && header.mask.is_none());
            self.hear_frame(header.opcode, &frame[len..]);
        }
    }

    fn hear_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        assert!(
            !self.has_heard_close,
            "{opcode:?} behind a Close: {}",
            payload.escape_ascii()
        );
        match opcode {
            Opcode::Text | Opcode::Binary => {
                assert_eq!(self.expected.pop_front().as_deref(), Some(payload), "a gap");
            }
            Opcode::Pong if self.is_honest => {
                // RFC 6455, section 5.5.3: earlier ones may be passed over.
                let answered = self.pings.iter().position(|ping| ping == payload);
                self.pings.drain(..=answered.expect("a Pong is for a Ping"));
            }
            Opcode::Pong => {}
            Opcode::Ping => assert!(payload.is_empty()),
            Opcode::Close => self.has_heard_close = true,
            Opcode::Continuation => panic!("the server does not fragment"),
        }
    }

    pub(crate) fn end_of_output(&mut self) {
        assert!(!self.output_has_ended, "the output ends once");
        self.output_has_ended = true;
    }

    /// It is open and owed nothing: so it has heard everything.
    pub(crate) fn check_complete(&self) {
        if self.is_cut_off {
            return;
        }
        assert!(self.unread.is_empty() && self.has_read_head);
        assert!(
            self.expected.is_empty(),
            "it has not heard {} messages",
            self.expected.len()
        );
    }

    pub(crate) fn check_departure(&self, departure: &Departure) {
        assert_eq!(departure.traffic.bytes_sent, self.bytes_heard);
        assert_eq!(departure.room.as_deref(), self.room.as_deref());
        match departure.why {
            Disconnect::Protocol(error) => assert!(!self.is_honest, "honest, but {error}"),
            Disconnect::TooSlow => assert!(
                !self.keeps_up || self.is_cut_off,
                "too slow, but it takes everything"
            ),
            Disconnect::Closed(_) => assert!(self.has_said_close || !self.is_honest),
            Disconnect::Answered | Disconnect::Refused(_) => assert_eq!(self.room, None),
            _ => {}
        }
    }
}
