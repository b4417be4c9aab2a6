//! The floor: what a readiness-based broadcast server costs that does nothing but ask the kernel
//! for what it must ask for. Edge-triggered epoll; whatever is ready is read first, one `recv` a
//! socket, straight into one buffer, in which the frames are unmasked and put one after the other;
//! then one `send` a client from that buffer. No checks, no limits, no log, no deadlines: not a
//! server to use, but one to compare with. `SO_SNDBUF` is left as it is.
//!
//! `floor --port N [--echo]`

use base64::Engine as _;
use sha1::{Digest as _, Sha1};
use std::{env, mem, ptr};

/// Descriptors that there can be; the tables below are indexed by them.
const MAX_FDS: usize = 65_536;
/// Bytes of one `recv`, and of all that can be said in one turn.
const MAX_READ: usize = 2 << 20;
const BUFFER: usize = 64 << 20;
/// What a server's header is shorter by than a client's. The first frame of a turn is put so far
/// behind where it was read, and its payload thus stays in place.
const KEY: usize = 4;

#[derive(Clone, Default)]
struct Client {
    open: bool,
    /// Where it is in the list of those who hear.
    place: usize,
    /// A frame, or a request head, that was cut.
    carry: Vec<u8>,
    /// What its socket had no room for, from `sent` on.
    pending: Vec<u8>,
    sent: usize,
}

struct Floor {
    clients: Vec<Client>,
    open: Vec<usize>,
    echo: bool,
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let port = arguments
        .iter()
        .position(|word| word == "--port")
        .and_then(|i| arguments.get(i + 1)?.parse().ok());
    let echo = arguments.iter().any(|word| word == "--echo");
    let mut floor = Floor {
        clients: vec![Client::default(); MAX_FDS],
        open: Vec::with_capacity(MAX_FDS),
        echo,
    };
    let listener = listen(port.expect("usage: floor --port N [--echo]"));
    let mut buffer = vec![0; BUFFER];
    // SAFETY: plain system calls; the pointers are to locals that outlive them.
    unsafe {
        let epoll = libc::epoll_create1(0);
        watch(epoll, listener, libc::EPOLLIN);
        let mut events: [libc::epoll_event; 1024] = mem::zeroed();
        loop {
            let count = libc::epoll_wait(epoll, events.as_mut_ptr(), 1024, -1)
                .max(0)
                .cast_unsigned() as usize;
            let mut end = KEY;
            for event in &events[..count] {
                let (fd, what) = (
                    usize::try_from(event.u64).expect("a descriptor"),
                    event.events.cast_signed(),
                );
                if fd == listener {
                    while let Ok(fd) = usize::try_from(libc::accept4(
                        raw(listener),
                        ptr::null_mut(),
                        ptr::null_mut(),
                        libc::SOCK_NONBLOCK,
                    )) {
                        watch(epoll, fd, libc::EPOLLIN | libc::EPOLLOUT);
                    }
                    continue;
                }
                if what & libc::EPOLLOUT != 0 && !floor.clients[fd].pending.is_empty() {
                    floor.flush(fd);
                }
                if what & !libc::EPOLLOUT != 0 {
                    end = floor.read(fd, &mut buffer, end);
                }
            }
            if end > KEY {
                floor.broadcast(&buffer[KEY..end]);
            }
        }
    }
}

