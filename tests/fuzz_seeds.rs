//! Every seed of every fuzz target, without libFuzzer: what was once found stays found.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
#[expect(
    clippy::missing_panics_doc,
    reason = "a target's whole work is to panic"
)]
pub mod targets;

/// What is in a folder below `fuzz/`, in order.
fn entries(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(folder);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    paths.sort();
    paths
}

/// The names of what is in there, without extensions.
fn stems(folder: &str) -> BTreeSet<String> {
    let stem = |path: &PathBuf| {
        path.file_stem()
            .expect("entries have names")
            .to_string_lossy()
            .into_owned()
    };
    entries(folder).iter().map(stem).collect()
}

#[test]
fn every_seed_passes() {
    let mut failed = Vec::new();
    for (target, run) in targets::TARGETS {
        let seeds = entries(&format!("seeds/{target}"));
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for seed in seeds {
            let bytes = fs::read(&seed).unwrap();
            if catch_unwind(|| run(&bytes)).is_err() {
                failed.push(seed.display().to_string());
            }
        }
    }
    assert!(
        failed.is_empty(),
        "what panicked above:\n{}",
        failed.join("\n")
    );
}

/// The targets of what is built with the feature `redis` alone.
const OF_REDIS: [&str; 2] = ["envelope", "resp"];

#[test]
fn targets_seeds_and_programs_have_the_same_names() {
    let mut names: BTreeSet<String> = targets::TARGETS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(
        names.len(),
        targets::TARGETS.len(),
        "a name stands for two targets"
    );
    for name in OF_REDIS {
        let is_new = names.insert(name.to_owned());
        assert_eq!(is_new, cfg!(not(feature = "redis")), "{name}");
    }
    assert_eq!(stems("seeds"), names);
    assert_eq!(stems("fuzz_targets"), names);
}

#[test]
fn the_seeds_are_many_and_small() {
    const LEAST: usize = 1_000;
    const MOST_BYTES: u64 = 2 << 20;
    let seeds = || {
        targets::TARGETS
            .iter()
            .flat_map(|(name, _)| entries(&format!("seeds/{name}")))
    };
    assert!(seeds().count() >= LEAST, "{} seeds", seeds().count());
    let bytes: u64 = seeds().map(|seed| fs::metadata(seed).unwrap().len()).sum();
    assert!(bytes <= MOST_BYTES, "{bytes} bytes of seeds");
}
