//! Why a run ends early.

use std::{fmt, io};

/// A sentence for people. The program ends with 1.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Failure {
    /// An error of the system while something was done.
    pub fn of(doing: &str, error: &io::Error) -> Self {
        Self(format!("{doing}: {error}"))
    }
}
