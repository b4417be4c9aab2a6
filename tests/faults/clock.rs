//! Somebody sets the machine's clock.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::binary::{Process, now};
use crate::check_serves;
use crate::peer::{PING, PONG, Peer};

/// Deadlines are monotonic: only the log's stamps may follow a clock that is stepped.
#[test]
#[ignore = "faketime: run by ./test faults"]
fn a_clock_that_is_stepped_moves_the_stamps_of_the_log_alone() {
    const STEPS: [(&str, i32); 4] = [("+365d", 1), ("-365d", -1), ("-3650d", -10), ("+0", 0)];

    let clock = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("faults-clock");
    // Written aside and renamed, for it to be read at any time.
    let step = |by: &str| {
        let aside = clock.with_extension("new");
        fs::write(&aside, by).expect("the folder is ours");
        fs::rename(&aside, &clock).expect("the folder is ours");
    };
    step("+0");
    let before = format!(
        "LD_PRELOAD=$(find /usr/lib -name libfaketime.so.1 | head -n 1); [ \"$LD_PRELOAD\" ] || \
         {{ echo libfaketime is missing: apt-get install faketime >&2; exit 1; }}; \
         export LD_PRELOAD FAKETIME_TIMESTAMP_FILE='{}' FAKETIME_NO_CACHE=1 DONT_FAKE_MONOTONIC=1;",
        clock.display()
    );
    let arguments = ["--ping-interval=1s", "--pong-timeout=500ms", "-v"];
    let (mut process, address) = Process::serve(&before, &arguments);
    let mut peer = Peer::open(address, "/ws");
    let open = process.line(" open id=");
    let year = |line: &str| line[..4].parse::<i32>().expect("a year");
    let this_year = year(&open);
    // The first one is early.
    peer.expect_frame(PING, b"");
    let mut answered = now();
    peer.send_frame(PONG, b"");
    let (mut stamps, mut waits) = (Vec::new(), Vec::new());
    for (by, years) in STEPS {
        step(by);
        peer.expect_frame(PING, b"");
        waits.push(answered.elapsed());
        answered = now();
        peer.send_frame(PONG, b"");
        check_serves(&process, address);
        let line = process.line(" open id=");
        stamps.push((by, year(&line) - this_year));
        // A year is not always 365 days, and it may be New Year's Eve.
        assert!((year(&line) - this_year - years).abs() <= 1, "{by}: {line}");
        assert!(years == 0 || year(&line) != this_year, "{by}: {line}");
        let gone = process.line(" gone id=");
        assert!(gone.contains(" cause=closed "), "{gone}");
    }
    peer.check_echo();
    println!(
        "the clock stepped, and the years of the log: {stamps:?}; pings of an interval of 1 s came \
         after {waits:.1?}"
    );
    for wait in waits {
        let interval = Duration::from_secs(1);
        assert!(wait >= interval && wait <= interval * 3, "{wait:?}");
    }
    peer.send_frame(crate::peer::CLOSE, b"");
    peer.expect_close(1000);
    peer.expect_end();
    process.stop();
}
