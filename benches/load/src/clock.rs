//! Nanoseconds since the start of the run, and a timer that is as fine.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// One second.
pub const SECOND: u64 = 1_000_000_000;

/// The clock of a run.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts now.
    #[expect(clippy::new_without_default, reason = "a default is always the same")]
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since the start.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a run lasts less than 500 years"
    )]
    pub fn now(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// Wakes a poll, in nanoseconds where its own timeout has milliseconds.
#[derive(Debug)]
pub struct Timer {
    descriptor: OwnedFd,
    /// When it goes off, or has gone.
    at: u64,
}

impl Timer {
    /// A timer that does not go off.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(
            &mut SourceFd(&descriptor.as_raw_fd()),
            token,
            Interest::READABLE,
        )?;
        Ok(Self { descriptor, at: 0 })
    }

    /// Lets it go off at `at`, which is later than `now`.
    pub fn set(&mut self, now: u64, at: u64) -> io::Result<()> {
        if at == self.at {
            return Ok(());
        }
        self.at = at;
        let left = at - now;
        let it_value = Timespec {
            tv_sec: (left / SECOND).cast_signed(),
            tv_nsec: (left % SECOND).cast_signed(),
        };
        let it_interval = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let once = Itimerspec {
            it_interval,
            it_value,
        };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}
