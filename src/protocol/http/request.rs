//! A request head, parsed.

use httparse::{Error, Status};

use super::head::MAX_FIELDS;
use crate::protocol::error::HandshakeError;

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
    /// Parses a whole head, as [`HeadBuffer::receive`](super::HeadBuffer::receive) hands it out,
    /// and checks what RFC 9112 asks of every request: the version, exactly one `Host`, a target
    /// that is a path, no body.
    ///
    /// # Errors
    /// With the status that the table of the crate's front page gives.
    pub fn parse(head: &'h [u8]) -> Result<Self, HandshakeError> {
        let request = Self::parse_with_body(head)?;
        request.check_body()?;
        Ok(request)
    }

    /// The same for those who read the body: how long it is, [`Framing::of`](super::Framing::of)
    /// says.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), but for what is said of the body.
    pub fn parse_with_body(head: &'h [u8]) -> Result<Self, HandshakeError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut fields);
        match parsed.parse(head) {
            Ok(Status::Complete(_)) if parsed.version == Some(1) => {}
            Ok(Status::Complete(_)) | Err(Error::Version) if names_a_version(head) => {
                return Err(HandshakeError::UnsupportedHttpVersion);
            }
            Err(Error::TooManyHeaders) => return Err(HandshakeError::HeadTooLarge),
            Ok(_) | Err(_) => return Err(HandshakeError::MalformedHead),
        }
        let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
            return Err(HandshakeError::MalformedHead);
        };
        let fields = parsed.headers.iter();
        let fields = fields.map(|field| (field.name, field.value)).collect();
        let (authority, path_and_query) = split_target(target)?;
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let mut request = Self {
            method,
            // RFC 9110, section 4.2.1: of an absolute target it may be left out.
            path: if path.is_empty() { "/" } else { path },
            query,
            host: "",
            fields,
        };
        request.host = request.check_host(authority)?;
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
    pub fn values<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'h [u8]> + 's {
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
        let meant = authority.unwrap_or(host);
        if is_host(host) && is_host(meant) {
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

/// Whether a text is a host and perhaps a port (RFC 9112, section 3.2; RFC 3986, section 3.2.2).
fn is_host(text: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(bracketed) = text.strip_prefix('[') {
        let Some((address, port)) = bracketed.split_once(']') else {
            return false;
        };
        let port = port.strip_prefix(':').or(port.is_empty().then_some(""));
        return address.parse::<std::net::Ipv6Addr>().is_ok() && port.is_some_and(is_port);
    }
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte);
    let is_escape = |text: &str| text.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    let is_name = name.bytes().all(is_plain) && name.split('%').skip(1).all(is_escape);
    !name.is_empty() && is_name && is_port(port)
}

/// Whether the request line ends with a version as its third part (RFC 9112, sections 2.3 and 3).
fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or(head);
    let mut parts = line.split(|byte| *byte == b' ');
    matches!(parts.nth(2), Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
        if major.is_ascii_digit() && minor.is_ascii_digit() && parts.next().is_none())
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
        Some(end) => Ok((Some(&rest[..end]), &rest[end..])),
    }
}
