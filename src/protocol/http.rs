//! As much of HTTP/1.1 as an opening handshake needs: RFC 9112.
//!
//! A head is collected up to its end, within fixed bounds, and parsed once.

use std::borrow::Cow;

use super::error::HandshakeError;
use super::input::Input;

/// The longest request line in bytes; a longer one is answered with 414.
pub const MAX_REQUEST_LINE: usize = 8 * 1024;
/// The longest request head in bytes; a longer one is answered with 431.
pub const MAX_HEAD: usize = 16 * 1024;
/// The most field lines of a request head; more are answered with 431.
pub const MAX_FIELDS: usize = 100;

/// A request head that is arriving.
#[derive(Debug, Default)]
pub struct HeadBuffer {
    bytes: Vec<u8>,
    /// Where the current line begins.
    line: usize,
    /// Empty lines that preceded the request line and were dropped (RFC 9112, section 2.2).
    skipped: usize,
}

impl HeadBuffer {
    /// Whether not a byte has arrived.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.skipped == 0
    }

    /// Consumes input up to the empty line that ends the head, and hands the head out with it;
    /// `None` if the end has not come. What follows the head stays in `input`: it is the client's
    /// first frames. Every byte is looked at once, however the head is cut.
    ///
    /// # Errors
    /// On the first byte that shows the head to be too large, or to be no HTTP: control characters
    /// and line feeds without a carriage return are not waited for.
    pub fn receive(&mut self, input: &mut Input<'_>) -> Result<Option<Vec<u8>>, HandshakeError> {
        for (i, &byte) in input.peek().iter().enumerate() {
            self.push(byte)?;
            if byte == b'\n' && self.line_ended()? {
                input.take(i + 1);
                return Ok(Some(std::mem::take(&mut self.bytes)));
            }
        }
        input.take_all();
        Ok(None)
    }

    fn push(&mut self, byte: u8) -> Result<(), HandshakeError> {
        let in_request_line = self.line == 0;
        if in_request_line && self.bytes.len() >= MAX_REQUEST_LINE && byte != b'\n' {
            return Err(HandshakeError::TargetTooLong);
        }
        if self.bytes.len() + self.skipped >= MAX_HEAD {
            return Err(HandshakeError::HeadTooLarge);
        }
        // RFC 9112, section 2.2: a bare CR is invalid, a bare LF may be refused; both are, since
        // two readers that differ about them differ about where a request ends.
        match (self.bytes.last(), byte) {
            (Some(b'\r'), b'\n') => {}
            (_, b'\n') => return Err(HandshakeError::BareLineFeed),
            (Some(b'\r'), _) => return Err(HandshakeError::MalformedHead),
            (_, b'\r' | b'\t') => {}
            (_, byte) if byte.is_ascii_control() => return Err(HandshakeError::MalformedHead),
            _ => {}
        }
        self.bytes.push(byte);
        Ok(())
    }

    /// Notes the end of a line; whether it was the empty one that ends the head.
    fn line_ended(&mut self) -> Result<bool, HandshakeError> {
        const EMPTY_LINE: &[u8] = b"\r\n";

        if self.bytes == EMPTY_LINE {
            self.skipped += self.bytes.len();
            self.bytes.clear();
            return Ok(false);
        }
        let ended = self.bytes.len() - self.line == EMPTY_LINE.len();
        if self.line == 0 && self.bytes.len() > MAX_REQUEST_LINE + EMPTY_LINE.len() {
            return Err(HandshakeError::TargetTooLong);
        }
        self.line = self.bytes.len();
        Ok(ended)
    }
}

/// A request head, parsed.
#[derive(Debug)]
pub struct Request<'h> {
    method: &'h str,
    path: &'h str,
    query: Option<&'h str>,
    host: &'h str,
    fields: Vec<(&'h str, &'h [u8])>,
}

