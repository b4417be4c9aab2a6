//! What can be wrong with what Redis sends.

use std::fmt;

/// Why a stream of bytes is not RESP, or more of it than is allowed. Nothing can be read behind it:
/// the connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RespError {
    /// A first byte that stands for no type.
    UnknownType,
    /// CR without LF, or LF without CR.
    BareLineEnd,
    /// A line over [`RespLimits::max_line`](super::RespLimits::max_line).
    LineTooLong,
    /// A length that is no decimal number, or not in its shortest form, or negative.
    InvalidLength,
    /// A string or an aggregate without a length (`?`): Redis has none.
    Streamed,
    /// A number, a boolean or a null that is none.
    InvalidScalar,
    /// A verbatim string without a format of three letters.
    InvalidVerbatim,
    /// A bulk string that is too long even to be passed over, or an error or a verbatim string over
    /// [`RespLimits::max_bulk`](super::RespLimits::max_bulk).
    BulkTooLong,
    /// A bulk string that does not end where its length says.
    BulkNotEnded,
    /// An aggregate over [`RespLimits::max_elements`](super::RespLimits::max_elements) that is not
    /// inside another, or is an attribute, or has too many elements even to be passed over.
    TooManyElements,
    /// Aggregates over [`RespLimits::max_depth`](super::RespLimits::max_depth).
    TooDeep,
    /// A push inside another value.
    MisplacedPush,
    /// A value over [`RespLimits::max_value`](super::RespLimits::max_value), if there is nothing in
    /// it that can be passed over.
    ValueTooBig,
}

impl RespError {
    /// The text of the log.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::UnknownType => "unknown type",
            Self::BareLineEnd => "CR without LF, or LF without CR",
            Self::LineTooLong => "line too long",
            Self::InvalidLength => "invalid length",
            Self::Streamed => "streamed value",
            Self::InvalidScalar => "invalid number, boolean or null",
            Self::InvalidVerbatim => "invalid verbatim string",
            Self::BulkTooLong => "bulk string too long",
            Self::BulkNotEnded => "bulk string longer than its length",
            Self::TooManyElements => "too many elements",
            Self::TooDeep => "nested too deep",
            Self::MisplacedPush => "push inside another value",
            Self::ValueTooBig => "value too big",
        }
    }
}

impl fmt::Display for RespError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for RespError {}
