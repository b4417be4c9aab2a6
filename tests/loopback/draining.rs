//! A stop that takes its time, so that balancers and clients can go elsewhere.

use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use fanfare::{CloseCode, Disconnect, Outcome};

use crate::peer::{CLOSE, DEADLINE, Peer, close_payload};
use crate::running::Running;

/// How late anything may be, on a machine that is busy.
const SLACK: Duration = Duration::from_millis(400);

#[expect(
    clippy::disallowed_methods,
    reason = "what is measured is the machine's time"
)]
fn now() -> Instant {
    Instant::now()
}

/// Everything that is asked of the clients' end: even, told as a restart, nobody twice; and those
/// whose request is not complete are refused before anybody is closed.
#[test]
fn clients_are_closed_evenly_over_drain_time() {
    const CLIENTS: u32 = 20;
    const TIME: Duration = Duration::from_secs(2);

    let server = Running::start(|config| config.drain_time = TIME);
    let peers: Vec<Peer> = (0..CLIENTS)
        .map(|i| server.open(["/ws", "/ws/a"][i as usize % 2]))
        .collect();
    let mut half = server.connect();
    half.send("GET /ws HTTP/1.1\r\nHost:");
    // Whoever is accepted later is read later, so the half of a request has arrived.
    server.check_serves();
    let (close, closes) = channel();
    let begun = now();
    server.handle.stop();
    assert!(half.read_head().starts_with("HTTP/1.1 503 "));
    let refused_after = begun.elapsed();
    for mut peer in peers {
        let close = close.clone();
        std::thread::spawn(move || {
            peer.expect_close(1012);
            let _ = close.send(begun.elapsed());
            peer.send_frame(CLOSE, close_payload(1012, ""));
            peer.expect_end();
        });
    }
    drop(close);
    for k in 1..=CLIENTS {
        let at = closes.recv_timeout(DEADLINE).expect("a Close");
        let due = TIME * k / CLIENTS;
        assert!(at >= due && at < due + SLACK, "{k} of {CLIENTS}: {at:?}");
        assert!(refused_after < at || k > 4, "{refused_after:?}");
    }
    drop(half);
    let metrics = server.check_ends_empty();
    let restarted = Disconnect::Ended(CloseCode::SERVICE_RESTART);
    // The newcomer that showed that the server serves had closed by itself.
    assert_eq!(metrics.departures(restarted), u64::from(CLIENTS));
}

#[test]
fn the_delay_is_waited_for_even_if_nobody_is_there() {
    const DELAY: Duration = Duration::from_millis(300);

    let server = Running::start(|config| config.drain_delay = DELAY);
    let address = server.address();
    let begun = now();
    server.check_ends_empty();
    assert!(begun.elapsed() >= DELAY, "{:?}", begun.elapsed());
    assert!(TcpStream::connect_timeout(&address, DEADLINE).is_err());
}

/// The deadline counts from the beginning, not from the end of the delay.
#[test]
fn the_deadline_counts_from_the_signal() {
    let server = Running::start(|config| {
        config.drain_delay = Duration::from_millis(900);
        config.drain_time = Duration::from_millis(50);
        config.shutdown_timeout = Duration::from_secs(1);
    });
    let mut peer = server.open("/ws");
    let begun = now();
    server.handle.stop();
    let ended = server.end();
    let took = begun.elapsed();
    assert_eq!((ended.outcome, ended.clients), (Outcome::TimedOut, 1));
    let least = Duration::from_secs(1);
    assert!(took >= least && took < least + 2 * SLACK, "{took:?}");
    // It has heard why, if it cares.
    peer.expect_close(1012);
    peer.read_to_any_end();
}

#[cfg(feature = "cli")]
mod binary {
    use super::*;
    use crate::binary::Process;

    const ARGUMENTS: [&str; 2] = ["--drain-delay", "2s"];

