//! Supervisors: sockets that they pass on, what they are told, and several servers on one port.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Stdio;

use crate::binary::Process;
use crate::peer::{DEADLINE, Peer};

fn path(test: &str) -> PathBuf {
    let name = format!("fanfare-loopback-{test}-{}.sock", std::process::id());
    std::env::temp_dir().join(name)
}

/// The next message to the supervisor, its first line.
fn told(supervisor: &UnixDatagram) -> String {
    let patience = supervisor.set_read_timeout(Some(DEADLINE));
    patience.expect("it is not zero");
    let mut buffer = [0; 256];
    let count = supervisor.recv(&mut buffer).expect("a message");
    let message = String::from_utf8_lossy(&buffer[..count]).into_owned();
    message.lines().next().unwrap_or_default().to_owned()
}

/// Runs a server from its start to its end, and looks at what its supervisor hears.
fn check_told(supervisor: &UnixDatagram, name: &str) {
    // The port is known before, so that nobody waits for the log.
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("it is bound");
    drop(free);
    let listen = format!("--listen={address}");
    let before = format!("export NOTIFY_SOCKET={name};");
    let mut process = Process::start(&before, &[&listen], Stdio::null());
    assert_eq!(told(supervisor), "READY=1");
    // Who is told that it is ready can connect.
    let mut peer = Peer::open(address, "/ws");
    process.signal("TERM");
    assert_eq!(told(supervisor), "STOPPING=1");
    peer.expect_close(1001);
    drop(peer);
    assert_eq!(process.end(), Some(0));
}

#[test]
fn a_supervisor_is_told_of_the_start_and_of_the_end() {
    let path = path("notify");
    let supervisor = UnixDatagram::bind(&path).expect("a free path");
    check_told(&supervisor, &path.display().to_string());
    std::fs::remove_file(&path).expect("it is ours");
}

#[test]
fn a_supervisor_may_have_an_abstract_name() {
    let name = format!("fanfare-loopback-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("it is short");
    let supervisor = UnixDatagram::bind_addr(&address).expect("a free name");
    check_told(&supervisor, &format!("@{name}"));
}

#[test]
fn a_supervisor_that_is_not_there_holds_up_nothing() {
    let before = "export NOTIFY_SOCKET=/nowhere/at/all;";
    let (mut process, address) = Process::serve(before, &[]);
    Peer::open(address, "/ws").check_echo();
    process.stop();
}

#[test]
fn an_inherited_unix_socket_is_served_and_its_file_is_left() {
    let path = path("inherited");
    let listener = UnixListener::bind(&path).expect("a free path");
    let (mut process, stderr) = Process::inherit_socket("", &[], listener);
    process.read(stderr);
    process.line(&format!("listening on unix:{}", path.display()));
    let stream = UnixStream::connect(&path).expect("the server listens");
    let patience = stream.set_read_timeout(Some(DEADLINE));
    patience.expect("it is not zero");
    let mut peer = Peer { stream };
    peer.upgrade("/ws");
    peer.send_text("inherited");
    peer.expect_text("inherited");
    drop(peer);
    process.stop();
    // It belongs to who made it.
    std::fs::remove_file(&path).expect("it is there");
}

#[test]
fn sockets_for_another_process_are_not_taken() {
    let before = "export LISTEN_FDS=1 LISTEN_PID=1;";
    let mut process = Process::start(before, &["--listen=systemd"], Stdio::null());
    process.line("no sockets were passed on");
    assert_eq!(process.end(), Some(1));
}

#[test]
fn servers_share_a_port_if_all_of_them_want_to() {
    const MOST: usize = 64;

    let (first, address) = Process::serve("", &["-v", "--reuse-port"]);
    let listen = format!("--listen={address}");
    let second = Process::start("", &[&listen, "-v", "--reuse-port"], Stdio::null());
    assert_eq!(second.address(), address);
    let mut other = Process::start("", &[&listen], Stdio::null());
    other.line("address in use");
    assert_eq!(other.end(), Some(1));
    // The kernel deals out connections by chance.
    let mut peers = Vec::new();
    let has_served = |process: &Process| {
        let mut lines = process.lines.try_iter();
        lines.any(|line| line.contains("open id="))
    };
    let (mut by_first, mut by_second) = (false, false);
    while !(by_first && by_second) {
        assert!(peers.len() < MOST, "one of the two is never chosen");
        let mut peer = Peer::open(address, "/ws");
        // Behind the echo the line of its opening has been written.
        peer.check_echo();
        peers.push(peer);
        by_first = by_first || has_served(&first);
        by_second = by_second || has_served(&second);
    }
}
