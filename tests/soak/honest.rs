//! The honest clients of one process: they join, speak, listen, and leave as they should.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::connection::{Connection, READ_BUFFER};
use crate::latency::Latency;
use crate::ledger::Deed;
use crate::listener::{Listener, Member, Stage, Tally};
use crate::payload::{Message, Patterns, Stamp, some_len, some_short_len};
use crate::plan::{CHURN, CROWDS, HONEST, MESSAGES, PATIENCE, Pace, ROOMS, TICK};
use crate::processes::{Parent, tell, tell_departure, tell_fault, tell_totals};
use crate::random::Random;
use crate::room::Room;
use crate::support::CLOSE;

/// Clients of one process who join at once while it gathers.
const MAX_JOINING: usize = 50;

/// Of how many clients who leave one hangs up without a word.
const VANISHING: usize = 5;

pub(crate) struct Crowd {
    address: SocketAddr,
    poll: Poll,
    members: HashMap<u32, Member>,
    rooms: Vec<Room>,
    /// Those who may speak in each room, but for its founder.
    open: Vec<Vec<u32>>,
    founders: Vec<u32>,
    /// Which of the processes this is. It has every so manyeth room of the server.
    index: usize,
    next_id: u32,
    random: Random,
    patterns: Patterns,
    begun: Instant,
    tally: Tally,
    joining: usize,
    /// Of those, who has not asked for its room yet.
    asking: Vec<u32>,
    left: u64,
    vanished: u64,
}

/// Plays its part of the run.
pub(crate) fn play(index: usize, address: SocketAddr, seed: u64, parent: &Parent) {
    let mut crowd = Crowd::new(index, address, seed);
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BUFFER];
    crowd.gather(&mut events, &mut buffer);
    tell("ready");
    while !parent.has_said("go") {
        crowd.turn(&mut events, &mut buffer);
    }
    let [mut speech, mut churn] = [MESSAGES, CHURN].map(|rate| Pace::new(rate / CROWDS as f64));
    let mut last = Instant::now();
    while !parent.has_said("stop") {
        crowd.turn(&mut events, &mut buffer);
        let elapsed = last.elapsed();
        last += elapsed;
        speech.pass(elapsed);
        churn.pass(elapsed);
        while speech.is_due() {
            let room = crowd.random.below(crowd.rooms.len());
            crowd.speak(room);
        }
        crowd.ask(true);
        while churn.is_due() {
            crowd.replace();
        }
    }
    // Those who came in the last moment.
    crowd.ask(true);
    crowd.rest(&mut events, &mut buffer);
    tell("quiet");
    while !parent.has_said("leave") {
        crowd.turn(&mut events, &mut buffer);
    }
    crowd.disband(&mut events, &mut buffer);
    tell_totals(&[
        ("opened", crowd.tally.opened),
        ("left", crowd.left),
        ("vanished", crowd.vanished),
        ("said", crowd.rooms.iter().map(|room| room.said).sum()),
        ("deliveries", crowd.tally.deliveries),
        ("delivered_bytes", crowd.tally.delivered_bytes),
    ]);
    tell(&format!("latency {}", crowd.tally.latency));
}

impl Crowd {
    fn new(index: usize, address: SocketAddr, seed: u64) -> Self {
        let rooms = ROOMS / CROWDS;
        Self {
            address,
            poll: Poll::new().expect("the kernel has an event queue"),
            members: HashMap::new(),
            rooms: (0..rooms).map(|_| Room::default()).collect(),
            open: vec![Vec::new(); rooms],
            founders: Vec::new(),
            index,
            // No two processes have the same, so that whoever hears another room is a stranger.
            next_id: (index as u32) << 28,
            random: Random::new(seed),
            patterns: Patterns::new(seed),
            begun: Instant::now(),
            tally: Tally {
                opened: 0,
                deliveries: 0,
                delivered_bytes: 0,
                latency: Latency::new(),
            },
            joining: 0,
            asking: Vec::new(),
            left: 0,
            vanished: 0,
        }
    }

