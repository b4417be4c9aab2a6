//! What is wrong with settings.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

/// A setting that is not one, or two that do not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ConfigError {
    /// A value that cannot be understood.
    Invalid {
        /// The flag or the variable that has it.
        setting: String,
        /// What is wrong with it; names the value.
        why: String,
    },
    /// Settings that contradict each other.
    Contradiction(String),
    /// A file that cannot be read.
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A line of a file that cannot be understood.
    Line {
        /// Where the file is.
        path: PathBuf,
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { setting, why } => write!(f, "{setting}: {why}"),
            Self::Contradiction(why) => f.write_str(why),
            Self::Unreadable { path, why } => write!(f, "cannot read {}: {why}", path.display()),
            Self::Line { path, line, why } => write!(f, "{}:{line}: {why}", path.display()),
        }
    }
}

impl Error for ConfigError {}
