//! As much of HTTP/1.1 as an opening handshake needs: RFC 9112.
//!
//! A head is collected up to its end, within fixed bounds, and parsed once. Bodies are for those
//! who ask for them: [`Request::parse`] refuses them.

mod body;
mod head;
mod request;
mod response;

pub use body::{Body, BodyError, Framing, MAX_CHUNK_EXTRAS, expects_continue};
pub use head::{HeadBuffer, MAX_FIELDS, MAX_HEAD, MAX_REQUEST_LINE};
pub use request::Request;
pub use response::Response;

#[cfg(test)]
mod tests;
