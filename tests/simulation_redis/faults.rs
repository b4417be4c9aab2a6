//! What goes wrong, and how it ends.

use std::time::Duration;

use super::ledger::MAX_LIVES;
use super::plan::{Fault, Keeps, Refusal, Way};
use super::redis::{Peer, Redis};
use super::stream::Stream;
use super::world::{Timer, World};

/// How long a kernel tries to send what does not arrive.
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// Milliseconds by which the clock of a Redis may be wrong without anybody missing anything.
const MAX_SKEW: i64 = 4000;

impl World {
    /// Something goes wrong, for so long.
    pub(super) fn fail(&mut self, fault: Fault, time: Duration) {
        self.tally.faults += 1;
        let until = self.now + time;
        match fault {
            Fault::Stop { node } => {
                let stopped = &mut self.nodes[node].stopped_until;
                *stopped = until.max(*stopped);
            }
            Fault::Dawdle { node, appetite } => {
                self.nodes[node].appetite = Some(appetite);
                self.timers.push((until, Timer::Hunger { node }));
            }
            Fault::Kill { node } => {
                let is_crowded = self.ledger.lives.len() + self.nodes.len() >= MAX_LIVES;
                if self.nodes[node].life.is_some() && !is_crowded {
                    self.die(node);
                    self.timers.push((until, Timer::Birth { node }));
                }
            }
            Fault::Slow { node, latency } => {
                self.nodes[node].slow = Some(Duration::from_millis(latency));
                self.timers.push((until, Timer::Quicken { node }));
            }
            Fault::Hole {
                node,
                way,
                is_narrow,
            } => self.dig(node, way, is_narrow, until),
            Fault::Cut { node, is_narrow } => {
                let mut conns = self.conns_of(node);
                if is_narrow {
                    conns.truncate(1);
                } else {
                    self.nodes[node].cut_until = until;
                }
                for id in conns {
                    self.reset(id);
                }
            }
            Fault::HangUp { node } => self.hang_up_on(node),
            Fault::Freeze => {
                let frozen = &mut self.servers[self.leader].frozen_until;
                *frozen = until.max(*frozen);
            }
            Fault::Crash { keeps, skew } => self.crash(keeps, skew, until),
            Fault::Failover {
                lost,
                stagger,
                is_split,
            } => self.fail_over(lost, Duration::from_millis(stagger), is_split),
            Fault::Demote => {
                let server = self.leader;
                self.servers[server].is_replica = true;
                self.timers.push((until, Timer::Promote { server }));
            }
            Fault::Refuse { what } => self.refuse(what, until),
            Fault::Trim { keep } => {
                self.is_trimmed = true;
                self.ledger.may_disorder = true;
                self.remove(|stream| stream.entries.len().saturating_sub(keep));
            }
            Fault::Delete => {
                // What is added again comes behind what was said since.
                self.ledger.may_disorder = true;
                self.remove(|stream| stream.entries.len());
                self.servers[self.leader].streams.clear();
            }
        }
    }

    /// Redis ends a server's connections.
    fn hang_up_on(&mut self, node: usize) {
        for id in self.conns_of(node) {
            let at = self.now + self.settings.latency;
            let conn = self.conns.get_mut(&id).expect("it is there");
            conn.is_dropped = true;
            conn.down.end(at);
        }
    }

    /// Redis refuses something from now on.
    fn refuse(&mut self, what: Refusal, until: Duration) {
        let server = self.leader;
        self.servers[server].refuses = Some(what);
        self.timers.push((until, Timer::Allow { server }));
        if what == Refusal::Password {
            self.reset_all(server);
        }
    }

    /// Something ends, or follows.
    pub(super) fn fire(&mut self, timer: Timer) {
        self.trace.note(self.now, format_args!("{timer:?}"));
        match timer {
            Timer::Hunger { node } => {
                self.nodes[node].appetite = None;
                if let Some(life) = &mut self.nodes[node].life {
                    life.deadline = Some(self.now);
                }
            }
            Timer::Birth { node } => self.be_born(node),
            Timer::Quicken { node } => self.nodes[node].slow = None,
            Timer::Tire { node } => {
                for id in self.conns_of(node) {
                    let now = self.now;
                    let conn = self.conns.get_mut(&id).expect("it is there");
                    if conn.up.len() > 0 && conn.opens.is_none() {
                        // Redis does not know of it.
                        conn.is_reset = true;
                        conn.up.lose();
                        conn.down.lose();
                        conn.down.release();
                        conn.down.end(now);
                    }
                }
            }
            Timer::Lead { node } => {
                self.nodes[node].lead = self.leader;
                let old = Peer::Redis(1 - self.leader);
                let conns = self.conns_of(node);
                for id in conns {
                    if self.conns[&id].to == old {
                        self.reset(id);
                    }
                }
            }
            Timer::Revive { server } => {
                if server == self.leader {
                    self.servers[server].is_down = false;
                }
            }
            Timer::Promote { server } => self.servers[server].is_replica = false,
            Timer::Allow { server } => self.servers[server].refuses = None,
            Timer::Retire { server } => {
                if server != self.leader {
                    self.retire(server);
                }
            }
        }
    }

