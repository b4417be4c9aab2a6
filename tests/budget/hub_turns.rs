//! Turns of the hub without a socket, for those who count or profile its instructions:
//! `valgrind --tool=callgrind target/release/examples/hub_turns SCENARIO TURNS`.

mod stage;

use stage::{SCENARIOS, Stage, scenario};

/// Turns before the ones asked for: by then every buffer is as large as it gets.
const WARM_UP: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, turns] = arguments.as_slice() else {
        usage()
    };
    let (Some(scenario), Ok(turns)) = (scenario(name), turns.parse::<usize>()) else {
        usage()
    };
    let mut stage = Stage::new(scenario);
    let expected = stage.bytes_per_turn();
    for _ in 0..WARM_UP + turns {
        assert_eq!(stage.turn(), expected, "everybody hears everything");
    }
}

fn usage() -> ! {
    let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    eprintln!(
        "usage: hub_turns SCENARIO TURNS; scenarios: {}",
        names.join(" ")
    );
    std::process::exit(2)
}
