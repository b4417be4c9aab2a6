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

mod section_4_opening_handshake {
    use super::*;

    // Section 4.2.1, items 1 to 6.
    #[test]
    fn each_requirement_on_the_request_is_checked() {
        assert_status("GET", "POST", 405);
        assert_status("HTTP/1.1", "HTTP/1.0", 505);
        assert_status("Host: example.com\r\n", "", 400);
        assert_status("Upgrade: websocket\r\n", "", 426);
        assert_status("websocket\r\n", "websockets\r\n", 426);
        assert_status("Connection: Upgrade\r\n", "", 426);
        assert_status("Connection: Upgrade", "Connection: close", 426);
        assert_status("Sec-WebSocket-Key", "X-Key", 400);
        assert_status("b25jZQ==", "b25j", 400);
        assert_status("Sec-WebSocket-Version", "X-Version", 426);
        // Names and tokens in any case, and tokens in a list.
        assert_status("Upgrade: websocket", "UPGRADE: WebSocket", 101);
        assert_status(": Upgrade", ": keep-alive, upgrade", 101);
        assert_status("Sec-WebSocket-", "sec-websocket-", 101);
    }

    // Section 4.2.2, item 5, with the key of section 1.3.
    #[test]
    fn the_answer_proves_that_the_key_was_read() {
        assert_eq!(
            answer_with("", ""),
            "HTTP/1.1 101 Switching Protocols\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
    }

    // Section 4.2.2, item 4: none unless one of the client's own is chosen.
    #[test]
    fn only_a_subprotocol_that_was_offered_is_answered() {
        let answer = |offer: &str| answer_with("Upgrade: ", &(offer.to_owned() + "\r\nUpgrade: "));
        let chat = answer("Sec-WebSocket-Protocol: chat");
        assert!(chat.ends_with("\r\nSec-WebSocket-Protocol: chat\r\n\r\n"));
        let preferred = answer("Sec-WebSocket-Protocol: chat, superchat");
        assert!(preferred.ends_with("\r\nSec-WebSocket-Protocol: superchat\r\n\r\n"));
        assert_eq!(
            answer("Sec-WebSocket-Protocol: x, CHAT"),
            answer_with("", "")
        );
    }

    // Section 9.1: an extension is in use only if the server says so.
    #[test]
    fn extensions_are_declined_by_silence() {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\nHost";
        assert_eq!(answer_with("Host", offer), answer_with("", ""));
    }

    // Section 4.4: a server that does not speak the version names those that it does.
    #[test]
    fn another_version_is_told_ours() {
        for version in ["0", "7", "8", "12", "14", "255", "13, 8", "x"] {
            let answer = answer_with("Version: 13", &format!("Version: {version}"));
            assert!(answer.starts_with("HTTP/1.1 426 "), "{version}: {answer}");
            assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"));
        }
    }

    // Section 10.2: 403 where the origin is not an acceptable one; browsers alone send one.
    #[test]
    fn an_origin_is_allowed_or_forbidden() {
        assert_status("Host", "Origin: https://example.com\r\nHost", 101);
        assert_status("Host", "Origin: https://evil.example\r\nHost", 403);
        assert_status("Host", "Origin: https://example.com.evil\r\nHost", 403);
        assert_status("Host", "Origin: null\r\nHost", 403);
        let twice = "Origin: https://example.com\r\n".repeat(2) + "Host";
        assert_status("Host", &twice, 400);
    }
}

mod section_5_framing {
    use super::*;

    // Section 5.1: a server MUST close the connection on a frame that is not masked.
    #[test]
    fn a_frame_without_a_mask_fails_the_connection() {
        for first_byte in [0x81, 0x82, 0x01, 0x88, 0x89, 0x8A] {
            assert_last_byte_fails(&answer(first_byte, b""), Unmasked);
        }
        assert_fails(&[answer(0x82, &[0; 300])], Unmasked);
    }

    // Section 5.2 and section 5.8: no extension owns a reserved bit or opcode.
    #[test]
    fn each_reserved_bit_and_opcode_fails_the_connection_at_once() {
        for first_byte in 0..=u8::MAX {
            if first_byte & 0x70 != 0 {
                assert_last_byte_fails(&[first_byte], ReservedBits);
            } else if matches!(first_byte & 0xF, 0x3..=0x7 | 0xB..=0xF) {
                assert_last_byte_fails(&[first_byte], ReservedOpcode);
            }
        }
    }

