//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use crate::payload::{MAX_PUBLISHERS, STAMP};

/// What `--help` says.
pub const HELP: &str = "\
usage: load SCENARIO --address 127.0.0.1:PORT --pid PID [OPTION...]

Loads a WebSocket server, or several that are one to their clients, verifies every delivery, and
counts what the server has used by it.

scenarios, their own options and defaults:
  fanout     --clients 100 --publishers 1 and one of --burst K, --window W, --rate R
  echo       --clients 100 --window 1 (a `{}` in --path becomes the client's number)
  idle       --clients 10000 --seconds 10
  slow       --clients 100 --slow 10 --publishers 1 --rate 1000
  churn      --clients 100 --churn 100 --publishers 1 --rate 1000
  handshake  --window 16 --close clean
  rooms      --rooms 1000 --members 10 --rate 1 (a second and room; --path /ws/{})

options of all:
  --address ADDR    where the server listens; ADDR,ADDR has clients connect to each in turn
  --pid PID         the server's process; PID,PID has what several use added up
  --path PATH       what to ask for; default /ws
  --json FILE       writes the result as JSON; `-` is stdout, instead of the text
  --seconds S       how long is measured; default 3
  --warm-up S       how long the same goes on before it is measured; default 0.5
options of those that speak:
  --messages M      how many messages are measured, instead of --seconds
  --size B          bytes of a payload, at least 20, K and M allowed; default 128
  --text            text messages instead of binary ones
options of some:
  --clients N       how many are connected
  --publishers P    how many of them speak
  --burst K         a publisher says K at once; the next K when all have heard all of them
  --window W        each publisher keeps W of its own messages in flight; W handshakes at once
  --rate R          R messages a second, come what may; latency counts from when each was due
  --slow K          clients on top of the others who never read
  --churn C         clients a second, on top of the others, who come and go
  --close HOW       clean: our side is ended, and the server's waited for; reset: by RST
  --rooms R         rooms, one publisher each
  --members M       clients of a room

exit codes: 0 all was verified, 1 something was not as it must be, 2 usage
";

/// The options that every scenario takes.
const OF_ALL: [&str; 7] = [
    "address", "pid", "path", "json", "seconds", "warm-up", "help",
];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// One room.
    Fanout,
    /// Everybody hears itself alone.
    Echo,
    /// Nobody speaks.
    Idle,
    /// One room, and some who do not read.
    Slow,
    /// One room, and some who come and go.
    Churn,
    /// Opening handshakes.
    Handshake,
    /// Many small rooms.
    Rooms,
}

/// When the publishers speak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many messages in one write, the next when all have heard all of them.
    Burst(u32),
    /// Each publisher keeps so many of its own messages in flight.
    Window(u32),
    /// So many messages a second, by all publishers together.
    Rate(f64),
}

/// How a client ends a connection in the handshake scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It ends its side, and waits for the server to end the other.
    Clean,
    /// It resets the connection.
    Reset,
}

/// A command line that makes sense.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "HELP says what each is")]
pub struct Options {
    pub scenario: Scenario,
    pub addresses: Vec<SocketAddr>,
    pub pids: Vec<u32>,
    pub path: String,
    pub json: Option<PathBuf>,
    pub clients: usize,
    pub publishers: u32,
    pub size: usize,
    pub is_text: bool,
    pub pace: Pace,
    pub seconds: Duration,
    pub messages: Option<u64>,
    pub warm_up: Duration,
    pub slow: usize,
    pub churn: f64,
    pub ending: Ending,
    pub rooms: usize,
    pub members: usize,
}

impl Scenario {
    const ALL: [Self; 7] = [
        Self::Fanout,
        Self::Echo,
        Self::Idle,
        Self::Slow,
        Self::Churn,
        Self::Handshake,
        Self::Rooms,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fanout => "fanout",
            Self::Echo => "echo",
            Self::Idle => "idle",
            Self::Slow => "slow",
            Self::Churn => "churn",
            Self::Handshake => "handshake",
            Self::Rooms => "rooms",
        }
    }

    /// The options that it takes, those of all aside.
    fn takes(self, option: &str) -> bool {
        let speaks = ["messages", "size", "text"];
        let own: &[&str] = match self {
            Self::Fanout => &["clients", "publishers", "burst", "window", "rate"],
            Self::Echo => &["clients", "window"],
            Self::Idle => return option == "clients",
            Self::Slow => &["clients", "publishers", "rate", "slow"],
            Self::Churn => &["clients", "publishers", "rate", "churn"],
            Self::Handshake => return matches!(option, "window" | "close"),
            Self::Rooms => &["rooms", "members", "rate"],
        };
        speaks.contains(&option) || own.contains(&option)
    }

    /// How it is paced unless it is told.
    fn pace(self) -> Option<Pace> {
        match self {
            Self::Fanout => None,
            Self::Echo => Some(Pace::Window(1)),
            Self::Slow | Self::Churn => Some(Pace::Rate(1000.0)),
            Self::Rooms | Self::Idle => Some(Pace::Rate(1.0)),
            Self::Handshake => Some(Pace::Window(16)),
        }
    }
}

