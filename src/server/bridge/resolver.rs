//! What names stand for: asked by threads, since the answer may take a minute, and the loop does
//! not wait for anybody.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::server::handle::LoopWaker;

/// Names that are looked up at once, each by a thread of its own. They end by themselves, but only
/// when the system's resolver gives up: one that does not answer must not stand in the way of all
/// others.
pub(super) const MAX_LOOKUPS: usize = 4;

/// Addresses of a name that are tried; others are for the next attempt, if they come first then.
pub(super) const MAX_ADDRESSES: usize = 4;

/// What such a thread may use: what std gives to each that does not ask for more. Other people's
/// code runs there, modules of the system's resolver.
pub(super) const THREAD_BYTES: usize = 2 * 1024 * 1024;

/// Finds the addresses of a name; it may take as long as it likes.
pub(super) type Lookup = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// A host name and a port.
pub(super) type Name = (String, u16);

/// What was found: no address at all if the name stands for none, or nobody knows it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) name: Name,
    pub(super) addresses: Vec<SocketAddr>,
}

/// Looks names up.
#[derive(Debug)]
pub(super) struct Resolver {
    lookup: Lookup,
    waker: LoopWaker,
    sender: Sender<Answer>,
    receiver: Receiver<Answer>,
    /// Whose answers have not come.
    running: Vec<Name>,
}

impl Resolver {
    pub(super) fn new(waker: LoopWaker) -> Self {
        let (sender, receiver) = channel();
        Self {
            lookup: system_lookup,
            waker,
            sender,
            receiver,
            running: Vec::new(),
        }
    }

    /// The same with another way to find addresses.
    #[cfg(test)]
    pub(super) fn set_lookup(&mut self, lookup: Lookup) {
        self.lookup = lookup;
    }

    /// Has a name looked up, unless it is being looked up. The answer wakes the loop. If too many
    /// names are, or there can be no thread, nothing happens: it is to be asked again.
    pub(super) fn ask(&mut self, name: &Name) {
        if self.running.contains(name) || self.running.len() >= MAX_LOOKUPS {
            return;
        }
        let (lookup, waker, sender) = (self.lookup, self.waker.clone(), self.sender.clone());
        let asked = name.clone();
        let search = move || {
            let (host, port) = &asked;
            let mut addresses = lookup(host, *port).unwrap_or_default();
            addresses.truncate(MAX_ADDRESSES);
            let name = asked;
            // Whoever has asked may be no more.
            let _ = sender.send(Answer { name, addresses });
            waker.wake();
        };
        let thread = thread::Builder::new().name("resolver".to_owned());
        let thread = thread.stack_size(THREAD_BYTES);
        if thread.spawn(search).is_ok() {
            self.running.push(name.clone());
        }
    }

    /// The next answer that has come.
    pub(super) fn next_answer(&mut self) -> Option<Answer> {
        if self.running.is_empty() {
            return None;
        }
        let answer = self.receiver.try_recv().ok()?;
        self.running.retain(|name| *name != answer.name);
        Some(answer)
    }
}

/// The address itself, if a host is one and nobody has to be asked.
pub(super) fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let address: IpAddr = host.parse().ok()?;
    Some((address, port).into())
}

fn system_lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use mio::{Events, Poll, Token};

    use super::*;
    use crate::server::handle::Mailbox;

    /// A resolver and the loop that it wakes.
    struct Ground {
        resolver: Resolver,
        mailbox: Mailbox,
        poll: Poll,
    }

    impl Ground {
        fn new(lookup: Lookup) -> Self {
            let poll = Poll::new().unwrap();
            let mailbox = Mailbox::new(poll.registry(), Token(0), 1).unwrap();
            let mut resolver = Resolver::new(mailbox.waker());
            resolver.set_lookup(lookup);
            Self {
                resolver,
                mailbox,
                poll,
            }
        }

        fn answer(&mut self) -> Answer {
            for _ in 0..100 {
                if let Some(answer) = self.resolver.next_answer() {
                    return answer;
                }
                self.mailbox.look();
                let mut events = Events::with_capacity(1);
                let patience = Some(Duration::from_secs(10));
                self.poll.poll(&mut events, patience).unwrap();
                assert!(!events.is_empty(), "an answer wakes the loop");
            }
            panic!("no answer");
        }
    }

    fn name(host: &str) -> Name {
        (host.to_owned(), 6379)
    }

    #[expect(clippy::unnecessary_wraps, reason = "others fail")]
    fn many(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((0..20).map(|i| ([127, 0, 0, i], port).into()).collect())
    }

    fn unknown(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Err(ErrorKind::NotFound.into())
    }

    fn never(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        loop {
            thread::park();
        }
    }

    #[test]
    fn a_name_is_looked_up_aside_and_the_loop_is_woken() {
        let mut ground = Ground::new(many);
        ground.resolver.ask(&name("many"));
        let answer = ground.answer();
        assert_eq!(answer.name, name("many"));
        let first: SocketAddr = "127.0.0.0:6379".parse().unwrap();
        assert_eq!(answer.addresses.first(), Some(&first));
        assert_eq!(answer.addresses.len(), MAX_ADDRESSES);
        assert!(ground.resolver.running.is_empty());
    }

    #[test]
    fn a_name_that_nobody_knows_has_no_address() {
        let mut ground = Ground::new(unknown);
        ground.resolver.ask(&name("unknown"));
        assert_eq!(ground.answer().addresses, []);
    }

    #[test]
    fn the_system_knows_this_machine() {
        let mut ground = Ground::new(system_lookup);
        ground.resolver.ask(&name("localhost"));
        let addresses = ground.answer().addresses;
        assert!(addresses.iter().any(|address| address.ip().is_loopback()));
    }

    #[test]
    fn threads_are_bounded_whatever_is_asked() {
        let mut ground = Ground::new(never);
        for i in 0..10 {
            for _ in 0..3 {
                ground.resolver.ask(&name(&format!("host-{i}")));
            }
        }
        assert_eq!(ground.resolver.running.len(), MAX_LOOKUPS);
        assert!(ground.resolver.next_answer().is_none());
    }

    #[test]
    fn an_address_is_no_name() {
        for host in ["127.0.0.1", "::1", "2001:db8::1"] {
            let address = literal(host, 1).unwrap();
            assert_eq!(address.ip().to_string(), host);
        }
        for host in ["localhost", "redis.internal", "[::1]", "127.1", ""] {
            assert_eq!(literal(host, 1), None, "{host}");
        }
    }
}
