//! A message's payload, and how it is passed on without a copy.

use std::fmt;
use std::ops::Deref;

use super::frame::FrameHeader;
use super::message::MessageKind;

/// What a message holds, unmasked; it is used as a slice.
///
/// It borrows the read buffer when the message came as one frame in one piece. Otherwise it was
/// assembled in a buffer of its own, with room for a frame header before it: a large message that
/// is said again (to its room, or back to its sender) is not copied for that.
#[derive(Clone)]
pub struct Payload<'i>(Repr<'i>);

#[derive(Clone)]
enum Repr<'i> {
    Borrowed(&'i [u8]),
    /// In a box, so that a payload is two words: it changes hands several times per message.
    Assembled(Box<Assembled>),
}

#[derive(Clone)]
struct Assembled {
    /// Empty, or [`HEADROOM`] bytes and the payload.
    bytes: Vec<u8>,
}

/// Room for the header of an unmasked frame in its longest form (RFC 6455, section 5.2), which is
/// that of all payloads over 65,535 bytes.
const HEADROOM: usize = 10;

const _: () = assert!(size_of::<Payload<'_>>() == 2 * size_of::<usize>());

/// A payload is read where it belongs if so much of a frame is missing, and so much of the message
/// is there: what is shorter is copied, and whoever has sent little makes nobody take memory.
const MIN_MISSING: usize = 32 * 1024;
const MIN_ARRIVED: usize = 16 * 1024;

/// The most that is read where it belongs at once.
const MAX_LANDING: usize = 1024 * 1024;

/// A spare buffer is asked for when this part of a message has arrived.
const MIN_PART: usize = 8;

/// A payload that is arriving, in one flat buffer.
///
/// The buffer grows with the bytes that arrive: to twice as many at most, or to what other messages
/// have left once a part of this one is there.
#[derive(Debug, Default)]
pub(super) struct PayloadBuffer {
    /// Empty, or [`HEADROOM`] bytes, what has arrived, and what was made room for.
    bytes: Vec<u8>,
    /// How much has arrived.
    len: usize,
    /// How much can be read where it belongs.
    landing: usize,
}

impl PayloadBuffer {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        self.landing = 0;
        if self.bytes.is_empty() {
            self.bytes.reserve(HEADROOM + piece.len());
            self.bytes.resize(HEADROOM, 0);
        }
        self.bytes.truncate(HEADROOM + self.len);
        self.bytes.extend_from_slice(piece);
        self.len += piece.len();
    }

    /// Where the next bytes of the payload can be read to, if `missing` of them are so many that
    /// this is worth it: at most as much again as has arrived, or what there is room for. `spare`
    /// may give a buffer of at least so many bytes, whatever is in it.
    pub(super) fn landing(
        &mut self,
        missing: usize,
        spare: impl FnOnce(usize) -> Option<Vec<u8>>,
    ) -> Option<&mut [u8]> {
        self.landing = 0;
        if missing < MIN_MISSING || self.len < MIN_ARRIVED {
            return None;
        }
        let start = HEADROOM + self.len;
        let wanted = missing.min(MAX_LANDING);
        let has_begun = self.len >= (self.len + missing) / MIN_PART;
        if self.bytes.len() < start + wanted && has_begun {
            if let Some(mut larger) = spare(start + missing) {
                larger[..start].copy_from_slice(&self.bytes[..start]);
                self.bytes = larger;
            }
        }
        let room = self.bytes.len() - start;
        self.landing = wanted.min(room.max(self.len));
        if room < self.landing {
            self.bytes.resize(start + self.landing, 0);
        }
        Some(&mut self.bytes[start..start + self.landing])
    }

    /// What has just been read to the [`landing`](Self::landing): its first `count` bytes.
    pub(super) fn land(&mut self, count: usize) -> &mut [u8] {
        assert!(
            count <= self.landing,
            "no more was read than there was room for"
        );
        self.landing = 0;
        let start = HEADROOM + self.len;
        self.len += count;
        &mut self.bytes[start..start + count]
    }

    pub(super) fn finish(mut self) -> Payload<'static> {
        self.bytes.truncate(HEADROOM + self.len);
        Payload(Repr::Assembled(Box::new(Assembled { bytes: self.bytes })))
    }
}

