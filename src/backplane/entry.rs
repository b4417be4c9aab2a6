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

/// Message `seq` of somebody, of so many bytes.
#[cfg(test)]
pub(super) fn test_entry(seq: u64, len: usize, now: Instant) -> Rc<Entry> {
    let payload = vec![b'x'; len];
    Entry::new((7, seq), "room", MessageKind::Text, &payload, None, now).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::envelope::Parsed;
    use crate::hub::test_clock;

    #[test]
    fn an_entry_says_what_its_envelope_says() {
        let now = test_clock();
        let (kind, said) = (MessageKind::Binary, b"said");
        let entry = Entry::new((7, 9), "r\u{e9}", kind, said, Some(3), now).unwrap();
        assert_eq!((entry.seq(), entry.kind()), (9, kind));
        assert_eq!((entry.room(), entry.payload()), ("r\u{e9}", &said[..]));
        assert_eq!((entry.exempt(), entry.said_at()), (Some(3), now));
        assert_eq!(entry.published(Format::Raw), said);
        let expected = Envelope {
            kind,
            is_control: false,
            origin: 7,
            seq: 9,
            room: "r\u{e9}",
            payload: said,
        };
        let published = entry.published(Format::Envelope);
        assert_eq!(
            Envelope::parse(published, 4),
            Ok(Parsed::Envelope(expected))
        );
        assert!(entry.cost() > published.len());
    }

    #[test]
    fn an_entry_may_say_nothing_in_the_default_room() {
        let entry = Entry::new((7, 1), "", MessageKind::Text, b"", None, test_clock()).unwrap();
        assert_eq!((entry.room(), entry.payload()), ("", &b""[..]));
    }

    #[test]
    fn a_room_that_no_envelope_carries_is_refused() {
        let room = "r".repeat(129);
        let entry = Entry::new((7, 1), &room, MessageKind::Text, b"", None, test_clock());
        assert_eq!(entry.unwrap_err(), EnvelopeError::Room);
    }
}
