//! What a peer may ask of one connection.

/// The bounds of one open connection. The request head has fixed ones, see
/// [`http`](super::http).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// One message after reassembly, in bytes. Default 64 KiB; more is answered with Close 1009
    /// as soon as a frame header announces it. Memory is taken as bytes arrive, never by the
    /// announced length, and at most twice this for one message. A driver may lend a buffer of that
    /// size, which others have left, to a message of which an eighth has arrived.
    pub max_message_size: usize,
}

impl Limits {
    /// Fragments that any message may have, whatever its size.
    const MIN_FRAGMENTS: usize = 1024;

    /// A peer that fragments may not be more wasteful than one frame per so many bytes.
    const BYTES_PER_FRAGMENT: usize = 64;

    /// Fragments that one message may have, empty ones included; more is answered with Close 1008.
    ///
    /// A fragment costs its bytes and some CPU time and nothing else, so the bound can be generous:
    /// 1024, and one more for each 64 bytes of `max_message_size`.
    pub const fn max_fragments(&self) -> usize {
        Self::MIN_FRAGMENTS.saturating_add(self.max_message_size / Self::BYTES_PER_FRAGMENT)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_size: 64 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fragment_bound_follows_the_message_bound() {
        assert_eq!(Limits::default().max_fragments(), 2048);
        // Autobahn 9.3.1 cuts 4 MiB into 65,537 fragments.
        assert!(
            Limits {
                max_message_size: 4 << 20
            }
            .max_fragments()
                >= 65_537
        );
        assert_eq!(
            Limits {
                max_message_size: usize::MAX
            }
            .max_fragments(),
            1024 + usize::MAX / 64
        );
    }
}
