//! What a peer can do wrong, and what follows.

use std::fmt;

use super::close::CloseCode;

/// Why a connection was failed (RFC 6455, section 7.1.7). Each knows the status code to close with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtocolError {
    /// A reserved bit is set and no extension owns it (section 5.2).
    ReservedBits,
    /// An opcode of 3–7 or 11–15 (section 5.2).
    ReservedOpcode,
    /// A client's frame without a masking key (section 5.1).
    Unmasked,
    /// A length that fits a shorter form (section 5.2).
    LengthNotMinimal,
    /// A 64-bit length with its most significant bit set (section 5.2).
    LengthTopBit,
    /// A control frame without FIN (section 5.5).
    ControlFragmented,
    /// A control frame of more than 125 bytes (section 5.5).
    ControlTooLong,
    /// A continuation where no message is under way (section 5.4).
    UnexpectedContinuation,
    /// A new message inside a fragmented one (section 5.4).
    ExpectedContinuation,
    /// A Close payload of one byte (section 5.5.1).
    CloseTooShort,
    /// A status code that must not be sent (section 7.4).
    InvalidCloseCode,
    /// Text, or the reason of a Close, that is not UTF-8 (section 8.1).
    InvalidUtf8,
    /// A message over [`Limits::max_message_size`](super::Limits::max_message_size).
    MessageTooBig,
    /// A message of more than [`Limits::max_fragments`](super::Limits::max_fragments).
    TooManyFragments,
    /// A message where only listening is allowed.
    MessageNotAllowed,
}

impl ProtocolError {
    /// The status code of the Close frame that the peer gets.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::InvalidUtf8 => CloseCode::INVALID_PAYLOAD,
            Self::MessageTooBig => CloseCode::MESSAGE_TOO_BIG,
            Self::TooManyFragments | Self::MessageNotAllowed => CloseCode::POLICY_VIOLATION,
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::Unmasked
            | Self::LengthNotMinimal
            | Self::LengthTopBit
            | Self::ControlFragmented
            | Self::ControlTooLong
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::CloseTooShort
            | Self::InvalidCloseCode => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// The reason of the Close frame that the peer gets, and the text of the log.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bits set",
            Self::ReservedOpcode => "reserved opcode",
            Self::Unmasked => "frame not masked",
            Self::LengthNotMinimal => "length not in its shortest form",
            Self::LengthTopBit => "length with its top bit set",
            Self::ControlFragmented => "fragmented control frame",
            Self::ControlTooLong => "control frame over 125 bytes",
            Self::UnexpectedContinuation => "continuation of nothing",
            Self::ExpectedContinuation => "new message inside a fragmented one",
            Self::CloseTooShort => "close payload of one byte",
            Self::InvalidCloseCode => "status code that must not be sent",
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::MessageTooBig => "message too big",
            Self::TooManyFragments => "too many fragments",
            Self::MessageNotAllowed => "publishing is not allowed here",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for ProtocolError {}

/// Why a request was not upgraded. Each knows the HTTP status to answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The head is not HTTP (RFC 9112, section 2).
    MalformedHead,
    /// A line ends in LF without CR (RFC 9112, section 2.2).
    BareLineFeed,
    /// An asterisk or authority where a path belongs (RFC 9112, section 3.2).
    InvalidTarget,
    /// None, or more than one, or an unusable `Host` (RFC 9112, section 3.2).
    InvalidHost,
    /// A body announced by `Content-Length` or `Transfer-Encoding`.
    UnexpectedBody,
    /// `Origin` more than once.
    RepeatedOrigin,
    /// `Sec-WebSocket-Version` more than once (RFC 6455, section 11.3.5).
    RepeatedVersion,
    /// `Sec-WebSocket-Key` missing, repeated, or not 16 bytes of base64 (RFC 6455, section 4.2.1).
    InvalidKey,
    /// A room name that is empty, too long, not UTF-8, badly escaped or has control characters.
    InvalidRoom,
    /// The origin is not an allowed one (RFC 6455, section 10.2).
    OriginNotAllowed,
    /// Nothing lives at this path.
    NotFound,
    /// Anything but GET (RFC 6455, section 4.1).
    MethodNotAllowed,
    /// The head did not arrive in time.
    TimedOut,
    /// The request line is over [`http::MAX_REQUEST_LINE`](super::http::MAX_REQUEST_LINE).
    TargetTooLong,
    /// The path wants a WebSocket and the request does not ask for one (RFC 9110, section 15.5.22).
    UpgradeRequired,
    /// `Sec-WebSocket-Version` is not 13 (RFC 6455, section 4.4).
    UnsupportedVersion,
    /// The head is over [`http::MAX_HEAD`](super::http::MAX_HEAD) or
    /// [`http::MAX_FIELDS`](super::http::MAX_FIELDS).
    HeadTooLarge,
    /// No place for another client.
    Full,
    /// No place for another room.
    TooManyRooms,
    /// The server is about to stop.
    Draining,
    /// HTTP, but not version 1.1.
    UnsupportedHttpVersion,
    /// A credential is needed and none was given (RFC 9110, section 15.5.2).
    Unauthorized,
    /// The credential does not suffice for this.
    Forbidden,
    /// The address has as many connections as one may have.
    TooManyFromAddress,
    /// Too many handshakes are under way; this one has waited the longest.
    TooManyHandshakes,
    /// No place in this room for another member.
    RoomFull,
    /// A trusted proxy did not say, or not properly, for whom it connects (PROXY protocol).
    InvalidProxyHeader,
    /// The credential is unknown, forged or expired (RFC 6750, section 3.1: `invalid_token`).
    InvalidCredential,
    /// Credentials that differ, in several places (RFC 6750, section 3.1: `invalid_request`).
    SeveralCredentials,
    /// No agreement on TLS, or no TLS at all. The answer is an alert (RFC 8446, section 6.2), not a
    /// status.
    Tls,
}

