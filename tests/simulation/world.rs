//! The hub and what happens to it, step by step.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use fanfare::hub::MAX_SURPLUS;
use fanfare::{
    Broadcast, ClientId, CloseCode, Disconnect, Hub, HubConfig, MessageKind, Peer as At,
};

use super::app::App;
use super::cast::{Cast, Tally};
use super::hearing::Said;
use super::peer::{Cause, Peer, State};
use super::plan::{ALL, Plan, Settings, Step};
use super::runner::dice::Dice;
use super::runner::meter::Meter;
use super::speech::Speech;
use super::wire::{self, Ask};

/// How often the driver goes round, at most, while time passes.
const MAX_TURNS_PER_STEP: usize = 40;

/// How often it goes round until nothing is left to do.
const MAX_TURNS_TO_SETTLE: usize = 2000;

/// A hub, its driver, and everybody.
pub(crate) struct World {
    pub(super) hub: Hub,
    pub(super) meter: Meter,
    pub(super) app: App,
    /// What the hub holds when nobody is there.
    pub(super) base: usize,
    /// Who has something to say, as the driver knows.
    pub(super) ready: VecDeque<ClientId>,
    /// What somebody outside wants to say.
    pub(super) mail: VecDeque<(usize, usize)>,
    pub(super) mail_goes_first: bool,
    pub(super) most_present: usize,
}

fn config(settings: &Settings) -> HubConfig {
    let mut config = HubConfig::default();
    config.max_connections = settings.max_connections;
    config.max_rooms = settings.max_rooms;
    config.limits.max_message_size = settings.max_message_size;
    config.max_client_buffer = config.min_client_buffer() + settings.buffer;
    config.ping_interval = settings.ping_interval;
    config.pong_timeout = settings.pong_timeout;
    config.handshake_timeout = settings.handshake_timeout;
    config.write_timeout = settings.write_timeout;
    config.close_timeout = settings.close_timeout;
    config
}

/// Lets everything happen that is planned. Returns what happened, and a digest of it.
///
/// # Panics
/// If something happens that must not.
pub(crate) fn run(plan: &Plan) -> (Tally, u64) {
    let mut world = World::new(&plan.settings);
    for step in &plan.steps {
        world.step(*step);
    }
    world.end();
    (world.app.cast.tally, world.app.cast.trace)
}

impl World {
    fn new(settings: &Settings) -> Self {
        #[expect(clippy::disallowed_methods, reason = "only differences matter")]
        let now = Instant::now();
        let config = config(settings);
        let mut meter = Meter::default();
        let hub = {
            let config = config.clone();
            meter.count(|| Hub::new(config, now))
        };
        Self {
            hub,
            base: meter.live(),
            meter,
            app: App {
                cast: Cast::new(settings.clone(), config, now),
                broadcast: Broadcast::new(settings.echo),
            },
            ready: VecDeque::new(),
            mail: VecDeque::new(),
            mail_goes_first: false,
            most_present: 0,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.app.cast.now
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Come {
                who,
                ask,
                capacity,
                send,
            } => self.come(who, ask, capacity, send),
            Step::Say { who, what, send } => {
                self.app.cast.serial += 1;
                let serial = self.app.cast.serial;
                if let Some(peer) = self.somebody(who) {
                    peer.speech.say(what, serial);
                    peer.send(send);
                }
            }
            Step::Take { who, appetite } => {
                if let Some(peer) = self.somebody(who) {
                    peer.set_appetite(appetite);
                }
            }
            Step::Manners { who, pongs, ends } => {
                if let Some(peer) = self.somebody(who) {
                    peer.set_manners(pongs, ends);
                }
            }
            Step::Leave { who, how } => {
                if let Some(peer) = self.somebody(who) {
                    peer.leave(how);
                }
            }
            Step::Publish { room, len } => self.mail.push_back((room, len)),
            Step::Turn { read, write } => self.turn(read, write),
            Step::Pass { millis } => self.pass(Duration::from_millis(millis)),
            Step::Stall { millis } => {
                self.app.cast.now += Duration::from_millis(millis);
                self.turn(ALL, ALL);
            }
            Step::Stale { which, late } => self.stale(which, late),
            Step::Noise { who, what } => self.noise(who, what),
            Step::Drain { millis } => self.drain(Duration::from_millis(millis)),
        }
    }

