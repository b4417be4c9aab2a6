//! How worlds begin and end: with everybody hearing everybody.

use std::time::Duration;

use fanfare::backplane::Health;

use super::ledger::{Key, bit};
use super::plan::ROOMS;
use super::settings::Temper;
use super::world::World;

/// How soon everything works when nothing is wrong, at first and after the last fault.
const START: Duration = Duration::from_secs(3);
const HEALING: Duration = Duration::from_secs(10);

/// How soon what is said then is heard everywhere.
const HEARING: Duration = Duration::from_secs(1);

/// How soon it is counted what will not come: what others have said shows with their next
/// heartbeat, and may come late.
const PATIENCE: Duration = Duration::from_secs(16);

impl World {
    /// Everybody hears everybody, before anything goes wrong.
    pub(super) fn warm_up(&mut self) {
        self.run(START);
        self.expect_all_up("when nothing was wrong yet");
        self.say_everywhere(1);
        if self.settings.temper == Temper::Calm {
            for life in &mut self.ledger.lives {
                life.log.clear();
            }
        }
    }

    /// Everything heals, and then all of it is compared.
    pub(super) fn end(&mut self) {
        if self.settings.temper == Temper::Calm {
            self.run(HEARING);
            self.expect_one_order();
        }
        self.heal();
        self.run(HEALING);
        self.expect_all_up("ten seconds after the last fault");
        for life in &mut self.ledger.lives {
            life.log.clear();
        }
        self.say_everywhere(5);
        if !self.settings.is_local {
            self.expect_one_order();
        }
        self.run(PATIENCE);
        self.check_holdings();
        self.expect_nothing_held();
        self.compare();
    }

    fn expect_all_up(&self, when: &str) {
        for node in &self.nodes {
            let life = node.life.as_ref().expect("everybody lives");
            let health = life.backplane.health();
            assert_eq!(health, Health::Up, "I9: life {} {when}", life.who);
        }
    }

    /// Each node says something in each room so many times, and all hear it.
    fn say_everywhere(&mut self, times: usize) {
        // A small queue has no room for what is said on end, nor has a short stream.
        let is_narrow = self.settings.queue < 3000 || self.settings.is_narrow();
        let millis = if is_narrow { 60 } else { 2 };
        let pause = Duration::from_millis(millis);
        let mut said: Vec<Key> = Vec::new();
        for _ in 0..times {
            for node in &mut self.nodes {
                let life = node.life.as_mut().expect("everybody lives");
                let begin = self.ledger.lives[life.who].messages.len();
                let rooms = 0..ROOMS.len();
                said.extend(rooms.clone().map(|i| (life.who, begin + i)));
                life.to_say.extend(rooms.map(|room| (room, 10)));
            }
            self.run(pause);
        }
        self.run(HEARING);
        let lives = self.nodes.iter().flat_map(|node| &node.life);
        let all = lives.fold(0, |all, life| all | bit(life.who));
        for key in said {
            let message = self.ledger.message(key);
            let hearers = if message.number == 0 { bit(key.0) } else { all };
            assert_eq!(
                message.heard, hearers,
                "I9: {key:?} is not heard by all: {:b} {:b}",
                message.heard, hearers
            );
        }
    }

    /// All nodes have heard the same in the same order, on each shard.
    fn expect_one_order(&self) {
        if self.settings.is_local {
            return;
        }
        let shards = usize::from(self.settings.shards.unwrap_or(1));
        let lives = self.nodes.iter().flat_map(|node| &node.life);
        let lives: Vec<_> = lives.map(|life| &self.ledger.lives[life.who]).collect();
        let of_shard = |log: &[Key], shard| {
            let travels = |key: &&Key| {
                let message = &self.ledger.lives[key.0].messages[key.1];
                message.number > 0 && message.shard == shard
            };
            log.iter().filter(travels).copied().collect::<Vec<_>>()
        };
        for shard in 0..shards {
            let first = of_shard(&lives[0].log, shard);
            for life in &lives[1..] {
                let other = of_shard(&life.log, shard);
                let same = first.iter().zip(&other).take_while(|(a, b)| a == b);
                let at = same.count();
                assert!(
                    at == first.len() && at == other.len(),
                    "I4: nodes 0 and {} differ at {at}: {:?} and {:?}",
                    life.node,
                    first.get(at),
                    other.get(at),
                );
            }
        }
    }
}
