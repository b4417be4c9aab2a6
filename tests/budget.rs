//! What a message costs in counts that no noise touches: allocations, instructions, system calls.
//! Each is compared with the figure that is stored for it, in `perf/budget`.
//!
//! Those that need `valgrind` or `strace` are run by `./test budget`: in release mode, one after
//! another, on Linux.
#![cfg(all(feature = "cli", target_os = "linux"))]

#[path = "budget/allocations.rs"]
mod allocations;
#[path = "budget/calls.rs"]
mod calls;
#[path = "budget/instructions.rs"]
mod instructions;
#[path = "loopback/peer.rs"]
#[allow(dead_code, reason = "the loopback tests need the rest")]
mod peer;
#[path = "budget/record.rs"]
mod record;
#[path = "budget/stage.rs"]
mod stage;
mod support;
#[path = "support/trace.rs"]
mod trace;
