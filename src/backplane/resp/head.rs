//! The first line of a value: what it is, and how much of it follows.

use super::aggregate::AggregateKind;
use super::bulk::{BulkKind, MAX_PASSED};
use super::error::RespError;
use super::limits::RespLimits;
use super::value::Value;

/// What a line says.
#[derive(Debug)]
pub(super) enum Head {
    /// That is all of it.
    Whole(Value),
    /// So many bytes follow.
    Bulk(BulkKind, usize),
    /// So many elements follow.
    Aggregate(AggregateKind, usize),
}

/// Whether a byte stands for a type.
pub(super) fn is_type(byte: u8) -> bool {
    matches!(
        byte,
        b'+' | b'-'
            | b':'
            | b'_'
            | b'#'
            | b','
            | b'('
            | b'$'
            | b'!'
            | b'='
            | b'*'
            | b'~'
            | b'%'
            | b'>'
            | b'|'
    )
}

impl Head {
    /// Reads a line that begins with a type.
    pub(super) fn parse(line: &[u8], limits: &RespLimits) -> Result<Self, RespError> {
        let (kind, rest) = line.split_first().ok_or(RespError::UnknownType)?;
        Ok(match kind {
            b'+' => Self::Whole(Value::Simple(rest.to_vec())),
            b'-' => Self::Whole(Value::Error(rest.to_vec())),
            b':' => Self::Whole(Value::Integer(integer(rest)?)),
            b'_' if rest.is_empty() => Self::Whole(Value::Null),
            b'#' if rest == b"t" => Self::Whole(Value::Boolean(true)),
            b'#' if rest == b"f" => Self::Whole(Value::Boolean(false)),
            b',' if is_double(rest) => Self::Whole(Value::Double(rest.to_vec())),
            b'(' if is_integer(rest) => Self::Whole(Value::BigNumber(rest.to_vec())),
            b'_' | b'#' | b',' | b'(' => return Err(RespError::InvalidScalar),
            // RESP 2 has no other null.
            b'$' | b'*' if rest == b"-1" => Self::Whole(Value::Null),
            b'$' => bulk(BulkKind::String, rest, limits)?,
            b'!' => bulk(BulkKind::Error, rest, limits)?,
            b'=' => bulk(BulkKind::Verbatim, rest, limits)?,
            b'*' => aggregate(AggregateKind::Array, rest)?,
            b'~' => aggregate(AggregateKind::Set, rest)?,
            b'>' => aggregate(AggregateKind::Push, rest)?,
            b'%' => aggregate(AggregateKind::Map, rest)?,
            b'|' => aggregate(AggregateKind::Attribute, rest)?,
            _ => return Err(RespError::UnknownType),
        })
    }
}

fn bulk(kind: BulkKind, digits: &[u8], limits: &RespLimits) -> Result<Head, RespError> {
    let len = length(digits)?;
    if len > limits.max_bulk {
        // Somebody's message: it must not be what ends every connection that it comes on.
        return match kind {
            BulkKind::String if len <= MAX_PASSED => Ok(Head::Bulk(BulkKind::Passed, len)),
            _ => Err(RespError::BulkTooLong),
        };
    }
    if len < kind.min_len() {
        return Err(RespError::InvalidVerbatim);
    }
    Ok(Head::Bulk(kind, len))
}

/// Whether it has too many elements depends on what is around it.
fn aggregate(kind: AggregateKind, digits: &[u8]) -> Result<Head, RespError> {
    let count = length(digits)?.saturating_mul(kind.elements_per_count());
    Ok(Head::Aggregate(kind, count))
}

/// A length as Redis writes it: digits alone, no zero in front. One that no `usize` can hold is the
/// largest that one can, which is over every limit.
fn length(digits: &[u8]) -> Result<usize, RespError> {
    match digits {
        b"?" => Err(RespError::Streamed),
        _ if !is_natural(digits) => Err(RespError::InvalidLength),
        _ => Ok(digits.iter().fold(0_usize, |len, digit| {
            len.saturating_mul(10)
                .saturating_add(usize::from(digit - b'0'))
        })),
    }
}

/// An integer: a sign perhaps, and digits without a zero in front.
fn integer(text: &[u8]) -> Result<i64, RespError> {
    let text = is_integer(text).then_some(text);
    text.and_then(|text| std::str::from_utf8(text).ok())
        .and_then(|text| text.parse().ok())
        .ok_or(RespError::InvalidScalar)
}

fn is_integer(text: &[u8]) -> bool {
    is_natural(
        text.strip_prefix(b"-")
            .or(text.strip_prefix(b"+"))
            .unwrap_or(text),
    )
}

fn is_natural(digits: &[u8]) -> bool {
    match digits {
        [] | [b'0', _, ..] => false,
        _ => digits.iter().all(u8::is_ascii_digit),
    }
}

/// Whether a floating-point number is one that can be read.
fn is_double(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok())
}
