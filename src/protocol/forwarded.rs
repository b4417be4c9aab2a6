//! What proxies say in a request about whom they ask for: `X-Forwarded-For`, and `Forwarded`
//! (RFC 7239).
//!
//! Each proxy adds at the right end whom it was asked by, so only the right end can be believed,
//! and only as far as those are trusted who wrote it: whoever is asked by an untrusted peer passes
//! on what that peer has made up. So both fields are read from the right, through trusted hops
//! alone. What is left of the first hop that is not trusted, or cannot be read, is never looked at:
//! no byte there changes the result.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::http::Request;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

/// Whether a request says for whom it is.
pub fn is_forwarded(request: &Request<'_>) -> bool {
    let mut lines = request
        .values(X_FORWARDED_FOR)
        .chain(request.values(FORWARDED));
    lines.next().is_some()
}

/// For whom a trusted peer asks: the first address from the right that is not trusted, or the last
/// one that could be read. The port is 0 if it is not told. `None` if not even the peer's own word
/// can be read: then the peer is all that is known.
///
/// A request with both fields has passed a proxy that writes one of them and leaves the other as
/// it came, perhaps from the client itself. So both must name the same address, and neither is
/// believed if they don't.
pub fn client_address(
    request: &Request<'_>,
    trusts: impl Fn(IpAddr) -> bool,
) -> Option<SocketAddr> {
    let has = |name| request.values(name).next().is_some();
    let by_list = || follow_x_forwarded_for(request.values(X_FORWARDED_FOR), &trusts);
    let by_pairs = || follow_forwarded(request.values(FORWARDED), &trusts);
    match (has(X_FORWARDED_FOR), has(FORWARDED)) {
        (true, false) => by_list(),
        (false, true) => by_pairs(),
        (true, true) => {
            by_pairs().filter(|address| by_list().is_some_and(|other| other.ip() == address.ip()))
        }
        (false, false) => None,
    }
}

/// The same for the lines of an `X-Forwarded-For` field.
pub fn follow_x_forwarded_for<'h>(
    lines: impl DoubleEndedIterator<Item = &'h [u8]>,
    trusts: impl Fn(IpAddr) -> bool,
) -> Option<SocketAddr> {
    let elements = lines
        .rev()
        .flat_map(|line| line.rsplit(|byte| *byte == b','));
    follow(
        elements.map(|element| bare_node(element.trim_ascii())),
        trusts,
    )
}

/// The same for the lines of a `Forwarded` field.
pub fn follow_forwarded<'h>(
    lines: impl DoubleEndedIterator<Item = &'h [u8]>,
    trusts: impl Fn(IpAddr) -> bool,
) -> Option<SocketAddr> {
    follow(
        lines.rev().flat_map(rsplit_elements).map(forwarded_for),
        trusts,
    )
}

/// Goes from hop to hop while they are trusted.
fn follow(
    hops: impl Iterator<Item = Option<SocketAddr>>,
    trusts: impl Fn(IpAddr) -> bool,
) -> Option<SocketAddr> {
    let mut last = None;
    for hop in hops {
        // What cannot be read was not written by whom we trust, or does not say more.
        let Some(hop) = hop else { break };
        last = Some(hop);
        if !trusts(hop.ip()) {
            break;
        }
    }
    last
}

/// The elements of a line, the last one first. Commas in quoted strings are no ends, so the line is
/// read backwards: what stands further left, an open quote for example, cannot change what the
/// elements on the right are.
fn rsplit_elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let mut is_quoted = false;
        let comma = line.iter().enumerate().rposition(|(at, byte)| {
            let is_quote = *byte == b'"' && !(is_quoted && is_escaped(line, at));
            is_quoted ^= is_quote;
            *byte == b',' && !is_quoted
        });
        rest = comma.map(|comma| &line[..comma]);
        Some(line[comma.map_or(0, |comma| comma + 1)..].trim_ascii())
    })
}

/// Whether an odd number of backslashes stands before a byte.
fn is_escaped(line: &[u8], at: usize) -> bool {
    let backslashes = line[..at].iter().rev().take_while(|byte| **byte == b'\\');
    backslashes.count() % 2 == 1
}

