//! What is said to rooms, where somebody else decides when it is heard: a room of many servers.
//!
//! A driver that joins several servers takes what is said, tells the others, and says it here by
//! [`Hub::deliver`] when its time has come. Until then no member hears it.

use std::collections::VecDeque;
use std::rc::Rc;

use super::client::ClientId;
use super::room::RoomId;
use super::{Hub, MessageKind};
use crate::protocol::Payload;

/// What a message counts on top of its bytes, so that many tiny ones are bounded too: its entry.
const ENTRY_COST: usize = 64;

/// The largest buffer that is kept from one turn to the next.
const MAX_KEPT: usize = 512 * 1024;

/// Something that was said to a room and that nobody has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relayed<'h> {
    /// The room's name. Maybe nobody here is in it.
    pub room: &'h str,
    /// The member who does not hear it: for [`Hub::deliver`].
    pub except: Option<ClientId>,
    /// Text or binary.
    pub kind: MessageKind,
    /// What was said.
    pub payload: &'h [u8],
}

/// What was said, in its order, until the driver takes it.
#[derive(Debug, Default)]
pub(super) struct Relay {
    is_on: bool,
    /// Names and payloads, one behind the other, from `taken` on.
    bytes: Vec<u8>,
    taken: usize,
    entries: VecDeque<Entry>,
    /// What all entries count.
    cost: usize,
}

#[derive(Debug)]
struct Entry {
    name_len: usize,
    payload_len: usize,
    kind: MessageKind,
    except: Option<ClientId>,
}

impl Entry {
    fn cost(&self) -> usize {
        self.name_len + self.payload_len + ENTRY_COST
    }
}

impl Relay {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is waiting to be taken counts so much of what may be said in a turn.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    fn push(&mut self, said: Relayed<'_>) {
        if self.entries.is_empty() {
            self.bytes.clear();
            self.taken = 0;
        }
        let entry = Entry {
            name_len: said.room.len(),
            payload_len: said.payload.len(),
            kind: said.kind,
            except: said.except,
        };
        self.bytes.extend_from_slice(said.room.as_bytes());
        self.bytes.extend_from_slice(said.payload);
        self.cost += entry.cost();
        self.entries.push_back(entry);
    }

    fn take(&mut self) -> Option<Relayed<'_>> {
        let Some(entry) = self.entries.pop_front() else {
            if self.bytes.capacity() > MAX_KEPT {
                self.bytes = Vec::new();
            }
            return None;
        };
        self.cost -= entry.cost();
        let rest = &self.bytes[self.taken..];
        self.taken += entry.name_len + entry.payload_len;
        let (name, rest) = rest.split_at(entry.name_len);
        Some(Relayed {
            room: std::str::from_utf8(name).expect("it was pushed as a string"),
            except: entry.except,
            kind: entry.kind,
            payload: &rest[..entry.payload_len],
        })
    }
}

impl Hub {
    /// Whether what is said to rooms from now on is kept for [`take_relayed`](Self::take_relayed)
    /// instead of being heard; what is said to one client alone is heard as ever. It begins off.
    pub fn set_relaying(&mut self, is_on: bool) {
        self.relay.is_on = is_on;
    }

    /// The next thing that was said to a room, whoever said it. What waits here counts as said in
    /// this turn, all rooms together as one, so that a driver that takes nothing finds the hub
    /// [full](Self::is_full).
    pub fn take_relayed(&mut self) -> Option<Relayed<'_>> {
        self.said -= self.relay.entries.front().map_or(0, Entry::cost);
        self.relay.take()
    }

    /// Whether there is enough of it for one turn: as much as one room may be told. It will be said
    /// here again, and whoever comes next should not wait for more than that.
    pub(super) fn has_relayed_enough(&self) -> bool {
        self.has_relayed() && self.relay.cost() >= self.config.batch_limit()
    }

    /// Whether there is such a thing.
    pub fn has_relayed(&self) -> bool {
        !self.relay.is_empty()
    }

    /// Says something to every member of a room but one, now; returns how many hear it, 0 if there
    /// is no such room. An exception that is no member any more is none.
    ///
    /// Text must be UTF-8, as in [`Outbox::send`](super::Outbox::send).
    pub fn deliver(
        &mut self,
        room: &str,
        except: Option<ClientId>,
        kind: MessageKind,
        payload: &[u8],
    ) -> usize {
        let room = self.rooms.find(room);
        room.and_then(|room| self.say_to_room(room, except, kind, payload.into()))
            .unwrap_or(0)
    }

    /// Says a message to every member of the room named so; returns the number of members, 0 if
    /// there is no such room. For those who are no client: another thread, another server.
    pub fn publish(&mut self, room: &str, kind: MessageKind, payload: &[u8]) -> usize {
        self.publish_payload(room, kind, payload.into())
    }

    /// The same for a payload that need not be copied perhaps.
    pub(super) fn publish_payload(
        &mut self,
        name: &str,
        kind: MessageKind,
        payload: Payload<'_>,
    ) -> usize {
        let room = self.rooms.find(name);
        if self.relay.is_on {
            // Somebody may be in that room on another server.
            self.relay_to(name, None, kind, &payload);
            return room.map_or(0, |room| self.members(room).len());
        }
        room.and_then(|room| self.say_to_room(room, None, kind, payload))
            .unwrap_or(0)
    }

    /// Says a message to a room, or has the driver tell when: returns how many members it is for.
    pub(super) fn broadcast(
        &mut self,
        room: RoomId,
        except: Option<ClientId>,
        kind: MessageKind,
        payload: Payload<'_>,
    ) -> Option<usize> {
        if self.relay.is_on {
            return self.relay(room, except, kind, &payload);
        }
        self.say_to_room(room, except, kind, payload)
    }

    /// Keeps what is said to a room; returns how many members would hear it.
    #[cold]
    fn relay(
        &mut self,
        room: RoomId,
        except: Option<ClientId>,
        kind: MessageKind,
        payload: &[u8],
    ) -> Option<usize> {
        let name = Rc::clone(&self.rooms.get(room)?.name);
        self.relay_to(&name, except, kind, payload);
        let members = self.members(room).len();
        let is_member =
            |client: ClientId| self.is_open(client) && self.room_of(client) == Some(room);
        Some(members - usize::from(except.is_some_and(is_member)))
    }

    /// The same for a room that may have no members here.
    fn relay_to(
        &mut self,
        room: &str,
        except: Option<ClientId>,
        kind: MessageKind,
        payload: &[u8],
    ) {
        let before = self.relay.cost();
        self.relay.push(Relayed {
            room,
            except,
            kind,
            payload,
        });
        self.said += self.relay.cost() - before;
    }

    /// What the buffer between two turns holds.
    #[cfg(test)]
    pub(super) fn relay_capacity(&self) -> usize {
        self.relay.bytes.capacity()
    }
}
