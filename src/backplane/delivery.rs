//! What local members of a room hear.

use std::rc::Rc;

use super::entry::Entry;
use crate::protocol::MessageKind;

/// Something that local members of a room hear now.
#[derive(Clone, Debug)]
pub struct Delivery(Source);

/// Where a delivery comes from.
#[derive(Clone, Debug)]
enum Source {
    /// This server; through Redis or without.
    Own(Rc<Entry>),
    /// Another server, or a program that publishes. The room's name and the payload lie in what
    /// Redis brought: nothing of it is copied.
    Foreign {
        kind: MessageKind,
        bytes: Vec<u8>,
        room_len: usize,
        payload_len: usize,
    },
}

impl Delivery {
    /// A message of this server's own.
    pub(super) fn own(entry: Rc<Entry>) -> Self {
        Self(Source::Own(entry))
    }

    /// Somebody else's message, as it came. Of `bytes` the payload is the end, and the room's name
    /// lies in front of it: so in an envelope, and with no name in what came without one. Both are
    /// checked: the name is UTF-8, and so is the payload of a text.
    pub(super) fn foreign(
        kind: MessageKind,
        bytes: Vec<u8>,
        room_len: usize,
        payload_len: usize,
    ) -> Self {
        assert!(room_len + payload_len <= bytes.len(), "they lie in it");
        Self(Source::Foreign {
            kind,
            bytes,
            room_len,
            payload_len,
        })
    }

    /// The room's name.
    ///
    /// # Panics
    /// Never: that the name is UTF-8 was checked when it came.
    pub fn room(&self) -> &str {
        match &self.0 {
            Source::Own(entry) => entry.room(),
            Source::Foreign {
                bytes,
                room_len,
                payload_len,
                ..
            } => {
                let end = bytes.len() - payload_len;
                std::str::from_utf8(&bytes[end - room_len..end]).expect("its name is checked")
            }
        }
    }

    /// Text or binary. Text is UTF-8.
    pub fn kind(&self) -> MessageKind {
        match &self.0 {
            Source::Own(entry) => entry.kind(),
            Source::Foreign { kind, .. } => *kind,
        }
    }

    /// What was said.
    pub fn payload(&self) -> &[u8] {
        match &self.0 {
            Source::Own(entry) => entry.payload(),
            Source::Foreign {
                bytes, payload_len, ..
            } => &bytes[bytes.len() - payload_len..],
        }
    }

    /// Whether this server has said it.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.0, Source::Own(_))
    }

    /// Who does not hear it: what [`Backplane::publish`](super::Backplane::publish) was told.
    pub fn exempt(&self) -> Option<u64> {
        match &self.0 {
            Source::Own(entry) => entry.exempt(),
            Source::Foreign { .. } => None,
        }
    }

    /// What it takes in memory, in bytes.
    pub(super) fn cost(&self) -> usize {
        let held = match &self.0 {
            Source::Own(entry) => entry.cost(),
            Source::Foreign { bytes, .. } => bytes.capacity(),
        };
        size_of::<Self>() + held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::entry::test_entry;
    use crate::hub::test_clock;

    #[test]
    fn what_came_is_read_where_it_lies() {
        let bytes = b"\xFFheaderroompayload".to_vec();
        let (place, cost) = (bytes.as_ptr(), bytes.capacity());
        let delivery = Delivery::foreign(MessageKind::Text, bytes, 4, 7);
        assert_eq!(
            (delivery.room(), delivery.payload()),
            ("room", &b"payload"[..])
        );
        assert_eq!(
            (delivery.kind(), delivery.exempt()),
            (MessageKind::Text, None)
        );
        assert_eq!(delivery.payload().as_ptr(), place.wrapping_add(11));
        assert!(delivery.cost() > cost);
    }

    #[test]
    fn what_came_without_an_envelope_is_for_the_default_room() {
        let delivery = Delivery::foreign(MessageKind::Binary, b"\xFE".to_vec(), 0, 1);
        assert_eq!((delivery.room(), delivery.payload()), ("", &b"\xFE"[..]));
    }

    #[test]
    fn an_own_message_keeps_who_does_not_hear_it() {
        let (kind, now) = (MessageKind::Text, test_clock());
        let entry = Entry::new((7, 1), "r", kind, b"hi", Some(9), now).unwrap();
        let delivery = Delivery::own(Rc::clone(&entry));
        assert_eq!((delivery.room(), delivery.payload()), ("r", &b"hi"[..]));
        assert_eq!((delivery.kind(), delivery.exempt()), (kind, Some(9)));
        assert!(delivery.cost() > entry.cost());
        assert_eq!(Delivery::own(test_entry(1, 0, now)).exempt(), None);
    }
}
