//! SIGTERM and SIGINT as something that the loop can wait for.

use std::io;
use std::os::unix::net::UnixStream;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};

use super::stream::{self, Filled};

/// Each signal writes a byte into a socket; the loop reads them.
#[derive(Debug)]
pub(super) struct Signals {
    receiver: mio::net::UnixStream,
    registrations: Vec<signal_hook::SigId>,
}

impl Signals {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let (receiver, sender) = UnixStream::pair()?;
        receiver.set_nonblocking(true)?;
        let mut receiver = mio::net::UnixStream::from_std(receiver);
        receiver.register(registry, token, Interest::READABLE)?;
        let mut signals = Self {
            receiver,
            registrations: Vec::new(),
        };
        for signal in [SIGTERM, SIGINT] {
            signals
                .registrations
                .push(pipe::register(signal, sender.try_clone()?)?);
        }
        Ok(signals)
    }

    /// How many signals have come since the last call; many of them count as a few.
    pub(super) fn take(&mut self) -> io::Result<usize> {
        match stream::fill(&mut self.receiver, &mut [0; 16])? {
            Filled::Bytes(count) => Ok(count),
            Filled::Blocked | Filled::Interrupted | Filled::End => Ok(0),
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for registration in self.registrations.drain(..) {
            unregister(registration);
        }
    }
}
