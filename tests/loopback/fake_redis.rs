//! A Redis of which each word is the test's: what comes is read command by command, and what is
//! answered is up to whoever reads.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fanfare::MessageKind;
use fanfare::backplane::{BackplaneConfig, Envelope, Parsed};

use crate::peer::DEADLINE;

/// The channel of messages, as it is by default.
pub(crate) const CHANNEL: &str = "websocket-broadcast";

/// Where a server connects to. The kernel takes connections in its place; who wants to speak takes
/// them from there.
pub(crate) struct FakeRedis {
    pub(crate) address: SocketAddr,
    arrivals: Receiver<TcpStream>,
}

/// One connection of a server.
pub(crate) struct Talk<S = TcpStream> {
    stream: BufReader<S>,
}

/// A command, word by word.
pub(crate) type Command = Vec<Vec<u8>>;

impl FakeRedis {
    pub(crate) fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let (arrival, arrivals) = channel();
        // It ends with the test binary, or with the first connection that nobody wants.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if arrival.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { address, arrivals }
    }

    /// The settings that lead here.
    pub(crate) fn config(&self) -> BackplaneConfig {
        let url = format!("redis://{}", self.address);
        url.parse().expect("it is a URL")
    }

    /// The next connection.
    pub(crate) fn accept(&self) -> Talk {
        let stream = self.arrivals.recv_timeout(DEADLINE);
        Talk::over(stream.expect("a connection"))
    }

    /// How many connections come in so long.
    pub(crate) fn count(&self, time: Duration) -> usize {
        let end = now() + time;
        let left = || end.checked_duration_since(now());
        let arrivals = std::iter::from_fn(|| self.arrivals.recv_timeout(left()?).ok());
        arrivals.count()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is measured is the machine's time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

impl Talk {
    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("it is TCP");
        let patience = Some(DEADLINE);
        stream.set_read_timeout(patience).expect("it is not zero");
        stream.set_write_timeout(patience).expect("it is not zero");
        Self::new(stream)
    }

    /// Answers from now on as a Redis does, in a thread of its own.
    pub(crate) fn serve(self) -> Redis {
        let writer = self.stream.get_ref().try_clone();
        let writer = Arc::new(Mutex::new(writer.expect("a free descriptor")));
        let voice = Voice(writer);
        let (publish, published) = channel();
        let redis = Redis {
            voice: voice.clone(),
            published,
        };
        self.stream
            .get_ref()
            .set_read_timeout(None)
            .expect("none is allowed");
        std::thread::spawn(move || serve(self, &voice, &publish));
        redis
    }

    /// The same once the server has subscribed.
    pub(crate) fn serve_from_the_start(mut self) -> Redis {
        self.greet();
        self.serve()
    }

    #[cfg(feature = "tls")]
    /// The socket itself, for another protocol.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }
}

impl<S: Read + Write> Talk<S> {
    pub(crate) fn new(stream: S) -> Self {
        let stream = BufReader::new(stream);
        Self { stream }
    }

    /// The next command.
    pub(crate) fn command(&mut self) -> Command {
        let command = self.try_command();
        command.unwrap_or_else(|error| panic!("a command: {error}"))
    }

    /// The next command, or what there is instead.
    pub(crate) fn try_command(&mut self) -> std::io::Result<Command> {
        let count = self.number(b'*')?;
        let mut words = Vec::new();
        for _ in 0..count {
            let mut word = vec![0; self.number(b'$')? + 2];
            self.stream.read_exact(&mut word)?;
            word.truncate(word.len() - 2);
            words.push(word);
        }
        Ok(words)
    }

    fn number(&mut self, kind: u8) -> std::io::Result<usize> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        let digits = text.trim_end().strip_prefix(char::from(kind));
        let number = digits.and_then(|digits| digits.parse().ok());
        Ok(number.unwrap_or_else(|| panic!("no command: {text:?}")))
    }

    /// Expects a command of this name.
    pub(crate) fn expect(&mut self, name: &str) -> Command {
        let command = self.command();
        assert_eq!(String::from_utf8_lossy(&command[0]), name);
        command
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.stream.get_mut().write_all(bytes.as_ref());
        sent.expect("the server reads");
    }

    /// The same byte by byte.
    pub(crate) fn drip(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
    }

    /// Answers up to the subscription.
    pub(crate) fn greet(&mut self) {
        for name in ["HELLO", "SUBSCRIBE"] {
            let command = self.expect(name);
            self.send(answer(&command));
        }
    }

    /// The server has ended the connection, in whatever way.
    pub(crate) fn expect_end(&mut self) {
        loop {
            match self.try_command() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("the connection is still there")
                }
                Err(_) => return,
            }
        }
    }
}

