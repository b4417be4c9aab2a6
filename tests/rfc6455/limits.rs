//! Section 10.4: what a peer may ask of us.

use super::*;

const MAX: usize = 65_536;

// Section 10.4: a limit on the size of a frame and of a message after reassembly.
#[test]
fn both_sides_of_the_largest_message() {
    let most = "x".repeat(MAX);
    assert_heard(&[frame(0x81, most.as_bytes())], &[text(&most)], b"");
    let (first, second) = most.as_bytes().split_at(40_000);
    let frames = [frame(0x01, first), frame(0x00, second), frame(0x80, b"")];
    // The sum starts anew with each message.
    let twice = [frames.clone(), frames].concat();
    assert_heard(&twice, &[text(&most), text(&most)], b"");
    let frames = [frame(0x01, first), frame(0x00, second), frame(0x80, b"x")];
    assert_fails(&frames, MessageTooBig);
    assert_fails(&[frame(0x82, &vec![0; MAX + 1])], MessageTooBig);
}

// Section 10.4: an announced length is judged by the header, before any of the payload.
#[test]
fn a_length_over_the_limit_is_refused_by_its_header() {
    for len in [MAX as u64 + 1, 1 << 32, u64::MAX >> 1] {
        let rest = [&[0xFF][..], &len.to_be_bytes(), &KEY].concat();
        assert_last_byte_fails(&[vec![0x82], rest.clone()].concat(), MessageTooBig);
        // A sum that overflows 63 bits is none that fits.
        let fragments = [frame(0x02, b"a"), vec![0x80], rest];
        assert_last_byte_fails(&fragments.concat(), MessageTooBig);
    }
}

// Section 10.4; DESIGN.md, section 4: 1024, and one more for each 64 bytes of the limit.
#[test]
fn both_sides_of_the_most_fragments() {
    for (max_message_size, most) in [(0, 1024), (127, 1025), (MAX, 2048)] {
        let mut limits = Limits::default();
        limits.max_message_size = max_message_size;
        let hear = |fragments: usize| {
            let between = frame(0x00, b"").repeat(fragments - 2);
            let bytes = [frame(0x01, b""), between, frame(0x80, b"")].concat();
            hear_on(&mut Connection::new(limits), &bytes.repeat(2), IRREGULAR)
        };
        assert_eq!(hear(most).said, [text(""), text("")]);
        assert_eq!(hear(most + 1).error, Some(TooManyFragments));
    }
}
