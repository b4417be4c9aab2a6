//! A request's body: RFC 9112, sections 6 and 7.1.

use std::fmt;

use super::request::Request;
use crate::protocol::input::Input;

/// Digits of a chunk's size, leading zeros included: what 64 bits need.
const MAX_SIZE_DIGITS: u8 = 16;

/// Bytes of chunk extensions and trailers, together, that one body may have. Both are ignored, and
/// nobody needs them.
pub const MAX_CHUNK_EXTRAS: usize = 4 * 1024;

/// How a request says where its body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(usize),
    /// With the last chunk.
    Chunked,
}

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyError {
    /// Both a length and chunks: two readers might differ about the end (RFC 9112, section 6.1).
    Ambiguous,
    /// A `Content-Length` that is no number, or more than one.
    InvalidLength,
    /// A transfer coding beside `chunked` (RFC 9112, section 6.1).
    UnknownCoding,
    /// Transfer codings that do not end with `chunked`, or have it twice (RFC 9112, section 6.3).
    InvalidCoding,
    /// Chunks that are none (RFC 9112, section 7.1).
    MalformedChunk,
    /// Chunk extensions and trailers over [`MAX_CHUNK_EXTRAS`].
    TooManyExtras,
    /// Neither a length nor chunks where there must be a body (RFC 9110, section 15.5.12).
    LengthRequired,
    /// More bytes than a body may have.
    TooBig,
    /// An expectation that is not `100-continue` (RFC 9110, section 10.1.1).
    UnknownExpectation,
    /// The body did not arrive in time.
    TimedOut,
}

impl BodyError {
    /// The HTTP status code of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::Ambiguous
            | Self::InvalidLength
            | Self::InvalidCoding
            | Self::MalformedChunk
            | Self::TooManyExtras => 400,
            Self::TimedOut => 408,
            Self::LengthRequired => 411,
            Self::TooBig => 413,
            Self::UnknownExpectation => 417,
            Self::UnknownCoding => 501,
        }
    }

    /// The one line of the answer's body.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Ambiguous => "both Content-Length and Transfer-Encoding",
            Self::InvalidLength => "Content-Length is not one number",
            Self::UnknownCoding => "only the transfer coding chunked is supported",
            Self::InvalidCoding => "the last transfer coding is not chunked",
            Self::MalformedChunk => "malformed chunk",
            Self::TooManyExtras => "chunk extensions or trailers too long",
            Self::LengthRequired => "a body is required, by Content-Length or in chunks",
            Self::TooBig => "body too big",
            Self::UnknownExpectation => "only 100-continue can be expected",
            Self::TimedOut => "body did not arrive in time",
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for BodyError {}

impl Framing {
    /// What a request says of its body; `None` if it has none.
    ///
    /// # Errors
    /// If it is not clear, or unknown. The connection must be closed then: nobody knows where the
    /// next request begins.
    pub fn of(request: &Request<'_>) -> Result<Option<Self>, BodyError> {
        let length = request.values("content-length").next();
        if request.values("transfer-encoding").next().is_none() {
            return match length {
                None => Ok(None),
                Some(length) if request.values("content-length").count() == 1 => {
                    read_length(length).map(|length| Some(Self::Length(length)))
                }
                Some(_) => Err(BodyError::InvalidLength),
            };
        }
        if length.is_some() {
            return Err(BodyError::Ambiguous);
        }
        let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
        let codings: Vec<&[u8]> = request.list("transfer-encoding").collect();
        match codings.split_last() {
            Some((last, [])) if is_chunked(last) => Ok(Some(Self::Chunked)),
            Some((last, others)) if is_chunked(last) && !others.iter().any(|c| is_chunked(c)) => {
                Err(BodyError::UnknownCoding)
            }
            _ => Err(BodyError::InvalidCoding),
        }
    }
}

/// `1*DIGIT` (RFC 9110, section 8.6); a list of the same number is refused as it may be.
fn read_length(value: &[u8]) -> Result<usize, BodyError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(BodyError::InvalidLength);
    }
    let text = std::str::from_utf8(value).map_err(|_| BodyError::InvalidLength)?;
    // What does not fit is a number too.
    text.parse().map_err(|_| BodyError::TooBig)
}

/// Whether a request waits for `100 Continue` before it sends its body.
///
/// # Errors
/// If it expects something else.
pub fn expects_continue(request: &Request<'_>) -> Result<bool, BodyError> {
    let mut expects = false;
    for expectation in request.list("expect") {
        if !expectation.eq_ignore_ascii_case(b"100-continue") {
            return Err(BodyError::UnknownExpectation);
        }
        expects = true;
    }
    Ok(expects)
}

