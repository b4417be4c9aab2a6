//! A request head that is arriving.

use crate::protocol::error::HandshakeError;
use crate::protocol::input::Input;

/// The longest request line in bytes, its CRLF not counted; a longer one is answered with 414.
pub const MAX_REQUEST_LINE: usize = 8 * 1024;
/// The longest request head in bytes; a longer one is answered with 431.
pub const MAX_HEAD: usize = 16 * 1024;
/// The most field lines of a request head; more are answered with 431.
pub const MAX_FIELDS: usize = 100;

/// A request head that is arriving.
#[derive(Debug, Default)]
pub struct HeadBuffer {
    bytes: Vec<u8>,
    /// Where the current line begins.
    line: usize,
    /// Empty lines that preceded the request line and were dropped (RFC 9112, section 2.2).
    skipped: usize,
}

impl HeadBuffer {
    /// Whether not a byte has arrived.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.skipped == 0
    }

    /// Consumes input up to the empty line that ends the head, and hands the head out with it;
    /// `None` if the end has not come. What follows the head stays in `input`: it is the client's
    /// first frames. Every byte is looked at once, however the head is cut.
    ///
    /// # Errors
    /// On the first byte that shows the head to be too large, or to be no HTTP: control characters
    /// and line feeds without a carriage return are not waited for.
    pub fn receive(&mut self, input: &mut Input<'_>) -> Result<Option<Vec<u8>>, HandshakeError> {
        for (i, &byte) in input.peek().iter().enumerate() {
            self.push(byte)?;
            if byte == b'\n' && self.line_ended() {
                input.take(i + 1);
                return Ok(Some(std::mem::take(&mut self.bytes)));
            }
        }
        input.take_all();
        Ok(None)
    }

    fn push(&mut self, byte: u8) -> Result<(), HandshakeError> {
        let in_request_line = self.line == 0;
        let ends_line = matches!(byte, b'\r' | b'\n');
        if in_request_line && self.bytes.len() >= MAX_REQUEST_LINE && !ends_line {
            return Err(HandshakeError::TargetTooLong);
        }
        if self.bytes.len() + self.skipped >= MAX_HEAD {
            return Err(HandshakeError::HeadTooLarge);
        }
        // RFC 9112, section 2.2: a bare CR is invalid, a bare LF may be refused; both are, since
        // two readers that differ about them differ about where a request ends.
        match (self.bytes.last(), byte) {
            (Some(b'\r'), b'\n') => {}
            (_, b'\n') => return Err(HandshakeError::BareLineFeed),
            (Some(b'\r'), _) => return Err(HandshakeError::MalformedHead),
            (_, b'\r' | b'\t') => {}
            (_, byte) if byte.is_ascii_control() => return Err(HandshakeError::MalformedHead),
            _ => {}
        }
        self.bytes.push(byte);
        Ok(())
    }

    /// Notes the end of a line; whether it was the empty one that ends the head.
    fn line_ended(&mut self) -> bool {
        const EMPTY_LINE: &[u8] = b"\r\n";

        if self.bytes == EMPTY_LINE {
            self.skipped += self.bytes.len();
            self.bytes.clear();
            return false;
        }
        let ended = self.bytes.len() - self.line == EMPTY_LINE.len();
        self.line = self.bytes.len();
        ended
    }
}
