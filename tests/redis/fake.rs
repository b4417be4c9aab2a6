//! Something that speaks like Redis, and says what a test wants it to.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lives as long as the test binary: its threads wait for connections.
pub(crate) struct FakeRedis {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl FakeRedis {
    /// One that says `answer` to a command, of which the first word is in capitals.
    pub(crate) fn start(answer: impl Fn(&[Vec<u8>]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::Relaxed);
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || converse(stream, &*answer));
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// How often somebody has connected.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn converse(stream: TcpStream, answer: &dyn Fn(&[Vec<u8>]) -> Vec<u8>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut command = read_command(&mut reader)?;
        command[0].make_ascii_uppercase();
        reader.get_mut().write_all(&answer(&command))?;
    }
}

fn read_command(reader: &mut BufReader<TcpStream>) -> io::Result<Vec<Vec<u8>>> {
    let number = |kind: char, reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let number = line.trim_end().strip_prefix(kind);
        let number = number.and_then(|number| number.parse::<usize>().ok());
        number.ok_or_else(|| io::Error::from(ErrorKind::InvalidData))
    };
    let count = number('*', reader)?;
    let mut command = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; number('$', reader)? + 2];
        reader.read_exact(&mut word)?;
        word.truncate(word.len() - 2);
        command.push(word);
    }
    if command.is_empty() {
        return Err(ErrorKind::InvalidData.into());
    }
    Ok(command)
}

/// What a Redis says that has nothing and nobody but whoever asks.
pub(crate) fn as_redis(command: &[Vec<u8>]) -> Vec<u8> {
    let bulk = |bytes: &[u8]| {
        let mut bulk = format!("${}\r\n", bytes.len()).into_bytes();
        bulk.extend([bytes, b"\r\n"].concat());
        bulk
    };
    match &command[0][..] {
        b"HELLO" => {
            let mut map = b"%4\r\n".to_vec();
            map.extend(b"$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n");
            map.extend(b"$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n");
            map
        }
        b"SUBSCRIBE" | b"SSUBSCRIBE" => {
            let kind = command[0].to_ascii_lowercase();
            let mut pushes = Vec::new();
            for (index, channel) in command[1..].iter().enumerate() {
                pushes.extend(b">3\r\n");
                pushes.extend(bulk(&kind));
                pushes.extend(bulk(channel));
                pushes.extend(format!(":{}\r\n", index + 1).as_bytes());
            }
            pushes
        }
        b"PUBSUB" => [b"*2\r\n", &bulk(&command[2])[..], b":1\r\n"].concat(),
        b"PUBLISH" | b"SPUBLISH" => b":0\r\n".to_vec(),
        b"PING" => b"+PONG\r\n".to_vec(),
        b"ROLE" => b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".to_vec(),
        b"XINFO" => b"-ERR no such key\r\n".to_vec(),
        b"XADD" => bulk(b"1000000000000-1"),
        b"XREAD" => b"_\r\n".to_vec(),
        b"XRANGE" | b"XREVRANGE" => b"*0\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    }
}
