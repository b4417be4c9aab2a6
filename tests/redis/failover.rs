//! Another Redis becomes the master, or this one is none any more.

use std::time::Duration;

use crate::eventually;
use crate::pass;
use crate::proxy::{Proxy, Way};
use crate::server::{Keeps, RedisServer, Sentinel};
use crate::stage::{Mode, Plan, Stage, in_both_modes};

/// How soon a server notices that its Redis is no master any more: two heartbeats.
const NOTICING: Duration = Duration::from_secs(12);

/// How soon a server asks the sentinels that hears nobody any more, and is heard where they send
/// it: the time that others may be silent, two rounds of questions as one name is listed, the gate,
/// and a heartbeat.
const ASKING: Duration = Duration::from_secs(50);

/// A master is lost whose replica lags behind: what it had acknowledged and not passed on is gone,
/// and one of the servers had not read it. Each of three publishers says it again.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn failover_to_a_replica_that_lags() {
    in_both_modes(|mode| {
        let mut stage = Stage::start(Plan {
            nodes: 3,
            ..Plan::new(mode)
        });
        let replica = RedisServer::start(Keeps::Nothing);
        let replication = Proxy::start(stage.redis.address());
        replica.follow(replication.address.port());
        pass(Duration::from_millis(300));
        // 1. The replica gets nothing any more, and one server neither.
        replication.both_ways(Way::Hole);
        stage.proxies[2].cut();
        pass(Duration::from_millis(1500));
        // 2. The master dies, the replica takes over.
        stage.redis.kill();
        replica.tell("REPLICAOF NO ONE");
        for proxy in &stage.proxies {
            proxy.point_to(replica.address());
        }
        pass(Duration::from_millis(500));
        stage.proxies[2].mend();
        let outcome = stage.stream_loses_nothing();
        // Or the test shows nothing.
        assert_eq!(outcome.lost_at(2) > 100, mode == Mode::PubSub);
    });
}

/// The same with servers that have read everything.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn failover_with_servers_up_to_date() {
    in_both_modes(|mode| {
        let mut stage = Stage::start(Plan {
            nodes: 3,
            ..Plan::new(mode)
        });
        let replica = RedisServer::start(Keeps::Nothing);
        let replication = Proxy::start(stage.redis.address());
        replica.follow(replication.address.port());
        replication.both_ways(Way::Hole);
        pass(Duration::from_millis(1500));
        stage.redis.kill();
        replica.tell("REPLICAOF NO ONE");
        for proxy in &stage.proxies {
            proxy.point_to(replica.address());
        }
        pass(Duration::from_millis(500));
        crate::crashes::check_loss(&mut stage);
    });
}

/// Sentinels are asked where the master is, and again when it is lost.
#[test]
#[ignore = "needs redis-sentinel: run by ./test redis"]
fn failover_by_a_sentinel() {
    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        let replica = RedisServer::start(Keeps::Nothing);
        replica.follow(redis.port);
        let sentinel = Sentinel::start(&redis, 1);
        // The first one does not exist.
        let dead = crate::server::free_port();
        let url = format!(
            "redis+sentinel://127.0.0.1:{dead},127.0.0.1:{}/main",
            sentinel.port
        );
        let plan = Plan {
            url: Some(url),
            ..Plan::new(mode)
        };
        let mut stage = Stage::set_up(plan, redis);
        stage.wait_until_well();
        stage.gather();
        stage.redis.kill();
        sentinel.wait_for_master(replica.port);
        pass(Duration::from_secs(1));
        crate::crashes::check_loss(&mut stage);
        assert!(replica.info("connected_clients").parse::<usize>().unwrap() > 2);
    });
}

/// Sentinels have found another master, and the old one thinks that it is one still: a server that
/// stays with it hears nobody any more, and asks.
#[test]
#[ignore = "needs redis-sentinel: run by ./test redis"]
fn master_cut_off_with_a_server() {
    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        let other = RedisServer::start(Keeps::Nothing);
        let sentinel = Sentinel::start(&redis, 0);
        let plan = Plan {
            url: Some(format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port)),
            ..Plan::new(mode)
        };
        let mut stage = Stage::set_up(plan, redis);
        stage.wait_until_well();
        stage.gather();
        sentinel.watch(&other);
        stage.kill_node(1);
        stage.replace_node(1);
        stage.wait_until_well();
        let peers = |node: usize| stage.nodes[node].metric("fanfare_redis_peers");
        assert_eq!(peers(1), 0, "they are at two masters");
        eventually("they hear each other", ASKING, || {
            peers(0) == 1 && peers(1) == 1
        });
        let left = "fanfare_redis_reconnects_total{reason=\"role\"}";
        assert!(stage.nodes[0].metric(left) > 0);
        stage.join(1, true);
        stage.join(1, false);
        stage.finish().own_clients_are_content();
    });
}

/// A replica takes what is published and passes it on to nobody: it is no Redis for us.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn replica_as_target() {
    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        let master = RedisServer::start(Keeps::Nothing);
        redis.follow(master.port);
        let mut stage = Stage::set_up(Plan::new(mode), redis);
        let clients = [stage.join(0, false), stage.join(0, false)];
        stage.nodes[0].process.line("not the master");
        assert_eq!(stage.nodes[0].get("/readyz").0, 503);
        clients[0].say(0, 64);
        eventually(
            "the own clients hear each other",
            Duration::from_secs(2),
            || clients[1].last_of(clients[0].speaker) == Some(0),
        );
        let load = stage.nodes[0].load(Duration::from_secs(2));
        assert!(load < 0.02, "{load} of a core while there is nothing to do");
        // Until it is one.
        stage.redis.tell("REPLICAOF NO ONE");
        stage.wait_until_well();
        stage.gather();
        stage.finish().own_clients_are_content();
    });
}

/// A master that becomes a replica while servers are connected to it, and another server that
/// follows the new master: nobody may think that all is well.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn master_demoted() {
    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        let other = RedisServer::start(Keeps::Nothing);
        stage
            .redis
            .tell(&format!("REPLICAOF 127.0.0.1 {}", other.port));
        stage.proxies[1].point_to(other.address());
        stage.proxies[1].reset();
        stage.nodes[0].wait_until_unwell(NOTICING);
        stage.proxies[0].point_to(other.address());
        stage.proxies[0].reset();
        stage.stream_loses_nothing();
    });
}

/// It is a master again: nothing needs to be told to anybody.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn master_demoted_for_a_while() {
    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        let other = RedisServer::start(Keeps::Nothing);
        stage
            .redis
            .tell(&format!("REPLICAOF 127.0.0.1 {}", other.port));
        for node in &stage.nodes {
            node.wait_until_unwell(NOTICING);
        }
        stage.redis.tell("REPLICAOF NO ONE");
        stage.stream_loses_nothing();
    });
}