/// The address of the parameter `for` in an element (RFC 7239, section 4).
fn forwarded_for(element: &[u8]) -> Option<SocketAddr> {
    let (mut rest, mut found) = (element, None);
    while !rest.is_empty() {
        let (name, value, behind) = pair(rest)?;
        if name.eq_ignore_ascii_case(b"for") {
            // Section 4: no parameter occurs twice in an element.
            if found.replace(value).is_some() {
                return None;
            }
        }
        rest = match behind.trim_ascii_start() {
            [] => &[],
            [b';', behind @ ..] => behind.trim_ascii_start(),
            _ => return None,
        };
    }
    node(&found?)
}

/// `token "=" ( token / quoted-string )` at the front, unquoted, and what follows it.
fn pair(text: &[u8]) -> Option<(&[u8], Vec<u8>, &[u8])> {
    let (name, rest) = split_token(text)?;
    let rest = rest.strip_prefix(b"=")?;
    let Some(mut quoted) = rest.strip_prefix(b"\"") else {
        let (value, rest) = split_token(rest)?;
        return Some((name, value.to_vec(), rest));
    };
    let mut value = Vec::new();
    loop {
        let (byte, rest) = match quoted {
            [b'"', rest @ ..] => return Some((name, value, rest)),
            [b'\\', byte, rest @ ..] => (byte, rest),
            [byte, rest @ ..] if *byte != b'\\' => (byte, rest),
            _ => return None,
        };
        value.push(*byte);
        quoted = rest;
    }
}

/// The token at the front (RFC 9110, section 5.6.2), and what follows it.
fn split_token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = text.iter().position(|byte| !is_token(byte));
    let (token, rest) = text.split_at(end.unwrap_or(text.len()));
    (!token.is_empty()).then_some((token, rest))
}

/// An address as `X-Forwarded-For` has it: IPv6 without brackets as a rule.
fn bare_node(text: &[u8]) -> Option<SocketAddr> {
    let bare = std::str::from_utf8(text).ok()?.parse::<Ipv6Addr>();
    bare.map_or_else(|_| node(text), |address| with_port(address.into(), ""))
}

/// An address and perhaps a port: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80`
/// (RFC 7239, section 6). `unknown` and names that hide an address are none.
fn node(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return with_port(address.into(), port);
    }
    let (address, port) = text.split_at(text.find(':').unwrap_or(text.len()));
    let address: Ipv4Addr = address.parse().ok()?;
    with_port(address.into(), port)
}

/// A colon and a port, or a name that hides one (RFC 7239, section 6.2), or nothing. An IPv4
/// address in IPv6's clothes is shown as what it is.
fn with_port(address: IpAddr, port: &str) -> Option<SocketAddr> {
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => 0,
        None => return None,
        Some(port) if is_hidden(port) => 0,
        Some(digits) => {
            let is_number =
                (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number)?
        }
    };
    Some(SocketAddr::new(address.to_canonical(), port))
}

