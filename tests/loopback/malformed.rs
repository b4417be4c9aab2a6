//! Frames that break the protocol: each is closed with its code, and the Close arrives.

use fanfare::Disconnect;
use fanfare::protocol::ProtocolError;

use crate::peer::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame};
use crate::running::{Event, LONG, Running};

/// Sends what breaks the protocol; the sender reads its Close to the end while it still listens.
fn check_failed(server: &Running, bytes: &[u8], code: u16, error: ProtocolError) {
    let mut peer = server.open("/ws");
    assert_eq!(server.event(), Event::Opened);
    // The message behind it is not read any more.
    peer.send([bytes, &frame(TEXT, b"too late")].concat());
    assert_eq!(peer.expect_close(code), error.reason());
    // RFC 6455, section 7.1.1: it is the server that ends TCP first, and not with a reset.
    peer.expect_end();
    drop(peer);
    let why = Disconnect::Protocol(error);
    assert_eq!(server.event(), Event::Left(why, 0), "{error}");
}

#[test]
fn broken_framing_is_closed_with_1002() {
    use ProtocolError as E;

    let server = Running::start(|_| {});
    let mut failures: Vec<(Vec<u8>, E)> = vec![
        (vec![TEXT, 2, b'h', b'i'], E::Unmasked),
        (vec![PING, 0], E::Unmasked),
        (frame(0xC1, b"x"), E::ReservedBits),
        (frame(0xA1, b"x"), E::ReservedBits),
        (frame(0x91, b"x"), E::ReservedBits),
        (frame(0xC9, b""), E::ReservedBits),
        (vec![TEXT, 0xFE, 0, 125, 1, 2, 3, 4], E::LengthNotMinimal),
        (
            vec![TEXT, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 1, 2, 3, 4],
            E::LengthNotMinimal,
        ),
        (
            vec![BINARY, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            E::LengthTopBit,
        ),
        (frame(PING & 0x7F, b"x"), E::ControlFragmented),
        (frame(CLOSE & 0x7F, b""), E::ControlFragmented),
        (frame(PING, &[0; 126]), E::ControlTooLong),
        (frame(CLOSE, &[3; 126]), E::ControlTooLong),
        (frame(CONTINUATION, b"x"), E::UnexpectedContinuation),
        (
            [frame(0x01, b"x"), frame(TEXT, b"y")].concat(),
            E::ExpectedContinuation,
        ),
        (
            [frame(0x02, b"x"), frame(0x02, b"y")].concat(),
            E::ExpectedContinuation,
        ),
        (frame(CLOSE, &[3]), E::CloseTooShort),
    ];
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        failures.push((frame(0x80 | opcode, b""), E::ReservedOpcode));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, u16::MAX] {
        failures.push((frame(CLOSE, &close_payload(code, "")), E::InvalidCloseCode));
    }
    for (bytes, error) in failures {
        check_failed(&server, &bytes, 1002, error);
    }
    server.check_serves();
    server.check_ends_empty();
}

#[test]
fn invalid_utf8_is_closed_with_1007() {
    let server = Running::start(|_| {});
    for bytes in [
        frame(TEXT, b"\xC3\x28"),
        frame(TEXT, b"cut off\xE2\x82"),
        frame(TEXT, b"a surrogate \xED\xA0\x80"),
        // At the first wrong byte: the rest of the message is not waited for.
        frame(0x01, b"wrong already \xFF"),
        frame(TEXT, &[b'x', b'\xFF', b'y', b'z'].repeat(1000))[..10].to_vec(),
        [frame(0x01, b"\xE2\x82"), frame(CONTINUATION, b"\x28")].concat(),
        [frame(0x01, b"ends in a \xE2"), frame(CONTINUATION, b"")].concat(),
        frame(CLOSE, &[&close_payload(1000, "bye")[..], b"\xFF"].concat()),
    ] {
        let is_cut = bytes.len() == 10;
        // Behind a frame that is cut, what follows is its payload.
        let bytes = if is_cut {
            [&bytes[..], b"\xFF"].concat()
        } else {
            bytes
        };
        check_failed(&server, &bytes, 1007, ProtocolError::InvalidUtf8);
    }
    server.check_serves();
    server.check_ends_empty();
}

#[test]
fn big_messages_are_closed_with_1009_at_the_header() {
    let server = Running::start(|_| {});
    let header = |len: u64| {
        let len = len.to_be_bytes();
        [&[BINARY, 0xFF][..], &len, &[1, 2, 3, 4]].concat()
    };
    for bytes in [
        header(LONG as u64 + 1),
        header(u64::MAX >> 1),
        [
            frame(0x02, &vec![0; LONG - 10]),
            frame(CONTINUATION, &[0; 11]),
        ]
        .concat(),
        // The whole of it, and another as long.
        frame(TEXT, &vec![b'x'; 1 << 20]).repeat(2),
    ] {
        check_failed(&server, &bytes, 1009, ProtocolError::MessageTooBig);
    }
    let mut peer = server.open("/ws");
    peer.send_frame(BINARY, vec![7; LONG]);
    peer.expect_frame(BINARY, vec![7; LONG]);
    drop(peer);
    server.left();
    server.check_serves();
    server.check_ends_empty();
}

#[test]
fn too_many_fragments_are_closed_with_1008() {
    let server = Running::start(|config| config.hub.limits.max_message_size = 64);
    // 1024, and one for each 64 bytes of message.
    let most = 1025;
    let fragments = |count: usize| {
        let mut bytes = frame(0x01, b"");
        bytes.extend(frame(0x00, b"").repeat(count - 1));
        bytes
    };
    check_failed(
        &server,
        &fragments(most + 1),
        1008,
        ProtocolError::TooManyFragments,
    );
    let mut peer = server.open("/ws");
    peer.send(fragments(most - 1));
    peer.send_frame(CONTINUATION, b"all");
    peer.expect_text("all");
    drop(peer);
    server.left();
    server.check_serves();
    server.check_ends_empty();
}

#[test]
fn a_flood_of_control_frames_is_closed_with_1008() {
    let server = Running::start(|_| {});
    for first in [PING, PONG] {
        let mut peer = server.open("/ws");
        // Whether one read brings it all is for the kernel to say, so it is more than once.
        peer.send(frame(first, b"").repeat(4 * 513));
        let mut pongs = 0;
        let close = loop {
            let frame = peer.read_frame();
            if frame.first != PONG {
                break frame;
            }
            pongs += 1;
        };
        assert!(first == PING || pongs == 0);
        assert_eq!(
            (close.first, close.payload),
            (CLOSE, close_payload(1008, "too many control frames"))
        );
        peer.expect_end();
        drop(peer);
        assert_eq!(server.left(), (Disconnect::Flood, 0));
    }
    // Up to the limit all are answered, in order.
    let mut peer = server.open("/ws");
    let pings = (0..512_u32).flat_map(|i| frame(PING, &i.to_be_bytes()));
    peer.send(pings.collect::<Vec<u8>>());
    for i in 0..512_u32 {
        peer.expect_frame(PONG, i.to_be_bytes());
    }
    drop(peer);
    server.left();
    server.check_serves();
    server.check_ends_empty();
}
