//! One room: everybody hears everything.

use super::{measure, nobody};
use crate::clients::Plan;
use crate::failure::Failure;
use crate::options::Options;
use crate::report::Report;

pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    measure(options, &[room(options)], &mut nobody)
}

/// The one room.
pub(super) fn room(options: &Options) -> Plan {
    Plan {
        path: options.path.clone(),
        members: options.clients,
        publishers: options.publishers,
    }
}
