//! Signals as something that the loop can wait for.

use std::io;
use std::os::unix::net::UnixStream;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};

use super::stream::{self, Filled};

/// Those that end the server.
pub(super) const STOP: &[i32] = &[SIGTERM, SIGINT];
/// The one that has it read its settings again.
pub(super) const RELOAD: &[i32] = &[SIGHUP];

/// Reads of one turn. What the kernel holds for a socket fits into the first: a byte costs it many.
const MAX_READS: usize = 16;

/// Each signal writes a byte into a socket; the loop reads them.
#[derive(Debug)]
pub(super) struct Signals {
    receiver: mio::net::UnixStream,
    /// Whether some may have come.
    is_ready: bool,
    registrations: Vec<signal_hook::SigId>,
}

impl Signals {
    /// Catches these signals from now on.
    pub(super) fn new(registry: &Registry, token: Token, signals: &[i32]) -> io::Result<Self> {
        let (receiver, sender) = UnixStream::pair()?;
        receiver.set_nonblocking(true)?;
        let mut receiver = mio::net::UnixStream::from_std(receiver);
        receiver.register(registry, token, Interest::READABLE)?;
        let mut caught = Self {
            receiver,
            is_ready: false,
            registrations: Vec::new(),
        };
        for signal in signals {
            let registration = pipe::register(*signal, sender.try_clone()?)?;
            caught.registrations.push(registration);
        }
        Ok(caught)
    }

    pub(super) fn note_event(&mut self) {
        self.is_ready = true;
    }

    /// How many signals have come since the last call. All are taken: a socket that fills up would
    /// not tell of the next one.
    pub(super) fn take(&mut self) -> io::Result<usize> {
        let mut signals = 0;
        if !std::mem::take(&mut self.is_ready) {
            return Ok(0);
        }
        for _ in 0..MAX_READS {
            match stream::fill(&mut self.receiver, &mut [0; 1024])? {
                Filled::Bytes(count) => signals += count,
                Filled::Interrupted => {}
                Filled::Blocked | Filled::End => break,
            }
        }
        Ok(signals)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for registration in self.registrations.drain(..) {
            unregister(registration);
        }
    }
}