/// Reads a command line; `None` if it asks for help.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, lexopt::Error> {
    let mut parser = Parser::from_args(arguments);
    let scenario = match parser.next()? {
        Some(Arg::Value(name)) => {
            let known = |scenario: &Scenario| name == scenario.name();
            let found = Scenario::ALL.into_iter().find(known);
            found.ok_or_else(|| format!("there is no scenario {}", name.display()))?
        }
        Some(Arg::Long("help") | Arg::Short('h')) => return Ok(None),
        _ => return Err("the first argument is a scenario; see --help".into()),
    };
    let mut pace = None;
    let mut options = defaults(scenario);
    while let Some(argument) = parser.next()? {
        let name = match argument {
            Arg::Long(name) => name.to_owned(),
            Arg::Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        };
        if !OF_ALL.contains(&name.as_str()) && !scenario.takes(&name) {
            return Err(format!("{} takes no --{name}", scenario.name()).into());
        }
        let mut set_pace = |new| match pace.replace(new) {
            None => Ok(()),
            Some(_) => Err("give one of --burst, --window, --rate"),
        };
        match name.as_str() {
            "help" => return Ok(None),
            "address" => options.addresses = parser.value()?.parse_with(list)?,
            "pid" => options.pids = parser.value()?.parse_with(list)?,
            "path" => options.path = parser.value()?.string()?,
            "json" => options.json = Some(parser.value()?.into()),
            "seconds" => options.seconds = parser.value()?.parse_with(seconds)?,
            "messages" => options.messages = Some(parser.value()?.parse()?),
            "size" => options.size = parser.value()?.parse_with(size)?,
            "text" => options.is_text = true,
            "warm-up" => options.warm_up = parser.value()?.parse_with(seconds)?,
            "clients" => options.clients = parser.value()?.parse()?,
            "publishers" => options.publishers = parser.value()?.parse()?,
            "burst" => set_pace(Pace::Burst(parser.value()?.parse_with(count)?))?,
            "window" => set_pace(Pace::Window(parser.value()?.parse_with(count)?))?,
            "rate" => set_pace(Pace::Rate(parser.value()?.parse_with(rate)?))?,
            "slow" => options.slow = parser.value()?.parse()?,
            "churn" => options.churn = parser.value()?.parse_with(rate)?,
            "close" => options.ending = parser.value()?.parse_with(ending)?,
            "rooms" => options.rooms = parser.value()?.parse()?,
            "members" => options.members = parser.value()?.parse()?,
            _ => return Err(format!("there is no option --{name}").into()),
        }
    }
    if options.addresses.is_empty() {
        return Err("--address is missing".into());
    }
    if options.pids.is_empty() {
        return Err("--pid is missing".into());
    }
    options.pace = pace
        .or(scenario.pace())
        .ok_or("give one of --burst, --window, --rate")?;
    check(&mut options)?;
    Ok(Some(options))
}

fn defaults(scenario: Scenario) -> Options {
    let is_idle = scenario == Scenario::Idle;
    Options {
        scenario,
        addresses: Vec::new(),
        pids: Vec::new(),
        path: if scenario == Scenario::Rooms {
            "/ws/{}"
        } else {
            "/ws"
        }
        .to_owned(),
        json: None,
        clients: if is_idle { 10_000 } else { 100 },
        publishers: 1,
        size: 128,
        is_text: false,
        pace: Pace::Burst(1),
        seconds: Duration::from_secs(if is_idle { 10 } else { 3 }),
        messages: None,
        warm_up: Duration::from_millis(500),
        slow: 10,
        churn: 100.0,
        ending: Ending::Clean,
        rooms: 1000,
        members: 10,
    }
}

/// Checks what options have to do with each other.
fn check(options: &mut Options) -> Result<(), String> {
    match options.scenario {
        Scenario::Echo => options.publishers = u32::try_from(options.clients).unwrap_or(u32::MAX),
        Scenario::Rooms => {
            options.publishers = u32::try_from(options.rooms).unwrap_or(u32::MAX);
            options.clients = options.rooms.saturating_mul(options.members);
        }
        Scenario::Idle => options.publishers = 0,
        Scenario::Handshake => (options.clients, options.publishers) = (0, 0),
        Scenario::Fanout | Scenario::Slow | Scenario::Churn => {
            if options.publishers == 0 {
                return Err("somebody has to speak: --publishers is 0".to_owned());
            }
        }
    }
    let publishers = options.publishers as usize;
    if options.scenario != Scenario::Handshake && options.clients == 0 {
        return Err("there are no clients".to_owned());
    }
    if publishers > options.clients || publishers > MAX_PUBLISHERS {
        return Err(format!("{publishers} publishers are too many"));
    }
    if options.size < STAMP {
        return Err(format!("--size {} is less than {STAMP}", options.size));
    }
    Ok(())
}

