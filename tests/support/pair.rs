//! Two honest clients who talk to each other all the time: what they notice of a server's trouble
//! is what everybody in their room notices.
#![allow(
    clippy::disallowed_methods,
    reason = "latencies and deadlines need the machine's clock"
)]

use std::collections::VecDeque;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::peer::{CLOSE, Frame, PING, PONG, Peer, TEXT, close_payload};
use crate::support::split_frame;

/// How long a message of the pair may take before it counts as lost.
const LIMIT: Duration = Duration::from_secs(20);

/// What a message of the pair begins with; its number follows.
const PREFIX: &str = "control ";

/// Whether a frame is a message of a pair.
pub(crate) fn is_of_a_pair(frame: &Frame) -> bool {
    number(frame).is_some()
}

fn number(frame: &Frame) -> Option<u64> {
    let text = std::str::from_utf8(&frame.payload).ok()?;
    let number = text.strip_prefix(PREFIX).filter(|_| frame.first == TEXT)?;
    number.parse().ok()
}

/// What was said and heard.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Messages that were said.
    pub(crate) said: u64,
    /// Messages that one of the two did not hear, or behind a later one of the same speaker.
    pub(crate) lost: u64,
    /// Messages that one of the two heard again, or behind a later one of the same speaker.
    pub(crate) doubled: u64,
    /// Messages that one of the two heard before, and the other behind, one of the other speaker.
    pub(crate) disordered: u64,
    /// From when each was said, to when the later of the two heard it. Nobody waits for an answer
    /// with the next one, so what holds up the server counts for each message that comes meanwhile.
    latencies: Vec<Duration>,
    /// From when each was due to be said, to when it was: what the machine kept the pair itself
    /// waiting, whatever the server did.
    delays: Vec<Duration>,
}

impl Tally {
    /// Adds what another pair has found.
    pub(crate) fn add(&mut self, other: &Self) {
        self.said += other.said;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.disordered += other.disordered;
        self.latencies.extend(&other.latencies);
        self.delays.extend(&other.delays);
        self.sort();
    }

    /// Whether each has heard everything, once, and in the order of the other.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.disordered == 0
    }

    fn sort(&mut self) {
        self.latencies.sort_unstable();
        self.delays.sort_unstable();
    }

    /// The latency that so many of a thousand messages do not exceed.
    pub(crate) fn latency(&self, per_mille: usize) -> Duration {
        quantile(&self.latencies, per_mille)
    }

    /// The same for the machine's part in it.
    pub(crate) fn delay(&self, per_mille: usize) -> Duration {
        quantile(&self.delays, per_mille)
    }
}

fn quantile(sorted: &[Duration], per_mille: usize) -> Duration {
    let rank = (sorted.len() * per_mille).div_ceil(1000);
    sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} messages, {} lost, {} doubled, {} out of order, p99 {:.1} ms, worst {:.1} ms",
            self.said,
            self.lost,
            self.doubled,
            self.disordered,
            self.latency(990).as_secs_f64() * 1e3,
            self.latency(1000).as_secs_f64() * 1e3,
        )
    }
}

/// What the others in the room have said, as each of the two has heard it.
pub(crate) type Overheard = [Vec<Frame>; 2];

enum Event {
    Heard(usize, Frame, Instant),
    Ended(usize),
    Look(Sender<Result<Overheard, String>>),
    Stop,
}

/// Two clients in a room. Each message of either is to be heard by both.
pub(crate) struct Pair {
    events: Sender<Event>,
    talk: JoinHandle<Tally>,
}

impl Pair {
    /// Connects the two, and lets them say a message every `pace`, whatever becomes of those
    /// before.
    pub(crate) fn start(address: SocketAddr, path: &str, pace: Duration) -> Self {
        let (sender, events) = channel();
        let sides = [0, 1].map(|index| {
            let peer = Peer::open(address, path);
            let stream = peer.stream.try_clone().expect("a free descriptor");
            let sender = sender.clone();
            std::thread::spawn(move || listen(index, stream, &sender));
            Side {
                peer,
                next: [0, 1],
                order: VecDeque::new(),
                overheard: Vec::new(),
                has_ended: false,
            }
        });
        let talk = Talk {
            events,
            sides,
            under_way: VecDeque::new(),
            looks: VecDeque::new(),
            is_stopping: false,
            tally: Tally::default(),
        };
        Self {
            events: sender,
            talk: std::thread::spawn(move || talk.run(pace)),
        }
    }

    /// What the others have said since the last look. All that the server has taken in before the
    /// look is in it: a message of the pair is sent behind it, and waited for. An error if the pair
    /// has missed anything.
    pub(crate) fn look(&self) -> Result<Overheard, String> {
        let failed = "the control pair has failed, see above";
        let (overheard, answer) = channel();
        self.events
            .send(Event::Look(overheard))
            .map_err(|_| failed)?;
        answer.recv().map_err(|_| failed)?
    }

    /// Waits for what is under way, and takes leave.
    pub(crate) fn stop(self) -> Tally {
        let _ = self.events.send(Event::Stop);
        self.talk.join().expect("the control pair has not failed")
    }
}

