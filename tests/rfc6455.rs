//! RFC 6455 section by section: bytes in, events and bytes out.
//!
//! Every stream is heard whole, byte by byte and in irregular pieces, and must be heard the same.

use fanfare::protocol::ProtocolError::{
    self, ControlFragmented, ControlTooLong, ExpectedContinuation, InvalidCloseCode, InvalidUtf8,
    LengthNotMinimal, LengthTopBit, MessageTooBig, ReservedBits, ReservedOpcode, TooManyFragments,
    UnexpectedContinuation, Unmasked,
};
use fanfare::protocol::http::{HeadBuffer, Request, Response};
use fanfare::protocol::{
    CloseCode, Connection, Event, Handshake, Input, Limits, MessageKind, encode_message,
};

#[path = "rfc6455/departures.rs"]
mod departures;
#[path = "rfc6455/cuts.rs"]
mod however_the_bytes_are_cut;
#[path = "rfc6455/http.rs"]
mod http;
#[path = "rfc6455/limits.rs"]
mod section_10_4_limits;
#[path = "rfc6455/opening_handshake.rs"]
mod section_4_opening_handshake;
#[path = "rfc6455/framing.rs"]
mod section_5_framing;
#[path = "rfc6455/sending_and_receiving.rs"]
mod section_6_sending_and_receiving;
#[path = "rfc6455/closing.rs"]
mod section_7_closing;
#[path = "rfc6455/utf_8.rs"]
mod section_8_utf_8;

/// Lengths of the pieces that a stream arrives in, over and over.
const WHOLE: &[usize] = &[usize::MAX];
const BYTEWISE: &[usize] = &[1];
const IRREGULAR: &[usize] = &[3, 0, 1, 7, 2, 19];
const ALL_CUTS: [&[usize]; 3] = [WHOLE, BYTEWISE, IRREGULAR];
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame by hand, its length in the shortest form.
fn encode(first_byte: u8, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mask_bit = if key.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first_byte];
    let len = payload.len() as u64;
    let len_bytes = len.to_be_bytes();
    match len {
        0..=125 => bytes.push(mask_bit | len_bytes[7]),
        126..=0xFFFF => bytes.extend([mask_bit | 0x7E, len_bytes[6], len_bytes[7]]),
        _ => bytes.extend([&[mask_bit | 0x7F], &len_bytes[..]].concat()),
    }
    bytes.extend(key.iter().flatten());
    let key = key.unwrap_or_default();
    for (i, byte) in payload.iter().enumerate() {
        bytes.push(byte ^ key[i % 4]);
    }
    bytes
}

/// A client's frame.
fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    encode(first_byte, Some(KEY), payload)
}

/// A server's frame.
fn answer(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    encode(first_byte, None, payload)
}

/// The payload of a Close.
fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// Our answer to a Close of this code.
fn echo(code: u16) -> Vec<u8> {
    answer(0x88, &close(code, ""))
}

/// An event, without its borrows.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping,
    Pong,
    /// The code is 1005 where the frame has none (section 7.1.5).
    Close(u16, String),
}

impl From<Event<'_>> for Said {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(message) => match message.as_text() {
                Some(text) => Self::Text(text.to_owned()),
                None => Self::Binary(message.payload.into_owned()),
            },
            Event::Ping => Self::Ping,
            Event::Pong => Self::Pong,
            Event::Close(close) => {
                let code = close.code.map_or(1005, CloseCode::to_wire);
                Self::Close(code, close.reason.into_owned())
            }
        }
    }
}

fn text(text: &str) -> Said {
    Said::Text(text.to_owned())
}

fn closed(code: u16) -> Said {
    Said::Close(code, String::new())
}

/// What came of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
struct Heard {
    said: Vec<Said>,
    error: Option<ProtocolError>,
    output: Vec<u8>,
}

