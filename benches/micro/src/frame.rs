//! The frame header, in and out.

use divan::{Bencher, black_box};
use fanfare::protocol::{FrameHeader, MessageKind, Opcode, encode_message};

/// Payloads whose length takes 1, 3 and 9 bytes of the header.
const SIZES: [usize; 3] = [64, 1024, 65_536];

#[divan::bench(args = SIZES)]
fn decode(bencher: Bencher, size: usize) {
    let header = FrameHeader {
        mask: Some([0x37, 0xFA, 0x21, 0x3D]),
        ..FrameHeader::unmasked(Opcode::Text, size)
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    bencher.bench(|| FrameHeader::decode(black_box(&bytes)));
}

#[divan::bench(args = SIZES)]
fn encode(bencher: Bencher, size: usize) {
    let mut bytes = Vec::with_capacity(FrameHeader::MAX_LEN);
    bencher.bench_local(|| {
        bytes.clear();
        FrameHeader::unmasked(black_box(Opcode::Text), black_box(size)).encode(&mut bytes);
        black_box(&bytes);
    });
}

/// What a room's batch grows by: header and payload.
#[divan::bench(args = SIZES)]
fn append_message(bencher: Bencher, size: usize) {
    let payload = vec![b'x'; size];
    let mut batch = Vec::with_capacity(FrameHeader::MAX_LEN + size);
    bencher
        .counter(divan::counter::BytesCount::new(size))
        .bench_local(|| {
            batch.clear();
            encode_message(MessageKind::Text, black_box(&payload), &mut batch);
            black_box(&batch);
        });
}
