//! Whether the loop of a server goes on turning.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::client::Client;
use crate::node::Node;

/// How long a Pong may take before there is no hope for it.
const LIMIT: Duration = Duration::from_secs(15);

/// Clients who ask a server for Pongs all the time, and the longest that one took.
pub(crate) struct Probe {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Duration>>,
    _control: Node,
}

/// How long the loop may be busy with something else, on a machine that is not.
const MAX_LATENCY: Duration = Duration::from_millis(20);

impl Probe {
    /// Watches a node, and one that has nothing to do with Redis for comparison.
    pub(crate) fn start(node: &Node) -> Self {
        let control = Node::start(&[]);
        let is_over = Arc::new(AtomicBool::new(false));
        let threads = [node.address, control.address].map(|address| {
            let client = Client::join(address, "/ws/probe");
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                let mut worst = Duration::ZERO;
                while !is_over.load(Ordering::Relaxed) {
                    worst = worst.max(client.ping(LIMIT));
                    std::thread::sleep(Duration::from_millis(5));
                }
                worst
            })
        });
        Self {
            is_over,
            threads: threads.into(),
            _control: control,
        }
    }

    /// The loop was never busy with Redis for long.
    pub(crate) fn check(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let worst: Vec<Duration> = self
            .threads
            .drain(..)
            .map(|thread| thread.join().expect("Pongs come"))
            .collect();
        println!(
            "a Pong took {:.1?}, of a server without Redis {:.1?}",
            worst[0], worst[1]
        );
        assert!(
            worst[0] < MAX_LATENCY + worst[1],
            "a Pong took {:?}",
            worst[0]
        );
    }
}
