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
    threads: Vec<JoinHandle<Vec<Duration>>>,
    _control: Node,
}

/// How long a turn of the loop may take with Redis in it: all but one of a hundred, and the longest
/// of all. A call that blocks is none of these. Both beside what a server without Redis takes.
const MAX_LATENCY: Duration = Duration::from_millis(20);
const MAX_WORST: Duration = Duration::from_millis(100);

impl Probe {
    /// Watches a node, and one that has nothing to do with Redis for comparison.
    pub(crate) fn start(node: &Node) -> Self {
        let control = Node::start(&[]);
        let is_over = Arc::new(AtomicBool::new(false));
        let threads = [node.address, control.address].map(|address| {
            let client = Client::join(address, "/ws/probe");
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                let mut times = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    times.push(client.ping(LIMIT));
                    std::thread::sleep(Duration::from_millis(5));
                }
                times.sort_unstable();
                times
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
        let threads = self.threads.drain(..);
        let times = threads.map(|thread| thread.join().expect("Pongs come"));
        let [times, control]: [Vec<Duration>; 2] = times
            .collect::<Vec<_>>()
            .try_into()
            .expect("there are two of them");
        let most = |times: &[Duration]| times[times.len() * 99 / 100];
        let worst = |times: &[Duration]| times[times.len() - 1];
        let told = format!(
            "{} Pongs took {:.1?}, {:.1?} at worst; of a server without Redis {:.1?}, {:.1?}",
            times.len(),
            most(&times),
            worst(&times),
            most(&control),
            worst(&control),
        );
        println!("{told}");
        assert!(most(&times) < MAX_LATENCY + most(&control), "{told}");
        assert!(worst(&times) < MAX_WORST + worst(&control), "{told}");
    }
}
