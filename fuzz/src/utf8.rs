//! UTF-8 in pieces, against std's check of the whole.

use fanfare::protocol::Utf8Validator;

use super::plan::Plan;

/// Checks one text whole, byte by byte and in the input's own pieces.
pub fn run(bytes: &[u8]) {
    let (cuts, text) = Plan::split_off_cuts(bytes);
    let text = &text[..text.len().min(1024)];
    let bad = first_bad_byte(text);

    let mut by_byte = Utf8Validator::default();
    let found = text.iter().position(|byte| by_byte.push(&[*byte]).is_err());
    assert_eq!(found, bad, "the first bad byte");
    if bad.is_none() {
        assert_eq!(by_byte.is_complete(), std::str::from_utf8(text).is_ok());
    }

    let mut whole = Utf8Validator::default();
    assert_eq!(whole.push(text).is_err(), bad.is_some(), "in one piece");

    let (mut validator, mut end) = (Utf8Validator::default(), 0);
    for piece in cuts.pieces(&mut text.to_vec()) {
        end += piece.len();
        let is_refused = validator.push(piece).is_err();
        assert_eq!(
            is_refused,
            bad.is_some_and(|bad| bad < end),
            "up to byte {end}"
        );
        if is_refused {
            return;
        }
        let is_whole = std::str::from_utf8(&text[..end]).is_ok();
        assert_eq!(validator.is_complete(), is_whole, "up to byte {end}");
    }
}

/// The first byte that no continuation could make valid: with it std no longer says that the text
/// has merely ended too early.
fn first_bad_byte(text: &[u8]) -> Option<usize> {
    let valid = match std::str::from_utf8(text) {
        Ok(_) => return None,
        Err(error) => error.valid_up_to(),
    };
    let is_bad = |end: usize| {
        std::str::from_utf8(&text[valid..end]).is_err_and(|error| error.error_len().is_some())
    };
    (valid + 1..=text.len())
        .find(|end| is_bad(*end))
        .map(|end| end - 1)
}