impl Payload<'_> {
    /// The payload in a vector of its own. It is copied if it was borrowed.
    pub fn into_owned(self) -> Vec<u8> {
        match self.0 {
            Repr::Borrowed(bytes) => bytes.to_vec(),
            Repr::Assembled(assembled) => {
                let mut bytes = assembled.bytes;
                bytes.drain(..HEADROOM.min(bytes.len()));
                bytes
            }
        }
    }

    /// The payload as an unmasked frame, in the buffer that it was assembled in; unchanged if it is
    /// borrowed, or so small that its header is of another length and copying it is cheap.
    ///
    /// # Errors
    /// The payload itself.
    #[inline]
    pub(crate) fn into_frame(self, kind: MessageKind) -> Result<Vec<u8>, Self> {
        match self.0 {
            Repr::Borrowed(_) => Err(self),
            Repr::Assembled(assembled) => assembled.into_frame(kind).map_err(Self),
        }
    }
}

impl Assembled {
    fn into_frame(mut self: Box<Self>, kind: MessageKind) -> Result<Vec<u8>, Repr<'static>> {
        let payload_len = self.bytes.len().saturating_sub(HEADROOM);
        let header = FrameHeader::unmasked(kind.opcode(), payload_len).to_wire();
        if header.len() < HEADROOM {
            return Err(Repr::Assembled(self));
        }
        self.bytes[..HEADROOM].copy_from_slice(&header);
        // It may wait in a queue for long.
        if self.bytes.capacity() / 2 > self.bytes.len() {
            self.bytes.shrink_to_fit();
        }
        Ok(self.bytes)
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Borrowed(bytes) => bytes,
            Repr::Assembled(assembled) => assembled.bytes.get(HEADROOM..).unwrap_or_default(),
        }
    }
}

impl AsRef<[u8]> for Payload<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Borrows; also from another payload, to say the same more than once.
impl<'i, B: AsRef<[u8]> + ?Sized> From<&'i B> for Payload<'i> {
    fn from(bytes: &'i B) -> Self {
        Self(Repr::Borrowed(bytes.as_ref()))
    }
}

/// Copies the bytes behind room for a header. Who has a vector and means to say it once does better
/// to lend it.
impl From<Vec<u8>> for Payload<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        let mut buffer = PayloadBuffer::default();
        buffer.push(&bytes);
        buffer.finish()
    }
}

impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload<'_> {}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembled(len: usize) -> Payload<'static> {
        let mut buffer = PayloadBuffer::default();
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(len).collect();
        for piece in bytes.chunks(1000) {
            buffer.push(piece);
        }
        assert_eq!(buffer.len(), len);
        let payload = buffer.finish();
        assert!(*payload == *bytes);
        payload
    }

    #[test]
    fn an_assembled_payload_is_a_slice_and_a_vector() {
        for len in [0, 1, 999, 2500] {
            let payload = assembled(len);
            assert_eq!(payload, Payload::from(&payload));
            let bytes = payload.to_vec();
            assert_eq!(payload.into_owned(), bytes);
        }
        assert_eq!(PayloadBuffer::default().bytes.capacity(), 0);
    }

    #[test]
    fn a_message_may_begin_and_end_with_an_empty_fragment() {
        let mut buffer = PayloadBuffer::default();
        for piece in [&b""[..], b"", b"a payload", b"", b" in pieces", b""] {
            buffer.push(piece);
        }
        assert_eq!(&*buffer.finish(), b"a payload in pieces");
    }

    #[test]
    fn a_large_one_becomes_a_frame_where_it_lies() {
        let payload = assembled(0x1_0000);
        let (address, expected) = (payload.as_ptr(), payload.to_vec());
        let frame = payload.into_frame(MessageKind::Text).unwrap();
        assert_eq!(frame[HEADROOM..].as_ptr(), address);
        assert_eq!(frame[..HEADROOM], *b"\x81\x7f\0\0\0\0\0\x01\0\0");
        assert!(frame[HEADROOM..] == expected && frame.capacity() <= 2 * frame.len() + 1);
    }

    #[test]
    #[cfg_attr(miri, ignore = "megabytes take minutes there")]
    fn bytes_are_read_where_they_belong() {
        let sent: Vec<u8> = (0..=u8::MAX).cycle().take(3 * MAX_LANDING).collect();
        for times in [None, Some(1), Some(2), Some(4)] {
            let spare_len = times.map(|times| times * sent.len() + HEADROOM);
            let mut buffer = PayloadBuffer::default();
            buffer.push(&sent[..MIN_ARRIVED]);
            let mut asked = 0;
            while sent.len() - buffer.len() >= MIN_MISSING {
                let len = buffer.len();
                let spare = |needed| {
                    asked += 1;
                    assert_eq!(needed, sent.len() + HEADROOM);
                    assert!(len >= sent.len() / MIN_PART);
                    spare_len.map(|len| vec![0xEE; len])
                };
                let landing = buffer.landing(sent.len() - len, spare).unwrap();
                assert!((MIN_ARRIVED..=MAX_LANDING).contains(&landing.len()));
                // A short read, and something that comes by another way.
                let count = landing.len() - landing.len() / 3;
                landing[..count].copy_from_slice(&sent[len..len + count]);
                assert_eq!(buffer.land(count), &sent[len..len + count]);
                let len = buffer.len();
                buffer.push(&sent[len..sent.len().min(len + 10)]);
            }
            assert!(asked > 0);
            let len = buffer.len();
            buffer.push(&sent[len..]);
            let frame = buffer.finish().into_frame(MessageKind::Binary).unwrap();
            assert!(frame[HEADROOM..] == *sent);
            assert!(frame.capacity() <= 2 * frame.len() + 1);
        }
    }

    #[test]
    fn a_message_that_ends_in_a_longer_buffer_has_nothing_of_what_was_in_there() {
        let mut buffer = PayloadBuffer::default();
        buffer.push(&vec![1; MIN_MISSING]);
        let landing = buffer.landing(MIN_MISSING, |needed| Some(vec![0xEE; 2 * needed]));
        landing.unwrap().fill(2);
        buffer.land(MIN_MISSING);
        let expected = [vec![1; MIN_MISSING], vec![2; MIN_MISSING]].concat();
        assert!(*buffer.finish() == *expected);
    }

    #[test]
    #[cfg_attr(miri, ignore = "megabytes take minutes there")]
    fn room_grows_with_what_arrives_and_not_with_what_is_declared() {
        let mut buffer = PayloadBuffer::default();
        assert!(buffer.landing(1 << 40, |_| None).is_none());
        buffer.push(&[0; MIN_ARRIVED - 1]);
        assert!(buffer.landing(1 << 40, |_| None).is_none());
        buffer.push(&[0]);
        assert!(buffer.landing(MIN_MISSING - 1, |_| None).is_none());
        for _ in 0..5 {
            let arrived = buffer.len();
            let spare = |_| panic!("too little has arrived");
            assert_eq!(buffer.landing(1 << 40, spare).unwrap().len(), arrived);
            buffer.land(arrived);
        }
        assert!(buffer.bytes.len() <= 32 * MIN_ARRIVED + HEADROOM);
    }

    #[test]
    #[should_panic(expected = "no more was read than there was room for")]
    fn no_more_can_have_been_read_than_there_was_room_for() {
        let mut buffer = PayloadBuffer::default();
        buffer.push(&[0; MIN_ARRIVED]);
        let spare = |needed| Some(vec![0; 2 * needed]);
        let landing = buffer.landing(MIN_MISSING, spare).unwrap().len();
        buffer.land(landing + 1);
    }

    #[test]
    fn a_small_or_borrowed_one_stays_what_it_is() {
        for len in [0, 125, 126, 0xFFFF] {
            let payload = assembled(len).into_frame(MessageKind::Binary).unwrap_err();
            assert_eq!(payload.len(), len);
        }
        let bytes = vec![7; 0x1_0000];
        let payload = Payload::from(&bytes).into_frame(MessageKind::Binary);
        assert_eq!(payload.unwrap_err().as_ptr(), bytes.as_ptr());
    }
}
