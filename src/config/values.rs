//! What single values mean.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use fanfare::{HubConfig, Rate, ServerConfig};

pub(super) fn each<T>(
    values: &[String],
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    values.iter().map(|value| read(value)).collect()
}

/// Reads what knows how to read itself, and says `not a …` where it cannot.
pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("'{text}' is {error}"))
}

pub(super) fn path(text: &str) -> Result<String, String> {
    let mut alone = ServerConfig::default();
    text.clone_into(&mut alone.hub.handshake.path);
    unless_refused(text, &alone)
}

pub(super) fn subprotocol(text: &str) -> Result<String, String> {
    let mut alone = ServerConfig::default();
    alone.hub.handshake.subprotocols.push(text.to_owned());
    unless_refused(text, &alone)
}

/// The text, if the settings that it stands in `alone` hold. The library's check knows the rule
/// but not the flag, so it is asked before the values mix.
fn unless_refused(text: &str, alone: &ServerConfig) -> Result<String, String> {
    match alone.check() {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(format!("'{text}' is refused: {error}")),
    }
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!(
            "'{text}' is neither 1, true, yes, on nor 0, false, no, off"
        )),
    }
}

/// Splits `25s` into its digits and its unit.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Reads a number of things, one at least.
pub(super) fn count(text: &str) -> Result<usize, String> {
    let (digits, unit) = split_unit(text);
    if digits.is_empty() || !unit.is_empty() {
        return Err(format!("'{text}' is not a count like 1000"));
    }
    match digits.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(_) => Err(format!("'{text}' is too large")),
    }
}

/// Reads a number of things that may be limited; 0 is no limit.
pub(super) fn count_limit(text: &str) -> Result<Option<usize>, String> {
    if text == "0" {
        return Ok(None);
    }
    count(text).map(Some)
}

/// Reads a number of bytes that may be limited; 0 is no limit.
pub(super) fn size_limit(text: &str) -> Result<Option<usize>, String> {
    if text == "0" {
        return Ok(None);
    }
    size(text).map(Some)
}

/// Reads `RATE`: so many a second, and behind a colon how many may come at once; as many as in a
/// second, if that is not said. 0 is no limit.
pub(super) fn rate(text: &str) -> Result<Option<Rate>, String> {
    if text == "0" {
        return Ok(None);
    }
    let (per_second, burst) = text.split_once(':').unwrap_or((text, text));
    let number = |part: &str| match size(part) {
        Ok(number) => u64::try_from(number).map_err(|_| format!("'{text}' is too large")),
        Err(_) if part.bytes().all(|byte| byte == b'0') && !part.is_empty() => {
            Err("must be at least 1".to_owned())
        }
        Err(_) => Err(format!("'{text}' is not a rate like 10, 10:50 or 64K:1M")),
    };
    Ok(Some(Rate {
        per_second: number(per_second)?,
        burst: number(burst)?,
    }))
}

/// Reads the mode of a file in octal digits.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let is_octal = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| is_octal && *mode <= 0o777)
        .ok_or_else(|| format!("'{text}' is not a mode like 660"))
}

/// Reads one word of a few.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!("'{text}' is none of {}", known.join(", "))
    })
}

/// Reads where a file is, unless it is `none`. Nothing is not `none`: it is what a variable of the
/// shell comes to that was never set, and a server without its credentials is open to all.
pub(super) fn file(text: &str) -> Result<Option<PathBuf>, String> {
    match text {
        "" => Err("'' names no file: say none if there is none".to_owned()),
        "none" => Ok(None),
        path => Ok(Some(PathBuf::from(path))),
    }
}

/// Reads a number of bytes, one at least.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = split_unit(text);
    let factor: usize = match unit {
        "" => 1,
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        _ => 0,
    };
    if digits.is_empty() || factor == 0 {
        return Err(format!("'{text}' is not a size like 64K or 1M"));
    }
    let size = digits
        .parse()
        .ok()
        .and_then(|number: usize| number.checked_mul(factor));
    match size {
        Some(0) => Err("must be at least 1".to_owned()),
        Some(size) => Ok(size),
        None => Err(format!("'{text}' is too large")),
    }
}

