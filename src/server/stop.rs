//! The end: announced, no longer listening, everybody closed, and the deadline of it all.

use std::io;
use std::time::{Duration, Instant};

use super::notify::State;
use super::signals::{self, Signals};
use super::{SIGNALS, Server, report};

/// How [`Server::run`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All clients were told, and have gone.
    Drained,
    /// Some had not gone after `shutdown_timeout`.
    TimedOut,
    /// A second signal came while some had not gone.
    Interrupted,
}

/// How long a stop waits for Redis to take what was said last. While others say more than clients
/// take, its answers are not read, and that time counts all the same: where messages flow, what is
/// said is written to Redis without waiting for answers, and what is not acknowledged is nothing
/// worse than a line in the log. What does wait, and may be lost with the server: all that is said
/// while others are waited for after Redis was away (2.5 s at most, in `pubsub`), or while a stream
/// is searched for what it may have lost; and what comes behind a message that Redis has refused,
/// since then they go one at a time, each behind the answer to the one before.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long those may take to ask who have connected and not asked yet when listening ends. Whoever
/// is honest takes a round trip.
const ASKING_TIMEOUT: Duration = Duration::from_millis(250);

/// How far waiting for Redis is.
#[derive(Clone, Copy, Debug)]
enum Flush {
    /// Nobody waits.
    No,
    /// What other servers have not been told by then is given up.
    Until(Instant),
    /// It has been given up.
    Over,
}

/// A stop that is under way.
#[derive(Debug)]
pub(super) struct Stop {
    /// When listening ends; `None` when it has ended.
    listening_ends: Option<Instant>,
    /// Until when those are waited for who have connected and not asked yet; `None` when they are
    /// not, or not yet.
    asking_ends: Option<Instant>,
    /// Whether clients are not read, and not closed yet, so that they hear what was said last.
    is_settling: bool,
    flush: Flush,
    /// The settings when it began.
    drain_delay: Duration,
    drain_time: Duration,
    /// When everything ends.
    deadline: Instant,
    /// Whether somebody does not want to wait for it.
    is_interrupted: bool,
}

impl Stop {
    pub(super) fn next_deadline(&self) -> Instant {
        match (self.listening_ends.or(self.asking_ends), self.flush) {
            (Some(ends), _) | (None, Flush::Until(ends)) => ends,
            (None, Flush::No | Flush::Over) => self.deadline,
        }
    }

    /// Whether clients are not read any more, although they are not closed.
    pub(super) fn is_settling(&self) -> bool {
        self.is_settling
    }
}

