//! The parent of the processes of clients: it watches the server, and judges.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::gauge::{Line, Sample};
use crate::latency::Latency;
use crate::ledger::{Ledger, number};
use crate::plan::{CROWDS, HONEST, HOSTILE, PATIENCE, ROOMS, SERVER, SLOW};
use crate::processes::{Process, Role};
use crate::server::Process as Server;

/// How often the server's figures are read.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// How long nobody looks at what the clients tell.
const GLANCE: Duration = Duration::from_millis(20);

/// How long more is listened to when something has gone wrong: the reason may be under way.
const GRACE: Duration = Duration::from_secs(2);

/// Faults that are printed. One of the server is one of each client of a room.
const MAX_FAULTS: usize = 10;

pub(crate) struct Watch {
    server: Server,
    processes: Vec<Process>,
    /// What the processes tell.
    lines: Receiver<String>,
    begun: Instant,
    ledger: Ledger,
    /// The last words of each kind that the processes told, and how many did.
    words: BTreeMap<String, usize>,
    totals: BTreeMap<String, u64>,
    latency: Latency,
    faults: Vec<String>,
    stopped: Option<String>,
    /// Before anybody came.
    start: Sample,
    /// While they came and went.
    samples: Vec<Sample>,
    /// The most memory that it ever had, in bytes.
    peak: u64,
    life: Duration,
    cpu: Duration,
}

impl Watch {
    /// Starts the server and the clients.
    pub(crate) fn start(seed: u64) -> Self {
        let (server, address) = Server::serve("", &SERVER);
        let begun = Instant::now();
        let start = sample(&server, begun);
        let (line, lines) = channel();
        let roles = (0..CROWDS).map(Role::Honest).chain([Role::Rough]);
        let processes = roles
            .map(|role| Process::start(role, address, seed, line.clone()))
            .collect();
        Self {
            server,
            processes,
            lines,
            begun,
            ledger: Ledger::default(),
            words: BTreeMap::new(),
            totals: BTreeMap::new(),
            latency: Latency::new(),
            faults: Vec::new(),
            stopped: None,
            start,
            samples: Vec::new(),
            peak: 0,
            life: Duration::ZERO,
            cpu: Duration::ZERO,
        }
    }

    /// Waits until the honest have filled their rooms.
    pub(crate) fn gather(&mut self) {
        self.wait_for("ready");
        self.say("go");
    }

    /// Lets everybody come and go for so long.
    pub(crate) fn live(&mut self, duration: Duration) {
        let (begun, cpu) = (Instant::now(), self.server.cpu_time());
        let mut next = begun;
        while begun.elapsed() < duration {
            self.look();
            if Instant::now() >= next {
                next += SAMPLE_INTERVAL;
                self.samples.push(sample(&self.server, self.begun));
            }
        }
        self.life = begun.elapsed();
        self.cpu = self.server.cpu_time().saturating_sub(cpu);
        self.say("stop");
        self.wait_for("quiet");
    }

    /// Lets everybody leave, and stops the server.
    pub(crate) fn disband(&mut self) {
        self.say("leave");
        self.wait_for("done");
        for process in &mut self.processes {
            assert!(process.end(), "a process of clients failed, see above");
        }
        let begun = Instant::now();
        while self.ledger.unmatched() != (0, 0)
            || self.server.descriptors() > self.start.descriptors
        {
            self.look();
            if begun.elapsed() > PATIENCE {
                let (told, logged) = self.ledger.unmatched();
                let open = self.server.descriptors();
                self.faults.push(format!(
                    "everybody has left: {told} departures are not in the log, {logged} in the \
                     log were not told of, and of {} descriptors there are {open}",
                    self.start.descriptors
                ));
                self.fail();
            }
        }
        self.samples.push(sample(&self.server, self.begun));
        self.peak = self.server.memory("VmHWM:");
        self.server.signal("TERM");
        while self.stopped.is_none() {
            self.look();
            assert!(begun.elapsed() < 2 * PATIENCE, "the server does not stop");
        }
        assert_eq!(self.server.end(), Some(0));
    }

    fn say(&mut self, word: &str) {
        for process in &mut self.processes {
            process.say(word);
        }
    }

    /// Waits until all processes have told this.
    fn wait_for(&mut self, word: &str) {
        let begun = Instant::now();
        while self.words.get(word).copied().unwrap_or(0) < self.processes.len() {
            self.look();
            assert!(begun.elapsed() < 2 * PATIENCE, "no process says {word}");
        }
    }

    /// Listens for a moment; ends the test if something has gone wrong.
    fn look(&mut self) {
        self.listen(GLANCE);
        if !self.faults.is_empty() {
            let begun = Instant::now();
            while begun.elapsed() < GRACE {
                self.listen(GLANCE);
            }
            self.fail();
        }
    }

    fn fail(&self) -> ! {
        let (first, more) = self.faults.split_at(self.faults.len().min(MAX_FAULTS));
        panic!("{}\nand {} more", first.join("\n"), more.len());
    }

    fn listen(&mut self, moment: Duration) {
        let told: Vec<String> = self.lines.try_iter().collect();
        for line in told {
            if let Err(fault) = self.hear(&line) {
                self.faults.push(fault);
            }
        }
        let mut line = self.server.lines.recv_timeout(moment);
        while let Ok(said) = &line {
            if let Err(fault) = self.read(said) {
                self.faults.push(fault);
            }
            line = self
                .server
                .lines
                .try_recv()
                .map_err(|_| RecvTimeoutError::Timeout);
        }
        if line == Err(RecvTimeoutError::Disconnected) && self.stopped.is_none() {
            self.faults.push("the server has ended".to_owned());
        }
    }

