//! See `src/close_payload.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::close_payload::run(bytes));
