//! See `src/http_head.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::http_head::run(bytes));
