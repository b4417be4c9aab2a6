//! A second decoder, slow and obvious, written from RFC 6455 and from nothing else: it takes one
//! byte after the other, and what it notices it notices at that byte.

use super::heard::Said;

/// A server's side of one connection.
pub(crate) struct Reference<'b> {
    bytes: &'b [u8],
    /// How many of them have been taken.
    at: usize,
    max_message: usize,
    max_fragments: usize,
    /// How many bytes come before the server's own Close, and that frame.
    close: Option<(usize, &'b [u8])>,
    /// Whether the server has said Close.
    pub(crate) is_closing: bool,
    /// The message that is arriving.
    message: Option<Message>,
    /// What was heard.
    pub(crate) said: Vec<Said>,
    /// What was answered; the Close of a failure aside.
    pub(crate) output: Vec<u8>,
}

struct Message {
    is_text: bool,
    payload: Vec<u8>,
    fragments: usize,
    utf8: Utf8,
}

/// Why no further byte is taken.
#[derive(Debug, PartialEq)]
pub(crate) enum End {
    /// There is none.
    Starved,
    /// The client's Close has come.
    Closed,
    /// The connection fails with this status code.
    Failed(u16),
}

/// Section 7.4.1: what most failures are.
const PROTOCOL_ERROR: End = End::Failed(1002);

