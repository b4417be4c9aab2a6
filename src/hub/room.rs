//! Rooms: who hears whom.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use slab::Slab;

use super::batch::{Batch, Buffers, Sealed};
use super::client::ClientId;
use super::large::LargeFrames;
use super::pace::Pace;
use crate::protocol::{MessageKind, Payload};

/// Names a room for as long as it exists. A room goes with its last member; one of the same name
/// that is made afterwards has another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoomId {
    index: u32,
    generation: u32,
}

impl RoomId {
    /// Its place in the table of rooms.
    pub(super) fn index(self) -> u32 {
        self.index
    }
}

/// The clients of one path, and what was said to all of them in this turn.
#[derive(Debug)]
pub(super) struct Room {
    id: RoomId,
    pub(super) name: Rc<str>,
    /// In no particular order; each client knows its position.
    members: Vec<ClientId>,
    batch: Batch,
    /// How fast it can be told more.
    pub(super) pace: Pace,
}

impl Room {
    pub(super) fn members(&self) -> &[ClientId] {
        &self.members
    }

    /// What was said to the room in this turn.
    pub(super) fn batch(&self) -> &Batch {
        &self.batch
    }
}

/// All rooms, by id and by name.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    slab: Slab<Room>,
    by_name: HashMap<Rc<str>, RoomId>,
    /// The rooms that have a batch.
    unsealed: Vec<RoomId>,
    buffers: Buffers,
    next_generation: u32,
}

impl Rooms {
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn get(&self, id: RoomId) -> Option<&Room> {
        self.slab
            .get(id.index as usize)
            .filter(|room| room.id == id)
    }