    // Section 5.2, both sides of each form; section 5.1: a server MUST NOT mask.
    #[test]
    fn each_form_of_the_length_is_read_and_written() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let payload = vec![7; len];
            let mut output = Vec::new();
            encode_message(MessageKind::Binary, &payload, &mut output);
            assert!(output == answer(0x82, &payload), "{len} bytes");
            assert_heard(&[frame(0x82, &payload)], &[Said::Binary(payload)], b"");
        }
    }

    // Section 5.2: minimal, and the top bit MUST be 0. Neither verdict waits for the key.
    #[test]
    fn a_length_in_a_longer_form_or_with_its_top_bit_fails_the_connection() {
        for len in [0_u16, 125] {
            let bytes = [&[0x82, 0xFE][..], &len.to_be_bytes()].concat();
            assert_last_byte_fails(&bytes, LengthNotMinimal);
        }
        let long = |len: u64| [&[0x82, 0xFF][..], &len.to_be_bytes()].concat();
        for len in [0, 125, 126, 65_535] {
            assert_last_byte_fails(&long(len), LengthNotMinimal);
        }
        assert_last_byte_fails(&long(1 << 63), LengthTopBit);
        assert_last_byte_fails(&long(u64::MAX), LengthTopBit);
    }

    // Section 5.3: octet i of the payload is masked with octet i modulo 4 of the frame's key.
    #[test]
    fn every_frame_is_unmasked_with_its_own_key() {
        let payload: Vec<u8> = (0..=255).collect();
        let said = [Said::Binary(payload.clone()), text("next")];
        for key in [[0; 4], [0xFF; 4], [1, 2, 3, 4], [0, 0, 0, 1]] {
            let first = encode(0x82, Some(key), &payload);
            assert_heard(&[first, frame(0x81, b"next")], &said, b"");
        }
    }

    // Section 5.4; section 5.6: text is UTF-8, binary is anything.
    #[test]
    fn fragments_are_one_message_of_the_first_ones_kind() {
        let frames = [frame(0x01, b""), frame(0x00, b"a"), frame(0x80, b"b")];
        assert_heard(&frames, &[text("ab")], b"");
        let frames = [frame(0x02, b"\xff"), frame(0x80, b"")];
        assert_heard(&frames, &[Said::Binary(vec![0xFF])], b"");
    }

    // Section 5.4: between fragments; section 5.5.2: "as soon as is practical".
    #[test]
    fn control_frames_between_fragments_are_answered_at_once() {
        let pong = answer(0x8A, b"?");
        let start = [frame(0x01, b"Hel"), frame(0x89, b"?")];
        assert_heard(&start, &[Said::Ping], &pong);
        let end = [frame(0x8A, b""), frame(0x80, b"lo")];
        let said = [Said::Ping, Said::Pong, text("Hello")];
        assert_heard(&[start, end].concat(), &said, &pong);
    }

    // Section 5.4: the fragments of one message are not interleaved with those of another.
    #[test]
    fn fragments_out_of_order_fail_the_connection() {
        assert_fails(&[frame(0x80, b"a")], UnexpectedContinuation);
        assert_fails(&[frame(0x00, b"a")], UnexpectedContinuation);
        for first_byte in [0x01, 0x02, 0x81, 0x82] {
            let frames = [frame(0x01, b"a"), frame(first_byte, b"b")];
            assert_fails(&frames, ExpectedContinuation);
        }
        let last = frame(0x80, b"");
        let frames = [frame(0x01, b"a"), last.clone(), last].concat();
        assert_eq!(hear(&frames, WHOLE).error, Some(UnexpectedContinuation));
    }

    // Section 5.5: at most 125 bytes, and not fragmented.
    #[test]
    fn control_frames_are_short_and_whole() {
        for opcode in [0x8, 0x9, 0xA] {
            assert_last_byte_fails(&[0x80 | opcode, 0xFE], ControlTooLong);
            assert_last_byte_fails(&[0x80 | opcode, 0xFF], ControlTooLong);
            assert_last_byte_fails(&[opcode], ControlFragmented);
        }
        let mut longest = "x".repeat(125);
        let ping = frame(0x89, longest.as_bytes());
        assert_heard(&[ping], &[Said::Ping], &answer(0x8A, longest.as_bytes()));
        assert_heard(&[frame(0x8A, longest.as_bytes())], &[Said::Pong], b"");
        let reason = longest.split_off(2);
        let end = frame(0x88, &close(1000, &reason));
        assert_heard(&[end], &[Said::Close(1000, reason)], &echo(1000));
    }

    // Section 5.5.2: a Pong for each; section 5.5.3: with the same payload, and none for a Pong.
    #[test]
    fn every_ping_is_answered_in_order_with_its_own_payload() {
        let first = [frame(0x89, b""), frame(0x8A, b"unasked")];
        let frames = [first, [frame(0x89, b"\0\xff"), frame(0x89, b"3")]].concat();
        let said = [Said::Ping, Said::Pong, Said::Ping, Said::Ping];
        assert_heard(&frames, &said, b"\x8a\x00\x8a\x02\0\xff\x8a\x013");
    }

    // Section 5.7.
    #[test]
    fn the_examples_of_the_rfc() {
        const HELLO: &[u8] = b"\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let masked = |first_byte| [&[first_byte, 0x85], HELLO].concat();
        assert_heard(&[masked(0x81)], &[text("Hello")], b"");
        assert_heard(&[masked(0x89)], &[Said::Ping], b"\x8a\x05Hello");
    }
}

