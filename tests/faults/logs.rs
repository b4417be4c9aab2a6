//! Nobody reads the log, or it cannot be written.

use std::net::SocketAddr;
use std::time::Duration;

use crate::binary::{Process, now};
use crate::peer::Peer;
use crate::{Pair, check_serves, mebibytes};

/// How long an end may take although the log is stuck: the second that it is given, and some more
/// on a busy machine.
const MAX_END: Duration = Duration::from_secs(3);

/// The most that the log may hold: a queue, as much in the writer's hands, and change.
const MAX_HELD: u64 = 2 * 1024 * 1024;

/// Lets so many clients come and go, at four lines each and more, while a pair talks.
fn chatter(process: &Process, address: SocketAddr, clients: usize) -> String {
    let mut pair = Pair::open(address);
    for i in 0..clients {
        let mut peer = Peer::connect(address);
        peer.send("GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n");
        let head = peer.read_head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        if i % 20 == 0 {
            pair.talk();
        }
    }
    check_serves(process, address);
    pair.check()
}

/// What the server does when nobody wants anything: nothing.
fn check_rests(process: &Process) -> Duration {
    const WATCHED: Duration = Duration::from_millis(500);

    let (begun, before) = (now(), process.cpu_time());
    process.wait_for("over", WATCHED * 10, || {
        (begun.elapsed() >= WATCHED).then_some(()).ok_or("not yet")
    });
    let used = process.cpu_time().saturating_sub(before);
    assert!(used <= WATCHED / 5, "{used:?} of CPU time in {WATCHED:?}");
    used
}

#[test]
fn a_stuck_log_holds_up_nobody_and_tells_what_it_misses() {
    const CLIENTS: usize = 4000;

    let trace = "export RUST_LOG=trace;";
    let (mut process, stderr, address) = Process::inherit(trace, &[]);
    check_serves(&process, address);
    let before = process.memory("VmRSS:");
    let talk = chatter(&process, address, CLIENTS);
    let after = process.memory("VmRSS:");
    let used = check_rests(&process);
    // The reader comes back. Behind the gap every line is there again.
    process.read(stderr);
    let mut lines = vec![process.line("listening on http://")];
    let notice = process.line("log lines dropped: ");
    let (_, dropped) = notice.rsplit_once(' ').expect("it was looked for");
    let dropped: u64 = dropped.parse().expect("a number at the end");
    assert!(notice.contains(" WARN  "), "{notice}");
    check_serves(&process, address);
    lines.push(process.line(" open id="));
    let end = process.stop();
    lines.extend(process.lines.iter());
    // No line is cut, or begins within another.
    for line in &lines {
        let (stamp, rest) = line.split_once(' ').expect("a stamp and the rest");
        let is_stamp = stamp.len() == 20 && stamp.starts_with("20") && stamp.ends_with('Z');
        let levels = ["WARN  ", "INFO  ", "DEBUG ", "TRACE "];
        assert!(
            is_stamp && levels.iter().any(|level| rest.starts_with(level)),
            "{line}"
        );
    }
    assert!(
        lines
            .last()
            .is_some_and(|line| line.contains(" stopped outcome=drained left=0 "))
    );
    println!(
        "stderr full, RUST_LOG=trace, {CLIENTS} clients: {talk}; RSS {} -> {} MiB; {used:?} of CPU \
         time at rest; {dropped} lines dropped, and told so; end {end:.1?}",
        mebibytes(before),
        mebibytes(after),
    );
    assert!(after <= before + MAX_HELD);
}

#[test]
fn a_stuck_log_does_not_hold_up_the_end() {
    let trace = "export RUST_LOG=trace;";
    let (mut process, stderr, address) = Process::inherit(trace, &[]);
    let talk = chatter(&process, address, 1000);
    let end = process.stop();
    println!("stderr full to the end: {talk}; exit 0 after {end:.1?}");
    assert!(end <= MAX_END);
    drop(stderr);
}

#[test]
fn a_log_that_cannot_be_written_is_no_fault() {
    const CLIENTS: usize = 500;

    for (name, before) in [
        ("stderr closed", "exec 2>&-;"),
        ("stderr is /dev/full", "exec 2>/dev/full;"),
        ("stderr is a pipe without a reader", ""),
    ] {
        let before = format!("export RUST_LOG=trace; {before}");
        let (mut process, stderr, address) = Process::inherit(&before, &[]);
        drop(stderr);
        check_serves(&process, address);
        let memory = process.memory("VmRSS:");
        let talk = chatter(&process, address, CLIENTS);
        let used = check_rests(&process);
        let after = process.memory("VmRSS:");
        let end = process.stop();
        println!(
            "{name}, {CLIENTS} clients: {talk}; RSS {} -> {} MiB; {used:?} of CPU time at rest; \
             exit 0 after {end:.1?}",
            mebibytes(memory),
            mebibytes(after)
        );
        assert!(after <= memory + MAX_HELD);
        // Nothing is left that could be waited for.
        assert!(end <= MAX_END);
    }
}
