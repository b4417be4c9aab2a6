//! See `src/connection_vs_tungstenite.rs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_fuzz::connection_vs_tungstenite::run(bytes));
