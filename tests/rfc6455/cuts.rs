//! Section 5: a frame may arrive in pieces of any size, and the pieces must not matter.

use super::*;

const STREAMS: u64 = 5_000;

/// Xorshift (Marsaglia, 2003); the seed must not be 0.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).expect("it is below a usize")
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("it is below 256")
    }

    /// A frame with a key of its own.
    fn frame(&mut self, first_byte: u8, payload: &[u8]) -> Vec<u8> {
        let key = [self.byte(), self.byte(), self.byte(), self.byte()];
        encode(first_byte, Some(key), payload)
    }
}

/// Messages in fragments with Pings among them, a Close, and what should be heard of it.
fn honest_stream(random: &mut Random) -> (Vec<u8>, Heard) {
    let (mut bytes, mut expected) = (Vec::new(), Heard::default());
    for _ in 0..=random.below(4) {
        let len = random.pick(&[0, 1, 5, 40, 125, 126, 300]);
        let letters = (0..len).map(|_| random.pick(&['a', 'é', '€', '𐍈']));
        let message: String = letters.collect();
        let (mut rest, mut opcode) = (message.as_bytes(), 0x1);
        while random.below(2) == 0 {
            let (fragment, later) = rest.split_at(random.below(rest.len() + 1));
            bytes.extend(random.frame(opcode, fragment));
            (opcode, rest) = (0x0, later);
            let payload = vec![random.byte(); random.pick(&[0, 1, 125])];
            bytes.extend(random.frame(0x89, &payload));
            expected.output.extend(answer(0x8A, &payload));
            expected.said.push(Said::Ping);
        }
        bytes.extend(random.frame(0x80 | opcode, rest));
        expected.said.push(Said::Text(message));
    }
    bytes.extend(random.frame(0x88, &close(1000, "")));
    expected.said.push(closed(1000));
    expected.output.extend(echo(1000));
    (bytes, expected)
}

/// One thing goes wrong: a bit, a lost byte, a frame that does not belong, the end.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    let (at, first_byte) = (random.below(bytes.len()), random.byte());
    match random.below(4) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => drop(bytes.remove(at)),
        2 => drop(bytes.splice(at..at, random.frame(first_byte, b"odd"))),
        _ => bytes.truncate(at),
    }
}

#[test]
fn what_is_heard_is_the_same() {
    let mut failed = 0;
    for seed in 1..=STREAMS {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (mut bytes, expected) = honest_stream(&mut random);
        for cuts in ALL_CUTS {
            assert_eq!(hear(&bytes, cuts), expected, "seed {seed}, {cuts:?}");
        }
        damage(&mut random, &mut bytes);
        let whole = hear(&bytes, WHOLE);
        failed += u64::from(whole.error.is_some());
        let irregular: Vec<usize> = (0..20).map(|_| random.below(30)).chain([1]).collect();
        for cuts in [BYTEWISE, IRREGULAR, &irregular] {
            assert_eq!(hear(&bytes, cuts), whole, "seed {seed}, {cuts:?}");
        }
    }
    let share = failed * 100 / STREAMS;
    assert!((30..70).contains(&share), "{share} % of the streams failed");
}