    /// Balancers need time to look elsewhere, and send clients meanwhile.
    #[test]
    fn newcomers_are_let_in_until_the_delay_is_over_and_then_refused() {
        let (mut process, address) = Process::serve("", &ARGUMENTS);
        let mut early = Peer::open(address, "/ws");
        let begun = now();
        process.signal("TERM");
        let line = process.line("stopping clients=1");
        let said = "stopping clients=1 drain_delay=2s drain_time=0ns shutdown_timeout=30s";
        assert!(line.ends_with(said), "{line}");
        let mut late = Peer::open(address, "/ws");
        late.check_echo();
        early.expect_text("are you there?");
        assert_eq!(early.expect_close(1001), "");
        assert!(begun.elapsed() >= Duration::from_secs(2));
        late.expect_close(1001);
        process.line("no longer listening clients=2");
        assert!(TcpStream::connect_timeout(&address, DEADLINE).is_err());
        for peer in [&mut early, &mut late] {
            peer.send_frame(CLOSE, close_payload(1001, ""));
            peer.expect_end();
        }
        drop((early, late));
        process.line("stopped outcome=drained left=0 connections=2");
        assert_eq!(process.end(), Some(0));
    }

    /// Within the delay and within the drain time: whoever is there is left, and that is a failure.
    #[test]
    fn a_second_signal_ends_at_once() {
        for (arguments, wait_for) in [
            (["--drain-delay", "25s"], "stopping clients=1"),
            (["--drain-time", "25s"], "stopping clients=1"),
        ] {
            let (mut process, address) = Process::serve("", &arguments);
            let mut peer = Peer::open(address, "/ws");
            let begun = now();
            process.signal("TERM");
            process.line(wait_for);
            peer.check_echo();
            process.signal("INT");
            process.line("stopped outcome=interrupted left=1");
            assert_eq!(process.end(), Some(1), "{arguments:?}");
            assert!(begun.elapsed() < DEADLINE);
        }
    }

    #[test]
    fn a_second_signal_that_nobody_suffers_from_is_a_clean_end() {
        let (mut process, _) = Process::serve("", &["--drain-delay", "25s"]);
        process.signal("TERM");
        process.line("stopping clients=0");
        process.signal("TERM");
        process.line("stopped outcome=drained left=0");
        assert_eq!(process.end(), Some(0));
    }

    /// Those who wait in the kernel when listening ends are taken in, and those who have connected
    /// may still ask: another process may share the port, and nobody is reset for this one's end.
    #[test]
    fn who_has_connected_is_answered() {
        let (mut process, address) = Process::serve("", &[]);
        let mut silent = Peer::connect(address);
        let mut early = Peer::open(address, "/ws");
        early.check_echo();
        process.signal("STOP");
        let mut waiting: Vec<Peer> = (0..5).map(|_| Peer::connect(address)).collect();
        for peer in &mut waiting {
            peer.send(crate::peer::upgrade("/ws"));
        }
        process.signal("TERM");
        process.signal("CONT");
        process.line("stopping");
        silent.upgrade("/ws");
        for mut peer in waiting {
            peer.expect_upgrade();
            assert_eq!(peer.expect_close(1001), "");
        }
        for peer in [&mut silent, &mut early] {
            assert_eq!(peer.expect_close(1001), "");
        }
        drop((silent, early));
        assert_eq!(process.end(), Some(0));
    }

    /// Who never asks is not waited for.
    #[test]
    fn who_never_asks_is_not_waited_for() {
        let (mut process, address) = Process::serve("", &[]);
        let mut silent = Peer::connect(address);
        let mut early = Peer::open(address, "/ws");
        early.check_echo();
        let begun = now();
        process.signal("TERM");
        silent.expect_end();
        let took = begun.elapsed();
        let asking = Duration::from_millis(250);
        assert!(took >= asking && took < asking + SLACK, "{took:?}");
        drop(early);
        assert_eq!(process.end(), Some(0));
    }
}
