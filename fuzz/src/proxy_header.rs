//! A PROXY header: the same verdict however it is cut, and that of a slow reader of whole headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use fanfare::HandshakeError;
use fanfare::protocol::{Input, MAX_PROXY_BLOCK, MAX_PROXY_LINE, ProxyHeader, ProxySource};

use super::plan::{Cuts, Plan};

/// What came of a stream: the source and how many bytes its header took, or an error.
type Read = Result<Option<(ProxySource, usize)>, HandshakeError>;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads a header in three ways, and compares with the slow reader.
pub fn run(bytes: &[u8]) {
    let (cuts, stream) = Plan::split_off_cuts(bytes);
    let whole = read(stream, &Cuts::WHOLE);
    assert_eq!(read(stream, &cuts), whole, "cut at {cuts:?}");
    assert_eq!(
        read(stream, &Cuts::bytewise()),
        whole,
        "cut behind every byte"
    );
    match whole {
        Ok(Some((_, taken))) => assert_eq!(whole, Ok(slow(&stream[..taken])), "{stream:x?}"),
        Ok(None) => {
            let most = match stream.first() {
                Some(b'P') => MAX_PROXY_LINE,
                _ => 16 + MAX_PROXY_BLOCK,
            };
            assert!(stream.len() < most, "more than a header is waited for");
            assert_eq!(slow(stream), None);
        }
        Err(error) => {
            assert_eq!(error, HandshakeError::InvalidProxyHeader);
            assert_eq!(slow(stream), None, "{stream:x?}");
        }
    }
}

fn read(stream: &[u8], cuts: &Cuts) -> Read {
    let (mut header, mut taken) = (ProxyHeader::default(), 0);
    for piece in cuts.pieces(&mut stream.to_vec()) {
        taken += piece.len();
        let mut input = Input::new(piece);
        let source = header.receive(&mut input)?;
        taken -= input.len();
        if let Some(source) = source {
            return Ok(Some((source, taken)));
        }
        assert!(input.is_empty(), "input is left over");
    }
    Ok(None)
}

/// The header at the front, if it is whole and right; written from the specification alone.
fn slow(stream: &[u8]) -> Option<(ProxySource, usize)> {
    if stream.starts_with(SIGNATURE) {
        return slow_block(stream);
    }
    let end = stream.windows(2).position(|window| window == b"\r\n")?;
    let line = &stream[..end];
    if end + 2 > MAX_PROXY_LINE || line.contains(&b'\n') || line.contains(&b'\r') {
        return None;
    }
    let source = match line {
        b"PROXY UNKNOWN" => ProxySource::Unknown,
        _ if line.starts_with(b"PROXY UNKNOWN ") => ProxySource::Unknown,
        _ => slow_line(std::str::from_utf8(line).ok()?)?,
    };
    Some((source, end + 2))
}

fn slow_line(line: &str) -> Option<ProxySource> {
    let words: Vec<&str> = line.split(' ').collect();
    let ["PROXY", family, source, destination, port, other_port] = words[..] else {
        return None;
    };
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let number = |text: &str| -> Option<u16> {
        let number: u16 = text.parse().ok()?;
        // As it would be written: no sign, no zero in front.
        (number.to_string() == text).then_some(number)
    };
    address(destination)?;
    number(other_port)?;
    let address = SocketAddr::new(address(source)?, number(port)?);
    Some(ProxySource::Client(address))
}

fn slow_block(stream: &[u8]) -> Option<(ProxySource, usize)> {
    let [command, family, high, low] = *stream.get(12..16)? else {
        return None;
    };
    let len = usize::from(high) * 256 + usize::from(low);
    let block = stream.get(16..16 + len)?;
    let taken = 16 + len;
    if len > MAX_PROXY_BLOCK {
        return None;
    }
    if command == 0x20 {
        return Some((ProxySource::Local, taken));
    }
    let (address_family, transport) = (family / 16, family % 16);
    if command != 0x21 || address_family > 3 || transport > 2 {
        return None;
    }
    let least = [0, 12, 36, 216][usize::from(address_family)];
    if transport != 0 && len < least {
        return None;
    }
    let port = |at: usize| u16::from(block[at]) * 256 + u16::from(block[at + 1]);
    let source = match family {
        0x11 => {
            let ip = Ipv4Addr::new(block[0], block[1], block[2], block[3]);
            ProxySource::Client((ip, port(8)).into())
        }
        0x21 => {
            let ip = block[..16]
                .iter()
                .fold(0, |ip, byte| ip << 8 | u128::from(*byte));
            ProxySource::Client((Ipv6Addr::from(ip), port(32)).into())
        }
        _ => ProxySource::Unknown,
    };
    Some((source, taken))
}