    /// Everything that is wrong ends.
    pub(super) fn heal(&mut self) {
        self.trace.note(self.now, format_args!("everything heals"));
        self.timers.sort_by_key(|(at, _)| *at);
        for (_, timer) in std::mem::take(&mut self.timers) {
            if !matches!(timer, Timer::Tire { .. }) {
                self.fire(timer);
            }
        }
        for node in &mut self.nodes {
            node.stopped_until = node.stopped_until.min(self.now);
            node.holes = [Duration::ZERO; 2];
            node.cut_until = Duration::ZERO;
        }
        for conn in self.conns.values_mut() {
            conn.up.release();
            conn.down.release();
        }
        for server in &mut self.servers {
            server.frozen_until = Duration::ZERO;
        }
    }

    /// Whether a node's life has a connection, and the connections that it has.
    fn conns_of(&mut self, node: usize) -> Vec<usize> {
        let conns = self.conns.iter();
        let here = conns.filter(|(_, conn)| conn.node == node && !conn.has_left);
        let mut ids: Vec<usize> = here.map(|(id, _)| *id).collect();
        if ids.len() > 1 {
            let first = self.dice.below(ids.len());
            ids.rotate_left(first);
        }
        ids
    }

    fn dig(&mut self, node: usize, way: Way, is_narrow: bool, until: Duration) {
        let mut conns = self.conns_of(node);
        let ways = [way != Way::FromRedis, way != Way::ToRedis];
        if is_narrow {
            conns.truncate(1);
        } else {
            for (hole, is_dug) in self.nodes[node].holes.iter_mut().zip(ways) {
                if is_dug {
                    *hole = until.max(*hole);
                }
            }
        }
        for id in conns {
            let conn = self.conns.get_mut(&id).expect("it is there");
            for (pipe, is_dug) in [&mut conn.up, &mut conn.down].into_iter().zip(ways) {
                if is_dug {
                    pipe.hold(until);
                }
            }
        }
        let tired = self.now + USER_TIMEOUT;
        if ways[0] && tired < until {
            self.timers.push((tired, Timer::Tire { node }));
        }
    }

    fn reset_all(&mut self, server: usize) {
        let conns = self.conns.iter();
        let there = conns.filter(|(_, conn)| conn.to == Peer::Redis(server) && !conn.is_dropped);
        for id in there.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.reset(id);
        }
    }

    fn crash(&mut self, keeps: Keeps, skew: i64, until: Duration) {
        let server = self.leader;
        if self.servers[server].is_down {
            return;
        }
        self.reset_all(server);
        self.losses.push(self.now);
        self.is_skewed |= skew.abs() > MAX_SKEW;
        self.set_back(keeps != Keeps::All, self.servers[server].skew - skew);
        let redis = &mut self.servers[server];
        redis.is_down = true;
        redis.frozen_until = Duration::ZERO;
        redis.skew = skew;
        match keeps {
            Keeps::All => {}
            Keeps::AllBut(lost) => {
                for stream in redis.streams.values_mut() {
                    *stream = stream.without_last(lost);
                }
            }
            Keeps::Nothing => redis.streams.clear(),
        }
        self.timers.push((until, Timer::Revive { server }));
    }

    fn fail_over(&mut self, lost: usize, stagger: Duration, is_split: bool) {
        let (old, new) = (self.leader, 1 - self.leader);
        if !self.servers[new].is_down {
            return; // the last one is not over
        }
        self.set_back(lost > 0, self.servers[old].skew);
        let streams = self.servers[old].streams.iter();
        let streams = streams.map(|(key, stream)| (key.clone(), stream.without_last(lost)));
        self.servers[new] = Redis {
            streams: streams.collect(),
            ..Redis::default()
        };
        self.leader = new;
        let mut at = self.now;
        for node in 0..self.nodes.len() {
            self.timers.push((at, Timer::Lead { node }));
            at += stagger;
        }
        if is_split {
            self.timers.push((at, Timer::Retire { server: old }));
        } else {
            self.retire(old);
        }
    }

    /// The clock of whoever is the master is so many milliseconds behind that of the one before,
    /// which may have lost something.
    fn set_back(&mut self, has_lost: bool, millis: i64) {
        if has_lost && millis > 0 {
            let until = self.now + Duration::from_millis(millis.unsigned_abs());
            self.setbacks.push((self.now, until));
        }
    }

    /// A Redis is stopped for good.
    fn retire(&mut self, server: usize) {
        self.reset_all(server);
        self.losses.push(self.now);
        self.servers[server] = Redis {
            is_down: true,
            ..Redis::default()
        };
    }

    /// Removes so many of the first entries of each stream.
    fn remove(&mut self, count: impl Fn(&Stream) -> usize) {
        let mut removed = Vec::new();
        for stream in self.servers[self.leader].streams.values_mut() {
            removed.append(&mut stream.remove(count(stream)));
        }
        self.take_note_of_removed(&removed);
    }
}
