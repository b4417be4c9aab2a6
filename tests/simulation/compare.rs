//! Who is there by what has happened, and who is there by what the hub says.

use std::time::Instant;

use fanfare::Hub;

use super::cast::Cast;
use super::hearing::Said;
use super::peer::{Cause, State};

impl Cast {
    /// The hub says that it has dropped a client that was open, or will not send to it.
    pub(super) fn drop_for_slowness(&mut self, who: usize, more: usize) {
        let (now, config) = (self.now, &self.config);
        let is_plain = self.settings.is_plain;
        let peer = self.peers[who].as_mut().expect("it was asked for");
        let owed = peer.hearing.owed_at_most() + more;
        let owes_too_much = owed > config.max_client_buffer && (peer.is_behind || !is_plain);
        let since = |since: Instant, limit| now >= since + limit;
        let is_stuck = peer
            .stalled_since
            .is_some_and(|at| since(at, config.write_timeout));
        // A Ping that waits in the queue cannot be answered.
        let is_silent = !config.ping_interval.is_zero()
            && !peer.is_unread
            && peer.stalled_since.is_none()
            && peer
                .pinged_at
                .is_some_and(|at| since(at, config.pong_timeout));
        assert!(
            owes_too_much || is_stuck || is_silent,
            "an honest client was dropped: it owes {owed} at most and takes everything"
        );
        peer.dropped_for = Some((owes_too_much || is_stuck, is_silent));
        peer.state = State::Lingering;
        peer.gone_by = Some(now + config.close_timeout);
        peer.hearing.drop_as_slow();
    }

    /// Compares who is open with who should be.
    pub(crate) fn compare(&mut self, hub: &mut Hub) {
        for who in 0..self.peers.len() {
            let Some(peer) = self.peers[who].as_deref_mut() else {
                continue;
            };
            let is_open = hub.is_open(peer.id);
            match peer.state {
                State::Open if is_open => {}
                State::Open => {
                    if peer.is_wild {
                        peer.hearing.expect(Said::Anything);
                        peer.hearing.is_lost = true;
                        let cause = Cause("wild", None);
                        peer.begin_to_leave(State::Lingering, cause, &self.config, self.now);
                    } else {
                        self.drop_for_slowness(who, 0);
                    }
                }
                State::Handshake => self.compare_handshake(who, hub),
                State::Doomed => assert!(!is_open, "it is given up, and is open"),
                State::Closing | State::Lingering => {
                    assert!(!is_open, "it is leaving, and is open");
                    if hub.outgoing(peer.id).is_none() {
                        peer.check_end(&self.config, self.now);
                        peer.doom(Cause("gone", None));
                    }
                }
            }
        }
    }

    fn compare_handshake(&mut self, who: usize, hub: &mut Hub) {
        let (now, config) = (self.now, &self.config);
        let peer = self.peers[who].as_mut().expect("it was asked for");
        assert!(!hub.is_open(peer.id), "it is open, and has not asked");
        let is_late = now >= peer.accepted_at + config.handshake_timeout && !peer.is_unread;
        match hub.outgoing(peer.id) {
            Some(outgoing) if outgoing.is_empty() => {}
            Some(_) => {
                // What is no request may be refused at any time.
                assert!(is_late || peer.is_wild, "it is refused early");
                assert!(peer.read > 0, "it has asked nothing, and is answered");
                let said = if peer.is_wild {
                    Said::Anything
                } else {
                    Said::Response(408)
                };
                peer.hearing.expect(said);
                let cause = Cause("refused", Some(408));
                peer.begin_to_leave(State::Lingering, cause, config, now);
            }
            None => {
                assert!(is_late && peer.read == 0, "it is given up early");
                peer.doom(Cause("refused", Some(408)));
            }
        }
    }

    /// A drain that takes its time has closed whoever was still open.
    pub(super) fn close_who_is_due(&mut self) {
        if self.closes_at.take_if(|at| *at <= self.now).is_some() {
            let ids: Vec<_> = self.present().map(|peer| peer.id).collect();
            for id in ids {
                self.kick(id, 1012);
            }
        }
    }

    /// Whoever is silent may have been sent a Ping: one for each silence.
    pub(super) fn may_ping(&mut self) {
        let (now, config) = (self.now, &self.config);
        for peer in self
            .peers
            .iter_mut()
            .flatten()
            .filter(|peer| peer.is_open())
        {
            let is_silent = !config.ping_interval.is_zero() && now >= peer.ping_due(config);
            if is_silent && peer.pinged_for != Some(peer.life) {
                peer.pinged_for = Some(peer.life);
                peer.pings += 1;
            }
        }
    }

    /// Whoever is known to have something to say cannot be blamed for silence yet.
    pub(super) fn excuse(&mut self) {
        let now = self.now;
        for peer in self
            .peers
            .iter_mut()
            .flatten()
            .filter(|peer| peer.is_unread)
        {
            peer.excused_at = now;
        }
    }
}