    /// Waits for something to happen, for a tick at most.
    fn turn(&mut self, events: &mut Events, buffer: &mut [u8]) {
        match self.poll.poll(events, Some(TICK)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            done => done.expect("the event queue works"),
        }
        for event in events.iter() {
            let id = u32::try_from(event.token().0).expect("it was one");
            self.serve(id, event.is_writable(), buffer);
        }
    }

    fn serve(&mut self, id: u32, is_writable: bool, buffer: &mut [u8]) {
        // It may have left since.
        let Some(Member {
            connection,
            listener,
        }) = self.members.get_mut(&id)
        else {
            return;
        };
        let was = listener.stage;
        let room = &mut self.rooms[listener.room];
        let now = self.begun.elapsed();
        let flushed = if is_writable {
            connection.flush()
        } else {
            Ok(())
        };
        let result = flushed.and_then(|()| {
            connection.read(buffer, |heard| {
                listener.hear(&heard, room, &self.patterns, &mut self.tally, now)
            })
        });
        let (stage, room) = (listener.stage, listener.room);
        if was == Stage::Joining && stage != was {
            self.joining -= 1;
            if self.founders.get(room) != Some(&id) {
                self.open[room].push(id);
            }
        }
        match result {
            Ok(false) => {}
            Ok(true) if stage == Stage::Closed => {
                self.left += 1;
                self.remove(id, Deed::Left);
            }
            Ok(true) => {
                self.fail(
                    id,
                    &format!("its connection was ended when {stage:?}"),
                    Deed::Dropped,
                );
            }
            Err(error) if error.kind() == ErrorKind::Other => {
                self.fail(id, &error.to_string(), Deed::Vanished);
            }
            Err(error) => {
                self.fail(id, &format!("{error} when {stage:?}"), Deed::Dropped);
            }
        }
    }

    fn fail(&mut self, id: u32, what: &str, deed: Deed) {
        let port = self
            .members
            .get(&id)
            .map_or(0, |member| member.connection.port);
        tell_fault(&format!("honest client {id:#x} at port {port}: {what}"));
        self.remove(id, deed);
    }

    fn remove(&mut self, id: u32, deed: Deed) {
        let Some(member) = self.members.remove(&id) else {
            return;
        };
        self.open[member.listener.room].retain(|other| *other != id);
        tell_departure(member.connection.port, deed);
    }

    fn join(&mut self, room: usize, founds: bool) {
        let id = self.next_id;
        self.next_id += 1;
        let token = Token(id as usize);
        let connection = Connection::new(self.address, self.poll.registry(), token, false)
            .expect("there are descriptors and ports");
        let listener = Listener::new(id, room, founds, Instant::now());
        self.members.insert(
            id,
            Member {
                connection,
                listener,
            },
        );
        self.joining += 1;
        self.asking.push(id);
        if founds {
            self.founders.push(id);
        }
    }

    /// Those who are connected ask for their rooms; while something is said there, if so told: the
    /// server, which has other things to do, often meets with both in one turn, and whoever
    /// comes must hear what is said from then on, and nothing before.
    fn ask(&mut self, while_said: bool) {
        for id in std::mem::take(&mut self.asking) {
            let Some(room) = self.members.get(&id).map(|member| member.listener.room) else {
                continue;
            };
            if while_said {
                self.speak(room);
            }
            let request = self.members.get_mut(&id).map(|member| {
                member.connection.ask(room * CROWDS + self.index);
                member.connection.flush()
            });
            if let Some(Err(error)) = request {
                self.fail(id, &format!("{error} when it asks"), Deed::Dropped);
            }
        }
    }

    /// Founds the rooms, and fills them.
    fn gather(&mut self, events: &mut Events, buffer: &mut [u8]) {
        for room in 0..self.rooms.len() {
            self.join(room, true);
        }
        self.ask(false);
        self.settle(events, buffer);
        for number in self.rooms.len()..HONEST / CROWDS {
            self.join(number % self.rooms.len(), false);
            if self.joining >= MAX_JOINING {
                self.ask(false);
                self.settle(events, buffer);
            }
        }
        self.ask(false);
        self.settle(events, buffer);
    }

