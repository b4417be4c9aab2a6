//! Many small rooms: what is said in one is heard in no other.

use super::{Nobody, measure, numbered};
use crate::connect::Plan;
use crate::failure::Failure;
use crate::options::{Options, Pace};
use crate::report::{Report, Value};

pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let room = |number| Plan {
        path: numbered(&options.path, number),
        members: options.members,
        publishers: 1,
    };
    let plans: Vec<Plan> = (0..options.rooms).map(room).collect();
    let pace = match options.pace {
        // The rate is one room's, and the publishers take turns.
        Pace::Rate(rate) => Pace::Rate(rate * options.rooms as f64),
        other => other,
    };
    let mut report = measure(options, pace, &plans, &mut Nobody)?;
    report.add("rooms", Value::Count(options.rooms as u64));
    report.add("members", Value::Count(options.members as u64));
    Ok(report)
}
