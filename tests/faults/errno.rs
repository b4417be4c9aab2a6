//! What the kernel may answer to a call, put into its mouth by `strace`.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::binary::Process;
use crate::check_serves;
use crate::peer::{
    BINARY, CLOSE, CONTINUATION, DEADLINE, PING, PONG, Peer, TEXT, close_payload, frame, upgrade,
};

/// A server whose calls named (one, or several with commas) meet with a fault.
struct Injected {
    process: Process,
    address: SocketAddr,
    trace: PathBuf,
}

impl Injected {
    fn start(calls: &str, fault: &str, arguments: &[&str]) -> Self {
        let name = format!("{calls}-{fault}.strace").replace([':', '=', '+', ','], "-");
        let trace = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        // The server stays our child, and `strace` is a grandchild: so signals reach the server.
        let before = format!(
            "command -v strace >&2 || {{ echo 'missing: apt-get install strace' >&2; exit 1; }}; \
             exec strace -D -f -qq -s0 -o '{}' -e trace={calls} \
             -e inject={calls}:{fault} \"$0\" \"$@\";",
            trace.display()
        );
        let (mut process, stderr, address) = Process::inherit(&before, arguments);
        process.read(stderr);
        Self {
            process,
            address,
            trace,
        }
    }

    /// How often the fault was met.
    fn count(&self) -> usize {
        let trace = fs::read_to_string(&self.trace).expect("strace writes");
        trace.matches("(INJECTED)").count()
    }
}

/// A client that may have to say something for the server to look at its socket again: where a call
/// is said to block that does not, no event follows.
struct Talker {
    peer: Peer,
    nudges: bool,
}

impl Talker {
    fn open(address: SocketAddr, nudges: bool) -> Self {
        let mut talker = Self {
            peer: Peer::connect(address),
            nudges,
        };
        talker.peer.send(upgrade("/ws/room"));
        talker.wait();
        talker.peer.expect_upgrade();
        talker
    }