impl HandshakeError {
    /// The HTTP status code of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::MalformedHead
            | Self::BareLineFeed
            | Self::InvalidTarget
            | Self::InvalidHost
            | Self::UnexpectedBody
            | Self::RepeatedOrigin
            | Self::RepeatedVersion
            | Self::InvalidKey
            | Self::InvalidRoom
            | Self::InvalidProxyHeader
            | Self::SeveralCredentials
            | Self::Tls => 400,
            Self::Unauthorized | Self::InvalidCredential => 401,
            Self::OriginNotAllowed | Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::TimedOut => 408,
            Self::TargetTooLong => 414,
            Self::UpgradeRequired | Self::UnsupportedVersion => 426,
            Self::TooManyFromAddress => 429,
            Self::HeadTooLarge => 431,
            Self::Full
            | Self::TooManyRooms
            | Self::Draining
            | Self::TooManyHandshakes
            | Self::RoomFull => 503,
            Self::UnsupportedHttpVersion => 505,
        }
    }

    /// The one line of the answer's body, and the text of the log.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::MalformedHead => "malformed request head",
            Self::BareLineFeed => "line feed without carriage return",
            Self::InvalidTarget => "request target is not a path",
            Self::InvalidHost => "exactly one valid Host field is required",
            Self::UnexpectedBody => "request with a body",
            Self::RepeatedOrigin => "repeated Origin field",
            Self::RepeatedVersion => "repeated Sec-WebSocket-Version field",
            Self::InvalidKey => "Sec-WebSocket-Key is not one field of 16 bytes in base64",
            Self::InvalidRoom => "room name is empty, too long or has forbidden characters",
            Self::OriginNotAllowed => "origin not allowed",
            Self::NotFound => "not found",
            Self::MethodNotAllowed => "only GET is allowed",
            Self::TimedOut => "request head did not arrive in time",
            Self::TargetTooLong => "request line too long",
            Self::UpgradeRequired => "this path speaks WebSocket",
            Self::UnsupportedVersion => "only version 13 of WebSocket is supported",
            Self::HeadTooLarge => "request head too large",
            Self::Full => "no place for another client",
            Self::TooManyRooms => "no place for another room",
            Self::Draining => "the server is stopping",
            Self::UnsupportedHttpVersion => "only HTTP/1.1 is supported",
            Self::Unauthorized => "a credential is required",
            Self::Forbidden => "the credential does not suffice",
            Self::TooManyFromAddress => "too many connections from this address",
            Self::TooManyHandshakes => "too many handshakes under way",
            Self::RoomFull => "no place in this room",
            Self::InvalidProxyHeader => "malformed PROXY header",
            Self::InvalidCredential => "the credential is not valid, or has expired",
            Self::SeveralCredentials => "more than one credential",
            Self::Tls => "TLS handshake failed",
        }
    }

    /// All of them, in the order in which metrics list them.
    pub const ALL: [Self; 30] = [
        Self::MalformedHead,
        Self::BareLineFeed,
        Self::InvalidTarget,
        Self::InvalidHost,
        Self::UnexpectedBody,
        Self::RepeatedOrigin,
        Self::RepeatedVersion,
        Self::InvalidKey,
        Self::InvalidRoom,
        Self::OriginNotAllowed,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::TimedOut,
        Self::TargetTooLong,
        Self::UpgradeRequired,
        Self::UnsupportedVersion,
        Self::HeadTooLarge,
        Self::Full,
        Self::TooManyRooms,
        Self::Draining,
        Self::UnsupportedHttpVersion,
        Self::Unauthorized,
        Self::Forbidden,
        Self::TooManyFromAddress,
        Self::TooManyHandshakes,
        Self::RoomFull,
        Self::InvalidProxyHeader,
        Self::InvalidCredential,
        Self::SeveralCredentials,
        Self::Tls,
    ];

    /// One word for it, of a closed set: what metrics call it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::MalformedHead => "malformed_head",
            Self::BareLineFeed => "bare_line_feed",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidHost => "invalid_host",
            Self::UnexpectedBody => "unexpected_body",
            Self::RepeatedOrigin => "repeated_origin",
            Self::RepeatedVersion => "repeated_version",
            Self::InvalidKey => "invalid_key",
            Self::InvalidRoom => "invalid_room",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TimedOut => "timed_out",
            Self::TargetTooLong => "target_too_long",
            Self::UpgradeRequired => "upgrade_required",
            Self::UnsupportedVersion => "unsupported_version",
            Self::HeadTooLarge => "head_too_large",
            Self::Full => "full",
            Self::TooManyRooms => "too_many_rooms",
            Self::Draining => "draining",
            Self::UnsupportedHttpVersion => "unsupported_http_version",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::TooManyFromAddress => "too_many_from_address",
            Self::TooManyHandshakes => "too_many_handshakes",
            Self::RoomFull => "room_full",
            Self::InvalidProxyHeader => "invalid_proxy_header",
            Self::InvalidCredential => "invalid_credential",
            Self::SeveralCredentials => "several_credentials",
            Self::Tls => "tls",
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for HandshakeError {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::close::CloseFrame;
    use super::*;

    #[test]
    fn errors_are_small() {
        assert_eq!(size_of::<ProtocolError>(), 1);
        assert_eq!(size_of::<HandshakeError>(), 1);
    }

    /// Whether texts are short lines without control characters, no two of them the same.
    fn tell_apart(texts: &[String]) -> bool {
        let is_line = |text: &String| {
            (1..=CloseFrame::MAX_REASON).contains(&text.len()) && !text.contains(char::is_control)
        };
        let distinct: BTreeSet<&String> = texts.iter().collect();
        distinct.len() == texts.len() && texts.iter().all(is_line)
    }

    #[test]
    fn reasons_tell_errors_apart_and_fit_where_they_go() {
        use ProtocolError::*;
        let errors = [
            ReservedBits,
            ReservedOpcode,
            Unmasked,
            LengthNotMinimal,
            LengthTopBit,
            ControlFragmented,
            ControlTooLong,
            UnexpectedContinuation,
            ExpectedContinuation,
            CloseTooShort,
            InvalidCloseCode,
            InvalidUtf8,
            MessageTooBig,
            TooManyFragments,
            MessageNotAllowed,
        ];
        assert!(tell_apart(&errors.map(|error| error.reason().to_owned())));
        assert!(tell_apart(&errors.map(|error| error.to_string())));
    }

    #[test]
    fn reasons_of_refusals_tell_them_apart() {
        let errors = HandshakeError::ALL;
        assert!((0..).zip(errors).all(|(i, error)| error as usize == i));
        assert!(tell_apart(&errors.map(|error| error.reason().to_owned())));
        assert!(tell_apart(&errors.map(|error| error.to_string())));
        assert!(tell_apart(&errors.map(|error| error.label().to_owned())));
    }
}
