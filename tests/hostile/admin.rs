//! Hostile clients at the operators' address: whoever gets there may do no harm either.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::time::Duration;

use fanfare::hub::MAX_ADMIN;

use crate::client::LIMIT;
use crate::ground::Ground;
use crate::peer::Peer;
use crate::process::{Process, now};

/// What the server needs at most, whatever is done to it here.
const MAX_MEMORY: u64 = 32 << 20;

/// A request's head has half a second here, and its body three.
const FLAGS: [&str; 4] = [
    "--admin=127.0.0.1:0",
    "--handshake-timeout=500ms",
    "--write-timeout=1s",
    "--close-timeout=500ms",
];

const BODY_TIMEOUT: Duration = Duration::from_secs(3);

/// How long after a deadline whoever has passed it may still be there, on a busy machine.
const LATE: Duration = Duration::from_secs(10);

struct Admin {
    address: SocketAddr,
}

impl Admin {
    fn connect(&self) -> Peer {
        let peer = Peer::connect(self.address);
        peer.set_patience(LIMIT);
        peer
    }

    /// Says all this while it listens: there must be these answers, and an end.
    fn check(&self, bytes: &[u8], statuses: &[u16]) -> Result<(), String> {
        let mut peer = self.connect();
        let mut writer = peer.stream.try_clone().expect("a free descriptor");
        let heard = std::thread::scope(|scope| {
            // If it fails, the reader sees why.
            scope.spawn(move || writer.write_all(bytes));
            peer.read_to_any_end()
        });
        compare(&heard, statuses)
    }

    /// The same for somebody who goes on and on, until it fails.
    fn check_endless(&self, start: &str, more: &[u8], status: u16) -> Result<(), String> {
        let mut peer = self.connect();
        peer.send(start);
        let mut writer = peer.stream.try_clone().expect("a free descriptor");
        let (heard, sent) = std::thread::scope(|scope| {
            let writing = scope.spawn(move || {
                let begun = now();
                let mut sent = 0_usize;
                while begun.elapsed() < LIMIT && writer.write_all(more).is_ok() {
                    sent += more.len();
                }
                sent
            });
            (peer.read_to_any_end(), writing.join().expect("it ends"))
        });
        println!("    {} bytes were sent", sent + start.len());
        compare(&heard, &[status])
    }
}

fn compare(heard: &[u8], statuses: &[u16]) -> Result<(), String> {
    let text = String::from_utf8_lossy(heard);
    let seen: Vec<u16> = text
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| {
            answer
                .get(..3)
                .and_then(|status| status.parse().ok())
                .unwrap_or(0)
        })
        .collect();
    let is_expected = seen == statuses;
    is_expected
        .then_some(())
        .ok_or_else(|| format!("{statuses:?} was to come, but {seen:?}: {text}"))
}

fn post(fields: &str) -> String {
    format!("POST /publish/room HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

fn start() -> (Ground, Admin) {
    let (server, address) = Process::serve("", &FLAGS);
    let start = "admin at http://";
    let line = server.line(start);
    let (_, rest) = line.split_once(start).expect("it was looked for");
    let admin = rest.trim_end_matches('/').parse().expect("an address");
    let ground = Ground::around("operators' address", server, address);
    (ground, Admin { address: admin })
}

/// A body that trickles ends when its time is over, and not before.
fn slow(admin: &Admin, head: &str, timeout: Duration) -> Result<(), String> {
    let mut peer = admin.connect();
    let begun = now();
    peer.send(head);
    peer.set_patience(Duration::from_millis(50));
    let mut first = [0];
    while begun.elapsed() < LIMIT {
        // The pace is that of waiting for an answer.
        match peer.stream.peek(&mut first) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => break,
        }
        let _ = peer.stream.write_all(b"1");
    }
    let lasted = begun.elapsed();
    peer.set_patience(LIMIT);
    compare(&peer.read_to_any_end(), &[408])?;
    let is_in_time = (timeout..timeout + LATE).contains(&lasted);
    is_in_time
        .then_some(())
        .ok_or_else(|| format!("it ended after {lasted:?}"))
}

/// As many requests as the kernel takes, and nothing is read until the server has given up.
fn deaf(ground: &Ground, admin: &Admin) -> Result<(), String> {
    let mut peer = admin.connect();
    peer.stream.set_nonblocking(true).expect("it is a socket");
    let many = GET.repeat(1000);
    let begun = now();
    loop {
        match peer.stream.write(many.as_bytes()) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => drop(ground.pair.look()?),
            // The server gave up.
            Err(_) => return Ok(()),
        }
        if begun.elapsed() > LIMIT {
            return Err("the server is patient with somebody who never reads".to_owned());
        }
    }
}

