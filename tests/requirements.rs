//! docs/protocol.md is a promise: each requirement has a test, and the tests that it names exist.

#[path = "requirements/backplane.rs"]
mod backplane;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const REQUIREMENTS: &str = "| requirement | section | binds | test |";
const DEPARTURES: &str = "| section | what is done instead | why |";
const DECISIONS: &str = "| decision | why | test |";

/// How many rows each section of RFC 6455 has: one for each MUST, MUST NOT and SHALL in its text,
/// for each lower-case "must" that means the same, and for each part of the client's handshake that
/// section 4.2.1 lists below its only MUST.
const ROWS: [(&str, usize); 40] = [
    ("4.1", 39),
    ("4.2.1", 10),
    ("4.2.2", 10),
    ("4.3", 1),
    ("4.4", 1),
    ("5.1", 4),
    ("5.2", 7),
    ("5.3", 4),
    ("5.4", 11),
    ("5.5", 2),
    ("5.5.1", 7),
    ("5.5.2", 2),
    ("5.5.3", 1),
    ("5.6", 1),
    ("5.8", 1),
    ("6.1", 8),
    ("6.2", 5),
    ("7.1.2", 1),
    ("7.1.7", 3),
    ("7.2.1", 2),
    ("7.2.2", 1),
    ("7.4.1", 3),
    ("8.1", 2),
    ("9", 2),
    ("9.1", 5),
    ("10.1", 1),
    ("10.3", 2),
    ("10.4", 1),
    ("10.6", 1),
    ("10.7", 1),
    ("11.1.1", 2),
    ("11.1.2", 2),
    ("11.3.1", 1),
    ("11.3.2", 1),
    ("11.3.3", 1),
    ("11.3.4", 1),
    ("11.3.5", 1),
    ("11.4", 1),
    ("11.5", 1),
    ("11.6", 1),
];

/// The sections whose requirements cannot arise: TLS, and parameters of extensions.
const NOT_APPLICABLE: [&str; 3] = ["9", "9.1", "9.1"];

/// The cells of all rows below this line of headings, wherever it occurs.
fn rows<'p>(page: &'p str, headings: &str) -> Vec<Vec<&'p str>> {
    let mut rows = Vec::new();
    let mut lines = page.lines();
    while lines.any(|line| line == headings) {
        let table = lines.by_ref().skip(1);
        rows.extend(table.map_while(|line| {
            let cells = line.strip_prefix('|')?.strip_suffix('|')?;
            Some(cells.split(" | ").map(str::trim).collect())
        }));
    }
    rows
}

/// The tests that a text names: what is in backticks and has a path.
fn tests(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|quoted| quoted.contains("::") && !quoted.ends_with('…'))
}

/// Everything that is wrong with the page.
fn faults(page: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut departed, mut not_applicable) = (Vec::new(), Vec::new());
    for row in rows(page, REQUIREMENTS) {
        let [requirement, section, binds, shown_by] = row[..] else {
            faults.push(format!("not four cells: {row:?}"));
            continue;
        };
        *counts.entry(section).or_default() += 1;
        if shown_by.starts_with("departs: ") {
            departed.push(section);
        }
        let has_reason = shown_by
            .strip_prefix("n/a: ")
            .is_some_and(|why| why.len() > 20);
        if has_reason {
            not_applicable.push(section);
        }
        let is_shown = tests(shown_by).next().is_some();
        let is_fine = match binds {
            "server" | "both" => is_shown || has_reason,
            "client" => is_shown || shown_by == "–",
            "intermediary" | "extension" => shown_by == "–",
            _ => false,
        };
        if !is_fine {
            faults.push(format!(
                "{section}, {requirement}: {binds} has {shown_by:?}"
            ));
        }
    }
    for (section, expected) in ROWS {
        let count = counts.get(section).copied().unwrap_or_default();
        if count != expected {
            faults.push(format!(
                "section {section} has {count} rows, not {expected}"
            ));
        }
    }
    let is_known = |section: &str| {
        let of_http = section.starts_with("9110, ") || section.starts_with("9112, ");
        of_http || ROWS.iter().any(|(known, _)| *known == section)
    };
    counts.retain(|section, _| !is_known(section));
    faults.extend(
        counts
            .keys()
            .map(|section| format!("section {section} is not expected")),
    );
    if not_applicable != NOT_APPLICABLE {
        faults.push(format!("n/a: {not_applicable:?}"));
    }
    faults.extend(unexplained(page, &departed));
    for row in rows(page, DECISIONS) {
        if row.len() != 3 || tests(row[2]).next().is_none() {
            faults.push(format!("a decision without a test: {row:?}"));
        }
    }
    faults.extend(tests(page).filter_map(|path| find(path).err()));
    faults
}

/// Departures that nothing explains, and explanations of none.
fn unexplained(page: &str, departed: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let explained: Vec<&str> = rows(page, DEPARTURES).iter().map(|row| row[0]).collect();
    let names =
        |row: &&str, section: &str| *row == section || row.split(", ").any(|s| s == section);
    for section in departed {
        if !explained.iter().any(|row| names(row, section)) {
            faults.push(format!("nothing says why {section} is departed from"));
        }
    }
    for row in &explained {
        if !departed.iter().any(|section| names(row, section)) {
            faults.push(format!("nothing departs from {row}"));
        }
    }
    faults
}

