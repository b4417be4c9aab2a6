//! One room, and some on top of it who come and go. What they hear while they are there is verified
//! as well: whole, in order, without a gap.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::{Company, door, fanout, measure};
use crate::clients::{Clients, STALL_TIMEOUT};
use crate::clock::SECOND;
use crate::failure::Failure;
use crate::opening::{OPENING, Opened, Openings};
use crate::options::Options;
use crate::report::{Report, Value};
use crate::verify::{Receiver, Room};

/// How long one stays.
const STAY: u64 = SECOND / 2;
/// The tokens of visitors are this and the number of each.
const VISITOR: usize = OPENING << 1;

pub(super) fn run(options: &Options) -> Result<Report, Failure> {
    let mut churn = Churn {
        options,
        openings: Openings::default(),
        visitors: VecDeque::new(),
        gone: 0,
        next: 0,
        last_opened: 0,
        counted: Counted::default(),
        buffer: vec![0; 64 << 10],
    };
    measure(options, options.pace, &[fanout::room(options)], &mut churn)
}

struct Churn<'o> {
    options: &'o Options,
    openings: Openings,
    /// Who is there, in the order of coming.
    visitors: VecDeque<Visitor>,
    /// How many have been there, and left.
    gone: usize,
    /// When the next one comes.
    next: u64,
    /// When one was opened, or when one came while none was being opened.
    last_opened: u64,
    counted: Counted,
    buffer: Vec<u8>,
}

#[derive(Default)]
struct Counted {
    came: u64,
    left: u64,
    deliveries: u64,
}

struct Visitor {
    stream: TcpStream,
    /// What it alone has heard.
    room: Room,
    receiver: Receiver,
    /// When it leaves.
    leaves: u64,
}

impl Company for Churn<'_> {
    fn begin(&mut self) {
        self.counted = Counted::default();
    }

    fn turn(&mut self, clients: &mut Clients, now: u64) -> Result<u64, Failure> {
        while let Some(token) = clients.strangers.pop() {
            if token.0 >= VISITOR {
                // Who has left may have an event in the same batch.
                if let Some(place) = (token.0 - VISITOR).checked_sub(self.gone) {
                    self.read(clients, place)?;
                }
            } else if let Some(opened) = self.openings.advance(token)? {
                self.last_opened = now;
                self.enter(clients, opened, now)?;
            }
        }
        while self
            .visitors
            .front()
            .is_some_and(|visitor| visitor.leaves <= now)
        {
            // Dropped: the server hears of it by a FIN, or a reset if something was not read.
            self.visitors.pop_front();
            self.gone += 1;
            self.counted.left += 1;
        }
        self.come(clients, now)?;
        let leaves = self
            .visitors
            .front()
            .map_or(u64::MAX, |visitor| visitor.leaves);
        Ok(self.next.min(leaves))
    }

    fn report(&self, report: &mut Report) {
        report.add("churn", Value::Number(self.options.churn));
        report.add("churn_came", Value::Count(self.counted.came));
        report.add("churn_left", Value::Count(self.counted.left));
        let heard = self.counted.deliveries;
        report.add("churn_deliveries", Value::Count(heard));
    }
}

impl Churn<'_> {
    /// Starts the connections that are due.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is at least a thousandth"
    )]
    fn come(&mut self, clients: &mut Clients, now: u64) -> Result<(), Failure> {
        if self.next == 0 {
            self.next = now;
        }
        while self.next <= now {
            if self.openings.is_empty() {
                self.last_opened = now;
            }
            let path = &self.options.path;
            self.openings
                .start(clients.registry(), door(self.options), path, 0)?;
            self.next += (SECOND as f64 / self.options.churn) as u64;
        }
        if !self.openings.is_empty() && now > self.last_opened + STALL_TIMEOUT {
            let count = self.openings.len();
            return Err(Failure(format!("{count} visitors are not let in for 10 s")));
        }
        Ok(())
    }

    fn enter(&mut self, clients: &mut Clients, opened: Opened, now: u64) -> Result<(), Failure> {
        let number = self.gone + self.visitors.len();
        let mut visitor = Visitor {
            stream: opened.stream,
            room: Room::joined_late(0, self.options.publishers),
            receiver: Receiver::default(),
            leaves: now + STAY,
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        clients
            .registry()
            .reregister(&mut visitor.stream, Token(VISITOR + number), interest)
            .map_err(|error| Failure::of("registering", &error))?;
        let heard = visitor.hear(clients, &opened.rest)?;
        self.counted.came += 1;
        self.counted.deliveries += heard;
        clients.tally.deliveries += heard;
        self.visitors.push_back(visitor);
        Ok(())
    }

    fn read(&mut self, clients: &mut Clients, place: usize) -> Result<(), Failure> {
        let Some(visitor) = self.visitors.get_mut(place) else {
            return Ok(());
        };
        loop {
            let len = match visitor.stream.read(&mut self.buffer) {
                Ok(0) => return Err(Failure("the server hung up on a visitor".to_owned())),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::of("a visitor", &error)),
            };
            let heard = visitor.hear(clients, &self.buffer[..len])?;
            self.counted.deliveries += heard;
            clients.tally.deliveries += heard;
        }
    }
}

impl Visitor {
    /// Verifies what it has read, and says how many messages are complete by that.
    fn hear(&mut self, clients: &Clients, bytes: &[u8]) -> Result<u64, Failure> {
        let mut heard = 0;
        let mut replies = Vec::new();
        let (room, receiver) = (&mut self.room, &mut self.receiver);
        let heard_all = room.hear(clients.payloads(), receiver, bytes, &mut replies, |_| {
            heard += 1;
        });
        heard_all.map_err(|fault| Failure(format!("a visitor: {fault}")))?;
        let trimmed = room.trim(receiver);
        trimmed.map_err(|fault| Failure(format!("a visitor: {fault}")))?;
        if !replies.is_empty() {
            // A Pong fits into the buffer of a socket that nothing else is written to.
            let written = self.stream.write_all(&replies);
            written.map_err(|error| Failure::of("a visitor's Pong", &error))?;
        }
        Ok(heard)
    }
}
