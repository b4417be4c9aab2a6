//! Which rooms a token is for.

use std::str::FromStr;

/// The longest name of a room in bytes, as the server takes it.
const MAX_ROOM: usize = 128;

/// One room, or those that begin alike.
///
/// A name is written as in a URL, percent-encoding included: so a name may hold what separates the
/// patterns of a list, or an asterisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RoomPattern {
    /// `*`.
    All,
    /// `news/*`: the names that begin with `news/`. Not `news` itself.
    Below(String),
    /// `news`; the empty name, which is the room of the path itself, is written `.`.
    Named(String),
}

impl RoomPattern {
    pub(super) fn matches(&self, room: &str) -> bool {
        match self {
            Self::All => true,
            Self::Below(start) => room.starts_with(start),
            Self::Named(name) => room == name,
        }
    }
}

impl FromStr for RoomPattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("an empty name among the rooms; that of the path itself is written ."),
            "*" => Ok(Self::All),
            "." => Ok(Self::Named(String::new())),
            text => match text.strip_suffix('*') {
                Some(start) if start.ends_with('/') => name(start).map(Self::Below),
                _ => name(text).map(Self::Named),
            },
        }
    }
}

/// Decodes a name.
fn name(text: &str) -> Result<String, &'static str> {
    if text.contains('*') {
        return Err("an asterisk within a room's name: it stands alone or behind the last slash");
    }
    let decoded = percent_decoded(text.as_bytes()).ok_or("a bad percent-encoding in a room")?;
    String::from_utf8(decoded)
        .ok()
        .filter(|name| name.len() <= MAX_ROOM && !name.contains(char::is_control))
        .ok_or("no room can have such a name: UTF-8 of 1 to 128 bytes without control characters")
}

/// RFC 3986, section 2.1; `None` for a percent sign that encodes nothing.
pub(super) fn percent_decoded(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        if *byte == b'%' {
            let mut digit = || char::from(*rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(*byte);
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, room: &str) -> bool {
        let pattern: RoomPattern = pattern.parse().unwrap();
        pattern.matches(room)
    }

    #[test]
    fn all_of_a_subtree_and_one() {
        for room in ["", "news", "news/a", "*"] {
            assert!(matches("*", room), "{room}");
        }
        assert!(matches("news/*", "news/a") && matches("news/*", "news/a/b"));
        assert!(!matches("news/*", "news") && !matches("news/*", "newsreel"));
        assert!(!matches("news/*", ""));
        assert!(matches("a/b/*", "a/b/c") && !matches("a/b/*", "a/c"));
        assert!(matches("news", "news"));
        assert!(!matches("news", "news/a") && !matches("news", "new") && !matches("news", ""));
        assert!(!matches("news", "News"), "names are compared byte by byte");
        assert!(matches(".", "") && !matches(".", ".") && !matches(".", "a"));
    }

    #[test]
    fn names_are_written_as_in_a_url() {
        assert!(matches("a%20b%2Cc", "a b,c"));
        assert!(matches("%2e", ".") && matches("%2A", "*") && matches("a%2Fb", "a/b"));
        assert!(matches("b%C3%BCro", "büro") && matches("büro", "büro"));
        assert!(matches("news/%2A", "news/*") && !matches("news/%2A", "news/a"));
        assert!(matches("100%25", "100%"));
    }

    #[test]
    fn what_is_no_pattern() {
        let long = "x".repeat(129);
        for text in [
            "", "**", "a*", "a%2F*", "*/a", "a/*/b", "%", "%2", "%zz", "%ff", "%00", &long,
        ] {
            assert!(text.parse::<RoomPattern>().is_err(), "{text}");
        }
        assert!(long[1..].parse::<RoomPattern>().is_ok());
    }
}
