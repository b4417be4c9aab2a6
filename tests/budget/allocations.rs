//! Allocations of the hub in its steady state, by the allocator's books.

use allocation_counter::measure;

use super::record::{self, Value};
use super::stage::{SCENARIOS, Stage};

/// Turns before the count: by then every buffer is as large as it gets.
const WARM_UP: usize = 10;

/// Turns that are counted: more than any buffer that is filled bit by bit holds.
const TURNS: usize = 100;

/// To deliver a message must allocate nothing, neither for each member nor for each message.
#[test]
fn allocations_of_the_hub_in_its_steady_state() {
    let mut counts = Vec::new();
    for scenario in SCENARIOS {
        let mut stage = Stage::new(*scenario);
        let expected = stage.bytes_per_turn();
        for _ in 0..WARM_UP {
            assert_eq!(stage.turn(), expected, "everybody hears everything");
        }
        let mut written = 0;
        let info = measure(|| written = (0..TURNS).map(|_| stage.turn()).sum());
        assert_eq!(written, TURNS * expected, "everybody hears everything");
        for (unit, per_turn) in [
            ("message", scenario.messages_per_turn()),
            ("delivery", scenario.deliveries_per_turn()),
        ] {
            let name = format!("allocations/{}/{unit}", scenario.name);
            counts.push((name, Value::ratio(info.count_total, TURNS * per_turn)));
        }
    }
    record::check("allocations", &counts);
}
