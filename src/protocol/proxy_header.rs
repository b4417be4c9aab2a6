//! What a proxy says in front of everything else: the PROXY protocol, versions 1 and 2.
//!
//! Sections are those of the specification, `proxy-protocol.txt` in the sources of haproxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::error::HandshakeError;
use super::input::Input;

/// The beginning of version 1 (section 2.1), which is a line of text.
const LINE_START: &[u8] = b"PROXY ";
/// The longest such line, its CRLF included (section 2.1).
pub const MAX_PROXY_LINE: usize = 107;

/// The beginning of version 2 (section 2.2), which is binary.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Up to here version 2 has the same form: the signature, version and command, family, length.
const FIXED: u16 = 16;
/// Two addresses of each family, with their ports if they have some (section 2.2).
const IPV4_ADDRESSES: u16 = 2 * (4 + 2);
const IPV6_ADDRESSES: u16 = 2 * (16 + 2);
const UNIX_ADDRESSES: u16 = 2 * 108;
/// The most bytes behind them, addresses and TLVs together. TLVs are skipped and not held; the
/// longest that proxies send are the names in a client's certificate.
pub const MAX_PROXY_BLOCK: usize = 4096;

/// For whom a proxy connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxySource {
    /// For itself: a health check.
    Local,
    /// It does not say: the source is unknown to it, or of a kind that is no TCP (a Unix socket).
    Unknown,
    /// For a client at this address.
    Client(SocketAddr),
}

/// A PROXY header that is arriving. It takes the same verdict, at the same byte, however it is cut.
#[derive(Debug, Default)]
pub struct ProxyHeader {
    /// What has arrived of the line, or of version 2 up to the end of its addresses.
    bytes: Vec<u8>,
    /// Of version 1: words that are complete, `PROXY` aside.
    words: u16,
    /// Of version 1: where the current word begins.
    word_start: usize,
    /// Of version 2: how many bytes are kept once the length is known.
    kept: u16,
    /// Of version 2: bytes that are left to skip.
    skipped: u16,
}

impl ProxyHeader {
    /// Consumes input up to the end of the header, and says for whom the connection is; `None` if
    /// the end has not come. What follows the header stays in `input`.
    ///
    /// # Errors
    /// [`HandshakeError::InvalidProxyHeader`] at the first byte that cannot be right; of an address
    /// in version 1, at its end.
    pub fn receive(
        &mut self,
        input: &mut Input<'_>,
    ) -> Result<Option<ProxySource>, HandshakeError> {
        for (i, &byte) in input.peek().iter().enumerate() {
            if let Some(source) = self.push(byte)? {
                input.take(i + 1);
                return Ok(Some(source));
            }
        }
        input.take_all();
        Ok(None)
    }

    fn push(&mut self, byte: u8) -> Result<Option<ProxySource>, HandshakeError> {
        let is_line = self.bytes.first().unwrap_or(&byte) == &LINE_START[0];
        if is_line {
            self.push_line(byte)
        } else {
            self.push_block(byte)
        }
    }

    fn push_line(&mut self, byte: u8) -> Result<Option<ProxySource>, HandshakeError> {
        let at = self.bytes.len();
        let before = self.bytes.last().copied();
        self.bytes.push(byte);
        if at < LINE_START.len() {
            self.word_start += 1;
            return must(byte == LINE_START[at]);
        }
        // Section 2.1: neither a CR nor an LF ends the line alone, and both stand within 107 bytes.
        match (before, byte) {
            (Some(b'\r'), b'\n') => return self.end_of_line().ok_or(INVALID).map(Some),
            (Some(b'\r'), _) | (_, b'\n') => return Err(INVALID),
            (_, b'\r') if self.words == 0 => return must(self.word() == b"UNKNOWN\r"),
            (_, b'\r') => return must(self.is_last_word()),
            _ if at + 2 >= MAX_PROXY_LINE => return Err(INVALID),
            _ => {}
        }
        if self.is_unknown() {
            return Ok(None);
        }
        if byte == b' ' {
            let is_whole = match self.words {
                0 => [&b"TCP4 "[..], b"TCP6 ", b"UNKNOWN "].contains(&self.word()),
                1 | 2 => self.address(trimmed(self.word())).is_some(),
                3 => port(trimmed(self.word())).is_some(),
                _ => false,
            };
            self.words += 1;
            self.word_start = at + 1;
            return must(is_whole);
        }
        let may_come = match self.words {
            0 => [&b"TCP4"[..], b"TCP6", b"UNKNOWN"]
                .iter()
                .any(|word| word.starts_with(self.word())),
            1 | 2 if self.is_ipv4() => byte.is_ascii_digit() || byte == b'.',
            1 | 2 => byte.is_ascii_hexdigit() || b":.".contains(&byte),
            _ => port(self.word()).is_some(),
        };
        must(may_come)
    }

