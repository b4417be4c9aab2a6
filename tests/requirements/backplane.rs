//! docs/backplane.md is a promise as well: each row of its table of failures has a test, each of
//! those tests is in the table, and a server needs no other rights than those that it names.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{find, tests};

/// The files whose tests are each a fault, or one that is random.
const FAULTS: [&str; 9] = [
    "cluster", "crashes", "failover", "links", "names", "nodes", "overflow", "random", "stalls",
];

/// The tests of them that are no faults, but what holds without any.
const NO_FAULTS: [&str; 1] = ["two_on_two_ports_exchange_messages"];

fn file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of the table of failures: their cells.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let (_, rest) = page.split_once("<!-- failures -->\n").unwrap_or_default();
    let (table, _) = rest.split_once("<!-- /failures -->").unwrap_or_default();
    let rows = table.lines().skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// Everything that is wrong with the page.
fn faults(page: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut named = BTreeSet::new();
    for row in rows(page) {
        let [fault, _, _, _, _, signal, shown_by] = row[..] else {
            faults.push(format!("not seven cells: {row:?}"));
            continue;
        };
        if signal.is_empty() {
            faults.push(format!("nothing says so: {fault}"));
        }
        let before = named.len();
        named.extend(tests(shown_by));
        if named.len() == before {
            faults.push(format!("no test of its own: {fault}"));
        }
    }
    faults.extend(named.iter().filter_map(|path| find(path).err()));
    for module in FAULTS {
        for name in functions(&file(&format!("tests/redis/{module}.rs"))) {
            let path = format!("redis::{module}::{name}");
            if !named.contains(path.as_str()) && !NO_FAULTS.contains(&name.as_str()) {
                faults.push(format!("not in the table: {path}"));
            }
        }
    }
    faults
}

/// The names of the tests in a file.
fn functions(text: &str) -> Vec<String> {
    let parts = text.split("#[test]\n").skip(1);
    let names = parts.filter_map(|part| part.split_once("fn ")?.1.split_once('('));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_failure_has_a_test_that_exists() {
    let page = file("docs/backplane.md");
    assert!(rows(&page).len() > 20, "the table is there");
    let faults = faults(&page);
    assert!(
        faults.is_empty(),
        "docs/backplane.md:\n{}",
        faults.join("\n")
    );
}

/// A check that nothing fails is no check.
#[test]
fn a_table_that_is_wrong_is_caught() {
    let page = file("docs/backplane.md");
    let signal = "| `up`, `reconnects` |";
    let test = "`redis::crashes::absent_at_the_start`";
    let other = "`redis::crashes::killed_twenty_times`";
    for (from, to, expected) in [
        (test, "`redis::crashes::absent`", "no such test"),
        (test, "`redis::gone::absent_at_the_start`", "no module gone"),
        (test, other, "not in the table"),
        (test, "–", "no test of its own"),
        (signal, "|  |", "nothing says so"),
        (signal, "| `up` | `reconnects` |", "not seven cells"),
    ] {
        assert!(page.contains(from), "{from} is not on the page");
        let faults = faults(&page.replacen(from, to, 1));
        let is_caught = faults.iter().any(|fault| fault.contains(expected));
        assert!(is_caught, "{from:?} as {to:?}: {faults:?}");
    }
}

/// What a user of Redis may do in the tests is what the page says that it needs.
#[test]
fn the_rights_are_those_that_are_tested() {
    let words = |text: &str| -> Vec<String> {
        let text = text.replace("\\\n", " ");
        text.split_whitespace().map(str::to_owned).collect()
    };
    let page = file("docs/backplane.md");
    let code = file("tests/redis/refusals.rs");
    let (_, tested) = code
        .split_once("const RIGHTS: &str = \"")
        .expect("it is there");
    let (tested, _) = tested.split_once('"').expect("it ends");
    let (_, said) = page
        .split_once("<!-- acl -->\n```text\n")
        .expect("it is there");
    let (said, _) = said.split_once("\n```").expect("it ends");
    let said = said.strip_prefix("ACL SETUSER fanfare on >PASSWORD ");
    assert_eq!(words(said.expect("it begins so")), words(tested));
}
