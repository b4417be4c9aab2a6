//! Streams that do as they are told, call by call.

use super::*;
use crate::hub::{
    Broadcast, ClientId, Disconnect, Handler, Hub, HubConfig, Outbox, Peer, test_outgoing as owing,
};
use crate::protocol::{CloseCode, Message};

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

const TOGETHER: &[u8] = b"onethreeeleven";

/// Every way to cut what is owed into calls, whatever pieces a call begins and ends in, and
/// whatever else happens between two calls.
#[test]
fn every_division_into_writes_gives_the_same_bytes() {
    let len = TOGETHER.len();
    let interrupted = Err(ErrorKind::Interrupted);
    let blocked = Err(ErrorKind::WouldBlock);
    for division in 0..1_usize << (len - 1) {
        // Bit i set: a call ends behind byte i.
        let mut calls = Vec::new();
        let mut begun = 0;
        for end in 1..=len {
            if end == len || division & (1 << (end - 1)) != 0 {
                calls.push(Ok(end - begun));
                begun = end;
            }
        }
        let between: &[_] = match division % 3 {
            0 => &[],
            1 => &[interrupted],
            _ => &[blocked],
        };
        let script: Vec<_> = calls
            .iter()
            .flat_map(|call| between.iter().chain([call]).copied())
            .collect();
        let mut stream = Scripted::new(&script);
        let mut outgoing = owing(&PIECES);
        let (mut written, mut turns) = (0, 0);
        while !outgoing.is_empty() {
            let flushed = flush(&mut stream, &mut outgoing).unwrap();
            assert_eq!(
                flushed.blocked,
                !outgoing.is_empty() && between == [blocked]
            );
            written += flushed.written;
            assert_eq!(stream.taken, TOGETHER[..written]);
            turns += 1;
            assert!(turns <= 1 + script.len(), "it does not end");
        }
        assert_eq!((written, stream.calls), (len, script.len()));
    }
}

/// More pieces than one call takes.
#[test]
fn many_short_pieces_survive_every_cut() {
    let texts: Vec<String> = (0..=3 * MAX_SLICES).map(|i| i.to_string()).collect();
    let pieces: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = texts.concat();
    for cut in 1..together.len() {
        let mut stream = Scripted::new(&[Ok(cut)]);
        let flushed = flush(&mut stream, &mut owing(&pieces)).unwrap();
        assert_eq!(flushed.written, together.len());
        assert_eq!(stream.taken, together.as_bytes());
    }
}

#[test]
fn a_failure_at_any_byte_leaves_what_was_not_taken() {
    for failure in [
        Ok(0),
        Err(ErrorKind::BrokenPipe),
        Err(ErrorKind::ConnectionReset),
        Err(ErrorKind::TimedOut),
    ] {
        for taken in 1..TOGETHER.len() {
            let mut outgoing = owing(&PIECES);
            let mut stream = Scripted::new(&[Ok(taken), failure]);
            let error = flush(&mut stream, &mut outgoing).unwrap_err();
            assert_eq!(error.kind(), failure.err().unwrap_or(ErrorKind::WriteZero));
            let left: Vec<u8> = outgoing.pieces().flatten().copied().collect();
            assert_eq!(left, TOGETHER[taken..]);
            assert_eq!(stream.calls, 2, "a stream that failed is left alone");
        }
    }
}

#[test]
fn a_storm_of_would_block_costs_a_call_a_turn_and_nothing_else() {
    const STORM: usize = 1000;

    let mut outgoing = owing(&PIECES);
    let mut stream = Scripted::new(&[Err(ErrorKind::WouldBlock); STORM]);
    for turn in 1..=STORM {
        let flushed = flush(&mut stream, &mut outgoing).unwrap();
        let expected = Flushed {
            written: 0,
            blocked: true,
        };
        assert_eq!((flushed, stream.calls), (expected, turn));
    }
    flush(&mut stream, &mut outgoing).unwrap();
    assert_eq!(stream.taken, TOGETHER);

    let mut stream = Scripted::new(&[Err(ErrorKind::WouldBlock); STORM]);
    for turn in 1..=STORM {
        let filled = fill(&mut stream, &mut [0; 9]).unwrap();
        assert_eq!((filled, stream.calls), (Filled::Blocked, turn));
    }
}

