//! What needs a process of its own: a limit of descriptors, a socket that is inherited.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use crate::binary::{Process, now};
use crate::peer::{DEADLINE, Peer, upgrade};

/// Accepting fails while descriptors are out, and no event tells when there are some again.
#[test]
fn running_out_of_descriptors_is_survived() {
    const CLIENTS: usize = 60;

    let (process, address) = Process::serve("ulimit -n 40;", &["--max-connections", "1000"]);
    let start = now();
    let mut clients: Vec<Option<Peer>> = (0..CLIENTS)
        .map(|_| {
            let mut client = Peer::connect(address);
            client.send(upgrade("/ws"));
            Some(client)
        })
        .collect();
    process.line("cannot accept");
    // 1. As many as possible are served, and the rest waits; meanwhile the server does, too.
    let (mut served, mut used) = (0, Duration::ZERO);
    for client in clients.iter_mut().flatten() {
        let before = process.cpu_time();
        client.set_patience(Duration::from_millis(700));
        match client.stream.peek(&mut [0]) {
            Ok(count) => assert_eq!(count, 1, "client {served} was hung up on"),
            Err(error) => {
                let is_timeout = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                assert!(is_timeout.contains(&error.kind()), "{error}");
                used = process.cpu_time().saturating_sub(before);
                break;
            }
        }
        client.set_patience(DEADLINE);
        client.expect_upgrade();
        served += 1;
    }
    assert!((10..CLIENTS).contains(&served), "{served} were served");
    assert!(
        used < Duration::from_millis(50),
        "{used:?} of CPU time for nothing"
    );
    // 2. Whenever one leaves, the next is served by itself.
    for next in served..CLIENTS {
        drop(clients[next - served].take());
        let client = clients[next].as_mut().expect("it has not been served");
        client.set_patience(DEADLINE);
        client.expect_upgrade();
    }
    let last = clients.last_mut().and_then(Option::as_mut);
    last.expect("it is there").check_echo();
    // 3. An operator is told, and not too often.
    let seconds = start.elapsed().as_secs();
    let lines = process.lines.try_iter();
    let warnings = lines.filter(|line| line.contains("cannot accept")).count();
    assert!(
        warnings as u64 <= seconds + 1,
        "{warnings} more warnings in {seconds} s"
    );
}

/// Whatever the umask leaves, here all of it.
#[test]
fn a_unix_socket_has_the_mode_of_the_command_line() {
    let name = format!("fanfare-loopback-umask-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listen = format!("--listen=unix:{}", path.display());
    let mut process = Process::start("umask 0;", &[&listen, "--unix-mode=620"], Stdio::null());
    process.line("listening on unix:");
    let file = std::fs::symlink_metadata(&path).expect("it is there");
    assert_eq!(file.permissions().mode() & 0o777, 0o620);
    process.stop();
    assert!(!path.exists(), "{} is still there", path.display());
}

/// As systemd does: the socket is the first descriptor behind the standard ones.
#[test]
fn an_inherited_socket_is_served() {
    let (mut process, stderr, address) = Process::inherit("", &[]);
    process.read(stderr);
    assert_eq!(process.address(), address);
    let mut a = Peer::open(address, "/ws");
    let mut b = Peer::open(address, "/ws");
    a.send_text("inherited");
    a.expect_text("inherited");
    b.expect_text("inherited");
}
