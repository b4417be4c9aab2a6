//! Instructions of the hub for each delivered message, counted by callgrind.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::record::{self, Value};
use super::stage::scenario;

/// Turns of the shorter of two runs; the longer has twice as many, and the difference has neither a
/// start nor an end of the program in it.
const TURNS: usize = 50;

#[test]
#[ignore = "valgrind: run by ./test budget"]
fn instructions_of_the_hub_for_each_delivery() {
    let program = build();
    let counts: Vec<(String, Value)> = ["serial", "burst-16", "100-rooms-of-10", "echo-100"]
        .into_iter()
        .map(|name| {
            let scenario = scenario(name).expect("it is on the list");
            let [short, long] = [TURNS, 2 * TURNS].map(|turns| count(&program, name, turns));
            let deliveries = TURNS * scenario.deliveries_per_turn();
            let value = Value::ratio(long - short, deliveries);
            (format!("instructions/{name}"), value)
        })
        .collect();
    record::check("instructions", &counts);
}

/// Builds the program that is counted, in release mode whatever this test is built in. It is one of
/// its own, since here the allocator counts each allocation.
fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("it is below the target folder");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--example", "hub_turns"])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        // Instructions of this machine alone would be others than those stored.
        .env_remove("RUSTFLAGS")
        .status();
    assert!(status.expect("cargo is there").success(), "it builds");
    target.join("release/examples/hub_turns")
}

/// Instructions of one run.
fn count(program: &Path, scenario: &str, turns: usize) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([scenario, &turns.to_string()])
        .output()
        .expect("valgrind is there (apt-get install valgrind)");
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}");
    let line = report.lines().find(|line| line.contains("Collected : "));
    let figure = line.and_then(|line| line.rsplit(' ').next());
    figure
        .and_then(|figure| figure.parse().ok())
        .unwrap_or_else(|| panic!("no figure in: {report}"))
}
