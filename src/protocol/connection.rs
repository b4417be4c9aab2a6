//! One open connection as a state machine: RFC 6455, sections 5 to 7.

use super::close::{CloseCode, CloseFrame};
use super::error::ProtocolError;
use super::event::Event;
use super::frame::FrameHeader;
use super::input::Input;
use super::limits::Limits;
use super::mask::unmask;
use super::message::{Message, MessageAssembler, MessageKind};
use super::opcode::Opcode;
use super::partial::{Partial, PartialFrame};
use super::payload::Payload;
use super::utf8::Utf8Validator;

/// How far the closing handshake has come (RFC 6455, section 7.1).
///
/// ```text
///            close()                       Close from the peer
///   Open ───────────────▶ CloseSent ──────────────────────────▶ Closed
///     │                        │ error                             ▲
///     └────────────────────────┴───────────────────────────────────┘
///        Close from the peer (answered), error (Close sent), fail()
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Both sides may speak.
    Open,
    /// We have said Close and say nothing more; the peer's messages are read and dropped.
    CloseSent,
    /// Nothing is read or said any more.
    Closed,
}

/// The server's side of one connection after the opening handshake.
///
/// Feed it what arrives with [`receive`](Self::receive), in pieces of any size.
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    state: State,
    /// Whether a message is an error.
    listens_only: bool,
    frames_received: u64,
    /// What has arrived in part. A connection between two messages owns none, and one whose
    /// messages arrive whole never does.
    partial: Option<Box<Partial>>,
}

