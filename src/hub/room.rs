//! Rooms: who hears whom.

use std::collections::HashMap;
use std::rc::Rc;

use slab::Slab;

use super::client::ClientId;
use crate::protocol::{MessageKind, encode_message};

/// A batch up to this size is copied when it is sealed, and its buffer used again: cheaper than to
/// grow a new buffer with every turn.
const MAX_COPIED: usize = 16 * 1024;

/// The largest buffer that is kept for the next batch.
const MAX_SPARE: usize = 64 * 1024;

/// How many buffers are kept, over all rooms.
const MAX_SPARES: usize = 16;

/// Names a room for as long as it exists. A room goes with its last member; one of the same name
/// that is made afterwards has another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoomId {
    index: u32,
    generation: u32,
}

/// The clients of one path, and what was said to all of them in this turn.
#[derive(Debug)]
pub(super) struct Room {
    id: RoomId,
    pub(super) name: Rc<str>,
    /// In no particular order; each client knows its position.
    members: Vec<ClientId>,
    batch: Batch,
}

/// Frames that every member gets, encoded once, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) messages: u64,
}

impl Room {
    pub(super) fn members(&self) -> &[ClientId] {
        &self.members
    }

    /// How long this turn's batch is by now, in bytes.
    pub(super) fn batch_len(&self) -> usize {
        self.batch.bytes.len()
    }

    /// How many messages are in it.
    pub(super) fn batch_messages(&self) -> u64 {
        self.batch.messages
    }
}

/// All rooms, by id and by name.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    slab: Slab<Room>,
    by_name: HashMap<Rc<str>, RoomId>,
    /// The rooms that have a batch.
    unsealed: Vec<RoomId>,
    /// Empty buffers for the next batches, so that a quiet room owns none.
    spares: Vec<Vec<u8>>,
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

    fn get_mut(&mut self, id: RoomId) -> Option<&mut Room> {
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
        });
        let previous = self.by_name.insert(name, id);
        assert!(previous.is_none(), "a room is made once");
        id
    }

    /// Adds a member and returns its position.
    pub(super) fn join(&mut self, id: RoomId, client: ClientId) -> usize {
        let room = self
            .get_mut(id)
            .expect("the room was found or made just now");
        room.members.push(client);
        room.members.len() - 1
    }

    /// Removes the member at `position`; returns the one who takes that position now.
    pub(super) fn leave(&mut self, id: RoomId, position: usize) -> Option<ClientId> {
        let room = self.get_mut(id)?;
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
        payload: &[u8],
    ) -> Option<(usize, usize)> {
        let room = self
            .slab
            .get_mut(id.index as usize)
            .filter(|room| room.id == id)?;
        let batch = &mut room.batch;
        let start = batch.bytes.len();
        if start == 0 {
            self.unsealed.push(id);
            if let Some(spare) = self.spares.pop() {
                batch.bytes = spare;
            }
        }
        encode_message(kind, payload, &mut batch.bytes);
        batch.messages += 1;
        Some((start, batch.bytes.len()))
    }

    pub(super) fn has_unsealed(&self) -> bool {
        !self.unsealed.is_empty()
    }

    /// Seals the batch of one room: its bytes, shareable and without slack, and its messages.
    pub(super) fn seal_next(&mut self) -> Option<(&Room, Rc<Vec<u8>>, u64)> {
        let id = self.unsealed.pop()?;
        let room = self
            .slab
            .get_mut(id.index as usize)
            .expect("a room that goes is not unsealed");
        let Batch {
            mut bytes,
            messages,
        } = std::mem::take(&mut room.batch);
        // Members that lag hold the sealed bytes for long, so they must not be a large buffer with
        // little in it.
        let sealed = if bytes.len() <= MAX_COPIED || bytes.capacity() > 2 * bytes.len() {
            let sealed = bytes.clone();
            bytes.clear();
            if bytes.capacity() <= MAX_SPARE && self.spares.len() < MAX_SPARES {
                self.spares.push(bytes);
            }
            sealed
        } else {
            bytes
        };
        Some((room, Rc::new(sealed), messages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn messages_of_a_turn_are_one_batch() {
        let mut rooms = Rooms::default();
        let room = rooms.create("");
        assert_eq!(rooms.say(room, MessageKind::Text, b"ab"), Some((0, 4)));
        assert_eq!(rooms.say(room, MessageKind::Binary, b""), Some((4, 6)));
        let (_, batch, messages) = rooms.seal_next().unwrap();
        assert_eq!(
            (batch.as_slice(), messages),
            (&b"\x81\x02ab\x82\x00"[..], 2)
        );
        assert!(!rooms.has_unsealed() && rooms.seal_next().is_none());
        assert_eq!(rooms.get(room).unwrap().batch_len(), 0);
    }

    #[test]
    fn a_sealed_batch_has_no_slack_and_a_large_one_is_not_copied() {
        let mut rooms = Rooms::default();
        let room = rooms.create("");
        rooms.say(room, MessageKind::Binary, &vec![0; MAX_COPIED]);
        let buffer = rooms.get(room).unwrap().batch.bytes.as_ptr();
        assert_eq!(rooms.seal_next().unwrap().1.as_ptr(), buffer);
        for payload in [vec![0; 100], vec![0; 10]] {
            rooms.say(room, MessageKind::Binary, &payload);
            let batch = rooms.seal_next().unwrap().1;
            assert_eq!(batch.capacity(), batch.len());
            assert_eq!(rooms.get(room).unwrap().batch.bytes.capacity(), 0);
        }
        assert_eq!(rooms.spares.len(), 1);
    }

    #[test]
    fn little_in_a_large_buffer_is_copied_out_of_it() {
        let mut rooms = Rooms::default();
        let room = rooms.create("");
        rooms.spares.push(Vec::with_capacity(MAX_SPARE));
        rooms.say(room, MessageKind::Binary, &vec![0; MAX_COPIED]);
        let batch = rooms.seal_next().unwrap().1;
        assert_eq!(batch.capacity(), batch.len());
        assert_eq!(rooms.spares.len(), 1, "the buffer is there for the next");
    }

    #[test]
    fn buffers_that_are_kept_are_bounded_in_size_and_number() {
        let mut rooms = Rooms::default();
        let room = rooms.create("");
        rooms.spares.push(Vec::with_capacity(MAX_SPARE + 1));
        rooms.say(room, MessageKind::Text, b"short");
        rooms.seal_next();
        assert_eq!(rooms.spares.len(), 0);
        for i in 0..2 * MAX_SPARES {
            let room = rooms.create(&i.to_string());
            rooms.say(room, MessageKind::Text, b"short");
        }
        while rooms.seal_next().is_some() {}
        assert_eq!(rooms.spares.len(), MAX_SPARES);
    }

    #[test]
    fn a_room_may_go_with_its_batch() {
        let mut rooms = Rooms::default();
        let room = rooms.create("");
        rooms.say(room, MessageKind::Text, b"to nobody");
        rooms.remove_if_empty(room);
        assert!(rooms.seal_next().is_none());
        assert_eq!(rooms.say(room, MessageKind::Text, b""), None);
    }
}
