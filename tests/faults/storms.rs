//! Thousands who come and go at once.

use std::time::Duration;

use crate::binary::Process;
use crate::herd::Herd;
use crate::{check_serves, mebibytes};

/// What 5000 clients leave behind must be nothing.
#[test]
#[ignore = "50,000 connections: run by ./test faults"]
fn storms_of_connections_that_are_reset_leave_nothing_behind() {
    const CLIENTS: usize = 5000;
    const STORMS: usize = 10;
    /// The tables keep a place for as many clients as there have been: some hundred bytes each.
    const MAX_TABLES: u64 = 6 * 1024 * 1024;

    let (mut process, address) = Process::serve("", &[]);
    check_serves(&process, address);
    let figures = || (process.descriptors(), process.memory("VmRSS:"));
    let (descriptors, memory) = figures();
    let (mut after_first, mut after_last) = (0, 0);
    for storm in 0..STORMS {
        // In turns: silent ones, such as have sent half of a head, and such as are open.
        let says: &[u8] = match storm % 3 {
            0 => b"",
            1 => b"GET /ws HTTP/1.1\r\nHost: te",
            _ => {
                b"GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            }
        };
        let mut herd = Herd::connect(CLIENTS, address, says);
        herd.turn_until(Duration::from_secs(60), |herd| herd.connected == CLIENTS);
        herd.reset();
        process.wait_for_descriptors(descriptors);
        let (_, memory) = figures();
        if storm == 2 {
            after_first = memory;
        }
        after_last = memory;
    }
    check_serves(&process, address);
    let (descriptors_after, memory_after) = figures();
    println!(
        "{CLIENTS} connections reset, {STORMS} times: descriptors {descriptors} -> \
         {descriptors_after}, RSS {} -> {} MiB ({} after the first of each kind)",
        mebibytes(memory),
        mebibytes(memory_after),
        mebibytes(after_first),
    );
    assert_eq!(descriptors_after, descriptors);
    assert!(memory_after <= memory * 13 / 10 + MAX_TABLES);
    // A leak of 100 bytes a connection would be half as much again.
    assert!(
        after_last <= after_first * 13 / 10,
        "it grows with each storm"
    );
    process.stop();
}
