//! The command line: what it may say, and what it did say.
//!
//! What there is to say is declared in [`flags`](crate::flags), once; the parsing and `--help`
//! come from there, and a test compares README's table with it. What the values mean is
//! [`config`](crate::config)'s business.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Write};

use crate::flags::{FLAGS, Flag};

/// What the binary is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// `--help`.
    Help,
    /// `--version`.
    Version,
    /// `token` and what follows it.
    Token(Vec<OsString>),
    /// `healthcheck`, and what stands behind it.
    Healthcheck(Vec<OsString>),
    /// Everything else.
    Serve(Arguments),
}

/// The raw values of flags, by name: read, not yet understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments(BTreeMap<&'static str, Vec<String>>);

impl Arguments {
    /// What was said of a flag, in order and never empty, or `None` if nothing was. A switch that
    /// is there says [`ON`].
    pub(crate) fn values(&self, flag: &Flag) -> Option<&[String]> {
        self.0.get(flag.name).map(Vec::as_slice)
    }
}

/// The value of a switch that stands on the command line.
pub(crate) const ON: &str = "1";

/// Reads a command line, its program's name left off. `--help` and `--version` end it: what
/// stands behind them is not looked at.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut arguments = arguments.into_iter().peekable();
    if arguments.next_if(|first| first == "token").is_some() {
        return Ok(Command::Token(arguments.collect()));
    }
    if arguments.next_if(|first| first == "healthcheck").is_some() {
        return Ok(Command::Healthcheck(arguments.collect()));
    }
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut given = Arguments::default();
    while let Some(argument) = parser.next()? {
        let flag = FLAGS.iter().find(|flag| match argument {
            lexopt::Arg::Long(name) => name == flag.name,
            lexopt::Arg::Short(letter) => Some(letter) == flag.short,
            lexopt::Arg::Value(_) => false,
        });
        let value = match flag {
            None => return Err(UsageError::unexpected(argument)),
            Some(Flag { name: "help", .. }) => return Ok(Command::Help),
            Some(Flag {
                name: "version", ..
            }) => return Ok(Command::Version),
            Some(Flag { value: None, .. }) => ON.to_owned(),
            Some(Flag { name, .. }) => parser
                .value()?
                .into_string()
                .map_err(|_| UsageError::NotUtf8(name))?,
        };
        if let Some(flag) = flag {
            given.0.entry(flag.name).or_default().push(value);
        }
    }
    Ok(Command::Serve(given))
}

