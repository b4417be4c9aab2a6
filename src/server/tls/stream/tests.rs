//! A client of rustls's own at the other end of a pipe that gives and takes as it is told.

use std::cell::Cell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use super::*;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// The types of records that tests look at (RFC 8446, section 5.1).
const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;

/// Reads that may go by without progress before a test gives up.
const MAX_IDLE: usize = 10_000;

fn file(name: &str) -> PathBuf {
    [
        env!("CARGO_MANIFEST_DIR"),
        "tests",
        "tls",
        "certificates",
        name,
    ]
    .iter()
    .collect()
}

fn config() -> TlsConfig {
    TlsConfig::from_pem_files(&file("server.pem"), &file("server.key"), None)
        .expect("they are a pair")
}

/// A client's configuration. Cheap tests make it once.
fn client_config(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(file("ca.pem")).expect("it is PEM");
    roots.add(ca).expect("it is a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("the provider knows both")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A socket whose other end is the test.
#[derive(Debug)]
struct Pipe {
    input: VecDeque<u8>,
    input_has_ended: bool,
    /// The most that one read gives.
    max_read: usize,
    output: Vec<u8>,
    /// What it takes before it blocks.
    room: usize,
    /// The most that one write takes.
    max_write: usize,
    output_has_ended: Cell<bool>,
}

impl Default for Pipe {
    fn default() -> Self {
        Self {
            input: VecDeque::new(),
            input_has_ended: false,
            max_read: usize::MAX,
            output: Vec::new(),
            room: usize::MAX,
            max_write: usize::MAX,
            output_has_ended: Cell::new(false),
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() && !self.input_has_ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = self.max_read.min(buffer.len());
        self.input.read(&mut buffer[..count])
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!self.output_has_ended.get(), "written behind the end");
        if self.room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = bytes.len().min(self.room).min(self.max_write);
        self.room -= count;
        self.output.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Pipe {
    fn end_output(&self) -> io::Result<()> {
        self.output_has_ended.set(true);
        Ok(())
    }
}

struct Pair {
    server: TlsStream<Pipe>,
    client: ClientConnection,
    heard: Vec<u8>,
}

impl Pair {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let name = ServerName::try_from("localhost").expect("it is a name");
        Self {
            server: TlsStream::new(Pipe::default(), &config()).expect("a configuration"),
            client: ClientConnection::new(client_config(version), name).expect("another"),
            heard: Vec::new(),
        }
    }

    /// A pair whose handshake is done.
    fn open(version: &'static SupportedProtocolVersion) -> Self {
        let mut pair = Self::new(version);
        for _ in 0..4 {
            pair.carry_in();
            assert_eq!(pair.read(), "blocked");
            pair.carry_out();
        }
        assert!(!pair.server.is_handshaking() && !pair.client.is_handshaking());
        pair
    }

    /// Brings what the client has to say to the server's socket.
    fn carry_in(&mut self) {
        while self.client.wants_write() {
            let mut bytes = Vec::new();
            self.client.write_tls(&mut bytes).expect("a Vec takes it");
            self.server.socket.input.extend(bytes);
        }
    }

    /// Brings what the server has written to the client.
    fn carry_out(&mut self) {
        let bytes = std::mem::take(&mut self.server.socket.output);
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).expect("there is some");
            self.client.process_new_packets().expect("it is TLS");
            // It ends with an error where nothing more has come.
            let _ = self.client.reader().read_to_end(&mut self.heard);
        }
    }

    fn say(&mut self, text: &str) {
        let mut writer = self.client.writer();
        writer.write_all(text.as_bytes()).expect("it is buffered");
        self.carry_in();
    }

    /// What one read of the server's brings: a text, or what there is instead.
    fn read(&mut self) -> String {
        self.read_at_most(64 * 1024)
    }

    fn read_at_most(&mut self, max: usize) -> String {
        let mut buffer = vec![0; max];
        match self.server.read(&mut buffer) {
            Ok(0) => "end".to_owned(),
            Ok(count) => String::from_utf8(buffer[..count].to_vec()).expect("text was said"),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => "blocked".to_owned(),
                _ => format!("{:?}", error.kind()),
            },
        }
    }

    /// What the client has heard.
    fn heard(&mut self) -> Vec<u8> {
        self.carry_out();
        std::mem::take(&mut self.heard)
    }

    /// Whether the client was told that nothing follows.
    fn has_heard_the_end(&mut self) -> bool {
        matches!(self.client.reader().read(&mut [0]), Ok(0))
    }
}