    /// Somebody, who comes now if they are not there.
    fn somebody(&mut self, who: usize) -> Option<&mut Peer> {
        if self.app.cast.peer(who).is_none() {
            let settings = &self.app.cast.settings;
            let capacity = settings.capacities.get(who).copied();
            let room = who % settings.max_rooms.min(2);
            self.come(who, Ask::Upgrade(room), capacity.unwrap_or(ALL), ALL);
        }
        self.app.cast.peer(who)
    }

    fn come(&mut self, who: usize, ask: Ask, capacity: usize, send: usize) {
        let (now, cast) = (self.now(), &mut self.app.cast);
        if cast.peers.get(who).is_none_or(Option::is_some) {
            return;
        }
        let (present, config) = (cast.count(), &cast.config);
        let is_full = present >= config.max_connections + MAX_SURPLUS;
        let is_surplus = present >= config.max_connections;
        let hub = &mut self.hub;
        let Ok(id) = self.meter.count(|| hub.accept(At::Unix, now)) else {
            assert!(is_full || cast.is_draining, "there is room");
            return;
        };
        assert!(!is_full && !cast.is_draining, "there is no room");
        assert!(
            !cast.who_is.contains_key(&id) && !cast.gone.contains(&id),
            "an id twice"
        );
        let limits = config.limits;
        cast.serial += 1;
        let speech = Speech::new(
            cast.serial as u64,
            limits.max_message_size,
            limits.max_fragments(),
        );
        let mut peer = Box::new(Peer::new(id, speech, capacity, now));
        peer.is_surplus = is_surplus;
        peer.speech.ask(ask);
        peer.send(send);
        cast.peers[who] = Some(peer);
        cast.who_is.insert(id, who);
        cast.tally.clients += 1;
        self.most_present = self.most_present.max(present + 1);
    }

    /// Time passes; whenever the hub wants to be looked at, the driver goes round.
    fn pass(&mut self, duration: Duration) {
        let target = self.now() + duration;
        for _ in 0..MAX_TURNS_PER_STEP {
            match self.hub.next_deadline() {
                Some(next) if next < target => {
                    self.app.cast.now = next.max(self.now());
                    self.turn(ALL, ALL);
                }
                _ => break,
            }
        }
        self.app.cast.now = target;
        self.turn(ALL, ALL);
    }

    /// Everything that a driver or a handler may say of one who has left.
    fn stale(&mut self, which: usize, late: u64) {
        let (now, gone) = (self.now(), &self.app.cast.gone);
        if gone.is_empty() {
            return;
        }
        let id = gone[which % gone.len()];
        self.app.cast.tally.stale += 1;
        let mut dice = Dice::new(late);
        let mut bytes = Vec::new();
        wire::frame(wire::FIN | wire::TEXT, b"b0.late", 7, &mut bytes);
        let Self {
            hub, app, meter, ..
        } = self;
        for _ in 0..4 {
            meter.count(|| match dice.below(9) {
                0 => hub.receive(id, &mut bytes, now, app),
                1 => hub.hang_up(id, Disconnect::Gone),
                2 => hub.hang_up(id, Disconnect::Reset),
                3 => hub.readable(id, true),
                4 => hub.writable(id),
                5 => hub.output_failed(id, now),
                6 => assert!(!hub.flushed(id, 5, true, now)),
                7 => hub.outbox(now).close(id, CloseCode::NORMAL, ""),
                _ => {
                    let mut outbox = hub.outbox(now);
                    assert!(!outbox.send(id, MessageKind::Text, b"late"));
                    assert_eq!(outbox.room(id), None);
                }
            });
        }
        assert!(!hub.is_open(id) && hub.outgoing(id).is_none() && hub.peer(id).is_none());
        app.cast.compare(hub);
    }

