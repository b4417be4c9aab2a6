//! What the hub may hold at worst.

use super::address::Addresses;
use super::admin::{AdminConnection, MAX_LIST_BYTES};
use super::batch::MAX_KEPT;
use super::client::Client;
use super::config::{HubConfig, MAX_RECEIVE};
use super::evict::MAX_EVICTIONS_PER_TURN;
use super::flush::MAX_SPARES;
use super::large::MAX_HELD;
use super::outgoing::{MAX_SPARE, MIN_SHARED_PART};
use super::room::Room;
use super::wheel::TimerWheel;
use super::{ClientId, Hub, MAX_SURPLUS};
use crate::protocol::http::MAX_HEAD;

/// A buffer that grows has room for as much again as is in it, and so has a table.
const SLACK: usize = 2;

/// What the allocator adds to each thing that it gives away, and more: its sizes come in steps.
const ALLOCATION: usize = 64;

/// The longest name of a room that there may be, in bytes.
const MAX_ROOM_NAME: usize = 128;

/// Lists that a client is in once: to flush, to reap, to read, half-open; and twice the wheel's,
/// where an entry that was replaced by an earlier one waits for its time.
const LISTS: usize = 6;

/// Of what there is one part of memory each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryScope {
    /// Of each client.
    Client,
    /// Of each room.
    Room,
    /// Of the server.
    Server,
}

/// A part of what a server may hold: so many things of so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryPart {
    /// Of what there is one each.
    pub scope: MemoryScope,
    /// What it is.
    pub what: &'static str,
    /// The most that one of it takes, in bytes.
    pub bytes_each: usize,
    /// The most that there are of it.
    pub count: usize,
}

impl MemoryPart {
    /// So many things of so many bytes.
    pub const fn new(
        scope: MemoryScope,
        what: &'static str,
        bytes_each: usize,
        count: usize,
    ) -> Self {
        Self {
            scope,
            what,
            bytes_each,
            count,
        }
    }

    /// All of them together.
    pub const fn bytes(&self) -> usize {
        self.bytes_each.saturating_mul(self.count)
    }
}

impl HubConfig {
    /// What a hub with these settings may hold at worst, part by part: if every client does what
    /// costs the most, all at the same time.
    ///
    /// Counted are buffers with the room that they have left, tables, and what the allocator adds.
    /// What a handler holds, or says beyond what it is told, is not.
    pub fn worst_case_memory(&self) -> Vec<MemoryPart> {
        let clients = self.max_connections.saturating_add(MAX_SURPLUS);
        let rooms = self.max_rooms.min(clients);
        // A message that arrives, or the head of the request before that.
        let arriving = self.limits.max_message_size.max(MAX_HEAD);
        let arriving = arriving.saturating_mul(SLACK).saturating_add(ALLOCATION);
        let client = |what, bytes| MemoryPart::new(MemoryScope::Client, what, bytes, clients);
        let server = |what, bytes| MemoryPart::new(MemoryScope::Server, what, bytes, 1);
        let spares = MAX_SPARES * (MAX_SPARE + ALLOCATION);
        let mut parts = vec![
            client("record, lists, boxes", Self::client_bytes()),
            client("message or request that arrives", arriving),
            client("membership of a room", SLACK * size_of::<ClientId>()),
        ];
        if self.max_connections_per_ip.is_some() {
            parts.push(client("address", SLACK * Addresses::ENTRY));
        }
        if let Some(total) = self.max_total_buffer {
            // While it is too much, turns go on, and each gives up no more than so many.
            let turns = clients.div_ceil(MAX_EVICTIONS_PER_TURN).saturating_add(1);
            let late = turns.saturating_mul(Hub::MAX_SAID);
            let held = total.saturating_add(late).saturating_mul(SLACK);
            parts.push(server("owed to all clients", held));
        } else {
            // A piece may be of a batch that others hear more of, whose buffer has room left.
            let most = self.largest_batch().saturating_add(self.max_client_buffer);
            let held = most.saturating_mul(MIN_SHARED_PART * SLACK);
            parts.push(client("owed to it, with what that holds", held));
        }
        let room = Self::room_bytes();
        parts.extend([
            MemoryPart::new(MemoryScope::Room, "record and name", room, rooms),
            server("said in one turn", self.turn_bytes()),
            server("buffers of batches, kept", SLACK * MAX_KEPT),
            server("buffers of single clients, kept", spares),
            server("buffers of large messages, kept", MAX_HELD),
            server("timer wheel", TimerWheel::BYTES),
        ]);
        parts
    }

    /// What an operator's connection may hold: a head or a body, what is said behind it, and the
    /// answer, which is at most a list. Kept out of [`worst_case_memory`](Self::worst_case_memory),
    /// since a hub by itself takes no operators in.
    pub(crate) fn admin_bytes(&self) -> usize {
        let body = self.limits.max_message_size.max(MAX_HEAD);
        let held = body.saturating_add(AdminConnection::MAX_HELD);
        let all = held.saturating_add(MAX_LIST_BYTES).saturating_mul(SLACK);
        all.saturating_add(Self::client_bytes())
    }

    /// What is said in one turn and handed to the driver, where servers share their rooms.
    #[cfg(feature = "redis")]
    pub(crate) fn relayed_bytes(&self) -> usize {
        self.largest_batch().saturating_mul(SLACK)
    }

    /// Its place in the table, in lists, and what it has in boxes: a Pong, an incomplete control
    /// frame, the state of a message that arrives, what is said to it in the middle of a batch, and
    /// what it was let in with.
    const fn client_bytes() -> usize {
        const BOXES: usize = 5 * (128 + ALLOCATION);
        SLACK * (size_of::<Client>() + LISTS * size_of::<ClientId>()) + BOXES
    }

    /// Its place in the table, and its name, which leads there.
    const fn room_bytes() -> usize {
        const NAME: usize = MAX_ROOM_NAME + 2 * size_of::<usize>() + ALLOCATION;
        const ENTRY: usize = 3 * size_of::<usize>();
        SLACK * (size_of::<Room>() + 2 * ENTRY + size_of::<ClientId>()) + NAME + ALLOCATION
    }

    /// The most that a room is told in one turn by clients, in bytes.
    fn largest_batch(&self) -> usize {
        self.batch_limit()
            .saturating_add(self.limits.max_message_size)
            .saturating_add(2 * MAX_RECEIVE)
    }

    /// What is said before a turn ends because it was enough; and the lists of whom it is said to.
    fn turn_bytes(&self) -> usize {
        let said = Hub::MAX_SAID.saturating_add(self.largest_batch());
        said.saturating_mul(SLACK * SLACK)
    }
}