    /// The word of the line that is arriving.
    fn word(&self) -> &[u8] {
        &self.bytes[self.word_start..]
    }

    fn is_ipv4(&self) -> bool {
        self.bytes[LINE_START.len()..].starts_with(b"TCP4")
    }

    /// Section 2.1: what stands behind this word is ignored.
    fn is_unknown(&self) -> bool {
        self.words > 0 && self.bytes[LINE_START.len()..].starts_with(b"UNKNOWN")
    }

    /// Whether a CR may end the line here.
    fn is_last_word(&self) -> bool {
        self.is_unknown() || (self.words == 4 && port(trimmed(self.word())).is_some())
    }

    fn address(&self, word: &[u8]) -> Option<IpAddr> {
        let word = std::str::from_utf8(word).ok()?;
        if self.is_ipv4() {
            word.parse().ok().map(IpAddr::V4)
        } else {
            word.parse().ok().map(IpAddr::V6)
        }
    }

    fn end_of_line(&self) -> Option<ProxySource> {
        if self.bytes[LINE_START.len()..].starts_with(b"UNKNOWN") {
            return Some(ProxySource::Unknown);
        }
        let mut words = self.bytes.split(|byte| *byte == b' ').skip(2);
        let source = self.address(words.next()?)?;
        let port = port(words.nth(1)?)?;
        Some(ProxySource::Client(SocketAddr::new(source, port)))
    }

    fn push_block(&mut self, byte: u8) -> Result<Option<ProxySource>, HandshakeError> {
        let at = self.bytes.len();
        if at < usize::from(FIXED) {
            self.bytes.push(byte);
            return match at {
                ..12 => must(byte == SIGNATURE[at]),
                // Section 2.2: version 2; LOCAL or PROXY.
                12 => must(matches!(byte, 0x20 | 0x21)),
                // Of a LOCAL connection the family means nothing; others do not exist.
                13 => must(self.is_local() || (byte >> 4 <= 3 && byte & 0xF <= 2)),
                14 => must(usize::from(byte) << 8 <= MAX_PROXY_BLOCK),
                _ => self.begin_block(),
            };
        }
        if at < usize::from(self.kept) {
            self.bytes.push(byte);
        } else {
            self.skipped -= 1;
        }
        Ok(self.end_of_block())
    }

    fn is_local(&self) -> bool {
        self.bytes[12] == 0x20
    }

    /// The length is known: it must fit the family, and the bound.
    fn begin_block(&mut self) -> Result<Option<ProxySource>, HandshakeError> {
        let len = u16::from_be_bytes([self.bytes[14], self.bytes[15]]);
        let family = self.bytes[13];
        let addresses = match (family >> 4, family & 0xF) {
            _ if self.is_local() => 0,
            (_, 0) | (0, _) => 0,
            (1, _) => IPV4_ADDRESSES,
            (2, _) => IPV6_ADDRESSES,
            (_, _) => UNIX_ADDRESSES,
        };
        if usize::from(len) > MAX_PROXY_BLOCK || len < addresses {
            return Err(INVALID);
        }
        // The address of a client is wanted if it is connected by TCP.
        let is_tcp = matches!(family, 0x11 | 0x21) && !self.is_local();
        let wanted = if is_tcp { addresses } else { 0 };
        self.kept = FIXED + wanted;
        self.skipped = len - wanted;
        Ok(self.end_of_block())
    }

    fn end_of_block(&self) -> Option<ProxySource> {
        if self.bytes.len() < usize::from(self.kept) || self.skipped > 0 {
            return None;
        }
        let address = |ip: IpAddr, port: &[u8]| {
            let port = u16::from_be_bytes([port[0], port[1]]);
            ProxySource::Client(SocketAddr::new(ip, port))
        };
        // Source and destination, then the port of each.
        let block = &self.bytes[usize::from(FIXED)..];
        if let Some((ip, rest)) = block.split_first_chunk::<16>() {
            return Some(address(Ipv6Addr::from(*ip).into(), &rest[16..]));
        }
        if let Some((ip, rest)) = block.split_first_chunk::<4>() {
            return Some(address(Ipv4Addr::from(*ip).into(), &rest[4..]));
        }
        Some(if self.is_local() {
            ProxySource::Local
        } else {
            ProxySource::Unknown
        })
    }
}

const INVALID: HandshakeError = HandshakeError::InvalidProxyHeader;

