//! See `src/connection.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::connection::run(bytes));
