//! Connections are opened, upgraded and ended, so many at a time.

use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Interest, Token};
use socket2::SockRef;

use super::{door, memory, usage};
use crate::clients::{Clients, STALL_TIMEOUT};
use crate::clock::SECOND;
use crate::failure::Failure;
use crate::opening::{OPENING, Openings};
use crate::options::{Ending, Options, Pace};
use crate::payload::{Payloads, STAMP};
use crate::report::{Measured, Report, Value, latency, per};
use crate::tally::latencies;

/// The tokens of connections that are being ended are this and the place of each.
const ENDING: usize = OPENING << 1;

pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let before = memory(options)?;
    let mut clients = Clients::new(Payloads::new(STAMP, options.is_text))?;
    let window = match options.pace {
        Pace::Window(window) => window as usize,
        Pace::Burst(_) | Pace::Rate(_) => 1,
    };
    let mut handshakes = Handshakes {
        options,
        window,
        openings: Openings::default(),
        ending: Vec::new(),
        free: Vec::new(),
        done: 0,
        latency: latencies()?,
    };
    handshakes.go_on(&mut clients, options.warm_up)?;
    handshakes.done = 0;
    handshakes.latency.reset();
    let start = usage(options)?;
    let nanoseconds = handshakes.go_on(&mut clients, options.seconds)?;
    let used = usage(options)?.since(&start);
    let measured = Measured {
        messages: 0,
        deliveries: 0,
        nanoseconds,
        used,
        before,
        after: memory(options)?,
        latency: None,
    };
    let mut report = Report::new(options, &measured);
    let done = handshakes.done;
    let rate = done as f64 * SECOND as f64 / nanoseconds as f64;
    report.add("handshakes", Value::Count(done));
    report.add("handshakes_per_second", Value::Number(rate));
    report.add("cpu_ns_per_handshake", per(used.cpu_ns, done));
    report.add("user_ns_per_handshake", per(used.user_ns, done));
    report.add("system_ns_per_handshake", per(used.system_ns, done));
    report.add("handshake_us", latency(&handshakes.latency));
    let close = match options.ending {
        Ending::Clean => "clean",
        Ending::Reset => "reset",
    };
    report.add("close", Value::Text(close.to_owned()));
    Ok(report)
}

struct Handshakes<'o> {
    options: &'o Options,
    /// How many connections there are at a time.
    window: usize,
    openings: Openings,
    /// Connections whose server has to end its side.
    ending: Vec<Option<TcpStream>>,
    /// Free places among those.
    free: Vec<usize>,
    done: u64,
    /// From connecting to the end of the response.
    latency: Histogram<u64>,
}

impl Handshakes<'_> {
    /// Opens and ends connections for so long, then ends those that are left. Says how long it
    /// took, in nanoseconds.
    fn go_on(&mut self, clients: &mut Clients, duration: Duration) -> Result<u64, Failure> {
        let start = clients.clock.now();
        let end = start + u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2);
        let mut last = start;
        loop {
            let now = clients.clock.now();
            while now < end && self.under_way() < self.window {
                self.start(clients)?;
            }
            if self.under_way() == 0 {
                return Ok(clients.clock.now() - start);
            }
            if now >= last + STALL_TIMEOUT {
                let (opening, all) = (self.openings.len(), self.under_way());
                return Err(Failure(format!(
                    "{all} connections make no progress for 10 s, {opening} of them unopened"
                )));
            }
            clients.turn(now + SECOND)?;
            let before = self.done;
            while let Some(token) = clients.strangers.pop() {
                self.advance(clients, token)?;
            }
            if self.done > before {
                last = now;
            }
        }
    }

    fn under_way(&self) -> usize {
        self.openings.len() + self.ending.len() - self.free.len()
    }

    fn start(&mut self, clients: &Clients) -> Result<(), Failure> {
        let options = self.options;
        // Known by when it was started.
        let tag = usize::try_from(clients.clock.now()).unwrap_or(usize::MAX);
        self.openings
            .start(clients.registry(), door(options), &options.path, tag)
    }

    /// Goes on with the connection that an event is for.
    fn advance(&mut self, clients: &Clients, token: Token) -> Result<(), Failure> {
        if token.0 >= ENDING {
            return self.end(token.0 - ENDING);
        }
        let Some(opened) = self.openings.advance(token)? else {
            return Ok(());
        };
        let took = clients.clock.now() - opened.tag as u64;
        self.latency.saturating_record(took);
        let mut stream = opened.stream;
        match self.options.ending {
            Ending::Reset => {
                let reset = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                reset.map_err(|error| Failure::of("resetting", &error))?;
                self.done += 1;
            }
            Ending::Clean => {
                let place = self.free.pop().unwrap_or(self.ending.len());
                let ended = stream.shutdown(Shutdown::Write).and_then(|()| {
                    let token = Token(ENDING + place);
                    clients
                        .registry()
                        .reregister(&mut stream, token, Interest::READABLE)
                });
                ended.map_err(|error| Failure::of("ending", &error))?;
                match self.ending.get_mut(place) {
                    Some(free) => *free = Some(stream),
                    None => self.ending.push(Some(stream)),
                }
            }
        }
        Ok(())
    }

    /// Reads until the server has ended its side.
    fn end(&mut self, place: usize) -> Result<(), Failure> {
        let Some(Some(stream)) = self.ending.get_mut(place) else {
            return Ok(());
        };
        match read_to_end(stream) {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.ending[place] = None;
                self.free.push(place);
                self.done += 1;
                Ok(())
            }
            Err(error) => Err(Failure::of("waiting for the server's end", &error)),
        }
    }
}

/// Whether the end is reached. A server that resets has ended as well.
fn read_to_end(stream: &mut TcpStream) -> io::Result<bool> {
    let mut buffer = [0; 256];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}