/// More connections than there are places: those beyond are closed, the others are served.
fn crowd(admin: &Admin) -> Result<(), String> {
    const MANY: usize = 300;

    let mut peers: Vec<Peer> = (0..MANY).map(|_| admin.connect()).collect();
    let mut served = 0;
    for peer in &mut peers {
        let sent = peer
            .stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let heard = peer.read_to_any_end();
        served += usize::from(sent.is_ok() && heard.starts_with(b"HTTP/1.1 200 "));
    }
    let is_expected = (1..=MAX_ADMIN).contains(&served);
    is_expected
        .then_some(())
        .ok_or_else(|| format!("{served} of {MANY} were served"))
}

/// All places taken by bodies that are never finished.
fn stuck_bodies(ground: &Ground, admin: &Admin) -> Result<(), String> {
    let mut peers: Vec<Peer> = (0..MAX_ADMIN).map(|_| admin.connect()).collect();
    for peer in &mut peers {
        peer.send(post("Content-Length: 65536\r\n"));
        peer.send(vec![b'x'; 65535]);
    }
    ground.pair.look()?;
    for peer in &mut peers {
        compare(&peer.read_to_any_end(), &[408])?;
    }
    Ok(())
}

#[test]
fn operators_may_be_hostile() {
    let (mut ground, admin) = start();
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        (
            "a length beyond all bounds",
            post("Content-Length: 18446744073709551615\r\n").into(),
            &[413],
        ),
        (
            "a length that no number holds",
            post(&format!("Content-Length: 1{}\r\n", "0".repeat(100))).into(),
            &[413],
        ),
        (
            "a chunk beyond all bounds",
            (post(CHUNKED) + "ffffffffffffffff\r\n").into(),
            &[413],
        ),
        (
            "a length and chunks, and a request within",
            (post(&format!("Content-Length: 60\r\n{CHUNKED}")) + "0\r\n\r\n" + GET).into(),
            &[400],
        ),
        (
            "two lengths",
            (post("Content-Length: 5\r\nContent-Length: 0\r\n") + "hello" + GET).into(),
            &[400],
        ),
        (
            "a coding that nobody knows",
            (post("Transfer-Encoding: gzip, chunked\r\n") + "0\r\n\r\n" + GET).into(),
            &[501],
        ),
        ("no length", (post("") + GET).into(), &[411]),
        ("junk", vec![0xFE; 1 << 20], &[414]),
        ("other junk", vec![0x16; 1 << 20], &[400]),
        (
            "a request, and junk behind it",
            [GET.as_bytes(), &vec![0; 1 << 20]].concat(),
            &[200, 400],
        ),
        (
            "a request, and a frame behind it",
            [GET.as_bytes(), &crate::case::visit()].concat(),
            &[200, 400],
        ),
        (
            "an upgrade",
            crate::peer::upgrade("/ws").into_bytes(),
            &[404],
        ),
        (
            "a head of a megabyte",
            format!("GET /metrics HTTP/1.1\r\nX: {}", "y".repeat(1 << 20)).into(),
            &[431],
        ),
    ];
    for (name, bytes, statuses) in cases {
        ground.attempt(name, |_| admin.check(&bytes, statuses));
    }
    ground.attempt("a body a byte at a time", |_| {
        slow(&admin, &post("Content-Length: 1000\r\n"), BODY_TIMEOUT)
    });
    ground.attempt("a head a byte at a time", |_| {
        slow(
            &admin,
            "GET /metrics HTTP/1.1\r\nX: ",
            Duration::from_millis(500),
        )
    });
    ground.attempt("chunks without end", |_| {
        let chunk = "1000\r\n".to_owned() + &"x".repeat(4096) + "\r\n";
        admin.check_endless(&post(CHUNKED), chunk.as_bytes(), 413)
    });
    ground.attempt("an extension without end", |_| {
        admin.check_endless(&(post(CHUNKED) + "1;"), &[b'x'; 4096], 400)
    });
    ground.attempt("trailers without end", |_| {
        admin.check_endless(&(post(CHUNKED) + "0\r\n"), &b"X: y\r\n".repeat(700), 400)
    });
    ground.attempt("requests without end, and nobody reads", |ground| {
        deaf(ground, &admin)
    });
    ground.attempt("a crowd", |_| crowd(&admin));
    ground.attempt("bodies that are never finished", |ground| {
        stuck_bodies(ground, &admin)
    });
    ground.attempt("an operator is served as ever", |_| {
        admin.check(
            (GET.repeat(20) + "x\r\n\r\n").as_bytes(),
            &[&[200; 20][..], &[400]].concat(),
        )
    });
    let peak = ground.server.memory("VmHWM:");
    println!("operators' address: {} KiB at most", peak / 1024);
    // A sanitizer keeps what was freed, to see who uses it, and books of its own.
    if std::env::var_os("SANITIZER").is_some() {
        println!("under a sanitizer that says nothing of the server");
    } else {
        assert!(peak < MAX_MEMORY, "{peak} bytes");
    }
    ground.end();
}
