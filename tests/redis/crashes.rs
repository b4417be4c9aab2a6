//! Redis is not there, dies, and comes back with nothing or with everything.

use std::time::Duration;

use crate::ledger::MAX_SILENCE;
use crate::outcome::Outcome;
use crate::pass;
use crate::server::{Keeps, RedisServer};
use crate::stage::{Mode, Plan, Stage, in_both_modes};

/// How soon servers are joined again when Redis is back: the longest back-off, and the gate.
const MAX_JOINING: Duration = Duration::from_millis(2500);

/// At most a few messages in Pub/Sub, all counted; none in a stream.
pub(crate) fn check_loss(stage: &mut Stage) -> Outcome {
    let outcome = stage.stream_loses_nothing();
    let lost = outcome.lost();
    let most = outcome.most_lost_by_a_crash();
    assert!(lost <= most, "{lost} lost, and not {most} at most");
    outcome
}

/// 2,000 messages a second, and Redis away for two seconds.
fn kill_and_restart(keeps: Keeps) {
    in_both_modes(|mode| {
        let pace = Duration::from_millis(1);
        let mut stage = Stage::start(Plan {
            keeps,
            pace,
            ..Plan::new(mode)
        });
        stage.redis.kill();
        pass(Duration::from_secs(2));
        stage.redis.restart();
        pass(Duration::from_secs(1));
        check_loss(&mut stage);
    });
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn killed_and_restarted_without_aof() {
    kill_and_restart(Keeps::Nothing);
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn killed_and_restarted_with_aof() {
    kill_and_restart(Keeps::Everything);
}

/// Nothing is left behind by a connection that is lost: no descriptor, no memory.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn killed_twenty_times() {
    const GROWTH: u64 = 16 * 1024 * 1024;

    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        let before: Vec<(usize, u64)> = figures(&stage);
        for _ in 0..20 {
            stage.redis.kill();
            for node in &stage.nodes {
                node.wait_until_down(Duration::from_secs(5));
            }
            stage.redis.restart();
            stage.wait_until_well();
        }
        for (node, (descriptors, memory)) in stage.nodes.iter().zip(before) {
            node.process.wait_for_descriptors(descriptors);
            let after = node.process.memory("VmRSS:");
            assert!(after < memory + GROWTH, "from {memory} to {after} bytes");
        }
        let outcome = stage.stream_loses_nothing();
        let lost = outcome.lost();
        assert!(lost <= 20 * outcome.most_lost_by_a_crash(), "{lost} lost");
    });
}

/// Descriptors and resident memory of each server.
fn figures(stage: &Stage) -> Vec<(usize, u64)> {
    let nodes = stage.nodes.iter();
    nodes
        .map(|node| {
            let process = &node.process;
            (process.descriptors(), process.memory("VmRSS:"))
        })
        .collect()
}

/// Servers that start without Redis serve their own clients at once, and join when it comes.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn absent_at_the_start() {
    in_both_modes(|mode| {
        let redis = RedisServer::reserve(Keeps::Nothing, &[]);
        let mut stage = Stage::set_up(Plan::new(mode), redis);
        for node in 0..stage.nodes.len() {
            assert_eq!(stage.nodes[node].get("/readyz").0, 503);
            assert_eq!(stage.nodes[node].get("/healthz").0, 200);
            // Who listens is there before anything is said.
            let client = stage.join(node, false);
            client.ping(MAX_SILENCE);
            stage.join(node, true);
        }
        pass(Duration::from_secs(2));
        stage.redis.restart();
        for node in &stage.nodes {
            let took = node.wait_until_joined();
            println!("{}: joined after {took:.1?}", mode.name());
            assert!(took < MAX_JOINING, "joined after {took:?}");
        }
        stage.wait_until_well();
        stage.wait_until_heard(10);
        // Nobody owes them what was said before they had joined.
        let speakers: Vec<_> = stage.places.iter().map(|p| p.client.speaker).collect();
        for place in &mut stage.places {
            let first = place.client.read(|log| {
                let own = speakers[2 * place.node + 1];
                let mut heard = log.heard.iter().filter(|heard| heard.speaker == own);
                heard.next().map(|heard| heard.number)
            });
            assert_eq!(first, Some(0), "of its own server it hears everything");
            place.is_newcomer = true;
        }
        stage.finish().own_clients_are_content();
    });
}

/// What Redis acknowledged while a server was away is gone when that comes back: only its sender
/// has it still.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn killed_while_a_server_is_cut_off() {
    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        stage.proxies[1].cut();
        pass(Duration::from_millis(1500));
        stage.redis.kill();
        pass(Duration::from_millis(500));
        stage.redis.restart();
        pass(Duration::from_millis(1500));
        stage.proxies[1].mend();
        let outcome = stage.stream_loses_nothing();
        // Or the test shows nothing: Pub/Sub cannot but lose them.
        assert_eq!(outcome.lost_at(1) > 100, mode == Mode::PubSub);
    });
}
