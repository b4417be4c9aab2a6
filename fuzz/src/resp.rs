//! What Redis says: the same values however it is cut, and those of a slow reader of whole streams.

use fanfare::backplane::resp::{Decoder, RespError, RespLimits, Value};

use super::plan::{Cuts, Plan};

/// In the first byte: the limits are small, so that short inputs reach them.
const SMALL_LIMITS: u8 = 0x10;

/// A longer string than this is no message that is too long, but nonsense.
const MAX_PASSED: usize = 512 * 1024 * 1024;

/// The same of an aggregate, in elements.
const MAX_PASSED_ELEMENTS: usize = 256 * 1024 * 1024;

/// The values of a stream, and the error at its end.
type Heard = (Vec<Value>, Option<RespError>);

/// Hears a stream in three ways, and compares with the slow reader.
pub fn run(bytes: &[u8]) {
    let mut limits = RespLimits::new(64, 1);
    if bytes.first().is_some_and(|flags| flags & SMALL_LIMITS != 0) {
        limits.max_depth = 3;
        limits.max_elements = 6;
        limits.max_line = 24;
        limits.max_bulk = 20;
        limits.max_value = 600;
        limits.reserve = 100;
    }
    let (cuts, stream) = Plan::split_off_cuts(bytes);
    let whole = hear(stream, limits, &Cuts::WHOLE);
    assert_eq!(hear(stream, limits, &cuts), whole, "cut at {cuts:?}");
    let by_byte = hear(stream, limits, &Cuts::bytewise());
    assert_eq!(by_byte, whole, "cut behind every byte");
    let mut reader = Reader {
        rest: stream,
        limits,
        cost: 0,
        is_passing: false,
    };
    let (values, error) = whole;
    for value in values {
        assert_eq!(reader.value(0), Ok(value));
        reader.cost = 0;
    }
    match error {
        Some(_) => assert_eq!(reader.value(0), Err(Stop::Wrong), "it is right"),
        None => assert_eq!(reader.value(0), Err(Stop::Unfinished), "a value is missing"),
    }
}

fn hear(stream: &[u8], limits: RespLimits, cuts: &Cuts) -> Heard {
    let (mut decoder, mut values) = (Decoder::new(limits), Vec::new());
    assert!(decoder.is_between_values());
    for piece in cuts.pieces(&mut stream.to_vec()) {
        let mut piece: &[u8] = piece;
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(value)) => {
                    assert!(decoder.is_between_values());
                    values.push(value);
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut b"+OK\r\n".as_slice()), Err(error));
                    return (values, Some(error));
                }
            }
        }
        assert!(piece.is_empty(), "input is left over");
    }
    (values, None)
}

/// Why there is no value.
#[derive(Debug, PartialEq)]
enum Stop {
    /// The stream ends too early.
    Unfinished,
    /// It is no RESP, or too much of it.
    Wrong,
}

/// Reads values one behind the other; written from the specification alone.
struct Reader<'s> {
    rest: &'s [u8],
    limits: RespLimits,
    /// What the value costs so far.
    cost: usize,
    /// Whether an aggregate is read of which nothing is kept.
    is_passing: bool,
}

/// What is left of an aggregate.
enum Elements {
    Kept(Vec<Value>),
    TooMany,
}