/// The types of the records in these bytes.
fn records(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [first, _, _, high, low, rest @ ..] = bytes {
        types.push(*first);
        bytes = &rest[usize::from(u16::from_be_bytes([*high, *low]))..];
    }
    types
}

/// Bytes that differ from those around them.
fn pattern(len: usize) -> Vec<u8> {
    let bytes = (0..len as u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]);
    bytes.collect()
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    for version in VERSIONS {
        let mut pair = Pair::new(version);
        for _ in 0..4 {
            let mut waiting = VecDeque::new();
            pair.carry_in();
            std::mem::swap(&mut waiting, &mut pair.server.socket.input);
            for byte in waiting {
                pair.server.socket.input.push_back(byte);
                assert_eq!(pair.read(), "blocked");
                assert!(
                    !pair.server.has_more(),
                    "an event will tell of the next byte"
                );
            }
            pair.carry_out();
        }
        assert!(!pair.server.is_handshaking());
        assert_eq!(pair.client.protocol_version(), Some(version.version));
        assert_eq!(pair.client.alpn_protocol(), Some(&b"http/1.1"[..]));
        pair.say("hello");
        assert_eq!(pair.read(), "hello");
    }
}

#[test]
fn answers_of_the_handshake_wait_for_room_and_are_not_forgotten() {
    for version in VERSIONS {
        let mut pair = Pair::new(version);
        let mut steps = 0;
        while pair.client.is_handshaking() || pair.server.is_handshaking() {
            // A byte at a time leaves, and each time the socket blocks behind it.
            pair.server.socket.room = 0;
            pair.carry_in();
            assert_eq!(pair.read(), "blocked");
            pair.server.socket.room = 1;
            pair.server.resume().expect("it is no error to be blocked");
            pair.carry_out();
            steps += 1;
            assert!(steps < MAX_IDLE, "{version:?} comes to no end");
        }
        assert!(steps > 100, "{steps} steps for a certificate");
    }
}

