//! A hostile client: a plain socket that does the steps of a case.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::case::{End, Outcome, Step, shown, sorted};
use crate::pair::{Pair, is_of_a_pair};
use crate::peer::{Frame, Peer};
use crate::process::now;
use crate::support::split_frame;

/// How long a case may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    /// `None` after a reset of ours.
    stream: Option<TcpStream>,
    /// The head of the answer, once it is there.
    head: Option<String>,
    /// The frames that have come, those of the control pair aside.
    pub(crate) heard: Vec<Frame>,
    /// What has come and is none of the above: a head or a frame that is not whole, a body.
    rest: Vec<u8>,
    end: Option<End>,
    begun: Instant,
    /// How long the connection lasted.
    pub(crate) lasted: Duration,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let begun = now();
        let stream = Peer::connect(address).stream;
        stream
            .set_write_timeout(Some(LIMIT))
            .expect("it is not zero");
        Self {
            stream: Some(stream),
            head: None,
            heard: Vec::new(),
            rest: Vec::new(),
            end: None,
            begun,
            lasted: Duration::ZERO,
        }
    }

    /// Does the steps of a case, and reads to the end.
    pub(crate) fn run(&mut self, steps: &[Step], pair: &Pair) -> Result<Outcome, String> {
        self.act(steps, pair)?;
        Ok(self.finish())
    }

    /// Reads to the end.
    pub(crate) fn finish(&mut self) -> Outcome {
        self.read_until(LIMIT, |_| false);
        self.outcome()
    }

    /// Does the steps of a case.
    pub(crate) fn act(&mut self, steps: &[Step], pair: &Pair) -> Result<(), String> {
        for step in steps {
            match step {
                Step::Send(bytes) => self.send(bytes),
                Step::Bytewise(bytes) => bytes.iter().for_each(|byte| self.send(&[*byte])),
                Step::Trickle(bytes, at_once, pace) => self.trickle(bytes, *at_once, *pace),
                Step::AwaitHead => self.read_until(LIMIT, |client| client.head.is_some()),
                Step::AwaitFrames(count) => {
                    self.read_until(LIMIT, |client| client.heard.len() >= *count);
                }
                Step::AwaitRoom => await_room(pair)?,
                Step::HalfClose => {
                    // The server may have reset the connection already, which shows below.
                    let _ = self.stream().shutdown(Shutdown::Write);
                }
                Step::Reset => self.reset(),
                Step::Overstay => self.overstay(pair)?,
            }
        }
        Ok(())
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.stream.as_mut().expect("it has not been reset")
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if self.stream().write_all(bytes).is_err() && self.end.is_none() {
            // What had come before the reset may still be there.
            self.read_until(LIMIT, |_| false);
            self.ended(End::Rst);
        }
    }

    /// Reads until `is_enough`, or the end, or the deadline.
    pub(crate) fn read_until(&mut self, limit: Duration, is_enough: impl Fn(&Self) -> bool) {
        let deadline = now() + limit;
        let mut buffer = vec![0; 64 * 1024];
        while self.end.is_none() && !is_enough(self) {
            let left = deadline.saturating_duration_since(now());
            if left.is_zero() {
                return;
            }
            let stream = self.stream();
            stream.set_read_timeout(Some(left)).expect("it is not zero");
            match stream.read(&mut buffer) {
                Ok(0) => self.ended(End::Fin),
                Ok(count) => self.hear(&buffer[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => self.ended(End::Rst),
                    other => panic!("a read from a socket: {other}"),
                },
            }
        }
    }

    /// Reads a single byte, if one is there.
    pub(crate) fn sip(&mut self) {
        let mut byte = [0];
        // The end is met by whoever reads to it.
        if self.stream().peek(&mut byte).is_ok_and(|count| count == 1)
            && self.stream().read_exact(&mut byte).is_ok()
        {
            self.hear(&byte);
        }
    }

    fn ended(&mut self, end: End) {
        self.end = Some(end);
        self.lasted = self.begun.elapsed();
    }

    fn trickle(&mut self, bytes: &[u8], at_once: usize, pace: Duration) {
        for piece in bytes.chunks(at_once) {
            if self.end.is_some() {
                return;
            }
            self.send(piece);
            self.read_until(pace, |_| false);
        }
    }

    /// The server's close has no other sign, once its side has ended, than the error of a write.
    fn overstay(&mut self, pair: &Pair) -> Result<(), String> {
        self.read_until(LIMIT, |_| false);
        let ended = now();
        while self.end == Some(End::Fin) && ended.elapsed() < LIMIT {
            await_room(pair)?;
            if self.stream().write_all(b"x").is_err() {
                self.ended(End::FinThenRst);
            }
        }
        Ok(())
    }

    /// Closes with RST, as `SO_LINGER` of zero has it.
    pub(crate) fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .expect("it is a TCP socket");
        }
        self.ended(End::Ours);
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        if self.head.is_none() {
            let mut ends = self.rest.windows(4);
            let Some(end) = ends.position(|end| end == b"\r\n\r\n") else {
                return;
            };
            let behind = self.rest.split_off(end + 4);
            let head = std::mem::replace(&mut self.rest, behind);
            self.head = Some(sorted(&String::from_utf8_lossy(&head[..end])));
        }
        if !self.is_open() {
            return;
        }
        let mut rest = &self.rest[..];
        while let Some((opcode, payload, behind)) = split_frame(rest) {
            let frame = Frame {
                first: 0x80 | opcode,
                payload: payload.to_vec(),
            };
            if !is_of_a_pair(&frame) {
                self.heard.push(frame);
            }
            rest = behind;
        }
        let taken = self.rest.len() - rest.len();
        self.rest.drain(..taken);
    }

    pub(crate) fn is_open(&self) -> bool {
        let head = self.head.as_deref();
        head.is_some_and(|head| head.starts_with("HTTP/1.1 101 "))
    }

    /// What has come of the connection so far. What was heard is taken out of it.
    pub(crate) fn outcome(&mut self) -> Outcome {
        let end = self.end.unwrap_or(End::Never);
        let mut answer = self.head.clone().unwrap_or_default();
        if !self.is_open() {
            answer += &String::from_utf8_lossy(&self.rest);
        } else if end == End::Fin && !self.rest.is_empty() {
            // A reset may cut a frame that is under way; an end in order may not.
            answer.push_str("and a frame that is cut");
        }
        Outcome {
            answer,
            heard: std::mem::take(&mut self.heard),
            end,
        }
    }
}

/// Lets the control pair talk: by then the server has read what was sent before. The room must not
/// hear it.
fn await_room(pair: &Pair) -> Result<(), String> {
    let [heard, _] = pair.look()?;
    let silent = heard.is_empty();
    silent.then_some(()).ok_or_else(|| shown(&heard))
}
