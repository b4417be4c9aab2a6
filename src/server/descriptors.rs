//! File descriptors: each client is one.

use std::io;

use crate::hub::{MAX_ADMIN, MAX_SURPLUS};

/// Descriptors that are not clients: standard streams, listeners, epoll, the waker, signals, and
/// what a handler may open.
const RESERVED: u64 = 32;

/// Raises the process's limit of file descriptors to its hard value, and returns the limit that is
/// in force then. Meant to be called once, at the start of a program.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// How many connections fit under a limit of file descriptors.
pub fn max_connections_for(descriptor_limit: u64) -> usize {
    let connections = descriptor_limit
        .saturating_sub(RESERVED + MAX_SURPLUS as u64 + MAX_ADMIN as u64)
        .max(1);
    usize::try_from(connections)
        .unwrap_or(usize::MAX)
        .min(u32::MAX as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_descriptors_are_kept_for_other_things() {
        assert_eq!(max_connections_for(20_000), 19_872);
        assert_eq!(max_connections_for(10), 1);
        assert_eq!(max_connections_for(u64::MAX), u32::MAX as usize);
    }
}
