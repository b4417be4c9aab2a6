//! One fanfare among several, and what it says of itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::binary::Process;
use crate::wait_until;

/// How long a node may take for an answer to an operator.
const LIMIT: Duration = Duration::from_secs(10);

/// How long a node may take to be well again: the longest back-off, a handshake and the gate.
pub(crate) const RECOVERY: Duration = Duration::from_secs(15);

pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

impl Node {
    /// Starts one on ports of the kernel's choice.
    pub(crate) fn start(arguments: &[String]) -> Self {
        Self::start_behind("", "127.0.0.1:0", arguments)
    }

    /// The same at this address; the shell runs `before` first, which ends with a semicolon.
    pub(crate) fn start_behind(before: &str, listen: &str, arguments: &[String]) -> Self {
        let mut all = vec!["--listen", listen, "--admin", "127.0.0.1:0"];
        all.extend(arguments.iter().map(String::as_str));
        let process = Process::start(before, &all, std::process::Stdio::null());
        let address = process.address();
        let start = "admin at http://";
        let line = process.line(start);
        let (_, admin) = line.split_once(start).expect("it was looked for");
        let admin = admin.trim_end_matches('/').parse().expect("an address");
        Self {
            process,
            address,
            admin,
        }
    }

    /// Asks as an operator: the status and the body.
    pub(crate) fn get(&self, target: &str) -> (u16, String) {
        self.ask(&format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
    }

    /// Publishes as an operator.
    pub(crate) fn publish(&self, target: &str, body: &str) -> (u16, String) {
        let len = body.len();
        self.ask(&format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {len}\r\n\r\n{body}"
        ))
    }

    fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).expect("the node lives");
        let patience = stream.set_read_timeout(Some(LIMIT));
        patience.expect("it is not zero");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    /// All that `/metrics` says.
    pub(crate) fn metrics(&self) -> Metrics {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200);
        Metrics(text)
    }

    /// The sum of a metric, whatever its labels; `name{reason="full"}` is that one alone.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.metrics().sum(name)
    }

    /// Whether the backplane carries messages, and in time.
    pub(crate) fn is_well(&self) -> bool {
        self.get("/readyz?strict=1").0 == 200
    }

    /// Waits until the backplane carries messages, in time; returns how long it took.
    pub(crate) fn wait_until_well(&self) -> Duration {
        let begun = Instant::now();
        wait_until("the node is ready", RECOVERY, || {
            self.is_well().then_some(())
        });
        begun.elapsed()
    }

    /// Waits until messages go through Redis, if not in time; returns how long it took.
    pub(crate) fn wait_until_joined(&self) -> Duration {
        let begun = Instant::now();
        wait_until("the node joins", RECOVERY, || {
            (self.get("/readyz").0 == 200).then_some(())
        });
        begun.elapsed()
    }

    /// Waits until it says that the backplane is down.
    pub(crate) fn wait_until_down(&self, limit: Duration) {
        wait_until("the node notices that Redis is away", limit, || {
            (self.get("/readyz").0 == 503).then_some(())
        });
    }

    /// Waits until it says that the backplane does not do what it should.
    pub(crate) fn wait_until_unwell(&self, limit: Duration) {
        wait_until("the node notices that something is wrong", limit, || {
            (!self.is_well()).then_some(())
        });
    }

    /// It does not change its mind about that for so long.
    pub(crate) fn stays_unwell(&self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            assert!(!self.is_well(), "well after {:?}", begun.elapsed());
            crate::pass(Duration::from_millis(20));
        }
    }

    /// What of a second of CPU it uses a second, over this time.
    pub(crate) fn load(&self, over: Duration) -> f64 {
        let (begun, before) = (Instant::now(), self.process.cpu_time());
        crate::pass(over);
        let used = self.process.cpu_time().saturating_sub(before);
        used.as_secs_f64() / begun.elapsed().as_secs_f64()
    }
}

/// What an operator reads of a node.
pub(crate) struct Metrics(pub(crate) String);

impl Metrics {
    /// The sum of a metric, whatever its labels; `name{reason="full"}` is that one alone. Zero if
    /// nothing has happened that it counts.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        assert!(
            self.0.contains(name.split('{').next().unwrap_or(name)),
            "there is no metric {name} among:\n{}",
            self.redis()
        );
        let values = self.0.lines().filter_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            let is_it = key == name || key.strip_prefix(name).is_some_and(|k| k.starts_with('{'));
            is_it.then(|| value.parse::<f64>().expect("a number"))
        });
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counters are whole and not negative"
        )]
        let sum = values.sum::<f64>() as u64;
        sum
    }

    /// The lines about Redis that are not zero.
    pub(crate) fn redis(&self) -> String {
        let lines = self.0.lines().filter(|line| {
            line.starts_with("fanfare_redis") && !line.ends_with(" 0") && !line.contains("_bucket")
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}