    /// Waits until there is something to read.
    fn wait(&mut self) {
        const MAX_NUDGES: usize = 50;

        if !self.nudges {
            return;
        }
        self.peer.set_patience(DEADLINE / 100);
        for _ in 0..MAX_NUDGES {
            match self.peer.stream.peek(&mut [0]) {
                Ok(_) => return self.peer.set_patience(DEADLINE),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // RFC 6455, section 5.5.3: a Pong may be sent unasked. Behind a Close it is
                    // read and thrown away.
                    self.peer.send(frame(PONG, b""));
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("nothing comes");
    }

    fn hears(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        self.wait();
        self.peer.expect_frame(first, payload);
    }

    fn closes(mut self) {
        self.peer.send(frame(CLOSE, &close_payload(1000, "bye")));
        self.wait();
        self.peer.expect_close(1000);
        self.wait();
        self.peer.expect_end();
    }
}

/// Two clients and a request: everything that the server does with a socket.
fn converse(address: SocketAddr, nudges: bool) {
    // A frame of up to a kilobyte is written as a whole or not at all, and so can be nudged for.
    let sizes: &[usize] = if nudges {
        &[0, 1, 125, 126, 1000]
    } else {
        &[0, 1, 125, 126, 1000, 20_000, 65_535, 65_536]
    };
    let mut a = Talker::open(address, nudges);
    let mut b = Talker::open(address, nudges);
    for (i, size) in sizes.iter().enumerate() {
        let payload: Vec<u8> = (i..i + size).map(|i| (i % 251).to_le_bytes()[0]).collect();
        a.peer.send(frame(BINARY, &payload));
        a.hears(BINARY, &payload);
        b.hears(BINARY, &payload);
    }
    for i in 0..10 {
        let text = format!("message {i}");
        b.peer.send(frame(TEXT, text.as_bytes()));
        // Who has spoken may have to nudge for it to be read.
        b.hears(TEXT, &text);
        a.hears(TEXT, &text);
    }
    b.peer.send(frame(PING, b"?"));
    b.hears(PONG, b"?");
    for part in [
        frame(0x01, b"frag"),
        frame(0x00, b"men"),
        frame(CONTINUATION, b"t"),
    ] {
        a.peer.send(part);
    }
    a.hears(TEXT, "fragment");
    b.hears(TEXT, "fragment");
    a.closes();
    b.peer.send(frame(TEXT, b"alone"));
    b.hears(TEXT, "alone");
    b.closes();
    let mut stranger = Talker {
        peer: Peer::connect(address),
        nudges,
    };
    stranger
        .peer
        .send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
    stranger.wait();
    let head = stranger.peer.read_head();
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    stranger.peer.read_to_end();
}

/// Faults that no client may notice.
const HARMLESS: [(&str, &str, bool); 21] = [
    ("accept4", "error=EINTR:when=1+2", false),
    ("accept4", "error=ECONNABORTED:when=1+2", false),
    ("accept4", "error=EMFILE:when=2..3", false),
    ("accept4", "error=ENFILE:when=2..3", false),
    ("accept4", "error=ENOBUFS:when=2..3", false),
    ("accept4", "error=ENOMEM:when=2..3", false),
    ("accept4", "error=EPERM:when=2..3", false),
    ("accept4", "error=EPROTO:when=2..3", false),
    ("epoll_wait", "error=EINTR:when=1+2", false),
    ("recvfrom", "error=EINTR:when=1+2", false),
    // More than one read puts up with.
    ("recvfrom", "error=EINTR:when=3..40", false),
    ("recvfrom", "error=EAGAIN:when=1+2", true),
    ("sendto,writev", "error=EINTR:when=1+2", false),
    ("sendto,writev", "error=EINTR:when=3..40", false),
    ("sendto,writev", "error=EAGAIN:when=1+2", true),
    // The log's. The waker's, which the binary does not use, would be among them.
    ("write", "error=EINTR:when=1+2", false),
    ("write", "error=EAGAIN:when=1+2", false),
    ("write", "error=EIO:when=1+2", false),
    ("write", "error=ENOSPC", false),
    ("write", "error=EPIPE", false),
    ("futex", "error=EINTR:when=1+2", false),
];

#[test]
#[ignore = "strace: run by ./test faults"]
fn a_conversation_is_the_same_whatever_a_call_meets_with() {
    for (calls, fault, nudges) in HARMLESS {
        let mut injected = Injected::start(calls, fault, &["-vv"]);
        for _ in 0..3 {
            converse(injected.address, nudges);
        }
        // What is said to block may be the byte by which a signal tells of itself, and nobody
        // nudges for that.
        if !nudges {
            injected.process.stop();
        }
        let count = injected.count();
        println!("{calls} {fault}: met {count} times, three conversations as without");
        assert!(count > 0, "{calls} was never called");
    }
}

/// Faults that end one connection, and only that.
const DEADLY: [(&str, &str); 8] = [
    ("recvfrom", "error=ECONNRESET:when=1"),
    ("recvfrom", "error=ETIMEDOUT:when=1"),
    ("recvfrom", "error=EHOSTUNREACH:when=1"),
    // The first three are those of the signals, which try out their sockets.
    ("sendto", "error=EPIPE:when=4"),
    ("sendto", "error=ECONNRESET:when=4"),
    ("sendto", "error=ENOBUFS:when=4"),
    ("setsockopt", "error=EINVAL:when=1"),
    // The first four are the loop's own: a waker, a listener, two kinds of signals.
    ("epoll_ctl", "error=ENOMEM:when=5"),
];

#[test]
#[ignore = "strace: run by ./test faults"]
fn a_call_that_fails_ends_one_connection_and_no_other() {
    // A socket that is not broken, but only said to be, tells of no end: so a timeout must.
    let arguments = ["--write-timeout", "300ms", "--close-timeout", "300ms"];
    for (calls, fault) in DEADLY {
        let mut injected = Injected::start(calls, fault, &arguments);
        let mut first = Peer::connect(injected.address);
        first.send(upgrade("/ws"));
        let got = first.read_to_any_end();
        assert_eq!(String::from_utf8_lossy(&got), "");
        drop(first);
        converse(injected.address, false);
        check_serves(&injected.process, injected.address);
        injected.process.stop();
        println!("{calls} {fault}: that client is gone, the next ones are served");
        assert_eq!(injected.count(), 1);
    }
}

/// `DEADLINE / 100` is what a nudge waits for; a conversation needs a few of them at each step.
const _: () = assert!(Duration::from_millis(100).as_millis() * 100 == DEADLINE.as_millis());
