//! What a supervisor is told of the server's state: `sd_notify(3)`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use log::warn;
use socket2::{Domain, SockAddr, Socket, Type};

use super::Server;

/// Where a supervisor listens, if there is one.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// What may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The server listens, or has read its settings again.
    Ready,
    /// It is reading them.
    Reloading,
    /// It drains.
    Stopping,
}

/// A socket to the supervisor. It never waits: what the supervisor does not take is lost.
#[derive(Debug)]
pub(super) struct Supervisor {
    socket: Socket,
    address: SockAddr,
}

impl Supervisor {
    /// The supervisor that the environment names; `None` if there is none.
    pub(super) fn from_environment() -> Option<Self> {
        let name = std::env::var_os(NOTIFY_SOCKET).filter(|name| !name.is_empty())?;
        let supervisor = Self::at(&name);
        supervisor
            .inspect_err(|error| warn!("cannot notify the supervisor at {name:?}: {error}"))
            .ok()
    }

    /// One at a path, or at an abstract name, which is written with an `@` in front.
    fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat()))?,
            [b'/', ..] => SockAddr::unix(name)?,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }

    /// Tells it a state. A server runs on if it is not told.
    pub(super) fn tell(&self, state: State) {
        let message = match state {
            State::Ready => "READY=1\nSTATUS=serving",
            State::Reloading => "RELOADING=1\nSTATUS=reading its settings again",
            State::Stopping => "STOPPING=1\nSTATUS=closing connections",
        };
        if let Err(error) = self.socket.send_to(message.as_bytes(), &self.address) {
            warn!("cannot notify the supervisor of {state:?}: {error}");
        }
    }
}

impl Server {
    /// Tells the supervisor that `NOTIFY_SOCKET` names, if there is one (systemd, `Type=notify`),
    /// that this server is ready, and from now on when it begins to drain. The supervisor is never
    /// waited for.
    pub fn notify_supervisor(&mut self) {
        self.supervisor = Supervisor::from_environment();
        self.notify_ready();
    }

    /// Tells the supervisor, if there is one, that settings are being read again; to be followed by
    /// [`notify_ready`](Self::notify_ready).
    pub fn notify_reloading(&self) {
        self.notify(State::Reloading);
    }

    /// Tells the supervisor, if there is one, that they have been.
    pub fn notify_ready(&self) {
        self.notify(State::Ready);
    }

    pub(super) fn notify(&self, state: State) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.tell(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn each_state_is_a_message_and_nobody_waits_for_its_reader() {
        let path = std::env::temp_dir().join(format!("fanfare-notify-{}", std::process::id()));
        let receiver = UnixDatagram::bind(&path).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let supervisor = Supervisor::at(path.as_os_str()).unwrap();
        let told = |state| {
            supervisor.tell(state);
            let mut buffer = [0; 128];
            let count = receiver.recv(&mut buffer).unwrap();
            let message = String::from_utf8_lossy(&buffer[..count]).into_owned();
            message.lines().next().unwrap().to_owned()
        };
        assert_eq!(told(State::Ready), "READY=1");
        assert_eq!(told(State::Reloading), "RELOADING=1");
        assert_eq!(told(State::Stopping), "STOPPING=1");
        // Far more than the kernel keeps for somebody who does not read.
        for _ in 0..10_000 {
            supervisor.tell(State::Ready);
        }
        drop(receiver);
        std::fs::remove_file(&path).unwrap();
        supervisor.tell(State::Stopping);
    }

    #[test]
    fn names_that_are_no_sockets_are_refused() {
        for name in ["x", "vsock:2:1234", &format!("/{}", "x".repeat(200))] {
            assert!(Supervisor::at(OsStr::new(name)).is_err(), "{name}");
        }
    }
}
