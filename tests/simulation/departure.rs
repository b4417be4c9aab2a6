//! Whoever leaves: why, and after what.

use fanfare::hub::Departure;
use fanfare::{ClientId, Disconnect};

use super::cast::Cast;
use super::peer::Cause;

/// The last that is known of a client, without what is the hub's memory.
#[derive(Debug)]
pub(super) struct Last {
    id: ClientId,
    why: Disconnect,
    received: u64,
    sent: u64,
    messages_received: u64,
    messages_sent: u64,
    peak: usize,
}

impl Last {
    pub(super) fn new(departure: &Departure) -> Self {
        let traffic = departure.traffic;
        Self {
            id: departure.id,
            why: departure.why,
            received: traffic.bytes_received,
            sent: traffic.bytes_sent,
            messages_received: traffic.messages_received,
            messages_sent: traffic.messages_sent,
            peak: departure.peak_backlog,
        }
    }
}

impl Cast {
    pub(super) fn depart(&mut self, last: &Last) {
        let (who, _) = self.by_id(last.id);
        let peer = self.peers[who].take().expect("it leaves once");
        self.who_is.remove(&last.id);
        self.gone.push(last.id);
        self.note(last.why.label().as_bytes());
        *self.tally.causes.entry(last.why.label()).or_default() += 1;
        assert_eq!((last.sent, last.received), (peer.written, peer.listened_to));
        assert_eq!(last.messages_received, peer.messages);
        assert!(last.peak <= self.config.max_client_buffer);
        peer.check_departure(Cause::of(last.why));
        let is_counted = matches!(last.why, Disconnect::Closed(_) | Disconnect::Ended(_));
        if is_counted && !peer.hearing.is_lost && !peer.is_wild {
            assert_eq!(
                last.messages_sent, peer.hearing.said,
                "messages that it was sent"
            );
        }
    }
}
