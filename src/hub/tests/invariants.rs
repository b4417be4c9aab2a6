//! What is counted on the way is what a count of everybody comes to, whatever the settings are and
//! whenever they change.

use std::collections::HashMap;

use super::*;
use crate::hub::client::AddressState;

impl Hub {
    /// Who is behind is counted in the periods in which it is looked: among all, and in its room.
    fn check_congestion(&self) {
        let behind = |room: Option<usize>| {
            let place = |client: &Client| client.room.map(|(id, _)| id.index() as usize);
            let clients = self.clients.iter().map(|(_, client)| client);
            let clients = clients.filter(move |client| room.is_none() || place(client) == room);
            clients.filter_map(|client| client.behind)
        };
        self.congestion.check(behind(None));
        for (place, room) in self.rooms.iter() {
            room.pace.behind.check(behind(Some(place)));
        }
    }

    /// Compares the counters with the clients that there are.
    fn check_counters(&self) {
        let clients = || self.clients.iter().map(|(_, client)| client);
        let half_open = clients().filter(|client| client.is_half_open()).count();
        assert_eq!(self.handshakes.len(), half_open);
        let admins = clients().filter(|client| client.is_admin).count();
        assert_eq!(self.admin_count, admins);
        let told = |client: &&Client| client.surplus == Some(HandshakeError::TooManyFromAddress);
        assert_eq!(self.addresses.told(), clients().filter(told).count());
        self.check_congestion();
        let mut counts = HashMap::new();
        for client in clients().filter(|client| client.address == AddressState::Counted) {
            if let Peer::Inet(address) = client.peer {
                let (_, count) = counts.entry(address.ip()).or_insert((client.peer, 0));
                *count += 1;
            }
        }
        assert_eq!(self.addresses.len(), counts.len());
        for (peer, count) in counts.into_values() {
            assert!(
                self.addresses.is_full(peer, count) && !self.addresses.is_full(peer, count + 1)
            );
        }
        let Some(total) = self.total_owed() else {
            return;
        };
        // Without the splices, which no account knows before they are sealed.
        let mut shared: Vec<_> = clients()
            .flat_map(|client| client.outgoing.shared())
            .collect();
        shared.sort_unstable();
        shared.dedup();
        let shared: usize = shared.iter().map(|(_, len)| len).sum();
        let own: usize = clients()
            .filter(|client| !client.is_admin)
            .map(|client| client.outgoing.own())
            .sum();
        assert_eq!(total, shared + own);
    }
}

/// Numbers that look like chance, the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn limit(&mut self, end: usize) -> Option<usize> {
        (!self.one_in(3)).then(|| 1 + self.below(end))
    }

    fn peer(&mut self) -> Peer {
        match self.below(6) {
            0 => Peer::Unix,
            last => Peer::Inet(format!("192.0.2.{last}:80").parse().unwrap()),
        }
    }

    fn rate(&mut self) -> Option<Rate> {
        self.one_in(2).then(|| Rate {
            per_second: 1 + self.below(1000) as u64,
            burst: 1 + self.below(100_000) as u64,
        })
    }

    fn config(&mut self) -> HubConfig {
        let mut config = HubConfig::default();
        config.limits.max_message_size = 1 + self.below(100_000);
        config.slow_policy =
            [SlowPolicy::Close, SlowPolicy::Drop, SlowPolicy::Latest][self.below(3)];
        config.max_client_buffer = config.min_client_buffer() + self.below(100_000);
        let more = self.below(50_000);
        config.max_total_buffer = self.one_in(2).then_some(config.max_client_buffer + more);
        config.max_connections = 1 + self.below(40);
        config.max_rooms = 1 + self.below(3);
        config.max_connections_per_ip = self.limit(4);
        config.max_handshakes = self.limit(6);
        config.max_room_members = self.limit(10);
        config.message_rate = self.rate();
        config.byte_rate = self.rate();
        config.ping_interval = seconds(11 * self.below(3) as u64);
        config.write_timeout = seconds(1 + self.below(20) as u64);
        if self.one_in(2) {
            config.trusted_proxies = vec!["192.0.2.1".parse().unwrap(), TrustedProxy::Unix];
            config.proxy_protocol = self.one_in(2);
        }
        config
    }
}