/// Reads a duration that may be zero.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = split_unit(text);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        "" if text == "0" => 1,
        "" if !digits.is_empty() => {
            return Err(format!("'{text}' has no unit: write {text}s or {text}ms"));
        }
        _ => 0,
    };
    if digits.is_empty() || milliseconds == 0 {
        return Err(format!("'{text}' is not a duration like 500ms, 25s or 2m"));
    }
    let duration = digits
        .parse()
        .ok()
        .and_then(|number: u64| number.checked_mul(milliseconds));
    duration
        .map(Duration::from_millis)
        .filter(|duration| *duration <= HubConfig::MAX_DURATION)
        .ok_or_else(|| format!("'{text}' is longer than a year"))
}

/// Reads a duration that may not be zero.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must not be 0".to_owned()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let max = usize::MAX.to_string();
        for (text, bytes) in [("1", 1), ("64K", 65_536), ("2m", 2 << 20), ("1G", 1 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert_eq!(size(&max), Ok(usize::MAX));
        for text in [
            "", "K", "abc", "1.5M", "-1", "+1", "64KB", "1 K", "1T", "٣K",
        ] {
            assert_eq!(
                size(text),
                Err(format!("'{text}' is not a size like 64K or 1M"))
            );
        }
        for text in [format!("{max}0"), format!("{max}K")] {
            assert_eq!(size(&text), Err(format!("'{text}' is too large")));
        }
        assert_eq!(size("0K"), Err("must be at least 1".to_owned()));
    }

    #[test]
    fn durations() {
        let read = |text: &str| duration(text).map(|duration| duration.as_millis());
        for (text, milliseconds) in [("500ms", 500), ("25s", 25_000), ("2m", 120_000), ("0", 0)] {
            assert_eq!(read(text), Ok(milliseconds), "{text}");
        }
        assert_eq!(duration("8760h"), Ok(HubConfig::MAX_DURATION));
        for text in [
            "8761h",
            "31536000001ms",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(read(text), Err(format!("'{text}' is longer than a year")));
        }
        for text in ["", "s", "abc", "1.5s", "-1s", "1d", "1 s", "1S"] {
            let error = format!("'{text}' is not a duration like 500ms, 25s or 2m");
            assert_eq!(read(text), Err(error));
        }
        assert_eq!(
            read("25"),
            Err("'25' has no unit: write 25s or 25ms".to_owned())
        );
    }

    #[test]
    fn counts() {
        assert_eq!(count("1"), Ok(1));
        assert_eq!(count("0"), Err("must be at least 1".to_owned()));
        for text in ["", "-1", "+1", "1K", "ten"] {
            assert_eq!(
                count(text),
                Err(format!("'{text}' is not a count like 1000"))
            );
        }
        let text = "99999999999999999999";
        assert_eq!(count(text), Err(format!("'{text}' is too large")));
    }

    #[test]
    fn rates() {
        let read = |text: &str| rate(text).map(|rate| rate.map(|r| (r.per_second, r.burst)));
        assert_eq!(read("0"), Ok(None));
        assert_eq!(read("10"), Ok(Some((10, 10))));
        assert_eq!(read("10:50"), Ok(Some((10, 50))));
        assert_eq!(read("64K:1M"), Ok(Some((65_536, 1 << 20))));
        for text in ["", ":", "10:", ":10", "1:2:3", "-1", "a"] {
            assert!(
                read(text).unwrap_err().contains("is not a rate like"),
                "{text}"
            );
        }
        for text in ["0:1", "1:0"] {
            assert_eq!(read(text), Err("must be at least 1".to_owned()), "{text}");
        }
    }

    #[test]
    fn modes() {
        assert_eq!(mode("660"), Ok(0o660));
        assert_eq!(mode("0777"), Ok(0o777));
        for text in ["", "1000", "668", "rw", "+7", "0o660"] {
            assert_eq!(mode(text), Err(format!("'{text}' is not a mode like 660")));
        }
    }

    #[test]
    fn files_are_named_or_none() {
        assert_eq!(file("none"), Ok(None));
        assert_eq!(file("/a"), Ok(Some(PathBuf::from("/a"))));
        assert!(file("").is_err(), "that of a variable that was forgotten");
    }

    #[test]
    fn limits_may_be_off() {
        assert_eq!(
            (count_limit("0"), count_limit("7")),
            (Ok(None), Ok(Some(7)))
        );
        assert_eq!(
            (size_limit("0"), size_limit("1K")),
            (Ok(None), Ok(Some(1024)))
        );
        assert_eq!(
            count_limit("1K"),
            Err("'1K' is not a count like 1000".to_owned())
        );
    }
}
