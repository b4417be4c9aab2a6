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
    let mut pieces = outgoing.pieces();
    let first = pieces.next().unwrap_or_default();
    let Some(second) = pieces.next() else {
        return stream.write(first);
    };
    let mut slices = [IoSlice::new(b""); MAX_SLICES];
    slices[0] = IoSlice::new(first);
    slices[1] = IoSlice::new(second);
    let mut count = 2;
    for (slice, piece) in slices[2..].iter_mut().zip(pieces) {
        *slice = IoSlice::new(piece);
        count += 1;
    }
    stream.write_vectored(&slices[..count])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::test_outgoing as owing;

    /// A stream that does what it is told, call by call, and then takes everything.
    struct Scripted {
        script: Vec<Result<usize, ErrorKind>>,
        taken: Vec<u8>,
        calls: usize,
    }

    impl Scripted {
        fn new(script: &[Result<usize, ErrorKind>]) -> Self {
            let script = script.iter().rev().copied().collect();
            Self {
                script,
                taken: Vec::new(),
                calls: 0,
            }
        }

        fn next(&mut self) -> io::Result<usize> {
            self.calls += 1;
            self.script
                .pop()
                .unwrap_or(Ok(usize::MAX))
                .map_err(Into::into)
        }
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let bytes: Vec<u8> = slices
                .iter()
                .flat_map(|slice| slice.iter())
                .copied()
                .collect();
            let count = self.next()?.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Read for Scripted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            Ok(self.next()?.min(buffer.len()))
        }
    }

    const PIECES: [&str; 3] = ["one", "three", "eleven"];

    #[test]
    fn many_pieces_are_one_call() {
        let mut stream = Scripted::new(&[]);
        let flushed = flush(&mut stream, &mut owing(&PIECES)).unwrap();
        assert_eq!(
            flushed,
            Flushed {
                written: 14,
                blocked: false
            }
        );
        assert_eq!(
            (stream.calls, stream.taken.as_slice()),
            (1, &b"onethreeeleven"[..])
        );
    }

    #[test]
    fn short_writes_at_every_byte_go_on_where_they_stopped() {
        for short in 1..14 {
            let mut outgoing = owing(&PIECES);
            let mut stream = Scripted::new(&[Ok(short), Err(ErrorKind::WouldBlock)]);
            let flushed = flush(&mut stream, &mut outgoing).unwrap();
            assert_eq!(
                flushed,
                Flushed {
                    written: short,
                    blocked: true
                }
            );
            flush(&mut stream, &mut outgoing).unwrap();
            assert_eq!(stream.taken, b"onethreeeleven");
        }
    }

    #[test]
    fn interruptions_are_retried_and_bounded() {
        let interrupted = Err(ErrorKind::Interrupted);
        let mut stream = Scripted::new(&[interrupted, Ok(1), interrupted]);
        assert_eq!(flush(&mut stream, &mut owing(&PIECES)).unwrap().written, 14);
        let mut stream = Scripted::new(&[interrupted; 100]);
        let flushed = flush(&mut stream, &mut owing(&PIECES)).unwrap();
        assert_eq!(
            flushed,
            Flushed {
                written: 0,
                blocked: false
            }
        );
        assert_eq!(stream.calls, MAX_INTERRUPTIONS);

        let mut stream = Scripted::new(&[interrupted, Ok(5)]);
        assert_eq!(fill(&mut stream, &mut [0; 9]).unwrap(), Filled::Bytes(5));
        let mut stream = Scripted::new(&[interrupted; 100]);
        assert_eq!(fill(&mut stream, &mut [0; 9]).unwrap(), Filled::Interrupted);
    }

    #[test]
    fn a_stream_that_takes_nothing_or_fails_is_an_error() {
        let error = flush(&mut Scripted::new(&[Ok(0)]), &mut owing(&PIECES)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WriteZero);
        let reset = Err(ErrorKind::ConnectionReset);
        assert!(flush(&mut Scripted::new(&[reset]), &mut owing(&PIECES)).is_err());
        assert!(fill(&mut Scripted::new(&[reset]), &mut [0; 9]).is_err());
    }

    #[test]
    fn a_long_queue_is_written_a_share_at_a_time() {
        let long = "x".repeat(100_000);
        let mut outgoing = owing(&[long.as_str(); 5]);
        let mut stream = Scripted::new(&[Ok(100_000), Ok(100_000), Ok(100_000)]);
        let flushed = flush(&mut stream, &mut outgoing).unwrap();
        assert_eq!(
            flushed,
            Flushed {
                written: 300_000,
                blocked: false
            }
        );
        assert!(!outgoing.is_empty());
    }

    #[test]
    fn reads_tell_data_silence_and_the_end_apart() {
        let mut stream = Scripted::new(&[Ok(3), Err(ErrorKind::WouldBlock), Ok(0)]);
        let mut buffer = [0; 9];
        assert_eq!(fill(&mut stream, &mut buffer).unwrap(), Filled::Bytes(3));
        assert_eq!(fill(&mut stream, &mut buffer).unwrap(), Filled::Blocked);
        assert_eq!(fill(&mut stream, &mut buffer).unwrap(), Filled::End);
    }
}
