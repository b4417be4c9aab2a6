//! Moving bytes between a stream and the hub: partial and interrupted I/O, handled once.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use crate::hub::Outgoing;

/// Pieces that go into one vectored write.
const MAX_SLICES: usize = 64;

/// Bytes that one client is written in one turn; the rest follows in the next, so that one long
/// queue does not hold up everybody.
const MAX_WRITE_PER_TURN: usize = 256 * 1024;

/// Signals that may interrupt one call before it is left for the next turn.
const MAX_INTERRUPTIONS: usize = 8;

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing now; the stream will become readable.
    Blocked,
    /// Nothing now; try again in the next turn.
    Interrupted,
    /// Nothing more, ever.
    End,
}

/// Reads once into `buffer`, which must not be empty.
pub(super) fn fill(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<Filled> {
    for _ in 0..MAX_INTERRUPTIONS {
        match stream.read(buffer) {
            Ok(0) => return Ok(Filled::End),
            Ok(count) => return Ok(Filled::Bytes(count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Filled::Blocked),
            Err(error) => return Err(error),
        }
    }
    Ok(Filled::Interrupted)
}

/// What a flush came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flushed {
    /// Bytes that the stream took.
    pub(super) written: usize,
    /// Whether it takes no more now, and will become writable.
    pub(super) blocked: bool,
}

/// Writes what is owed until it is written, the stream takes no more, or the turn's share is used
/// up. A client that keeps up costs one call.
pub(super) fn flush(stream: &mut impl Write, outgoing: &mut Outgoing) -> io::Result<Flushed> {
    let mut written = 0;
    let mut interruptions = 0;
    while !outgoing.is_empty() && written < MAX_WRITE_PER_TURN {
        match write(stream, outgoing) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                outgoing.advance(count);
                written += count;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                interruptions += 1;
                if interruptions == MAX_INTERRUPTIONS {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Ok(Flushed {
                    written,
                    blocked: true,
                });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Flushed {
        written,
        blocked: false,
    })
}

fn write(stream: &mut impl Write, outgoing: &Outgoing) -> io::Result<usize> {
    if let Some(piece) = outgoing.only_piece() {
        return stream.write(piece);
    }
    let mut slices = [IoSlice::new(b""); MAX_SLICES];
    let mut count = 0;
    for (slice, piece) in slices.iter_mut().zip(outgoing.pieces()) {
        *slice = IoSlice::new(piece);
        count += 1;
    }
    stream.write_vectored(&slices[..count])
}

#[cfg(test)]
mod tests;
