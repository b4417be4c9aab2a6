//! Unmasking, and what the same bytes cost at the least: a copy, and an exclusive or with one byte.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use fanfare::protocol::unmask;

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

const SIZES: [usize; 12] = [
    1,
    4,
    7,
    16,
    64,
    125,
    256,
    1024,
    4096,
    16 * 1024,
    64 * 1024,
    1024 * 1024,
];

/// A payload of one size at one distance from a word's boundary.
#[derive(Clone, Copy)]
struct Place {
    size: usize,
    start: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.size, self.start)
    }
}

fn places() -> impl Iterator<Item = Place> {
    [64, 1024, 64 * 1024]
        .into_iter()
        .flat_map(|size| (0..8).map(move |start| Place { size, start }))
}

/// A buffer whose first byte is at the boundary of a word.
fn aligned(len: usize) -> Box<[u64]> {
    vec![0x6162_6364_6566_6768; len.div_ceil(8) + 1].into_boxed_slice()
}

#[divan::bench(args = SIZES)]
fn ours(bencher: Bencher, size: usize) {
    let mut bytes = vec![b'x'; size];
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| unmask(black_box(&mut bytes), black_box(KEY), 0));
}

/// The same at every alignment, one payload of a read after the other: to change bytes twice in a
/// row that cross a cache line would make the second time wait for the first.
#[divan::bench(args = places())]
fn ours_unaligned(bencher: Bencher, place: Place) {
    const READ: usize = 64 * 1024;

    let stride = (place.size + 16).next_multiple_of(8);
    let count = (READ / stride).max(2);
    let mut buffer = vec![b'x'; count * stride + 16];
    let boundary = buffer.as_ptr().align_offset(8);
    let mut next = 0;
    bencher
        .counter(BytesCount::new(place.size))
        .bench_local(|| {
            let at = boundary + next * stride + place.start;
            next = if next + 1 == count { 0 } else { next + 1 };
            unmask(
                black_box(&mut buffer[at..at + place.size]),
                black_box(KEY),
                0,
            );
        });
}

#[divan::bench(args = SIZES)]
fn copy(bencher: Bencher, size: usize) {
    let from = vec![b'x'; size];
    let mut to = vec![0; size];
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| black_box(&mut to[..]).copy_from_slice(black_box(&from)));
}

#[divan::bench(args = SIZES)]
fn xor_of_one_byte(bencher: Bencher, size: usize) {
    let mut bytes = vec![b'x'; size];
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        let key = black_box(0x37);
        for byte in black_box(&mut bytes[..]) {
            *byte ^= key;
        }
    });
}

/// Words in place, which no payload is: as fast as memory allows.
#[divan::bench(args = SIZES)]
fn xor_of_aligned_words(bencher: Bencher, size: usize) {
    let mut words = aligned(size);
    let words = &mut words[..size.div_ceil(8)];
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        let key = black_box(0x3721_FA3D_3721_FA3D);
        for word in black_box(&mut words[..]) {
            *word ^= key;
        }
    });
}
