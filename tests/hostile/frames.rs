//! Frames that RFC 6455, section 5 forbids, and legal ones at the border.

use crate::case::{Case, Step, case, closed, failed, open, opened, unfinished, visit, visited};
use crate::ground::Ground;
use crate::peer::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame, unmasked};

/// The longest message, as it is set by default.
const MAX_MESSAGE: usize = 64 * 1024;

const KEY: [u8; 4] = [1, 2, 3, 4];

const NOT_MINIMAL: &str = "length not in its shortest form";
const TOP_BIT: &str = "length with its top bit set";
const TOO_BIG: &str = "message too big";
const TOO_LONG: &str = "control frame over 125 bytes";
const FRAGMENTED: &str = "fragmented control frame";

/// A header with a length of 16 bits, and its key.
fn header_16(first: u8, len: u16) -> Vec<u8> {
    [&[first, 0xFE][..], &len.to_be_bytes(), &KEY].concat()
}

/// A header with a length of 64 bits, and its key.
fn header_64(first: u8, len: u64) -> Vec<u8> {
    [&[first, 0xFF][..], &len.to_be_bytes(), &KEY].concat()
}

fn closing(frames: Vec<u8>) -> Vec<Step> {
    open([frames, frame(CLOSE, &close_payload(1000, ""))].concat())
}

fn reserved() -> Vec<Case> {
    let bits = "reserved bits set";
    let mut cases = vec![
        case("rsv1 on text", open(frame(0xC1, b"x")), failed(1002, bits)),
        case("rsv2 on text", open(frame(0xA1, b"x")), failed(1002, bits)),
        case("rsv3 on text", open(frame(0x91, b"x")), failed(1002, bits)),
        case(
            "all rsv on binary",
            open(frame(0xF2, b"x")),
            failed(1002, bits),
        ),
        case("rsv1 on a ping", open(frame(0xC9, b"")), failed(1002, bits)),
        case("rsv2 on a pong", open(frame(0xAA, b"")), failed(1002, bits)),
        case(
            "rsv3 on a close",
            open(frame(0x98, b"")),
            failed(1002, bits),
        ),
        case(
            "rsv1 on a continuation",
            open([frame(unfinished(TEXT), b"a"), frame(0xC0, b"b")].concat()),
            failed(1002, bits),
        ),
        case(
            "rsv at the first byte alone",
            open([0xC1]),
            failed(1002, bits),
        ),
    ];
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        cases.push(case(
            format!("opcode {opcode:#x}"),
            open(frame(0x80 | opcode, b"x")),
            failed(1002, "reserved opcode"),
        ));
    }
    cases.push(case(
        "a reserved opcode behind a message",
        open(
            [
                frame(TEXT, b"before"),
                frame(0x83, b""),
                frame(TEXT, b"behind"),
            ]
            .concat(),
        ),
        failed(1002, "reserved opcode").says("before"),
    ));
    cases
}

fn masks() -> Vec<Case> {
    let not_masked = "frame not masked";
    let zero_key = [&[TEXT, 0x85, 0, 0, 0, 0][..], b"clear"].concat();
    vec![
        case(
            "text without a mask",
            open(unmasked(TEXT, b"x")),
            failed(1002, not_masked),
        ),
        case(
            "a ping without a mask",
            open(unmasked(PING, b"")),
            failed(1002, not_masked),
        ),
        case(
            "a close without a mask",
            open(unmasked(CLOSE, b"")),
            failed(1002, not_masked),
        ),
        case(
            "an empty frame without a mask",
            open([BINARY, 0]),
            failed(1002, not_masked),
        ),
        case(
            "the second frame without a mask",
            open([frame(TEXT, b"first"), unmasked(TEXT, b"second")].concat()),
            failed(1002, not_masked).says("first"),
        ),
        case(
            "a key of zeros is legal",
            closing(zero_key),
            closed(1000).says("clear"),
        ),
    ]
}

fn lengths() -> Vec<Case> {
    let filled = |header: Vec<u8>, len: usize| [header, vec![0; len]].concat();
    vec![
        case(
            "125 bytes in 16 bits",
            open(filled(header_16(BINARY, 125), 125)),
            failed(1002, NOT_MINIMAL),
        ),
        case(
            "0 bytes in 16 bits",
            open(header_16(BINARY, 0)),
            failed(1002, NOT_MINIMAL),
        ),
        case(
            "65535 bytes in 64 bits",
            open(header_64(BINARY, 65_535)),
            failed(1002, NOT_MINIMAL),
        ),
        case(
            "126 bytes in 64 bits",
            open(header_64(BINARY, 126)),
            failed(1002, NOT_MINIMAL),
        ),
        case(
            "0 bytes in 64 bits",
            open(header_64(TEXT, 0)),
            failed(1002, NOT_MINIMAL),
        ),
        case(
            "2^63 bytes",
            open(header_64(BINARY, 1 << 63)),
            failed(1002, TOP_BIT),
        ),
        case(
            "2^63 bytes without the key",
            open(&header_64(BINARY, 1 << 63)[..10]),
            failed(1002, TOP_BIT),
        ),
        case(
            "2^64 - 1 bytes",
            open(header_64(BINARY, u64::MAX)),
            failed(1002, TOP_BIT),
        ),
        case(
            "2^63 - 1 bytes",
            open(header_64(BINARY, u64::MAX >> 1)),
            failed(1009, TOO_BIG),
        ),
        case(
            "2^32 bytes",
            open(header_64(TEXT, 1 << 32)),
            failed(1009, TOO_BIG),
        ),
        case(
            "a byte too many, announced",
            open(header_64(BINARY, 65_537)),
            failed(1009, TOO_BIG),
        ),
        case(
            "a byte too many, sent",
            open([frame(TEXT, b"before"), frame(BINARY, &[7; MAX_MESSAGE + 1])].concat()),
            failed(1009, TOO_BIG).says("before"),
        ),
        case(
            "16 MiB, sent",
            open(frame(BINARY, &vec![7; 16 << 20])),
            failed(1009, TOO_BIG),
        ),
        case(
            "the longest message is legal",
            closing(frame(BINARY, &[7; MAX_MESSAGE])),
            closed(1000).said(BINARY, [7; MAX_MESSAGE]),
        ),
        case(
            "an empty text is legal",
            closing(frame(TEXT, b"")),
            closed(1000).says(""),
        ),
        case(
            "125 bytes are legal",
            closing(frame(BINARY, &[1; 125])),
            closed(1000).said(BINARY, [1; 125]),
        ),
        case(
            "126 bytes are legal",
            closing(frame(BINARY, &[1; 126])),
            closed(1000).said(BINARY, [1; 126]),
        ),
        case(
            "65535 bytes are legal",
            closing(frame(BINARY, &[1; 65_535])),
            closed(1000).said(BINARY, [1; 65_535]),
        ),
    ]
}