impl Connection {
    /// A connection that has just been opened.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Open,
            listens_only: false,
            frames_received: 0,
            partial: None,
        }
    }

    /// The same for a peer that may not send messages: the header of the first one fails the
    /// connection, so nothing of a message is ever kept.
    #[must_use]
    pub fn listening_only(mut self) -> Self {
        self.listens_only = true;
        self
    }

    /// Whether both sides may still send messages.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the closing handshake is complete, or the connection failed: once the output is
    /// flushed the server closes TCP (section 7.1.1).
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Frames that have arrived whole; it tells a peer that is alive from one that trickles.
    pub fn frames_received(&self) -> u64 {
        self.frames_received
    }

    /// Consumes input up to the next event; `None` when the input is used up. What RFC 6455 obliges
    /// us to answer is appended to `output`.
    ///
    /// # Errors
    /// When the peer broke the protocol or a limit. The connection has then failed: a Close with
    /// the error's code has been appended (unless we had sent one), and all further input is
    /// dropped.
    pub fn receive<'i>(
        &mut self,
        input: &mut Input<'i>,
        output: &mut Vec<u8>,
    ) -> Result<Option<Event<'i>>, ProtocolError> {
        while self.state != State::Closed {
            let step = match self.step(input, output) {
                Ok(step) => step,
                Err(error) => {
                    self.fail(error.close_code(), error.reason(), output);
                    input.take_all();
                    return Err(error);
                }
            };
            self.release();
            match step {
                Step::Starved => return Ok(None),
                // Our Close is out: section 1.4 has us drop what the peer said before it saw it.
                Step::Event(Event::Message(_)) if self.state == State::CloseSent => {}
                Step::Event(event) => return Ok(Some(event)),
                Step::Fragment => {}
            }
        }
        input.take_all();
        Ok(None)
    }

    /// Where the payload that is arriving can be read to directly, if so much of a message's frame
    /// is missing that this is worth it: at most 1 MiB, and no more than the frame misses. What was
    /// read there is told to [`landed`](Self::landed); anything else may still go through
    /// [`receive`](Self::receive). `spare` is asked for a buffer of at least so many bytes when
    /// there is too little room; whatever is in it is overwritten.
    ///
    /// # Panics
    /// If what `spare` gives is shorter than asked for.
    pub fn landing(&mut self, spare: impl FnOnce(usize) -> Option<Vec<u8>>) -> Option<&mut [u8]> {
        self.partial.as_mut()?.landing(spare)
    }

    /// Consumes the first `count` bytes of the [`landing`](Self::landing), which were read there. A
    /// count that is larger than what was read would deliver what other messages left behind it.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    ///
    /// # Panics
    /// If there was no landing, or a shorter one.
    pub fn landed(
        &mut self,
        count: usize,
        output: &mut Vec<u8>,
    ) -> Result<Option<Event<'static>>, ProtocolError> {
        let partial = self.partial.as_mut().expect("a frame is arriving");
        let landed = partial.land(count);
        let step = landed.and_then(|frame| self.frame_continued(frame, output));
        let step = step.inspect_err(|error| {
            self.fail(error.close_code(), error.reason(), output);
        })?;
        self.release();
        match step {
            Step::Event(event) if self.state == State::Open => Ok(Some(event)),
            Step::Event(_) | Step::Starved | Step::Fragment => Ok(None),
        }
    }

    /// Changes the limits while the connection is open. A message that is arriving is held to them
    /// as if its header came now.
    ///
    /// # Errors
    /// If it is too long for them: the connection has failed, as by [`receive`](Self::receive).
    pub fn set_limits(&mut self, new: Limits, output: &mut Vec<u8>) -> Result<(), ProtocolError> {
        self.limits = new;
        let arriving = self
            .partial
            .as_ref()
            .map_or(0, |partial| partial.announced());
        if self.state == State::Open && arriving > new.max_message_size {
            let error = ProtocolError::MessageTooBig;
            self.fail(error.close_code(), error.reason(), output);
            return Err(error);
        }
        Ok(())
    }

    /// Lets go of what is complete.
    fn release(&mut self) {
        self.partial.take_if(|partial| partial.is_done());
    }

    /// Begins the closing handshake: appends a Close, after which nothing more may be sent. The
    /// peer's Close is still awaited. Does nothing if a Close has been sent.
    pub fn close(&mut self, code: Option<CloseCode>, reason: &str, output: &mut Vec<u8>) {
        if self.state == State::Open {
            self.state = State::CloseSent;
            CloseFrame::encode(code, reason, output);
        }
    }

    /// Fails the connection (section 7.1.7): appends a Close unless one has been sent, and reads
    /// nothing more.
    pub fn fail(&mut self, code: CloseCode, reason: &str, output: &mut Vec<u8>) {
        self.close(Some(code), reason, output);
        self.shut();
    }

    /// Reads nothing more, and lets go of what was half-read.
    fn shut(&mut self) {
        self.state = State::Closed;
        self.partial = None;
    }

    #[inline]
    fn step<'i>(
        &mut self,
        input: &mut Input<'i>,
        output: &mut Vec<u8>,
    ) -> Result<Step<'i>, ProtocolError> {
        if let Some(frame) = self.partial.as_ref().and_then(|partial| partial.frame) {
            return self.continue_frame(frame, input, output);
        }
        let Some(header) = self.next_header(input)? else {
            return Ok(Step::Starved);
        };
        // RFC 6455, section 5.1: a server MUST close the connection on a frame without a mask.
        let key = header.mask.ok_or(ProtocolError::Unmasked)?;
        if !header.opcode.is_control() {
            // Behind our Close, messages are dropped from whomever they come.
            if self.listens_only && self.state == State::Open {
                return Err(ProtocolError::MessageNotAllowed);
            }
            match &self.partial {
                Some(partial) => partial.message.admit(&header, &self.limits)?,
                None => MessageAssembler::default().admit(&header, &self.limits)?,
            }
        }
        // Both kinds are now known to be small enough: control frames by `decode`.
        let missing = usize::try_from(header.payload_len).expect("admitted by a usize limit");

        let is_whole = input.len() >= missing;
        if is_whole && header.opcode.is_control() {
            let payload = input.take(missing);
            unmask(payload, key, 0);
            let event = self.control_frame(header.opcode, payload, output);
            return event.map(Step::Event);
        }
        if is_whole && header.fin && header.opcode != Opcode::Continuation {
            let payload = input.take(missing);
            unmask(payload, key, 0);
            return self.whole_message(header.opcode, payload).map(Step::Event);
        }
        if !header.opcode.is_control() {
            self.partial().message.begin_frame(header.opcode);
        }
        let frame = PartialFrame {
            fin: header.fin,
            opcode: header.opcode,
            key,
            received: 0,
            missing,
        };
        self.continue_frame(frame, input, output)
    }

    /// The next frame's header, put together from pieces where it must be.
    #[inline]
    fn next_header(&mut self, input: &mut Input<'_>) -> Result<Option<FrameHeader>, ProtocolError> {
        let kept = self
            .partial
            .as_ref()
            .map_or(0, |partial| usize::from(partial.header_len));
        if kept == 0 {
            // The common case: the header is decoded where it lies.
            if let Some((header, len)) = FrameHeader::decode(input.peek())? {
                input.take(len);
                return Ok(Some(header));
            }
        }
        let fresh = input.len().min(FrameHeader::MAX_LEN - kept);
        if fresh == 0 {
            return Ok(None);
        }
        let end = kept + fresh;
        let partial = self.partial();
        partial.header[kept..end].copy_from_slice(&input.peek()[..fresh]);
        if let Some((header, len)) = FrameHeader::decode(&partial.header[..end])? {
            input.take(len - kept);
            partial.header_len = 0;
            return Ok(Some(header));
        }
        input.take(fresh);
        partial.header_len = u8::try_from(end).expect("a header has at most 14 bytes");
        Ok(None)
    }

    fn partial(&mut self) -> &mut Partial {
        self.partial.get_or_insert_default()
    }

    /// Takes what has arrived of a frame that does not arrive in one piece, or that is a fragment.
    fn continue_frame<'i>(
        &mut self,
        mut frame: PartialFrame,
        input: &mut Input<'i>,
        output: &mut Vec<u8>,
    ) -> Result<Step<'i>, ProtocolError> {
        let piece = input.take(frame.missing);
        unmask(piece, frame.key, frame.received);
        let partial = self.partial();
        if frame.opcode.is_control() {
            partial.control.extend_from_slice(piece);
        } else {
            partial.message.push(piece)?;
        }
        frame.received += piece.len();
        frame.missing -= piece.len();
        self.frame_continued(frame, output)
    }

    /// Takes note of how far a frame has come, and ends it if it is complete.
    fn frame_continued<'i>(
        &mut self,
        frame: PartialFrame,
        output: &mut Vec<u8>,
    ) -> Result<Step<'i>, ProtocolError> {
        let partial = self.partial();
        if frame.missing > 0 {
            partial.frame = Some(frame);
            return Ok(Step::Starved);
        }
        partial.frame = None;
        if frame.opcode.is_control() {
            let payload = std::mem::take(&mut partial.control);
            return self
                .control_frame(frame.opcode, &payload, output)
                .map(Step::Event);
        }
        self.frames_received += 1;
        if !frame.fin {
            return Ok(Step::Fragment);
        }
        let message = self.partial().message.finish()?;
        Ok(Step::Event(Event::Message(message)))
    }

    /// An unfragmented message that lies whole in the input: checked at once, not copied.
    fn whole_message<'i>(
        &mut self,
        opcode: Opcode,
        payload: &'i [u8],
    ) -> Result<Event<'i>, ProtocolError> {
        self.frames_received += 1;
        let kind = match opcode {
            Opcode::Text => MessageKind::Text,
            _ => MessageKind::Binary,
        };
        if kind == MessageKind::Text {
            let mut utf8 = Utf8Validator::default();
            if utf8.push(payload).is_err() || !utf8.is_complete() {
                return Err(ProtocolError::InvalidUtf8);
            }
        }
        Ok(Event::Message(Message {
            kind,
            payload: Payload::from(payload),
        }))
    }

    fn control_frame<'i>(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<Event<'i>, ProtocolError> {
        self.frames_received += 1;
        match opcode {
            Opcode::Ping => {
                // Our Close is the last thing that we say: who has sent a Ping before it saw that
                // Close does not wait for a Pong.
                if self.state == State::Open {
                    FrameHeader::unmasked(Opcode::Pong, payload.len()).encode(output);
                    output.extend_from_slice(payload);
                }
                Ok(Event::Ping)
            }
            Opcode::Pong => Ok(Event::Pong),
            Opcode::Close => {
                let close = CloseFrame::decode(payload)?;
                // RFC 6455, section 5.5.1: the answer typically echoes the status code. Where the
                // peer gave none, ours is 1000.
                self.close(Some(close.code.unwrap_or(CloseCode::NORMAL)), "", output);
                self.shut();
                Ok(Event::Close(close))
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                unreachable!("data frames go to the assembler")
            }
        }
    }
}

