//! Where cases are run: a server, a room, and the control pair in it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use crate::case::{Case, Expected, Outcome, PATH, shown};
use crate::client::{Client, LIMIT};
use crate::pair::{Overheard, Pair, Tally};
use crate::peer::Peer;
use crate::process::Process;

/// How often the control pair talks.
const PACE: Duration = Duration::from_millis(2);

/// What is promised of the latency of 99 in 100 messages of the control pair, beside what a busy
/// machine keeps the pair itself waiting. It is asked for in release, where the server is as fast
/// as it is meant to be.
const MAX_P99: Duration = Duration::from_millis(50);

/// What all themes have found so far.
static TOTAL: Mutex<Total> = Mutex::new(Total {
    cases: 0,
    tallies: Vec::new(),
});

struct Total {
    cases: usize,
    tallies: Vec<Tally>,
}

/// A server with these flags, and the control pair.
pub(crate) struct Ground {
    pub(crate) server: Process,
    pub(crate) address: SocketAddr,
    pub(crate) pair: Pair,
    theme: &'static str,
    /// Descriptors before anybody was connected, and with the pair.
    alone: usize,
    with_pair: usize,
    /// The names of the cases so far.
    cases: BTreeSet<String>,
    failures: Vec<String>,
}

impl Ground {
    pub(crate) fn start(theme: &'static str, flags: &[&str]) -> Self {
        let (server, address) = Process::serve("", flags);
        Self::around(theme, server, address)
    }

    /// The same around a server that runs already.
    pub(crate) fn around(theme: &'static str, server: Process, address: SocketAddr) -> Self {
        // Who is served by now has been counted.
        let mut visitor = Peer::open(address, PATH);
        visitor.check_echo();
        let alone = server.descriptors() - 1;
        drop(visitor);
        server.wait_for_descriptors(alone);
        let pair = Pair::start(address, PATH, PACE);
        pair.look().expect("the control pair talks");
        let with_pair = server.descriptors();
        assert_eq!(with_pair, alone + 2, "descriptors with the control pair");
        Self {
            server,
            address,
            pair,
            theme,
            alone,
            with_pair,
            cases: BTreeSet::new(),
            failures: Vec::new(),
        }
    }

    /// Runs cases one after another. Behind each, the room has heard what it had to, and the
    /// server's descriptors are back.
    pub(crate) fn run(&mut self, cases: Vec<Case>) {
        for case in cases {
            self.attempt(&case.name, |ground| ground.check(&case));
        }
    }

    /// Runs one case, whatever its name.
    pub(crate) fn check(&self, case: &Case) -> Result<(), String> {
        let mut client = Client::connect(self.address);
        let failure = check(case, &mut client, &self.pair);
        let overheard = self.pair.look()?;
        drop(client);
        failure?;
        check_room(&case.expected, &overheard)
    }

    /// Runs cases that wait all at once. The room must not hear a word of them.
    pub(crate) fn run_together(&mut self, cases: &[Case]) {
        let (address, pair) = (self.address, &self.pair);
        let failures: Vec<Result<(), String>> = std::thread::scope(|scope| {
            let spawn =
                |case| scope.spawn(move || check(case, &mut Client::connect(address), pair));
            let running: Vec<_> = cases.iter().map(spawn).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, Result<(), String>>| {
                thread.join().unwrap_or(Err("it panicked".to_owned()))
            };
            running.into_iter().map(join).collect()
        });
        for (case, failure) in cases.iter().zip(failures) {
            self.attempt(&case.name, |_| failure);
        }
        self.attempt("the room hears nothing of those who wait", |ground| {
            let overheard = ground.pair.look()?;
            let silent = overheard.iter().all(Vec::is_empty);
            silent.then_some(()).ok_or_else(|| shown(&overheard[0]))
        });
    }

