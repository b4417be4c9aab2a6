//! What the parts of fanfare cost by themselves, without a socket. See README.md for how to run it.

mod assemble;
mod frame;
mod mask;
mod route;
mod utf8;
mod wheel;

use std::time::Instant;

fn main() {
    divan::main();
}

/// Some instant for hub and wheel to start from.
#[expect(
    clippy::disallowed_methods,
    reason = "only differences matter, and the benchmarks make those"
)]
fn start() -> Instant {
    Instant::now()
}
