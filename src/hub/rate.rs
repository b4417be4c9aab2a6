//! How much may come in a while.

/// So many a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages, bytes or connections a second, in the long run. Not zero.
    pub per_second: u64,
    /// The most that may come at once. Not zero.
    pub burst: u64,
}