mod section_6_sending_and_receiving {
    use super::*;

    // Section 6.2: what was said before an error has been said.
    #[test]
    fn messages_before_an_error_are_delivered() {
        let said = [frame(0x81, b"one"), frame(0x81, b"two")].concat();
        for cuts in ALL_CUTS {
            let heard = hear(&[&said[..], &[0x83], &said].concat(), cuts);
            assert_eq!(heard.said, [text("one"), text("two")]);
            assert_eq!(heard.error, Some(ReservedOpcode));
        }
    }
}

mod section_7_closing {
    use super::*;

    // Section 5.5.1: the answer echoes the code; section 7.4: these may be sent.
    #[test]
    fn a_close_is_answered_with_its_own_code_or_1000() {
        for code in (1000..=1003).chain(1007..=1014).chain([3000, 4999]) {
            let frames = [frame(0x88, &close(code, ""))];
            assert_heard(&frames, &[closed(code)], &echo(code));
        }
        assert_heard(&[frame(0x88, b"")], &[closed(1005)], &echo(1000));
    }

    // Section 5.5.1: no code of one byte; section 7.4: no reserved and no unused code.
    #[test]
    fn a_code_that_must_not_be_sent_fails_the_connection() {
        assert_fails(&[frame(0x88, b"\x03")], ProtocolError::CloseTooShort);
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
            assert_fails(&[frame(0x88, &close(code, ""))], InvalidCloseCode);
        }
    }

    // Section 7.1.6, and section 8.1 for the errors.
    #[test]
    fn the_reason_of_a_close_is_heard_and_must_be_utf_8() {
        let said = [Said::Close(1000, "adiós".to_owned())];
        assert_heard(&[frame(0x88, &close(1000, "adiós"))], &said, &echo(1000));
        for reason in [&b"\xff"[..], b"\xe2\x82", b"ok\xed\xa0\x80"] {
            let payload = [&close(1000, ""), reason].concat();
            assert_fails(&[frame(0x88, &payload)], InvalidUtf8);
        }
    }

    // Section 5.5.1: what follows a Close is not processed; section 5.4: a Close may interrupt.
    #[test]
    fn nothing_behind_a_close_is_heard_or_answered() {
        let end = frame(0x88, &close(1001, ""));
        let ping = frame(0x89, b"?");
        for later in [frame(0x81, b"late"), ping, end.clone(), vec![0xFF]] {
            assert_heard(&[end.clone(), later], &[closed(1001)], &echo(1001));
        }
        assert_heard(&[frame(0x01, b"half"), end], &[closed(1001)], &echo(1001));
    }

    // Section 7.1.2: after our Close we say nothing more, and wait for the peer's.
    #[test]
    fn a_closing_handshake_that_we_begin() {
        let end = frame(0x88, &close(1001, ""));
        let bytes = [frame(0x81, b"late"), frame(0x89, b"?"), end].concat();
        for cuts in ALL_CUTS {
            let mut connection = Connection::new(Limits::default());
            let mut output = Vec::new();
            connection.close(Some(CloseCode::GOING_AWAY), "restart", &mut output);
            connection.close(Some(CloseCode::NORMAL), "again", &mut output);
            assert_eq!(output, answer(0x88, &close(1001, "restart")));
            assert!(!connection.is_open() && !connection.is_closed());
            let heard = hear_on(&mut connection, &bytes, cuts);
            assert_eq!(heard.said, [Said::Ping, closed(1001)]);
            assert_eq!((heard.error, heard.output), (None, vec![]));
            assert!(connection.is_closed());
        }
    }

    // Section 5.5.1: whoever has sent a Close sends no second one, also when the peer errs.
    #[test]
    fn an_error_after_our_close_is_not_answered() {
        let mut connection = Connection::new(Limits::default());
        connection.close(None, "", &mut Vec::new());
        let heard = hear_on(&mut connection, &frame(0x81, b"\xff"), WHOLE);
        assert_eq!((heard.error, heard.output), (Some(InvalidUtf8), vec![]));
        assert!(connection.is_closed());
    }

    // Section 7.1.7: "Fail the WebSocket Connection".
    #[test]
    fn a_failed_connection_hears_nothing_more() {
        let mut connection = Connection::new(Limits::default());
        let mut output = Vec::new();
        connection.fail(CloseCode::POLICY_VIOLATION, "rate", &mut output);
        connection.fail(CloseCode::INTERNAL_ERROR, "", &mut output);
        assert_eq!(output, answer(0x88, &close(1008, "rate")));
        let frames = [frame(0x81, b"late"), frame(0x88, b"")].concat();
        let heard = hear_on(&mut connection, &frames, BYTEWISE);
        assert_eq!(heard, Heard::default());
    }
}

