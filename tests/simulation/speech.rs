//! What somebody says: the bytes, and what they mean by RFC 6455.

use std::collections::VecDeque;
use std::rc::Rc;

use super::plan::{Act, What, Wrong};
use super::runner::dice::Dice;
use super::wire::{
    self, Ask, BINARY, CLOSE, CONTINUATION, FIN, LEN_16, LEN_64, MASKED, PING, PONG, TEXT,
};

/// What a frame, or a request head, means once it has arrived.
#[derive(Clone, Debug)]
pub(crate) enum Meaning {
    Request(Ask),
    /// A fragment, but not the last one.
    Fragment,
    Message {
        text: bool,
        payload: Rc<[u8]>,
        act: Act,
    },
    Ping(Rc<[u8]>),
    Pong,
    Close(Option<u16>),
    /// A message, or a fragment of one, from who may only listen.
    Forbidden {
        fin: bool,
    },
    /// The connection must be failed with this code.
    Wrong(u16),
}

/// A meaning, and where in the client's bytes it is.
#[derive(Clone, Debug)]
pub(crate) struct Utterance {
    /// Behind how many bytes its first one comes.
    pub(crate) begins: u64,
    /// With how many bytes the server knows it.
    pub(crate) ends: u64,
    pub(crate) meaning: Meaning,
}

/// The bytes of one client, from its first to its last.
#[derive(Debug)]
pub(crate) struct Speech {
    dice: Dice,
    /// What it has not sent yet.
    pub(crate) unsent: VecDeque<u8>,
    /// All that it has said, sent or not.
    len: u64,
    /// What the server does not know yet.
    pub(crate) utterances: VecDeque<Utterance>,
    /// From where on nothing is known to mean anything.
    pub(crate) junk_from: Option<u64>,
    /// The longest message that it may say.
    max_message_size: usize,
    max_fragments: usize,
    /// It has asked for the room where nobody may speak.
    listens_only: bool,
}

impl Speech {
    pub(crate) fn new(seed: u64, max_message_size: usize, max_fragments: usize) -> Self {
        Self {
            dice: Dice::new(seed),
            unsent: VecDeque::new(),
            len: 0,
            utterances: VecDeque::new(),
            junk_from: None,
            max_message_size,
            max_fragments,
            listens_only: false,
        }
    }

    pub(crate) fn ask(&mut self, ask: Ask) {
        self.listens_only = ask == Ask::Upgrade(wire::LISTENING);
        self.push(wire::request(ask), None, Meaning::Request(ask));
    }

    /// Says something. `serial` makes it different from all else that is said.
    pub(crate) fn say(&mut self, what: What, serial: usize) {
        match what {
            What::Nothing => {}
            What::Message {
                act,
                text,
                len,
                fragment,
                pings,
            } => {
                let payload = self.payload(act, text, len, serial);
                self.message(act, text, &payload, fragment, pings);
            }
            What::Ping { len } => self.ping(&Self::control(len, serial)),
            What::Pong { len } => {
                self.frame(FIN | PONG, &Self::control(len, serial), Meaning::Pong);
            }
            What::Pings { count } => {
                for i in 0..count {
                    self.ping(format!("{serial}.{i}").as_bytes());
                }
            }
            What::Close { code, reason } => {
                let mut payload = Vec::new();
                if let Some(code) = code {
                    payload.extend(code.to_be_bytes());
                    payload.resize(2 + reason, b'.');
                }
                self.frame(FIN | CLOSE, &payload, Meaning::Close(code));
            }
            What::Wrong(wrong) => self.wrong(wrong),
            What::Junk { len, seed } => {
                let mut dice = Dice::new(seed);
                self.junk_from.get_or_insert(self.len);
                self.append((0..len).map(|_| dice.next().to_le_bytes()[0]).collect());
            }
        }
    }

    pub(crate) fn pong(&mut self, payload: &[u8]) {
        self.frame(FIN | PONG, payload, Meaning::Pong);
    }

    pub(crate) fn close(&mut self, code: u16) {
        self.frame(FIN | CLOSE, &code.to_be_bytes(), Meaning::Close(Some(code)));
    }

    /// A payload like no other.
    fn payload(&self, act: Act, text: bool, len: usize, serial: usize) -> Vec<u8> {
        let letter = match act {
            Act::Broadcast => 'b',
            Act::Answer => 'a',
            Act::Both => '2',
            Act::Unicast(_) => 'u',
            Act::Elsewhere(_) => 'e',
            Act::Kick(_) => 'k',
        };
        let mut payload = format!("{letter}{serial}.").into_bytes();
        let len = len.min(self.max_message_size);
        if text {
            // Of each length that a character can have, so that cuts fall inside of some.
            for character in ["é", "€", "😀", "x"].iter().cycle() {
                if payload.len() + character.len() > len {
                    break;
                }
                payload.extend(character.bytes());
            }
        } else if payload.len() < len {
            payload.resize(len, 0xFF);
        }
        payload
    }

    fn control(len: usize, serial: usize) -> Vec<u8> {
        let mut payload = if len == 0 {
            Vec::new()
        } else {
            serial.to_string().into_bytes()
        };
        payload.resize(payload.len().max(len), b'.');
        payload
    }

    fn ping(&mut self, payload: &[u8]) {
        self.frame(FIN | PING, payload, Meaning::Ping(payload.into()));
    }

