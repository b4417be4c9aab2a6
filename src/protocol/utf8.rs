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
/// Whether a byte is good depends on it and the three before it alone. So three bytes are all that
/// is kept from piece to piece, and in a long piece many bytes are checked at once.
#[derive(Clone, Debug, Default)]
pub struct Utf8Validator {
    /// The last bytes that were checked, or zeros, which are characters too, where they matter to
    /// nothing that follows.
    before: [u8; LOOK_BACK],
}

/// The longest character has four bytes: so many may lie before the last of them.
const LOOK_BACK: usize = 3;

/// Bytes that are checked at once: without a branch, so that the compiler makes vectors of them.
const BLOCK: usize = 64;

/// From this length on, blocks are checked faster than std checks characters; below it, it depends
/// on the text.
const MIN_BLOCKS: usize = 4 * BLOCK;

/// A block, and what lies before it.
type Window = [u8; LOOK_BACK + BLOCK];

impl Utf8Validator {
    /// Checks the next piece.
    ///
    /// # Errors
    /// On the first byte that no continuation could make valid. The validator must not be used
    /// after that.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        // What is unfinished needs a byte that is not ASCII.
        if !self.is_complete() {
            return self.push_blocks(piece);
        }
        if piece.len() >= MIN_BLOCKS {
            return if piece.is_ascii() {
                Ok(())
            } else {
                self.push_blocks(piece)
            };
        }
        self.before = [0; LOOK_BACK];
        match std::str::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                let unfinished = &piece[error.valid_up_to()..];
                self.before[LOOK_BACK - unfinished.len()..].copy_from_slice(unfinished);
                Ok(())
            }
            Err(_) => Err(InvalidUtf8),
        }
    }

    /// Whether the text may end here: no character is unfinished.
    pub fn is_complete(&self) -> bool {
        let [third, second, first] = self.before;
        excess(third, second, first) == 0
    }

    fn push_blocks(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        // 1. The first block: what lies before it was in another piece.
        let Some((first, _)) = piece.split_at_checked(BLOCK) else {
            return self.push_block(piece);
        };
        self.push_block(first)?;
        // 2. Whole blocks, where they are.
        let mut at = BLOCK;
        while let Some(window) = piece[at - LOOK_BACK..].first_chunk() {
            check(window, BLOCK)?;
            at += BLOCK;
        }
        // 3. What does not fill another.
        self.before.copy_from_slice(&piece[at - LOOK_BACK..at]);
        self.push_block(&piece[at..])
    }

    /// Checks one block, or less.
    fn push_block(&mut self, block: &[u8]) -> Result<(), InvalidUtf8> {
        let mut window: Window = [0; LOOK_BACK + BLOCK];
        window[..LOOK_BACK].copy_from_slice(&self.before);
        window[LOOK_BACK..][..block.len()].copy_from_slice(block);
        check(&window, block.len())?;
        self.before
            .copy_from_slice(&window[block.len()..][..LOOK_BACK]);
        Ok(())
    }
}

/// Checks the first `len` bytes of a block.
fn check(window: &Window, len: usize) -> Result<(), InvalidUtf8> {
    if window.is_ascii() {
        return Ok(());
    }
    let mut faults = [0; BLOCK];
    for (i, fault) in faults.iter_mut().enumerate() {
        *fault = fault_of([window[i], window[i + 1], window[i + 2], window[i + 3]]);
    }
    match faults[..len].iter().fold(0, |all, fault| all | fault) {
        0 => Ok(()),
        _ => Err(InvalidUtf8),
    }
}

/// Zero if the last of four bytes may follow the others (Unicode, table 3-7: well-formed byte
/// sequences), if those are good.
#[inline]
fn fault_of([third, second, first, byte]: [u8; 4]) -> u8 {
    let all_if = |condition: bool| if condition { 0xFF } else { 0 };
    // A continuation stands where the bytes before demand one, and nowhere else.
    let is_free = all_if(excess(third, second, first) == 0);
    let is_other = all_if(byte & 0xC0 != 0x80);
    let misplaced = is_free ^ is_other;
    // C0 and C1 begin overlong forms only; F5 and more, what lies above U+10FFFF.
    let never = all_if(byte & 0xFE == 0xC0) | byte.saturating_sub(0xF4);
    // E0 and F0 may begin overlong forms; ED, surrogates; F4, what lies above U+10FFFF.
    let overlong = all_if(first == 0xE0) & all_if(byte & 0x20 == 0)
        | all_if(first == 0xF0) & all_if(byte & 0x30 == 0);
    let beyond = all_if(first == 0xED) & byte & 0x20 | all_if(first == 0xF4) & byte & 0x30;
    misplaced | never | overlong | beyond
}

