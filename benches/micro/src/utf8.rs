//! The check of text: ours, std's, which ours stands on, and simdutf8's.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use fanfare::protocol::Utf8Validator;

const SIZES: [usize; 3] = [64, 1024, 64 * 1024];

const WORDS: [(&str, &str); 4] = [
    ("ASCII", "The quick brown fox jumps over the lazy dog. "),
    ("mixed", "Der Zoë naïveté kostet 5 € – über 20 Größen. "),
    ("CJK", "敏捷的棕色狐狸跳过了懒狗。素早い茶色の狐。"),
    ("emoji", "🦊🐕👋🌍🎉😀🚀🔥"),
];

/// A text of about one size.
#[derive(Clone)]
struct Text {
    name: &'static str,
    size: usize,
    words: String,
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.size)
    }
}

fn texts() -> impl Iterator<Item = Text> {
    WORDS.into_iter().flat_map(|(name, words)| {
        SIZES.into_iter().map(move |size| {
            let mut text = String::new();
            let mut characters = words.chars().cycle();
            while text.len() < size {
                text.extend(characters.next());
            }
            Text {
                name,
                size,
                words: text,
            }
        })
    })
}

#[divan::bench(args = texts())]
fn ours(bencher: Bencher, text: &Text) {
    let bytes = text.words.as_bytes();
    bencher.counter(BytesCount::new(bytes.len())).bench(|| {
        let mut validator = Utf8Validator::default();
        validator.push(black_box(bytes)).is_ok() && validator.is_complete()
    });
}

#[divan::bench(args = texts())]
fn std(bencher: Bencher, text: &Text) {
    let bytes = text.words.as_bytes();
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| std::str::from_utf8(black_box(bytes)).is_ok());
}

#[divan::bench(args = texts())]
fn simdutf8_basic(bencher: Bencher, text: &Text) {
    let bytes = text.words.as_bytes();
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| simdutf8::basic::from_utf8(black_box(bytes)).is_ok());
}

/// The one that tells where a text goes wrong, and so could stand in for std's.
#[divan::bench(args = texts())]
fn simdutf8_compat(bencher: Bencher, text: &Text) {
    let bytes = text.words.as_bytes();
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| simdutf8::compat::from_utf8(black_box(bytes)).is_ok());
}
