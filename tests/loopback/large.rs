//! Messages that are larger than one read, and are read where they belong.

use fanfare::Disconnect;

use crate::peer::{BINARY, CONTINUATION, PING, PONG, TEXT, frame};
use crate::running::Running;

const FIN: u8 = 0x80;
const MIB: usize = 1024 * 1024;

fn server() -> Running {
    Running::start(|config| {
        config.hub.limits.max_message_size = 3 * MIB;
        config.hub.max_client_buffer = 16 * MIB;
    })
}

/// Bytes of which no two pieces of a few KiB are alike.
fn payload(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    bytes.take(len).collect()
}

#[test]
fn large_messages_arrive_unchanged_one_after_the_other() {
    let server = server();
    let mut speaker = server.open("/ws");
    let mut listener = server.open("/ws");
    // Some need a larger buffer than the one before, some fit into it, some have two bytes more.
    for (seed, len) in (0..).zip([MIB, MIB, 3 * MIB, MIB, MIB + 2, 200_000, MIB]) {
        let message = payload(len, seed);
        let reader = std::thread::spawn(move || {
            listener.expect_frame(BINARY, &message);
            listener
        });
        speaker.send_frame(BINARY, payload(len, seed));
        speaker.expect_frame(BINARY, payload(len, seed));
        listener = reader.join().expect("it hears what was said");
    }
    drop((speaker, listener));
    server.check_ends_empty();
}

#[test]
fn a_large_message_in_fragments_with_pings_between_them() {
    let server = server();
    let mut peer = server.open("/ws");
    let message = "fragments: κόσμε".repeat(60_000);
    let (first, rest) = message.as_bytes().split_at(500_001);
    let (second, third) = rest.split_at(20_000);
    peer.send_frame(TEXT & !FIN, first);
    peer.send_frame(PING, "1");
    peer.send_frame(CONTINUATION & !FIN, second);
    peer.send_frame(PING, "2");
    peer.send_frame(CONTINUATION, third);
    peer.expect_frame(PONG, "1");
    peer.expect_frame(PONG, "2");
    peer.expect_frame(TEXT, message.as_bytes());
    drop(peer);
    server.check_ends_empty();
}

#[test]
fn text_that_goes_wrong_far_behind_its_beginning_is_failed() {
    let server = server();
    let mut peer = server.open("/ws");
    let mut message = vec![b'a'; 2 * MIB];
    message[MIB + MIB / 2] = 0xFF;
    peer.send_frame(TEXT, &message);
    peer.expect_close(1007);
    peer.expect_end();
    drop(peer);
    server.check_ends_empty();
}

#[test]
fn who_ends_in_the_middle_of_a_large_message_is_gone() {
    let server = server();
    let mut listener = server.open("/ws");
    let mut peer = server.open("/ws");
    let message = frame(BINARY, &payload(2 * MIB, 1));
    peer.send(&message[..MIB]);
    peer.half_close();
    assert_eq!(server.left().0, Disconnect::Gone);
    // Nobody hears half a message.
    listener.check_echo();
    drop((peer, listener));
    server.check_ends_empty();
}