/// A body that is arriving. Its memory grows with what arrives, never by what was announced.
#[derive(Debug)]
pub struct Body {
    bytes: Vec<u8>,
    max: usize,
    /// Bytes of extensions and trailers so far.
    extras: usize,
    next: Next,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// So many bytes, and the end.
    Rest(usize),
    /// Digits of a chunk's size: so many were there, of so much.
    Size { digits: u8, size: usize },
    /// White space behind a size, and then an extension.
    Space { size: usize },
    /// Bytes of an extension.
    Extension { size: usize },
    /// The LF behind a size.
    SizeEnd { size: usize },
    /// Bytes of a chunk: so many.
    Data(usize),
    /// The CR behind a chunk.
    DataCr,
    /// The LF behind a chunk.
    DataLf,
    /// A trailer's first byte, or the CR of the end.
    Trailer,
    /// More of a trailer's name.
    TrailerName,
    /// More of a trailer's value.
    TrailerValue,
    /// The LF behind a trailer.
    TrailerEnd,
    /// The LF of the end.
    End,
    /// Nothing.
    Nothing,
}

impl Body {
    /// A body of which nothing has arrived.
    ///
    /// # Errors
    /// If it is announced to be of more than `max` bytes.
    pub fn new(framing: Framing, max: usize) -> Result<Self, BodyError> {
        let next = match framing {
            Framing::Length(length) if length > max => return Err(BodyError::TooBig),
            Framing::Length(length) => Next::Rest(length),
            Framing::Chunked => Next::Size { digits: 0, size: 0 },
        };
        Ok(Self {
            bytes: Vec::new(),
            max,
            extras: 0,
            next,
        })
    }

    /// Consumes input up to the end of the body, and hands its bytes out with it; `None` if the end
    /// has not come. What follows stays in `input`: it is the next request.
    ///
    /// # Errors
    /// On the first byte that shows the body to be malformed or too big.
    pub fn receive(&mut self, input: &mut Input<'_>) -> Result<Option<Vec<u8>>, BodyError> {
        loop {
            match &mut self.next {
                Next::Rest(left) | Next::Data(left) => {
                    let taken = input.take(*left);
                    *left -= taken.len();
                    self.bytes.extend_from_slice(taken);
                    match self.next {
                        Next::Rest(0) => self.next = Next::Nothing,
                        Next::Data(0) => self.next = Next::DataCr,
                        _ => return Ok(None),
                    }
                }
                Next::Nothing => return Ok(Some(std::mem::take(&mut self.bytes))),
                _ => {
                    let &[byte] = &*input.take(1) else {
                        return Ok(None);
                    };
                    self.next = self.step(byte)?;
                }
            }
        }
    }

    /// One byte of what lies around the chunks.
    fn step(&mut self, byte: u8) -> Result<Next, BodyError> {
        Ok(match (self.next, byte) {
            (Next::Size { digits, size }, digit) if digit.is_ascii_hexdigit() => {
                self.sum(digits, size, digit)?
            }
            (Next::Size { digits: 1.., size } | Next::Extension { size }, b'\r') => {
                Next::SizeEnd { size }
            }
            (Next::Size { digits: 1.., size } | Next::Space { size }, b';') => {
                self.extra()?;
                Next::Extension { size }
            }
            // RFC 9112, section 7.1.1: bad white space stands before the semicolon, if at all.
            (Next::Size { digits: 1.., size } | Next::Space { size }, b' ' | b'\t') => {
                self.extra()?;
                Next::Space { size }
            }
            (next @ (Next::Extension { .. } | Next::TrailerValue), byte) if is_text(byte) => {
                self.extra()?;
                next
            }
            (Next::SizeEnd { size: 0 } | Next::TrailerEnd, b'\n') => Next::Trailer,
            (Next::SizeEnd { size }, b'\n') => Next::Data(size),
            (Next::DataCr, b'\r') => Next::DataLf,
            (Next::DataLf, b'\n') => Next::Size { digits: 0, size: 0 },
            (Next::Trailer, b'\r') => Next::End,
            (Next::End, b'\n') => Next::Nothing,
            (Next::Trailer | Next::TrailerName, byte) if is_token(byte) => {
                self.extra()?;
                Next::TrailerName
            }
            (Next::TrailerName, b':') => {
                self.extra()?;
                Next::TrailerValue
            }
            (Next::TrailerValue, b'\r') => {
                self.extra()?;
                Next::TrailerEnd
            }
            _ => return Err(BodyError::MalformedChunk),
        })
    }

    /// One more digit of a chunk's size. The sum of all chunks is bounded before they arrive.
    fn sum(&self, digits: u8, size: usize, digit: u8) -> Result<Next, BodyError> {
        if digits == MAX_SIZE_DIGITS {
            return Err(BodyError::MalformedChunk);
        }
        let digit = char::from(digit).to_digit(16).unwrap_or_default() as usize;
        let size = size
            .checked_mul(16)
            .and_then(|size| size.checked_add(digit));
        match size.filter(|size| *size <= self.max - self.bytes.len()) {
            Some(size) => Ok(Next::Size {
                digits: digits + 1,
                size,
            }),
            None => Err(BodyError::TooBig),
        }
    }