/// One direction of a connection: where its calls end, and what they meet with first.
#[derive(Clone, Default)]
struct Direction {
    /// No call goes beyond one of these.
    cuts: Vec<usize>,
    /// Come before each call that succeeds.
    hurdles: Vec<ErrorKind>,
    /// Comes instead of the byte at this position.
    failure: Option<(usize, ErrorKind)>,
    position: usize,
    hurdles_taken: usize,
}

impl Direction {
    fn next(&mut self, wanted: usize) -> io::Result<usize> {
        if let Some(hurdle) = self.hurdles.get(self.hurdles_taken) {
            self.hurdles_taken += 1;
            return Err((*hurdle).into());
        }
        self.hurdles_taken = 0;
        let mut end = self.position + wanted;
        if let Some((at, error)) = self.failure {
            if at == self.position {
                return Err(error.into());
            }
            end = end.min(at);
        }
        let next = self.cuts.partition_point(|cut| *cut <= self.position);
        end = self.cuts.get(next).map_or(end, |cut| end.min(*cut));
        let count = end - self.position;
        self.position = end;
        Ok(count)
    }
}

/// A connection with a client that says all that it has to say, and then ends its side.
struct Conversation {
    says: Vec<u8>,
    heard: Vec<u8>,
    reads: Direction,
    writes: Direction,
}

impl Read for Conversation {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = self.reads.position;
        let wanted = buffer.len().min(self.says.len() - begun);
        let count = self.reads.next(wanted)?;
        buffer[..count].copy_from_slice(&self.says[begun..begun + count]);
        Ok(count)
    }
}

