//! Nobody speaks: what a client costs that is merely there. Pings are answered.

use super::{door, memory, usage};
use crate::clients::Clients;
use crate::connect::Plan;
use crate::failure::Failure;
use crate::options::Options;
use crate::payload::{Payloads, STAMP};
use crate::report::{Measured, Report, Value};

const MINUTE_NS: f64 = 60e9;

pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let before = memory(options)?;
    let mut clients = Clients::new(Payloads::new(STAMP, options.is_text))?;
    let room = Plan {
        path: options.path.clone(),
        members: options.clients,
        publishers: 0,
    };
    clients.connect(door(options), &[room])?;
    // What is left to do after the last handshake is none of the idleness.
    wait(&mut clients, options.warm_up.as_nanos())?;
    let start = usage(options)?;
    let began = clients.clock.now();
    wait(&mut clients, options.seconds.as_nanos())?;
    let nanoseconds = clients.clock.now() - began;
    let used = usage(options)?.since(&start);
    let after = memory(options)?;
    let mut report = Report::new(
        options,
        &Measured {
            messages: 0,
            deliveries: 0,
            nanoseconds,
            used,
            before,
            after,
            latency: None,
        },
    );
    let count = options.clients as f64;
    let each = |kib: u64, before: u64| (kib as f64 - before as f64) * 1024.0 / count;
    let rss = each(after.rss_kib, before.rss_kib);
    let pss = each(after.pss_kib, before.pss_kib);
    let minutes = nanoseconds as f64 / MINUTE_NS;
    let cpu = used.cpu_ns as f64 / count / minutes;
    report.add("rss_bytes_per_client", Value::Number(rss));
    report.add("pss_bytes_per_client", Value::Number(pss));
    report.add("cpu_ns_per_client_and_minute", Value::Number(cpu));
    Ok(report)
}

/// Lets the time pass; a client that is closed fails the run.
fn wait(clients: &mut Clients, nanoseconds: u128) -> Result<(), Failure> {
    let now = clients.clock.now();
    let end = now.saturating_add(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
    while clients.clock.now() < end {
        clients.turn(end)?;
    }
    Ok(())
}