#[test]
fn long_messages_go_both_ways_in_pieces_of_any_size() {
    for version in VERSIONS {
        let long = pattern(300_000);
        let mut pair = Pair::open(version);
        // 1. In: the socket gives at most so many, the buffer takes at most so many.
        let (mut said, mut heard) = (0, Vec::<u8>::new());
        let mut buffer = [0; 4097];
        let mut idle = 0;
        while heard.len() < long.len() {
            said += pair.client.writer().write(&long[said..]).unwrap_or(0);
            pair.carry_in();
            pair.server.socket.max_read = 1 + heard.len() % 5000;
            match pair.server.read(&mut buffer) {
                Ok(count) => heard.extend(&buffer[..count]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            idle += 1;
            assert!(idle < MAX_IDLE, "only {} bytes came", heard.len());
        }
        assert!(heard == long);
        // 2. Out: the socket takes at most so many, and blocks behind them.
        let (mut said, mut heard) = (0, Vec::<u8>::new());
        let mut idle = 0;
        while heard.len() < long.len() {
            pair.server.socket.room = 1 + idle * 997 % 7001;
            pair.server.socket.max_write = 1 + idle % 3001;
            match pair.server.write(&long[said..]) {
                Ok(count) => said += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            heard.extend(pair.heard());
            let ahead = said - heard.len();
            assert!(ahead <= MAX_PENDING, "{ahead} bytes ahead of the socket");
            if said == long.len() {
                break;
            }
            idle += 1;
            assert!(idle < MAX_IDLE, "only {} bytes went", heard.len());
        }
        pair.server.socket.room = usize::MAX;
        pair.server.resume().expect("there is room");
        heard.extend(pair.heard());
        assert!(heard == long);
    }
}

#[test]
fn what_was_taken_goes_out_although_nothing_follows() {
    let mut pair = Pair::open(&rustls::version::TLS13);
    pair.server.socket.room = 10;
    assert_eq!(pair.server.write(b"last").unwrap(), 4);
    let blocked = pair.server.write(b"more").unwrap_err();
    assert_eq!(blocked.kind(), ErrorKind::WouldBlock);
    assert_eq!(pair.heard(), b"");
    pair.server.socket.room = usize::MAX;
    pair.server.resume().unwrap();
    assert_eq!(pair.heard(), b"last");
}

#[test]
fn many_pieces_are_one_record() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        let pieces = ["one", "three", "eleven"].map(|piece| IoSlice::new(piece.as_bytes()));
        assert_eq!(pair.server.write_vectored(&pieces).unwrap(), 14);
        let output = &pair.server.socket.output;
        assert_eq!(records(output), [APPLICATION_DATA]);
        assert_eq!(pair.heard(), b"onethreeeleven");
    }
}

#[test]
fn what_is_decrypted_is_not_waited_for() {
    let mut pair = Pair::open(&rustls::version::TLS13);
    pair.say("abc");
    pair.say("def");
    // The socket is empty after the first read.
    for (text, has_more) in [("ab", true), ("cd", true), ("ef", true), ("blocked", false)] {
        assert_eq!(pair.read_at_most(2), text);
        assert_eq!(pair.server.has_more(), has_more, "behind {text}");
    }
    assert!(pair.server.socket.input.is_empty());
}

#[test]
fn both_ends_of_the_peers_side_are_ends() {
    for version in VERSIONS {
        // 1. A close_notify. What comes behind it is ignored (RFC 8446, section 6.1).
        let mut pair = Pair::open(version);
        pair.say("bye");
        pair.client.send_close_notify();
        pair.carry_in();
        pair.server.socket.input.extend(b"junk");
        assert_eq!(pair.read(), "bye");
        assert!(pair.server.has_more(), "no event will tell of the end");
        assert_eq!([pair.read(), pair.read()], ["end", "end"]);
        // The other side is still open.
        assert_eq!(pair.server.write(b"well").unwrap(), 4);
        assert_eq!(pair.heard(), b"well");
        // 2. A FIN without it, behind a record or in the middle of one.
        for cut in [0, 1] {
            let mut pair = Pair::open(version);
            pair.say("bye");
            pair.say("then");
            let len = pair.server.socket.input.len();
            pair.server.socket.input.truncate(len - cut);
            pair.server.socket.input_has_ended = true;
            let said = if cut == 0 { "byethen" } else { "bye" };
            assert_eq!(
                [pair.read(), pair.read(), pair.read()],
                [said, "end", "end"]
            );
        }
        // 3. In the middle of the handshake.
        let mut pair = Pair::new(version);
        pair.carry_in();
        pair.server.socket.input.truncate(20);
        pair.server.socket.input_has_ended = true;
        assert_eq!(pair.read(), "end");
        assert!(!pair.server.has_failed_handshake());
    }
}

#[test]
fn our_end_is_said_behind_everything_else() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        let long = pattern(10_000);
        pair.server.socket.room = 1000;
        assert_eq!(pair.server.write(&long).unwrap(), long.len());
        pair.server.end_output().unwrap();
        assert!(
            !pair.server.socket.output_has_ended.get(),
            "not all is written"
        );
        let broken = pair.server.write(b"more").unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
        pair.server.socket.room = usize::MAX;
        pair.server.resume().unwrap();
        assert!(pair.server.socket.output_has_ended.get());
        assert!(pair.heard() == long);
        assert!(pair.has_heard_the_end());
        // Nothing is said twice, and the peer may still speak.
        pair.server.hang_up();
        assert_eq!(pair.heard(), b"");
        pair.say("wait");
        assert_eq!(pair.read(), "wait");
    }
}

/// As with the kernel, which writes what it has taken whatever else the peer does.
#[test]
fn the_end_of_the_peers_side_waits_for_what_it_is_owed() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        pair.server.socket.room = 10;
        assert_eq!(pair.server.write(b"last words").unwrap(), 10);
        pair.say("bye");
        pair.client.send_close_notify();
        pair.carry_in();
        assert_eq!([pair.read(), pair.read()], ["bye", "blocked"]);
        pair.server.resume().unwrap();
        assert!(!pair.server.has_more(), "there is no room yet");
        pair.server.socket.room = usize::MAX;
        pair.server.resume().unwrap();
        assert!(pair.server.has_more(), "no event will tell of the end");
        assert_eq!(pair.heard(), b"last words");
        assert_eq!(pair.read(), "end");
    }
}

#[test]
fn whoever_goes_is_told() {
    let mut pair = Pair::open(&rustls::version::TLS13);
    pair.server.hang_up();
    pair.carry_out();
    assert!(pair.has_heard_the_end());
    // Before the handshake there is nobody to tell.
    let mut pair = Pair::new(&rustls::version::TLS13);
    pair.carry_in();
    pair.server.hang_up();
    assert!(pair.server.socket.output.is_empty());
}

