//! Bytes in pieces, values out.

use super::aggregate::{Aggregate, AggregateKind, MAX_PASSED, Passed};
use super::bulk::{Bulk, BulkKind};
use super::error::RespError;
use super::head::{Head, is_type};
use super::limits::RespLimits;
use super::line::Line;
use super::value::Value;

/// Reads values from a stream, however it is cut: the values, and the error at the end if there is
/// one, are the same.
///
/// A byte is never looked at again when more arrive, so that a long value costs no more in small
/// pieces than in large ones. Memory grows with what has arrived, not with what was announced.
#[derive(Debug)]
pub struct Decoder {
    limits: RespLimits,
    /// The line that is arriving, if a bulk string is not.
    line: Line,
    /// The bulk string that is arriving.
    bulk: Option<Bulk>,
    /// The aggregates that are arriving, each inside the one before; at most
    /// [`RespLimits::max_depth`].
    open: Vec<Aggregate>,
    /// What the value that is arriving costs so far, see [`RespLimits::max_value`].
    cost: usize,
    failed: Option<RespError>,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new(limits: RespLimits) -> Self {
        Self {
            limits,
            line: Line::default(),
            bulk: None,
            open: Vec::new(),
            cost: 0,
            failed: None,
        }
    }

    /// The next value, or `None` if more bytes are needed. What belongs to it is taken from the
    /// front of `input`; if there is none, that is everything, and it need not be shown again.
    ///
    /// # Errors
    /// On the first byte that shows the stream to be wrong, or over one of the limits; and the same
    /// one ever after.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Value>, RespError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let outcome = self.next_value(input);
        if let Err(error) = outcome {
            self.failed = Some(error);
            self.line.clear();
            self.bulk = None;
            self.open = Vec::new();
        }
        outcome
    }

    /// Whether the stream may end here: no value has begun.
    pub fn is_between_values(&self) -> bool {
        self.line.is_empty() && self.bulk.is_none() && self.open.is_empty() && self.cost == 0
    }

    fn next_value(&mut self, input: &mut &[u8]) -> Result<Option<Value>, RespError> {
        // Every round takes bytes, or is the last.
        loop {
            let whole = if let Some(bulk) = &mut self.bulk {
                let Some(value) = bulk.take(input)? else {
                    return Ok(None);
                };
                self.bulk = None;
                self.place(value)
            } else {
                let Some(head) = self.next_head(input)? else {
                    return Ok(None);
                };
                self.begin(head)?
            };
            if whole.is_some() {
                self.cost = 0;
                return Ok(whole);
            }
        }
    }

    /// The next first line of a value.
    fn next_head(&mut self, input: &mut &[u8]) -> Result<Option<Head>, RespError> {
        if self.line.is_empty() && input.first().is_some_and(|byte| !is_type(*byte)) {
            return Err(RespError::UnknownType);
        }
        let Some(line) = self.line.take(input, self.limits.max_line)? else {
            return Ok(None);
        };
        self.charge(RespLimits::VALUE_COST + line.len() + 2)?;
        Head::parse(&line, &self.limits).map(Some)
    }

    /// Begins a value; the value of the stream that is whole by that, if one is.
    fn begin(&mut self, head: Head) -> Result<Option<Value>, RespError> {
        match head {
            Head::Whole(value) => Ok(self.place(value)),
            Head::Bulk(kind, len) => {
                if !matches!(kind, BulkKind::Passed) {
                    self.charge(len.saturating_add(2))?;
                }
                let kind = self.passed().map_or(kind, |_| BulkKind::Passed);
                self.bulk = Some(Bulk::new(kind, len));
                Ok(None)
            }
            Head::Aggregate(kind, count) => {
                let passed = self.check_count(kind, count)?;
                if kind == AggregateKind::Push && !self.open.is_empty() {
                    return Err(RespError::MisplacedPush);
                }
                if self.open.len() == self.limits.max_depth {
                    return Err(RespError::TooDeep);
                }
                let passed = self.passed().or(passed);
                self.open.push(Aggregate::new(kind, count, passed));
                Ok(self.close())
            }
        }
    }

    /// Whether an aggregate has so many elements that it is passed over.
    fn check_count(&self, kind: AggregateKind, count: usize) -> Result<Option<Passed>, RespError> {
        let is_inside = !self.open.is_empty() && kind != AggregateKind::Attribute;
        if count <= self.limits.max_elements {
            Ok(None)
        } else if is_inside && count <= MAX_PASSED {
            // Somebody's entry: it must not be what ends every connection that it comes on.
            Ok(Some(Passed::TooMany))
        } else {
            Err(RespError::TooManyElements)
        }
    }

    /// Why all that arrives is passed over, if it is.
    fn passed(&self) -> Option<Passed> {
        self.open.last()?.passed()
    }

    /// Pays for what arrives, unless it is passed over. If it costs too much, it is, with the rest
    /// of the innermost aggregate, before that takes what the outermost one needs for itself.
    fn charge(&mut self, cost: usize) -> Result<(), RespError> {
        if self.passed().is_some() {
            return Ok(());
        }
        let cost = self.cost.saturating_add(cost);
        let RespLimits {
            max_value, reserve, ..
        } = self.limits;
        match &mut self.open[..] {
            [_, .., innermost] if cost > max_value.saturating_sub(reserve) => innermost.cut(),
            [] | [_] if cost > max_value => return Err(RespError::ValueTooBig),
            _ => self.cost = cost,
        }
        Ok(())
    }

    /// Puts a value where it belongs; the value of the stream that is whole by that, if one is.
    fn place(&mut self, value: Value) -> Option<Value> {
        let Some(innermost) = self.open.last_mut() else {
            return Some(value);
        };
        innermost.push(value);
        self.close()
    }

    /// Closes the innermost aggregate if all of it is there, and with it perhaps the one around it:
    /// that goes on for [`RespLimits::max_depth`] times at most.
    fn close(&mut self) -> Option<Value> {
        if !self.open.last()?.is_whole() {
            return None;
        }
        let value = self.open.pop()?.finish()?;
        self.place(value)
    }
}

#[cfg(test)]
mod tests;
