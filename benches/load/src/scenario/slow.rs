//! One room, and some on top of it who never read: do the others hear as fast as without them, and
//! what does the server keep?

use mio::net::TcpStream;
use socket2::SockRef;

use super::{Company, door, fanout, measure};
use crate::clients::Clients;
use crate::clock::SECOND;
use crate::failure::Failure;
use crate::opening::Door;
use crate::options::Options;
use crate::process::Memory;
use crate::report::{Report, Value};

/// The receive buffer of a slow client: so little that it is the server who has to keep the rest.
const SLOW_RECEIVE_BUFFER: usize = 4 << 10;

pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let mut slow = Slow {
        options,
        streams: Vec::new(),
        samples: Vec::new(),
        next: 0,
    };
    measure(options, options.pace, &[fanout::room(options)], &mut slow)
}

struct Slow<'o> {
    options: &'o Options,
    streams: Vec<TcpStream>,
    /// The server's resident KiB, once a second.
    samples: Vec<u64>,
    /// When the next sample is due.
    next: u64,
}

impl Company for Slow<'_> {
    fn join(&mut self, clients: &mut Clients) -> Result<(), Failure> {
        let door = Door {
            receive_buffer: Some(SLOW_RECEIVE_BUFFER),
            ..door(self.options)
        };
        let path = |_| self.options.path.clone();
        for mut opened in clients.open(door, self.options.slow, &path)? {
            let deregistered = clients.registry().deregister(&mut opened.stream);
            deregistered.map_err(|error| Failure::of("deregistering", &error))?;
            self.streams.push(opened.stream);
        }
        Ok(())
    }

    fn turn(&mut self, clients: &mut Clients, now: u64) -> Result<u64, Failure> {
        // A late event of one that was deregistered.
        clients.strangers.clear();
        if now >= self.next {
            let memory = Memory::read(&self.options.pids);
            let memory = memory.map_err(|error| Failure::of("the server's memory", &error))?;
            self.samples.push(memory.rss_kib);
            self.next = now + SECOND;
        }
        Ok(self.next)
    }

    fn report(&self, report: &mut Report) {
        let is_reset = |stream: &&TcpStream| {
            let error = SockRef::from(*stream).take_error();
            matches!(error, Ok(Some(_)) | Err(_))
        };
        let reset = self.streams.iter().filter(is_reset).count();
        report.add("slow", Value::Count(self.options.slow as u64));
        report.add("slow_reset", Value::Count(reset as u64));
        report.add("rss_kib_samples", Value::Counts(self.samples.clone()));
    }
}