impl Floor {
    /// Reads what there is; the frames in it go to `buffer[end..]`, or back at once. Returns the
    /// new end.
    fn read(&mut self, fd: usize, buffer: &mut [u8], mut end: usize) -> usize {
        loop {
            if end > BUFFER / 2 {
                self.broadcast(&buffer[KEY..end]);
                end = KEY;
            }
            let mut carry = mem::take(&mut self.clients[fd].carry);
            let (carried, start) = (carry.len(), if end == KEY { 0 } else { end });
            let (room, asked) = if carried == 0 {
                (&raw mut buffer[start], MAX_READ)
            } else {
                // A cut frame is read on to where it belongs, and no further.
                let missing = header(&carry)
                    .map_or(256, |(header, payload)| header + KEY + payload - carried);
                carry.reserve(missing);
                (carry.spare_capacity_mut().as_mut_ptr().cast(), missing)
            };
            // SAFETY: there is as much room as is asked for, and what was read is initialised.
            let got = unsafe { libc::recv(raw(fd), room.cast(), asked, libc::MSG_DONTWAIT) };
            let Some(got) = usize::try_from(got).ok().filter(|got| *got > 0) else {
                self.clients[fd].carry = carry;
                if got == 0 || last_error() != libc::EAGAIN {
                    self.close(fd);
                }
                return end;
            };
            if carried == 0 {
                let (rest, said) = self.frames(fd, buffer, start, start + got, end);
                carry.extend_from_slice(&buffer[rest..start + got]);
                if !self.echo {
                    end = said;
                } else if said > end {
                    self.send(fd, &buffer[end..said]);
                }
            } else {
                // SAFETY: so much was read.
                unsafe { carry.set_len(carried + got) };
                let (rest, said) = self.frames(fd, &mut carry, 0, carried + got, KEY);
                if !self.echo {
                    buffer[end..end + said - KEY].copy_from_slice(&carry[KEY..said]);
                    end += said - KEY;
                } else if said > KEY && self.clients[fd].pending.is_empty() && rest == carry.len() {
                    // What isn't sent at once stays where it is.
                    let client = &mut self.clients[fd];
                    carry.truncate(said);
                    mem::swap(&mut client.pending, &mut carry);
                    client.sent = KEY;
                    self.flush(fd);
                    if self.clients[fd].pending.is_empty() {
                        mem::swap(&mut self.clients[fd].pending, &mut carry);
                    }
                } else if said > KEY {
                    self.send(fd, &carry[KEY..said]);
                }
                carry.drain(..rest.min(carry.len()));
            }
            self.clients[fd].carry = carry;
            // A short read has emptied the socket: the next byte is a new edge.
            if got < asked {
                return end;
            }
        }
    }

    /// Unmasks the frames in `bytes[at..end]` and moves them to `bytes[to..]`; returns where the
    /// rest begins, and the new `to`.
    fn frames(
        &mut self,
        fd: usize,
        bytes: &mut [u8],
        mut at: usize,
        end: usize,
        mut to: usize,
    ) -> (usize, usize) {
        if !self.clients[fd].open {
            let Some(len) = bytes[at..end]
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
            else {
                return (at, to);
            };
            self.upgrade(fd, &bytes[at..at + len]);
            at += len + 4;
        }
        while let Some((header, payload)) =
            header(&bytes[at..end]).filter(|(h, p)| h + KEY + p <= end - at)
        {
            let from = at + header + KEY;
            let key: [u8; KEY] = bytes[at + header..from].try_into().expect("four bytes");
            bytes.copy_within(at..at + header, to);
            bytes[to + 1] &= 0x7f;
            if from != to + header {
                bytes.copy_within(from..from + payload, to + header);
            }
            let frame = &mut bytes[to..to + header + payload];
            unmask(&mut frame[header..], key);
            at = from + payload;
            match frame[0] & 0xf {
                8 => {
                    self.send(fd, &frame[..]);
                    self.close(fd);
                    return (end, to);
                }
                9 => {
                    frame[0] = 0x8a;
                    self.send(fd, &frame[..]);
                }
                10 => {}
                _ => to += header + payload,
            }
        }
        (at, to)
    }

    fn broadcast(&mut self, said: &[u8]) {
        for i in 0..self.open.len() {
            self.send(self.open[i], said);
        }
    }

    fn send(&mut self, fd: usize, said: &[u8]) {
        let client = &mut self.clients[fd];
        let sent = if client.pending.is_empty() {
            send(fd, said)
        } else {
            0
        };
        if sent < said.len() {
            client.pending.extend_from_slice(&said[sent..]);
        }
    }

