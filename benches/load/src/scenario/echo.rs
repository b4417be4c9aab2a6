//! Everybody hears itself alone.

use super::{Nobody, measure, numbered};
use crate::connect::Plan;
use crate::failure::Failure;
use crate::options::Options;
use crate::report::Report;

pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let alone = |number| Plan {
        path: numbered(&options.path, number),
        members: 1,
        publishers: 1,
    };
    let plans: Vec<Plan> = (0..options.clients).map(alone).collect();
    measure(options, options.pace, &plans, &mut Nobody)
}
