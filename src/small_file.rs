//! Small files, read whole.

use std::fs::{self, File};
use std::io::{self, Error, ErrorKind, Read};
use std::path::Path;

/// Reads a regular file of at most `max` bytes. What is none, a pipe or a terminal, could let a
/// server that runs wait for ever.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let why = format!("longer than {max} bytes");
        return Err(Error::new(ErrorKind::InvalidData, why));
    }
    Ok(bytes)
}
