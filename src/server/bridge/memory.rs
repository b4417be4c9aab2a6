//! What the backplane and its sockets may hold at worst.

use super::link::Link;
use super::resolver::{MAX_LOOKUPS, THREAD_BYTES};
use super::{BackplaneConfig, MAX_LINKS};
use crate::hub::{ClientId, HubConfig, MAX_SURPLUS, MemoryPart, MemoryScope};

/// A table that grows has room for as much again as is in it.
const SLACK: usize = 2;

/// What the backplane and its sockets may hold at worst, part by part.
pub(in crate::server) fn worst_case_memory(
    hub: &HubConfig,
    backplane: &BackplaneConfig,
) -> Vec<MemoryPart> {
    let server = |what, bytes, count| MemoryPart::new(MemoryScope::Server, what, bytes, count);
    let holdings = backplane.worst_case_memory().into_iter();
    let mut parts: Vec<MemoryPart> = holdings
        .map(|holding| server(holding.what, holding.bytes_each, holding.count))
        .collect();
    let clients = hub.max_connections.saturating_add(MAX_SURPLUS);
    parts.extend([
        MemoryPart::new(
            MemoryScope::Client,
            "list of those who are not read",
            SLACK * size_of::<ClientId>(),
            clients,
        ),
        server(
            "sockets to Redis",
            MAX_LINKS * SLACK * size_of::<Option<Link>>(),
            1,
        ),
        server("said in one turn, to relay", hub.relayed_bytes(), 1),
        server("name that is looked up", THREAD_BYTES, MAX_LOOKUPS),
    ]);
    #[cfg(feature = "tls")]
    if backplane.tls {
        let bytes = crate::server::tls::STREAM_BYTES;
        parts.push(server("TLS to Redis", bytes, MAX_LINKS));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> Vec<MemoryPart> {
        let backplane: BackplaneConfig = url.parse().unwrap();
        worst_case_memory(&HubConfig::default(), &backplane)
    }

    fn part(parts: &[MemoryPart], what: &str) -> MemoryPart {
        *parts.iter().find(|part| part.what == what).unwrap()
    }

    #[test]
    fn lists_and_threads_count_too() {
        let parts = parts("redis://h");
        let list = part(&parts, "list of those who are not read");
        assert_eq!(list.scope, MemoryScope::Client);
        assert!(list.count > HubConfig::default().max_connections);
        let threads = part(&parts, "name that is looked up");
        assert_eq!(threads.bytes(), MAX_LOOKUPS * (2 << 20));
    }

    /// Each link is encrypted both ways, and that is no small thing.
    #[cfg(feature = "tls")]
    #[test]
    fn links_that_speak_tls_count_with_their_buffers() {
        let tls = part(&parts("rediss://h"), "TLS to Redis");
        assert_eq!(tls.count, MAX_LINKS);
        assert!(tls.bytes_each > 256 * 1024, "{}", tls.bytes_each);
        let plain = parts("redis://h");
        assert!(plain.iter().all(|part| part.what != "TLS to Redis"));
    }
}
