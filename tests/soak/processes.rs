//! The processes that play the clients, and what they and their parent tell each other: lines on
//! stdin and stdout. A process ends when its stdin does.

use std::fmt::Write;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use crate::ledger::Deed;
use crate::{honest, rough};

/// What a process is to play; without it, it is the parent.
const ROLE: &str = "SOAK_ROLE";

/// Marks the lines that are for the parent: others, of the test harness, are on stdout as well.
const MARK: &str = "soak: ";

/// The test that plays.
const TEST: &str = "a_process_of_clients";

/// Which clients a process plays.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    /// Honest ones, of the rooms of this process.
    Honest(usize),
    /// The slow and the hostile.
    Rough,
}

/// A process of clients, as its parent sees it. It is killed with the test.
pub(crate) struct Process(Child);

impl Process {
    /// Starts one. What it tells goes to `lines`.
    pub(crate) fn start(role: Role, address: SocketAddr, seed: u64, lines: Sender<String>) -> Self {
        let role = match role {
            Role::Honest(index) => format!("honest-{index} {address} {seed}"),
            Role::Rough => format!("rough {address} {seed}"),
        };
        let program = std::env::current_exe().expect("it runs");
        let mut child = Command::new(program)
            .args(["--ignored", "--exact", TEST, "--nocapture"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs once more");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let told = line.split_once(MARK).map(|(_, told)| told.to_owned());
                if told.is_some_and(|told| lines.send(told).is_err()) {
                    return;
                }
            }
            let _ = lines.send("ended".to_owned());
        });
        Self(child)
    }

    pub(crate) fn say(&mut self, word: &str) {
        let stdin = self.0.stdin.as_mut().expect("it is piped");
        // If it has ended, its last line is under way.
        let _ = writeln!(stdin, "{word}");
    }

    /// Waits for its end, and returns whether it ended well.
    pub(crate) fn end(&mut self) -> bool {
        self.0.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The parent, as a process of clients sees it.
pub(crate) struct Parent(Receiver<String>);

/// Plays the part that the parent has given to this process, if it has.
pub(crate) fn play_role() {
    let Ok(role) = std::env::var(ROLE) else {
        println!("there is nothing to play: run the other test");
        return;
    };
    let mut words = role.split(' ');
    let mut word = || words.next().expect("three words");
    let (name, address, seed) = (word(), word(), word());
    let address = address.parse().expect("an address");
    let seed: u64 = seed.parse().expect("a number");
    rlimit::increase_nofile_limit(u64::MAX).expect("a limit may be raised to its hard value");
    let parent = Parent::new();
    match name.strip_prefix("honest-") {
        Some(index) => {
            let index = index.parse().expect("a number");
            honest::play(index, address, seed.wrapping_add(index as u64), &parent);
        }
        None => rough::play(address, !seed, &parent),
    }
    tell("done");
}

impl Parent {
    fn new() -> Self {
        let (word, words) = channel();
        std::thread::spawn(move || {
            std::io::stdin()
                .lines()
                .map_while(Result::ok)
                .all(|line| word.send(line).is_ok());
        });
        Self(words)
    }

    /// Whether the parent has said this, which is what it says next.
    pub(crate) fn has_said(&self, word: &str) -> bool {
        match self.0.try_recv() {
            Ok(said) => {
                assert_eq!(said, word);
                true
            }
            Err(TryRecvError::Empty) => false,
            Err(TryRecvError::Disconnected) => panic!("the parent has ended before it said {word}"),
        }
    }
}

/// Tells the parent.
pub(crate) fn tell(line: &str) {
    println!("{MARK}{line}");
}

/// Tells how the connection from this port has ended.
pub(crate) fn tell_departure(port: u16, deed: Deed) {
    tell(&format!("departure {port} {}", deed.name()));
}

/// Tells of something that must not be.
pub(crate) fn tell_fault(what: &str) {
    tell(&format!("fault {what}"));
}

pub(crate) fn tell_totals(totals: &[(&str, u64)]) {
    let mut line = "totals".to_owned();
    for (name, count) in totals {
        write!(line, " {name}={count}").expect("a String takes all");
    }
    tell(&line);
}
