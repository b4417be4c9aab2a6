//! A second look at a request that was upgraded: RFC 6455, section 4.2.1, RFC 9110 and RFC 9112,
//! line by line, and without mercy.

use super::http_head::split_lines;

/// A token's bytes (RFC 9110, section 5.6.2), beside letters and digits.
const TOKEN: &[u8] = b"!#$%&'*+-.^_`|~";

/// A field by its name in lower case.
type Field<'h> = (String, &'h [u8]);

/// Why a head must not be upgraded; `None` if it may.
///
/// The path must be `/ws` or below it.
pub(crate) fn refusal(head: &[u8]) -> Option<&'static str> {
    let Some(head) = head.strip_suffix(b"\r\n\r\n") else {
        return Some("the head has no end");
    };
    let mut lines = split_lines(head);
    let request_line = lines.next().unwrap_or_default();
    let Some(fields) = lines.map(field).collect::<Option<Vec<_>>>() else {
        return Some("a line is no field");
    };
    let Some(target) = target(request_line) else {
        return Some("the request line is not GET, a target and HTTP/1.1");
    };
    let Some(path) = path(target) else {
        return Some("the target is neither a path nor an absolute form");
    };
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    if path != b"/ws" && !path.starts_with(b"/ws/") {
        return Some("the path is not ours");
    }
    if !once(&fields, "host").is_some_and(is_host) {
        return Some("there is not one good Host");
    }
    if !lists(&fields, "upgrade", "websocket") || !lists(&fields, "connection", "upgrade") {
        return Some("no upgrade to a WebSocket is asked for");
    }
    if once(&fields, "sec-websocket-version") != Some(b"13") {
        return Some("there is not one version, and that 13");
    }
    if !once(&fields, "sec-websocket-key").is_some_and(is_key) {
        return Some("there is not one key, of 16 bytes in base64");
    }
    let has = |name: &str| fields.iter().any(|(field, _)| field == name);
    if has("transfer-encoding") {
        return Some("a body in an encoding");
    }
    if has("content-length") && once(&fields, "content-length") != Some(b"0") {
        return Some("a body of some length");
    }
    if has("origin") && once(&fields, "origin").is_none() {
        return Some("two origins");
    }
    None
}

/// The target of `GET target HTTP/1.1` (RFC 9112, section 3): single spaces, and nothing that a
/// browser would have encoded.
fn target(line: &[u8]) -> Option<&[u8]> {
    let target = line.strip_prefix(b"GET ")?.strip_suffix(b" HTTP/1.1")?;
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
    (!target.is_empty() && target.iter().all(is_plain)).then_some(target)
}

/// What the target says of the path: RFC 9112, sections 3.2.1 and 3.2.2.
fn path(target: &[u8]) -> Option<&[u8]> {
    if target.starts_with(b"/") {
        return Some(target);
    }
    let colon = target.windows(3).position(|window| window == b"://")?;
    let scheme = target[..colon].to_ascii_lowercase();
    if ![&b"http"[..], b"https", b"ws", b"wss"].contains(&&scheme[..]) {
        return None;
    }
    let rest = &target[colon + 3..];
    let slash = rest.iter().position(|byte| *byte == b'/')?;
    is_host(&rest[..slash]).then_some(&rest[slash..])
}

/// `name ":" OWS value OWS` (RFC 9112, section 5), its value without control characters.
fn field(line: &[u8]) -> Option<Field<'_>> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || TOKEN.contains(byte);
    if name.is_empty() || !name.iter().all(is_token) {
        return None;
    }
    if value
        .iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t')
    {
        return None;
    }
    Some((String::from_utf8(name.to_ascii_lowercase()).ok()?, value))
}

/// The value of a field that is there exactly once.
fn once<'h>(fields: &[Field<'h>], name: &str) -> Option<&'h [u8]> {
    let mut values = fields.iter().filter(|(field, _)| field == name);
    let (_, value) = values.next()?;
    values.next().is_none().then_some(value)
}

/// Whether a list field holds an element, in any case and on any of its lines.
fn lists(fields: &[Field<'_>], name: &str, element: &str) -> bool {
    fields
        .iter()
        .filter(|(field, _)| field == name)
        .any(|(_, value)| {
            value
                .split(|byte| *byte == b',')
                .any(|part| part.trim_ascii().eq_ignore_ascii_case(element.as_bytes()))
        })
}

/// `uri-host [ ":" port ]` (RFC 9110, section 7.2; RFC 3986, section 3.2.2), without user
/// information (RFC 9110, section 4.2.4).
fn is_host(host: &[u8]) -> bool {
    let find = |byte: u8| host.iter().position(|other| *other == byte);
    let end = match host.first() {
        Some(b'[') => find(b']').map_or(host.len(), |end| end + 1),
        _ => find(b':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(end);
    let is_port = match port {
        [] => true,
        [colon, digits @ ..] => *colon == b':' && digits.iter().all(u8::is_ascii_digit),
    };
    is_port && (is_registered_name(name) || is_ip_literal(name))
}

fn is_ip_literal(name: &[u8]) -> bool {
    let address = name
        .strip_prefix(b"[")
        .and_then(|name| name.strip_suffix(b"]"));
    let address = address.and_then(|address| std::str::from_utf8(address).ok());
    address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

fn is_registered_name(mut name: &[u8]) -> bool {
    if name.is_empty() {
        return false;
    }
    while let [first, rest @ ..] = name {
        name = match (first, rest) {
            (b'%', [high, low, rest @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                rest
            }
            (b'-' | b'.' | b'_' | b'~', _) => rest,
            (b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=', _) => {
                rest
            }
            (first, _) if first.is_ascii_alphanumeric() => rest,
            _ => return false,
        };
    }
    true
}

/// 22 characters of base64 and two of padding are 16 bytes.
fn is_key(key: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(is_base64)
}
