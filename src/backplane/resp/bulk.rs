//! A bulk string that arrives in pieces.

use std::mem;

use super::error::RespError;
use super::line::split_off_first;
use super::value::Value;

/// What a bulk string is.
#[derive(Clone, Copy, Debug)]
pub(super) enum BulkKind {
    String,
    Error,
    Verbatim,
    /// A string that is too long to be kept, or in an aggregate that is not.
    Passed,
}

/// The longest string that is passed over, in bytes: Redis takes none that is longer, by default.
pub(super) const MAX_PASSED: usize = 512 * 1024 * 1024;

/// Before so many bytes a verbatim string says what it is: three letters and a colon.
const FORMAT: usize = 4;

/// Memory that is taken before the first byte has arrived, however long the string is to be.
const MAX_AHEAD: usize = 64 * 1024;

const LINE_END: [u8; 2] = *b"\r\n";

impl BulkKind {
    /// The shortest one, in bytes.
    pub(super) fn min_len(self) -> usize {
        match self {
            Self::String | Self::Error | Self::Passed => 0,
            Self::Verbatim => FORMAT,
        }
    }
}

/// What has arrived of a bulk string.
#[derive(Debug)]
pub(super) struct Bulk {
    kind: BulkKind,
    len: usize,
    /// How many bytes of it have arrived.
    arrived: usize,
    /// These, unless they are passed over. Never takes more memory than twice what has arrived, or
    /// [`MAX_AHEAD`], or `len`.
    pub(super) bytes: Vec<u8>,
    /// Bytes of the line end behind it that have arrived.
    ended: usize,
}

impl Bulk {
    pub(super) fn new(kind: BulkKind, len: usize) -> Self {
        Self {
            kind,
            len,
            arrived: 0,
            bytes: Vec::new(),
            ended: 0,
        }
    }

    /// Takes what belongs to it from the front of `input`; its value, if that was all.
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Result<Option<Value>, RespError> {
        let (piece, rest) = input.split_at(input.len().min(self.len - self.arrived));
        if !piece.is_empty() {
            if !matches!(self.kind, BulkKind::Passed) {
                self.make_room(piece.len());
                self.bytes.extend_from_slice(piece);
            }
            self.arrived += piece.len();
            *input = rest;
        }
        if self.arrived < self.len {
            return Ok(None);
        }
        while let Some(expected) = LINE_END.get(self.ended) {
            match split_off_first(input) {
                None => return Ok(None),
                Some(byte) if byte == *expected => self.ended += 1,
                Some(_) => return Err(RespError::BulkNotEnded),
            }
        }
        self.finish().map(Some)
    }

    /// Makes room for so many bytes more: at once for all that are to come, if they are few or half
    /// of them are there, and otherwise for as many again as have arrived.
    fn make_room(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            let wanted = needed.saturating_mul(2).max(MAX_AHEAD).min(self.len);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
    }

    fn finish(&mut self) -> Result<Value, RespError> {
        let mut bytes = mem::take(&mut self.bytes);
        Ok(match self.kind {
            BulkKind::String => Value::Bulk(bytes),
            BulkKind::Error => Value::Error(bytes),
            BulkKind::Passed => Value::Null,
            BulkKind::Verbatim => match *bytes {
                [first, second, third, b':', ..] => {
                    bytes.drain(..FORMAT);
                    Value::Verbatim {
                        format: [first, second, third],
                        text: bytes,
                    }
                }
                _ => return Err(RespError::InvalidVerbatim),
            },
        })
    }
}