    fn extra(&mut self) -> Result<(), BodyError> {
        self.extras += 1;
        if self.extras > MAX_CHUNK_EXTRAS {
            return Err(BodyError::TooManyExtras);
        }
        Ok(())
    }
}

/// Whether a byte may stand in a line: no control character but the tabulator.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// Whether a byte may stand in a field's name (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 20;

    fn framing(fields: &str) -> Result<Option<Framing>, BodyError> {
        let head = format!("POST /publish HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let request = Request::parse_with_body(head.as_bytes()).unwrap();
        Framing::of(&request)
    }

    fn expectation(fields: &str) -> Result<bool, BodyError> {
        let head = format!("POST /publish HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        expects_continue(&Request::parse_with_body(head.as_bytes()).unwrap())
    }

    /// The body, and what is left behind it, however it is cut.
    fn read(framing: Framing, bytes: &[u8]) -> Result<Option<(String, String)>, BodyError> {
        let whole = read_cut(framing, bytes, usize::MAX);
        for cut in 1..=3 {
            assert_eq!(read_cut(framing, bytes, cut), whole, "in pieces of {cut}");
        }
        whole
    }

    fn read_cut(
        framing: Framing,
        bytes: &[u8],
        cut: usize,
    ) -> Result<Option<(String, String)>, BodyError> {
        let mut body = Body::new(framing, MAX)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut taken = 0;
        for piece in bytes.to_vec().chunks_mut(cut) {
            let mut input = Input::new(piece);
            taken += input.len();
            let done = body.receive(&mut input)?;
            taken -= input.len();
            if let Some(bytes_of_body) = done {
                return Ok(Some((text(&bytes_of_body), text(&bytes[taken..]))));
            }
            assert!(input.is_empty(), "nothing is left before the end");
        }
        Ok(None)
    }

    fn chunks(bytes: &str) -> Result<Option<(String, String)>, BodyError> {
        read(Framing::Chunked, bytes.as_bytes())
    }

    #[expect(clippy::unnecessary_wraps, reason = "results are compared with it")]
    fn done(body: &str, rest: &str) -> Result<Option<(String, String)>, BodyError> {
        Ok(Some((body.to_owned(), rest.to_owned())))
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        use BodyError::*;
        for (fields, expected) in [
            ("", Ok(None)),
            ("Content-Length: 0\r\n", Ok(Some(Framing::Length(0)))),
            ("Content-Length: 007\r\n", Ok(Some(Framing::Length(7)))),
            ("Content-Length:\r\n", Err(InvalidLength)),
            ("Content-Length: -1\r\n", Err(InvalidLength)),
            ("Content-Length: +1\r\n", Err(InvalidLength)),
            ("Content-Length: 0x1\r\n", Err(InvalidLength)),
            ("Content-Length: 1, 1\r\n", Err(InvalidLength)),
            (
                "Content-Length: 1\r\nContent-Length: 1\r\n",
                Err(InvalidLength),
            ),
            ("Content-Length: 18446744073709551616\r\n", Err(TooBig)),
            ("Transfer-Encoding: Chunked\r\n", Ok(Some(Framing::Chunked))),
            (
                "Transfer-Encoding: ,chunked,\r\n",
                Ok(Some(Framing::Chunked)),
            ),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(UnknownCoding)),
            ("Transfer-Encoding: chunked, gzip\r\n", Err(InvalidCoding)),
            (
                "Transfer-Encoding: chunked, chunked\r\n",
                Err(InvalidCoding),
            ),
            ("Transfer-Encoding: xchunked\r\n", Err(InvalidCoding)),
            ("Transfer-Encoding: identity\r\n", Err(InvalidCoding)),
            ("Transfer-Encoding:\r\n", Err(InvalidCoding)),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                Err(Ambiguous),
            ),
            (
                "Content-Length: 0\r\nTransfer-Encoding: x\r\n",
                Err(Ambiguous),
            ),
        ] {
            assert_eq!(framing(fields), expected, "{fields}");
        }
    }

    #[test]
    fn one_expectation_is_known() {
        assert_eq!(expectation(""), Ok(false));
        assert_eq!(expectation("Expect: 100-Continue\r\n"), Ok(true));
        let other = Err(BodyError::UnknownExpectation);
        assert_eq!(expectation("Expect: 100-continue, tea\r\n"), other);
        assert_eq!(expectation("Expect: tea\r\n"), other);
    }

    #[test]
    fn a_length_is_counted_and_no_byte_more() {
        assert_eq!(read(Framing::Length(3), b"abcGET"), done("abc", "GET"));
        assert_eq!(read(Framing::Length(3), b"ab"), Ok(None));
        let mut body = Body::new(Framing::Length(0), MAX).unwrap();
        assert_eq!(body.receive(&mut Input::new(&mut [])), Ok(Some(Vec::new())));
    }

    #[test]
    fn both_sides_of_the_limit() {
        assert!(Body::new(Framing::Length(MAX), MAX).is_ok());
        let error = Body::new(Framing::Length(MAX + 1), MAX).err();
        assert_eq!(error, Some(BodyError::TooBig));
        let twenty = "a".repeat(MAX);
        assert_eq!(
            chunks(&format!("14\r\n{twenty}\r\n0\r\n\r\n")),
            done(&twenty, "")
        );
        // At the digit that says so: not a byte of it is waited for.
        assert_eq!(chunks("15"), Err(BodyError::TooBig));
        let sum = "3\r\nabc\r\n11\r\n".to_owned() + &twenty[..17] + "\r\n";
        assert_eq!(
            chunks(&(sum.clone() + "0\r\n\r\n")).map(|body| body.is_some()),
            Ok(true)
        );
        assert_eq!(chunks(&(sum + "1")), Err(BodyError::TooBig));
        for huge in ["ffffffffffffffff", "80000000000000000"] {
            assert_eq!(chunks(huge), Err(BodyError::TooBig), "{huge}");
        }
    }

    #[test]
    fn chunks_are_joined_and_extras_ignored() {
        assert_eq!(chunks("0\r\n\r\nGET"), done("", "GET"));
        assert_eq!(
            chunks("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
            done("abcde", "")
        );
        assert_eq!(
            chunks("A\r\n0123456789\r\n0\r\n\r\n"),
            done("0123456789", "")
        );
        assert_eq!(
            chunks("a\r\n0123456789\r\n00\r\n\r\n"),
            done("0123456789", "")
        );
        assert_eq!(
            chunks("3;a=b;c=\"d\"\r\nabc\r\n0;z\r\n\r\n"),
            done("abc", "")
        );
        assert_eq!(chunks("3 \t;a\r\nabc\r\n0\r\n\r\n"), done("abc", ""));
        assert_eq!(
            chunks("1\r\na\r\n0\r\nX: y\r\nZ-1:\r\n\r\nrest"),
            done("a", "rest")
        );
        // A chunk holds what looks like an end.
        assert_eq!(chunks("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), done("0\r\n\r\n", ""));
        assert_eq!(chunks("3\r\nabc\r\n"), Ok(None));
    }

    #[test]
    fn what_is_no_chunk_is_refused_at_once() {
        for bytes in [
            "\r\n",
            ";",
            " 3",
            "x",
            "-1",
            "+1",
            "3 \r",
            "3 x",
            "3x",
            "3\n",
            "3\rx",
            "3;a\n",
            "3;\x07",
            "3\r\nabcd",
            "3\r\nabc\n",
            "3\r\nabc\rx",
            "0\r\n\n",
            "0\r\nX\r",
            "0\r\n:a",
            "0\r\n X:",
            "0\r\nX :",
            "0\r\nX: a\n",
            "0\r\nX: \x00",
            "0\r\n\rx",
            "00000000000000000",
        ] {
            assert_eq!(chunks(bytes), Err(BodyError::MalformedChunk), "{bytes:?}");
        }
    }

    #[test]
    fn extras_are_bounded_in_sum() {
        let extension = format!("1;{}\r\na\r\n", "x".repeat(MAX_CHUNK_EXTRAS / 2 - 1));
        let body = extension.repeat(2) + "0\r\n\r\n";
        assert_eq!(chunks(&body), done("aa", ""));
        let error = Err(BodyError::TooManyExtras);
        assert_eq!(chunks(&(extension.repeat(2) + "0;")), error);
        assert_eq!(chunks(&(extension.repeat(2) + "0\r\nX")), error);
        let trailer = format!("0\r\nX:{}", "y".repeat(MAX_CHUNK_EXTRAS - 2));
        assert_eq!(chunks(&trailer), Ok(None));
        assert_eq!(chunks(&(trailer + "y")), error);
    }

    #[test]
    fn errors_are_small_and_told_apart() {
        use BodyError::*;
        assert_eq!(size_of::<BodyError>(), 1);
        let all = [
            Ambiguous,
            InvalidLength,
            UnknownCoding,
            InvalidCoding,
            MalformedChunk,
            TooManyExtras,
            LengthRequired,
            TooBig,
            UnknownExpectation,
            TimedOut,
        ];
        let reasons: std::collections::BTreeSet<String> =
            all.iter().map(ToString::to_string).collect();
        assert_eq!(reasons.len(), all.len());
    }
}