/// Says what a client hears, until the connection ends.
fn listen(index: usize, mut stream: TcpStream, events: &Sender<Event>) {
    stream.set_read_timeout(None).expect("none is allowed");
    let mut buffer = vec![0; 64 * 1024];
    let mut begun = Vec::new();
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let at = Instant::now();
        begun.extend_from_slice(&buffer[..count]);
        let mut bytes = &begun[..];
        while let Some((opcode, payload, rest)) = split_frame(bytes) {
            let frame = Frame {
                first: 0x80 | opcode,
                payload: payload.to_vec(),
            };
            // Whoever does not listen any more has had all it wanted to hear.
            let _ = events.send(Event::Heard(index, frame, at));
            bytes = rest;
        }
        let taken = begun.len() - bytes.len();
        begun.drain(..taken);
    }
    let _ = events.send(Event::Ended(index));
}

struct Side {
    peer: Peer,
    /// The number that it is to hear next of each speaker: one has the even ones.
    next: [u64; 2],
    /// The numbers that it has heard and the other has not.
    order: VecDeque<u64>,
    overheard: Vec<Frame>,
    has_ended: bool,
}

struct Talk {
    events: Receiver<Event>,
    sides: [Side; 2],
    /// The messages that have not been heard by both.
    under_way: VecDeque<UnderWay>,
    /// Who waits for the message of this number to be heard.
    looks: VecDeque<(u64, Sender<Result<Overheard, String>>)>,
    is_stopping: bool,
    tally: Tally,
}

struct UnderWay {
    number: u64,
    since: Instant,
    is_heard: [bool; 2],
}

impl Talk {
    fn run(mut self, pace: Duration) -> Tally {
        let mut due = Instant::now();
        while !(self.is_stopping && self.under_way.is_empty()) {
            if self
                .under_way
                .front()
                .is_some_and(|oldest| oldest.since.elapsed() > LIMIT)
            {
                // What is not heard by now is lost.
                self.tally.lost += self.under_way.len() as u64;
                break;
            }
            let patience = if self.is_stopping {
                LIMIT
            } else {
                due - Instant::now().min(due)
            };
            match self.events.recv_timeout(patience) {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) if self.is_stopping => {}
                Err(RecvTimeoutError::Timeout) => {
                    self.say(due);
                    due += pace;
                }
                Err(RecvTimeoutError::Disconnected) => self.is_stopping = true,
            }
        }
        self.take_leave();
        self.tally.sort();
        self.tally
    }

    /// Lets one of the two say the next message.
    fn say(&mut self, due: Instant) {
        let since = Instant::now();
        self.tally.delays.push(since.saturating_duration_since(due));
        let number = self.tally.said;
        let speaker = usize::from(number % 2 == 1);
        self.sides[speaker]
            .peer
            .send_text(&format!("{PREFIX}{number}"));
        self.under_way.push_back(UnderWay {
            number,
            since,
            is_heard: [false; 2],
        });
        self.tally.said += 1;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Heard(index, frame, at) => self.hear(index, frame, at),
            Event::Ended(index) => panic!("the control pair's connection {index} has ended"),
            Event::Look(answer) => {
                self.looks.push_back((self.tally.said, answer));
                self.say(Instant::now());
            }
            Event::Stop => self.is_stopping = true,
        }
    }

    fn hear(&mut self, index: usize, frame: Frame, at: Instant) {
        let side = &mut self.sides[index];
        let Some(number) = number(&frame) else {
            return match frame.first {
                PING => side.peer.send_frame(PONG, &frame.payload),
                CLOSE => panic!("the control pair was closed: {frame:?}"),
                _ => side.overheard.push(frame),
            };
        };
        let next = &mut side.next[usize::from(number % 2 == 1)];
        if number < *next {
            self.tally.doubled += 1;
            return;
        }
        self.tally.lost += (number - *next) / 2;
        *next = number + 2;
        side.order.push_back(number);
        self.compare();
        self.under_way.retain_mut(|said| {
            // What the same speaker had said before is lost by now, and has been counted.
            if said.number % 2 == number % 2 && said.number <= number {
                said.is_heard[index] = true;
            }
            let is_heard_by_both = said.is_heard == [true; 2];
            if is_heard_by_both && said.number == number {
                let latency = at.saturating_duration_since(said.since);
                self.tally.latencies.push(latency);
            }
            !is_heard_by_both
        });
        let is_under_way = |said: &UnderWay| said.number == number;
        if !self.under_way.iter().any(is_under_way) {
            self.answer(number);
        }
    }

    /// Both must hear the two speakers in the same order.
    fn compare(&mut self) {
        let [one, other] = &mut self.sides;
        while let (Some(a), Some(b)) = (one.order.front(), other.order.front()) {
            self.tally.disordered += u64::from(a != b);
            one.order.pop_front();
            other.order.pop_front();
        }
    }

    fn answer(&mut self, heard: u64) {
        while self
            .looks
            .front()
            .is_some_and(|(number, _)| *number <= heard)
        {
            if let Some((_, answer)) = self.looks.pop_front() {
                let sides = self.sides.each_mut();
                let overheard = sides.map(|side| std::mem::take(&mut side.overheard));
                let result = if self.tally.is_clean() {
                    Ok(overheard)
                } else {
                    Err(self.tally.to_string())
                };
                // Who has asked may have given up.
                let _ = answer.send(result);
            }
        }
    }

    /// The closing handshake of both.
    fn take_leave(&mut self) {
        for side in &mut self.sides {
            side.peer.send_frame(CLOSE, close_payload(1000, ""));
        }
        let deadline = Instant::now() + LIMIT;
        while !self.sides.iter().all(|side| side.has_ended) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Ended(index)) => self.sides[index].has_ended = true,
                Ok(_) => {}
                Err(error) => panic!("the control pair cannot leave: {error}"),
            }
        }
    }
}
