//! A case: what a hostile client sends, and what must come of it.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::peer::{CLOSE, CONTINUATION, Frame, TEXT, close_payload, frame as masked, upgrade};

/// Where hostile clients and the control pair meet.
pub(crate) const PATH: &str = "/ws/pair";

/// What a client does before it reads to the end.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// The same, each byte in a segment of its own.
    Bytewise(Vec<u8>),
    /// So many bytes after each such time, as long as the server keeps the connection.
    Trickle(Vec<u8>, usize, Duration),
    /// Waits for the head of the server's answer.
    AwaitHead,
    /// Waits for so many frames.
    AwaitFrames(usize),
    /// Waits until the server has read what was sent: the control pair has talked meanwhile.
    AwaitRoom,
    /// Ends its sending side.
    HalfClose,
    /// Closes the connection with a reset, whatever it has not read.
    Reset,
    /// Reads up to the server's end, and goes on sending a byte now and then until the server gives
    /// it up.
    Overstay,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By the server, in order.
    Fin,
    /// By the server, with a reset.
    Rst,
    /// In order; the client stayed and was reset.
    FinThenRst,
    /// By the client.
    Ours,
    /// Not in time.
    Never,
}

/// What came of a connection: what the client heard, and how it ended.
#[derive(PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The head that the server answered with, its fields sorted, and its body if that is no
    /// stream of frames. Empty if there was none.
    pub(crate) answer: String,
    /// What the client heard, the messages of the control pair aside.
    pub(crate) heard: Vec<Frame>,
    pub(crate) end: End,
}

/// One case of a table.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) expected: Expected,
}

/// What must come of a case.
pub(crate) struct Expected {
    pub(crate) outcome: Outcome,
    /// What the others in the room must hear.
    pub(crate) room: Vec<Frame>,
    /// When the connection must end, if that matters.
    pub(crate) at: Option<Range<Duration>>,
}

pub(crate) fn case(name: impl Into<String>, steps: Vec<Step>, expected: Expected) -> Case {
    let name = name.into();
    Case {
        name,
        steps,
        expected,
    }
}

/// Bytes at the beginning of a connection.
pub(crate) fn raw(bytes: impl AsRef<[u8]>) -> Vec<Step> {
    vec![Step::Send(bytes.as_ref().to_vec())]
}

/// An open connection, and these bytes on it.
pub(crate) fn open(bytes: impl AsRef<[u8]>) -> Vec<Step> {
    opened(vec![Step::Send(bytes.as_ref().to_vec())])
}

/// An open connection, and these steps on it.
pub(crate) fn opened(steps: Vec<Step>) -> Vec<Step> {
    let mut all = raw(upgrade(PATH));
    all.push(Step::AwaitHead);
    all.extend(steps);
    all
}

/// A client that says something and closes as it should.
pub(crate) fn visit() -> Vec<u8> {
    [
        masked(TEXT, b"hello"),
        masked(CLOSE, &close_payload(1000, "")),
    ]
    .concat()
}

/// A request that must be upgraded, as the visit that follows shows.
pub(crate) fn legal(name: impl Into<String>, request: impl AsRef<[u8]>) -> Case {
    let mut steps = raw(request);
    steps.extend([Step::AwaitHead, Step::Send(visit())]);
    case(name, steps, visited())
}

/// What comes of a visit.
pub(crate) fn visited() -> Expected {
    closed(1000).says("hello")
}

/// The first byte of a fragment that is not the last.
pub(crate) const fn unfinished(first: u8) -> u8 {
    first & 0x7F
}

/// The first byte of a continuation that is not the last.
pub(crate) const MORE: u8 = unfinished(CONTINUATION);

fn expected(answer: String, heard: Vec<Frame>, end: End) -> Expected {
    Expected {
        outcome: Outcome { answer, heard, end },
        room: Vec::new(),
        at: None,
    }
}

/// Not a byte, and the end.
pub(crate) fn nothing() -> Expected {
    expected(String::new(), Vec::new(), End::Fin)
}

/// A refusal with this status, and one line that says why.
pub(crate) fn refused(status: u16, line: &str) -> Expected {
    expected(refusal(status, line, true), Vec::new(), End::Fin)
}

/// The same for a HEAD request: without the line, but with its length.
pub(crate) fn refused_without_body(status: u16, line: &str) -> Expected {
    expected(refusal(status, line, false), Vec::new(), End::Fin)
}