fn control() -> Vec<Case> {
    vec![
        case(
            "a ping of 126 bytes",
            open(frame(PING, &[0; 126])),
            failed(1002, TOO_LONG),
        ),
        case(
            "a pong of 126 bytes",
            open(frame(PONG, &[0; 126])),
            failed(1002, TOO_LONG),
        ),
        case(
            "a close of 126 bytes",
            open(frame(CLOSE, &[3; 126])),
            failed(1002, TOO_LONG),
        ),
        case(
            "a ping of 65536 bytes",
            open(header_64(PING, 65_536)),
            failed(1002, TOO_LONG),
        ),
        case(
            "a ping of 16 bits at its second byte",
            open([PING, 0xFE]),
            failed(1002, TOO_LONG),
        ),
        case(
            "a fragmented ping",
            open(frame(unfinished(PING), b"x")),
            failed(1002, FRAGMENTED),
        ),
        case(
            "a fragmented pong",
            open(frame(unfinished(PONG), b"x")),
            failed(1002, FRAGMENTED),
        ),
        case(
            "a fragmented close",
            open(frame(unfinished(CLOSE), b"")),
            failed(1002, FRAGMENTED),
        ),
        case(
            "a ping of 125 bytes is legal",
            closing(frame(PING, &[9; 125])),
            closed(1000).heard(PONG, [9; 125]),
        ),
        case(
            "an unasked pong is legal",
            closing([frame(PONG, b"?"), frame(TEXT, b"still here")].concat()),
            closed(1000).says("still here"),
        ),
        case(
            "pings stand where they were sent",
            closing([frame(PING, b"1"), frame(TEXT, b"2"), frame(PING, b"3")].concat()),
            closed(1000).heard(PONG, b"1").says("2").heard(PONG, b"3"),
        ),
    ]
}

/// However the bytes are cut, and whatever they are behind.
fn cuts() -> Vec<Case> {
    let behind_the_head = |bytes: Vec<u8>| {
        let request = crate::peer::upgrade(crate::case::PATH).into_bytes();
        vec![Step::Send([request, bytes].concat())]
    };
    let half = visit().split_off(3);
    let mut halves = behind_the_head(visit()[..3].to_vec());
    halves.extend([Step::AwaitHead, Step::AwaitRoom, Step::Send(half)]);
    let mut bytewise = vec![Step::Bytewise(
        crate::peer::upgrade(crate::case::PATH).into_bytes(),
    )];
    bytewise.extend([Step::AwaitHead, Step::Bytewise(visit())]);
    let long = frame(TEXT, &[b'x'; 300]);
    let within = vec![
        Step::Send(long[..3].to_vec()),
        Step::AwaitRoom,
        Step::Send(long[3..7].to_vec()),
        Step::AwaitRoom,
        Step::Send([&long[7..], &frame(CLOSE, &close_payload(1000, ""))].concat()),
    ];
    vec![
        case(
            "frames in the segment of the head",
            behind_the_head(visit()),
            visited(),
        ),
        case("half a frame in the segment of the head", halves, visited()),
        case(
            "a broken frame in the segment of the head",
            behind_the_head(frame(0x83, b"")),
            failed(1002, "reserved opcode"),
        ),
        case(
            "a close in the segment of the head",
            behind_the_head(frame(CLOSE, &close_payload(3000, ""))),
            closed(3000),
        ),
        case("every byte in its own segment", bytewise, visited()),
        case(
            "a frame cut in its length and its key",
            opened(within),
            closed(1000).says(&"x".repeat(300)),
        ),
        case(
            "nothing is read behind an error",
            open([frame(CONTINUATION, b""), visit()].concat()),
            failed(1002, "continuation of nothing"),
        ),
        case(
            "random bytes",
            open(b"\x13\x37\xDE\xAD\xBE\xEF and so on"),
            failed(1002, "reserved bits set"),
        ),
    ]
}

#[test]
fn frames() {
    let mut ground = Ground::start("frames", &[]);
    for cases in [reserved(), masks(), lengths(), control(), cuts()] {
        ground.run(cases);
    }
    ground.end();
}