impl Reader<'_> {
    /// The next value inside so many aggregates.
    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        let kind = *self.rest.first().ok_or(Stop::Unfinished)?;
        if !b"+-:_#,($!=*~%>|".contains(&kind) {
            return Err(Stop::Wrong);
        }
        let line = self.line()?;
        self.spend(line.len() + 2 + size_of::<Value>(), depth)?;
        let (text, bytes) = (String::from_utf8(line[1..].to_vec()), line[1..].to_vec());
        let text = text.unwrap_or_default();
        if matches!(kind, b'$' | b'*') && text == "-1" {
            return Ok(Value::Null);
        }
        Ok(match kind {
            b'+' => Value::Simple(bytes),
            b'-' => Value::Error(bytes),
            b':' => Value::Integer(integer(&text)?.parse().map_err(|_| Stop::Wrong)?),
            b'(' => Value::BigNumber(integer(&text)?.as_bytes().to_vec()),
            b',' => match text.parse::<f64>() {
                Ok(_) => Value::Double(bytes),
                Err(_) => return Err(Stop::Wrong),
            },
            b'_' if bytes.is_empty() => Value::Null,
            b'#' if matches!(&*text, "t" | "f") => Value::Boolean(text == "t"),
            b'$' | b'!' | b'=' => self.bulk(kind, &text, depth)?,
            b'|' => {
                self.elements(kind, &text, 2, depth)?;
                return self.value(depth);
            }
            b'*' | b'~' | b'>' | b'%' => {
                let at_once = if kind == b'%' { 2 } else { 1 };
                let elements = match self.elements(kind, &text, at_once, depth)? {
                    Elements::Kept(elements) => elements,
                    Elements::TooMany => return Ok(Value::Null),
                };
                let pairs = elements.chunks_exact(2);
                match kind {
                    b'*' => Value::Array(elements),
                    b'~' => Value::Set(elements),
                    b'>' => Value::Push(elements),
                    _ => Value::Map(
                        pairs
                            .map(|pair| (pair[0].clone(), pair[1].clone()))
                            .collect(),
                    ),
                }
            }
            _ => return Err(Stop::Wrong),
        })
    }

    /// A line without its end. The first byte that cannot be is wrong, whatever follows.
    fn line(&mut self) -> Result<Vec<u8>, Stop> {
        for (at, byte) in self.rest.iter().enumerate() {
            if at > self.limits.max_line || *byte == b'\n' {
                return Err(Stop::Wrong);
            }
            if *byte == b'\r' {
                let line = self.rest[..at].to_vec();
                self.rest = &self.rest[at..];
                self.line_end()?;
                return Ok(line);
            }
            if at == self.limits.max_line {
                return Err(Stop::Wrong);
            }
        }
        Err(Stop::Unfinished)
    }

    fn line_end(&mut self) -> Result<(), Stop> {
        for expected in b"\r\n" {
            if self.rest.first().ok_or(Stop::Unfinished)? != expected {
                return Err(Stop::Wrong);
            }
            self.rest = &self.rest[1..];
        }
        Ok(())
    }

    fn bulk(&mut self, kind: u8, text: &str, depth: usize) -> Result<Value, Stop> {
        let len = length(text)?;
        let mut is_passed = kind == b'$' && len > self.limits.max_bulk && len <= MAX_PASSED;
        if (len > self.limits.max_bulk && !is_passed) || kind == b'=' && len < 4 {
            return Err(Stop::Wrong);
        }
        if !is_passed {
            self.spend(len + 2, depth)?;
        }
        is_passed |= self.is_passing;
        if self.rest.len() < len {
            return Err(Stop::Unfinished);
        }
        let bytes = self.rest[..len].to_vec();
        self.rest = &self.rest[len..];
        self.line_end()?;
        Ok(match kind {
            _ if is_passed => Value::Null,
            b'$' => Value::Bulk(bytes),
            b'!' => Value::Error(bytes),
            _ if bytes[3] != b':' => return Err(Stop::Wrong),
            _ => Value::Verbatim {
                format: [bytes[0], bytes[1], bytes[2]],
                text: bytes[4..].to_vec(),
            },
        })
    }

    /// The elements of an aggregate whose head counts so many of them as one.
    fn elements(
        &mut self,
        kind: u8,
        text: &str,
        at_once: usize,
        depth: usize,
    ) -> Result<Elements, Stop> {
        let count = length(text)?.saturating_mul(at_once);
        let is_misplaced = kind == b'>' && depth > 0;
        let is_too_many = count > self.limits.max_elements;
        let may_be_passed = depth > 0 && kind != b'|' && count <= MAX_PASSED_ELEMENTS;
        let is_wrong = is_too_many && !may_be_passed;
        if is_wrong || is_misplaced || depth >= self.limits.max_depth {
            return Err(Stop::Wrong);
        }
        let was_passing = self.is_passing;
        self.is_passing |= is_too_many;
        let mut elements = Vec::new();
        for _ in 0..count {
            let element = self.value(depth + 1)?;
            if !self.is_passing {
                elements.push(element);
            }
        }
        if self.is_passing && !is_too_many {
            elements.push(Value::Omitted);
        }
        self.is_passing = was_passing;
        Ok(if is_too_many {
            Elements::TooMany
        } else {
            Elements::Kept(elements)
        })
    }

    /// Pays for something inside so many aggregates. What there is no room for takes all along that
    /// is behind it in the innermost one, unless that is the outermost, which has more room.
    fn spend(&mut self, cost: usize, depth: usize) -> Result<(), Stop> {
        if self.is_passing {
            return Ok(());
        }
        let is_outermost = depth < 2;
        let reserved = if is_outermost { 0 } else { self.limits.reserve };
        if self.cost + cost + reserved <= self.limits.max_value {
            self.cost += cost;
        } else if is_outermost {
            return Err(Stop::Wrong);
        } else {
            self.is_passing = true;
        }
        Ok(())
    }
}

/// A length: as it would be written. What no number can hold is over every limit.
fn length(text: &str) -> Result<usize, Stop> {
    match text.parse::<usize>() {
        Ok(len) if len.to_string() == text => Ok(len),
        _ => Err(Stop::Wrong),
    }
}

/// An integer of any length: a sign perhaps, and digits without a zero in front.
fn integer(text: &str) -> Result<&str, Stop> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_short = digits == "0" || !digits.starts_with('0');
    if digits.is_empty() || !is_short || digits.contains(|digit: char| !digit.is_ascii_digit()) {
        return Err(Stop::Wrong);
    }
    Ok(text)
}