/// A command line that cannot be read.
#[derive(Debug)]
pub(crate) enum UsageError {
    /// A flag that does not exist, and the one that may have been meant.
    UnknownFlag {
        flag: String,
        nearest: Option<&'static str>,
    },
    /// A value that is no text.
    NotUtf8(&'static str),
    /// A missing value, or one too many.
    Syntax(lexopt::Error),
}

impl UsageError {
    fn unexpected(argument: lexopt::Arg<'_>) -> Self {
        match argument {
            lexopt::Arg::Long(name) => Self::UnknownFlag {
                flag: format!("--{name}"),
                nearest: nearest(name, FLAGS.iter().map(|flag| flag.name)),
            },
            lexopt::Arg::Short(letter) => Self::UnknownFlag {
                flag: format!("-{letter}"),
                nearest: None,
            },
            lexopt::Arg::Value(_) => Self::Syntax(argument.unexpected()),
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFlag {
                flag,
                nearest: None,
            } => write!(f, "unknown flag '{flag}'"),
            Self::UnknownFlag {
                flag,
                nearest: Some(nearest),
            } => {
                write!(f, "unknown flag '{flag}', did you mean '--{nearest}'?")
            }
            Self::NotUtf8(name) => write!(f, "--{name}: the value is not UTF-8"),
            Self::Syntax(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for UsageError {}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self::Syntax(error)
    }
}

/// The name that was probably meant: one that goes on where `wrong` ends, or differs from it in
/// few places.
pub(crate) fn nearest<N: AsRef<str>>(wrong: &str, names: impl IntoIterator<Item = N>) -> Option<N> {
    let distance = |name: &str| {
        let is_cut_short = wrong.len() > 2 && name.starts_with(wrong);
        if is_cut_short {
            1
        } else {
            edit_distance(wrong, name)
        }
    };
    let distances = names
        .into_iter()
        .map(|name| (distance(name.as_ref()), name));
    // A third of the letters: `--lisen` is a slip of the finger, `--port` is another word.
    let close = distances.filter(|(distance, _)| *distance <= wrong.len() / 3);
    close
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many bytes must be inserted, left out or replaced to come from `left` to `right`.
fn edit_distance(left: &str, right: &str) -> usize {
    // `row[i]` is the distance from what was seen of `left` to the first `i` bytes of `right`.
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (seen, from) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = seen + 1;
        for (index, to) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[right.len()]
}

/// The optional features of this binary.
const FEATURES: &[(&str, bool)] = &[
    ("auth", cfg!(feature = "auth")),
    ("cli", cfg!(feature = "cli")),
    ("redis", cfg!(feature = "redis")),
    ("tls", cfg!(feature = "tls")),
];

/// The names of the features that are compiled in, separated by commas.
pub(crate) fn features() -> String {
    let enabled = FEATURES
        .iter()
        .filter(|(_, enabled)| *enabled)
        .map(|(name, _)| *name);
    enabled.collect::<Vec<_>>().join(",")
}

/// What `--version` prints.
pub(crate) fn version() -> String {
    format!(
        "fanfare {}\nfeatures: {}\n",
        env!("CARGO_PKG_VERSION"),
        features()
    )
}

/// The width of `--help`.
const COLUMNS: usize = 100;

/// What `--help` prints.
pub(crate) fn help() -> String {
    let left = FLAGS
        .iter()
        .map(|flag| flag.usage().len())
        .max()
        .unwrap_or(0)
        + 2;
    let mut help = String::from(HELP_HEAD);
    for flag in FLAGS {
        if let Some(heading) = flag.heading {
            writeln!(help, "\n{heading}:").expect("a String takes everything");
        }
        let mut label = flag.usage();
        for line in wrap(&flag.description(), COLUMNS - left) {
            writeln!(help, "{label:left$}{line}").expect("a String takes everything");
            label.clear();
        }
    }
    help.push_str(HELP_TAIL);
    help
}

/// Breaks a text into lines between words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one from the start");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

const HELP_HEAD: &str = "\
fanfare, a WebSocket broadcast server: what one client sends, everyone in the same room hears

Usage: fanfare [FLAGS]
       fanfare token NAME ...       a new line for the file of --tokens, see token --help
       fanfare healthcheck [URL]    exit code 0 if the server there is well, see --admin
";

const HELP_TAIL: &str = "
A SIZE is in bytes or like 64K, 1M, 1G (1K is 1024); a DURATION is like 500ms, 25s, 2m, 1h; a RATE
is like 10 (a second), or 10:50 where 50 may come at once (10 if that is not said).

Environment:
  Each flag that is no question is also a variable: --max-rooms is FANFARE_MAX_ROOMS. A flag wins
  over its variable, an empty variable counts as unset. Repeatable ones are separated by commas;
  those without a value take 1, true, yes, on or 0, false, no, off. FANFARE_REDIS_PASSWORD is a
  variable alone.

Examples:
  fanfare --listen 0.0.0.0:8080 --allow-origin 'https://*.example.com'
  FANFARE_LISTEN=127.0.0.1:9000,unix:/run/fanfare.sock fanfare --max-message-size 1M \\
      --max-client-buffer 4M -v
  fanfare --listen 127.0.0.1:8081 --redis redis://127.0.0.1:6379
";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn values(line: &str, name: &str) -> Option<Vec<String>> {
        let Command::Serve(arguments) = read(line).unwrap() else {
            panic!("{line} does not serve")
        };
        let flag = FLAGS.iter().find(|flag| flag.name == name).unwrap();
        arguments.values(flag).map(<[String]>::to_vec)
    }

    fn complaint(line: &str) -> String {
        read(line).unwrap_err().to_string()
    }

    #[test]
    fn values_are_kept_as_they_stand_and_in_order() {
        assert_eq!(
            values("--listen a --listen=b", "listen").unwrap(),
            ["a", "b"]
        );
        assert_eq!(values("-vv --verbose", "verbose").unwrap(), [ON; 3]);
        assert_eq!(values("--path --no-echo", "path").unwrap(), ["--no-echo"]);
        assert_eq!(values("", "listen"), None);
    }

    #[test]
    fn a_subcommand_comes_first() {
        let rest = ["alice", "--help"].map(OsString::from).to_vec();
        assert_eq!(read("token alice --help").unwrap(), Command::Token(rest));
        assert!(complaint("-v token").contains("token"));
    }

    #[test]
    fn questions_end_the_line() {
        for line in ["--help", "-h", "-vh", "--path /x --help --nonsense"] {
            assert_eq!(read(line).unwrap(), Command::Help, "{line}");
        }
        for line in ["--version", "-V", "-V --help"] {
            assert_eq!(read(line).unwrap(), Command::Version, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert_eq!(
            complaint("--lisen x"),
            "unknown flag '--lisen', did you mean '--listen'?"
        );
        assert_eq!(
            complaint("--max-message 1K"),
            "unknown flag '--max-message', did you mean '--max-message-size'?"
        );
        assert_eq!(complaint("--frobnicate"), "unknown flag '--frobnicate'");
        assert_eq!(complaint("-vx"), "unknown flag '-x'");
        assert_eq!(
            complaint("--listen"),
            "missing argument for option '--listen'"
        );
        assert!(complaint("--no-echo=1").contains("'--no-echo'"));
        assert!(complaint("8080").contains("8080"));
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("abc", ""), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("path", "path"), 0);
    }

    #[test]
    fn help_has_every_flag_and_fits() {
        let help = help();
        for flag in FLAGS {
            assert!(
                help.contains(&format!("\n{} ", flag.usage())),
                "{}",
                flag.name
            );
        }
        assert!(help.lines().all(|line| line.len() <= COLUMNS), "{help}");
        assert!(help.is_ascii());
    }

    #[test]
    fn names_and_letters_are_unique() {
        for (index, flag) in FLAGS.iter().enumerate() {
            for other in &FLAGS[..index] {
                assert_ne!(flag.name, other.name);
                assert!(
                    flag.short.is_none() || flag.short != other.short,
                    "{}",
                    flag.name
                );
            }
        }
    }

    /// How README's table writes a flag: the first two cells of its row.
    fn row(flag: &Flag) -> (String, String) {
        let short = flag
            .short
            .map_or(String::new(), |letter| format!("`-{letter}`, "));
        let value = flag
            .value
            .map_or(String::new(), |value| format!(" {value}"));
        let repeatable = if flag.repeatable { " (repeatable)" } else { "" };
        let is_word = [
            "same-origin",
            "any",
            "status",
            "close",
            "pubsub",
            "ordered",
            "envelope",
            "websocket-broadcast",
        ]
        .contains(&flag.default);
        let is_literal = is_word
            || flag
                .default
                .starts_with(|first: char| first.is_ascii_digit() || first == '/');
        let default = if is_literal {
            format!("`{}`", flag.default)
        } else {
            flag.default.to_owned()
        };
        (
            format!("{short}`--{}{value}`{repeatable}", flag.name),
            default,
        )
    }

    /// README is where most readers meet the flags: without this test its table would lag behind.
    #[test]
    fn the_readme_has_the_same_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let readme = std::fs::read_to_string(path).unwrap_or_default();
        let table = readme
            .split_once("<!-- flags -->")
            .and_then(|(_, rest)| rest.split_once("<!-- /flags -->"))
            .map_or("", |(table, _)| table);
        let found: Vec<_> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| "))
            .filter(|line| line.starts_with('`'))
            .filter_map(|line| {
                let mut cells = line.split(" |").map(|cell| cell.trim().to_owned());
                Some((cells.next()?, cells.next()?, cells.next()?.replace('`', "")))
            })
            .collect();
        let expected: Vec<_> = FLAGS.iter().map(row).collect();
        // README may say more than `--help` does, behind it.
        let is_same = |((flag, default), help): (&(String, String), &Flag),
                       found: &(String, String, String)| {
            (flag, default) == (&found.0, &found.1) && found.2.starts_with(help.help)
        };
        let all_same = found.len() == expected.len()
            && expected
                .iter()
                .zip(FLAGS)
                .zip(&found)
                .all(|(expected, found)| is_same(expected, found));
        let mut wanted = String::new();
        for ((flag, default), Flag { help, .. }) in expected.iter().zip(FLAGS) {
            writeln!(wanted, "| {flag} | {default} | {help} |").unwrap();
        }
        assert!(
            all_same,
            "the table between <!-- flags --> and its end, wanted:\n{wanted}"
        );
    }
}