/// Looks a test up in the source tree by its path as `cargo test` prints it.
fn find(path: &str) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<&str> = path.split("::").collect();
    let function = names.pop().unwrap_or_default();
    let (mut file, modules) = match names.split_first() {
        Some((first, rest)) if root.join(format!("tests/{first}.rs")).exists() => {
            (root.join(format!("tests/{first}.rs")), rest)
        }
        _ => (root.join("src/lib.rs"), &names[..]),
    };
    let read = |file: &Path| fs::read_to_string(file).map_err(|error| format!("{path}: {error}"));
    let mut text = read(&file)?;
    for name in modules {
        if let Some((_, body)) = text.split_once(&format!("\nmod {name} {{\n")) {
            text = body.split("\n}\n").next().unwrap_or_default().to_owned();
        } else {
            file = file_of_module(&file, &text, name)
                .ok_or_else(|| format!("{path}: no module {name} in {}", file.display()))?;
            text = read(&file)?;
        }
    }
    let mut is_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") {
            is_test = true;
        } else if line.starts_with("fn ") {
            if is_test && line.starts_with(&format!("fn {function}(")) {
                return Ok(());
            }
            is_test = false;
        }
    }
    Err(format!("{path}: no such test in {}", file.display()))
}

/// Where a module is that `text`, the contents of `file`, declares.
fn file_of_module(file: &Path, text: &str, name: &str) -> Option<PathBuf> {
    let folder = file.parent()?;
    let lines: Vec<&str> = text.lines().collect();
    let is_declared = |line: &&str| line.trim_start_matches("pub ") == format!("mod {name};");
    let at = lines.iter().position(is_declared)?;
    let attributes = lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#["));
    let path = attributes.filter_map(|line| line.strip_prefix("#[path = \"")?.strip_suffix("\"]"));
    let mut candidates: Vec<PathBuf> = path.map(|path| folder.join(path)).collect();
    let stem = file.file_stem()?;
    for folder in [folder.to_owned(), folder.join(stem)] {
        candidates.push(folder.join(format!("{name}.rs")));
        candidates.push(folder.join(name).join("mod.rs"));
    }
    candidates.into_iter().find(|candidate| candidate.exists())
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md");
    fs::read_to_string(path).expect("the page can be read")
}

#[test]
fn every_requirement_has_a_test_that_exists() {
    let faults = faults(&page());
    assert!(
        faults.is_empty(),
        "docs/protocol.md:\n{}",
        faults.join("\n")
    );
}

/// A check that nothing fails is no check.
#[test]
fn a_page_that_is_wrong_is_caught() {
    let page = page();
    let unmasked = "| close the connection on a frame without a mask | 5.1 | server |";
    let row = page.lines().find(|line| line.starts_with(unmasked));
    let row = row.expect("it is on the page");
    let whole_line = format!("{row}\n");
    for (from, to, expected) in [
        // A test that was renamed, is in another module, or is a function that is no test.
        ("::no_pong_follows_our_close", "::no_pong", "no such test"),
        (
            "rfc6455::departures::no_pong",
            "rfc6455::http::no_pong",
            "no such test",
        ),
        (
            "departures::no_pong_follows_our_close",
            "departures::answer_with",
            "no such test",
        ),
        (
            "rfc6455::departures::no_pong",
            "rfc6455::gone::no_pong",
            "no module gone",
        ),
        (
            "hub::tests::speaking::what_one",
            "hub::mod_tests::speaking::what_one",
            "no module mod_tests",
        ),
        // A requirement on the server that nothing shows, or that nobody is bound by.
        (row, &format!("{unmasked} – |"), "server has \"–\""),
        (
            row,
            &format!("{unmasked} n/a: no |"),
            "server has \"n/a: no\"",
        ),
        (row, &row.replace("| server |", "| nobody |"), "nobody has"),
        (
            row,
            &format!("{unmasked} n/a: because that is how it is here |"),
            "n/a: ",
        ),
        // A row that was lost.
        (&whole_line, "", "section 5.1 has 3 rows, not 4"),
        (
            row,
            &row.replace("| 5.1 |", "| 5.9 |"),
            "section 5.9 is not expected",
        ),
        // A departure that nobody explains, and an explanation of none; a decision without a test.
        (
            "| 5.5.2 | no Pong",
            "| 5.5.9 | no Pong",
            "nothing says why 5.5.2",
        ),
        (
            "| 5.5.2 | no Pong",
            "| 5.5.9 | no Pong",
            "nothing departs from 5.5.9",
        ),
        (
            "`loopback::closing::a_close_is_echoed` |\n| 1000 where",
            "– |\n| 1000 where",
            "a decision",
        ),
    ] {
        assert!(page.contains(from), "{from} is not on the page");
        let faults = faults(&page.replace(from, to));
        let is_caught = faults.iter().any(|fault| fault.contains(expected));
        assert!(is_caught, "{from:?} as {to:?}: {faults:?}");
    }
}
