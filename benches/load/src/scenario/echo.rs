//! Everybody hears itself alone.

use super::{measure, nobody, numbered};
use crate::clients::Plan;
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
    measure(options, &plans, &mut nobody)
}
