//! See `src/utf8.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::utf8::run(bytes));
