//! How clients get into their rooms.

use mio::{Interest, Token};

use crate::clients::{Clients, Member, Place, STALL_TIMEOUT};
use crate::failure::Failure;
use crate::opening::{Door, Opened, Openings};
use crate::verify::{Receiver, Room};

/// Connections that are opened at once: less than a listen queue holds.
const OPENINGS_AT_ONCE: usize = 64;

/// What a room is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What its members ask for.
    pub path: String,
    /// How many they are.
    pub members: usize,
    /// How many of them speak: the first ones.
    pub publishers: u32,
}

impl Clients {
    /// Opens so many connections and waits for all of them; `path` is asked for each one's.
    pub fn open(
        &mut self,
        door: Door<'_>,
        count: usize,
        path: &dyn Fn(usize) -> String,
    ) -> Result<Vec<Opened>, Failure> {
        let mut openings = Openings::default();
        let mut opened = Vec::with_capacity(count);
        let mut started = 0;
        let mut last = self.clock.now();
        while opened.len() < count {
            while started < count && openings.len() < OPENINGS_AT_ONCE {
                openings.start(self.registry(), door, &path(started), started)?;
                started += 1;
            }
            self.turn(last + STALL_TIMEOUT)?;
            while let Some(token) = self.strangers.pop() {
                if let Some(new) = openings.advance(token)? {
                    opened.push(new);
                    last = self.clock.now();
                }
            }
            if self.clock.now() >= last + STALL_TIMEOUT {
                let done = opened.len();
                return Err(Failure(format!(
                    "{done} of {count} clients are connected, and for 10 s no more"
                )));
            }
        }
        opened.sort_by_key(|opened| opened.tag);
        Ok(opened)
    }

    /// Connects the members of these rooms, once and for all.
    ///
    /// # Panics
    ///
    /// If there are members already.
    pub fn connect(&mut self, door: Door<'_>, plans: &[Plan]) -> Result<(), Failure> {
        assert!(self.members.is_empty(), "all members are connected at once");
        let mut rooms = Vec::new();
        for (room, plan) in plans.iter().enumerate() {
            rooms.extend(std::iter::repeat_n(room, plan.members));
        }
        let path = |member: usize| plans[rooms[member]].path.clone();
        let mut opened = self.open(door, rooms.len(), &path)?.into_iter();
        for (room, plan) in plans.iter().enumerate() {
            let first = self.members.len();
            self.rooms.push(Place {
                room: Room::new(plan.members, self.publishers(), plan.publishers),
                members: first..first + plan.members,
                said: 0,
            });
            let speaking = plan.publishers as usize;
            for (place, opened) in opened.by_ref().take(plan.members).enumerate() {
                self.admit(opened, room, place < speaking)?;
            }
        }
        Ok(())
    }

    /// Makes a member of a connection that is open.
    fn admit(&mut self, mut opened: Opened, room: usize, speaks: bool) -> Result<(), Failure> {
        let index = self.members.len();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry()
            .reregister(&mut opened.stream, Token(index), interest)
            .map_err(|error| Failure::of("registering", &error))?;
        let publisher = speaks.then(|| self.publishers());
        if speaks {
            self.publishers.push((index, 0));
        }
        self.members.push(Member {
            stream: opened.stream,
            room,
            receiver: Receiver::default(),
            publisher,
            output: Vec::new(),
            written: 0,
        });
        self.hear(index, &opened.rest)
    }
}
