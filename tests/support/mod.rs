//! A server to test, watched by `strace` if need be, and a crowd of clients that one thread serves.
#![allow(
    clippy::disallowed_methods,
    reason = "deadlines and measurements need the machine's clock"
)]
#![allow(dead_code, reason = "each test binary needs a part of it")]

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// Opcodes (RFC 6455, section 5.2).
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// Clients that connect together. The server's backlog is 128, and whoever finds it full tries
/// again after a second.
const MAX_CONNECTING: usize = 100;

/// What a crowd reads at once, whichever client it is for.
const READ_BUFFER: usize = 256 * 1024;

/// How long starting and stopping may take, under `strace` too.
const LIMIT: Duration = Duration::from_secs(20);

/// By when something must have happened.
pub(crate) struct Deadline {
    at: Instant,
    what: &'static str,
}

impl Deadline {
    pub(crate) fn new(what: &'static str, limit: Duration) -> Self {
        let at = Instant::now() + limit;
        Self { at, what }
    }

    /// The time that is left; panics if there is none.
    pub(crate) fn left(&self) -> Duration {
        let left = self.at.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "not in time: {}", self.what);
        left
    }
}

/// A running server. It is killed when the test is done with it, and its `strace` ends with it.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Its lines on stderr. Ends when the server has ended, and its `strace` as well.
    pub(crate) stderr: Receiver<String>,
    trace: Option<PathBuf>,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_fanfare")), arguments, None)
    }

    /// Starts a server under `strace`, which notes the system calls named (`all` of them, or a list
    /// with commas). The notes stay in `target/tmp`, under the name of the test.
    pub(crate) fn start_traced(calls: &str, arguments: &[&str]) -> Self {
        let test = std::thread::current().name().unwrap_or("main").to_owned();
        let trace = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test + ".strace");
        let mut command = Command::new("strace");
        // The server stays our child, and `strace` is a grandchild: so signals reach the server.
        command
            .args(["-D", "-f", "-s0", "-e"])
            .arg(format!("trace={calls}"))
            .arg("-o")
            .arg(&trace)
            .arg(env!("CARGO_BIN_EXE_fanfare"));
        Self::spawn(command, arguments, Some(trace))
    }

    fn spawn(mut command: Command, arguments: &[&str], trace: Option<PathBuf>) -> Self {
        // Nothing of the environment of the tests but what finds `strace`.
        command
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            let program = command.get_program().to_string_lossy();
            panic!("{program}: {error}. If it is missing, install it (apt-get install strace).")
        });
        let (line, stderr) = channel();
        let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .all(|text| line.send(text).is_ok());
        });
        let mut server = Self {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            stderr,
            trace,
        };
        let line = server.line("listening on http://");
        let (_, address) = line.split_once("http://").expect("it was looked for");
        server.address = address
            .trim_end_matches('/')
            .parse()
            .unwrap_or_else(|_| panic!("an address and a slash in: {line}"));
        server
    }

    /// Waits for a line on stderr that contains `what`.
    pub(crate) fn line(&self, what: &str) -> String {
        let mut seen = String::new();
        let deadline = Deadline::new("a line on stderr", LIMIT);
        loop {
            match self.stderr.recv_timeout(deadline.left()) {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => seen = seen + &line + "\n",
                Err(error) => panic!("no line with '{what}' ({error}), but:\n{seen}"),
            }
        }
    }

    /// A figure, like `VmRSS:`, of `/proc/PID/status` or of `smaps_rollup`, in bytes.
    pub(crate) fn memory(&self, figure: &str) -> u64 {
        let kibibytes = ["status", "smaps_rollup"].iter().find_map(|file| {
            let text = fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).ok()?;
            let mut words = text.split_whitespace().skip_while(|word| *word != figure);
            words.nth(1)?.parse::<u64>().ok()
        });
        1024 * kibibytes.unwrap_or_else(|| panic!("no {figure} in /proc"))
    }

    /// What `strace` has noted so far. A call is noted before it is made.
    pub(crate) fn trace(&self) -> String {
        let trace = self.trace.as_ref().expect("the server is traced");
        fs::read_to_string(trace).expect("strace writes")
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let kill = Command::new("kill")
            .arg("-TERM")
            .arg(self.child.id().to_string())
            .status();
        assert!(kill.expect("there is a kill").success(), "it ended before");
    }

    /// Waits for the end, and returns the exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let deadline = Deadline::new("the server ends", LIMIT);
        while self.stderr.recv_timeout(deadline.left()) != Err(RecvTimeoutError::Disconnected) {}
        self.child.wait().expect("it is our child").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What was noted is the evidence if a test has failed.
        if let Some(trace) = self.trace.as_ref().filter(|_| std::thread::panicking()) {
            eprintln!("see {}", trace.to_string_lossy());
        }
    }
}

