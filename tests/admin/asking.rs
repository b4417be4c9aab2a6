//! What clients notice of operators who ask all the time.

use std::fmt::Write as _;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::flag::admin_address;
use crate::pair::{Pair, Tally};
use crate::peer::Peer;
use crate::process::{Process, now};

/// How often the pair of clients talks.
const PACE: Duration = Duration::from_millis(2);

/// How long each look at the pair lasts, and how many there are with operators and without.
const ROUND: Duration = Duration::from_millis(1500);
const ROUNDS: usize = 5;

/// From one request of operators to the next: 200 a second.
const ASKING_PACE: Duration = Duration::from_millis(5);

/// Clients who are there besides, and are counted and listed each time.
const CLIENTS: usize = 400;

/// How much later 99 of 100 messages may come: what a machine that others use too does by itself
/// from one round to the next.
const MAX_FACTOR: u32 = 2;
const MAX_MORE: Duration = Duration::from_millis(1);

/// Asks until it is told to stop, and returns how often it did.
struct Operator {
    stop: Sender<()>,
    asking: JoinHandle<usize>,
}

impl Operator {
    fn start(address: SocketAddr) -> Self {
        let (stop, stopped) = channel();
        let asking = std::thread::spawn(move || {
            let requests = [
                "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /clients?limit=1000 HTTP/1.1\r\nHost: a\r\n\r\n",
                "POST /publish/few HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
                "GET /rooms HTTP/1.1\r\nHost: a\r\n\r\n",
            ];
            let mut peer = Peer::connect(address);
            let (mut count, begun) = (0, now());
            loop {
                peer.send(requests[count % requests.len()]);
                read_answer(&mut peer);
                count += 1;
                let due = ASKING_PACE * u32::try_from(count).expect("it is not asked for years");
                let left = due.saturating_sub(begun.elapsed());
                if stopped.recv_timeout(left) != Err(RecvTimeoutError::Timeout) {
                    return count;
                }
            }
        });
        Self { stop, asking }
    }

    fn stop(self) -> usize {
        drop(self.stop);
        self.asking.join().expect("every request is answered")
    }
}

fn read_answer(peer: &mut Peer) {
    let head = peer.read_head();
    assert!(head.starts_with("HTTP/1.1 20"), "{head}");
    let (_, rest) = head.split_once("\r\nContent-Length: ").expect("a length");
    let length = rest.lines().next().and_then(|length| length.parse().ok());
    let mut body = vec![0; length.expect("a number")];
    peer.stream.read_exact(&mut body).expect("a whole body");
}

/// What a pair meets with in one round.
fn round(address: SocketAddr) -> Tally {
    let pair = Pair::start(address, "/ws/pair", PACE);
    let (_never, nothing) = channel::<()>();
    let waited = nothing.recv_timeout(ROUND);
    assert_eq!(waited, Err(RecvTimeoutError::Timeout));
    let tally = pair.stop();
    assert!(tally.is_clean(), "{tally}");
    tally
}

fn median(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}

/// A server with many clients, two of them in the room that operators publish to: what a large room
/// costs is the price of what is said there, whoever says it.
struct Crowded {
    server: Process,
    address: SocketAddr,
    admin: SocketAddr,
    _crowd: Vec<Peer>,
}

impl Crowded {
    fn start() -> Self {
        let (server, address) = Process::serve("", &["--admin", "127.0.0.1:0"]);
        let admin = admin_address(&server);
        let room = |number| if number < 2 { "/ws/few" } else { "/ws/other" };
        let crowd = (0..CLIENTS).map(|number| Peer::open(address, room(number)));
        Self {
            server,
            address,
            admin,
            _crowd: crowd.collect(),
        }
    }
}

/// The pair talks to one server; operators ask that one, or another one like it, so that the
/// machine has the same work in both cases.
#[test]
#[ignore = "15 s: run by ./test admin"]
fn clients_hardly_notice_operators() {
    let (mut asked_server, mut other_server) = (Crowded::start(), Crowded::start());
    let address = asked_server.address;
    let (mut without, mut with, mut asked) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let elsewhere = Operator::start(other_server.admin);
        without.push(round(address).latency(990));
        elsewhere.stop();
        let operator = Operator::start(asked_server.admin);
        with.push(round(address).latency(990));
        asked += operator.stop();
    }
    let mut all = String::new();
    for (without, with) in without.iter().zip(&with) {
        let _ = write!(all, " {without:.1?}/{with:.1?}");
    }
    let (without, with) = (median(without), median(with));
    println!(
        "p99 of a pair among {CLIENTS} clients: {without:.1?} while operators ask another server, \
         {with:.1?} while they ask this one, {asked} requests in {:.1?} (each round:{all})",
        ROUND * 5
    );
    assert!(
        cfg!(debug_assertions) || with <= without * MAX_FACTOR + MAX_MORE,
        "operators hold up clients"
    );
    assert!(asked >= 500, "{asked} requests are too few to tell");
    asked_server.server.stop();
    other_server.server.stop();
}