    fn message(&mut self, act: Act, text: bool, payload: &[u8], fragment: usize, pings: bool) {
        let meaning = Meaning::Message {
            text,
            payload: payload.into(),
            act,
        };
        let mut opcode = if text { TEXT } else { BINARY };
        let mut rest = payload;
        // In no more fragments than there may be.
        let least = payload.len() / (self.max_fragments / 2) + 1;
        while fragment > 0 && rest.len() > fragment.max(least) {
            let (first, others) = rest.split_at(fragment.max(least));
            rest = others;
            self.frame(opcode, first, Meaning::Fragment);
            opcode = CONTINUATION;
            if pings {
                self.ping(b"");
            }
        }
        self.frame(FIN | opcode, rest, meaning);
    }

    fn wrong(&mut self, wrong: Wrong) {
        let text = FIN | TEXT;
        let max = self.max_message_size;
        let bad_text = b"ab\xFFcd";
        let code = match wrong {
            Wrong::Utf8 { .. } | Wrong::CloseReason => 1007,
            Wrong::TooBig { .. } => 1009,
            Wrong::Fragments => 1008,
            _ => 1002,
        };
        let is_of_messages = matches!(wrong, Wrong::Continuation | Wrong::Interleaved);
        if self.listens_only && (is_of_messages || code != 1002 && wrong != Wrong::CloseReason) {
            // Whatever is wrong with it, it is a message.
            return self.frame(text, b"forbidden", Meaning::Forbidden { fin: true });
        }
        match wrong {
            Wrong::Utf8 { fragmented } => {
                let opcode = if fragmented {
                    self.frame(TEXT, "é".as_bytes(), Meaning::Fragment);
                    CONTINUATION
                } else {
                    text
                };
                let bytes = self.encode(opcode, bad_text);
                let known = bytes.len() - 2;
                self.push(bytes, Some(known), Meaning::Wrong(code));
            }
            Wrong::TooBig { fragmented: false } => self.wrong_header(FIN | BINARY, max + 1, code),
            Wrong::TooBig { fragmented: true } => {
                self.frame(BINARY, &vec![0; max], Meaning::Fragment);
                self.wrong_header(CONTINUATION, 1, code);
            }
            Wrong::Unmasked => self.push(vec![text, 2, b'h', b'i'], Some(2), Meaning::Wrong(code)),
            Wrong::ReservedBit => self.wrong_header(text | 0x40, 0, code),
            Wrong::ReservedOpcode => self.wrong_header(FIN | 0x3, 0, code),
            Wrong::ControlFragment => self.wrong_header(PING, 0, code),
            Wrong::LongControl => self.wrong_header(FIN | PING, 126, code),
            Wrong::CloseCode => self.wrong_frame(FIN | CLOSE, &1005_u16.to_be_bytes(), code),
            Wrong::CloseByte => self.wrong_frame(FIN | CLOSE, &[3], code),
            Wrong::CloseReason => self.wrong_frame(FIN | CLOSE, b"\x03\xE8\xFF", code),
            Wrong::Continuation => self.wrong_header(FIN | CONTINUATION, 1, code),
            Wrong::Interleaved => {
                self.frame(TEXT, b"first", Meaning::Fragment);
                self.wrong_header(text, 0, code);
            }
            Wrong::NotMinimal => {
                let bytes = vec![text, MASKED | LEN_16, 0, 125, 1, 2, 3, 4];
                self.push(bytes, None, Meaning::Wrong(code));
            }
            Wrong::TopBit => {
                let mut bytes = vec![text, MASKED | LEN_64];
                bytes.extend((1_u64 << 63).to_be_bytes());
                bytes.extend([1, 2, 3, 4]);
                self.push(bytes, None, Meaning::Wrong(code));
            }
            Wrong::Fragments => {
                self.frame(BINARY, b"", Meaning::Fragment);
                for _ in 1..self.max_fragments {
                    self.frame(CONTINUATION, b"", Meaning::Fragment);
                }
                self.wrong_header(CONTINUATION, 0, code);
            }
        }
    }

    fn wrong_header(&mut self, first_byte: u8, len: usize, code: u16) {
        let mut bytes = Vec::new();
        wire::header(first_byte, len, 0x0102_0304, &mut bytes);
        self.push(bytes, None, Meaning::Wrong(code));
    }

    fn wrong_frame(&mut self, first_byte: u8, payload: &[u8], code: u16) {
        let bytes = self.encode(first_byte, payload);
        self.push(bytes, None, Meaning::Wrong(code));
    }

    fn frame(&mut self, first_byte: u8, payload: &[u8], meaning: Meaning) {
        let bytes = self.encode(first_byte, payload);
        let fin = first_byte & FIN != 0;
        let meaning = match first_byte & !FIN {
            TEXT | BINARY | CONTINUATION if self.listens_only => Meaning::Forbidden { fin },
            _ => meaning,
        };
        self.push(bytes, None, meaning);
    }

    fn encode(&mut self, first_byte: u8, payload: &[u8]) -> Vec<u8> {
        let mask = self.dice.next().to_le_bytes();
        let [a, b, c, d, ..] = mask;
        let mut bytes = Vec::new();
        let mask = u32::from_be_bytes([a, b, c, d]);
        wire::frame(first_byte, payload, mask, &mut bytes);
        bytes
    }

    /// Appends bytes of this meaning, which is known with the last of them, or with as many as
    /// `known`.
    fn push(&mut self, bytes: Vec<u8>, known: Option<usize>, meaning: Meaning) {
        let known = known.unwrap_or(bytes.len());
        if self.junk_from.is_none() {
            self.utterances.push_back(Utterance {
                begins: self.len,
                ends: self.len + known as u64,
                meaning,
            });
        }
        self.append(bytes);
    }

    fn append(&mut self, bytes: Vec<u8>) {
        self.len += bytes.len() as u64;
        self.unsent.extend(bytes);
    }
}
