//! The date.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970. A ticket names the date of its end, so somebody must know it; everything
/// else is measured on the loop's clock, which nobody sets.
#[expect(
    clippy::disallowed_methods,
    reason = "a ticket's end is a date, and not a time from now on"
)]
pub(super) fn unix_seconds() -> u64 {
    // Before 1970 nothing has expired.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
