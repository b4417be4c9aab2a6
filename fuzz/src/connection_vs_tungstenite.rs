//! A connection against the `tungstenite` crate in the server's role.
//!
//! Both hear the same stream whole. What differs, and is known to:
//!
//! | | here | tungstenite 0.29 |
//! |---|---|---|
//! | a length that fits a shorter form | 1002 | read |
//! | fragments of one message | limited, 1008 | any number |
//! | what a header or a byte of text shows to be wrong | noticed there | at the end of its frame |
//! | a Close whose code must not be sent | the connection fails | heard as a Close of 1002 |
//! | status code 1014 | may be sent | must not be sent |
//! | the answer to a Close | its code, or 1000 | its code and reason, or nothing |
//! | the Close of a failure | sent | left to the caller |
//! | a message behind our own Close | dropped | heard, so no stream has a Close of ours here |

use std::io::{self, ErrorKind, Read, Write};

use fanfare::protocol::ProtocolError;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::heard::{Heard, Said};
use super::plan::{Cuts, Plan};

/// Hears a stream by both.
pub fn run(bytes: &[u8]) {
    let mut plan = Plan::new(bytes);
    plan.close_at = None;
    let ours = Heard::new(&plan, &Cuts::WHOLE);
    let theirs = Theirs::new(&plan);
    let refused_close = Said::Close(Some(1002), "Protocol violation".to_owned());
    match ours.error {
        None => {
            let mut expected = ours.said.clone();
            if let Some(last) = expected.last_mut().filter(|last| is_close_of(last, 1014)) {
                *last = refused_close;
            }
            assert_eq!(theirs.said, expected);
            assert!(!theirs.has_failed, "only they failed");
        }
        // They read on, or refuse something later. A control frame in a longer form is too long
        // here, whatever length that form holds.
        Some(
            ProtocolError::LengthNotMinimal
            | ProtocolError::ControlTooLong
            | ProtocolError::TooManyFragments,
        ) => {
            assert!(theirs.said.starts_with(&ours.said));
        }
        Some(ProtocolError::InvalidCloseCode) if !theirs.has_failed => {
            assert_eq!(theirs.said, [&ours.said[..], &[refused_close]].concat());
        }
        Some(_) => {
            assert_eq!(theirs.said, ours.said);
            assert!(
                theirs.has_failed || theirs.is_inside_a_frame,
                "only we failed"
            );
        }
    }
    let answers = theirs.pongs_for(&ours);
    let last_word = ours
        .output
        .strip_prefix(&answers[..])
        .expect("their Pongs are ours");
    let code = match (&ours.error, ours.said.last()) {
        (Some(error), _) => Some(error.close_code().to_wire()),
        (None, Some(Said::Close(code, _))) => Some(code.unwrap_or(1000)),
        (None, _) => None,
    };
    match code {
        Some(code) => {
            let [0x88, len, high, low, reason @ ..] = last_word else {
                panic!("there is no Close: {last_word:x?}");
            };
            assert_eq!(u16::from_be_bytes([*high, *low]), code);
            assert_eq!(usize::from(*len), 2 + reason.len());
        }
        None => assert_eq!(last_word, b""),
    }
}

fn is_close_of(said: &Said, code: u16) -> bool {
    matches!(said, Said::Close(Some(said), _) if *said == code)
}

/// What tungstenite heard.
struct Theirs {
    said: Vec<Said>,
    /// The payloads of the Pings, in order.
    pings: Vec<Vec<u8>>,
    has_failed: bool,
    /// Whether it waits for the rest of something.
    is_inside_a_frame: bool,
}

impl Theirs {
    fn new(plan: &Plan) -> Self {
        let max_size = plan.limits.max_message_size;
        let config = WebSocketConfig::default()
            // What it allocates before it has read a byte.
            .read_buffer_size(4096)
            .max_message_size(Some(max_size))
            // It holds for control frames too.
            .max_frame_size(Some(max_size.max(125)));
        let stream = Stream {
            unread: &plan.bytes,
        };
        let mut socket = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
        let mut theirs = Self {
            said: Vec::new(),
            pings: Vec::new(),
            has_failed: false,
            is_inside_a_frame: false,
        };
        loop {
            match socket.read() {
                Ok(message) => theirs.hear(message),
                Err(Error::ConnectionClosed) => return theirs,
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    theirs.is_inside_a_frame = true;
                    return theirs;
                }
                Err(_) => {
                    theirs.has_failed = true;
                    return theirs;
                }
            }
        }
    }

    fn hear(&mut self, message: Message) {
        let said = match message {
            Message::Text(text) => Said::Text(text.as_bytes().to_vec()),
            Message::Binary(payload) => Said::Binary(payload.to_vec()),
            Message::Ping(payload) => {
                self.pings.push(payload.to_vec());
                Said::Ping
            }
            Message::Pong(_) => Said::Pong,
            Message::Close(Some(close)) => {
                Said::Close(Some(close.code.into()), close.reason.to_string())
            }
            Message::Close(None) => Said::Close(None, String::new()),
            Message::Frame(_) => unreachable!("it is not read"),
        };
        self.said.push(said);
    }

    /// The Pongs that are due for the Pings that we have heard too.
    fn pongs_for(&self, ours: &Heard) -> Vec<u8> {
        let pings = ours.said.iter().filter(|said| **said == Said::Ping).count();
        let mut answers = Vec::new();
        for payload in &self.pings[..pings] {
            answers.extend([0x8A, u8::try_from(payload.len()).expect("at most 125")]);
            answers.extend(payload);
        }
        answers
    }
}

/// A stream that ends in waiting, and takes everything.
struct Stream<'b> {
    unread: &'b [u8],
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.unread.read(buffer) {
            Ok(0) => Err(ErrorKind::WouldBlock.into()),
            result => result,
        }
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
