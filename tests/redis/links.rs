//! The way to Redis is cut, swallows everything, or is slow: for one server, the other, or both.

use std::time::{Duration, Instant};

use crate::crashes::check_loss;
use crate::pass;
use crate::probe::Probe;
use crate::proxy::{Proxy, Way};
use crate::stage::{Mode, Plan, Stage, in_both_modes};

/// Does something to the ways of these servers, for a time.
fn harm(mode: Mode, nodes: &[usize], harm: fn(&Proxy), time: Duration) -> Stage {
    let stage = Stage::new(mode);
    for &node in nodes {
        harm(&stage.proxies[node]);
    }
    pass(time);
    for &node in nodes {
        stage.proxies[node].mend();
    }
    stage
}

/// Both are cut off at almost the same time, so both keep what they have to say.
const CUT: Duration = Duration::from_secs(3);

/// What is said in the moment between two cuts, or between two reconnections, is lost in Pub/Sub.
const MOMENT: usize = 40;

/// Whoever is cut off misses what the others say, in Pub/Sub; what it says itself comes late.
fn cut_off(node: usize) {
    in_both_modes(|mode| {
        let mut stage = harm(mode, &[node], Proxy::cut, CUT);
        let outcome = stage.stream_loses_nothing();
        let missed = outcome.lost_at(node);
        assert_eq!(missed > 100, mode == Mode::PubSub, "{missed} missed");
        assert_eq!(outcome.lost_at(1 - node), 0, "what it said meanwhile");
    });
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn link_of_one_reset() {
    cut_off(0);
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn link_of_the_other_reset() {
    cut_off(1);
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn links_of_both_reset() {
    in_both_modes(|mode| {
        let mut stage = harm(mode, &[0, 1], Proxy::cut, CUT);
        let outcome = stage.stream_loses_nothing();
        let lost = outcome.lost();
        assert!(lost <= MOMENT, "{lost} lost");
    });
}

/// A connection that is lost and made again at once.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn links_reset_again_and_again() {
    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        for round in 0..6 {
            stage.proxies[round % 2].reset();
            pass(Duration::from_millis(700));
        }
        stage.stream_loses_nothing();
    });
}

/// Nobody loses anything in a hole: the old connection is kept until the new one has taken over.
fn swallowed(nodes: &'static [usize], way: fn(&Proxy)) {
    in_both_modes(|mode| {
        let mut stage = harm(mode, nodes, way, Duration::from_secs(5));
        stage.nothing_was_lost();
    });
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn link_of_one_swallows_everything() {
    swallowed(&[0], |proxy| proxy.both_ways(Way::Hole));
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn link_of_the_other_swallows_everything() {
    swallowed(&[1], |proxy| proxy.both_ways(Way::Hole));
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn links_of_both_swallow_everything() {
    swallowed(&[0, 1], |proxy| proxy.both_ways(Way::Hole));
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn nothing_goes_to_redis() {
    swallowed(&[1], |proxy| proxy.upwards(Way::Hole));
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn nothing_comes_from_redis() {
    swallowed(&[1], |proxy| proxy.downwards(Way::Hole));
}

/// The loop turns while a new connection is made, again and again, and nobody answers.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn loop_turns_while_nothing_is_answered() {
    in_both_modes(|mode| {
        let stage = Stage::new(mode);
        let probe = Probe::start(&stage.nodes[0]);
        stage.proxies[0].both_ways(Way::Hole);
        pass(Duration::from_secs(3));
        stage.proxies[0].cut();
        pass(Duration::from_secs(2));
        stage.proxies[0].mend();
        stage.wait_until_well();
        probe.check();
    });
}

/// How often the health of a server changes over a time.
fn transitions(stage: &Stage, time: Duration) -> usize {
    let begun = Instant::now();
    let (mut changes, mut last) = (0, true);
    while begun.elapsed() < time {
        let is_well = stage.nodes[0].is_well();
        changes += usize::from(is_well != last);
        last = is_well;
        pass(Duration::from_millis(20));
    }
    changes
}

/// What is slow and steady is no reason to change one's mind all the time.
fn slow(pace: Duration, way: Way) {
    in_both_modes(|mode| {
        let mut stage = Stage::start(Plan {
            pace,
            ..Plan::new(mode)
        });
        for proxy in &stage.proxies {
            proxy.both_ways(way);
        }
        let changes = transitions(&stage, Duration::from_secs(5));
        assert!(changes <= 2, "{changes} changes of health");
        for proxy in &stage.proxies {
            proxy.mend();
        }
        stage.nothing_was_lost();
    });
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn far_away() {
    slow(
        Duration::from_millis(5),
        Way::Delay(Duration::from_millis(50)),
    );
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn very_far_away() {
    slow(
        Duration::from_millis(5),
        Way::Delay(Duration::from_millis(200)),
    );
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn narrow_way() {
    slow(Duration::from_millis(100), Way::Rate(8 * 1024));
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn byte_by_byte() {
    slow(Duration::from_millis(10), Way::ByteByByte);
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn subscribers_killed() {
    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        for kind in ["pubsub", "normal", "pubsub"] {
            let killed = stage.redis.tell(&format!("CLIENT KILL TYPE {kind}"));
            println!("{}: {} clients killed", mode.name(), killed.text());
            pass(Duration::from_secs(1));
        }
        let outcome = stage.stream_loses_nothing();
        let lost = outcome.lost();
        assert!(lost < 10 * MOMENT, "{lost} lost");
    });
}

/// Redis says that there is nobody when it is restarted behind a way that stands.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn restarted_at_another_address() {
    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        let other = crate::server::RedisServer::start(crate::server::Keeps::Nothing);
        stage.redis.kill();
        for proxy in &stage.proxies {
            proxy.point_to(other.address());
        }
        pass(Duration::from_secs(1));
        check_loss(&mut stage);
    });
}
