//! Whoever leaves: why, and after what.

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare::hub::{Departure, Metrics};
use fanfare::{ClientId, Disconnect};

use super::cast::Cast;
use super::peer::Cause;
use super::wire::ROOMS;

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
    age: Duration,
    /// The number of its room, if it was let in.
    room: Option<usize>,
}

/// What the hub's counters must come to.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) opened: u64,
    received: u64,
    sent: u64,
    messages_sent: u64,
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
            age: departure.age,
            room: departure
                .room
                .as_deref()
                .map(|name| ROOMS.iter().position(|room| *room == name))
                .map(|room| room.expect("there is such a room")),
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
        assert!(last.peak >= peer.most_owed, "it owed more once");
        assert_eq!(last.age, self.now - peer.accepted_at);
        assert_eq!(last.room, peer.was_in, "another room");
        assert!(peer.room.is_none(), "the application knows nothing of it");
        self.totals.received += peer.listened_to;
        self.totals.sent += peer.written;
        self.totals.messages_sent += last.messages_sent;
        peer.check_departure(Cause::of(last.why));
        let is_counted = matches!(last.why, Disconnect::Closed(_) | Disconnect::Ended(_));
        if is_counted && !peer.hearing.is_lost && !peer.is_wild {
            assert_eq!(
                last.messages_sent, peer.hearing.said,
                "messages that it was sent"
            );
        }
    }

    /// When everybody has left, the counters are the sums.
    pub(super) fn check_totals(&self, metrics: &Metrics) {
        assert_eq!(metrics.connections_accepted, self.tally.clients);
        assert_eq!(metrics.messages_received, self.tally.delivered);
        assert_eq!(metrics.handshakes_completed, self.totals.opened);
        assert_eq!(metrics.bytes_received, self.totals.received);
        assert_eq!(metrics.bytes_sent, self.totals.sent);
        assert_eq!(metrics.messages_sent, self.totals.messages_sent);
        let causes = metrics.departures_by_cause().filter(|cause| cause.1 > 0);
        assert_eq!(causes.collect::<BTreeMap<_, _>>(), self.tally.causes);
    }
}