mod section_8_utf_8 {
    use super::*;

    /// Text, and how many of its bytes it takes to see that it is none.
    const INVALID: [(&[u8], usize); 8] = [
        (b"\x80", 1),
        (b"ok\xff", 3),
        (b"\xc0\xaf", 1),
        (b"\xc3(", 2),
        (b"\xed\xa0\x80", 2),
        (b"\xe2\x82(", 3),
        (b"\xf4\x90\x80\x80", 2),
        (b"\xce\xba\xe1\xbd\xb9\xf5", 6),
    ];

    // Section 8.1, wherever the text is cut; the first wrong byte is enough (Autobahn 6.4).
    #[test]
    fn text_that_is_no_utf_8_fails_at_its_first_wrong_byte() {
        for (bytes, wrong) in INVALID {
            assert_last_byte_fails(&frame(0x81, bytes)[..6 + wrong], InvalidUtf8);
            for at in 0..=bytes.len() {
                let (first, second) = bytes.split_at(at);
                assert_fails(&[frame(0x01, first), frame(0x80, second)], InvalidUtf8);
            }
        }
    }

    // Section 5.6: only the whole message has to be valid.
    #[test]
    fn a_character_may_be_cut_by_fragments_but_not_by_the_end() {
        const TEXT: &str = "aé€𐍈\u{10FFFF}\0";
        for at in 0..=TEXT.len() {
            let (first, second) = TEXT.as_bytes().split_at(at);
            let frames = [frame(0x01, first), frame(0x80, second)];
            assert_heard(&frames, &[text(TEXT)], b"");
        }
        for unfinished in [&b"\xc3"[..], b"ok\xe2\x82", b"\xf0\x90\x8d"] {
            assert_fails(&[frame(0x81, unfinished)], InvalidUtf8);
            assert_fails(&[frame(0x01, unfinished), frame(0x80, b"")], InvalidUtf8);
        }
    }
}

mod section_10_4_limits {
    use super::*;

    const MAX: usize = 65_536;

    // Section 10.4: a limit on the size of a frame and of a message after reassembly.
    #[test]
    fn both_sides_of_the_largest_message() {
        let most = "x".repeat(MAX);
        assert_heard(&[frame(0x81, most.as_bytes())], &[text(&most)], b"");
        let (first, second) = most.as_bytes().split_at(40_000);
        let frames = [frame(0x01, first), frame(0x00, second), frame(0x80, b"")];
        // The sum starts anew with each message.
        let twice = [frames.clone(), frames].concat();
        assert_heard(&twice, &[text(&most), text(&most)], b"");
        let frames = [frame(0x01, first), frame(0x00, second), frame(0x80, b"x")];
        assert_fails(&frames, MessageTooBig);
        assert_fails(&[frame(0x82, &vec![0; MAX + 1])], MessageTooBig);
    }

    // Section 10.4: an announced length is judged by the header, before any of the payload.
    #[test]
    fn a_length_over_the_limit_is_refused_by_its_header() {
        for len in [MAX as u64 + 1, 1 << 32, u64::MAX >> 1] {
            let rest = [&[0xFF][..], &len.to_be_bytes(), &KEY].concat();
            assert_last_byte_fails(&[vec![0x82], rest.clone()].concat(), MessageTooBig);
            // A sum that overflows 63 bits is none that fits.
            let fragments = [frame(0x02, b"a"), vec![0x80], rest];
            assert_last_byte_fails(&fragments.concat(), MessageTooBig);
        }
    }

