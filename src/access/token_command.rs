//! `fanfare token`: makes a token.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::tokens::{Token, written_hash};
use crate::{Failure, print};

/// Bytes of a secret: nobody guesses 256 bits.
const SECRET: usize = 32;

const HELP: &str = "\
Makes a token: a line for the file that --tokens names, and the secret that belongs to it.

Usage: fanfare token NAME --role ROLE --rooms ROOMS

  NAME           whose it is: letters, digits, dots, underscores and dashes; the log shows it
  --role ROLE    subscribe (it may listen), publish (it may send) or both
  --rooms ROOMS  names with commas between them, written as in a URL: news is a room, news/* are all
                 below it, * are all there are, and . is the room at --path itself
  -h, --help     print this and exit

The line goes to stdout and the secret to stderr: only its SHA-256 is in the line, so this is the
one time that it is shown. To add a token:

  fanfare token alice --role both --rooms 'news/*' >> tokens
";

/// Prints what was asked for.
pub(crate) fn run(arguments: Vec<OsString>) -> Result<(), Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure {
        exit_code: 2,
        message: format!("token: {error}\ntry 'fanfare token --help'\n"),
    };
    let Some(wanted) = parse(arguments).map_err(|error| usage(&error))? else {
        return print(HELP);
    };
    let secret = random_secret()
        .map_err(|error| Failure::run_time(format!("token: cannot read /dev/urandom: {error}")))?;
    let line = format!("{wanted} {}", written_hash(secret.as_bytes()));
    // What is printed is a line that can be read.
    Token::parse(&line).map_err(|error| usage(&error))?;
    print(&format!("{line}\n"))?;
    let told = writeln!(io::stderr(), "secret, shown only now: {secret}");
    told.map_err(|error| Failure::run_time(format!("token: cannot write to stderr: {error}")))
}

/// The first three fields of the line; `None` if help is wanted.
fn parse(arguments: Vec<OsString>) -> Result<Option<String>, lexopt::Error> {
    use lexopt::{Arg, ValueExt};

    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut name, mut role, mut rooms) = (None, None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            Arg::Long("role") => role = Some(parser.value()?.string()?),
            Arg::Long("rooms") => rooms = Some(parser.value()?.string()?),
            Arg::Value(value) if name.is_none() => name = Some(value.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let (Some(name), Some(role), Some(rooms)) = (name, role, rooms) else {
        return Err("NAME, --role and --rooms are needed".into());
    };
    if [&name, &role, &rooms].into_iter().any(|field| {
        let is_separator = |c: char| c.is_ascii_whitespace();
        field.is_empty() || field.contains(is_separator)
    }) {
        return Err("no part may be empty, or hold spaces (%20 in a room's name)".into());
    }
    if name.starts_with('#') {
        return Err("a name does not begin with #".into());
    }
    Ok(Some(format!("{name} {role} {rooms}")))
}

fn random_secret() -> io::Result<String> {
    let mut bytes = [0; SECRET];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