/// Feeds a connection all of the pieces, also those behind an error or a Close.
fn hear_on(connection: &mut Connection, bytes: &[u8], cuts: &[usize]) -> Heard {
    let mut rest = &mut bytes.to_vec()[..];
    let mut heard = Heard::default();
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let cut = *cuts.next().expect("there are cuts");
        let (piece, later) = rest.split_at_mut(cut.min(rest.len()));
        rest = later;
        let mut input = Input::new(piece);
        loop {
            match connection.receive(&mut input, &mut heard.output) {
                Ok(Some(event)) => heard.said.push(event.into()),
                Ok(None) => break,
                Err(error) => assert_eq!(heard.error.replace(error), None, "failed twice"),
            }
        }
        assert!(input.is_empty(), "input is left over");
    }
    heard
}

/// What a new connection makes of a stream.
fn hear(bytes: &[u8], cuts: &[usize]) -> Heard {
    let mut connection = Connection::new(Limits::default());
    let heard = hear_on(&mut connection, bytes, cuts);
    let is_over = heard.error.is_some() || matches!(heard.said[..], [.., Said::Close(..)]);
    assert_eq!(connection.is_closed(), is_over);
    assert_eq!(connection.is_open(), !is_over);
    heard
}

/// The frames are heard as this and answered with that, however they are cut.
#[track_caller]
fn assert_heard(frames: &[Vec<u8>], said: &[Said], output: &[u8]) {
    for cuts in ALL_CUTS {
        let heard = hear(&frames.concat(), cuts);
        assert_eq!(heard.error, None, "cut at {cuts:?}");
        assert_eq!(heard.said, said, "cut at {cuts:?}");
        assert_eq!(heard.output, output, "cut at {cuts:?}");
    }
}

/// The frames fail the connection with one Close and nothing else, however they are cut.
#[track_caller]
fn assert_fails(frames: &[Vec<u8>], error: ProtocolError) {
    // Section 7.4.1.
    let code = match error {
        InvalidUtf8 => 1007,
        TooManyFragments => 1008,
        MessageTooBig => 1009,
        _ => 1002,
    };
    let output = answer(0x88, &close(code, error.reason()));
    for cuts in ALL_CUTS {
        let heard = hear(&frames.concat(), cuts);
        assert_eq!(heard.error, Some(error), "cut at {cuts:?}");
        assert_eq!((heard.said, &heard.output), (vec![], &output));
    }
}

/// The last of these bytes, and none before it, fails the connection.
#[track_caller]
fn assert_last_byte_fails(bytes: &[u8], error: ProtocolError) {
    let (_, before) = bytes.split_last().expect("there is a last byte");
    assert_heard(&[before.to_vec()], &[], b"");
    assert_fails(&[bytes.to_vec()], error);
}

const REQUEST: &str = "GET /ws HTTP/1.1\r\n\
    Host: example.com\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// The answer to the valid request with `from` replaced.
fn answer_with(from: &str, to: &str) -> String {
    assert!(REQUEST.contains(from), "{from:?} is not in the request");
    let mut handshake = Handshake::default();
    handshake.subprotocols = ["superchat", "chat"].map(str::to_owned).to_vec();
    let shake = |bytes: &mut [u8]| {
        let head = HeadBuffer::default().receive(&mut Input::new(bytes))?;
        handshake.accept(&Request::parse(&head.expect("the request is whole"))?)
    };
    let response = match shake(&mut REQUEST.replace(from, to).into_bytes()) {
        Ok(upgrade) => upgrade.response(),
        Err(error) => Response::refusal(error),
    };
    let mut output = Vec::new();
    response.encode(&mut output);
    String::from_utf8(output).expect("heads are ASCII")
}

/// The valid request with `from` replaced is answered with this status.
#[track_caller]
fn assert_status(from: &str, to: &str, status: u16) {
    let answer = answer_with(from, to);
    assert_eq!(answer[9..12], status.to_string(), "{to:?}");
}
