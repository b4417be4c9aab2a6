//! A server in a thread of the tests, and an application that tells what it sees.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use fanfare::hub::Metrics;
use fanfare::{
    Broadcast, ClientId, CloseCode, Disconnect, Handler, ListenAddress, Message, MessageKind,
    Outbox, Outcome, Request, Server, ServerConfig, ServerHandle,
};

use crate::peer::{BINARY, CLOSE, DEADLINE, Peer};

/// A long message, and how many of them are more than the kernel buffers for a socket.
pub(crate) const LONG: usize = 64 * 1024;
pub(crate) const FLOOD: usize = 160;

/// What the application was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Opened,
    Said(String),
    /// Why, and how many members are left in the room.
    Left(Disconnect, usize),
}

/// Broadcasts with echo, obeys a few words, and reports.
pub(crate) struct Witness {
    events: Sender<Event>,
    broadcast: Broadcast,
}

impl Witness {
    pub(crate) fn new() -> (Self, Receiver<Event>) {
        let (events, receiver) = channel();
        let broadcast = Broadcast::new(true);
        (Self { events, broadcast }, receiver)
    }

    /// A test that has seen enough does not listen any more.
    fn report(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

impl Handler for Witness {
    fn on_open(&mut self, _: &mut Outbox<'_>, _: ClientId, _: &Request<'_>) {
        self.report(Event::Opened);
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: Message<'_>) {
        let room = outbox.room(id).expect("who speaks is in a room");
        let said = Event::Said(message.as_text().unwrap_or_default().to_owned());
        match message.as_text() {
            Some("members?") => {
                let members = outbox.members(room).len().to_string();
                outbox.send(id, MessageKind::Text, members.as_bytes());
            }
            Some("close me") => {
                let code = CloseCode::from_wire(4001).expect("it is an application's");
                outbox.close(id, code, "as you wish");
                outbox.broadcast(room, MessageKind::Text, b"somebody was closed");
            }
            Some("flood me") => {
                let long = vec![b'x'; LONG];
                for _ in 0..FLOOD {
                    outbox.send(id, MessageKind::Binary, &long);
                }
            }
            _ => self.broadcast.on_message(outbox, id, message),
        }
        self.report(said);
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, id: ClientId, why: &Disconnect) {
        let room = outbox.room(id).expect("its last room is remembered");
        let members = outbox.members(room).len();
        self.report(Event::Left(*why, members));
    }
}

/// The settings of most tests: every timeout is longer than a test may take, so that nothing
/// happens because of one.
pub(crate) fn config() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.listen = vec![ListenAddress::Tcp("127.0.0.1:0".to_owned())];
    config.hub.ping_interval = DEADLINE * 7;
    config.hub.pong_timeout = DEADLINE * 6;
    config.hub.handshake_timeout = DEADLINE * 6;
    config.hub.write_timeout = DEADLINE * 6;
    config.hub.close_timeout = DEADLINE * 6;
    config.shutdown_timeout = DEADLINE * 12;
    config
}

/// A server that runs in a thread.
pub(crate) struct Running {
    pub(crate) addresses: Vec<ListenAddress>,
    /// Where operators ask, if they may.
    pub(crate) admin: Option<ListenAddress>,
    pub(crate) handle: ServerHandle,
    events: Receiver<Event>,
    ended: Receiver<io::Result<Ended>>,
}

/// How it ended, and what was left then.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) clients: usize,
    pub(crate) rooms: usize,
    pub(crate) metrics: Metrics,
}

impl Running {
    /// Runs a [`Witness`] with these changes to [`config`].
    pub(crate) fn start(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = config();
        change(&mut config);
        let (witness, events) = Witness::new();
        Self::start_with(config, witness, events)
    }