/// `"_" 1*(ALPHA / DIGIT / "." / "_" / "-")` (RFC 7239, section 6).
fn is_hidden(port: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let name = port.strip_prefix('_').unwrap_or_default();
    !name.is_empty() && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `10.0.0.0/8` and `fd00::/8` are ours.
    fn is_ours(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address.octets()[0] == 10,
            IpAddr::V6(address) => address.octets()[0] == 0xFD,
        }
    }

    fn shown(address: Option<SocketAddr>) -> String {
        address.map_or("none".to_owned(), |address| address.to_string())
    }

    fn by_list(lines: &[&str]) -> String {
        let lines = lines.iter().map(|line| line.as_bytes());
        shown(follow_x_forwarded_for(lines, is_ours))
    }

    fn by_pairs(lines: &[&str]) -> String {
        let lines = lines.iter().map(|line| line.as_bytes());
        shown(follow_forwarded(lines, is_ours))
    }

    fn by_request(fields: &str) -> String {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let request = Request::parse(head.as_bytes()).unwrap();
        assert_eq!(is_forwarded(&request), !fields.is_empty());
        shown(client_address(&request, is_ours))
    }

    #[test]
    fn a_list_is_read_from_the_right_through_trusted_hops() {
        for (line, address) in [
            ("192.0.2.1", "192.0.2.1:0"),
            ("192.0.2.9, 192.0.2.1", "192.0.2.1:0"),
            ("192.0.2.1, 10.0.0.1", "192.0.2.1:0"),
            ("192.0.2.9,192.0.2.1,10.0.0.1,10.0.0.2", "192.0.2.1:0"),
            ("nonsense, 192.0.2.1", "192.0.2.1:0"),
            // All of them are ours: the leftmost is where it began.
            ("10.0.0.3,10.0.0.2", "10.0.0.3:0"),
            ("\t192.0.2.1 ", "192.0.2.1:0"),
        ] {
            assert_eq!(by_list(&[line]), address, "{line}");
        }
    }

    #[test]
    fn behind_what_cannot_be_read_nothing_is_believed() {
        for (line, address) in [
            ("192.0.2.1, nonsense", "none"),
            ("192.0.2.1, nonsense, 10.0.0.1", "10.0.0.1:0"),
            ("192.0.2.1, unknown, 10.0.0.1", "10.0.0.1:0"),
            ("192.0.2.1, , 10.0.0.1", "10.0.0.1:0"),
            ("192.0.2.1,", "none"),
            ("", "none"),
            ("\"192.0.2.1\"", "none"),
            ("192.0.2.01", "none"),
            ("192.0.2", "none"),
            ("192.0.2.1:", "none"),
            ("192.0.2.1:x", "none"),
            ("192.0.2.1:65536", "none"),
            ("192.0.2.1:000001", "none"),
            ("[192.0.2.1]", "none"),
            ("[::1", "none"),
            ("[::1]80", "none"),
            ("fe80::1%eth0", "none"),
            ("192.0.2.1 192.0.2.2", "none"),
        ] {
            assert_eq!(by_list(&[line]), address, "{line}");
        }
    }

    #[test]
    fn addresses_have_many_forms() {
        for (line, address) in [
            ("192.0.2.1:4711", "192.0.2.1:4711"),
            ("192.0.2.1:65535", "192.0.2.1:65535"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("[2001:db8::1]", "[2001:db8::1]:0"),
            ("[2001:db8::1]:4711", "[2001:db8::1]:4711"),
            ("::ffff:192.0.2.1", "192.0.2.1:0"),
            ("192.0.2.1, ::ffff:10.0.0.1", "192.0.2.1:0"),
        ] {
            assert_eq!(by_list(&[line]), address, "{line}");
        }
    }

    #[test]
    fn lines_are_joined_in_order() {
        assert_eq!(
            by_list(&["192.0.2.9", "192.0.2.1, 10.0.0.1"]),
            "192.0.2.1:0"
        );
        assert_eq!(
            by_list(&["192.0.2.9, 192.0.2.1", "10.0.0.1"]),
            "192.0.2.1:0"
        );
        assert_eq!(by_list(&["192.0.2.1", "", "10.0.0.1"]), "10.0.0.1:0");
        let lines = ["for=192.0.2.9", "for=192.0.2.1", "for=10.0.0.1"];
        assert_eq!(by_pairs(&lines), "192.0.2.1:0");
        assert_eq!(by_pairs(&[]), "none");
    }

    // The examples of RFC 7239, sections 4, 6 and 7.
    #[test]
    fn pairs_as_in_rfc_7239() {
        for (line, address) in [
            ("for=\"_gazonk\"", "none"),
            (
                "For=\"[2001:db8:cafe::17]:4711\"",
                "[2001:db8:cafe::17]:4711",
            ),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60:0"),
            ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17:0"),
            ("for=_hidden, for=_SEVKISEK", "none"),
            (
                "for=192.0.2.43,for=\"[2001:db8:cafe::17]\",for=unknown",
                "none",
            ),
            (
                "for=192.0.2.43, for=\"[2001:db8:cafe::17]\"",
                "[2001:db8:cafe::17]:0",
            ),
            ("for=\"192.0.2.43:47011\"", "192.0.2.43:47011"),
            ("for=\"192.0.2.43:_port\"", "192.0.2.43:0"),
        ] {
            assert_eq!(by_pairs(&[line]), address, "{line}");
        }
    }

    #[test]
    fn elements_of_pairs_that_name_no_address() {
        for line in [
            "",
            "for",
            "for=",
            "=192.0.2.1",
            "by=192.0.2.1",
            "for=192.0.2.1;for=192.0.2.1",
            "for=192.0.2.1:80",
            "for = 192.0.2.1",
            "for=[::1]",
            "for=\"::1\"",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1\\\"",
            "for=\"192.0.2.1\"x",
            "for=192.0.2.1 proto=http",
            "for=192.0.2.1;;=",
            "for=\"192.0.2.1:_\"",
            "for=\"192.0.2.1:_a b\"",
            "for=\"192.0.2.1:_a:1\"",
        ] {
            assert_eq!(by_pairs(&[line]), "none", "{line}");
        }
        // What is odd, and can be read all the same.
        for line in [
            "by=_x;FOR=192.0.2.1;proto=https",
            "for=192.0.2.1;",
            "for=192.0.2.1 ; proto=http",
            "for=\"192.0.2.\\1\"",
            "secret=\"a,b;for=c\\\",\";for=192.0.2.1",
        ] {
            assert_eq!(by_pairs(&[line]), "192.0.2.1:0", "{line}");
        }
    }

    #[test]
    fn an_open_quote_on_the_left_swallows_nothing() {
        for left in [
            "for=\"",
            "for=192.0.2.9;x=\"",
            "\\",
            "\"\\",
            "for=\"192.0.2.9\\",
        ] {
            for right in ["for=192.0.2.1", "for=\"192.0.2.1\";by=\"_a,\\\\\\\"\""] {
                let line = format!("{left}, {right}, for=\"10.0.0.1:1\"");
                assert_eq!(by_pairs(&[&line]), "192.0.2.1:0", "{line}");
            }
        }
    }

    #[test]
    fn two_fields_must_agree() {
        let list = "X-Forwarded-For: 192.0.2.1\r\n";
        assert_eq!(by_request(""), "none");
        assert_eq!(by_request(list), "192.0.2.1:0");
        assert_eq!(by_request("Forwarded: for=192.0.2.1\r\n"), "192.0.2.1:0");
        let both = |pairs: &str| by_request(&format!("{list}Forwarded: {pairs}\r\n"));
        assert_eq!(both("for=\"192.0.2.1:80\""), "192.0.2.1:80");
        assert_eq!(both("for=192.0.2.2"), "none");
        assert_eq!(both("for=unknown"), "none");
        assert_eq!(both("for=192.0.2.1, for=unknown"), "none");
    }

    proptest! {
        // Whoever connects to a trusted proxy may send what it likes: the proxy adds the right end.
        #[test]
        fn the_left_part_of_a_list_never_changes_the_result(
            left in proptest::collection::vec("[ -~\t]{0,40}", 0..4),
            hops in 0..3_usize,
            same_line: bool,
        ) {
            let ours = ", 10.0.0.1".repeat(hops);
            let right = format!("192.0.2.1{ours}");
            let mut lines = left;
            match lines.pop().filter(|_| same_line) {
                Some(last) => lines.push(format!("{last}, {right}")),
                None => lines.push(right),
            }
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            prop_assert_eq!(by_list(&lines), "192.0.2.1:0");
        }

        #[test]
        fn the_left_part_of_pairs_never_changes_the_result(
            left in proptest::collection::vec("[ -~\t]{0,40}|[\",;=\\\\for]{0,20}", 0..4),
            hops in 0..3_usize,
            same_line: bool,
        ) {
            let ours = ", for=\"10.0.0.1:1\";by=\"_\\\"\"".repeat(hops);
            let right = format!("for=\"192.0.2.1\";proto=http{ours}");
            let mut lines = left;
            match lines.pop().filter(|_| same_line) {
                Some(last) => lines.push(format!("{last}, {right}")),
                None => lines.push(right),
            }
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            prop_assert_eq!(by_pairs(&lines), "192.0.2.1:0");
        }
    }
}
