//! The binary below a shell: with limits, standard streams and a `strace` of the test's choice.
#![allow(dead_code, reason = "each test binary needs a part of it")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long the binary may take for anything, on a machine that is busy.
const LIMIT: Duration = Duration::from_secs(20);

/// How long a test rests before it looks again at what tells nobody when it changes.
const PAUSE: Duration = Duration::from_millis(20);

/// A running server. It is killed with the test.
pub(crate) struct Process {
    child: Child,
    /// Lines from stderr, if somebody reads it.
    pub(crate) lines: Receiver<String>,
    exited: Receiver<()>,
}

impl Process {
    /// Starts the binary; the shell runs `before` first, which ends with a semicolon.
    pub(crate) fn start(before: &str, arguments: &[&str], stdin: impl Into<Stdio>) -> Self {
        let (mut process, stderr) = Self::start_unread(before, arguments, stdin);
        process.read(stderr);
        process
    }

    /// The same on a port of the kernel's choice. Returns the address as well.
    pub(crate) fn serve(before: &str, arguments: &[&str]) -> (Self, SocketAddr) {
        let arguments = [&["--listen", "127.0.0.1:0"], arguments].concat();
        let process = Self::start(before, &arguments, Stdio::null());
        let address = process.address();
        (process, address)
    }

    /// The same on a socket that is handed down, as systemd does it: for those whose stderr tells
    /// nobody the address.
    pub(crate) fn inherit(before: &str, arguments: &[&str]) -> (Self, ChildStderr, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (process, stderr) = Self::inherit_socket(before, arguments, listener);
        (process, stderr, address)
    }

    /// The same with a socket of the test's choice.
    pub(crate) fn inherit_socket(
        before: &str,
        arguments: &[&str],
        listener: impl Into<OwnedFd>,
    ) -> (Self, ChildStderr) {
        // Safe code can hand down a descriptor as a standard stream only; the shell moves it.
        let before = format!("exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; {before}");
        let arguments = [&["--listen", "systemd"], arguments].concat();
        Self::start_unread(&before, &arguments, listener.into())
    }

    /// Starts the binary with a pipe as stderr that nobody reads.
    fn start_unread(
        before: &str,
        arguments: &[&str],
        stdin: impl Into<Stdio>,
    ) -> (Self, ChildStderr) {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("{before} exec \"$0\" \"$@\""))
            .arg(env!("CARGO_BIN_EXE_fanfare"))
            .args(arguments)
            .env_clear()
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let stderr = child.stderr.take().expect("it is piped");
        // Nothing is ever written to stdout, so it ends with the process: a wait with a deadline.
        let (exit, exited) = channel();
        let mut stdout = child.stdout.take().expect("it is piped");
        std::thread::spawn(move || {
            let _ = stdout.read_to_end(&mut Vec::new());
            let _ = exit.send(());
        });
        let process = Self {
            child,
            lines: channel().1,
            exited,
        };
        (process, stderr)
    }

    /// Begins to read stderr.
    pub(crate) fn read(&mut self, stderr: ChildStderr) {
        let (line, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(stderr)
                .lines()
                .map_while(Result::ok)
                .all(|text| line.send(text).is_ok());
        });
        self.lines = lines;
    }

    /// Waits for a line that contains `what`.
    pub(crate) fn line(&self, what: &str) -> String {
        let mut seen = String::new();
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => seen = seen + &line + "\n",
                Err(error) => panic!("no line with '{what}' ({error}), but:\n{seen}"),
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let start = "listening on http://";
        let line = self.line(start);
        let (_, rest) = line.split_once(start).expect("it was looked for");
        let address = rest.trim_end_matches('/').parse();
        address.unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The CPU time that it has used so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        // proc(5): Linux gives it in units of 10 ms whatever its own tick is.
        const UNIT: Duration = Duration::from_millis(10);

        let stat = self.proc("stat");
        let (_, behind_name) = stat.rsplit_once(')').expect("the name is in parentheses");
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<u32>().expect("a number");
        UNIT * (ticks(11) + ticks(12))
    }

    /// A figure of `/proc/PID/status`, like `VmRSS:`, in bytes.
    pub(crate) fn memory(&self, figure: &str) -> u64 {
        let status = self.proc("status");
        let mut words = status.split_whitespace().skip_while(|word| *word != figure);
        let kibibytes = words.nth(1).and_then(|word| word.parse::<u64>().ok());
        1024 * kibibytes.unwrap_or_else(|| panic!("no {figure} in: {status}"))
    }

    /// How many descriptors are open.
    pub(crate) fn descriptors(&self) -> usize {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        folder.expect("the process runs").count()
    }

    /// Waits until so many descriptors are open.
    pub(crate) fn wait_for_descriptors(&self, count: usize) {
        self.wait_for(&format!("{count} descriptors"), LIMIT, || {
            let open = self.descriptors();
            (open == count).then_some(()).ok_or(open)
        });
    }

    /// Waits until `look` finds what it looks for. Panics with what it found instead.
    pub(crate) fn wait_for<T, E: std::fmt::Debug>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut() -> Result<T, E>,
    ) -> T {
        let begun = now();
        loop {
            match look() {
                Ok(found) => return found,
                Err(other) => assert!(begun.elapsed() < limit, "not {what} but {other:?}"),
            }
            // The end of the process would be an end of the wait, too.
            let pause = self.exited.recv_timeout(PAUSE);
            assert_eq!(pause, Err(RecvTimeoutError::Timeout), "the process ended");
        }
    }

    fn proc(&self, file: &str) -> String {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.child.id()));
        text.expect("the process runs")
    }

    /// Sends a signal: `TERM`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(kill.expect("there is a kill").success(), "it ended before");
        if name == "STOP" {
            // Some of its threads may run on for a moment.
            self.wait_for_state('T');
        }
    }

    /// Waits until the loop waits.
    pub(crate) fn wait_until_idle(&self) {
        self.wait_for_state('S');
    }

    /// Waits until the first thread is in this state (proc(5)).
    fn wait_for_state(&self, state: char) {
        self.wait_for(&format!("in state {state}"), LIMIT, || {
            let stat = self.proc("stat");
            let (_, behind_name) = stat.rsplit_once(") ").expect("the name is in parentheses");
            let is_there = behind_name.starts_with(state);
            is_there.then_some(()).ok_or(stat)
        });
    }

    /// Waits for the end, and returns the exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let timed_out = self.exited.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
        assert!(!timed_out, "the server still runs after {LIMIT:?}");
        self.child.wait().expect("it is our child").code()
    }

    /// Sends SIGTERM, and returns how long the end took. It must be a clean one.
    pub(crate) fn stop(&mut self) -> Duration {
        let begun = now();
        self.signal("TERM");
        assert_eq!(self.end(), Some(0));
        begun.elapsed()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What it said last is the evidence if a test has failed.
        if std::thread::panicking() {
            for line in self.lines.try_iter() {
                eprintln!("{line}");
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "deadlines and measurements need the machine's clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
