//! fanfare
pub mod protocol;