/// A connection that is answered as a Redis answers.
pub(crate) struct Redis {
    pub(crate) voice: Voice,
    /// What is published on the channel of messages.
    pub(crate) published: Receiver<Vec<u8>>,
}

/// What says something between two answers.
#[derive(Clone)]
pub(crate) struct Voice(Arc<Mutex<TcpStream>>);

impl Voice {
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) {
        let sent = self.lock().write_all(bytes.as_ref());
        sent.expect("the server reads");
    }

    fn lock(&self) -> MutexGuard<'_, TcpStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Redis {
    /// Says bytes, between two answers.
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) {
        self.voice.send(bytes);
    }

    /// Holds up all answers until what is returned is dropped.
    pub(crate) fn stall(&self) -> MutexGuard<'_, TcpStream> {
        self.voice.lock()
    }

    /// Lets the server hear what a program has published.
    pub(crate) fn publish(&self, payload: &[u8]) {
        self.send(message(CHANNEL, payload));
    }

    /// What the server has published next: the payload of its envelope.
    pub(crate) fn published(&self) -> String {
        let bytes = self.published.recv_timeout(DEADLINE);
        payload(&bytes.expect("something is published"))
    }
}

fn serve(mut talk: Talk, voice: &Voice, published: &Sender<Vec<u8>>) {
    while let Ok(command) = talk.try_command() {
        let mut writer = voice.lock();
        if command[0] == b"PUBLISH" && command[1] == CHANNEL.as_bytes() {
            // Nobody has to listen to it.
            let _ = published.send(command[2].clone());
        }
        if writer.write_all(&answer(&command)).is_err() {
            return;
        }
    }
}

/// What a Redis says that has nothing and nobody but whoever asks. Its own message comes before the
/// answer to `PUBLISH`.
pub(crate) fn answer(command: &[Vec<u8>]) -> Vec<u8> {
    match &*command[0] {
        b"HELLO" => {
            let map: [&[u8]; 4] = [
                b"%3\r\n",
                b"$5\r\nproto\r\n:3\r\n",
                b"$4\r\nmode\r\n$10\r\nstandalone\r\n",
                b"$4\r\nrole\r\n$6\r\nmaster\r\n",
            ];
            map.concat()
        }
        b"SUBSCRIBE" => {
            let channels = command[1..].iter().enumerate();
            let pushes = channels.flat_map(|(index, channel)| {
                let end = format!(":{}\r\n", index + 1);
                [
                    b">3\r\n$9\r\nsubscribe\r\n",
                    &*bulk(channel),
                    end.as_bytes(),
                ]
                .concat()
            });
            pushes.collect()
        }
        b"PUBSUB" => [b"*2\r\n", &*bulk(&command[2]), b":1\r\n"].concat(),
        b"PUBLISH" => {
            let channel = String::from_utf8_lossy(&command[1]);
            [message(&channel, &command[2]), b":1\r\n".to_vec()].concat()
        }
        b"PING" => b"+PONG\r\n".to_vec(),
        b"ROLE" => b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    }
}

/// A message of a channel, as it comes to who has subscribed.
pub(crate) fn message(channel: &str, payload: &[u8]) -> Vec<u8> {
    let (channel, payload) = (bulk(channel.as_bytes()), bulk(payload));
    [b">3\r\n$7\r\nmessage\r\n", &*channel, &*payload].concat()
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    let head = format!("${}\r\n", bytes.len());
    [head.as_bytes(), bytes, b"\r\n"].concat()
}

/// What another server publishes.
pub(crate) fn envelope(origin: u64, seq: u64, room: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let envelope = Envelope {
        kind: MessageKind::Binary,
        is_control: false,
        origin,
        seq,
        room,
        payload,
    };
    envelope.encode(&mut bytes).expect("it is a room's name");
    bytes
}

fn payload(bytes: &[u8]) -> String {
    match Envelope::parse(bytes, usize::MAX) {
        Ok(Parsed::Envelope(envelope)) => String::from_utf8_lossy(envelope.payload).into_owned(),
        other => panic!("no envelope: {other:?}"),
    }
}
