//! Client-to-server masking: RFC 6455, section 5.3.

/// Masks or unmasks `payload` in place, a word at a time.
///
/// `offset` is the position of `payload[0]` within the frame's payload: the part of a frame that
/// arrives in a second piece starts in the middle of the masking key.
pub fn unmask(payload: &mut [u8], key: [u8; 4], offset: usize) {
    const WORD: usize = size_of::<u64>();

    let mut key = key;
    key.rotate_left(offset % 4);
    let [a, b, c, d] = key;
    let word_key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);

    let mut words = payload.chunks_exact_mut(WORD);
    for chunk in &mut words {
        let mut word = [0; WORD];
        word.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ word_key).to_ne_bytes());
    }
    // A word is two keys long, so the rest starts at the key's first byte again.
    for (byte, key) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 6455, section 5.7: "Hello" masked with 37 fa 21 3d.
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        unmask(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn every_length_offset_and_alignment_equals_the_byte_loop() {
        let key = [0x12, 0x34, 0x56, 0x78];
        // Miri looks at fewer lengths: two words and what does not fill a third.
        let len = if cfg!(miri) { 24 } else { 96 };
        let bytes: Vec<u8> = (0..len).map(|i: u8| i.wrapping_mul(37)).collect();
        for start in 0..9 {
            for end in start..bytes.len() {
                for offset in [0, 1, 2, 3, 4, 5, 1_000_003] {
                    let mut fast = bytes.clone();
                    unmask(&mut fast[start..end], key, offset);
                    let mut slow = bytes.clone();
                    for (i, byte) in slow[start..end].iter_mut().enumerate() {
                        *byte ^= key[(offset + i) % 4];
                    }
                    assert_eq!(fast, slow, "{start}..{end} at {offset}");
                }
            }
        }
    }
}