    /// Runs one case that no table can hold.
    pub(crate) fn attempt(&mut self, name: &str, case: impl FnOnce(&Self) -> Result<(), String>) {
        let is_new = self.cases.insert(name.to_owned());
        assert!(is_new, "there are two cases '{name}'");
        let outcome = case(self);
        self.note(name, outcome);
        // Whoever was in it has left.
        let what = format!("what '{name}' held is let go");
        self.server.wait_for(&what, LIMIT, || {
            let open = self.server.descriptors();
            if open == self.with_pair {
                Ok(())
            } else {
                Err(open)
            }
        });
    }

    fn note(&mut self, name: &str, outcome: Result<(), String>) {
        if let Err(failure) = outcome {
            println!("{}: {name}: {failure}", self.theme);
            self.failures.push(name.to_owned());
        }
    }

    /// Lets the pair take leave, and the server stop; fails if anything has failed.
    pub(crate) fn end(self) {
        self.end_among(Vec::new());
    }

    /// The same while clients are there that have done the steps of these cases.
    pub(crate) fn end_among(mut self, cases: Vec<Case>) {
        let mut present = Vec::new();
        for case in cases {
            let mut client = Client::connect(self.address);
            let done = client.act(&case.steps, &self.pair);
            self.cases.insert(case.name.clone());
            self.note(&case.name, done);
            present.push((case, client));
        }
        let tally = self.pair.stop();
        self.server.wait_for_descriptors(self.alone + present.len());
        Peer::open(self.address, "/ws/visitor").check_echo();
        self.server.signal("TERM");
        let mut outcomes = Vec::new();
        for (case, mut client) in present {
            let seen = client.finish();
            outcomes.push((case.name, compare(&case.expected, &seen, client.lasted)));
        }
        assert_eq!(self.server.end(), Some(0), "the exit code");
        for (name, outcome) in outcomes {
            if let Err(failure) = outcome {
                println!("{}: {name}: {failure}", self.theme);
                self.failures.push(name);
            }
        }
        let (theme, count) = (self.theme, self.cases.len());
        let late = tally.delay(990).as_secs_f64() * 1e3;
        println!("{theme}: {count} cases; control pair: {tally}; itself late by p99 {late:.1} ms");
        let failures = self.failures.join("\n");
        assert!(failures.is_empty(), "{theme}, see above:\n{failures}");
        assert!(tally.is_clean(), "{tally}");
        assert!(
            cfg!(debug_assertions) || tally.latency(990) < MAX_P99 + tally.delay(990),
            "{tally}"
        );
        print_total(count, tally);
    }
}

/// One line with all that this process has found so far: the last one has the whole.
fn print_total(cases: usize, tally: Tally) {
    let mut total = TOTAL
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    total.cases += cases;
    total.tallies.push(tally);
    let mut all = Tally::default();
    for tally in &total.tallies {
        all.add(tally);
    }
    println!(
        "hostile clients: {} cases; control pair: {all}",
        total.cases
    );
}

fn check(case: &Case, client: &mut Client, pair: &Pair) -> Result<(), String> {
    let seen = client.run(&case.steps, pair)?;
    compare(&case.expected, &seen, client.lasted)
}

fn compare(expected: &Expected, seen: &Outcome, lasted: Duration) -> Result<(), String> {
    let Expected { outcome, at, .. } = expected;
    if seen != outcome {
        return Err(format!("\n  expected {outcome}\n  but saw  {seen}"));
    }
    match at {
        Some(range) if !range.contains(&lasted) => {
            Err(format!("it ended after {lasted:?}, not in {range:?}"))
        }
        _ => Ok(()),
    }
}

fn check_room(expected: &Expected, overheard: &Overheard) -> Result<(), String> {
    for heard in overheard {
        if *heard != expected.room {
            let (room, heard) = (shown(&expected.room), shown(heard));
            return Err(format!(
                "\n  the room was to hear {room}\n  but heard {heard}"
            ));
        }
    }
    Ok(())
}