    /// All rooms with their places, in the order of these.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Room)> {
        self.slab.iter()
    }

    /// The room at a place that [`iter`](Self::iter) has named just now.
    pub(super) fn at(&self, place: usize) -> &Room {
        &self.slab[place]
    }

    pub(super) fn get_mut(&mut self, id: RoomId) -> Option<&mut Room> {
        self.slab
            .get_mut(id.index as usize)
            .filter(|room| room.id == id)
    }

    pub(super) fn find(&self, name: &str) -> Option<RoomId> {
        self.by_name.get(name).copied()
    }

    /// Makes a room of this name, which must not exist.
    pub(super) fn create(&mut self, name: &str) -> RoomId {
        let entry = self.slab.vacant_entry();
        let index = u32::try_from(entry.key()).expect("rooms are bounded by a count of clients");
        self.next_generation = self.next_generation.wrapping_add(1);
        let id = RoomId {
            index,
            generation: self.next_generation,
        };
        let name: Rc<str> = name.into();
        entry.insert(Room {
            id,
            name: Rc::clone(&name),
            members: Vec::new(),
            batch: Batch::default(),
            pace: Pace::default(),
        });
        let previous = self.by_name.insert(name, id);
        assert!(previous.is_none(), "a room is made once");
        id
    }

    /// Adds a member and returns its position.
    pub(super) fn join(&mut self, id: RoomId, client: ClientId) -> u32 {
        let room = self
            .get_mut(id)
            .expect("the room was found or made just now");
        room.members.push(client);
        u32::try_from(room.members.len() - 1).expect("members are bounded by descriptors")
    }

    /// Removes the member at `position`; returns the one who takes that position now.
    pub(super) fn leave(&mut self, id: RoomId, position: u32) -> Option<ClientId> {
        let room = self.get_mut(id)?;
        let position = position as usize;
        room.members.swap_remove(position);
        room.members.get(position).copied()
    }

    /// Removes a room that has no members.
    pub(super) fn remove_if_empty(&mut self, id: RoomId) {
        if self.get(id).is_some_and(|room| room.members.is_empty()) {
            let room = self.slab.remove(id.index as usize);
            self.by_name.remove(&room.name);
            self.unsealed.retain(|unsealed| *unsealed != id);
        }
    }

    /// Appends a message to the room's batch; returns where it begins and ends in there.
    pub(super) fn say(
        &mut self,
        id: RoomId,
        kind: MessageKind,
        payload: Payload<'_>,
    ) -> Option<(usize, usize)> {
        let room = self
            .slab
            .get_mut(id.index as usize)
            .filter(|room| room.id == id)?;
        let start = room.batch.len();
        if start == 0 {
            self.unsealed.push(id);
        }
        room.batch.push(kind, payload, &mut self.buffers);
        Some((start, room.batch.len()))
    }

    /// Forgets the buffers of sealed batches: from now on those who get them hold them alone.
    pub(super) fn forget_sealed(&mut self) {
        self.buffers.forget_lent();
    }

    pub(super) fn has_unsealed(&self) -> bool {
        !self.unsealed.is_empty()
    }

    /// Seals the batch of one room. Its buffer is used again, if large ones are kept in `large`;
    /// otherwise nobody but those who get it will hold it.
    pub(super) fn seal_next(
        &mut self,
        large: Option<&mut LargeFrames>,
        now: Instant,
    ) -> Option<(&mut Room, Sealed)> {
        let id = self.unsealed.pop()?;
        let room = self
            .slab
            .get_mut(id.index as usize)
            .expect("a room that goes is not unsealed");
        let sealed = room.batch.seal(&mut self.buffers, large, now);
        Some((room, sealed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal_next(rooms: &mut Rooms) -> Option<(&mut Room, Sealed)> {
        rooms.seal_next(Some(&mut LargeFrames::default()), crate::hub::test_clock())
    }

    #[test]
    fn a_room_that_went_is_another_when_it_comes_back() {
        let mut rooms = Rooms::default();
        let first = rooms.create("a");
        let position = rooms.join(first, ClientId::new(1, 1));
        rooms.remove_if_empty(first);
        assert_eq!(rooms.find("a"), Some(first), "it has a member");
        assert_eq!(rooms.leave(first, position), None);
        rooms.remove_if_empty(first);
        assert_eq!((rooms.find("a"), rooms.len()), (None, 0));
        let second = rooms.create("a");
        assert!(second != first && rooms.get(first).is_none());
    }

    #[test]
    fn who_moves_when_a_member_leaves_is_named() {
        let mut rooms = Rooms::default();
        let room = rooms.create("");
        let [a, b, c] = [1, 2, 3].map(|index| ClientId::new(index, 1));
        assert_eq!([a, b, c].map(|client| rooms.join(room, client)), [0, 1, 2]);
        assert_eq!(rooms.leave(room, 0), Some(c));
        assert_eq!(rooms.leave(room, 1), None);
        assert_eq!(rooms.get(room).unwrap().members(), [c]);
    }

    #[test]
    fn a_room_is_sealed_if_something_was_said() {
        let mut rooms = Rooms::default();
        let [room, _quiet] = ["", "b"].map(|name| rooms.create(name));
        assert_eq!(
            rooms.say(room, MessageKind::Text, b"ab".into()),
            Some((0, 4))
        );
        assert_eq!(
            rooms.say(room, MessageKind::Binary, b"".into()),
            Some((4, 6))
        );
        let (sealed_room, sealed) = seal_next(&mut rooms).unwrap();
        assert_eq!((&*sealed_room.name, sealed.frames.len()), ("", 6));
        assert!(!rooms.has_unsealed() && seal_next(&mut rooms).is_none());
        assert_eq!(rooms.get(room).unwrap().batch().len(), 0);
    }

    #[test]
    fn a_room_may_go_with_its_batch() {
        let mut rooms = Rooms::default();
        let room = rooms.create("");
        rooms.say(room, MessageKind::Text, b"to nobody".into());
        rooms.remove_if_empty(room);
        assert!(seal_next(&mut rooms).is_none());
        assert_eq!(rooms.say(room, MessageKind::Text, b"".into()), None);
    }
}