    /// What the driver need not have said.
    fn noise(&mut self, who: usize, what: usize) {
        let now = self.now();
        let Self {
            hub, app, meter, ..
        } = self;
        let Some(peer) = app.cast.peer(who) else {
            return;
        };
        let id = peer.id;
        match what {
            0 => {
                peer.is_blocked = false;
                meter.count(|| hub.writable(id));
            }
            1 => {
                peer.is_unread = false;
                hub.readable(id, false);
            }
            2 => {
                // Told again when there is something, or when it is found that there is nothing.
                peer.is_unread = true;
                hub.readable(id, true);
                if !peer.is_ready && !peer.input_has_ended {
                    peer.is_ready = true;
                    self.ready.push_back(id);
                }
            }
            3 => {
                peer.is_unread = false;
                meter.count(|| hub.receive(id, &mut [], now, app));
            }
            _ => {
                meter.count(|| hub.advance(now));
                app.cast.may_ping();
                app.cast.excuse();
            }
        }
        app.cast.compare(hub);
    }

    /// The end begins. If it takes its time, the driver goes round when that is over: then all who
    /// are still open are closed, before any deadline fires.
    fn drain(&mut self, over: Duration) {
        let now = self.now();
        let Self {
            hub, app, meter, ..
        } = self;
        meter.count(|| hub.drain(now, over));
        let cast = &mut app.cast;
        cast.is_draining = true;
        for who in 0..cast.peers.len() {
            let config = cast.config.clone();
            let Some(peer) = cast.peer(who) else { continue };
            let (id, refused) = (peer.id, Cause("refused", Some(503)));
            match peer.state {
                State::Handshake if peer.read == 0 => peer.doom(refused),
                State::Handshake => {
                    peer.hearing.expect(Said::Response(503));
                    peer.begin_to_leave(State::Lingering, refused, &config, now);
                }
                State::Open if over.is_zero() => cast.kick(id, 1001),
                _ => {}
            }
        }
        cast.compare(hub);
        cast.closes_at = (!over.is_zero()).then(|| now + over);
        if !over.is_zero() {
            self.app.cast.now += over;
            self.turn(ALL, ALL);
        }
    }

    /// Everybody takes everything, and hears everything; then everybody goes.
    fn end(&mut self) {
        for peer in self.app.cast.peers.iter_mut().flatten() {
            peer.set_manners(true, true);
            peer.set_appetite(ALL);
            peer.widen();
            peer.send(ALL);
        }
        self.settle();
        let cast = &self.app.cast;
        for peer in cast.present().filter(|peer| peer.is_open()) {
            assert!(peer.hearing.is_complete(), "{}", peer.hearing.missing());
        }
        self.drain(Duration::ZERO);
        let config = &self.app.cast.config;
        let end = self.now()
            + config.close_timeout * 2
            + config.write_timeout
            + Duration::from_millis(500);
        self.settle();
        while !self.hub.is_empty() {
            let next = self
                .hub
                .next_deadline()
                .expect("whoever is there is due some time");
            assert!(next <= end, "somebody stays");
            self.app.cast.now = next.max(self.now());
            self.settle();
        }
        self.check_end();
    }

    fn settle(&mut self) {
        for _ in 0..MAX_TURNS_TO_SETTLE {
            self.turn(ALL, ALL);
            let is_quiet = !self.hub.has_work() && self.ready.is_empty() && self.mail.is_empty();
            let has_more = |peer: &Peer| !peer.input.is_empty() || peer.has_news();
            if is_quiet && !self.app.cast.present().any(has_more) {
                return;
            }
        }
        panic!("there is no end of turns");
    }

    fn check_end(&mut self) {
        // What was said when the last one left was said to nobody.
        self.app.cast.end_turn();
        let cast = &self.app.cast;
        assert_eq!(
            (cast.count(), self.hub.room_count(), cast.shared.get()),
            (0, 0, 0)
        );
        cast.check_totals(self.hub.metrics());
        assert_eq!(cast.tally.causes.values().sum::<u64>(), cast.tally.clients);
        self.check_memory();
    }
}