/// What a client of a crowd met with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard<'b> {
    /// Its handshake is done.
    Opened,
    Message(&'b [u8]),
    /// A Close with this code. It has been answered.
    Close(u16),
    /// The server has ended the connection.
    End,
}

/// Clients that one thread serves. They answer Ping and Close as they should.
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    buffer: Box<[u8]>,
    clients: Vec<Client>,
}

#[derive(Default)]
struct Client {
    /// `None` once the connection has ended, or was taken away.
    stream: Option<TcpStream>,
    output: Vec<u8>,
    /// The beginning of what has not come to its end yet: of a frame, or of the server's handshake.
    input: Vec<u8>,
    is_open: bool,
}

impl Crowd {
    /// A crowd of so many, in this room of the server.
    pub(crate) fn of(count: usize, server: &Server, room: &str) -> Self {
        let mut crowd = Self {
            poll: Poll::new().expect("the kernel has an event queue"),
            events: Events::with_capacity(1024),
            buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            clients: Vec::new(),
        };
        crowd.connect(count, server, room);
        crowd
    }

    /// Lets so many more connect, and waits for their handshakes. They go by their numbers from 0.
    pub(crate) fn connect(&mut self, count: usize, server: &Server, room: &str) {
        let request = format!(
            "GET /ws/{room} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let deadline = Deadline::new("the handshakes", 3 * LIMIT);
        let end = self.clients.len() + count;
        while self.clients.len() < end {
            let mut opening = MAX_CONNECTING.min(end - self.clients.len());
            for _ in 0..opening {
                let mut stream = TcpStream::connect(server.address).expect("a free descriptor");
                let token = Token(self.clients.len());
                let interest = Interest::READABLE | Interest::WRITABLE;
                let registered = self.poll.registry().register(&mut stream, token, interest);
                registered.expect("the kernel has memory");
                self.clients.push(Client {
                    stream: Some(stream),
                    output: request.clone().into_bytes(),
                    ..Client::default()
                });
            }
            while opening > 0 {
                self.turn(deadline.left(), |index, heard| match heard {
                    Heard::Opened => opening -= 1,
                    Heard::Message(_) => {}
                    other => panic!("client {index} heard {other:?}"),
                });
            }
        }
    }

    /// Waits for something to happen, but no longer than so, and says to `listen` what it was, with
    /// the client's number.
    pub(crate) fn turn(&mut self, timeout: Duration, mut listen: impl FnMut(usize, Heard<'_>)) {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            done => done.expect("the event queue works"),
        }
        for event in &self.events {
            let index = event.token().0;
            self.clients[index].serve(event, &mut self.buffer, |heard| listen(index, heard));
        }
    }

    /// Sends a message of one frame.
    pub(crate) fn send(&mut self, index: usize, opcode: u8, payload: &[u8]) {
        let mut frame = Vec::new();
        encode_masked(opcode, payload, &mut frame);
        self.send_raw(index, &frame);
    }

    /// Sends bytes: in one segment, if they fit into one.
    pub(crate) fn send_raw(&mut self, index: usize, bytes: &[u8]) {
        self.clients[index].output.extend_from_slice(bytes);
        self.clients[index].flush();
    }

    /// Whether all that a client has sent has left it.
    pub(crate) fn has_sent(&self, index: usize) -> bool {
        self.clients[index].output.is_empty()
    }

    /// Takes a client's socket away from it: kept, it is one that nobody reads; dropped, it hangs
    /// up without a word.
    pub(crate) fn take(&mut self, index: usize) -> Option<TcpStream> {
        self.clients[index].stream.take()
    }
}

impl Client {
    fn serve(&mut self, event: &Event, buffer: &mut [u8], mut listen: impl FnMut(Heard<'_>)) {
        if event.is_writable() {
            self.flush();
        }
        while let Some(stream) = &mut self.stream {
            match stream.read(buffer) {
                Ok(0) => {
                    self.stream = None;
                    listen(Heard::End);
                }
                Ok(count) => self.receive(&buffer[..count], &mut listen),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("a client that does nothing wrong reads: {error}"),
            }
        }
    }

    fn receive(&mut self, bytes: &[u8], listen: &mut impl FnMut(Heard<'_>)) {
        let mut begun = std::mem::take(&mut self.input);
        let mut bytes = if begun.is_empty() {
            bytes
        } else {
            begun.extend_from_slice(bytes);
            &begun
        };
        if !self.is_open {
            let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
                self.input = bytes.to_vec();
                return;
            };
            let (head, rest) = bytes.split_at(end + 4);
            bytes = rest;
            let head = String::from_utf8_lossy(head);
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
            assert!(
                head.contains(": s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
                "{head}"
            );
            self.is_open = true;
            listen(Heard::Opened);
        }
        while let Some((opcode, payload, rest)) = split_frame(bytes) {
            bytes = rest;
            match opcode {
                TEXT | BINARY => listen(Heard::Message(payload)),
                CLOSE => {
                    encode_masked(CLOSE, payload, &mut self.output);
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    listen(Heard::Close(code.expect("ours always have a code")));
                }
                PING => encode_masked(PONG, payload, &mut self.output),
                other => panic!("opcode {other}"),
            }
        }
        self.input = bytes.to_vec();
        self.flush();
    }

    fn flush(&mut self) {
        while let (Some(stream), false) = (&mut self.stream, self.output.is_empty()) {
            match stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("a client that does nothing wrong writes: {error}"),
            }
        }
    }
}

/// The first frame, if it is complete: its opcode, its payload, and what follows it.
pub(crate) fn split_frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([first, second], rest) = bytes.split_first_chunk()?;
    // The server neither fragments nor uses an extension nor masks.
    assert_eq!(first & 0xF0, 0x80, "FIN, and no RSV bit");
    let (len, rest) = match second {
        0..=125 => (u64::from(*second), rest),
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u16::from_be_bytes(*len).into(), rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*len), rest)
        }
        128.. => panic!("a server does not mask"),
    };
    let (payload, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    Some((first & 0x0F, payload, rest))
}

/// Appends a client's frame. Any key is as good as another.
pub(crate) fn encode_masked(opcode: u8, payload: &[u8], output: &mut Vec<u8>) {
    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    output.push(0x80 | opcode);
    if let Some(len) = u8::try_from(payload.len()).ok().filter(|len| *len < 126) {
        output.push(0x80 | len);
    } else if let Ok(len) = u16::try_from(payload.len()) {
        output.push(0x80 + 126);
        output.extend(len.to_be_bytes());
    } else {
        output.push(0x80 + 127);
        output.extend((payload.len() as u64).to_be_bytes());
    }
    output.extend(KEY);
    output.extend(payload.iter().zip(KEY.iter().cycle()).map(|(a, b)| a ^ b));
}
