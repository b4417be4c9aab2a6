//! Many plain sockets that do the same at once.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use crate::binary::now;

/// Sockets that one thread serves.
pub(crate) struct Herd {
    poll: Poll,
    events: Events,
    sockets: Vec<Socket>,
    pub(crate) connected: usize,
    pub(crate) answered: usize,
}

struct Socket {
    stream: TcpStream,
    says: &'static [u8],
    is_connected: bool,
    is_answered: bool,
}

impl Herd {
    /// Begins to connect so many; each says this as soon as it is connected.
    pub(crate) fn connect(count: usize, address: SocketAddr, says: &'static [u8]) -> Self {
        let poll = Poll::new().expect("the kernel has an event queue");
        let sockets = (0..count).map(|index| {
            let mut stream = TcpStream::connect(address).expect("a free descriptor");
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registered = poll
                .registry()
                .register(&mut stream, Token(index), interest);
            registered.expect("the kernel has memory");
            Socket {
                stream,
                says,
                is_connected: false,
                is_answered: false,
            }
        });
        Self {
            sockets: sockets.collect(),
            poll,
            events: Events::with_capacity(1024),
            connected: 0,
            answered: 0,
        }
    }

    /// Waits for something to happen, but no longer than so. Whether something did.
    pub(crate) fn turn(&mut self, timeout: Duration) -> bool {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            done => done.expect("the event queue works"),
        }
        for event in &self.events {
            let socket = &mut self.sockets[event.token().0];
            if !socket.is_connected && event.is_writable() {
                let error = socket.stream.take_error().expect("it is a socket");
                assert!(error.is_none(), "{error:?} instead of a connection");
                socket.is_connected = true;
                self.connected += 1;
                let written = socket.stream.write(socket.says);
                assert_eq!(written.ok(), Some(socket.says.len()), "it is short");
            }
            if !socket.is_answered && event.is_readable() {
                let mut head = [0; 13];
                match socket.stream.read(&mut head) {
                    Ok(count) => assert_eq!(&head[..count], b"HTTP/1.1 101 "),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => panic!("{error} instead of an answer"),
                }
                socket.is_answered = true;
                self.answered += 1;
            }
        }
        !self.events.is_empty()
    }

    /// Turns until `done` says so.
    pub(crate) fn turn_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let begun = now();
        while !done(self) {
            self.turn(Duration::from_millis(100));
            let (count, connected, answered) = (self.sockets.len(), self.connected, self.answered);
            assert!(
                begun.elapsed() < limit,
                "after {limit:?}, {connected} of {count} are connected, {answered} answered"
            );
        }
    }

    /// Resets all of them.
    pub(crate) fn reset(self) {
        for socket in &self.sockets {
            let done = SockRef::from(&socket.stream).set_linger(Some(Duration::ZERO));
            done.expect("it is TCP");
        }
    }
}
