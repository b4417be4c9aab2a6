//! A message of this server's own.

use std::rc::Rc;
use std::time::Instant;

use super::config::Format;
use super::envelope::{Envelope, EnvelopeError};
use crate::protocol::MessageKind;

/// A message of this server's own, in its envelope: one copy of it in memory, however many wait
/// for it (the queue, the echoes, the ring, the delivery).
#[derive(Debug)]
pub(super) struct Entry {
    seq: u64,
    kind: MessageKind,
    exempt: Option<u64>,
    said_at: Instant,
    /// The envelope; the payload is its end, and the room's name lies in front of that.
    envelope: Box<[u8]>,
    room_len: usize,
    payload_len: usize,
}

impl Entry {
    /// Message `seq` of `origin`.
    ///
    /// # Errors
    /// If the room's name is none that an envelope can carry.
    pub(super) fn new(
        (origin, seq): (u64, u64),
        room: &str,
        kind: MessageKind,
        payload: &[u8],
        exempt: Option<u64>,
        now: Instant,
    ) -> Result<Rc<Self>, EnvelopeError> {
        let mut envelope = Vec::new();
        Envelope {
            kind,
            is_control: false,
            origin,
            seq,
            room,
            payload,
        }
        .encode(&mut envelope)?;
        Ok(Rc::new(Self {
            seq,
            kind,
            exempt,
            said_at: now,
            envelope: envelope.into_boxed_slice(),
            room_len: room.len(),
            payload_len: payload.len(),
        }))
    }

    /// Its number among the messages of this origin: they rise by one.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// Text or binary.
    pub(super) fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Who does not hear it on this server.
    pub(super) fn exempt(&self) -> Option<u64> {
        self.exempt
    }

    /// When it was said.
    pub(super) fn said_at(&self) -> Instant {
        self.said_at
    }

    /// The room's name.
    pub(super) fn room(&self) -> &str {
        let end = self.envelope.len() - self.payload_len;
        let name = &self.envelope[end - self.room_len..end];
        std::str::from_utf8(name).expect("it was a string")
    }

    /// What was said.
    pub(super) fn payload(&self) -> &[u8] {
        &self.envelope[self.envelope.len() - self.payload_len..]
    }

    /// The envelope, whole.
    pub(super) fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    /// What is published of it.
    pub(super) fn published(&self, format: Format) -> &[u8] {
        match format {
            Format::Envelope => self.envelope(),
            Format::Raw => self.payload(),
        }
    }

    /// What it takes in memory, in bytes: with many short messages it is more than they say.
    pub(super) fn cost(&self) -> usize {
        /// The two counts of the `Rc`, and what an allocator adds to two allocations.
        const OVERHEAD: usize = 48;

        size_of::<Self>() + OVERHEAD + self.envelope.len()
    }
}
