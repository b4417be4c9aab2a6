//! What a server without Redis does at the same time: how long this machine keeps anybody waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::node::Node;

/// How often it is asked for a Pong.
const PACE: Duration = Duration::from_millis(10);

/// How long a Pong may take before there is no hope for it.
const LIMIT: Duration = Duration::from_secs(20);

/// A server, and a client that asks it for Pongs. All stages of this process share one.
pub(crate) struct Control {
    shared: Arc<Shared>,
    /// The server lives as long as it.
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// When each Pong came, and how long it took.
    pongs: Mutex<Vec<(Instant, Duration)>>,
}

impl Control {
    /// The one that there is, or a new one.
    pub(crate) fn get() -> Arc<Self> {
        static CONTROL: Mutex<Weak<Control>> = Mutex::new(Weak::new());

        // Whoever panicked with it has left it as it was.
        let mut control = CONTROL.lock().unwrap_or_else(PoisonError::into_inner);
        control.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Self::start());
            *control = Arc::downgrade(&new);
            new
        })
    }

    fn start() -> Self {
        let node = Node::start(&[]);
        let client = Client::join(node.address, "/ws");
        let shared = Arc::<Shared>::default();
        let asking = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while !asking.is_over.load(Ordering::Relaxed) {
                let took = client.ping(LIMIT);
                let mut pongs = asking.pongs.lock().expect("nobody panics with it");
                pongs.push((Instant::now(), took));
                drop(pongs);
                crate::pass(PACE);
            }
            drop((client, node));
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// The longest that a Pong took since then.
    pub(crate) fn worst(&self, since: Instant) -> Duration {
        let pongs = self.shared.pongs.lock().expect("nobody panics with it");
        let lately = pongs.iter().rev().take_while(|(at, _)| *at >= since);
        lately.map(|(_, took)| *took).max().unwrap_or_default()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