/// An upgrade, these frames, and the end without a Close.
pub(crate) fn opens(heard: Vec<Frame>) -> Expected {
    expected(upgraded(""), heard, End::Fin)
}

/// The client closes, and the server answers with this code and no reason.
pub(crate) fn closed(code: u16) -> Expected {
    failed(code, "")
}

/// The server closes with this code and reason.
pub(crate) fn failed(code: u16, reason: &str) -> Expected {
    opens(vec![frame(CLOSE, close_payload(code, reason))])
}

/// The client resets, and reads nothing before.
pub(crate) fn unread() -> Expected {
    expected(String::new(), Vec::new(), End::Ours)
}

pub(crate) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame {
        first,
        payload: payload.as_ref().to_vec(),
    }
}

impl Expected {
    /// Before it is closed, the client and the room hear this message.
    pub(crate) fn said(self, first: u8, payload: impl AsRef<[u8]>) -> Self {
        let mut this = self.heard(first, payload.as_ref());
        this.room.push(frame(first, payload));
        this
    }

    /// The same for a text.
    pub(crate) fn says(self, text: &str) -> Self {
        self.said(TEXT, text)
    }

    /// Before it is closed, the client alone hears this frame.
    pub(crate) fn heard(mut self, first: u8, payload: impl AsRef<[u8]>) -> Self {
        let heard = &mut self.outcome.heard;
        let is_closed = heard.last().is_some_and(|last| last.first == CLOSE);
        heard.insert(heard.len() - usize::from(is_closed), frame(first, payload));
        self
    }

    /// The upgrade's answer has these lines instead of those that most have.
    pub(crate) fn upgraded_with(mut self, accept_and_more: &str) -> Self {
        self.outcome.answer = upgraded(accept_and_more);
        self
    }

    /// The connection ends like this.
    pub(crate) fn end(mut self, end: End) -> Self {
        self.outcome.end = end;
        self
    }

    /// The connection ends so many milliseconds after its beginning.
    pub(crate) fn between(mut self, milliseconds: Range<u64>) -> Self {
        let [start, end] = [milliseconds.start, milliseconds.end].map(Duration::from_millis);
        self.at = Some(start..end);
        self
    }
}

/// A head with its fields sorted: their order means nothing.
pub(crate) fn sorted(head: &str) -> String {
    let (first, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let mut fields: Vec<&str> = fields
        .split("\r\n")
        .filter(|field| !field.is_empty())
        .collect();
    fields.sort_unstable();
    format!("{first}\n{}\n\n", fields.join("\n"))
}

/// The answer of an upgrade, with other fields than the Accept of the usual key if there are any.
fn upgraded(fields: &str) -> String {
    let fields = if fields.is_empty() {
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    } else {
        fields
    };
    sorted(&format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}"
    ))
}

/// The whole of a refusal: nothing but this may come back, so no word of the request does.
fn refusal(status: u16, line: &str, has_body: bool) -> String {
    let phrase = match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        other => panic!("{other} is not among the answers"),
    };
    let special = match status {
        405 => "Connection: close\r\nAllow: GET\r\n",
        426 => "Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        503 => "Connection: close\r\nRetry-After: 5\r\n",
        _ => "Connection: close\r\n",
    };
    let head = format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         X-Content-Type-Options: nosniff\r\nContent-Length: {}\r\n{special}",
        line.len() + 1
    );
    let body = if has_body {
        format!("{line}\n")
    } else {
        String::new()
    };
    sorted(&head) + &body
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = self.answer.trim_end().replace('\n', " | ");
        write!(f, "[{answer}] {} {:?}", shown(&self.heard), self.end)
    }
}

/// Frames in a line, long ones cut and many left out.
pub(crate) fn shown(frames: &[Frame]) -> String {
    const MANY: usize = 8;

    let mut texts = Vec::new();
    for frame in frames.iter().take(MANY) {
        let Frame { first, payload } = frame;
        let start = &payload[..payload.len().min(60)];
        let start = match (first, payload.as_slice()) {
            (&CLOSE, [high, low, reason @ ..]) => {
                let code = u16::from_be_bytes([*high, *low]);
                format!("{code} {}", String::from_utf8_lossy(reason))
            }
            _ => String::from_utf8_lossy(start).into_owned(),
        };
        texts.push(format!("{first:#x}({}: {start:?})", payload.len()));
    }
    if frames.len() > MANY {
        texts.push(format!("… {} frames", frames.len()));
    }
    format!("[{}]", texts.join(" "))
}
