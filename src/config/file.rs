//! More settings, in a file: one `NAME = VALUE` a line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::values::file;
use super::{ConfigError, Settings};
use crate::cli::{Arguments, nearest};
use crate::flags::{FLAGS, Flag};
use crate::small_file;

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
        let Some(path) = path(arguments, environment)? else {
            return Ok(None);
        };
        let text = small_file::read(&path, MAX_FILE).map_err(|error| ConfigError::Unreadable {
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

    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
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
fn path(
    arguments: &Arguments,
    environment: &[(OsString, OsString)],
) -> Result<Option<PathBuf>, ConfigError> {
    let flag = FLAGS.iter().find(|flag| flag.name == "config");
    let flag = flag.expect("it is in the table");
    if let Some(said) = arguments.values(flag).and_then(<[String]>::last) {
        return file(said).map_err(|why| ConfigError::Invalid {
            setting: "--config".to_owned(),
            why,
        });
    }
    let variable = flag.variable().expect("it is a setting");
    let said = environment.iter().find(|(name, _)| *name == *variable);
    let path = said.map(|(_, value)| PathBuf::from(value));
    // An empty variable counts as unset, whatever it is for.
    Ok(path.filter(|path| path != Path::new("none") && !path.as_os_str().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};

    /// The settings that a command line, an environment and a file make.
    fn settings(line: &str, environment: &str, text: &str) -> Result<Settings, ConfigError> {
        let command = parse(line.split_whitespace().map(OsString::from)).unwrap();
        let Command::Serve(arguments) = command else {
            panic!("{line} does not serve")
        };
        let environment = environment.split_whitespace().map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (OsString::from(name), OsString::from(value))
        });
        let file = ConfigFile::parse(Path::new("f.conf"), text.as_bytes())?;
        Settings::new(&arguments, environment, Some(&file))
    }

    fn complaint(text: &str) -> String {
        settings("", "", text).unwrap_err().to_string()
    }

    #[test]
    fn a_line_says_what_a_flag_says() {
        let by_flags = settings(
            "--max-rooms 7 --no-echo --path /a --tokens /a=b#c --subprotocol a --subprotocol b -vv",
            "",
            "",
        );
        let text = "\t# a comment\r\nmax-rooms=7\r\n\n  no-echo = yes\npath\t=\t/a  \n\
                    tokens = /a=b#c\nsubprotocol = a\nverbose = on\nsubprotocol = b\n\
                    no-demo = off\nverbose = 1";
        assert_eq!(settings("", "", text), by_flags);
        assert_eq!(settings("", "", ""), settings("", "", "#\n\n"));
    }

    /// What has a variable, and no more, has a place in the file.
    #[test]
    fn every_setting_can_be_in_a_file_and_no_question() {
        for flag in FLAGS {
            let name = flag.name;
            if matches!(name, "config" | "help" | "version" | "explain-memory") {
                let error = format!("f.conf:1: {name} cannot be set in a file");
                assert_eq!(complaint(&format!("{name} = on")), error);
            } else {
                let file = ConfigFile::parse(Path::new(""), format!("{name} = x").as_bytes());
                assert_eq!(file.unwrap().entries()[0].flag.name, name);
            }
        }
    }

    #[test]
    fn flags_win_over_variables_and_variables_over_the_file() {
        let text = "max-rooms = 1\nallow-origin = https://a.com\nallow-origin = https://b.com\n";
        let said = |line, environment| settings(line, environment, text).unwrap().server.hub;
        let origins = |line, environment| said(line, environment).handshake.allowed_origins.len();
        assert_eq!(said("", "").max_rooms, 1);
        assert_eq!(said("", "FANFARE_MAX_ROOMS=").max_rooms, 1);
        assert_eq!(said("", "FANFARE_MAX_ROOMS=2").max_rooms, 2);
        assert_eq!(said("--max-rooms 3", "FANFARE_MAX_ROOMS=2").max_rooms, 3);
        assert_eq!(origins("", ""), 2);
        assert_eq!(origins("--allow-origin *", ""), 1);
        assert_eq!(origins("", "FANFARE_ALLOW_ORIGIN=*"), 1);
        // Even over a broken one, and in one matter over the other's words.
        assert!(settings("--max-rooms 3", "", "max-rooms = few").is_ok());
        let level = |line, environment, text| settings(line, environment, text).unwrap().log_level;
        assert_eq!(level("", "", "quiet = on"), log::LevelFilter::Warn);
        assert_eq!(level("-v", "", "quiet = on"), log::LevelFilter::Debug);
        assert_eq!(
            level("", "FANFARE_VERBOSE=1", "quiet = on"),
            log::LevelFilter::Debug
        );
    }

    #[test]
    fn errors_name_the_line() {
        for (text, error) in [
            (
                "\n\nmax-rooms",
                "f.conf:3: 'max-rooms' is not like NAME = VALUE",
            ),
            ("max-rooms =", "f.conf:1: max-rooms has no value"),
            ("= 5", "f.conf:1: unknown setting ''"),
            (
                "--max-rooms = 5",
                "f.conf:1: unknown setting '--max-rooms', did you mean 'max-rooms'?",
            ),
            ("port = 5", "f.conf:1: unknown setting 'port'"),
            (
                "max-rooms = 1\n\nmax-rooms = 2",
                "f.conf:3: max-rooms was set in line 1 already",
            ),
            (
                "max-rooms = 5 # few",
                "f.conf:1: max-rooms: '5 # few' is not a count like 1000",
            ),
            (
                "allow-origin = *\nallow-origin = a.com\nallow-origin = *",
                "f.conf:2: allow-origin: 'a.com' is not an origin like https://example.com, \
                 https://*.example.com, same-origin or *",
            ),
            (
                "pong-timeout = 25s",
                "ping interval 25s is not longer than pong timeout 25s",
            ),
        ] {
            assert_eq!(complaint(text), error);
        }
        let error = ConfigFile::parse(Path::new("f.conf"), b"path = /a\n\xff\n").unwrap_err();
        assert_eq!(error.to_string(), "f.conf:2: not UTF-8");
    }

    #[test]
    fn the_flag_or_else_the_variable_says_where_the_file_is() {
        let place = |line: &str, variable: &str| {
            let command = parse(line.split_whitespace().map(OsString::from)).unwrap();
            let Command::Serve(arguments) = command else {
                panic!("{line} does not serve")
            };
            path(&arguments, &[("FANFARE_CONFIG".into(), variable.into())])
        };
        assert_eq!(place("", ""), Ok(None));
        assert_eq!(place("", "/v"), Ok(Some("/v".into())));
        assert_eq!(place("--config /f", "/v"), Ok(Some("/f".into())));
        assert_eq!(place("--config none", "/v"), Ok(None));
        assert!(place("--config=", "/v").is_err());
    }
}