/// More than zero if a continuation must follow these bytes: a character of two, three or four
/// bytes began one, two or three bytes ago.
#[inline]
fn excess(third: u8, second: u8, first: u8) -> u8 {
    first.saturating_sub(0xBF) | second.saturating_sub(0xDF) | third.saturating_sub(0xEF)
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

    /// Bytes on both sides of every limit in the table of well-formed sequences.
    const LIMITS: [u8; 22] = [
        0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC,
        0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5,
    ];

    /// What std says: bad, unfinished (`Some(false)`), or complete.
    pub(super) fn by_std(bytes: &[u8]) -> Option<bool> {
        match std::str::from_utf8(bytes) {
            Ok(_) => Some(true),
            Err(error) => error.error_len().is_none().then_some(false),
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "234,256 sequences take hours there")]
    fn blocks_agree_with_std_on_four_bytes_around_every_limit() {
        for a in LIMITS {
            for b in LIMITS {
                for c in LIMITS {
                    for d in LIMITS {
                        let bytes = [a, b, c, d];
                        let mut validator = Utf8Validator::default();
                        let ours = validator.push_blocks(&bytes);
                        let ours = ours.ok().map(|()| validator.is_complete());
                        assert_eq!(ours, by_std(&bytes), "{bytes:x?}");
                    }
                }
            }
        }
    }

    /// A continuation too many shows in its own place alone: what follows it is good again.
    #[test]
    #[cfg_attr(miri, ignore = "one place is as good as another there")]
    fn a_continuation_too_many_is_found_in_every_place_of_a_long_piece() {
        let good = ["é".as_bytes(), &[b'a'; MIN_BLOCKS + BLOCK]].concat();
        for at in 2..good.len() {
            let mut bad = good.clone();
            bad[at] = 0x80;
            assert!(Utf8Validator::default().push(&bad).is_err(), "at {at}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "one place is as good as another there")]
    fn every_byte_of_a_long_piece_is_checked_and_may_be_the_last() {
        let good = "é🦊你a".repeat(40).into_bytes();
        assert!(good.len() > MIN_BLOCKS + BLOCK);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] = 0xFF;
            assert!(Utf8Validator::default().push(&bad).is_err(), "at {at}");
            let mut validator = Utf8Validator::default();
            assert_eq!(validator.push(&good[..at]), Ok(()), "up to {at}");
            assert_eq!(Some(validator.is_complete()), by_std(&good[..at]));
            assert_eq!(validator.push(&good[at..]), Ok(()), "from {at}");
            assert!(validator.is_complete());
        }
    }
}

#[cfg(test)]
mod properties {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::tests::by_std;
    use super::*;

    /// Words of one to four bytes a character.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            "[a-z ]{1,80}",
            "[é-ÿ]{1,40}",
            "[一-龥]{1,40}",
            "[🌀-🛀]{1,40}"
        ];
        vec(word, 0..12).prop_map(|words| words.concat().into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        #[cfg_attr(miri, ignore = "to make up a case takes a minute there")]
        fn the_verdict_is_that_of_std_whatever_the_cuts(
            mut text in text(),
            spoilt in vec((any::<Index>(), any::<u8>()), 0..2),
            cuts in vec(any::<Index>(), 0..4),
        ) {
            for (at, byte) in spoilt {
                if !text.is_empty() {
                    let at = at.index(text.len());
                    text[at] = byte;
                }
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            let mut validator = Utf8Validator::default();
            let (mut from, mut is_good) = (0, true);
            for to in cuts.into_iter().chain([text.len()]) {
                is_good = is_good && validator.push(&text[from..to]).is_ok();
                from = to;
            }
            let ours = is_good.then(|| validator.is_complete());
            prop_assert_eq!(ours, by_std(&text));
        }
    }
}
