//! More settings, in a file: one `NAME = VALUE` a line.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{ConfigError, Settings};
use crate::cli::{Arguments, nearest};
use crate::flags::{FLAGS, Flag};

/// The longest file, in bytes: thousands of settings.
const MAX_FILE: u64 = 256 * 1024;

/// A file of settings that has been split into lines. What the values mean is not known yet.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    entries: Vec<Entry>,
}

/// What a file says of one flag.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) flag: &'static Flag,
    path: PathBuf,
    /// The values, and the numbers of their lines: never empty.
    values: Vec<String>,
    lines: Vec<usize>,
}

impl ConfigFile {
    /// Reads the file that a command line, or else a variable, names; `None` if neither does.
    ///
    /// # Errors
    /// A file that cannot be read, and the first line that is no setting.
    pub(crate) fn read(
        arguments: &Arguments,
        environment: &[(OsString, OsString)],
    ) -> Result<Option<Self>, ConfigError> {
        let Some(path) = path(arguments, environment) else {
            return Ok(None);
        };
        let text = read(&path).map_err(|error| ConfigError::Unreadable {
            path: path.clone(),
            why: error.to_string(),
        })?;
        Self::parse(&path, &text).map(Some)
    }

    /// Splits the text of a file. Lines that are empty or begin with `#` mean nothing.
    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let lines = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n');
            complaint(path, lines.count(), "not UTF-8".to_owned())
        })?;
        let mut file = Self {
            entries: Vec::new(),
        };
        for (index, text) in text.lines().enumerate() {
            let (line, text) = (index + 1, text.trim());
            if !text.is_empty() && !text.starts_with('#') {
                file.take(path, line, text)
                    .map_err(|why| complaint(path, line, why))?;
            }
        }
        Ok(file)
    }

    /// Takes note of one setting.
    fn take(&mut self, path: &Path, line: usize, text: &str) -> Result<(), String> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("'{text}' is not like NAME = VALUE"))?;
        let (name, value) = (name.trim_end(), value.trim_start());
        let flag = flag(name)?;
        if value.is_empty() {
            return Err(format!("{name} has no value"));
        }
        let said = self.entries.iter().position(|e| e.flag.name == flag.name);
        match said.map(|said| &mut self.entries[said]) {
            Some(entry) if !flag.repeatable => {
                return Err(format!("{name} was set in line {} already", entry.lines[0]));
            }
            Some(entry) => {
                entry.values.push(value.to_owned());
                entry.lines.push(line);
            }
            None => self.entries.push(Entry {
                flag,
                path: path.to_owned(),
                values: vec![value.to_owned()],
                lines: vec![line],
            }),
        }
        Ok(())
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Settings {
    /// Sets what a file says of one flag.
    pub(super) fn set_from(&mut self, entry: &Entry) -> Result<(), ConfigError> {
        let Entry {
            flag,
            path,
            values,
            lines,
        } = entry;
        self.set(flag, values).map_err(|why| {
            // Alone it is as wrong as among the others.
            let wrong = |value: &String| {
                Self::unsaid()
                    .set(flag, std::slice::from_ref(value))
                    .is_err()
            };
            let index = values.iter().position(wrong).unwrap_or(values.len() - 1);
            complaint(path, lines[index], format!("{}: {why}", flag.name))
        })
    }
}

fn complaint(path: &Path, line: usize, why: String) -> ConfigError {
    ConfigError::Line {
        path: path.to_owned(),
        line,
        why,
    }
}

/// The flag of this name, if a file may set it. What has no variable is no setting but a question.
fn flag(name: &str) -> Result<&'static Flag, String> {
    let may_be_set = |flag: &&Flag| flag.name != "config" && flag.variable().is_some();
    match FLAGS.iter().find(|flag| flag.name == name) {
        Some(flag) if may_be_set(&flag) => Ok(flag),
        Some(_) => Err(format!("{name} cannot be set in a file")),
        None => {
            let known = FLAGS.iter().filter(may_be_set).map(|flag| flag.name);
            Err(match nearest(name, known) {
                Some(nearest) => format!("unknown setting '{name}', did you mean '{nearest}'?"),
                None => format!("unknown setting '{name}'"),
            })
        }
    }
}

/// Where the file is.
fn path(arguments: &Arguments, environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    let flag = FLAGS.iter().find(|flag| flag.name == "config")?;
    let said = arguments.values(flag).and_then(<[String]>::last);
    let path = said.map(OsString::from).or_else(|| {
        let variable = flag.variable()?;
        let (_, value) = environment.iter().find(|(name, _)| *name == *variable)?;
        Some(value.clone())
    })?;
    (path != "none" && !path.is_empty()).then(|| PathBuf::from(path))
}

/// Reads a regular file: a pipe could let a server that runs wait for ever.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        let why = "not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut text = Vec::new();
    File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        let why = format!("longer than {MAX_FILE} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(text)
}
