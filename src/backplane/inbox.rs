//! What local members hear now, until the driver takes it.

use std::collections::VecDeque;

use super::delivery::Delivery;

/// Bytes of deliveries above which no link is read: whoever has taken them is asked for more. What
/// one read of a link brings, and what this server says itself, may go beyond. Not more than needed
/// to be busy for a turn or two: what this server's clients say waits behind it.
pub const MAX_INBOX: usize = 1024 * 1024;

/// What local members hear now, until the driver takes it.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
}

impl Inbox {
    pub(super) fn push(&mut self, delivery: Delivery) {
        self.bytes += delivery.cost();
        self.deliveries.push_back(delivery);
    }

    pub(super) fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.pop_front()?;
        self.bytes -= delivery.cost();
        Some(delivery)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MAX_INBOX
    }
}
