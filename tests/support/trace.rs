//! What `strace` has noted of a server.
#![allow(dead_code, reason = "each test binary needs a part of it")]

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::{Deadline, Server};

/// How long the server may take to come to rest, under `strace`.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits until the server waits, and returns what it has done up to there.
pub(crate) fn trace_at_rest(server: &Server) -> String {
    let deadline = Deadline::new("the server waits", LIMIT);
    let mut before = String::new();
    loop {
        let trace = server.trace();
        if trace == before && is_at_rest(&trace) {
            return trace;
        }
        before = trace;
        let pause = deadline.left().min(Duration::from_millis(50));
        let _ = server.stderr.recv_timeout(pause);
    }
}

/// Whether the last that each thread has done is to wait: the loop for events, the log's writer for
/// lines.
fn is_at_rest(trace: &str) -> bool {
    let mut last = BTreeMap::new();
    for line in trace.lines() {
        if let Some((thread, call)) = line.split_once(' ') {
            last.insert(thread, call.trim_start());
        }
    }
    // A call that has not returned has no result.
    let is_waiting = |call: &&str| !call.contains(" = ");
    let waits: Vec<&str> = last.into_values().filter(is_waiting).collect();
    waits.len() == 2
        && waits.iter().any(|call| call.starts_with("epoll_"))
        && waits.iter().any(|call| call.starts_with("futex("))
}

/// The names of the system calls in a part of a trace, in their order.
pub(crate) fn calls(trace: &str) -> impl Iterator<Item = &str> {
    // `4711 sendto(7, …`, and not `4711 <... sendto resumed>` or `+++ exited`.
    trace.lines().filter_map(|line| {
        let (_pid, call) = line.split_once(' ')?;
        let (name, _) = call.trim_start().split_once('(')?;
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        name.bytes().all(is_name_byte).then_some(name)
    })
}
