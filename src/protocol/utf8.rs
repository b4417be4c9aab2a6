//! UTF-8 that arrives in pieces: RFC 6455, section 8.1.

use std::fmt;

/// A byte that cannot stand where it stands in UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8;

impl fmt::Display for InvalidUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid UTF-8")
    }
}

impl std::error::Error for InvalidUtf8 {}

/// Checks UTF-8 across arbitrary cuts and fails on the first bad byte.
///
/// The check itself is std's; what is kept here is the character that a cut left unfinished.
#[derive(Clone, Debug, Default)]
pub struct Utf8Validator {
    /// The beginning of a character: a valid prefix, never a whole one.
    unfinished: [u8; Self::MAX_UNFINISHED],
    len: usize,
}

impl Utf8Validator {
    /// The longest character has four bytes.
    const MAX_UNFINISHED: usize = 4;

    /// Checks the next piece.
    ///
    /// # Errors
    /// On the first byte that no continuation could make valid. The validator must not be used
    /// after that.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), InvalidUtf8> {
        // 1. Finish the character that the last piece began, byte by byte.
        while self.len > 0 {
            let Some((&byte, rest)) = piece.split_first() else {
                return Ok(());
            };
            piece = rest;
            self.unfinished[self.len] = byte;
            self.len += 1;
            match std::str::from_utf8(&self.unfinished[..self.len]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(InvalidUtf8),
            }
        }
        // 2. Check the rest at once, and keep what its end leaves unfinished.
        match std::str::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                let tail = &piece[error.valid_up_to()..];
                self.unfinished[..tail.len()].copy_from_slice(tail);
                self.len = tail.len();
                Ok(())
            }
            Err(_) => Err(InvalidUtf8),
        }
    }

    /// Whether the text may end here: no character is unfinished.
    pub fn is_complete(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a byte-wise check fails, if it does.
    fn first_bad_byte(bytes: &[u8]) -> Option<usize> {
        let mut validator = Utf8Validator::default();
        bytes
            .iter()
            .position(|byte| validator.push(&[*byte]).is_err())
    }

    #[test]
    fn fails_on_the_first_bad_byte() {
        assert_eq!(first_bad_byte(b"\xce\xba\xe1\xbd\xb9"), None);
        // Above U+10FFFF: F4 may begin a character, F4 90 may not (Autobahn 6.4.3).
        assert_eq!(first_bad_byte(b"a\xf4\x90\x80\x80"), Some(2));
        // A surrogate, an overlong form, a lone continuation, bytes that never occur.
        assert_eq!(first_bad_byte(b"\xed\xa0\x80"), Some(1));
        assert_eq!(first_bad_byte(b"\xe0\x80\xaf"), Some(1));
        assert_eq!(first_bad_byte(b"\x80"), Some(0));
        assert_eq!(first_bad_byte(b"\xc0\xaf"), Some(0));
        assert_eq!(first_bad_byte(b"ok\xfe"), Some(2));
        assert_eq!(InvalidUtf8.to_string(), "invalid UTF-8");
    }

    #[test]
    fn the_verdict_does_not_depend_on_the_cuts() {
        let texts: [&[u8]; 4] = [
            "aκόσμε𐍈é".as_bytes(),
            b"x\xf0\x9f\x92",
            b"abc\xed\xbf\xbfd",
            b"\xf1\x80\x80\x80\x80",
        ];
        for text in texts {
            let whole = Utf8Validator::default().push(text).is_ok();
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let mut validator = Utf8Validator::default();
                    let cut = [&text[..first], &text[first..second], &text[second..]]
                        .iter()
                        .all(|piece| validator.push(piece).is_ok());
                    assert_eq!(cut, whole, "{text:x?} cut at {first} and {second}");
                    if whole {
                        assert_eq!(validator.is_complete(), std::str::from_utf8(text).is_ok());
                    }
                }
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "65,536 beginnings take minutes there")]
    fn every_two_byte_beginning_agrees_with_std() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let bytes = [first, second];
                let mut validator = Utf8Validator::default();
                let ours = validator
                    .push(&[first])
                    .and_then(|()| validator.push(&[second]));
                match std::str::from_utf8(&bytes) {
                    Ok(_) => assert!(ours.is_ok() && validator.is_complete()),
                    Err(error) if error.error_len().is_none() => {
                        assert!(ours.is_ok() && !validator.is_complete());
                    }
                    Err(_) => assert!(ours.is_err(), "{bytes:x?}"),
                }
            }
        }
    }
}
