//! A request's body: read the same however it is cut, as a naive reader would, and never more of it
//! than is allowed.

use fanfare::protocol::Input;
use fanfare::protocol::http::{Body, BodyError, Framing, HeadBuffer, MAX_CHUNK_EXTRAS, Request};

use super::http_head::split_lines;
use super::plan::{Cuts, Plan};

/// In the second byte: the stream begins with a request head that says how long the body is.
const HEAD: u8 = 0x80;
/// In the second byte: the body is in chunks. Otherwise the other bits are its length.
const CHUNKED: u8 = 0x40;
/// In the second byte, of a body in chunks: a kilobyte is allowed.
const LARGE: u8 = 0x20;

const SMALL_MAX: usize = 40;
const LARGE_MAX: usize = 1024;

/// What came of reading: the body and how many bytes it took, or an error.
type Read = Result<Option<(Vec<u8>, usize)>, BodyError>;

/// Reads a body in three ways, and compares with a reader that looks at all of it.
pub fn run(bytes: &[u8]) {
    let (cuts, rest) = Plan::split_off_cuts(bytes);
    let Some((&flags, stream)) = rest.split_first() else {
        return;
    };
    let max = if flags & LARGE == 0 {
        SMALL_MAX
    } else {
        LARGE_MAX
    };
    let (framing, stream) = if flags & HEAD != 0 {
        match framing_of(stream) {
            Some(found) => found,
            None => return,
        }
    } else if flags & CHUNKED != 0 {
        (Framing::Chunked, stream)
    } else {
        (Framing::Length(usize::from(flags & 0x3F)), stream)
    };
    let whole = read(framing, max, stream, &Cuts::WHOLE);
    assert_eq!(read(framing, max, stream, &cuts), whole, "cut at {cuts:?}");
    let bytewise = read(framing, max, stream, &Cuts::bytewise());
    assert_eq!(bytewise, whole, "cut behind every byte");
    match (&whole, framing) {
        (Ok(Some((body, taken))), Framing::Length(length)) => {
            assert!(length <= max && *taken == length && **body == stream[..length]);
        }
        (Ok(None), Framing::Length(length)) => assert!(stream.len() < length),
        (Err(error), Framing::Length(length)) => {
            assert!(*error == BodyError::TooBig && length > max);
        }
        (_, Framing::Chunked) => check_chunks(&whole, max, stream),
    }
}

/// What a request at the front of a stream says of its body, and the body; `None` if there is none.
fn framing_of(stream: &[u8]) -> Option<(Framing, &[u8])> {
    let mut bytes = stream.to_vec();
    let mut input = Input::new(&mut bytes);
    let head = HeadBuffer::default().receive(&mut input).ok()??;
    let behind = stream.len() - input.len();
    let request = Request::parse_with_body(&head).ok()?;
    let framing = Framing::of(&request);
    // Whoever refuses bodies must know of each.
    let is_without = matches!(framing, Ok(None | Some(Framing::Length(0))));
    let is_refused = Request::parse(&head).is_err();
    assert!(is_without || is_refused, "{framing:?} was overlooked");
    Some((framing.ok()??, &stream[behind..]))
}

fn read(framing: Framing, max: usize, stream: &[u8], cuts: &Cuts) -> Read {
    let (mut body, mut taken) = (Body::new(framing, max)?, 0);
    // A body of nothing is whole before anything comes.
    if let Some(bytes) = body.receive(&mut Input::new(&mut []))? {
        return Ok(Some((bytes, 0)));
    }
    for piece in cuts.pieces(&mut stream.to_vec()) {
        taken += piece.len();
        let mut input = Input::new(piece);
        let done = body.receive(&mut input)?;
        taken -= input.len();
        if let Some(bytes) = done {
            return Ok(Some((bytes, taken)));
        }
        assert!(input.is_empty(), "input is left over");
    }
    Ok(None)
}

fn check_chunks(seen: &Read, max: usize, stream: &[u8]) {
    let naive = naive_chunks(stream);
    match seen {
        Ok(Some((body, taken))) => {
            assert!(body.len() <= max, "more than is allowed");
            let (naive_body, end, _) = naive.expect("a whole body is one to everybody");
            assert_eq!((body, *taken), (&naive_body, end));
        }
        Ok(None) => {
            assert!(naive.is_none(), "the end was overlooked");
            // A byte costs six at most, and extras are bounded.
            assert!(stream.len() <= 6 * max + 64 + 2 * MAX_CHUNK_EXTRAS + 32 * max);
        }
        Err(BodyError::TooBig) => {
            assert!(naive.is_none_or(|(body, ..)| body.len() > max));
        }
        Err(BodyError::TooManyExtras) => {
            assert!(naive.is_none_or(|(_, _, extras)| extras > MAX_CHUNK_EXTRAS));
        }
        Err(BodyError::MalformedChunk) => assert!(naive.is_none(), "{naive:?}"),
        Err(other) => panic!("chunks are never {other:?}"),
    }
}

/// The body at the front of a stream that has all of it, where it ends, and how many bytes of
/// extensions and trailers there are; `None` if it is not whole, or no body.
fn naive_chunks(stream: &[u8]) -> Option<(Vec<u8>, usize, usize)> {
    let (mut body, mut at, mut extras) = (Vec::new(), 0, 0);
    loop {
        let line = line_at(stream, at)?;
        at += line.len() + 2;
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        if !(1..=16).contains(&digits) {
            return None;
        }
        let (digits, extension) = line.split_at(digits);
        let is_extension = extension.trim_ascii_start().starts_with(b";");
        if !(extension.is_empty() || is_extension) || !is_text(extension) {
            return None;
        }
        extras += extension.len();
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        let end = at.checked_add(size)?;
        body.extend_from_slice(stream.get(at..end)?);
        if stream.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        at = end + 2;
    }
    loop {
        let line = line_at(stream, at)?;
        at += line.len() + 2;
        if line.is_empty() {
            return Some((body, at, extras));
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let is_token =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if colon == 0 || !line[..colon].iter().all(is_token) || !is_text(&line[colon..]) {
            return None;
        }
        // Its CR counts too.
        extras += line.len() + 1;
    }
}

/// The line that begins there, if its end is there too.
fn line_at(stream: &[u8], at: usize) -> Option<&[u8]> {
    let rest = stream.get(at..)?;
    rest.windows(2).find(|window| *window == b"\r\n")?;
    split_lines(rest).next()
}

fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}
