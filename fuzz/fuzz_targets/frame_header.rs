//! See `src/frame_header.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::frame_header::run(bytes));
