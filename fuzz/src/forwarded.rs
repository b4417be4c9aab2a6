//! `X-Forwarded-For` and `Forwarded`: what a client has written on the left changes nothing, and
//! what comes out is what readers from the left find.

use std::net::{IpAddr, SocketAddr};

use fanfare::protocol::forwarded::{follow_forwarded, follow_x_forwarded_for};

/// What a trusted proxy adds behind the lines of others, on a line of its own or not.
const OURS: [&str; 4] = [
    "for=192.0.2.1",
    "for=\"[2001:db8::1]:80\";by=\"_\\\"x,\\\\\"",
    "for=\"192.0.2.1\", for=10.0.0.1",
    "for=192.0.2.1;proto=https, for=\"[fd00::1]\";by=_a, for=10.0.0.2",
];

/// Reads lines, which are divided by line feeds, in many ways. The first byte says how.
pub fn run(bytes: &[u8]) {
    let Some((how, text)) = bytes.split_first() else {
        return;
    };
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let list = follow_x_forwarded_for(lines.iter().copied(), is_ours);
    assert_eq!(list, from_the_left(&lines), "{}", text.escape_ascii());
    let pairs = follow_forwarded(lines.iter().copied(), is_ours);
    if let Some(hops) = lines
        .iter()
        .map(|line| elements(line))
        .collect::<Option<Vec<_>>>()
    {
        assert_eq!(pairs, walk(hops.concat()), "{}", text.escape_ascii());
    }
    for found in [list, pairs].into_iter().flatten() {
        assert_eq!(found.ip().to_canonical(), found.ip());
    }
    // What the client has written stands on the left of what a proxy adds.
    let ours = OURS[usize::from(how / 2) % OURS.len()];
    let expected = follow_forwarded([ours.as_bytes()].into_iter(), is_ours);
    assert!(expected.is_some_and(|address| !is_ours(address.ip())));
    let with_ours = added(&lines, ours, how % 2 == 0);
    let followed = follow_forwarded(with_ours.iter().map(Vec::as_slice), is_ours);
    assert_eq!(followed, expected, "{}", text.escape_ascii());
    let with_ours = added(&lines, "192.0.2.1, 10.0.0.1", how % 2 == 0);
    let followed = follow_x_forwarded_for(with_ours.iter().map(Vec::as_slice), is_ours);
    assert_eq!(followed, Some(([192, 0, 2, 1], 0).into()));
}

/// Those in `10.0.0.0/8` and `fd00::/8`.
fn is_ours(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.octets()[0] == 0xFD,
    }
}

fn added(lines: &[&[u8]], ours: &str, on_the_last_line: bool) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
    match lines.last_mut() {
        Some(last) if on_the_last_line => last.extend([b", ", ours.as_bytes()].concat()),
        _ => lines.push(ours.into()),
    }
    lines
}

/// From the last hop to the first that is not ours.
fn walk(hops: Vec<Option<SocketAddr>>) -> Option<SocketAddr> {
    let mut known = None;
    for hop in hops.into_iter().rev() {
        known = Some(hop.or(known)?);
        if hop.is_none_or(|hop| !is_ours(hop.ip())) {
            break;
        }
    }
    known
}

/// `X-Forwarded-For`, element by element.
fn from_the_left(lines: &[&[u8]]) -> Option<SocketAddr> {
    let elements = lines
        .iter()
        .flat_map(|line| line.split(|byte| *byte == b','));
    walk(
        elements
            .map(|element| address(element.trim_ascii(), true))
            .collect(),
    )
}

fn address(text: &[u8], may_be_bare: bool) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(ip) = text
        .parse()
        .ok()
        .filter(|ip: &IpAddr| may_be_bare || ip.is_ipv4())
    {
        return Some((ip.to_canonical(), 0).into());
    }
    if let Some(ip) = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
    {
        let ip: std::net::Ipv6Addr = ip.parse().ok()?;
        return Some((ip.to_canonical(), 0).into());
    }
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let (node, port) = text.rsplit_once(':')?;
    if node.contains(':') && !node.ends_with(']') {
        return None;
    }
    let port = match port.as_bytes() {
        [b'_', name @ ..] if name.iter().all(is_name) && !name.is_empty() => 0,
        digits if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
            port.parse().ok()?
        }
        _ => return None,
    };
    let mut found = address(node.as_bytes(), false)?;
    found.set_port(port);
    Some(found)
}

/// The hops of a line of `Forwarded`, read from the left as RFC 7239, section 4, writes it; `None`
/// if the line is not well-formed.
fn elements(line: &[u8]) -> Option<Vec<Option<SocketAddr>>> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let (mut hops, mut pairs) = (Vec::new(), Vec::new());
    let mut bytes = line.trim_ascii().iter().copied().peekable();
    loop {
        let mut name = String::new();
        while let Some(byte) = bytes.next_if(|byte| is_token(*byte)) {
            name.push(char::from(byte));
        }
        if bytes.next()? != b'=' || name.is_empty() {
            return None;
        }
        let mut value = Vec::new();
        if bytes.next_if_eq(&b'"').is_some() {
            loop {
                match bytes.next()? {
                    b'"' => break,
                    b'\\' => value.push(bytes.next()?),
                    byte => value.push(byte),
                }
            }
        } else {
            while let Some(byte) = bytes.next_if(|byte| is_token(*byte)) {
                value.push(byte);
            }
            if value.is_empty() {
                return None;
            }
        }
        pairs.push((name.to_ascii_lowercase(), value));
        while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
        let end = bytes.next();
        if end != Some(b';') {
            let mut fors = pairs.iter().filter(|(name, _)| name == "for");
            let first = fors.next().and_then(|(_, value)| address(value, false));
            hops.push(first.filter(|_| fors.next().is_none()));
            pairs.clear();
        }
        match end {
            None => return Some(hops),
            Some(b',' | b';') => while bytes.next_if(u8::is_ascii_whitespace).is_some() {},
            Some(_) => return None,
        }
    }
}
