//! The binary under faults: what the kernel may answer to a call, what peers and operators may do
//! to it at the worst moment, and what becomes of its log.
//!
//! Each test prints what it measured. Those that take long, or need `strace` or `faketime`, are run
//! by `./test faults`: one after another, in release mode.
#![cfg(all(feature = "cli", target_os = "linux"))]

#[path = "faults/backlog.rs"]
mod backlog;
#[path = "support/process.rs"]
mod binary;
#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/descriptors.rs"]
mod descriptors;
#[path = "faults/errno.rs"]
mod errno;
#[path = "faults/herd.rs"]
mod herd;
#[path = "faults/logs.rs"]
mod logs;
#[path = "loopback/peer.rs"]
#[allow(dead_code, reason = "the loopback tests need the rest")]
mod peer;
#[path = "faults/resets.rs"]
mod resets;
#[path = "faults/stops.rs"]
mod stops;
#[path = "faults/storms.rs"]
mod storms;

use std::time::{Duration, Instant};

use binary::{Process, now};
use peer::Peer;

/// How long a pair may wait for each other while something else goes wrong, on a busy machine.
const MAX_LATENCY: Duration = Duration::from_secs(1);

/// The longest of some times, and the one in the middle.
struct Times(Vec<Duration>);

impl Times {
    fn median(&mut self) -> Duration {
        self.0.sort_unstable();
        self.0[self.0.len() / 2]
    }

    fn max(&self) -> Duration {
        self.0
            .iter()
            .copied()
            .max()
            .expect("something was measured")
    }
}

/// Two clients who talk to each other while others have their troubles.
struct Pair {
    peers: [Peer; 2],
    times: Times,
}

impl Pair {
    fn open(address: std::net::SocketAddr) -> Self {
        Self {
            peers: [(); 2].map(|()| Peer::open(address, "/ws/pair")),
            times: Times(Vec::new()),
        }
    }

    /// One says something, and both hear it, and nothing else.
    fn talk(&mut self) {
        let begun: Instant = now();
        let words = format!("trip {}", self.times.0.len());
        self.peers[0].send_text(&words);
        for peer in &mut self.peers {
            peer.expect_text(&words);
        }
        self.times.0.push(begun.elapsed());
    }

    /// Panics if somebody had to wait.
    fn check(mut self) -> String {
        let (median, max) = (self.times.median(), self.times.max());
        assert!(max < MAX_LATENCY, "a message took {max:?}");
        let count = self.times.0.len();
        format!("{count} messages of a pair: median {median:.1?}, at most {max:.1?}")
    }
}

/// A newcomer is served as if nothing had happened, and leaves nothing behind.
fn check_serves(process: &Process, address: std::net::SocketAddr) {
    let mut peer = Peer::open(address, "/ws/a%20room%20of%20its%20own");
    peer.check_echo();
    let descriptors = process.descriptors();
    peer.send_frame(peer::CLOSE, b"");
    peer.expect_close(1000);
    peer.expect_end();
    drop(peer);
    process.wait_for_descriptors(descriptors - 1);
}

/// Mebibytes, for people.
fn mebibytes(bytes: u64) -> String {
    let tenths = bytes * 10 / (1024 * 1024);
    format!("{}.{}", tenths / 10, tenths % 10)
}
