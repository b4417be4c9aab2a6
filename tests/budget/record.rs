//! The stored counts, `perf/budget`: one a line, and what to do when one no longer holds.

use std::fmt::{self, Write};
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Held while the file is read and perhaps written, by whichever of the tests.
static FILE: Mutex<()> = Mutex::new(());

/// How a figure that is better than the stored one, and any that is worse, becomes the stored one.
const HOW_TO_WRITE: &str = "BUDGET=write ./test budget";

/// What was counted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// So many, to three decimals.
    Number(f64),
    /// These, in this order: `read+sendto*2`.
    List(String),
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    name: String,
    value: Value,
    /// By what part of it a number may grow. A list may not change at all.
    tolerance: f64,
    comment: String,
}

/// What a stored count says of the one that was just made.
#[derive(Debug, PartialEq)]
enum Verdict {
    Holds,
    /// Clearly less than stored.
    Less(String),
    /// More than stored, or another.
    Broken(String),
}

impl Value {
    /// A quotient, as it is stored.
    pub(crate) fn ratio(count: u64, of: usize) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts are far below 2^52, and figures have three digits"
        )]
        let ratio = count as f64 / of as f64;
        Self::Number((ratio * 1000.0).round() / 1000.0)
    }

    fn parse(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::List(text.to_owned()), Self::Number)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::List(list) => f.pad(list),
        }
    }
}

impl Line {
    fn parse(text: &str) -> Self {
        let (fields, comment) = text.split_once('#').unwrap_or((text, ""));
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let [name, value, tolerance] = fields[..] else {
            panic!("perf/budget: not a name, a figure and a tolerance: {text}");
        };
        let (number, unit) = tolerance
            .strip_suffix('%')
            .map_or((tolerance, 1.0), |percent| (percent, 100.0));
        let tolerance: f64 = number
            .parse()
            .unwrap_or_else(|_| panic!("perf/budget: no tolerance: {text}"));
        Self {
            name: name.to_owned(),
            value: Value::parse(value),
            tolerance: tolerance / unit,
            comment: comment.trim().to_owned(),
        }
    }