    /// Waits until nobody is joining.
    fn settle(&mut self, events: &mut Events, buffer: &mut [u8]) {
        let begun = Instant::now();
        while self.joining > 0 {
            assert!(begun.elapsed() < PATIENCE, "{} cannot join", self.joining);
            self.turn(events, buffer);
        }
    }

    /// Somebody says something in a room.
    fn speak(&mut self, room: usize) {
        let speaks_short = self.random.below(10) < 3 || self.open[room].is_empty();
        let id = if speaks_short {
            self.founders[room]
        } else {
            *self.random.pick(&self.open[room])
        };
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let message = if speaks_short {
            Message::Short {
                count: self.rooms[room].say_short(),
                len: some_short_len(&mut self.random),
            }
        } else {
            member.listener.said += 1;
            Message::Stamped(Stamp {
                sender: id,
                sequence: self.rooms[room].say(id),
                sent_at: u64::try_from(self.begun.elapsed().as_nanos()).expect("centuries"),
                len: some_len(&mut self.random),
                is_text: self.random.below(2) == 0,
            })
        };
        let (opcode, payload) = self.patterns.write(message);
        if let Err(error) = member.connection.send_frame(opcode, &payload) {
            self.fail(id, &format!("{error} when it speaks"), Deed::Dropped);
        }
    }

    /// Somebody leaves, and another one comes.
    fn replace(&mut self) {
        let room = self.random.below(self.rooms.len());
        if !self.open[room].is_empty() {
            let id = *self.random.pick(&self.open[room]);
            self.leave(id);
            self.join(room, false);
        }
        let late = self.members.iter().find(|(_, member)| {
            member.listener.stage != Stage::Open && member.listener.since.elapsed() > PATIENCE
        });
        if let Some((id, stage)) = late.map(|(id, member)| (*id, member.listener.stage)) {
            self.fail(id, &format!("too long {stage:?}"), Deed::Vanished);
        }
    }

    /// An open client leaves: with a Close, or now and then without a word.
    fn leave(&mut self, id: u32) {
        let Some(Member {
            connection,
            listener,
        }) = self.members.get_mut(&id)
        else {
            return;
        };
        self.open[listener.room].retain(|other| *other != id);
        // Whoever hangs up with something unsaid or unheard cannot know whether others hear it.
        let may_vanish = listener.is_echoed() && connection.has_sent_all();
        if may_vanish && self.random.below(VANISHING) == 0 {
            self.vanished += 1;
            self.remove(id, Deed::Vanished);
            return;
        }
        listener.stage = Stage::Leaving;
        listener.since = Instant::now();
        if let Err(error) = connection.send_frame(CLOSE, &1000_u16.to_be_bytes()) {
            self.fail(id, &format!("{error} when it leaves"), Deed::Dropped);
        }
    }

    /// Waits until everybody has heard everything.
    fn rest(&mut self, events: &mut Events, buffer: &mut [u8]) {
        let begun = Instant::now();
        loop {
            self.turn(events, buffer);
            let waits = self.members.iter().find_map(|(id, member)| {
                let room = &self.rooms[member.listener.room];
                member
                    .listener
                    .check_at_rest(room)
                    .err()
                    .map(|why| (*id, why))
            });
            let Some((id, why)) = waits else { return };
            if begun.elapsed() > Duration::from_secs(30) {
                return self.fail(id, &why, Deed::Vanished);
            }
        }
    }

    /// Everybody leaves.
    fn disband(&mut self, events: &mut Events, buffer: &mut [u8]) {
        let begun = Instant::now();
        let ids: Vec<u32> = self.members.keys().copied().collect();
        for id in ids {
            self.leave(id);
        }
        while !self.members.is_empty() {
            assert!(
                begun.elapsed() < PATIENCE,
                "{} cannot leave",
                self.members.len()
            );
            self.turn(events, buffer);
        }
    }
}
