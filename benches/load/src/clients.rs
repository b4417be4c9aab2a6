//! All clients of a run, in one thread and one poll.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Poll, Token};

use crate::clock::{Clock, SECOND, Timer};
use crate::failure::Failure;
use crate::payload::{Payloads, Stamp};
use crate::tally::{Alike, Tally};
use crate::verify::{Receiver, Room};

/// How long nothing may happen while something is owed.
pub const STALL_TIMEOUT: u64 = 10 * SECOND;

/// The one buffer that everything is read into.
const READ_BUFFER: usize = 256 << 10;
/// Reads of one client before others have their turn.
const MAX_READS: usize = 4;
/// Events of one turn.
const MAX_EVENTS: usize = 1024;
/// What a publisher may have said that the server has not read.
const MAX_OUTPUT: usize = 256 << 20;
const TIMER: Token = Token(usize::MAX - 1);

/// One connection that is open.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) stream: TcpStream,
    pub(crate) room: usize,
    pub(crate) receiver: Receiver,
    /// Its number, if it speaks.
    pub(crate) publisher: Option<u32>,
    pub(crate) output: Vec<u8>,
    /// How much of the output is written.
    pub(crate) written: usize,
}

/// A room, whose members have numbers in a row.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) room: Room,
    pub(crate) members: Range<usize>,
    /// How many messages were said in it.
    pub(crate) said: u64,
}

/// All clients.
#[derive(Debug)]
pub struct Clients {
    /// Nanoseconds since the start.
    pub clock: Clock,
    /// Events of sockets that are no members' since the last turn.
    pub strangers: Vec<Token>,
    /// What was said and heard.
    pub tally: Tally,
    pub(crate) poll: Poll,
    events: Events,
    timer: Timer,
    payloads: Payloads,
    pub(crate) rooms: Vec<Place>,
    pub(crate) members: Vec<Member>,
    /// The member of each publisher, and how many messages it has said.
    pub(crate) publishers: Vec<(usize, u32)>,
    buffer: Vec<u8>,
    /// Members that may have more to read.
    ready: VecDeque<usize>,
    /// Members that have something to write.
    dirty: Vec<usize>,
}

impl Clients {
    /// Nobody yet.
    pub fn new(payloads: Payloads) -> Result<Self, Failure> {
        let set_up = || {
            let poll = Poll::new()?;
            let timer = Timer::new(poll.registry(), TIMER)?;
            Ok((poll, timer))
        };
        let (poll, timer) = set_up().map_err(|error| Failure::of("epoll", &error))?;
        Ok(Self {
            clock: Clock::new(),
            strangers: Vec::new(),
            tally: Tally::new()?,
            poll,
            events: Events::with_capacity(MAX_EVENTS),
            timer,
            payloads,
            rooms: Vec::new(),
            members: Vec::new(),
            publishers: Vec::new(),
            buffer: vec![0; READ_BUFFER],
            ready: VecDeque::new(),
            dirty: Vec::new(),
        })
    }

    /// Where sockets are registered.
    pub fn registry(&self) -> &mio::Registry {
        self.poll.registry()
    }

    /// What is said.
    pub fn payloads(&self) -> &Payloads {
        &self.payloads
    }

    /// How many publishers there are.
    ///
    /// # Panics
    ///
    /// Never: they are numbered so.
    pub fn publishers(&self) -> u32 {
        u32::try_from(self.publishers.len()).expect("they are numbered so")
    }

    /// Forgets what was counted.
    ///
    /// # Panics
    ///
    /// If something is owed.
    pub fn reset(&mut self) {
        self.tally.reset();
    }

    /// Lets a publisher say some messages: they are written by the next [`flush`](Self::flush).
    pub fn say(&mut self, publisher: u32, count: u32, sent: u64) {
        let (index, said) = &mut self.publishers[publisher as usize];
        let member = &mut self.members[*index];
        if member.output.is_empty() {
            self.dirty.push(*index);
        }
        for _ in 0..count {
            let stamp = Stamp {
                publisher,
                sequence: *said,
                sent,
            };
            self.payloads.write_frame(stamp, &mut member.output);
            *said += 1;
        }
        let place = &mut self.rooms[member.room];
        if self.tally.owed == 0 {
            self.tally.last_heard = self.clock.now();
        }
        place.said += u64::from(count);
        self.tally.messages += u64::from(count);
        self.tally.owed += u64::from(count) * place.members.len() as u64;
    }

    /// Writes what was said.
    pub fn flush(&mut self) -> Result<(), Failure> {
        while let Some(index) = self.dirty.pop() {
            self.write(index)?;
        }
        Ok(())
    }

