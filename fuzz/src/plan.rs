//! How an input says what is to be done with it.

use fanfare::protocol::Limits;

use super::client;

/// In the first byte: how many of the bytes that follow are cuts.
const CUTS: u8 = 0x0F;
/// In the first byte: messages are limited to [`SMALL_MESSAGE`], so that short inputs reach limits.
const SMALL_LIMIT: u8 = 0x10;
/// In the first byte: a byte follows that tells how much of the stream comes before our own Close.
const WE_CLOSE: u8 = 0x20;
/// In the first byte: the stream is written down as frames, see [`client::stream`].
const FRAMES: u8 = 0x40;

const SMALL_MESSAGE: usize = 40;

/// A stream from a client, and how it arrives.
pub(crate) struct Plan {
    pub(crate) limits: Limits,
    /// How many bytes arrive before our side begins the closing handshake, if it does.
    pub(crate) close_at: Option<usize>,
    pub(crate) cuts: Cuts,
    pub(crate) bytes: Vec<u8>,
}

/// The lengths of the pieces that a stream arrives in, over and over. None: it arrives whole.
#[derive(Clone, Debug)]
pub(crate) struct Cuts(Vec<usize>);

impl Plan {
    /// Reads a plan from the front of an input; the rest of it is the stream.
    pub(crate) fn new(input: &[u8]) -> Self {
        let flags = input.first().copied().unwrap_or_default();
        let (cuts, rest) = Self::split_off_cuts(input);
        let (close_at, rest) = match rest.split_first() {
            Some((at, rest)) if flags & WE_CLOSE != 0 => (Some(usize::from(*at)), rest),
            _ => (None, rest),
        };
        let mut limits = Limits::default();
        if flags & SMALL_LIMIT != 0 {
            limits.max_message_size = SMALL_MESSAGE;
        }
        let bytes = if flags & FRAMES == 0 {
            rest.to_vec()
        } else {
            client::stream(rest)
        };
        Self {
            limits,
            close_at: close_at.map(|at| at.min(bytes.len())),
            cuts,
            bytes,
        }
    }

    /// The cuts at the front of an input, and what follows them.
    pub(crate) fn split_off_cuts(input: &[u8]) -> (Cuts, &[u8]) {
        let Some((flags, rest)) = input.split_first() else {
            return (Cuts(Vec::new()), input);
        };
        let count = usize::from(flags & CUTS).min(rest.len());
        let (cuts, rest) = rest.split_at(count);
        (
            Cuts(cuts.iter().map(|cut| usize::from(*cut)).collect()),
            rest,
        )
    }
}

impl Cuts {
    /// Cuts that make one piece of everything.
    pub(crate) const WHOLE: Self = Self(Vec::new());

    /// Cuts behind every byte.
    pub(crate) fn bytewise() -> Self {
        Self(vec![1])
    }

    /// The pieces, some of them empty perhaps.
    pub(crate) fn pieces<'b>(&self, mut bytes: &'b mut [u8]) -> impl Iterator<Item = &'b mut [u8]> {
        // Only empty pieces would never come to an end.
        let is_whole = self.0.iter().all(|cut| *cut == 0);
        let lens = if is_whole { &[usize::MAX] } else { &self.0[..] };
        let mut lens = lens.iter().cycle();
        std::iter::from_fn(move || {
            let len = (*lens.next()?).min(bytes.len());
            let is_over = bytes.is_empty();
            let (piece, rest) = std::mem::take(&mut bytes).split_at_mut(len);
            bytes = rest;
            (!is_over).then_some(piece)
        })
    }
}
