//! One room: everybody hears everything.

use super::{Nobody, measure};
use crate::connect::Plan;
use crate::failure::Failure;
use crate::options::Options;
use crate::report::Report;

pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    measure(options, options.pace, &[room(options)], &mut Nobody)
}

/// The one room.
pub(super) fn room(options: &Options) -> Plan {
    Plan {
        path: options.path.clone(),
        members: options.clients,
        publishers: options.publishers,
    }
}
