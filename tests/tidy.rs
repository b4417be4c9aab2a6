//! The house rules that a program can check. A rule that cannot be checked is a wish.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file before its tests.
const MAX_LINES: usize = 400;
/// Characters of a line.
const MAX_COLUMNS: usize = 100;

/// A source file, without its tests.
struct Source {
    path: String,
    code: String,
}

/// Every Rust file of what is measured with, if it is there: a package leaves it out.
fn benches() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if root.join("benches").is_dir() {
        sources("benches")
    } else {
        Vec::new()
    }
}

/// Every Rust file below `folder`.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut sources) = (vec![root.join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(folder).expect("the folder can be read");
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.expect("it can be listed").path())
            .collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                // What was built there, or for it, is not ours.
                let name = path.file_name().and_then(|name| name.to_str());
                if !matches!(name, Some("target" | "node_modules" | "vendor")) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                let code = text
                    .split("\n#[cfg(test)]\nmod tests")
                    .next()
                    .unwrap_or_default();
                let path = path
                    .strip_prefix(root)
                    .expect("it is below")
                    .display()
                    .to_string();
                sources.push(Source {
                    path,
                    code: code.to_owned(),
                });
            }
        }
    }
    assert!(!sources.is_empty(), "no sources below {folder}");
    sources
}

/// Whether a file holds nothing but unit tests.
fn is_tests(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// The lines below `folder` that hold one of `words`, comments aside.
fn lines_with(folder: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for Source { path, code } in sources(folder) {
        if is_tests(&path) {
            continue;
        }
        for (i, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{path}:{}: {}", i + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn rings_depend_inwards_only() {
    let outward = lines_with("src/metrics", &["crate::"]);
    assert!(
        outward.is_empty(),
        "metrics name another ring:\n{}",
        outward.join("\n")
    );
    let outward = lines_with(
        "src/protocol",
        &[
            "crate::hub",
            "crate::backplane",
            "crate::server",
            "crate::config",
        ],
    );
    assert!(
        outward.is_empty(),
        "protocol names an outer ring:\n{}",
        outward.join("\n")
    );
    let outward = lines_with(
        "src/hub",
        &[
            "crate::backplane",
            "crate::server",
            "crate::config",
            "crate::cli",
        ],
    );
    assert!(
        outward.is_empty(),
        "hub names an outer ring:\n{}",
        outward.join("\n")
    );
    let outward = lines_with(
        "src/backplane",
        &["crate::hub", "crate::server", "crate::config", "crate::cli"],
    );
    assert!(
        outward.is_empty(),
        "backplane names an outer ring, or the hub:\n{}",
        outward.join("\n")
    );
    let outward = lines_with("src/server", &["crate::config", "crate::cli"]);
    assert!(
        outward.is_empty(),
        "server names the binary:\n{}",
        outward.join("\n")
    );
}

#[test]
fn the_inner_rings_know_no_world() {
    let world = [
        "mio::",
        "log::",
        "std::io",
        "std::fs",
        "std::env",
        "std::thread",
        "std::sync",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "UnixStream",
        "SystemTime",
        "println!",
        "eprintln!",
        "dbg!",
        "static mut",
        "thread_local",
        "lazy",
        "OnceLock",
        "Mutex",
        "Atomic",
        "tempfile",
    ];
    for ring in ["src/protocol", "src/metrics", "src/hub", "src/backplane"] {
        let found = lines_with(ring, &world);
        assert!(
            found.is_empty(),
            "{ring} knows the world:\n{}",
            found.join("\n")
        );
    }
    let found = lines_with("src/metrics", &["Instant", "slab", "HashMap"]);
    assert!(
        found.is_empty(),
        "metrics know more than numbers:\n{}",
        found.join("\n")
    );
    let found = lines_with("src/protocol", &["std::time", "Instant", "slab", "HashMap"]);
    assert!(
        found.is_empty(),
        "protocol knows time or clients:\n{}",
        found.join("\n")
    );
    // `test_clock` is for tests; everything else takes `now`.
    let mut found = lines_with("src/hub", &["Instant::now"]);
    found.retain(|line| !line.starts_with("src/hub/mod.rs"));
    assert!(
        found.is_empty(),
        "hub reads the clock:\n{}",
        found.join("\n")
    );
}

#[test]
fn only_the_clock_reads_the_clock() {
    let mut found = lines_with("src", &["Instant::now", "elapsed("]);
    // `test_clock` is for tests.
    found.retain(|line| !line.starts_with("src/server/clock.rs:"));
    found.retain(|line| !line.starts_with("src/hub/mod.rs:"));
    // Deadlines are monotonic. The date is known to the library that writes the log, to one file
    // outside the rings since a ticket names the date of its end, and to nobody else.
    let mut dates = lines_with("src", &["SystemTime", "UNIX_EPOCH"]);
    dates.retain(|line| !line.starts_with("src/access/date.rs:"));
    found.extend(dates);
    assert!(
        found.is_empty(),
        "the clock is read elsewhere:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_hub_iterates_no_hash_map() {
    // The order of a HashMap differs from run to run; a simulation must not.
    let maps = ["by_name", "counts"];
    let verbs = [
        "iter",
        "into_iter",
        "keys",
        "into_keys",
        "values",
        "drain",
        "retain",
    ];
    for map in maps {
        let mut iterations: Vec<_> = verbs.iter().map(|verb| format!("{map}.{verb}")).collect();
        iterations.extend(["&", "&mut "].map(|borrow| format!("in {borrow}self.{map}")));
        iterations.push(format!("in self.{map}"));
        let iterations: Vec<_> = iterations.iter().map(String::as_str).collect();
        let found = lines_with("src/hub", &iterations);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
    let mut found = lines_with("src/hub", &["HashMap<", "HashSet<"]);
    found.retain(|line| {
        !maps
            .iter()
            .any(|map| line.contains(&format!("{map}: HashMap<")))
    });
    assert!(
        found.is_empty(),
        "a new map needs its name above:\n{}",
        found.join("\n")
    );
}

#[test]
fn files_have_one_noun() {
    let long: Vec<String> = sources("src")
        .into_iter()
        .chain(benches())
        .filter(|source| !is_tests(&source.path))
        .map(|source| (source.code.lines().count(), source.path))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    assert!(
        long.is_empty(),
        "find the second noun in:\n{}",
        long.join("\n")
    );
}

#[test]
fn lines_fit() {
    let mut wide = Vec::new();
    let folders = ["src", "tests", "examples"].into_iter();
    for Source { path, code } in folders.flat_map(sources).chain(benches()) {
        for (i, line) in code.lines().enumerate() {
            if line.chars().count() > MAX_COLUMNS {
                wide.push(format!("{path}:{}", i + 1));
            }
        }
    }
    assert!(
        wide.is_empty(),
        "over {MAX_COLUMNS} columns:\n{}",
        wide.join("\n")
    );
}

#[test]
fn nothing_is_left_over() {
    let words = ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "dbg!("];
    for Source { path, code } in sources("src").into_iter().chain(benches()) {
        for word in words {
            assert!(!code.contains(word), "{path} has a {word}");
        }
    }
}

#[test]
fn unsafe_is_forbidden() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    assert!(
        manifest
            .expect("there is one")
            .contains("unsafe_code = \"forbid\"")
    );
    let found = lines_with("src", &["unsafe ", "unsafe{", "allow(unsafe_code)"]);
    assert!(found.is_empty(), "{}", found.join("\n"));
}
