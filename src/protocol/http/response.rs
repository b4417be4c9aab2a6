//! What is answered to a request.

use std::borrow::Cow;

use crate::protocol::error::HandshakeError;

/// An answer without a body, or with one that is known whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
    body_is_sent: bool,
}

impl Response {
    /// An answer of this status without a body.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body: Cow::Borrowed(b""),
            body_is_sent: true,
        }
    }

    /// The answer to a request that is refused: one line that says why, never a word of the
    /// request's own. The connection is closed behind it.
    pub fn refusal(error: HandshakeError) -> Self {
        let response = Self::text(error.status(), format!("{}\n", error.reason()));
        // RFC 6750, section 3: who asked without a credential is told no error.
        let response = match error {
            HandshakeError::Unauthorized => response.field("WWW-Authenticate", "Bearer"),
            HandshakeError::InvalidCredential => {
                response.field("WWW-Authenticate", "Bearer error=\"invalid_token\"")
            }
            HandshakeError::Forbidden => {
                response.field("WWW-Authenticate", "Bearer error=\"insufficient_scope\"")
            }
            HandshakeError::SeveralCredentials => {
                response.field("WWW-Authenticate", "Bearer error=\"invalid_request\"")
            }
            _ => response,
        };
        let response = match error.status() {
            405 => response.field("Allow", "GET"),
            // RFC 6455, section 4.4, and RFC 9110, section 15.5.22.
            426 => response
                .field("Upgrade", "websocket")
                .field("Sec-WebSocket-Version", "13"),
            429 | 503 => response.field("Retry-After", "5"),
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

    /// The same for a HEAD request: the body is announced, and not sent.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.body_is_sent = false;
        self
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
        if self.body_is_sent {
            output.extend_from_slice(&self.body);
        }
    }
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        // RFC 9112, section 4: the phrase may be empty, and clients ignore it.
        _ => "",
    }
}
