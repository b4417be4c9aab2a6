//! The server from another thread.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use mio::{Registry, Token, Waker};

use crate::protocol::MessageKind;

/// Messages that may wait for the loop to take them.
const MAX_PENDING: usize = 1024;

/// Messages that one turn takes.
const MAX_TAKEN_PER_TURN: usize = 256;

/// Publishes to a running server, or stops it, from any thread. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    shared: Arc<Shared>,
    sender: SyncSender<Publication>,
    max_message_size: usize,
}

/// Why something was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// 1024 messages are waiting: the loop is busy, try again later or let this one go.
    Full,
    /// The server is no more.
    Stopped,
    /// Longer than `max_message_size`.
    TooBig,
    /// Text that is not UTF-8.
    InvalidUtf8,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many messages are waiting to be published",
            Self::Stopped => "the server has stopped",
            Self::TooBig => "message over the size limit",
            Self::InvalidUtf8 => "text that is not UTF-8",
        })
    }
}

impl std::error::Error for PublishError {}

impl ServerHandle {
    /// Says a message to every member of a room; to nobody if there is no such room. It is heard
    /// behind what was published before it.
    ///
    /// # Errors
    /// If the message cannot be taken; the server is none the worse.
    pub fn publish(
        &self,
        room: &str,
        kind: MessageKind,
        payload: Vec<u8>,
    ) -> Result<(), PublishError> {
        if payload.len() > self.max_message_size {
            return Err(PublishError::TooBig);
        }
        if kind == MessageKind::Text && std::str::from_utf8(&payload).is_err() {
            return Err(PublishError::InvalidUtf8);
        }
        let publication = Publication {
            room: room.to_owned(),
            kind,
            payload,
        };
        self.sender
            .try_send(publication)
            .map_err(|error| match error {
                TrySendError::Full(_) => PublishError::Full,
                TrySendError::Disconnected(_) => PublishError::Stopped,
            })?;
        self.shared.wake();
        Ok(())
    }

    /// Begins to drain the server, as SIGTERM does. A second call has no effect.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
    }
}

/// What a server is told by its handles.
#[derive(Debug)]
pub(super) struct Mailbox {
    shared: Arc<Shared>,
    sender: SyncSender<Publication>,
    receiver: Receiver<Publication>,
}

#[derive(Debug)]
pub(super) struct Publication {
    pub(super) room: String,
    pub(super) kind: MessageKind,
    pub(super) payload: Vec<u8>,
}

#[derive(Debug)]
struct Shared {
    waker: Waker,
    /// Whether the loop has been woken and has not looked yet.
    is_woken: AtomicBool,
    stop: AtomicBool,
}

impl Shared {
    fn wake(&self) {
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            // It fails only if the loop's descriptors are broken, and then nobody is listening.
            let _ = self.waker.wake();
        }
    }
}

impl Mailbox {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(MAX_PENDING);
        let shared = Arc::new(Shared {
            waker: Waker::new(registry, token)?,
            is_woken: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        Ok(Self {
            shared,
            sender,
            receiver,
        })
    }

    pub(super) fn handle(&self, max_message_size: usize) -> ServerHandle {
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        ServerHandle {
            shared,
            sender,
            max_message_size,
        }
    }

    /// Whether somebody wants the server to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    /// What was published, one turn's share of it. Whatever is left wakes the next turn.
    pub(super) fn take(&self) -> impl Iterator<Item = Publication> {
        // Before looking: who publishes from now on wakes the loop again.
        let was_woken = self.shared.is_woken.swap(false, Ordering::AcqRel);
        let mut left = if was_woken { MAX_TAKEN_PER_TURN } else { 0 };
        std::iter::from_fn(move || {
            if left == 0 {
                if was_woken {
                    self.shared.wake();
                }
                return None;
            }
            left -= 1;
            self.receiver.try_recv().ok()
        })
    }
}
