//! As many clients as there are descriptors for.

use fanfare::server::{max_connections_for, raise_descriptor_limit};
use log::warn;

use crate::config::Settings;

/// Raises the descriptor limit as far as it goes, and says how far that was.
pub(crate) fn raise_limit() -> Option<u64> {
    let limit = raise_descriptor_limit();
    limit
        .inspect_err(|error| warn!("cannot raise the descriptor limit: {error}"))
        .ok()
}

/// Settles how many clients there may be: as many as were asked for, or as there are descriptors
/// for.
pub(crate) fn settle_max_connections(settings: &mut Settings, descriptor_limit: Option<u64>) {
    let possible = descriptor_limit.map(max_connections_for);
    if let (Some(asked), Some(possible)) = (settings.max_connections, possible) {
        if asked > possible {
            warn!(
                "max_connections={asked} but descriptors for {possible}: raise the hard limit \
                 (ulimit -Hn, LimitNOFILE=)"
            );
        }
    }
    if let Some(max) = settings.max_connections.or(possible) {
        settings.server.hub.max_connections = max;
    }
}
