//! Small files, read whole.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Reads a file of at most `max` bytes.
///
/// # Errors
/// Names the file.
pub(super) fn read(path: &Path, max: usize) -> Result<Vec<u8>, String> {
    let error = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|why| error(&why))?;
    file.take(max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|why| error(&why))?;
    if bytes.len() > max {
        return Err(error(&format_args!("longer than {max} bytes")));
    }
    Ok(bytes)
}
