//! What local members hear now, until the driver takes it.

use std::collections::VecDeque;

use super::delivery::Delivery;

/// Bytes of what others have said above which no link is read, and of what this server has said
/// above which it should say no more. What one read of a link brings may go beyond, and what comes
/// back at once. Not more than is needed to be busy for a few turns: who speaks waits behind it.
pub const MAX_INBOX: usize = 1024 * 1024;

/// What local members hear now, until the driver takes it.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    /// How many of them are of what this server has said.
    own_bytes: usize,
}

impl Inbox {
    pub(super) fn push(&mut self, delivery: Delivery) {
        self.bytes += delivery.cost();
        self.own_bytes += own_cost(&delivery);
        self.deliveries.push_back(delivery);
    }

    pub(super) fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.pop_front()?;
        self.bytes -= delivery.cost();
        self.own_bytes -= own_cost(&delivery);
        Some(delivery)
    }

    pub(super) fn peek(&self) -> Option<&Delivery> {
        self.deliveries.front()
    }

    /// Whether others have said so much that they should not be read. What this server says does
    /// not keep them out, nor the other way round.
    pub(super) fn is_full(&self) -> bool {
        self.bytes - self.own_bytes >= MAX_INBOX
    }

    /// Whether this server has said so much that nobody here should say more.
    pub(super) fn is_full_of_own(&self) -> bool {
        self.own_bytes >= MAX_INBOX
    }
}

fn own_cost(delivery: &Delivery) -> usize {
    if delivery.is_own() {
        delivery.cost()
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::entry::test_entry;
    use crate::hub::test_clock;
    use crate::protocol::MessageKind;

    #[test]
    fn what_is_said_here_and_elsewhere_is_bounded_apart() {
        let mut inbox = Inbox::default();
        let foreign = || Delivery::foreign(MessageKind::Binary, vec![0; MAX_INBOX / 2], 0, 1);
        inbox.push(foreign());
        inbox.push(Delivery::own(test_entry(1, MAX_INBOX, test_clock())));
        assert!(inbox.is_full_of_own() && !inbox.is_full());
        inbox.push(foreign());
        assert!(inbox.is_full_of_own() && inbox.is_full());
        assert!(inbox.pop().is_some() && !inbox.is_full());
        assert!(inbox.pop().is_some_and(|next| next.is_own()));
        assert!(!inbox.is_full_of_own() && !inbox.is_full());
        assert!(inbox.pop().is_some() && inbox.pop().is_none());
        assert_eq!((inbox.bytes, inbox.own_bytes), (0, 0));
    }
}
