//! The memory that somebody holds, by the allocator's books and not by their own.

use allocation_counter::measure;

/// Counts what is allocated and freed while somebody works.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Bytes that it holds now.
    live: i64,
    /// The most that it has held at once.
    peak: i64,
}

impl Meter {
    /// Lets them work.
    pub(crate) fn count<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let mut result = None;
        let info = measure(|| result = Some(work()));
        let most = i64::try_from(info.bytes_max).expect("it fits into memory");
        self.peak = self.peak.max(self.live + most);
        self.live += info.bytes_current;
        result.expect("the work was done")
    }

    pub(crate) fn live(&self) -> usize {
        usize::try_from(self.live).expect("more is freed than was allocated")
    }

    pub(crate) fn peak(&self) -> usize {
        usize::try_from(self.peak).unwrap_or(0)
    }
}