impl Server {
    /// From now on SIGTERM and SIGINT drain this server instead of ending the process; a second
    /// one ends [`run`](Self::run) at once. They are caught for good: once the server is gone they
    /// do nothing.
    pub fn stop_on_signals(&mut self) -> io::Result<()> {
        let signals = Signals::new(self.poll.registry(), SIGNALS, signals::STOP)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Ends the server, as SIGTERM does:
    ///
    /// 1. the hub [is not ready](crate::Hub::is_ready) any more, and everything goes on for
    ///    `drain_delay`, newcomers included;
    /// 2. the server stops listening, answers who has connected by then and asks within 250 ms, and
    ///    closes its clients behind what is queued for them: evenly over `drain_time` with 1012, or
    ///    all at once with 1001 if that is zero. If it shares rooms with other servers, it does not
    ///    read its clients before that until all has been heard that was said, for 2 s at most;
    /// 3. it waits for them to go, and again for other servers to be told, but no longer than
    ///    `shutdown_timeout` from now.
    ///
    /// A second call has no effect.
    pub fn drain(&mut self) {
        let now = self.clock.now();
        self.drain_at(now);
    }

    pub(super) fn drain_at(&mut self, now: Instant) {
        if self.stop.is_some() {
            return;
        }
        report::stopping(&self.hub, &self.config);
        self.notify(State::Stopping);
        self.hub.announce_drain();
        self.stop = Some(Stop {
            listening_ends: Some(now + self.config.drain_delay),
            asking_ends: None,
            is_settling: false,
            flush: Flush::No,
            drain_delay: self.config.drain_delay,
            drain_time: self.config.drain_time,
            deadline: now + self.config.shutdown_timeout,
            is_interrupted: false,
        });
        self.go_on_stopping(now);
    }

    /// Stops listening when it is time, and closes clients when what they have said is heard.
    fn go_on_stopping(&mut self, now: Instant) {
        let Some(stop) = &mut self.stop else { return };
        if stop.listening_ends.is_some_and(|at| now < at) {
            return;
        }
        let has_delay = !stop.drain_delay.is_zero();
        let drain_time = stop.drain_time;
        if stop.listening_ends.take().is_some() {
            stop.asking_ends = Some((now + ASKING_TIMEOUT).min(stop.deadline));
            self.accept_the_last(now);
            if has_delay {
                report::stopped_listening(&self.hub);
            }
        }
        let Some(stop) = &mut self.stop else { return };
        let all_have_asked = self.hub.handshakes() == 0 || stop.is_interrupted;
        if stop
            .asking_ends
            .take_if(|ends| all_have_asked || *ends <= now)
            .is_some()
        {
            // Those who are closed little by little go on talking meanwhile.
            stop.is_settling = drain_time.is_zero();
            if !drain_time.is_zero() {
                return self.hub.drain(now, drain_time);
            }
        }
        if self.stop.as_ref().is_some_and(Stop::is_settling) && self.has_flushed(now) {
            self.hub.drain(now, Duration::ZERO);
            self.stop
                .iter_mut()
                .for_each(|stop| stop.is_settling = false);
        }
    }

    /// Whether other servers have been told everything, or that is not waited for any longer.
    fn has_flushed(&mut self, now: Instant) -> bool {
        let (Some(stop), Some(bridge)) = (&mut self.stop, &self.bridge) else {
            return true;
        };
        let is_flushed = bridge.is_flushed() && !self.hub.has_relayed();
        let ends = (now + FLUSH_TIMEOUT).min(stop.deadline);
        stop.flush = match stop.flush {
            Flush::Over => Flush::Over,
            _ if stop.is_interrupted => Flush::Over,
            _ if is_flushed => Flush::No,
            Flush::No => Flush::Until(ends),
            Flush::Until(ends) if now >= ends => Flush::Over,
            Flush::Until(ends) => Flush::Until(ends),
        };
        !matches!(stop.flush, Flush::Until(_))
    }

    /// Does what signals want, and goes on with what they wanted before.
    pub(super) fn obey(&mut self, now: Instant) -> io::Result<()> {
        let stops = self.signals.as_mut().map_or(Ok(0), Signals::take)?;
        if stops > 0 {
            let is_second = stops > 1 || self.stop.is_some();
            self.drain_at(now);
            if let Some(stop) = &mut self.stop {
                stop.is_interrupted |= is_second;
            }
        }
        let reloads = self.reloads.as_mut().map_or(Ok(0), Signals::take)?;
        self.wants_reload |= reloads > 0;
        self.go_on_stopping(now);
        Ok(())
    }

    /// How the server ended; `None` while it runs, or drains. For those who call
    /// [`turn`](Self::turn) themselves: there is nothing left to turn then.
    pub fn outcome(&mut self) -> Option<Outcome> {
        let stop = self.stop.as_ref()?;
        let (deadline, is_interrupted) = (stop.deadline, stop.is_interrupted);
        let is_listening = stop.listening_ends.or(stop.asking_ends).is_some();
        let now = self.clock.now();
        if self.hub.is_empty() && (is_interrupted || !is_listening && self.has_flushed(now)) {
            Some(Outcome::Drained)
        } else if is_interrupted {
            Some(Outcome::Interrupted)
        } else {
            (now >= deadline).then_some(Outcome::TimedOut)
        }
    }
}
