//! What stands between a server and its Redis, and can do to the bytes what a bad network does.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, SockRef, Socket, Type};

/// What a direction of one connection holds at most: then the sender has to wait.
const MAX_HELD: usize = 256 * 1024;

/// What the kernel may hold of what comes from Redis.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// What one read takes.
const CHUNK: usize = 16 * 1024;

/// How often it is looked at what is due, while something waits.
const TICK: Duration = Duration::from_millis(1);

/// What becomes of the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// They pass.
    #[default]
    Open,
    /// They are kept, and pass when the way is open again: what retransmission makes of a network
    /// that loses everything.
    Hole,
    /// Each passes so much later.
    Delay(Duration),
    /// So many pass in a second.
    Rate(usize),
    /// They pass one at a time, each as a segment of its own.
    ByteByByte,
}

#[derive(Clone, Copy)]
struct Rules {
    target: SocketAddr,
    /// To Redis, and from it.
    ways: [Way; 2],
    /// Connections are reset, new ones as well.
    is_cut: bool,
    is_over: bool,
    /// How often everything has been reset.
    resets: u64,
}

/// A proxy on a port of its own. Ends when it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    rules: Arc<Mutex<Rules>>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    pub(crate) fn start(target: SocketAddr) -> Self {
        let poll = Poll::new().expect("the kernel has an event queue");
        let waker = Waker::new(poll.registry(), Token(usize::MAX)).expect("a free descriptor");
        let any = ([127, 0, 0, 1], 0).into();
        let mut listener = TcpListener::bind(any).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let registry = poll.registry();
        let registered = registry.register(&mut listener, Token(0), Interest::READABLE);
        registered.expect("the kernel has memory");
        let rules = Arc::new(Mutex::new(Rules {
            target,
            ways: [Way::Open; 2],
            is_cut: false,
            is_over: false,
            resets: 0,
        }));
        let relay = Relay {
            poll,
            listener,
            rules: Arc::clone(&rules),
            connections: Vec::new(),
            next: 1,
            resets: 0,
        };
        Self {
            address,
            rules,
            waker,
            thread: Some(std::thread::spawn(move || relay.run())),
        }
    }

    fn change(&self, change: impl FnOnce(&mut MutexGuard<'_, Rules>)) {
        change(&mut self.rules.lock().expect("no test panics with it"));
        self.waker.wake().expect("the event queue works");
    }

    /// Resets every connection, and those to come, until [`mend`](Self::mend).
    pub(crate) fn cut(&self) {
        self.change(|rules| rules.is_cut = true);
    }

    /// Resets every connection; new ones pass.
    pub(crate) fn reset(&self) {
        self.change(|rules| rules.resets += 1);
    }

    /// What becomes of what goes to Redis.
    pub(crate) fn upwards(&self, way: Way) {
        self.change(|rules| rules.ways[0] = way);
    }

    /// What becomes of what comes from Redis.
    pub(crate) fn downwards(&self, way: Way) {
        self.change(|rules| rules.ways[1] = way);
    }

    pub(crate) fn both_ways(&self, way: Way) {
        self.change(|rules| rules.ways = [way; 2]);
    }

    /// All is well again.
    pub(crate) fn mend(&self) {
        self.change(|rules| {
            rules.ways = [Way::Open; 2];
            rules.is_cut = false;
        });
    }

    /// New connections go there.
    pub(crate) fn point_to(&self, target: SocketAddr) {
        self.change(|rules| rules.target = target);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.change(|rules| rules.is_over = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Relay {
    poll: Poll,
    listener: TcpListener,
    rules: Arc<Mutex<Rules>>,
    connections: Vec<Connection>,
    next: usize,
    resets: u64,
}

impl Relay {
    /// Whatever happens, every connection is looked at: there are few.
    fn run(mut self) {
        let mut events = Events::with_capacity(64);
        let mut waits = false;
        loop {
            let timeout = waits.then_some(TICK);
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                done => done.expect("the event queue works"),
            }
            // Held until the end of the turn: whoever has changed them knows that from now on no
            // byte goes by the old ones.
            let shared = Arc::clone(&self.rules);
            let rules = shared.lock().expect("no test panics with it");
            if rules.is_over {
                return;
            }
            self.accept(&rules);
            if rules.is_cut || rules.resets != self.resets {
                self.resets = rules.resets;
                self.connections.drain(..).for_each(Connection::reset);
            }
            let now = Instant::now();
            waits = false;
            self.connections.retain_mut(|connection| {
                let lives = connection.pump(&rules, now);
                waits |= lives && connection.waits(&rules);
                lives
            });
        }
    }

    fn accept(&mut self, rules: &Rules) {
        while let Ok((client, _)) = self.listener.accept() {
            let server = connect(rules.target);
            let _ = client.set_nodelay(true);
            let Ok(server) = server else {
                reset(&client);
                continue;
            };
            let mut streams = [client, server];
            for stream in &mut streams {
                let interest = Interest::READABLE | Interest::WRITABLE;
                let registry = self.poll.registry();
                let registered = registry.register(stream, Token(self.next), interest);
                registered.expect("the kernel has memory");
                self.next += 1;
            }
            self.connections.push(Connection {
                streams,
                directions: Default::default(),
            });
        }
    }
}

/// A connection to Redis whose kernel buffers are small: what waits there, waits in Redis.
fn connect(target: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.connect(&target.into())?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    Ok(TcpStream::from_std(socket.into()))
}

/// Lets the kernel send RST when the socket is closed.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

struct Connection {
    /// To the server that is tested, and to Redis.
    streams: [TcpStream; 2],
    /// What comes from each of them.
    directions: [Direction; 2],
}

#[derive(Default)]
struct Direction {
    held: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    has_ended: bool,
    is_told: bool,
    /// From when on bytes have been allowed to pass.
    since: Option<Instant>,
}

impl Connection {
    fn reset(self) {
        self.streams.iter().for_each(reset);
    }

    /// Whether something is due without an event.
    fn waits(&self, rules: &Rules) -> bool {
        self.directions.iter().zip(rules.ways).any(|(held, way)| {
            let is_timed = matches!(way, Way::Delay(_) | Way::Rate(_) | Way::ByteByByte);
            is_timed && held.bytes > 0
        })
    }

    /// Moves what can be moved. False if the connection is over.
    fn pump(&mut self, rules: &Rules, now: Instant) -> bool {
        for index in [0, 1] {
            let direction = &mut self.directions[index];
            let [from, to] = if index == 0 { [0, 1] } else { [1, 0] };
            loop {
                let is_fine = direction.read(&mut self.streams[from], now);
                let was_full = direction.bytes >= MAX_HELD;
                let is_fine =
                    is_fine && direction.write(&mut self.streams[to], rules.ways[index], now);
                if !is_fine {
                    self.streams.iter().for_each(reset);
                    return false;
                }
                // No event tells of what was left in the kernel for want of room here.
                if !was_full || direction.bytes >= MAX_HELD {
                    break;
                }
            }
        }
        !self.directions.iter().all(|direction| direction.is_told)
    }
}

impl Direction {
    fn read(&mut self, from: &mut TcpStream, now: Instant) -> bool {
        while self.bytes < MAX_HELD && !self.has_ended {
            let mut chunk = vec![0; CHUNK];
            match from.read(&mut chunk) {
                Ok(0) => self.has_ended = true,
                Ok(count) => {
                    chunk.truncate(count);
                    self.bytes += count;
                    self.held.push_back((now, chunk));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        true
    }

    fn write(&mut self, to: &mut TcpStream, way: Way, now: Instant) -> bool {
        let since = self.since.replace(now).unwrap_or(now);
        let mut allowed = match way {
            Way::Open | Way::Delay(_) => usize::MAX,
            Way::Hole => return true,
            Way::Rate(rate) => {
                let micros = (now - since).as_micros();
                let allowed = usize::try_from(micros).unwrap_or(0) * rate / 1_000_000;
                // Nothing is saved up while nothing comes.
                let allowed = allowed.min(rate / 10);
                if allowed == 0 {
                    self.since = Some(since);
                }
                allowed
            }
            Way::ByteByByte => 256,
        };
        while let Some((came, chunk)) = self.held.front_mut() {
            let is_early = matches!(way, Way::Delay(delay) if now < *came + delay);
            if is_early || allowed == 0 {
                return true;
            }
            let limit = if way == Way::ByteByByte { 1 } else { allowed };
            let part = &chunk[..limit.min(chunk.len())];
            match to.write(part) {
                Ok(count) => {
                    allowed -= count;
                    self.bytes -= count;
                    chunk.drain(..count);
                    if chunk.is_empty() {
                        self.held.pop_front();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        if self.has_ended && !self.is_told {
            self.is_told = true;
            let _ = to.shutdown(Shutdown::Write);
        }
        true
    }
}