    fn judge(&self, measured: &Value) -> Verdict {
        let Self {
            name,
            value: stored,
            tolerance,
            ..
        } = self;
        let (Value::Number(most), Value::Number(number)) = (stored, measured) else {
            if stored == measured {
                return Verdict::Holds;
            }
            return Verdict::Broken(format!("{name}: is {measured}, stored is {stored}"));
        };
        if *number > most * (1.0 + tolerance) {
            let more = if *most > 0.0 {
                format!("{:.1} % more than", (number / most - 1.0) * 100.0)
            } else {
                "stored is".to_owned()
            };
            let allowed = tolerance * 100.0;
            return Verdict::Broken(format!(
                "{name}: is {number}, {more} {most} (allowed: {allowed} % more)"
            ));
        }
        if *number < most * (1.0 - tolerance) {
            return Verdict::Less(format!("{name}: is {number}, stored is {most}"));
        }
        Verdict::Holds
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tolerance = format!("{}%", self.tolerance * 100.0);
        let value = self.value.to_string();
        write!(f, "{:<40} {value:>12} {tolerance:>4}", self.name)?;
        if self.comment.is_empty() {
            return Ok(());
        }
        write!(f, "  # {}", self.comment)
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("perf/budget")
}

/// Compares all counts of one kind, whose names begin with it and a slash, with the stored ones; or
/// stores them, if so asked. What is stored must have been counted, and the other way round.
pub(crate) fn check(kind: &str, measured: &[(String, Value)]) {
    let _guard = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let text = fs::read_to_string(path()).expect("perf/budget can be read");
    for (name, value) in measured {
        println!("{name:<40} {value:>12}");
    }
    if std::env::var_os("BUDGET").is_some_and(|word| word == "write") {
        let text = rewrite(&text, kind, measured);
        return fs::write(path(), text).expect("perf/budget can be written");
    }
    let (broken, less) = compare(&text, kind, measured);
    for hint in less {
        println!("{hint}. Lower it: {HOW_TO_WRITE}");
    }
    assert!(
        broken.is_empty(),
        "over the budget:\n  {}\nIf that is the price of something, record it: {HOW_TO_WRITE}, and \
         say in the commit of perf/budget what for.",
        broken.join("\n  ")
    );
}

/// What does not hold any more, and what could be lowered.
fn compare(text: &str, kind: &str, measured: &[(String, Value)]) -> (Vec<String>, Vec<String>) {
    let lines: Vec<Line> = lines(text).map(Line::parse).collect();
    let (mut broken, mut less) = (Vec::new(), Vec::new());
    for (name, value) in measured {
        match lines.iter().find(|line| line.name == *name) {
            None => broken.push(format!("{name}: is {value}, and nothing is stored")),
            Some(line) => match line.judge(value) {
                Verdict::Holds => {}
                Verdict::Less(hint) => less.push(hint),
                Verdict::Broken(why) => broken.push(why),
            },
        }
    }
    for line in lines.iter().filter(|line| is_of(kind, &line.name)) {
        if !measured.iter().any(|(name, _)| *name == line.name) {
            broken.push(format!("{}: is stored, and nobody counts it", line.name));
        }
    }
    (broken, less)
}

/// The file with these counts in it; tolerances and comments stay. What is new goes to the end.
fn rewrite(text: &str, kind: &str, measured: &[(String, Value)]) -> String {
    let mut new = String::new();
    let mut left: Vec<&(String, Value)> = measured.iter().collect();
    for text in text.lines() {
        if lines(text).next().is_none() {
            writeln!(new, "{text}").expect("a string takes everything");
            continue;
        }
        let mut line = Line::parse(text);
        if let Some(at) = left.iter().position(|(name, _)| *name == line.name) {
            line.value = left.remove(at).1.clone();
        } else if is_of(kind, &line.name) {
            continue;
        }
        writeln!(new, "{line}").expect("a string takes everything");
    }
    for (name, value) in left {
        let line = Line {
            name: name.clone(),
            value: value.clone(),
            tolerance: 0.0,
            comment: String::new(),
        };
        writeln!(new, "{line}").expect("a string takes everything");
    }
    new
}

/// The lines that are no comment.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

fn is_of(kind: &str, name: &str) -> bool {
    name.split('/').next() == Some(kind)
}

const STORED: &str = "\
# What this is.
a/none                                              0   0%
a/some                                            100   5%  # of them
b/calls                                        read*2   0%
";

/// How many do not hold, and how many could be lowered.
fn verdicts(kind: &str, measured: &[(&str, Value)]) -> (usize, usize) {
    let measured: Vec<(String, Value)> = measured
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let (broken, less) = compare(STORED, kind, &measured);
    (broken.len(), less.len())
}

#[test]
fn a_count_above_its_figure_and_tolerance_fails() {
    for (none, some, expected) in [
        (0.0, 105.0, (0, 0)),
        (0.0, 95.0, (0, 0)),
        (0.0, 105.1, (1, 0)),
        (0.001, 105.1, (2, 0)),
        (0.0, 94.9, (0, 1)),
    ] {
        let measured = [
            ("a/none", Value::Number(none)),
            ("a/some", Value::Number(some)),
        ];
        assert_eq!(verdicts("a", &measured), expected, "{none} and {some}");
    }
}

#[test]
fn a_list_that_differs_fails_even_if_it_is_shorter() {
    for (list, expected) in [
        ("read*2", (0, 0)),
        ("read", (1, 0)),
        ("read*2+fsync", (1, 0)),
    ] {
        let measured = [("b/calls", Value::List(list.to_owned()))];
        assert_eq!(verdicts("b", &measured), expected, "{list}");
    }
}

#[test]
fn what_is_counted_is_stored_and_what_is_stored_is_counted() {
    assert_eq!(verdicts("a", &[("a/none", Value::Number(0.0))]), (1, 0));
    assert_eq!(verdicts("c", &[("c/new", Value::Number(0.0))]), (1, 0));
}

#[test]
fn what_is_written_holds_and_keeps_what_people_wrote() {
    let measured = [
        ("a/new".to_owned(), Value::Number(1.5)),
        ("a/some".to_owned(), Value::Number(200.0)),
    ];
    let text = rewrite(STORED, "a", &measured);
    assert_eq!(compare(&text, "a", &measured), (Vec::new(), Vec::new()));
    assert!(text.starts_with("# What this is.\n") && text.contains(" 200   5%  # of them\n"));
    assert!(
        !text.contains("a/none") && text.contains("read*2"),
        "{text}"
    );
}