    /// A process of clients tells something.
    fn hear(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "departure" => {
                let (port, deed) = rest.split_once(' ').unwrap_or_default();
                let port = port.parse().map_err(|_| format!("no port: {line}"))?;
                self.ledger.tell(port, deed)?;
            }
            "fault" => return Err(rest.to_owned()),
            "totals" => {
                for (name, count) in rest.split(' ').filter_map(|pair| pair.split_once('=')) {
                    let count: u64 = count.parse().map_err(|_| format!("no count: {line}"))?;
                    *self.totals.entry(name.to_owned()).or_default() += count;
                }
            }
            "latency" => {
                let latency = rest.parse().map_err(|()| format!("no latency: {line}"))?;
                self.latency.add(&latency);
            }
            word => {
                let count = self.words.entry(word.to_owned()).or_default();
                *count += 1;
                let done = self.words.get("done").copied().unwrap_or(0);
                if self.words.get("ended").is_some_and(|ended| *ended > done) {
                    return Err("a process of clients ended too early".to_owned());
                }
            }
        }
        Ok(())
    }

    /// The server logs something.
    fn read(&mut self, line: &str) -> Result<(), String> {
        if line.contains(" stopped outcome=") {
            self.stopped = Some(line.to_owned());
        }
        let is_warning = [" WARN ", " ERROR ", "panicked"]
            .iter()
            .any(|word| line.contains(word));
        if is_warning && !line.contains("client too slow") {
            return Err(format!("the server says: {line}"));
        }
        self.ledger.read(line)
    }

    /// Prints all figures, and judges them.
    pub(crate) fn report(&self) {
        let total = |name: &str| self.totals.get(name).copied().unwrap_or(0);
        let stopped = self.stopped.as_deref().unwrap_or_default();
        let seconds = self.life.as_secs_f64();
        let (said, deliveries) = (total("said"), total("deliveries"));
        let Some((end, life)) = self.samples.split_last() else {
            panic!("no samples");
        };
        let rss = Line::through(life, |sample| sample.rss_bytes as f64);
        let fds = Line::through(life, |sample| sample.descriptors as f64);
        let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
        println!(
            "clients: {} at once in {ROOMS} rooms: {HONEST} honest, {SLOW} slow, up to {HOSTILE} \
             hostile; {} connections in {seconds:.0} s",
            HONEST + SLOW + HOSTILE,
            self.ledger.told
        );
        println!(
            "honest: {} joined, {} left with a Close, {} without a word; {} attacks",
            total("opened"),
            total("left"),
            total("vanished"),
            total("attacks")
        );
        println!(
            "messages: {said} sent, {deliveries} deliveries checked ({:.0}/s, {:.1} MB/s), gaps 0, \
             damaged 0",
            deliveries as f64 / seconds,
            total("delivered_bytes") as f64 / seconds / 1e6
        );
        println!(
            "latency: p50 {:.1?}, p99 {:.1?}, worst {:.1?}; server: {:.0} % of a core",
            self.latency.per_mille(500),
            self.latency.per_mille(990),
            self.latency.per_mille(1000),
            100.0 * self.cpu.as_secs_f64() / seconds
        );
        let causes = self.ledger.by_cause.iter();
        let causes: Vec<String> = causes
            .map(|(cause, count)| format!("{cause}={count}"))
            .collect();
        println!("departures: {}", causes.join(" "));
        for ((deed, cause), count) in &self.ledger.matched {
            println!("  {}: {count} {cause}", deed.name());
        }
        println!(
            "RSS: {:.1} MiB before, {:.1} at most, {:.1} after everybody left; slope {rss}",
            mib(self.start.rss_bytes),
            mib(self.peak),
            mib(end.rss_bytes)
        );
        let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/soak.tsv");
        fs::write(path, table(&self.samples)).expect("it is ours");
        println!("second by second: {path}");
        println!(
            "descriptors: {} before, {} after; slope {fds}",
            self.start.descriptors, end.descriptors
        );
        if let Err(fault) = self.ledger.check_sums(stopped) {
            panic!("{fault}");
        }
        assert!(stopped.contains("outcome=drained left=0 "), "{stopped}");
        assert_eq!(number(stopped, "messages_in"), Ok(said), "{stopped}");
        let sent = number(stopped, "messages_out").expect("it was one");
        assert!(sent >= deliveries, "{deliveries} heard, but: {stopped}");
        assert!(
            end.descriptors == self.start.descriptors,
            "descriptors leak"
        );
        assert!(!rss.grows(), "the server's memory grows");
        assert!(!fds.grows(), "the server's descriptors grow");
    }
}

fn sample(server: &Server, begun: Instant) -> Sample {
    Sample {
        at: begun.elapsed().as_secs_f64(),
        rss_bytes: server.memory("VmRSS:"),
        descriptors: server.descriptors(),
    }
}

/// The samples, one a line.
fn table(samples: &[Sample]) -> String {
    let mut table = "second\tRSS\tdescriptors\n".to_owned();
    for Sample {
        at,
        rss_bytes,
        descriptors,
    } in samples
    {
        writeln!(table, "{at:.1}\t{rss_bytes}\t{descriptors}").expect("a String takes all");
    }
    table
}