    fn flush(&mut self, fd: usize) {
        let client = &mut self.clients[fd];
        client.sent += send(fd, &client.pending[client.sent..]);
        if client.sent == client.pending.len() {
            client.pending.clear();
            client.sent = 0;
        }
    }

    fn upgrade(&mut self, fd: usize, head: &[u8]) {
        const NAME: &[u8] = b"\r\nsec-websocket-key:";
        let at = head
            .windows(NAME.len())
            .position(|name| name.eq_ignore_ascii_case(NAME))
            .map_or(0, |at| at + NAME.len());
        let key = head[at..]
            .split(|byte| *byte == b'\r')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        let hash = Sha1::new()
            .chain_update(key)
            .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
            .finalize();
        let accept = base64::engine::general_purpose::STANDARD.encode(hash);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.clients[fd] = Client {
            open: true,
            place: self.open.len(),
            ..Client::default()
        };
        self.open.push(fd);
        self.send(fd, answer.as_bytes());
    }

    fn close(&mut self, fd: usize) {
        let client = mem::take(&mut self.clients[fd]);
        if client.open {
            self.open.swap_remove(client.place);
            if let Some(moved) = self.open.get(client.place) {
                self.clients[*moved].place = client.place;
            }
        }
        // SAFETY: the descriptor is ours, and nobody names it any more.
        unsafe { libc::close(raw(fd)) };
    }
}

/// The lengths of a header, its masking key aside, and of its payload; `None` if it is cut.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes.get(1)? & 0x7f {
        126 => Some((
            4,
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        )),
        127 => Some((
            10,
            usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?,
        )),
        len => Some((2, usize::from(len))),
    }
}

fn unmask(payload: &mut [u8], key: [u8; KEY]) {
    let both = u64::from(u32::from_ne_bytes(key)) * 0x1_0000_0001;
    let mut eights = payload.chunks_exact_mut(8);
    for eight in &mut eights {
        let plain = u64::from_ne_bytes((&*eight).try_into().expect("eight bytes")) ^ both;
        eight.copy_from_slice(&plain.to_ne_bytes());
    }
    for (byte, key) in eights.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// How much the socket took; nothing on an error, of which the next read hears too.
fn send(fd: usize, said: &[u8]) -> usize {
    // SAFETY: the pointer and length are those of a slice.
    let sent = unsafe {
        libc::send(
            raw(fd),
            said.as_ptr().cast(),
            said.len(),
            libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
        )
    };
    usize::try_from(sent).unwrap_or(0)
}

/// A listening socket, whose `TCP_NODELAY` those it accepts inherit; says where it is.
fn listen(port: u16) -> usize {
    // SAFETY: plain system calls; the pointers are to locals that outlive them.
    unsafe {
        let files = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        let (mut files, one) = (files, 1i32);
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut files);
        files.rlim_cur = files.rlim_max.min(MAX_FDS as u64);
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files);
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0);
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_REUSEADDR,
            (&raw const one).cast(),
            4,
        );
        libc::setsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const one).cast(),
            4,
        );
        let mut address: libc::sockaddr_in = mem::zeroed();
        address.sin_family = libc::sa_family_t::try_from(libc::AF_INET).expect("it is 2");
        address.sin_port = port.to_be();
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let mut len = 16;
        assert_eq!(
            libc::bind(fd, (&raw const address).cast(), len),
            0,
            "cannot bind port {port}"
        );
        assert_eq!(libc::listen(fd, 65_535), 0, "cannot listen");
        libc::getsockname(fd, (&raw mut address).cast(), &raw mut len);
        println!("listening 127.0.0.1:{}", u16::from_be(address.sin_port));
        usize::try_from(fd).expect("a descriptor")
    }
}

fn watch(epoll: i32, fd: usize, what: i32) {
    let mut event = libc::epoll_event {
        events: (what | libc::EPOLLET).cast_unsigned(),
        u64: fd as u64,
    };
    // SAFETY: the pointer is to a local.
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, raw(fd), &raw mut event) };
}

fn last_error() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn raw(fd: usize) -> i32 {
    i32::try_from(fd).expect("a descriptor")
}
