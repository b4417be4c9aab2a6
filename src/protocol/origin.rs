//! Which web pages may connect: RFC 6455, section 10.2, and RFC 6454.

use std::fmt;
use std::str::FromStr;

/// The origins that one `--allow-origin` lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPattern {
    /// `*`: any page, and also those whose origin is opaque (`null`).
    Any,
    /// `same-origin`: pages that came from the host and port that the request names.
    SameOrigin,
    /// `https://example.com`, `http://localhost:3000`: exactly this scheme, host and port.
    Exact(Origin),
    /// `https://*.example.com`: any host below it, one label or more, but not itself.
    Subdomains(Origin),
}

/// A scheme, a host and a port: what a browser means by an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// A text that is no origin and no pattern of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidOrigin;

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not an origin like https://example.com, https://*.example.com, same-origin or *",
        )
    }
}

impl std::error::Error for InvalidOrigin {}

impl OriginPattern {
    /// Whether a page of this `Origin` field may connect to `host`, the request's `Host`.
    ///
    /// What cannot be read as an origin (`null`, user information, a path, bytes beyond ASCII) is
    /// matched by [`OriginPattern::Any`] alone.
    pub fn allows(&self, origin: &[u8], host: &str) -> bool {
        if *self == Self::Any {
            return true;
        }
        let origin = std::str::from_utf8(origin)
            .ok()
            .and_then(|text| text.parse::<Origin>().ok());
        let Some(origin) = origin else { return false };
        match self {
            Self::Any => true,
            Self::SameOrigin => origin.is_served_at(host),
            Self::Exact(allowed) => origin == *allowed,
            Self::Subdomains(parent) => {
                (&origin.scheme, origin.port) == (&parent.scheme, parent.port)
                    && origin
                        .host
                        .strip_suffix(parent.host.as_str())
                        .and_then(|labels| labels.strip_suffix('.'))
                        .is_some_and(|labels| !labels.is_empty())
            }
        }
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::SameOrigin => f.write_str("same-origin"),
            Self::Exact(origin) => write_origin(f, "", origin),
            Self::Subdomains(parent) => write_origin(f, "*.", parent),
        }
    }
}

fn write_origin(f: &mut fmt::Formatter<'_>, labels: &str, origin: &Origin) -> fmt::Result {
    let Origin { scheme, host, port } = origin;
    write!(f, "{scheme}://{labels}{host}")?;
    match port.filter(|port| Some(*port) != default_port(scheme)) {
        Some(port) => write!(f, ":{port}"),
        None => Ok(()),
    }
}

impl FromStr for OriginPattern {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        match text {
            "*" => Ok(Self::Any),
            "same-origin" => Ok(Self::SameOrigin),
            _ => match text.split_once("://*.") {
                Some((scheme, parent)) => {
                    format!("{scheme}://{parent}").parse().map(Self::Subdomains)
                }
                None => text.parse().map(Self::Exact),
            },
        }
    }
}

impl Origin {
    /// Whether `host`, a `Host` field, names this origin's host and port. The scheme is not in a
    /// `Host`; behind a proxy that ends TLS it is not even known, so both of HTTP's will do.
    fn is_served_at(&self, host: &str) -> bool {
        if !matches!(self.scheme.as_str(), "http" | "https") {
            return false;
        }
        split_port(host).is_some_and(|(host, port)| {
            self.host.eq_ignore_ascii_case(host) && self.port == port.or(default_port(&self.scheme))
        })
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    /// Reads `scheme "://" host [ ":" port ]` (RFC 6454, section 7.1), in any case. A port that is
    /// the scheme's default equals none.
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(InvalidOrigin)?;
        let scheme_is_valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_port(authority).ok_or(InvalidOrigin)?;
        if !scheme_is_valid || !is_host(host) {
            return Err(InvalidOrigin);
        }
        let port = port.or(default_port(&scheme));
        Ok(Self {
            port,
            host: host.to_ascii_lowercase(),
            scheme,
        })
    }
}

