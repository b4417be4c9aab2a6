//! A line that arrives in pieces.

use std::borrow::Cow;
use std::mem;

use super::error::RespError;

/// What has arrived of a line. Each of its bytes is looked at once, however it is cut.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// What came in earlier pieces; its last byte may be the CR of the line's end.
    pub(super) kept: Vec<u8>,
    /// Bytes that were searched for an end, over and over if that happens.
    #[cfg(test)]
    pub(super) looked_at: usize,
}

impl Line {
    /// Takes the line from the front of `input`, without its end; or keeps what there is of it.
    pub(super) fn take<'i>(
        &mut self,
        input: &mut &'i [u8],
        max_line: usize,
    ) -> Result<Option<Cow<'i, [u8]>>, RespError> {
        // 1. Its end was cut in two.
        if self.kept.last() == Some(&b'\r') {
            return match split_off_first(input) {
                None => Ok(None),
                Some(b'\n') => {
                    self.kept.pop();
                    Ok(Some(Cow::Owned(mem::take(&mut self.kept))))
                }
                Some(_) => Err(RespError::BareLineEnd),
            };
        }
        // 2. Where it ends, if it may still end here. Nothing behind that is looked at, so that a
        //    line that is too long is one however it is cut.
        let room = max_line - self.kept.len();
        let window = &input[..input.len().min(room.saturating_add(1))];
        let end = window.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        #[cfg(test)]
        {
            self.looked_at += end.map_or(window.len(), |end| end + 1);
        }
        let Some(end) = end else {
            if window.len() > room {
                return Err(RespError::LineTooLong);
            }
            self.keep(input, window.len());
            return Ok(None);
        };
        if window[end] == b'\n' {
            return Err(RespError::BareLineEnd);
        }
        match input.get(end + 1) {
            None => {
                self.keep(input, end + 1);
                Ok(None)
            }
            Some(b'\n') => {
                let line = self.join(&window[..end]);
                *input = &input[end + 2..];
                Ok(Some(line))
            }
            Some(_) => Err(RespError::BareLineEnd),
        }
    }

    /// Whether nothing of a line has arrived.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Lets go of what has arrived.
    pub(super) fn clear(&mut self) {
        self.kept = Vec::new();
    }

    fn keep(&mut self, input: &mut &[u8], len: usize) {
        let (piece, rest) = input.split_at(len);
        self.kept.extend_from_slice(piece);
        *input = rest;
    }

    /// The whole line: a slice of the input, unless it came in pieces.
    fn join<'i>(&mut self, last: &'i [u8]) -> Cow<'i, [u8]> {
        if self.kept.is_empty() {
            return Cow::Borrowed(last);
        }
        let mut whole = mem::take(&mut self.kept);
        whole.extend_from_slice(last);
        Cow::Owned(whole)
    }
}

/// Takes one byte from the front.
pub(super) fn split_off_first(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}
