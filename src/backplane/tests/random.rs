//! Faults at random: whatever happens, nothing is heard twice or out of order, clients hear their
//! own server in time, and what is lost is counted.

use super::*;
use crate::backplane::backoff::Random;

/// Seeds that are tried: `BACKPLANE_SEEDS` says how many, eight if nobody does.
fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("BACKPLANE_SEEDS");
    0..count.map_or(8, |count| count.parse().expect("a number of seeds"))
}

/// One thing that goes wrong, or right again.
fn disturb(world: &mut World, random: &mut Random, log: &mut Vec<String>) {
    let node = usize::try_from(random.next() % world.nodes.len() as u64).unwrap();
    let what = random.next() % 12;
    log.push(format!("{} what={what} node={node}", world.ms));
    match what {
        0 => world.kill(),
        1 | 2 => world.start(),
        3 => world.redises[0].is_frozen = world.redises[0].is_running,
        4 => world.redises[0].is_frozen = false,
        5 => world.hole(node, true),
        6 => world.hole(node, false),
        7 => {
            // Those that stand alone.
            for wire in world.nodes[node].all_wires() {
                wire.is_holed = true;
            }
        }
        8 => world.cut(node),
        9 => world.nodes[node].is_refused = false,
        10 => {
            let delay = random.next() % 30;
            world.nodes[node].delay = delay;
            for wire in world.nodes[node].all_wires() {
                wire.delay = delay;
            }
        }
        _ => {
            // One client is killed.
            let redis = &mut world.redises[0];
            let ids: Vec<_> = redis.clients.keys().copied().collect();
            if let Some(id) = ids.get(node) {
                redis.clients.remove(id);
            }
        }
    }
}

fn heal(world: &mut World) {
    world.start();
    world.redises[0].is_frozen = false;
    for node in 0..world.nodes.len() {
        world.hole(node, false);
        world.nodes[node].is_refused = false;
    }
}

fn survive(seed: u64, log: &mut Vec<String>) {
    let mut random = Random::new(seed);
    let mut world = World::joined(3);
    world.redises[0].pushes_last = seed % 2 == 1;
    world.chatter();
    world.run(50);
    for _ in 0..12 {
        disturb(&mut world, &mut random, log);
        let pause = random.next() % 3000;
        world.run_chatting(pause, 11);
    }
    heal(&mut world);
    world.run_chatting(8 * SECOND, 20);
    // The last holes are given up, and the last heartbeats have told of the ends.
    world.run(20 * SECOND);
    for node in 0..world.nodes.len() {
        log.push(format!("health {:?}", world.health(node)));
        assert_eq!(world.health(node), Health::Up, "{log:?}");
        world.check_own(node);
        let mut lost = 0;
        for from in (0..world.nodes.len()).filter(|from| *from != node) {
            lost += world.lost(from, node) as u64;
        }
        let counted = world.metric(node, "gap_messages_total");
        log.push(format!("node {node} lost {lost} counted {counted}"));
        assert_eq!(lost, counted, "{log:?}");
        assert!(world.nodes[node].backplane.is_flushed());
    }
}

#[test]
fn whatever_happens_the_promises_are_kept() {
    for seed in seeds() {
        let mut log = Vec::new();
        let survived = std::panic::AssertUnwindSafe(|| survive(seed, &mut log));
        let result = std::panic::catch_unwind(survived);
        assert!(result.is_ok(), "seed {seed}: {log:#?}");
    }
}
