//! A connection's input: from frames to messages.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use fanfare::Limits;
use fanfare::protocol::Opcode;
use fanfare::protocol::{Connection, Event, FrameHeader, Input, MessageKind, unmask};

/// Bytes that a loop reads at once.
const READ: usize = 64 * 1024;

/// A payload, cut into so many frames.
#[derive(Clone, Copy)]
struct Case {
    kind: MessageKind,
    size: usize,
    fragments: usize,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {} in {}", self.kind, self.size, self.fragments)
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let sizes = [
        (64, 1),
        (64, 4),
        (16 * 1024, 1),
        (16 * 1024, 16),
        (1 << 20, 1),
        (1 << 20, 64),
    ];
    sizes.into_iter().flat_map(|(size, fragments)| {
        [MessageKind::Binary, MessageKind::Text].map(|kind| Case {
            kind,
            size,
            fragments,
        })
    })
}

/// One message, in reads of 64 KiB. What is timed includes the copy of what is read, as a kernel
/// would make it.
#[divan::bench(args = cases())]
fn receive(bencher: Bencher, case: Case) {
    let bytes = frames(case);
    let mut limits = Limits::default();
    limits.max_message_size = 1 << 20;
    let mut connection = Connection::new(limits);
    let (mut buffer, mut output) = (vec![0; READ], Vec::new());
    bencher.counter(BytesCount::new(case.size)).bench_local(|| {
        let mut messages = 0;
        for read in bytes.chunks(READ) {
            let buffer = &mut buffer[..read.len()];
            buffer.copy_from_slice(read);
            let mut input = Input::new(buffer);
            while let Ok(Some(event)) = connection.receive(&mut input, &mut output) {
                messages += usize::from(matches!(black_box(event), Event::Message(_)));
            }
        }
        assert_eq!(messages, 1, "it is one message");
    });
}

/// What is read for a message.
fn frames(case: Case) -> Vec<u8> {
    let key = [0x37, 0xFA, 0x21, 0x3D];
    let payload = vec![b'x'; case.size];
    let mut bytes = Vec::new();
    let chunks = payload.chunks(case.size / case.fragments);
    let count = chunks.len();
    for (index, chunk) in chunks.enumerate() {
        let opcode = if index == 0 {
            case.kind.opcode()
        } else {
            Opcode::Continuation
        };
        let header = FrameHeader {
            fin: index + 1 == count,
            mask: Some(key),
            ..FrameHeader::unmasked(opcode, chunk.len())
        };
        header.encode(&mut bytes);
        let start = bytes.len();
        bytes.extend_from_slice(chunk);
        unmask(&mut bytes[start..], key, 0);
    }
    bytes
}