impl Write for Conversation {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writes.next(bytes.len())?;
        self.heard.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = slices.iter().flat_map(|s| s.iter()).copied().collect();
        self.write(&bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Broadcasts with echo, and remembers what was said.
#[derive(Default)]
struct Said(Vec<Vec<u8>>);

impl Handler for Said {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: Message<'_>) {
        self.0.push(message.payload.to_vec());
        Broadcast::new(true).on_message(outbox, id, message);
    }
}

/// How a conversation went.
#[derive(Debug, PartialEq, Eq)]
struct Course {
    heard: Vec<u8>,
    said: Vec<Vec<u8>>,
    why: Disconnect,
}

/// What the client says, with a Ping within a message or without, and where its messages end.
fn says(ping: bool) -> (Vec<u8>, Vec<usize>) {
    let frame = |first: u8, payload: &[u8]| {
        // Masked with zeros.
        let len = u16::try_from(payload.len()).unwrap();
        let mut frame = vec![first];
        if let Ok(len @ 0..=125) = u8::try_from(len) {
            frame.push(0x80 | len);
        } else {
            frame.push(0x80 | 0x7E);
            frame.extend(len.to_be_bytes());
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        frame
    };
    let head = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut says = head.as_bytes().to_vec();
    let mut ends = Vec::new();
    for (first, payload) in [
        (0x81, "Gr\u{fc}\u{df}e".as_bytes()),
        (0x82, &[0xA5; 130]),
        (0x01, b"frag"),
        (0x89, b"ping"),
        (0x80, b"ment"),
        (0x81, b""),
        (0x88, b"\x03\xe8bye"),
    ] {
        if first == 0x89 && !ping {
            continue;
        }
        says.extend(frame(first, payload));
        if first & 0x88 == 0x80 {
            ends.push(says.len());
        }
    }
    (says, ends)
}

/// Drives one connection as the loop does, up to its end.
fn converse(ping: bool, reads: Direction, writes: Direction) -> Course {
    /// Each byte may need a turn for itself, and some for what is in its way.
    const MAX_TURNS: usize = 20_000;

    let now = crate::hub::test_clock();
    let mut hub = Hub::new(HubConfig::default(), now);
    let mut handler = Said::default();
    let mut wire = Conversation {
        says: says(ping).0,
        heard: Vec::new(),
        reads,
        writes,
    };
    let mut buffer = [0; 1024];
    let mut dirty = Vec::new();
    let id = hub.accept(Peer::Unix, now).unwrap();
    for _ in 0..MAX_TURNS {
        match fill(&mut wire, &mut buffer) {
            Ok(Filled::Bytes(count)) => {
                hub.receive(id, &mut buffer[..count], now, &mut handler);
            }
            Ok(Filled::Interrupted | Filled::Blocked) => {}
            Ok(Filled::End) => hub.hang_up(id, Disconnect::Gone),
            Err(_) => hub.hang_up(id, Disconnect::Reset),
        }
        hub.writable(id);
        hub.take_dirty(&mut dirty, now);
        for id in dirty.drain(..) {
            let Some(outgoing) = hub.outgoing(id) else {
                continue;
            };
            match flush(&mut wire, outgoing) {
                Ok(flushed) => {
                    let _ = hub.flushed(id, flushed.written, flushed.blocked, now);
                }
                Err(_) => hub.output_failed(id, now),
            }
        }
        if let Some(departure) = hub.reap(&mut handler, now) {
            assert!(hub.is_empty());
            return Course {
                heard: wire.heard,
                said: handler.0,
                why: departure.why,
            };
        }
    }
    panic!("the connection is still there after {MAX_TURNS} turns");
}

/// What may come before a call succeeds: few and more than the bound of interruptions, and storms.
const HURDLES: [&[ErrorKind]; 6] = {
    use ErrorKind::{Interrupted, WouldBlock};
    [
        &[],
        &[Interrupted],
        &[Interrupted; 3 * MAX_INTERRUPTIONS + 1],
        &[WouldBlock],
        &[WouldBlock, Interrupted, WouldBlock],
        &[WouldBlock; 20],
    ]
};

#[test]
fn a_conversation_is_the_same_however_its_calls_are_cut() {
    for ping in [true, false] {
        let whole = converse(ping, Direction::default(), Direction::default());
        assert_eq!(whole.why, Disconnect::Closed(Some(CloseCode::NORMAL)));
        let said = ["Gr\u{fc}\u{df}e".as_bytes(), &[0xA5; 130], b"fragment", b""];
        assert_eq!(whole.said, said);
        assert!(whole.heard.ends_with(b"\x88\x02\x03\xe8"));
        let (said, heard) = (says(ping).0.len(), whole.heard.len());
        let cut = |cuts: Vec<usize>, hurdles: &[ErrorKind]| Direction {
            cuts,
            hurdles: hurdles.to_vec(),
            ..Direction::default()
        };
        let mut runs = 0;
        let mut check = |reads: &Direction, writes: &Direction| {
            let course = converse(ping, reads.clone(), writes.clone());
            assert_eq!(course, whole, "{:?} {:?}", reads.cuts, writes.cuts);
            runs += 1;
        };
        for hurdles in HURDLES {
            // A Ping of a client whose transport is full is answered when it is not, behind what
            // has been said meanwhile.
            let takes = match (ping, hurdles.contains(&ErrorKind::WouldBlock)) {
                (true, true) => &[],
                (false, false) => continue,
                _ => hurdles,
            };
            for at in 1..said.max(heard) {
                check(&cut(vec![at], hurdles), &Direction::default());
                check(&Direction::default(), &cut(vec![at], takes));
                check(&cut(vec![at], hurdles), &cut(vec![at * 37 % heard], takes));
            }
            check(&cut((1..said).collect(), hurdles), &Direction::default());
            check(&Direction::default(), &cut((1..heard).collect(), takes));
            let (reads, writes) = ((1..said).collect(), (1..heard).collect());
            check(&cut(reads, hurdles), &cut(writes, takes));
        }
        println!("{runs} cuts of a conversation of {said} bytes in and {heard} out: all the same");
    }
}

#[test]
fn a_failure_at_any_byte_of_a_conversation_ends_it_and_loses_nothing_said() {
    let whole = converse(true, Direction::default(), Direction::default());
    let (says, ends) = says(true);
    let (said, heard) = (says.len(), whole.heard.len());
    let fails = |at, error| Direction {
        failure: Some((at, error)),
        ..Direction::default()
    };
    for error in [ErrorKind::ConnectionReset, ErrorKind::TimedOut] {
        for at in 0..said {
            let course = converse(true, fails(at, error), Direction::default());
            assert_eq!(course.why, Disconnect::Reset, "in byte {at}");
            assert!(whole.heard.starts_with(&course.heard));
            let complete = ends.iter().filter(|end| **end <= at).count();
            assert_eq!(course.said, whole.said[..complete]);
        }
        // Behind the Close it has been the client that closed.
        let course = converse(true, fails(said, error), Direction::default());
        assert_eq!(course, whole);
        for at in 0..heard {
            // Cut into bytes, for much to be said that comes after the failure.
            let reads = Direction {
                cuts: (1..said).collect(),
                ..Direction::default()
            };
            let course = converse(true, reads, fails(at, error));
            assert_eq!(course.said, whole.said, "out of byte {at}");
            assert_eq!(course.why, whole.why);
            assert_eq!(course.heard, whole.heard[..at]);
        }
    }
}
