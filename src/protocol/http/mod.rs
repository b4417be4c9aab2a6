//! As much of HTTP/1.1 as an opening handshake needs: RFC 9112.
//!
//! A head is collected up to its end, within fixed bounds, and parsed once.

mod head;
mod request;
mod response;

pub use head::{HeadBuffer, MAX_FIELDS, MAX_HEAD, MAX_REQUEST_LINE};
pub use request::Request;
pub use response::Response;

#[cfg(test)]
mod tests;
