//! The scenarios, and what they have in common.

mod churn;
mod echo;
mod fanout;
mod handshake;
mod idle;
mod rooms;
mod slow;

use std::time::Duration;

use crate::clients::Clients;
use crate::connect::Plan;
use crate::failure::Failure;
use crate::opening::Door;
use crate::options::{Options, Pace, Scenario};
use crate::payload::Payloads;
use crate::process::{Memory, Usage};
use crate::report::{Measured, Report};
use crate::talk::{Limit, expect_silence, talk};

/// Others who are there while the members of the rooms talk.
pub trait Company {
    /// Called once, when the members are connected.
    fn join(&mut self, _clients: &mut Clients) -> Result<(), Failure> {
        Ok(())
    }

    /// Called once, when the warm-up is over.
    fn begin(&mut self) {}

    /// Called each turn with the time; says when it is to be called next.
    fn turn(&mut self, _clients: &mut Clients, _now: u64) -> Result<u64, Failure> {
        Ok(u64::MAX)
    }

    /// Called once, at the end: adds what there is to say of them.
    fn report(&self, _report: &mut Report) {}
}

/// Nobody else.
struct Nobody;

impl Company for Nobody {}

/// Runs the scenario that the options ask for.
pub fn run(options: &Options) -> Result<Report, Failure> {
    match options.scenario {
        Scenario::Fanout => fanout::run(options),
        Scenario::Echo => echo::run(options),
        Scenario::Idle => idle::run(options),
        Scenario::Slow => slow::run(options),
        Scenario::Churn => churn::run(options),
        Scenario::Handshake => handshake::run(options),
        Scenario::Rooms => rooms::run(options),
    }
}

/// Connects everybody, lets them speak, and measures: what the scenarios that speak have in common.
fn measure(
    options: &Options,
    pace: Pace,
    plans: &[Plan],
    company: &mut dyn Company,
) -> Result<Report, Failure> {
    let before = memory(options)?;
    let mut clients = Clients::new(Payloads::new(options.size, options.is_text))?;
    clients.connect(door(options), plans)?;
    company.join(&mut clients)?;
    let warm_up = Limit {
        duration: options.warm_up,
        messages: u64::MAX,
    };
    talk(&mut clients, pace, warm_up, company)?;
    clients.tally.reset();
    company.begin();
    let limit = Limit {
        duration: options.messages.map_or(options.seconds, |_| Duration::MAX),
        messages: options.messages.unwrap_or(u64::MAX),
    };
    let start = usage(options)?;
    let nanoseconds = talk(&mut clients, pace, limit, company)?;
    let used = usage(options)?.since(&start);
    let after = memory(options)?;
    expect_silence(&mut clients, company)?;
    let mut report = Report::new(
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
    );
    company.report(&mut report);
    Ok(report)
}

fn door(options: &Options) -> Door<'_> {
    Door {
        addresses: &options.addresses,
        receive_buffer: None,
    }
}

fn memory(options: &Options) -> Result<Memory, Failure> {
    Memory::read(&options.pids).map_err(|error| Failure::of("the server's memory", &error))
}

fn usage(options: &Options) -> Result<Usage, Failure> {
    Usage::read(&options.pids).map_err(|error| Failure::of("the server's CPU time", &error))
}

/// The path of a numbered room or client.
fn numbered(path: &str, number: usize) -> String {
    path.replace("{}", &number.to_string())
}