/// What one step through the input came to.
enum Step<'i> {
    /// The input is used up.
    Starved,
    /// A fragment, but not the last, of a message.
    Fragment,
    Event(Event<'i>),
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// A client's frame: first byte as given, masked.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let opcode = Opcode::from_wire(first & 0xF).unwrap();
        let header = FrameHeader {
            fin: first & 0x80 != 0,
            opcode,
            mask: Some(KEY),
            payload_len: payload.len() as u64,
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        let start = bytes.len();
        bytes.extend_from_slice(payload);
        unmask(&mut bytes[start..], KEY, 0);
        bytes
    }

    type Heard = (Vec<Event<'static>>, Option<ProtocolError>, Vec<u8>);

    /// What a connection makes of `bytes` cut after every `cut` bytes.
    fn hear(bytes: &[u8], cut: usize) -> Heard {
        hear_with(&mut Connection::new(Limits::default()), bytes, cut)
    }

    fn hear_with(connection: &mut Connection, bytes: &[u8], cut: usize) -> Heard {
        let (mut events, mut output) = (Vec::new(), Vec::new());
        for piece in bytes.to_vec().chunks_mut(cut) {
            let mut input = Input::new(piece);
            loop {
                match connection.receive(&mut input, &mut output) {
                    Ok(Some(Event::Message(message))) => events.push(Event::Message(Message {
                        kind: message.kind,
                        payload: message.payload.into_owned().into(),
                    })),
                    Ok(Some(Event::Ping)) => events.push(Event::Ping),
                    Ok(Some(Event::Pong)) => events.push(Event::Pong),
                    Ok(Some(Event::Close(close))) => events.push(Event::Close(close)),
                    Ok(None) => break,
                    Err(error) => return (events, Some(error), output),
                }
            }
            assert!(input.is_empty());
        }
        (events, None, output)
    }

    fn text(payload: &str) -> Event<'static> {
        Event::Message(Message {
            kind: MessageKind::Text,
            payload: payload.as_bytes().to_vec().into(),
        })
    }

    #[test]
    fn a_masked_text_message() {
        // RFC 6455, section 5.7.
        let bytes = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(hear(bytes, 99), (vec![text("Hello")], None, vec![]));
    }

    #[test]
    fn a_whole_message_is_not_copied() {
        let mut bytes = frame(0x82, b"abc");
        let payload = bytes[6..].as_ptr();
        let mut input = Input::new(&mut bytes);
        let mut connection = Connection::new(Limits::default());
        match connection.receive(&mut input, &mut Vec::new()) {
            Ok(Some(Event::Message(message))) => {
                assert_eq!(message.payload.as_ptr(), payload);
            }
            other => panic!("{other:?}"),
        }
    }

    /// What a connection makes of `bytes` when all that can be is read where it belongs, `cut` bytes
    /// at a time.
    fn hear_landed(bytes: &[u8], cut: usize) -> Heard {
        let mut connection = Connection::new(Limits::default());
        let (mut events, mut output) = (Vec::new(), Vec::new());
        let mut rest = bytes;
        while !rest.is_empty() {
            let spare = |len| (cut % 2 == 0).then(|| vec![0xEE; len]);
            let landed = connection.landing(spare).map(|landing| {
                let count = landing.len().min(cut).min(rest.len());
                landing[..count].copy_from_slice(&rest[..count]);
                count
            });
            let count = landed.unwrap_or(cut.min(rest.len()));
            let heard = if landed.is_none() {
                hear_with(&mut connection, &rest[..count], count)
            } else {
                match connection.landed(count, &mut output) {
                    Ok(event) => (event.into_iter().collect(), None, vec![]),
                    Err(error) => (vec![], Some(error), vec![]),
                }
            };
            rest = &rest[count..];
            events.extend(heard.0);
            output.extend(heard.2);
            if heard.1.is_some() {
                return (events, heard.1, output);
            }
        }
        (events, None, output)
    }

    #[test]
    #[cfg_attr(miri, ignore = "hundreds of kilobytes take minutes there")]
    fn it_does_not_matter_where_bytes_are_read_to() {
        let long = "long: κόσμε".repeat(4000);
        let (first, second) = long.as_bytes().split_at(30_001);
        let wrong_at = |position: usize| {
            let mut frame = frame(0x81, long.as_bytes());
            frame[position] ^= 0xFF;
            frame
        };
        let said = [
            [
                frame(0x82, long.as_bytes()),
                frame(0x89, b"p"),
                frame(0x81, b"short"),
            ]
            .concat(),
            [frame(0x01, first), frame(0x89, b"p"), frame(0x80, second)].concat(),
            wrong_at(long.len() / 2),
            wrong_at(long.len()),
        ];
        for bytes in said {
            let expected = hear(&bytes, bytes.len());
            for cut in [999, 1000, 20_000, 20_001, 40_000, usize::MAX] {
                assert!(
                    hear_landed(&bytes, cut) == expected,
                    "{cut} bytes at a time"
                );
            }
        }
    }

    #[test]
    fn control_frames_go_between_fragments_and_are_answered_in_order() {
        let bytes = [
            frame(0x01, b"Hel"),
            frame(0x89, b"1"),
            frame(0x00, b""),
            frame(0x8A, b"unasked"),
            frame(0x89, b"2"),
            frame(0x80, b"lo"),
        ]
        .concat();
        let expected = vec![Event::Ping, Event::Pong, Event::Ping, text("Hello")];
        assert_eq!(
            hear(&bytes, 99),
            (expected, None, b"\x8a\x011\x8a\x012".to_vec())
        );
    }

    #[test]
    fn a_close_is_echoed_and_nothing_behind_it_is_read() {
        let bytes = [
            frame(0x88, b"\x0f\xa1bye"),
            frame(0x81, b"no"),
            vec![0xFF; 9],
        ]
        .concat();
        let close = CloseFrame {
            code: CloseCode::from_wire(4001),
            reason: Cow::Borrowed("bye"),
        };
        let expected = (
            vec![Event::Close(close)],
            None,
            b"\x88\x02\x0f\xa1".to_vec(),
        );
        assert_eq!(hear(&bytes, 99), expected);
        assert_eq!(hear(&bytes, 1), expected);
    }

    #[test]
    fn a_close_without_a_code_is_answered_with_1000() {
        assert_eq!(hear(&frame(0x88, b""), 99).2, b"\x88\x02\x03\xe8");
    }

    #[test]
    fn a_close_inside_a_fragmented_message_is_a_close() {
        let bytes = [frame(0x01, b"Hel"), frame(0x88, b"\x03\xe8")].concat();
        let (events, error, output) = hear(&bytes, 99);
        assert!(matches!(events[..], [Event::Close(_)]) && error.is_none());
        assert_eq!(output, b"\x88\x02\x03\xe8");
    }

    #[test]
    fn errors_close_with_their_code_once() {
        let cases: [(Vec<u8>, ProtocolError); 12] = [
            (vec![0xC1], ProtocolError::ReservedBits),
            (vec![0x83], ProtocolError::ReservedOpcode),
            (vec![0x81, 0x01, b'a'], ProtocolError::Unmasked),
            (frame(0x80, b"a"), ProtocolError::UnexpectedContinuation),
            (
                [frame(0x01, b"a"), frame(0x81, b"b")].concat(),
                ProtocolError::ExpectedContinuation,
            ),
            (frame(0x88, b"\x03"), ProtocolError::CloseTooShort),
            (frame(0x88, b"\x03\xed"), ProtocolError::InvalidCloseCode),
            (frame(0x88, b"\x03\xe8\xff"), ProtocolError::InvalidUtf8),
            (frame(0x81, b"\xff"), ProtocolError::InvalidUtf8),
            (frame(0x81, b"\xe2\x82"), ProtocolError::InvalidUtf8),
            (
                frame(0x82, &vec![0; 65_537])[..14].to_vec(),
                ProtocolError::MessageTooBig,
            ),
            (vec![0x09], ProtocolError::ControlFragmented),
        ];
        for (bytes, error) in cases {
            for cut in [1, 2, 99] {
                let (events, heard, output) = hear(&[bytes.clone()].concat(), cut);
                assert_eq!((events, heard), (vec![], Some(error)));
                assert_eq!(output[2..4], error.close_code().to_wire().to_be_bytes());
                assert_eq!(
                    output.len(),
                    2 + usize::from(output[1]),
                    "one frame, and nothing else"
                );
            }
        }
    }

    #[test]
    fn bad_text_fails_before_its_frame_is_complete() {
        let bytes = frame(0x81, b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80more");
        let upto = bytes.len() - 6;
        assert_eq!(hear(&bytes[..upto - 1], 99).1, None);
        assert_eq!(hear(&bytes[..upto], 99).1, Some(ProtocolError::InvalidUtf8));
    }

    #[test]
    fn both_sides_of_the_message_limit() {
        let most = vec![b'x'; 65_536];
        assert_eq!(hear(&frame(0x81, &most), usize::MAX).0.len(), 1);
        assert_eq!(hear(&frame(0x81, &most), 1000).0.len(), 1);
        let more = vec![b'x'; 65_537];
        assert_eq!(
            hear(&frame(0x81, &more), 1000).1,
            Some(ProtocolError::MessageTooBig)
        );
    }

    #[test]
    fn after_our_close_messages_are_dropped_until_the_peers_close() {
        let mut connection = Connection::new(Limits::default());
        let mut output = Vec::new();
        assert!(connection.is_open() && !connection.is_closed());
        connection.close(Some(CloseCode::GOING_AWAY), "", &mut output);
        assert!(!connection.is_open() && !connection.is_closed());
        connection.close(Some(CloseCode::NORMAL), "", &mut output);
        assert_eq!(output, b"\x88\x02\x03\xe9");
        let bytes = [
            frame(0x81, b"late"),
            frame(0x89, b"?"),
            frame(0x88, b"\x03\xe9"),
        ]
        .concat();
        let (events, error, output) = hear_with(&mut connection, &bytes, 3);
        assert!(matches!(events[..], [Event::Ping, Event::Close(_)]) && error.is_none());
        assert!(output.is_empty() && connection.is_closed());
    }

    #[test]
    fn every_kind_of_frame_counts_when_it_is_whole() {
        // The heartbeat takes a count that grew for a sign of life, and one that stood for a trickle.
        let frames = [
            frame(0x01, b"first"),
            frame(0x89, b"ping"),
            frame(0x80, b"last"),
            frame(0x82, b"whole"),
            frame(0x8A, b"pong"),
        ];
        for cut in [1, 99] {
            let mut connection = Connection::new(Limits::default());
            for (bytes, count) in frames.iter().zip(1..) {
                let (most, end) = bytes.split_at(bytes.len() - 1);
                hear_with(&mut connection, most, cut);
                assert_eq!(connection.frames_received(), count - 1, "it is not whole");
                hear_with(&mut connection, end, cut);
                assert_eq!(connection.frames_received(), count);
            }
            // In one piece it takes another path.
            hear_with(&mut connection, &frames.concat(), usize::MAX);
            assert_eq!(connection.frames_received(), 10);
        }
    }

    #[test]
    fn however_the_bytes_are_cut_the_events_are_the_same() {
        let streams = [
            [
                frame(0x01, "κόσ".as_bytes()),
                frame(0x89, &[7; 125]),
                frame(0x80, "με𐍈".as_bytes()),
                frame(0x82, &[9; 300]),
                frame(0x8A, b""),
                frame(0x82, b""),
                frame(0x88, b"\x03\xe8done"),
                frame(0x81, b"never"),
            ]
            .concat(),
            [
                frame(0x81, b"ok"),
                frame(0x01, b"a"),
                frame(0x80, b"\xf0\x9f"),
                frame(0x89, b""),
            ]
            .concat(),
            [frame(0x82, &vec![1; 70_000]), frame(0x89, b"")].concat(),
        ];
        for bytes in streams {
            let whole = hear(&bytes, usize::MAX);
            for cut in 1..40 {
                assert_eq!(hear(&bytes, cut), whole, "cut every {cut} bytes");
            }
        }
    }
}