fn live(seed: u64, steps: usize) {
    let mut chance = Chance(seed);
    let first = chance.config();
    let mut world = World::new(|config| *config = first);
    world.handler.farewell = chance.one_in(2).then_some("farewell");
    world.handler.no_echo = chance.one_in(2);
    let mut ids: Vec<ClientId> = Vec::new();
    let mut sent = 0;
    for _ in 0..steps {
        let who = (!ids.is_empty()).then(|| ids[chance.below(ids.len())]);
        match (chance.below(24), who) {
            (0..=3, _) => ids.extend(world.hub.accept(chance.peer(), world.now)),
            (4, _) => ids.extend(world.hub.accept_admin(chance.peer(), world.now)),
            (5, Some(id)) => world.receive(id, b"PROXY TCP4 192.0.2.9 192.0.2.8 1 2\r\n"),
            (6..=9, Some(id)) => {
                let room = chance.below(4);
                let from = format!("X-Forwarded-For: 192.0.2.{}\r\n", chance.below(9));
                world.request_with(id, &format!("/ws/{room}"), &from);
            }
            (10, Some(id)) => world.receive(id, b"GET /clients HTTP/1.1\r\nHost: a\r\n\r\n"),
            (11 | 12, Some(id)) => {
                let what = ["whisper", "leave", "a"][chance.below(3)];
                world.receive(id, &text(what));
            }
            (13 | 14, Some(id)) => {
                let message = frame(0x82, &vec![0; chance.below(90_000)]);
                world.land(id, &message);
            }
            (15, Some(id)) => world.receive(id, &frame(0x89, b"ping")),
            (16, Some(id)) => world.hub.hang_up(id, Disconnect::Gone),
            (17, Some(id)) => match chance.below(3) {
                0 => world.hub.output_failed(id, world.now),
                1 => world
                    .hub
                    .refuse_silently(id, HandshakeError::Tls, world.now),
                _ => world.receive(id, b"GET /"),
            },
            (18, _) => {
                let config = chance.config();
                world.hub.reconfigure(config, world.now).unwrap();
            }
            (19, _) => {
                let duration = Duration::from_millis(chance.below(9000) as u64);
                world.pass(duration);
            }
            (20, Some(id)) => world.hub.writable(id),
            (21, Some(id)) => {
                let (now, handler) = (world.now, &mut world.handler);
                let _ = world.hub.resume(id, now, handler);
            }
            (22, _) if chance.one_in(40) => {
                let over = seconds(chance.below(3) as u64);
                world.hub.drain(world.now, over);
            }
            _ => {
                let stuck: Vec<_> = ids.iter().copied().filter(|_| chance.one_in(2)).collect();
                world.flush(&stuck);
                world.reap();
            }
        }
        world.hub.check_counters();
        let metrics = world.hub.metrics();
        assert!(metrics.messages_sent >= sent, "a counter went back");
        sent = metrics.messages_sent;
    }
    end(&mut world);
}

/// Everybody goes, and nothing is left.
fn end(world: &mut World) {
    world.hub.drain(world.now, Duration::ZERO);
    for _ in 0..200 {
        world.pass(seconds(3));
        world.flush(&[]);
        world.reap();
        world.hub.check_counters();
    }
    assert_eq!((world.hub.len(), world.hub.addresses.len()), (0, 0));
    assert_eq!(world.hub.total_owed().unwrap_or_default(), 0);
    assert!(!world.hub.has_work());
}

#[test]
#[cfg_attr(miri, ignore = "so many steps take minutes there")]
fn counters_hold_whatever_happens_and_however_the_settings_change() {
    for seed in 0..100 {
        live(seed, 500);
    }
}