/// A host and its port; `None` if what follows the last colon is no port.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    // The colons of an IPv6 address are inside its brackets.
    let after_brackets = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[after_brackets..].find(':') {
        None => Some((authority, None)),
        Some(colon) => {
            let (host, port) = authority.split_at(after_brackets + colon);
            let port = &port[1..];
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            Some((host, Some(port.parse().ok().filter(|_| digits)?)))
        }
    }
}

fn is_host(host: &str) -> bool {
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pattern: &str, origin: &str) -> bool {
        pattern
            .parse::<OriginPattern>()
            .unwrap()
            .allows(origin.as_bytes(), "example.com")
    }

    #[test]
    fn scheme_host_and_port_all_count() {
        let pattern = "https://example.com";
        for same in [
            "https://example.com",
            "https://example.com:443",
            "HTTPS://Example.COM",
        ] {
            assert!(allows(pattern, same), "{same}");
        }
        for other in [
            "http://example.com",
            "https://example.com:8443",
            "https://example.com.evil.org",
            "https://evil-example.com",
            "https://www.example.com",
            "https://example.com.",
            "https://example.com/",
            "https://example.com@evil.org",
            "https://user@example.com",
            "https://example.com:",
            "https://example.com:+443",
            "https://exämple.com",
            "https://",
            "example.com",
            "null",
            "",
            "*",
        ] {
            assert!(!allows(pattern, other), "{other}");
        }
    }

    #[test]
    fn a_star_stands_for_labels_and_not_for_part_of_one() {
        let pattern = "https://*.example.com";
        assert!(allows(pattern, "https://a.example.com"));
        assert!(allows(pattern, "https://a.b.example.com"));
        for other in [
            "https://example.com",
            "https://.example.com",
            "https://evilexample.com",
            "http://a.example.com",
            "https://a.example.com:444",
            "https://a.example.com.evil.org",
        ] {
            assert!(!allows(pattern, other), "{other}");
        }
        assert!(allows(
            "http://*.localhost:3000",
            "http://app.localhost:3000"
        ));
    }

    #[test]
    fn same_origin_compares_host_and_port() {
        let same =
            |origin: &str, host: &str| OriginPattern::SameOrigin.allows(origin.as_bytes(), host);
        assert!(same("http://127.0.0.1:8080", "127.0.0.1:8080"));
        assert!(same("https://example.com", "Example.com"));
        assert!(same("https://example.com", "example.com:443"));
        assert!(same("http://example.com", "example.com:80"));
        assert!(same("http://[::1]:8080", "[::1]:8080"));
        assert!(same("http://[2001:db8::]:8080", "[2001:db8::]:8080"));
        assert!(!same("https://example.com", "example.com:80"));
        assert!(!same("http://example.com", "example.com:443"));
        assert!(!same("http://localhost:8080", "127.0.0.1:8080"));
        assert!(!same("http://127.0.0.1:8081", "127.0.0.1:8080"));
        assert!(!same("ftp://example.com", "example.com"));
        assert!(!same("null", "null"));
        assert!(!same("http://example.com", "example.com:x"));
    }

    #[test]
    fn only_the_star_lets_opaque_origins_in() {
        assert!(allows("*", "null") && allows("*", "https://anywhere.example"));
        assert!(!allows("same-origin", "null"));
        assert_eq!("null".parse::<OriginPattern>(), Err(InvalidOrigin));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "",
            "example.com",
            "https://*",
            "https://*.",
            "https://a.*.com",
            "*.a.com",
            "1http://a.com",
            "ht_tp://a.com",
            "://a.com",
        ] {
            assert_eq!(text.parse::<OriginPattern>(), Err(InvalidOrigin), "{text}");
        }
        assert_eq!(
            InvalidOrigin.to_string(),
            "not an origin like https://example.com, https://*.example.com, same-origin or *"
        );
    }
}
