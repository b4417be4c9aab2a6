//! The server from another thread.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use mio::{Registry, Token, Waker};

use crate::protocol::MessageKind;

/// Messages that may wait for the loop to take them.
const MAX_PENDING: usize = 1024;

/// Publishes to a running server, or stops it, from any thread. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    shared: Arc<Shared>,
    sender: SyncSender<Publication>,
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
        if payload.len() > self.shared.max_message_size.load(Ordering::Relaxed) {
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

    /// Begins to drain the server, as SIGTERM does, behind what this handle has published. A second
    /// call has no effect.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
    }
}

/// Wakes the loop from another thread that has something for it elsewhere.
#[cfg(feature = "redis")]
#[derive(Clone, Debug)]
pub(super) struct LoopWaker(Arc<Shared>);

#[cfg(feature = "redis")]
impl LoopWaker {
    pub(super) fn wake(&self) {
        self.0.wake();
    }
}

/// What a server is told by its handles.
#[derive(Debug)]
pub(super) struct Mailbox {
    shared: Arc<Shared>,
    sender: SyncSender<Publication>,
    receiver: Receiver<Publication>,
    /// Whether something may be waiting. `look` sets it, `take` clears it.
    is_pending: bool,
    /// Publications taken since somebody wanted the server to stop.
    taken_since_stop: usize,
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
    /// The server may change it while handles are there.
    max_message_size: AtomicUsize,
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
    pub(super) fn new(
        registry: &Registry,
        token: Token,
        max_message_size: usize,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(MAX_PENDING);
        let shared = Arc::new(Shared {
            waker: Waker::new(registry, token)?,
            is_woken: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            max_message_size: AtomicUsize::new(max_message_size),
        });
        Ok(Self {
            shared,
            sender,
            receiver,
            is_pending: false,
            taken_since_stop: 0,
        })
    }

    pub(super) fn handle(&self) -> ServerHandle {
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        ServerHandle { shared, sender }
    }

    #[cfg(feature = "redis")]
    pub(super) fn waker(&self) -> LoopWaker {
        LoopWaker(Arc::clone(&self.shared))
    }

    /// From now on handles take messages of at most this size.
    pub(super) fn set_max_message_size(&self, max: usize) {
        self.shared.max_message_size.store(max, Ordering::Relaxed);
    }

    /// Whether something may be waiting that no event will tell of again.
    pub(super) fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// Takes note of having been woken; whether there may be something to take.
    pub(super) fn look(&mut self) -> bool {
        // Before taking: who publishes from now on wakes the loop again.
        self.is_pending |= self.shared.is_woken.swap(false, Ordering::AcqRel);
        self.is_pending
    }

    /// The next of what was published.
    pub(super) fn take(&mut self) -> Option<Publication> {
        let publication = self.receiver.try_recv().ok();
        self.is_pending = publication.is_some();
        if self.is_pending && self.shared.stop.load(Ordering::Acquire) {
            self.taken_since_stop += 1;
        }
        publication
    }

    /// Whether somebody wanted the server to stop, and what was published before that is taken.
    /// What is published meanwhile does not hold it up for ever.
    pub(super) fn is_stop_due(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
            && (!self.is_pending || self.taken_since_stop >= MAX_PENDING)
    }
}
