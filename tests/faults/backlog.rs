//! More connections than the listener's queue holds.

use std::fs;
use std::time::Duration;

use crate::binary::{Process, now};
use crate::check_serves;
use crate::herd::Herd;

const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What the server asks for.
const BACKLOG: usize = 4096;

/// Who has been queued must be served, and so must who finds the queue full and tries again.
#[test]
#[ignore = "5000 clients, some of whom wait for seconds: run by ./test faults"]
fn a_backlog_that_overflows_is_served_in_the_end() {
    const CLIENTS: usize = 5000;

    let (mut process, address) = Process::serve("", &[]);
    check_serves(&process, address);
    process.signal("STOP");
    let begun = now();
    let mut herd = Herd::connect(CLIENTS, address, UPGRADE);
    // Until the kernel has had enough.
    while herd.turn(Duration::from_millis(200)) {}
    let queued = herd.connected;
    assert_eq!(herd.answered, 0);
    process.signal("CONT");
    herd.turn_until(Duration::from_secs(60), |herd| herd.answered >= queued);
    let first = begun.elapsed();
    herd.turn_until(Duration::from_secs(60), |herd| herd.answered == CLIENTS);
    println!(
        "{CLIENTS} connect to a stopped server: {queued} were queued, and answered {first:.1?} \
         after the first call; the last was {:.1?} after it",
        begun.elapsed()
    );
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux has it");
    let expected = BACKLOG.min(most.trim().parse().expect("a number"));
    assert!(
        (expected..CLIENTS).contains(&queued),
        "{queued} were queued"
    );
    check_serves(&process, address);
    drop(herd);
    process.stop();
}