impl<'h> Request<'h> {
    /// Parses a whole head, as [`HeadBuffer::receive`] hands it out, and checks what RFC 9112 asks
    /// of every request: the version, exactly one `Host`, a target that is a path, no body.
    ///
    /// # Errors
    /// With the status that the table of the crate's front page gives.
    pub fn parse(head: &'h [u8]) -> Result<Self, HandshakeError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut fields);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(HandshakeError::MalformedHead),
            Err(httparse::Error::Version) => return Err(HandshakeError::UnsupportedHttpVersion),
            Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError::HeadTooLarge),
            Err(_) => return Err(HandshakeError::MalformedHead),
        }
        if parsed.version != Some(1) {
            return Err(HandshakeError::UnsupportedHttpVersion);
        }
        let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
            return Err(HandshakeError::MalformedHead);
        };
        let fields = parsed
            .headers
            .iter()
            .map(|field| (field.name, field.value))
            .collect();
        let (authority, path_and_query) = split_target(target)?;
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let mut request = Self {
            method,
            path,
            query,
            host: "",
            fields,
        };
        request.host = request.check_host(authority)?;
        request.check_body()?;
        Ok(request)
    }

    /// The method, in the peer's spelling: methods are case-sensitive.
    pub fn method(&self) -> &'h str {
        self.method
    }

    /// The path as it stands in the request, percent-encoding included; it begins with `/`.
    pub fn path(&self) -> &'h str {
        self.path
    }

    /// What follows the first `?`.
    pub fn query(&self) -> Option<&'h str> {
        self.query
    }

    /// The host and port that the client means: `Host`, or the authority of an absolute target,
    /// which overrides it (RFC 9112, section 3.2.2).
    pub fn host(&self) -> &'h str {
        self.host
    }

    /// The values of a field, in order. Names are compared without regard to case; values are
    /// bytes from the peer and may hold anything from 0x80 on.
    pub fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'h [u8]> + 's {
        self.fields
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// The value of a field that may occur once.
    ///
    /// # Errors
    /// `repeated` if it occurs more than once.
    pub fn value(
        &self,
        name: &str,
        repeated: HandshakeError,
    ) -> Result<Option<&'h [u8]>, HandshakeError> {
        let mut values = self.values(name);
        let first = values.next();
        if values.next().is_some() {
            Err(repeated)
        } else {
            Ok(first)
        }
    }

    /// The elements of a comma-separated list field, over all its lines, without the empty ones
    /// (RFC 9110, section 5.6.1).
    pub fn list<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'h [u8]> + 's {
        self.values(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|element| !element.is_empty())
    }

    fn check_host(&self, authority: Option<&'h str>) -> Result<&'h str, HandshakeError> {
        // RFC 9112, section 3.2: 400 unless there is exactly one Host.
        let host = self.value("host", HandshakeError::InvalidHost)?;
        let host = host.and_then(|host| std::str::from_utf8(host).ok());
        let host = host.ok_or(HandshakeError::InvalidHost)?;
        let is_valid = |host: &str| {
            !host.is_empty()
                && host.bytes().all(|byte| {
                    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&byte)
                })
        };
        let meant = authority.unwrap_or(host);
        if is_valid(host) && is_valid(meant) {
            Ok(meant)
        } else {
            Err(HandshakeError::InvalidHost)
        }
    }

    fn check_body(&self) -> Result<(), HandshakeError> {
        // A body would be read as frames; a request that announces one is refused, and one whose
        // announcement is unclear (RFC 9112, section 6.3) all the more.
        let length = self.value("content-length", HandshakeError::UnexpectedBody)?;
        if length.is_some_and(|length| length != b"0")
            || self.values("transfer-encoding").next().is_some()
        {
            return Err(HandshakeError::UnexpectedBody);
        }
        Ok(())
    }
}

/// The authority, if the target is absolute, and the path with its query (RFC 9112, section 3.2).
fn split_target(target: &str) -> Result<(Option<&str>, &str), HandshakeError> {
    const SCHEMES: [&str; 4] = ["http://", "https://", "ws://", "wss://"];

    // RFC 9112, section 3.2: no form of the target holds a fragment or bytes beyond ASCII.
    if !target.is_ascii() || target.contains('#') {
        return Err(HandshakeError::InvalidTarget);
    }
    if target.starts_with('/') {
        return Ok((None, target));
    }
    let after = |scheme: &&str| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let rest = SCHEMES
        .iter()
        .find_map(after)
        .ok_or(HandshakeError::InvalidTarget)?;
    match rest.find(['/', '?']) {
        None => Ok((Some(rest), "/")),
        Some(end) if rest[end..].starts_with('/') => Ok((Some(&rest[..end]), &rest[end..])),
        Some(_) => Err(HandshakeError::InvalidTarget),
    }
}

/// An answer without a body, or with one that is known whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
}

impl Response {
    /// An answer of this status without a body.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body: Cow::Borrowed(b""),
        }
    }

    /// The answer to a request that is refused: one line that says why, never a word of the
    /// request's own. The connection is closed behind it.
    pub fn refusal(error: HandshakeError) -> Self {
        let response = Self::text(error.status(), format!("{}\n", error.reason()));
        let response = match error.status() {
            405 => response.field("Allow", "GET"),
            // RFC 6455, section 4.4, and RFC 9110, section 15.5.22.
            426 => response
                .field("Upgrade", "websocket")
                .field("Sec-WebSocket-Version", "13"),
            503 => response.field("Retry-After", "5"),
            _ => response,
        };
        match error.status() {
            // RFC 9110, section 7.8: who sends Upgrade names it in Connection too.
            426 => response.field("Connection", "Upgrade, close"),
            _ => response.field("Connection", "close"),
        }
    }

    /// An answer in plain text.
    pub fn text(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        let body = match body.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self::new(status).body("text/plain; charset=utf-8", body)
    }

    /// The same with a field more. Neither name nor value may hold a line break.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let value = value.into();
        debug_assert!(!value.contains(['\r', '\n']), "a field is one line");
        self.fields.push((name, value));
        self
    }

    /// The same with a body and its type.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: Cow<'static, [u8]>) -> Self {
        self.body = body;
        self.field("Content-Type", content_type)
            .field("X-Content-Type-Options", "nosniff")
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Appends the answer as it goes over the wire.
    pub fn encode(&self, output: &mut Vec<u8>) {
        let mut line = |parts: &[&str]| {
            for part in parts {
                output.extend_from_slice(part.as_bytes());
            }
            output.extend_from_slice(b"\r\n");
        };
        line(&[
            "HTTP/1.1 ",
            &self.status.to_string(),
            " ",
            reason_phrase(self.status),
        ]);
        for (name, value) in &self.fields {
            line(&[name, ": ", value]);
        }
        // RFC 9110, section 8.6: no Content-Length in an answer of 1xx.
        if self.status >= 200 {
            line(&["Content-Length: ", &self.body.len().to_string()]);
        }
        line(&[]);
        output.extend_from_slice(&self.body);
    }
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        // RFC 9112, section 4: the phrase may be empty, and clients ignore it.
        _ => "",
    }
}