    /// Waits for events, until `wake` or for a second at most, and hears what they bring.
    pub fn turn(&mut self, wake: u64) -> Result<(), Failure> {
        let now = self.clock.now();
        let timeout = if wake <= now || !self.ready.is_empty() {
            Duration::ZERO
        } else {
            if wake - now < SECOND {
                let set = self.timer.set(now, wake);
                set.map_err(|error| Failure::of("the timer", &error))?;
            }
            Duration::from_secs(1)
        };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(Failure::of("epoll", &error)),
        }
        // Who is put back on the list is behind those who are on it.
        for _ in 0..self.ready.len() {
            if let Some(index) = self.ready.pop_front() {
                self.read(index, false)?;
            }
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let mut result = Ok(());
        for event in &events {
            let index = event.token().0;
            if index < self.members.len() {
                if event.is_writable() && !self.members[index].output.is_empty() {
                    result = self.write(index);
                }
                if event.is_readable() && result.is_ok() {
                    result = self.read(index, event.is_read_closed());
                }
            } else if event.token() != TIMER {
                self.strangers.push(event.token());
            }
            if result.is_err() {
                break;
            }
        }
        self.events = events;
        result?;
        self.flush()
    }

    /// Fails if something is owed and nothing has been heard for long.
    pub fn check_progress(&self) -> Result<(), Failure> {
        if self.tally.owed == 0 || self.clock.now() < self.tally.last_heard + STALL_TIMEOUT {
            return Ok(());
        }
        Err(Failure(format!(
            "nothing was heard for 10 s: {}",
            self.missing()
        )))
    }

    /// Who has not heard what.
    pub fn missing(&self) -> String {
        let mut behind = self
            .members
            .iter()
            .enumerate()
            .filter_map(|(index, member)| {
                let said = self.rooms[member.room].said;
                (member.receiver.heard() < said).then_some((index, member.receiver.heard(), said))
            });
        let Some((index, heard, said)) = behind.next() else {
            return "nothing is missing".to_owned();
        };
        format!(
            "{} deliveries are missing, of {} clients; client {index} has heard {heard} of {said}",
            self.tally.owed,
            1 + behind.count()
        )
    }

    /// Reads what there is for one client; until the end, if the server has ended its side.
    fn read(&mut self, index: usize, to_the_end: bool) -> Result<(), Failure> {
        // Out of the way of the borrows; nothing is allocated by it.
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut result = Ok(());
        let mut reads = 0;
        while result.is_ok() {
            if reads == MAX_READS {
                self.ready.push_back(index);
                break;
            }
            reads += 1;
            match self.members[index].stream.read(&mut buffer) {
                Ok(0) => result = Err(of_client(index, "the server hung up")),
                Ok(len) => {
                    result = self.hear(index, &buffer[..len]);
                    // A read that is short has emptied the socket: epoll(7), question 9.
                    if len < buffer.len() && !to_the_end {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => result = Err(of_client(index, error)),
            }
        }
        self.buffer = buffer;
        result
    }

    /// Verifies what a client has read.
    pub(crate) fn hear(&mut self, index: usize, bytes: &[u8]) -> Result<(), Failure> {
        let now = self.clock.now();
        let member = &mut self.members[index];
        let place = &mut self.rooms[member.room];
        let before = member.output.len();
        let (mut heard, mut own) = (0, 0);
        let mut alike = Alike::default();
        let latency = &mut self.tally.latency;
        let heard_all = place.room.hear(
            &self.payloads,
            &mut member.receiver,
            bytes,
            &mut member.output,
            |message| {
                heard += 1;
                own += u32::from(Some(message.publisher) == member.publisher);
                alike.count(latency, now, message.sent);
            },
        );
        alike.record(latency, now);
        heard_all.map_err(|fault| of_client(index, fault))?;
        if before == 0 && !member.output.is_empty() {
            self.dirty.push(index);
        }
        if let (1.., Some(publisher)) = (own, member.publisher) {
            self.tally.credit(publisher, own);
        }
        if heard > 0 {
            self.tally.deliveries += heard;
            self.tally.last_heard = now;
            self.tally.owed = self
                .tally
                .owed
                .checked_sub(heard)
                .ok_or_else(|| of_client(index, "more was heard than was said"))?;
        }
        if place.room.is_full() {
            let members = &self.members[place.members.clone()];
            let slowest = members.iter().map(|member| &member.receiver);
            let slowest = slowest.min_by_key(|receiver| receiver.heard());
            let trimmed = slowest.map_or(Ok(()), |slowest| place.room.trim(slowest));
            trimmed.map_err(|fault| of_client(index, fault))?;
        }
        Ok(())
    }

    /// Writes what one client has to write, as far as it goes.
    fn write(&mut self, index: usize) -> Result<(), Failure> {
        let member = &mut self.members[index];
        while member.written < member.output.len() {
            match member.stream.write(&member.output[member.written..]) {
                Ok(len) => member.written += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(of_client(index, error)),
            }
        }
        if member.written == member.output.len() {
            member.output.clear();
            member.written = 0;
        } else if member.written > member.output.len() / 2 {
            // No byte is moved more often than it is written.
            member.output.drain(..member.written);
            member.written = 0;
        }
        if member.output.len() - member.written > MAX_OUTPUT {
            return Err(of_client(index, "the server does not read what it says"));
        }
        Ok(())
    }
}

fn of_client(index: usize, what: impl std::fmt::Display) -> Failure {
    Failure(format!("client {index}: {what}"))
}