#[test]
fn what_is_no_tls_is_answered_with_an_alert_and_thrown_away() {
    let mut pair = Pair::new(&rustls::version::TLS13);
    pair.server.socket.input.extend(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(pair.read(), "InvalidData");
    assert!(pair.server.has_failed_handshake() && !pair.server.is_handshaking());
    assert_eq!(records(&pair.server.socket.output), [ALERT]);
    // A share of it at a time; and nothing of it is ever taken for what was said.
    let junk = vec![b'x'; MAX_DISCARDED_PER_READ + 1];
    pair.server.socket.input.extend(&junk);
    assert_eq!(pair.read(), "blocked");
    assert!(pair.server.has_more());
    assert_eq!(pair.read(), "blocked");
    assert!(!pair.server.has_more());
    let broken = pair.server.write(b"400").unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
    // The end is said, without a close_notify behind the alert.
    pair.server.end_output().unwrap();
    assert!(pair.server.socket.output_has_ended.get());
    assert_eq!(records(&pair.server.socket.output), [ALERT]);
    pair.server.socket.input_has_ended = true;
    assert_eq!(pair.read(), "end");
}

#[test]
fn an_alert_waits_for_room_as_well() {
    let mut pair = Pair::new(&rustls::version::TLS13);
    pair.server.socket.room = 0;
    pair.server.socket.input.extend(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(pair.read(), "InvalidData");
    pair.server.end_output().unwrap();
    assert!(!pair.server.socket.output_has_ended.get());
    pair.server.socket.room = usize::MAX;
    pair.server.resume().unwrap();
    assert!(pair.server.socket.output_has_ended.get());
    assert_eq!(records(&pair.server.socket.output), [ALERT]);
}

#[test]
fn a_broken_record_ends_it_behind_those_that_are_whole() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        pair.say("good");
        pair.say("bad");
        *pair.server.socket.input.back_mut().expect("it was said") ^= 1;
        assert_eq!(pair.read(), "good");
        assert!(pair.server.has_more(), "no event will tell of the failure");
        assert_eq!([pair.read(), pair.read()], ["InvalidData", "blocked"]);
        assert!(!pair.server.has_failed_handshake(), "that was long ago");
        assert_eq!(records(&pair.server.socket.output).len(), 1);
    }
}

/// What a client says up to its first message, and where the server must have answered.
fn recorded(version: &'static SupportedProtocolVersion) -> Vec<Vec<u8>> {
    let mut pair = Pair::new(version);
    let mut flights = Vec::new();
    for _ in 0..4 {
        pair.carry_in();
        flights.push(pair.server.socket.input.iter().copied().collect());
        pair.read();
        pair.carry_out();
    }
    flights
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Flights of a handshake, and bytes behind them, that somebody has meddled with: no panic, no
    /// endless reading, and nothing that counts as said.
    #[test]
    fn meddled_handshakes_come_to_nothing_and_to_an_end(
        is_old: bool,
        changes in proptest::collection::vec((any::<Index>(), any::<u8>(), 0..4_u8), 1..8),
        cut: Index,
        max_read in 1..3000_usize,
        room in 0..5000_usize,
    ) {
        let mut bytes = recorded(VERSIONS[usize::from(!is_old)]).concat();
        for (place, byte, what) in changes {
            let place = place.index(bytes.len());
            match what {
                0 => bytes[place] = byte,
                1 => bytes[place] ^= 1 << (byte % 8),
                2 => bytes.insert(place, byte),
                _ => drop(bytes.drain(place..(place + usize::from(byte)).min(bytes.len() - 1))),
            }
        }
        let mut server = TlsStream::new(Pipe::default(), &config()).expect("a configuration");
        let cut = cut.index(bytes.len());
        let mut buffer = [0; 1000];
        let mut reads = 0;
        for (part, is_last) in [(&bytes[..cut], false), (&bytes[cut..], true)] {
            server.socket.input.extend(part);
            server.socket.input_has_ended = is_last;
            server.socket.max_read = max_read;
            server.socket.room = room;
            loop {
                reads += 1;
                prop_assert!(reads < 100, "it is read again and again");
                match server.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => prop_assert!(false, "{count} bytes were said"),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        if !server.has_more() {
                            if !is_last {
                                break;
                            }
                            // The end waits for this.
                            server.socket.room = usize::MAX;
                            server.resume().expect("there is room");
                        }
                    }
                    Err(error) => prop_assert_eq!(error.kind(), ErrorKind::InvalidData),
                }
            }
        }
        server.hang_up();
    }
}