/// Reads things with commas between them, one at least.
fn list<T: FromStr>(text: &str) -> Result<Vec<T>, String> {
    let things = text.split(',').map(|thing| {
        let parsed = thing.parse();
        parsed.map_err(|_| format!("{thing:?} in {text:?} is none"))
    });
    things.collect()
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text} is no number"))?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let number: usize = digits.parse().map_err(|_| format!("{text} is no size"))?;
    number
        .checked_mul(unit)
        .ok_or(format!("{text} is too large"))
}

fn count(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{text} is no count from 1 on")),
        Ok(count) => Ok(count),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (1e-3..=1e9).contains(&rate) => Ok(rate),
        _ => Err(format!("{text} is no rate")),
    }
}

fn ending(text: &str) -> Result<Ending, String> {
    match text {
        "clean" => Ok(Ending::Clean),
        "reset" => Ok(Ending::Reset),
        _ => Err(format!("{text} is neither clean nor reset")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Options>, String> {
        let common = "--address 127.0.0.1:1 --pid 1";
        let words = line.split(' ').chain(common.split(' '));
        parse(words.map(OsString::from)).map_err(|error| error.to_string())
    }

    fn options(line: &str) -> Options {
        parsed(line).expect("it makes sense").expect("not for help")
    }

    #[test]
    fn what_makes_sense_is_understood() {
        let fanout = options("fanout --clients 7 --publishers 3 --size 2K --burst 5 --seconds 1.5");
        assert_eq!((fanout.clients, fanout.publishers), (7, 3));
        assert_eq!((fanout.size, fanout.pace), (2048, Pace::Burst(5)));
        assert_eq!(fanout.seconds, Duration::from_millis(1500));
        let echo = options("echo --clients 7 --window 2 --path /ws/{}");
        assert_eq!((echo.publishers, echo.pace), (7, Pace::Window(2)));
        let rooms = options("rooms --rooms 3 --members 4");
        assert_eq!((rooms.clients, rooms.publishers), (12, 3));
        assert_eq!(rooms.path, "/ws/{}");
        assert_eq!(options("idle").clients, 10_000);
        assert_eq!(options("handshake --close reset").ending, Ending::Reset);
        let one = options("idle");
        assert_eq!((one.addresses.len(), one.pids), (1, vec![1]));
        let line = "idle --address 127.0.0.1:7,[::1]:8 --pid 7,8";
        let several = parse(line.split(' ').map(OsString::from));
        let several = several.expect("it makes sense").expect("not for help");
        assert_eq!(several.pids, [7, 8]);
        assert_eq!(several.addresses[1].to_string(), "[::1]:8");
        assert!(parsed("fanout --help").expect("help is fine").is_none());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, expected) in [
            ("sing", "there is no scenario sing"),
            ("fanout", "give one of --burst"),
            ("fanout --burst 1 --rate 1", "give one of --burst"),
            ("fanout --burst 0", "0 is no count"),
            ("fanout --rate 0", "0 is no rate"),
            ("fanout --rate NaN", "NaN is no rate"),
            ("fanout --burst 1 --size 19", "--size 19 is less than 20"),
            ("fanout --burst 1 --size 1G", "1G is no size"),
            (
                "fanout --burst 1 --clients 1 --publishers 2",
                "2 publishers are too many",
            ),
            ("fanout --burst 1 --publishers 0", "somebody has to speak"),
            ("fanout --burst 1 --rooms 2", "fanout takes no --rooms"),
            ("fanout --burst 1 --quietly", "fanout takes no --quietly"),
            ("echo --clients 0", "there are no clients"),
            ("rooms --members 0", "there are no clients"),
            ("handshake --close slowly", "slowly is neither"),
            ("idle --size 128", "idle takes no --size"),
            ("idle --pid 1,", "\"\" in \"1,\" is none"),
            ("idle --address 1", "\"1\" in \"1\" is none"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
        let without = |words: &str| parse(words.split(' ').map(OsString::from)).unwrap_err();
        assert!(
            without("idle --pid 1")
                .to_string()
                .contains("--address is missing")
        );
        assert!(
            without("idle --address 127.0.0.1:1")
                .to_string()
                .contains("--pid is missing")
        );
    }

    #[test]
    fn each_option_is_explained() {
        for scenario in Scenario::ALL {
            assert!(HELP.contains(&format!("\n  {} ", scenario.name())));
        }
        for line in HELP.lines().filter_map(|line| line.strip_prefix("  --")) {
            let name = line.split(' ').next().unwrap_or_default();
            let of_all = OF_ALL.contains(&name);
            let takes = |scenario: &Scenario| scenario.takes(name);
            assert!(of_all || Scenario::ALL.iter().any(takes), "--{name}");
        }
    }
}
