//! The load generator against servers that are wrong in one way each: it fails, and says why.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use load::frame::KEY;

/// What a server does wrong with the 100th message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    /// One client does not get it.
    Lose,
    /// Nobody gets it, nor anything after it.
    FallSilent,
    /// One client gets it twice.
    Double,
    /// One client gets it after the next one.
    Swap,
    /// One client gets it with one bit turned.
    Corrupt,
    /// One client gets a Close instead.
    Close,
    /// One client's connection ends instead.
    HangUp,
    /// The 101 has another Sec-WebSocket-Accept.
    Accept,
}

/// Everything under one lock, a thread for each client: so simple that it is right.
struct Room {
    flaw: Flaw,
    clients: Vec<TcpStream>,
    count: u32,
    kept: Vec<u8>,
}

impl Room {
    /// Passes one frame on to all.
    fn broadcast(&mut self, frame: &[u8]) {
        self.count += 1;
        let is_it = self.count == 100;
        if self.flaw == Flaw::FallSilent && self.count >= 100 {
            return;
        }
        let last = self.clients.len() - 1;
        for (place, client) in self.clients.iter_mut().enumerate() {
            let mut bytes = frame.to_vec();
            if place == last && is_it {
                match self.flaw {
                    Flaw::None | Flaw::FallSilent | Flaw::Accept => {}
                    Flaw::Lose => bytes.clear(),
                    Flaw::Double => bytes.extend_from_slice(frame),
                    Flaw::Swap => self.kept = std::mem::take(&mut bytes),
                    Flaw::Corrupt => bytes[30] ^= 1,
                    Flaw::Close => bytes = vec![0x88, 2, 0x03, 0xf0],
                    Flaw::HangUp => {
                        let _ = client.shutdown(std::net::Shutdown::Both);
                    }
                }
            } else if place == last {
                bytes.append(&mut self.kept);
            }
            let _ = client.write_all(&bytes);
        }
    }
}

/// A server on a port of its own; it ends with the test's process.
fn serve(flaw: Flaw) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has one").port();
    let (clients, count, kept) = (Vec::new(), 0, Vec::new());
    let room = Arc::new(Mutex::new(Room {
        flaw,
        clients,
        count,
        kept,
    }));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let room = Arc::clone(&room);
            thread::spawn(move || attend(stream, &room));
        }
    });
    port
}

fn attend(mut stream: TcpStream, room: &Mutex<Room>) -> Option<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    let mut response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        .to_owned();
    {
        let mut room = room.lock().ok()?;
        if room.flaw == Flaw::Accept {
            response = response.replace("s3p", "S3P");
        }
        stream.write_all(response.as_bytes()).ok()?;
        room.clients.push(stream.try_clone().ok()?);
    }
    loop {
        let mut frame = [0; 2];
        stream.read_exact(&mut frame).ok()?;
        // Payloads of this test are short.
        frame[1] &= 0x7f;
        let mut payload = vec![0; KEY.len() + usize::from(frame[1])];
        stream.read_exact(&mut payload).ok()?;
        let (key, payload) = payload.split_at_mut(KEY.len());
        assert_eq!(key, KEY);
        load::frame::mask(payload);
        room.lock().ok()?.broadcast(&[&frame, &*payload].concat());
    }
}

fn load(flaw: Flaw) -> Output {
    let address = format!("127.0.0.1:{}", serve(flaw));
    let pid = std::process::id().to_string();
    Command::new(env!("CARGO_BIN_EXE_load"))
        .args(["fanout", "--address", &address, "--pid", &pid])
        .args(["--clients", "5", "--publishers", "2", "--window", "4"])
        .args(["--size", "100", "--messages", "500", "--warm-up", "0"])
        .output()
        .expect("it can be started")
}

#[test]
fn what_is_right_passes() {
    let output = load(Flaw::None);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let has = |name: &str, value: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.is_some_and(|line| line.ends_with(&format!(" {value}")))
    };
    assert!(
        has("messages ", "500") && has("deliveries ", "2500"),
        "{text}"
    );
}

#[test]
fn each_flaw_fails_the_run() {
    for (flaw, expected) in [
        (Flaw::Lose, "is missing"),
        (Flaw::Double, "came again, or late"),
        (Flaw::Swap, "is missing"),
        (Flaw::Corrupt, "a payload is corrupt"),
        (Flaw::Close, "the server closes the connection: 1008"),
        (Flaw::HangUp, "the server hung up"),
        (Flaw::Accept, "Sec-WebSocket-Accept is wrong"),
    ] {
        let output = load(flaw);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{flaw:?}: {text}");
        // Two publishers: what is not there may be noticed by the message of the other.
        let in_disorder = "came where others heard another";
        let is_order = matches!(flaw, Flaw::Lose | Flaw::Double | Flaw::Swap);
        let is_told = text.contains(expected) || is_order && text.contains(in_disorder);
        assert!(is_told, "{flaw:?}: {text}");
    }
}

#[test]
fn silence_fails_the_run_and_it_says_what_is_missing() {
    let output = load(Flaw::FallSilent);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("nothing was heard for 10 s"), "{text}");
    assert!(text.contains("client 0 has heard 99 of 107"), "{text}");
}
