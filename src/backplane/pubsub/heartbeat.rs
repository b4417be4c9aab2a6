//! What servers tell each other between messages.

use super::super::action::LinkId;
use super::super::engine::Desk;
use super::super::request::Request;
use super::PubSub;

impl PubSub {
    /// Says that we are there, and asks how things are.
    pub(super) fn advance_heartbeat(&mut self, desk: &mut Desk<'_>) {
        let now = desk.now;
        let Some(link) = self.sender().filter(|link| !desk.links.is_stalled(*link)) else {
            return;
        };
        if !desk.traffic.peers.is_heartbeat_due(now) {
            return;
        }
        self.send_heartbeat(link, desk);
        let name = self.channels.messages.as_bytes();
        let args: [&[u8]; 3] = [b"PUBSUB", self.channels.count(), name];
        desk.links.send(link, Request::CountSubscribers, &args, now);
        desk.links.send(link, Request::Role, &[b"HELLO", b"3"], now);
    }

    /// Says that we are there; which heartbeat that is.
    pub(super) fn send_heartbeat(&self, link: LinkId, desk: &mut Desk<'_>) -> u64 {
        let (beat, bytes) = desk.traffic.next_heartbeat(desk.now);
        let control = self.channels.control.as_bytes();
        let args = [self.channels.publish(), control, &bytes];
        let request = Request::Heartbeat { beat };
        desk.links.send(link, request, &args, desk.now);
        beat
    }
}