impl<'b> Reference<'b> {
    pub(crate) fn new(
        bytes: &'b [u8],
        (max_message, max_fragments): (usize, usize),
        close: Option<(usize, &'b [u8])>,
    ) -> Self {
        Self {
            bytes,
            at: 0,
            max_message,
            max_fragments,
            close,
            is_closing: false,
            message: None,
            said: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Hears everything.
    pub(crate) fn hear(&mut self) -> End {
        loop {
            if let Err(end) = self.frame() {
                return end;
            }
        }
    }

    fn next(&mut self) -> Result<u8, End> {
        if let Some((_, frame)) = self.close.take_if(|(at, _)| *at == self.at) {
            self.output.extend(frame);
            self.is_closing = true;
        }
        let byte = *self.bytes.get(self.at).ok_or(End::Starved)?;
        self.at += 1;
        Ok(byte)
    }

    /// Section 5.2: a number in network byte order.
    fn number(&mut self, len: usize) -> Result<u64, End> {
        (0..len).try_fold(0, |number, _| Ok(number * 256 + u64::from(self.next()?)))
    }

    fn frame(&mut self) -> Result<(), End> {
        // Section 5.2: FIN, three reserved bits, four bits of opcode.
        let first = self.next()?;
        let (fin, reserved, opcode) = (first >= 0x80, first / 16 % 8, first % 16);
        let is_control = opcode >= 8;
        if reserved != 0 || !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10) {
            return Err(PROTOCOL_ERROR);
        }
        // Section 5.5: control frames have at most 125 bytes and are not fragmented.
        if is_control && !fin {
            return Err(PROTOCOL_ERROR);
        }
        let second = self.next()?;
        let (is_masked, short) = (second >= 0x80, second % 128);
        if is_control && short > 125 {
            return Err(PROTOCOL_ERROR);
        }
        // Section 5.2: the most significant bit is 0, the form the shortest.
        let (len, least) = match short {
            126 => (self.number(2)?, 126),
            127 => (self.number(8)?, 65_536),
            len => (u64::from(len), 0),
        };
        if len < least || len >= 1 << 63 {
            return Err(PROTOCOL_ERROR);
        }
        // Section 5.1: a server closes on a frame that is not masked.
        if !is_masked {
            return Err(PROTOCOL_ERROR);
        }
        let key = [self.next()?, self.next()?, self.next()?, self.next()?];
        if is_control {
            let mut payload = Vec::new();
            for i in 0..usize::from(short) {
                payload.push(self.next()? ^ key[i % 4]);
            }
            return self.control(opcode, &payload);
        }
        self.fragment(opcode, len)?;
        for i in 0..usize::try_from(len).expect("it is within the limit") {
            let byte = self.next()? ^ key[i % 4];
            self.message.as_mut().expect("it has begun").push(byte)?;
        }
        self.message
            .take_if(|_| fin)
            .map_or(Ok(()), |message| self.end(message))
    }

    /// Section 5.4: fragments of one message follow each other; section 10.4: limits.
    fn fragment(&mut self, opcode: u8, len: u64) -> Result<(), End> {
        if (opcode == 0) != self.message.is_some() {
            return Err(PROTOCOL_ERROR);
        }
        let message = self.message.get_or_insert(Message {
            is_text: opcode == 1,
            payload: Vec::new(),
            fragments: 0,
            utf8: Utf8::BETWEEN_CHARACTERS,
        });
        if len > (self.max_message - message.payload.len()) as u64 {
            return Err(End::Failed(1009));
        }
        message.fragments += 1;
        if message.fragments > self.max_fragments {
            return Err(End::Failed(1008));
        }
        Ok(())
    }

    /// Sections 5.6 and 8.1; section 7.1.2: behind our Close, messages are read and not heard.
    fn end(&mut self, message: Message) -> Result<(), End> {
        if message.is_text && message.utf8 != Utf8::BETWEEN_CHARACTERS {
            return Err(End::Failed(1007));
        }
        let said = if message.is_text {
            Said::Text
        } else {
            Said::Binary
        };
        if !self.is_closing {
            self.said.push(said(message.payload));
        }
        Ok(())
    }

    /// Sections 5.5.1 to 5.5.3.
    fn control(&mut self, opcode: u8, payload: &[u8]) -> Result<(), End> {
        match opcode {
            9 => {
                self.said.push(Said::Ping);
                self.answer(0x8A, payload);
            }
            10 => self.said.push(Said::Pong),
            _ => {
                let (code, reason) = close_payload(payload)?;
                self.said.push(Said::Close(code, reason));
                self.answer(0x88, &code.unwrap_or(1000).to_be_bytes());
                return Err(End::Closed);
            }
        }
        Ok(())
    }

    /// Section 5.5.1: nothing is sent behind a Close.
    fn answer(&mut self, first_byte: u8, payload: &[u8]) {
        if !self.is_closing {
            let len = u8::try_from(payload.len()).expect("at most 125");
            self.output.extend([first_byte, len]);
            self.output.extend(payload);
        }
    }
}

impl Message {
    fn push(&mut self, byte: u8) -> Result<(), End> {
        if self.is_text {
            self.utf8 = self.utf8.next(byte).ok_or(End::Failed(1007))?;
        }
        self.payload.push(byte);
        Ok(())
    }
}

/// Section 5.5.1: nothing, or a code of section 7.4 and a reason.
fn close_payload(payload: &[u8]) -> Result<(Option<u16>, String), End> {
    if payload.is_empty() {
        return Ok((None, String::new()));
    }
    let [high, low, reason @ ..] = payload else {
        return Err(PROTOCOL_ERROR);
    };
    let code = u16::from(*high) * 256 + u16::from(*low);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(PROTOCOL_ERROR);
    }
    let mut utf8 = Utf8::BETWEEN_CHARACTERS;
    for byte in reason {
        utf8 = utf8.next(*byte).ok_or(End::Failed(1007))?;
    }
    if utf8 != Utf8::BETWEEN_CHARACTERS {
        return Err(End::Failed(1007));
    }
    // What the automaton lets through must be what std calls UTF-8.
    let reason = String::from_utf8(reason.to_vec()).expect("the automaton has seen it");
    Ok((Some(code), reason))
}

/// RFC 3629, section 4: how many bytes are to come, and what the next of them may be.
#[derive(Clone, Copy, PartialEq)]
struct Utf8(u8, u8, u8);

impl Utf8 {
    const BETWEEN_CHARACTERS: Self = Self(0, 0, 0);

    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self(0, ..), 0x00..=0x7F) => Some(Self::BETWEEN_CHARACTERS),
            (Self(0, ..), 0xC2..=0xDF) => Some(Self(1, 0x80, 0xBF)),
            (Self(0, ..), 0xE0) => Some(Self(2, 0xA0, 0xBF)),
            (Self(0, ..), 0xED) => Some(Self(2, 0x80, 0x9F)),
            (Self(0, ..), 0xE1..=0xEF) => Some(Self(2, 0x80, 0xBF)),
            (Self(0, ..), 0xF0) => Some(Self(3, 0x90, 0xBF)),
            (Self(0, ..), 0xF4) => Some(Self(3, 0x80, 0x8F)),
            (Self(0, ..), 0xF1..=0xF3) => Some(Self(3, 0x80, 0xBF)),
            (Self(1, low, high), _) if (low..=high).contains(&byte) => {
                Some(Self::BETWEEN_CHARACTERS)
            }
            (Self(more, low, high), _) if more > 1 && (low..=high).contains(&byte) => {
                Some(Self(more - 1, 0x80, 0xBF))
            }
            _ => None,
        }
    }
}
