//! Clients who say numbered messages at a pace, whatever happens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{Client, Speaker};

/// When each message was said, by speaker and number.
pub(crate) type Said = BTreeMap<Speaker, Vec<Instant>>;

#[derive(Default)]
struct Shared {
    speakers: Mutex<Vec<Arc<Client>>>,
    said: Mutex<Said>,
    is_over: AtomicBool,
}

impl Shared {
    /// Says the next message of a client. Whoever calls this holds `speakers`.
    fn say(&self, client: &Client, len: usize) {
        let number = {
            let mut said = self.said.lock().expect("nobody panics with it");
            let said = said.entry(client.speaker).or_default();
            said.push(Instant::now());
            said.len() - 1
        };
        client.say(number, len);
    }
}

/// A thread in which some clients speak in turn.
pub(crate) struct Talk {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Duration>>,
}

impl Talk {
    /// Each speaker says something of `len` bytes every `pace`.
    pub(crate) fn start(pace: Duration, len: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let talker = Arc::clone(&shared);
        Self {
            shared,
            thread: Some(std::thread::spawn(move || run(&talker, pace, len))),
        }
    }

    /// One more speaks from now on.
    pub(crate) fn add(&self, client: &Arc<Client>) {
        let mut speakers = self.shared.speakers.lock().expect("no speaker panics");
        speakers.push(Arc::clone(client));
    }

    /// This one does not speak any more.
    pub(crate) fn remove(&self, speaker: Speaker) {
        let mut speakers = self.shared.speakers.lock().expect("no speaker panics");
        speakers.retain(|client| client.speaker != speaker);
    }

    /// Somebody says so many messages at once.
    pub(crate) fn burst(&self, client: &Client, count: usize, len: usize) {
        let speakers = self.shared.speakers.lock().expect("no speaker panics");
        for _ in 0..count {
            self.shared.say(client, len);
        }
        drop(speakers);
    }

    pub(crate) fn said(&self) -> Said {
        let said = self.shared.said.lock().expect("no speaker panics");
        said.clone()
    }

    /// How many messages somebody has said.
    pub(crate) fn count(&self, speaker: Speaker) -> usize {
        let said = self.shared.said.lock().expect("no speaker panics");
        said.get(&speaker).map_or(0, Vec::len)
    }

    /// Ends it. Returns how late somebody was at worst: what the machine kept the speakers waiting.
    pub(crate) fn stop(&mut self) -> Duration {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is stopped once");
        thread.join().expect("no speaker panics")
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}

fn run(shared: &Shared, pace: Duration, len: usize) -> Duration {
    let (mut due, mut worst) = (Instant::now(), Duration::ZERO);
    while !shared.is_over.load(Ordering::Relaxed) {
        let now = Instant::now();
        worst = worst.max(now.saturating_duration_since(due));
        let speakers = shared.speakers.lock().expect("no test panics with it");
        for client in speakers.iter() {
            shared.say(client, len);
        }
        drop(speakers);
        // What the machine made late is not made good by a crowd of messages at once.
        due = (due + pace).max(now);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    worst
}
