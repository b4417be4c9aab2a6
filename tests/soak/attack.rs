//! What hostile clients do, and what must come of it.

use crate::ledger::Deed;
use crate::random::Random;
use crate::support::{BINARY, CLOSE, PING, TEXT, encode_masked};

/// More Pings than one read may bring, by far; few enough for one read.
const PINGS: usize = 5000;

/// More fragments than a message may have.
const FRAGMENTS: usize = 3000;

/// One client's attack.
pub(crate) struct Attack {
    pub(crate) upgrades: bool,
    /// What it sends: in place of a request, or once it is open.
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
    /// What it will have done, if the server does what it must.
    pub(crate) deed: Deed,
    /// The code of the Close that it must be told, or the status of its refusal.
    pub(crate) code: Option<u16>,
}

/// What it does when it has sent its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Waits for the server to end it.
    Wait,
    /// The same, and answers no Ping.
    BeSilent,
    /// Ends its sending side, and waits.
    EndOutput,
    Reset,
}

impl Attack {
    pub(crate) fn some(random: &mut Random) -> Self {
        match random.below(12) {
            0..3 => Self::broken(Some(1002), some_broken_frame(random)),
            3 => {
                let mut bytes = Vec::new();
                encode_masked(TEXT, random.pick::<&[u8]>(&INVALID_TEXTS), &mut bytes);
                Self::broken(Some(1007), bytes)
            }
            4 => Self::broken(Some(1009), vec![0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1]),
            5 => {
                let fragment = |first| [first, 0x80, 1, 2, 3, 4];
                let mut bytes = fragment(BINARY).to_vec();
                bytes.extend(fragment(0).repeat(FRAGMENTS));
                Self::broken(Some(1008), bytes)
            }
            6 => Self {
                deed: Deed::Flooded,
                ..Self::broken(Some(1008), [0x80 | PING, 0x80, 1, 2, 3, 4].repeat(PINGS))
            },
            7 => Self {
                then: Then::Reset,
                ..if random.below(2) == 0 {
                    Self::request(some_of_a_request(random), Deed::Reset, None)
                } else {
                    Self {
                        deed: Deed::Reset,
                        ..Self::broken(None, part_of_a_frame(random))
                    }
                }
            },
            8 => Self {
                then: Then::EndOutput,
                deed: Deed::CutOff,
                ..Self::broken(None, part_of_a_frame(random))
            },
            9 => Self {
                then: Then::BeSilent,
                deed: Deed::Silent,
                ..Self::broken(None, part_of_a_frame(random))
            },
            10 => {
                let start = some_of_a_request(random);
                // If not a byte has come, nothing is answered.
                let status = (!start.is_empty()).then_some(408);
                Self::request(start, Deed::Refused, status)
            }
            _ => {
                let (request, status) = *random.pick(&REQUESTS);
                let deed = if status == 200 {
                    Deed::Answered
                } else {
                    Deed::Refused
                };
                Self::request(request, deed, Some(status))
            }
        }
    }

    fn broken(code: Option<u16>, bytes: Vec<u8>) -> Self {
        Self {
            upgrades: true,
            bytes,
            then: Then::Wait,
            deed: Deed::Broke,
            code,
        }
    }

    fn request(bytes: &str, deed: Deed, status: Option<u16>) -> Self {
        Self {
            upgrades: false,
            deed,
            ..Self::broken(status, bytes.into())
        }
    }
}

const REQUEST: &str = "GET /ws/room-0 HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";

const REQUESTS: [(&str, u16); 5] = [
    ("GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n", 200),
    ("GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n", 404),
    ("GET /ws HTTP/1.1\r\nHost: test\r\n\r\n", 426),
    ("POST /ws HTTP/1.1\r\nHost: test\r\n\r\n", 405),
    ("\u{16}\u{3}\u{1} this is not HTTP\r\n\r\n", 400),
];

/// A continuation of nothing, a surrogate, an overlong slash, a start without its end.
const INVALID_TEXTS: [&[u8]; 4] = [b"\x80", b"\xED\xA0\x80", b"ab\xC0\xAF", b"abc\xE2\x82"];

fn some_broken_frame(random: &mut Random) -> Vec<u8> {
    const KEY: [u8; 4] = [0; 4];
    let frame =
        |first: u8, second: u8, payload: &[u8]| [&[first, second], &KEY[..], payload].concat();
    match random.below(8) {
        // Not masked.
        0 => vec![0x81, 2, b'h', b'i'],
        // Reserved bits; reserved opcodes.
        1 => frame(0x81 | (0x10 << random.below(3)), 0x82, b"hi"),
        2 => frame(0x80 | random.pick(&[3, 7, 11, 15]), 0x80, b""),
        // A length that fits a shorter form.
        3 => [&[0x82, 0xFE, 0, 5], &KEY[..], b"hello"].concat(),
        // Control frames in fragments, or too long.
        4 => frame(PING, 0x80, b""),
        5 => [&[0x80 | PING, 0xFE, 0, 126], &KEY[..], &[7; 126]].concat(),
        // A continuation of nothing.
        6 => frame(0x80, 0x81, b"x"),
        // A Close of one byte, or with a code that must not be sent.
        _ => {
            let payload: [&[u8]; 2] = [&[3], &1005_u16.to_be_bytes()];
            let payload = *random.pick(&payload);
            frame(0x80 | CLOSE, 0x80 | payload.len() as u8, payload)
        }
    }
}

/// The beginning of a request, or nothing at all.
fn some_of_a_request(random: &mut Random) -> &'static str {
    &REQUEST[..random.below(2) * random.below(REQUEST.len())]
}

fn part_of_a_frame(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_masked(BINARY, &vec![7; 1 + random.below(2000)], &mut bytes);
    bytes.truncate(1 + random.below(bytes.len() - 1));
    bytes
}