    pub(crate) fn start_with(
        config: ServerConfig,
        mut handler: impl Handler + Send + 'static,
        events: Receiver<Event>,
    ) -> Self {
        let (started, start) = channel();
        let (end, ended) = channel();
        // The hub shares bytes within its thread, so the server is made where it runs.
        std::thread::spawn(move || {
            let mut server = Server::bind(config).expect("the server can listen");
            let addresses = (server.local_addresses(), server.admin_address());
            let _ = started.send((addresses, server.handle()));
            let outcome = server.run(&mut handler);
            let hub = server.hub();
            let _ = end.send(outcome.map(|outcome| Ended {
                outcome,
                clients: hub.len(),
                rooms: hub.room_count(),
                metrics: *hub.metrics(),
            }));
        });
        let (addresses, handle) = start.recv_timeout(DEADLINE).expect("the server starts");
        let (addresses, admin) = addresses;
        Self {
            addresses,
            admin,
            handle,
            events,
            ended,
        }
    }

    /// The first address.
    pub(crate) fn address(&self) -> SocketAddr {
        tcp_address(&self.addresses[0])
    }

    pub(crate) fn connect(&self) -> Peer {
        Peer::connect(self.address())
    }

    /// An open WebSocket in the room of the path itself, or another.
    pub(crate) fn open(&self, path: &str) -> Peer {
        Peer::open(self.address(), path)
    }

    /// The next event.
    pub(crate) fn event(&self) -> Event {
        self.events.recv_timeout(DEADLINE).expect("an event")
    }

    /// Waits for a departure; returns why, and how many members are left.
    pub(crate) fn left(&self) -> (Disconnect, usize) {
        loop {
            if let Event::Left(why, members) = self.event() {
                return (why, members);
            }
        }
    }

    /// Waits until the application has heard these words.
    pub(crate) fn heard(&self, words: &str) {
        while self.event() != Event::Said(words.to_owned()) {}
    }

    /// The events themselves, for those who wait in another way.
    pub(crate) fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// A client whom the server owes more than the kernel takes.
    pub(crate) fn open_flooded(&self) -> Peer {
        let mut peer = self.open("/ws");
        peer.send_text("flood me");
        self.heard("flood me");
        // One turn writes a client 256 KiB at most. So many turns later the kernel is full.
        for _ in 0..FLOOD / 2 {
            peer.send_text("tick");
            self.heard("tick");
        }
        peer
    }

    /// A newcomer is served as if nothing had happened. Forgets all events up to its departure.
    pub(crate) fn check_serves(&self) {
        let mut peer = self.open("/ws/a%20room%20of%20its%20own");
        peer.check_echo();
        peer.send_frame(CLOSE, b"");
        peer.expect_close(1000);
        peer.expect_end();
        drop(peer);
        while self.event() != Event::Left(Disconnect::Closed(None), 0) {}
    }

    /// Waits for the server's end.
    pub(crate) fn end(self) -> Ended {
        let ended = self.ended.recv_timeout(DEADLINE);
        ended
            .expect("the server ends")
            .expect("its loop does not fail")
    }

    /// Stops it; everybody must have gone. No timeout is short enough to help.
    pub(crate) fn check_ends_empty(self) -> Metrics {
        self.handle.stop();
        let ended = self.end();
        assert_eq!(
            (ended.outcome, ended.clients, ended.rooms),
            (Outcome::Drained, 0, 0)
        );
        ended.metrics
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

/// Reads what a flooded client was sent, and its "tick"s.
pub(crate) fn read_flood(peer: &mut Peer) {
    let long = vec![b'x'; LONG];
    for _ in 0..FLOOD {
        peer.expect_frame(BINARY, &long);
    }
    for _ in 0..FLOOD / 2 {
        peer.expect_text("tick");
    }
}

pub(crate) fn tcp_address(address: &ListenAddress) -> SocketAddr {
    let ListenAddress::Tcp(address) = address else {
        panic!("{address} is not TCP");
    };
    address.parse().expect("what was bound is numeric")
}
