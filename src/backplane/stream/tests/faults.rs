//! Whatever happens, in whatever order.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Clients say so many.
    Chat(usize),
    Pass(u64),
    /// A server loses its connections, or finds its way again.
    Cut(usize),
    Mend(usize),
    /// The connections of a server are reset, or all are.
    Reset,
    /// Redis is killed and starts with so many entries less, or with none.
    Lose(usize),
    Forget,
    /// Redis stands still, or goes on.
    Stop,
    Go,
    /// Its clock is set back so many seconds.
    SetBack(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..40_usize).prop_map(Step::Chat),
        4 => (100..3000_u64).prop_map(Step::Pass),
        2 => (0..3_usize).prop_map(Step::Cut),
        3 => (0..3_usize).prop_map(Step::Mend),
        1 => Just(Step::Reset),
        1 => (1..60_usize).prop_map(Step::Lose),
        1 => Just(Step::Forget),
        1 => Just(Step::Stop),
        2 => Just(Step::Go),
        1 => (1..20_u64).prop_map(Step::SetBack),
    ]
}

fn apply(world: &mut World, step: &Step) {
    match *step {
        Step::Chat(count) => world.chat(count),
        Step::Pass(millis) => world.pass(Duration::from_millis(millis)),
        Step::Cut(index) => world.nodes[index].is_cut = true,
        Step::Mend(index) => world.nodes[index].is_cut = false,
        Step::Reset => world.redis.hang_up_all(),
        Step::Lose(count) => world.restart(|stream| {
            if let Some(stream) = stream {
                stream.lose(count);
            }
        }),
        Step::Forget => world.restart(|stream| *stream = None),
        Step::Stop => world.redis.is_stopped = true,
        Step::Go => world.redis.is_stopped = false,
        Step::SetBack(seconds) => world.redis.set_back(Duration::from_secs(seconds)),
    }
}

/// Cases that are tried: each takes some 60 ms without optimisation.
const CASES: u32 = if cfg!(debug_assertions) { 32 } else { 64 };

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    #[cfg_attr(miri, ignore = "it takes hours there")]
    fn nothing_is_lost_whatever_happens(steps in vec(step(), 1..40)) {
        let mut world = World::new(3);
        world.chat(20);
        for step in &steps {
            apply(&mut world, step);
        }
        world.redis.is_stopped = false;
        for node in &mut world.nodes {
            node.is_cut = false;
        }
        world.settle();
        world.chat(20);
        world.pass(15 * SECOND);
        world.assert_complete();
        for (index, node) in world.nodes.iter().enumerate() {
            node.assert_prompt(Duration::from_millis(250) + TICK);
            prop_assert_eq!(world.metric(index, "gap_messages_total"), 0);
            prop_assert_eq!(node.backplane.unacknowledged(), 0);
        }
    }
}
