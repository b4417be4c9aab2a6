//! What needs a process of its own: a limit of descriptors, a socket that is inherited.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::peer::{DEADLINE, Peer, upgrade};

/// The binary below a shell that runs `before` first. It is killed with the test.
struct Process {
    child: Child,
    /// Lines from stderr.
    lines: Receiver<String>,
}

impl Process {
    fn start(before: &str, arguments: &[&str], stdin: impl Into<Stdio>) -> Self {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("{before} exec \"$0\" \"$@\""))
            .arg(env!("CARGO_BIN_EXE_fanfare"))
            .args(arguments)
            .env_clear()
            .stdin(stdin)
            .stderr(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (line, lines) = channel();
        std::thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .all(|text| line.send(text).is_ok());
        });
        Self { child, lines }
    }

    /// Waits for a line that contains `what`.
    fn line(&self, what: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|error| panic!("no line with '{what}': {error}"));
            if line.contains(what) {
                return line;
            }
        }
    }

    fn address(&self) -> SocketAddr {
        let start = "listening on http://";
        let line = self.line(start);
        let (_, rest) = line.split_once(start).expect("it was looked for");
        let address = rest.trim_end_matches('/').parse();
        address.unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The CPU time that it has used so far.
    fn cpu_time(&self) -> Duration {
        // proc(5): Linux gives it in units of 10 ms whatever its own tick is.
        const UNIT: Duration = Duration::from_millis(10);

        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("the process runs");
        let (_, behind_name) = stat.rsplit_once(')').expect("the name is in parentheses");
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<u32>().expect("a number");
        UNIT * (ticks(11) + ticks(12))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the clock of the test, to count what is printed per second"
)]
fn now() -> Instant {
    Instant::now()
}

/// Accepting fails while descriptors are out, and no event tells when there are some again.
#[test]
fn running_out_of_descriptors_is_survived() {
    const CLIENTS: usize = 60;

    let arguments = ["--listen", "127.0.0.1:0", "--max-connections", "1000"];
    let process = Process::start("ulimit -n 40;", &arguments, Stdio::null());
    let address = process.address();
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

/// As systemd does: the socket is the first descriptor behind the standard ones.
#[test]
fn an_inherited_socket_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    // Safe code can hand down a descriptor as a standard stream only; the shell moves it.
    let process = Process::start(
        "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$;",
        &["--listen", "systemd"],
        OwnedFd::from(listener),
    );
    assert_eq!(process.address(), address);
    let mut a = Peer::open(address, "/ws");
    let mut b = Peer::open(address, "/ws");
    a.send_text("inherited");
    a.expect_text("inherited");
    b.expect_text("inherited");
}
