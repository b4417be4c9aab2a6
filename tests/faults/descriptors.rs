//! No descriptor is left for who wants to come in.

use std::io::ErrorKind;
use std::time::Duration;

use crate::Times;
use crate::binary::{Process, now};
use crate::peer::{DEADLINE, Peer, upgrade};

/// No event tells that there is a descriptor again; looking for one all the time would be to spin.
#[test]
#[ignore = "watches the CPU time for seconds: run by ./test faults"]
fn at_the_limit_of_descriptors_the_server_rests_and_accepts_again_at_once() {
    const CLIENTS: usize = 80;
    const WATCHED: Duration = Duration::from_secs(3);
    const MAX_CPU: Duration = Duration::from_millis(150);
    const MAX_MEDIAN: Duration = Duration::from_millis(200);

    // Both limits, since the server raises the soft one to the hard one.
    let (mut process, address) = Process::serve("ulimit -n 64;", &["--max-connections", "1000"]);
    let mut waiting: Vec<Peer> = (0..CLIENTS)
        .map(|_| {
            let mut client = Peer::connect(address);
            client.send(upgrade("/ws"));
            client
        })
        .collect();
    process.line("cannot accept");
    waiting.reverse();
    let mut served = Vec::new();
    // 1. Those who fit in are served, and nothing else is done for the rest.
    while let Some(mut client) = waiting.pop() {
        client.set_patience(Duration::from_millis(500));
        if let Err(error) = client.stream.peek(&mut [0]) {
            let is_timeout = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
            assert!(is_timeout.contains(&error.kind()), "{error}");
            waiting.push(client);
            break;
        }
        client.set_patience(DEADLINE);
        client.expect_upgrade();
        served.push(client);
    }
    let fitting = served.len();
    assert!((30..64).contains(&fitting), "{fitting} were served");
    let (begun, before) = (now(), process.cpu_time());
    let mut warnings = 0;
    while let Some(left) = WATCHED.checked_sub(begun.elapsed()) {
        warnings += usize::from(process.lines.recv_timeout(left).is_ok());
    }
    let used = process.cpu_time().saturating_sub(before);
    // 2. Whenever one leaves, the next is served.
    let mut times = Times(Vec::new());
    while let Some(mut next) = waiting.pop() {
        next.set_patience(DEADLINE);
        let begun = now();
        drop(served.swap_remove(0));
        next.expect_upgrade();
        times.0.push(begun.elapsed());
        served.push(next);
    }
    println!(
        "at the limit of 64 descriptors with {fitting} of {CLIENTS} served: {used:?} of CPU time \
         and {warnings} warnings in {WATCHED:?}; then a place was filled within {:.1?} (median), \
         {:.1?} (at most)",
        times.median(),
        times.max()
    );
    assert!(used <= MAX_CPU);
    assert!((1..=4).contains(&warnings));
    assert!(times.median() <= MAX_MEDIAN);
    served.pop().expect("somebody is there").check_echo();
    drop(served);
    process.stop();
}