    // Section 10.4; DESIGN.md, section 4: 1024, and one more for each 64 bytes of the limit.
    #[test]
    fn both_sides_of_the_most_fragments() {
        for (max_message_size, most) in [(0, 1024), (127, 1025), (MAX, 2048)] {
            let mut limits = Limits::default();
            limits.max_message_size = max_message_size;
            let hear = |fragments: usize| {
                let between = frame(0x00, b"").repeat(fragments - 2);
                let bytes = [frame(0x01, b""), between, frame(0x80, b"")].concat();
                hear_on(&mut Connection::new(limits), &bytes.repeat(2), IRREGULAR)
            };
            assert_eq!(hear(most).said, [text(""), text("")]);
            assert_eq!(hear(most + 1).error, Some(TooManyFragments));
        }
    }
}

/// Section 5: a frame may arrive in pieces of any size, and the pieces must not matter.
mod however_the_bytes_are_cut {
    use super::*;

    const STREAMS: u64 = 5_000;

    /// Xorshift (Marsaglia, 2003); the seed must not be 0.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % end as u64).expect("it is below a usize")
        }

        fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
            choices[self.below(choices.len())]
        }

        fn byte(&mut self) -> u8 {
            u8::try_from(self.below(256)).expect("it is below 256")
        }

        /// A frame with a key of its own.
        fn frame(&mut self, first_byte: u8, payload: &[u8]) -> Vec<u8> {
            let key = [self.byte(), self.byte(), self.byte(), self.byte()];
            encode(first_byte, Some(key), payload)
        }
    }

    /// Messages in fragments with Pings among them, a Close, and what should be heard of it.
    fn honest_stream(random: &mut Random) -> (Vec<u8>, Heard) {
        let (mut bytes, mut expected) = (Vec::new(), Heard::default());
        for _ in 0..=random.below(4) {
            let len = random.pick(&[0, 1, 5, 40, 125, 126, 300]);
            let letters = (0..len).map(|_| random.pick(&['a', 'é', '€', '𐍈']));
            let message: String = letters.collect();
            let (mut rest, mut opcode) = (message.as_bytes(), 0x1);
            while random.below(2) == 0 {
                let (fragment, later) = rest.split_at(random.below(rest.len() + 1));
                bytes.extend(random.frame(opcode, fragment));
                (opcode, rest) = (0x0, later);
                let payload = vec![random.byte(); random.pick(&[0, 1, 125])];
                bytes.extend(random.frame(0x89, &payload));
                expected.output.extend(answer(0x8A, &payload));
                expected.said.push(Said::Ping);
            }
            bytes.extend(random.frame(0x80 | opcode, rest));
            expected.said.push(Said::Text(message));
        }
        bytes.extend(random.frame(0x88, &close(1000, "")));
        expected.said.push(closed(1000));
        expected.output.extend(echo(1000));
        (bytes, expected)
    }

    /// One thing goes wrong: a bit, a lost byte, a frame that does not belong, the end.
    fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
        let (at, first_byte) = (random.below(bytes.len()), random.byte());
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => drop(bytes.remove(at)),
            2 => drop(bytes.splice(at..at, random.frame(first_byte, b"odd"))),
            _ => bytes.truncate(at),
        }
    }

    #[test]
    fn what_is_heard_is_the_same() {
        let mut failed = 0;
        for seed in 1..=STREAMS {
            let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let (mut bytes, expected) = honest_stream(&mut random);
            for cuts in ALL_CUTS {
                assert_eq!(hear(&bytes, cuts), expected, "seed {seed}, {cuts:?}");
            }
            damage(&mut random, &mut bytes);
            let whole = hear(&bytes, WHOLE);
            failed += u64::from(whole.error.is_some());
            let irregular: Vec<usize> = (0..20).map(|_| random.below(30)).chain([1]).collect();
            for cuts in [BYTEWISE, IRREGULAR, &irregular] {
                assert_eq!(hear(&bytes, cuts), whole, "seed {seed}, {cuts:?}");
            }
        }
        let share = failed * 100 / STREAMS;
        assert!((30..70).contains(&share), "{share} % of the streams failed");
    }
}
