//! A client that says numbered messages and writes down all that it hears, and when.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::peer::{Frame, Peer};
use crate::support::{BINARY, CLOSE, PING, PONG, TEXT, encode_masked, split_frame};
use crate::wait_until;

/// What a numbered message begins with.
const PREFIX: &str = "said ";

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Speaker(u32);

impl Speaker {
    fn new() -> Self {
        static SPEAKERS: AtomicU32 = AtomicU32::new(0);

        Self(SPEAKERS.fetch_add(1, Ordering::Relaxed))
    }
}

/// A numbered message that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) speaker: Speaker,
    pub(crate) number: usize,
    pub(crate) at: Instant,
}

/// What a client has written down.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) heard: Vec<Heard>,
    /// What was no numbered message: data frames.
    pub(crate) others: Vec<Frame>,
    pub(crate) pongs: Vec<Instant>,
    /// When and how the connection ended.
    pub(crate) end: Option<String>,
}

/// An open WebSocket, and a thread that listens to it.
pub(crate) struct Client {
    pub(crate) speaker: Speaker,
    stream: Arc<Mutex<TcpStream>>,
    log: Arc<Mutex<Log>>,
    listener: Option<JoinHandle<()>>,
    is_deaf: Arc<AtomicBool>,
}

impl Client {
    /// Joins a room: `/ws`, `/ws/other`.
    pub(crate) fn join(address: SocketAddr, path: &str) -> Self {
        let Peer { stream } = Peer::open(address, path);
        stream.set_read_timeout(None).expect("none is allowed");
        let reader = stream.try_clone().expect("a free descriptor");
        let stream = Arc::new(Mutex::new(stream));
        let (log, writer) = (Arc::default(), Arc::clone(&stream));
        let is_deaf = Arc::new(AtomicBool::new(false));
        let (book, deaf) = (Arc::clone(&log), Arc::clone(&is_deaf));
        let listener = std::thread::spawn(move || listen(reader, &writer, &book, &deaf));
        Self {
            speaker: Speaker::new(),
            stream,
            log,
            listener: Some(listener),
            is_deaf,
        }
    }

    /// Looks at what it has heard so far.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&self.log.lock().expect("no listener panics with it"))
    }

    /// Says the message of this number, of at least so many bytes.
    pub(crate) fn say(&self, number: usize, len: usize) {
        let text = format!("{PREFIX}{} {number} ", self.speaker.0);
        let text = format!("{text:.<len$}");
        self.send(TEXT, text.as_bytes());
    }

    pub(crate) fn send(&self, opcode: u8, payload: &[u8]) {
        let mut frame = Vec::with_capacity(payload.len() + 14);
        encode_masked(opcode, payload, &mut frame);
        let mut stream = self.stream.lock().expect("no listener panics with it");
        // A node that was killed hears nobody, and that is no failure of the client.
        let _ = stream.write_all(&frame);
    }

    /// Asks for a Pong, and returns how long it took.
    pub(crate) fn ping(&self, limit: Duration) -> Duration {
        let begun = Instant::now();
        let before = self.read(|log| log.pongs.len());
        self.send(PING, b"?");
        let at = wait_until("a Pong", limit, || {
            self.read(|log| log.pongs.get(before).copied())
        });
        at - begun
    }

    /// Whether it hears anything: a client that does not read.
    pub(crate) fn be_deaf(&self, is_deaf: bool) {
        self.is_deaf.store(is_deaf, Ordering::Relaxed);
    }

    /// The highest number that it has heard of somebody.
    pub(crate) fn last_of(&self, speaker: Speaker) -> Option<usize> {
        self.read(|log| {
            let mut latest = log.heard.iter().rev();
            latest
                .find(|heard| heard.speaker == speaker)
                .map(|heard| heard.number)
        })
    }

    /// Waits for a data frame that is no numbered message, the `index`th that it hears.
    pub(crate) fn other(&self, index: usize) -> Frame {
        wait_until("a message", Duration::from_secs(10), || {
            self.read(|log| {
                let frame = log.others.get(index)?;
                Some(Frame {
                    first: frame.first,
                    payload: frame.payload.clone(),
                })
            })
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.be_deaf(false);
        if let Ok(stream) = self.stream.lock() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

/// Writes down what comes, until the connection ends.
fn listen(
    mut stream: TcpStream,
    writer: &Mutex<TcpStream>,
    log: &Mutex<Log>,
    is_deaf: &AtomicBool,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut begun: Vec<u8> = Vec::new();
    let end = loop {
        while is_deaf.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let count = match stream.read(&mut buffer) {
            Ok(0) => break "it ended".to_owned(),
            Ok(count) => count,
            Err(error) => break error.to_string(),
        };
        let at = Instant::now();
        begun.extend_from_slice(&buffer[..count]);
        let mut bytes = &begun[..];
        let mut log = log.lock().expect("no test panics with it");
        while let Some((opcode, payload, rest)) = split_frame(bytes) {
            bytes = rest;
            match opcode {
                TEXT | BINARY => match numbered(payload) {
                    Some((speaker, number)) => log.heard.push(Heard {
                        speaker,
                        number,
                        at,
                    }),
                    None => log.others.push(Frame {
                        first: 0x80 | opcode,
                        payload: payload.to_vec(),
                    }),
                },
                PING => answer(writer, PONG, payload),
                PONG => log.pongs.push(at),
                CLOSE => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    log.end = Some(format!("it was closed with {code:?}"));
                    answer(writer, CLOSE, payload);
                }
                other => panic!("opcode {other}"),
            }
        }
        let taken = begun.len() - bytes.len();
        begun.drain(..taken);
    };
    let mut log = log.lock().expect("no test panics with it");
    log.end.get_or_insert(end);
    drop(log);
    // The server waits for our end.
    let writer = writer.lock().expect("no test panics with it");
    let _ = writer.shutdown(Shutdown::Both);
}

fn answer(writer: &Mutex<TcpStream>, opcode: u8, payload: &[u8]) {
    let mut frame = Vec::new();
    encode_masked(opcode, payload, &mut frame);
    let mut writer = writer.lock().expect("no test panics with it");
    let _ = writer.write_all(&frame);
}

fn numbered(payload: &[u8]) -> Option<(Speaker, usize)> {
    let text = payload.strip_prefix(PREFIX.as_bytes())?;
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.split(' ');
    let speaker = Speaker(words.next()?.parse().ok()?);
    Some((speaker, words.next()?.parse().ok()?))
}