/// More is to come, if this holds.
fn must(holds: bool) -> Result<Option<ProxySource>, HandshakeError> {
    if holds { Ok(None) } else { Err(INVALID) }
}

/// A word without the byte that has ended it.
fn trimmed(word: &[u8]) -> &[u8] {
    &word[..word.len() - 1]
}

/// Section 2.1: a decimal number up to 65535, without a zero in front.
fn port(word: &[u8]) -> Option<u16> {
    let has_zero_in_front = word.len() > 1 && word[0] == b'0';
    if has_zero_in_front || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of these bytes: the source and how many bytes it took, or the first bad one.
    /// Cut behind every byte, at each place once, and whole: it is the same.
    fn read(bytes: &[u8]) -> Result<Option<(ProxySource, usize)>, usize> {
        let bytewise = read_cut(bytes, 1);
        for cut in 2..=bytes.len() {
            let whole = read_cut(bytes, cut);
            match (bytewise, whole) {
                (Err(_), Err(_)) => {}
                (one, other) => assert_eq!(one, other, "cut at each {cut}"),
            }
        }
        bytewise
    }

    fn read_cut(bytes: &[u8], len: usize) -> Result<Option<(ProxySource, usize)>, usize> {
        let mut header = ProxyHeader::default();
        let (mut taken, mut bytes) = (0, bytes.to_vec());
        for piece in bytes.chunks_mut(len) {
            let mut input = Input::new(piece);
            let arrived = input.len();
            let source = header.receive(&mut input).map_err(|error| {
                assert_eq!(error, HandshakeError::InvalidProxyHeader);
                taken
            })?;
            taken += arrived - input.len();
            if let Some(source) = source {
                return Ok(Some((source, taken)));
            }
            assert!(input.is_empty(), "more is wanted, and some is left");
        }
        Ok(None)
    }

    /// A whole header, with a request behind it that must be left alone.
    fn source(header: &[u8]) -> Option<ProxySource> {
        let bytes = [header, b"GET / HTTP/1.1\r\n"].concat();
        let (source, taken) = read(&bytes).ok()??;
        assert_eq!(taken, header.len(), "{}", header.escape_ascii());
        assert_eq!(read(&header[..taken - 1]), Ok(None), "a byte is missing");
        Some(source)
    }

    fn client(address: &str) -> ProxySource {
        ProxySource::Client(address.parse().unwrap())
    }

    /// Version 2 with this version and command, family, and what follows the length.
    fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &len, rest].concat()
    }

    const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0xDC, 0x04, 0x01, 0xBB];

    fn ipv6() -> Vec<u8> {
        let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let ports = [0xDC, 0x04, 0x01, 0xBB];
        [&ip("2001:db8::1")[..], &ip("2001:db8::2"), &ports].concat()
    }

    #[test]
    fn the_example_of_section_2_1() {
        let line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n";
        assert_eq!(source(line), Some(client("192.168.0.1:56324")));
    }

    #[test]
    fn the_longest_lines_of_section_2_1() {
        let line = "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n";
        assert_eq!(
            source(line.as_bytes()),
            Some(client("255.255.255.255:65535"))
        );
        let most = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let line = format!("PROXY TCP6 {most} {most} 65535 65535\r\n");
        assert_eq!(line.len(), 104);
        assert_eq!(
            source(line.as_bytes()),
            Some(client(&format!("[{most}]:65535")))
        );
        assert_eq!(source(b"PROXY UNKNOWN\r\n"), Some(ProxySource::Unknown));
        let line = format!("PROXY UNKNOWN {most} {most} 65535 65535\r\n");
        assert_eq!(line.len(), MAX_PROXY_LINE);
        assert_eq!(source(line.as_bytes()), Some(ProxySource::Unknown));
        // A byte more: what stands where the CR must be is the first wrong one.
        let line = format!("PROXY UNKNOWN {most} {most} 65535 655350\r\n");
        assert_eq!(read(line.as_bytes()), Err(MAX_PROXY_LINE - 2));
    }

    #[test]
    fn what_is_behind_unknown_is_ignored() {
        for line in ["PROXY UNKNOWN \r\n", "PROXY UNKNOWN \0 x  TCP4\r\n"] {
            assert_eq!(source(line.as_bytes()), Some(ProxySource::Unknown));
        }
    }

    #[test]
    fn short_and_mapped_addresses_are_addresses() {
        let line = b"PROXY TCP6 ::1 :: 0 0\r\n";
        assert_eq!(source(line), Some(client("[::1]:0")));
        let line = b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n";
        assert_eq!(source(line), Some(client("[::ffff:192.0.2.1]:1")));
    }

    #[test]
    fn a_line_is_refused_at_the_first_wrong_byte() {
        for (line, bad) in [
            ("GET / HTTP/1.1\r\n", 0),
            ("pROXY TCP4", 0),
            ("PROXYTCP4", 5),
            ("PROXY  TCP4", 6),
            ("PROXY TCP5 ", 9),
            ("PROXY TCP44", 10),
            ("PROXY tcp4", 6),
            ("PROXY UDP4", 7),
            ("PROXY UNKNOWNX", 13),
            ("PROXY UNKNOWN\n", 13),
            ("PROXY UNKNOWN \n", 14),
            ("PROXY UNKNOWN\rX", 14),
            ("PROXY UNKNOW\r\n", 12),
            ("PROXY TCP4\r\n", 10),
            ("PROXY TCP4 ::1 ", 11),
            ("PROXY TCP4 1.2.3.4\r\n", 18),
            ("PROXY TCP4 1.2.3 ", 16),
            ("PROXY TCP4 1.2.3.256 ", 20),
            ("PROXY TCP4 1.2.3.04 ", 19),
            ("PROXY TCP4  1.2.3.4", 11),
            ("PROXY TCP4 1.2.3.4 ::1", 19),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1\r", 28),
            ("PROXY TCP4 1.2.3.4 5.6.7.8  ", 27),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 65536 ", 31),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 01 ", 28),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 +1 ", 27),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n", 29),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ", 30),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", 30),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rX", 31),
            ("PROXY TCP6 1.2.3.4 ", 18),
            ("PROXY TCP6 g", 11),
            ("PROXY TCP6 ::1%1 ", 14),
        ] {
            assert_eq!(read(line.as_bytes()), Err(bad), "{line:?}");
        }
    }

    #[test]
    fn addresses_of_version_2() {
        assert_eq!(
            source(&block(0x21, 0x11, &IPV4)),
            Some(client("192.0.2.1:56324"))
        );
        assert_eq!(
            source(&block(0x21, 0x21, &ipv6())),
            Some(client("[2001:db8::1]:56324"))
        );
    }

    #[test]
    fn what_follows_the_addresses_is_skipped() {
        let tlv = |len: usize| [&IPV4[..], &vec![0xEE; len]].concat();
        for len in [1, 3, 500, MAX_PROXY_BLOCK - 12] {
            assert_eq!(
                source(&block(0x21, 0x11, &tlv(len))),
                Some(client("192.0.2.1:56324"))
            );
        }
        let too_long = block(0x21, 0x11, &tlv(MAX_PROXY_BLOCK - 11));
        assert_eq!(read(&too_long), Err(15));
        // The first byte of the length may say enough.
        let longest = [SIGNATURE, &[0x21, 0x11, 0x11]].concat();
        assert_eq!(read(&longest), Err(14));
    }

    #[test]
    fn a_proxy_that_does_not_say_is_taken_as_it_is() {
        for rest in [&b""[..], b"x", &[0xFF; 300]] {
            assert_eq!(source(&block(0x20, 0x00, rest)), Some(ProxySource::Local));
            assert_eq!(source(&block(0x21, 0x00, rest)), Some(ProxySource::Unknown));
            // Of a LOCAL connection the family is ignored.
            assert_eq!(source(&block(0x20, 0xFF, rest)), Some(ProxySource::Local));
            assert_eq!(source(&block(0x20, 0x11, rest)), Some(ProxySource::Local));
        }
        for (family, len) in [(0x31, 216), (0x32, 216), (0x12, 12), (0x22, 36), (0x10, 0)] {
            let header = block(0x21, family, &vec![7; len]);
            assert_eq!(source(&header), Some(ProxySource::Unknown), "{family:#x}");
        }
    }

    #[test]
    fn version_2_is_refused_at_the_first_wrong_byte() {
        for at in 0..12 {
            let mut header = block(0x21, 0x11, &IPV4);
            header[at] ^= 1;
            assert_eq!(read(&header), Err(at));
        }
        for command in [0x00, 0x01, 0x11, 0x22, 0x2F, 0x30, 0x31, 0xA1] {
            assert_eq!(read(&block(command, 0x11, &IPV4)), Err(12), "{command:#x}");
        }
        for family in [0x13, 0x03, 0x1F, 0x41, 0x40, 0xF1] {
            assert_eq!(
                read(&block(0x21, family, &[0; 216])),
                Err(13),
                "{family:#x}"
            );
        }
        for (family, least) in [(0x11, 12), (0x12, 12), (0x21, 36), (0x31, 216), (0x32, 216)] {
            let short = block(0x21, family, &vec![0; least - 1]);
            assert_eq!(read(&short), Err(15), "{family:#x}");
        }
    }
}
