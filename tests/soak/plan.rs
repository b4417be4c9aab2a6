//! How many of everything, and how fast.

use std::time::Duration;

pub(crate) const ROOMS: usize = 20;

/// Clients who do what they should, founders of rooms included.
pub(crate) const HONEST: usize = 1880;
/// Clients who read nothing, or a trickle: 5 %.
pub(crate) const SLOW: usize = 100;
/// Clients who mean harm: 1 %, at most so many at once.
pub(crate) const HOSTILE: usize = 20;

/// Processes that play the honest clients. Each has rooms of its own, so it knows all that is said
/// in them; the slow and the hostile, of one more process, are in all rooms.
pub(crate) const CROWDS: usize = 2;

/// Honest clients who leave in a second; as many join.
pub(crate) const CHURN: f64 = 50.0;
/// Messages that all honest clients say in a second, and one more for each newcomer. Each goes to a
/// room of about a hundred, so these are some 65,000 deliveries; two cores carry that with the
/// clients on them.
pub(crate) const MESSAGES: f64 = 640.0;
/// Attacks that begin in a second.
pub(crate) const ATTACKS: f64 = 6.0;

/// What is due in a second must not come all at once after a pause: no more than this much of it.
pub(crate) const MAX_OWED: Duration = Duration::from_millis(500);

/// How long a client may take to join, or to leave. More than the server's longest timeout, so
/// that the server is the one to give up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The server's settings. Pings come so early that the silent are found in a short run as well.
pub(crate) const SERVER: [&str; 4] = [
    "-v",
    "--ping-interval=15s",
    "--pong-timeout=10s",
    "--write-timeout=10s",
];

/// How often clients who have nothing to read look at what else is due.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Pays out a rate in whole things.
pub(crate) struct Pace {
    per_second: f64,
    owed: f64,
}

impl Pace {
    pub(crate) fn new(per_second: f64) -> Self {
        Self {
            per_second,
            owed: 0.0,
        }
    }

    /// Whether another one is due.
    pub(crate) fn is_due(&mut self) -> bool {
        let is_due = self.owed >= 1.0;
        self.owed -= f64::from(u8::from(is_due));
        is_due
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, elapsed: Duration) {
        let most = (self.per_second * MAX_OWED.as_secs_f64()).max(1.0);
        self.owed = (self.owed + self.per_second * elapsed.as_secs_f64()).min(most);
    }
}
