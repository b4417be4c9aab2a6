//! The scenarios, and what they have in common.

mod echo;
mod fanout;

use std::time::Duration;

use crate::clients::{Clients, Plan};
use crate::failure::Failure;
use crate::opening::Door;
use crate::options::{Options, Scenario};
use crate::payload::Payloads;
use crate::process::{Memory, Usage};
use crate::report::{Measured, Report};
use crate::talk::{Limit, expect_silence, talk};

/// What else goes on each turn; it is told the time, and says when it is to be called next.
type Company<'c> = &'c mut dyn FnMut(&mut Clients, u64) -> Result<u64, Failure>;

/// Runs the scenario that the options ask for.
pub fn run(options: &Options) -> Result<Report, Failure> {
    match options.scenario {
        Scenario::Fanout => fanout::run(options),
        Scenario::Echo => echo::run(options),
        _ => Err(Failure("not there yet".to_owned())),
    }
}

/// Connects everybody, lets them speak, and measures: what the scenarios that speak have in common.
fn measure(options: &Options, plans: &[Plan], company: Company) -> Result<Report, Failure> {
    let before = memory(options)?;
    let mut clients = Clients::new(Payloads::new(options.size, options.is_text))?;
    clients.connect(door(options), plans)?;
    let warm_up = Limit {
        duration: options.warm_up,
        messages: u64::MAX,
    };
    talk(&mut clients, options.pace, warm_up, company)?;
    clients.reset();
    let duration = options.messages.map_or(options.seconds, |_| Duration::MAX);
    let limit = Limit {
        duration,
        messages: options.messages.unwrap_or(u64::MAX),
    };
    let start = usage(options)?;
    let nanoseconds = talk(&mut clients, options.pace, limit, company)?;
    let used = usage(options)?.since(&start);
    let after = memory(options)?;
    expect_silence(&mut clients)?;
    Ok(Report::new(
        options,
        &Measured {
            messages: clients.tally.messages,
            deliveries: clients.tally.deliveries,
            nanoseconds,
            used,
            before,
            after,
            latency: Some(&clients.tally.latency),
        },
    ))
}

/// Nobody else is there.
#[expect(clippy::unnecessary_wraps, reason = "others can fail")]
fn nobody(_: &mut Clients, _: u64) -> Result<u64, Failure> {
    Ok(u64::MAX)
}

fn door(options: &Options) -> Door {
    Door {
        address: options.address,
        receive_buffer: None,
    }
}

fn memory(options: &Options) -> Result<Memory, Failure> {
    Memory::read(options.pid).map_err(|error| Failure::of("the server's memory", &error))
}

fn usage(options: &Options) -> Result<Usage, Failure> {
    Usage::read(options.pid).map_err(|error| Failure::of("the server's CPU time", &error))
}

/// The path of a numbered room or client.
fn numbered(path: &str, number: usize) -> String {
    path.replace("{}", &number.to_string())
}
