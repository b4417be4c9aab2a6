//! All flags, each declared once: what parses, what explains, and what README's table is compared
//! with.

mod redis;
mod table;

/// All flags, in the order of `--help`.
pub(crate) const FLAGS: &[Flag] = &joined::<COUNT>(GROUPS);

const GROUPS: &[&[Flag]] = &[table::SERVER, redis::REDIS, table::REST];
const COUNT: usize = table::SERVER.len() + redis::REDIS.len() + table::REST.len();

/// What the names of our environment variables start with.
pub(crate) const VARIABLE_PREFIX: &str = "FANFARE_";

/// One flag: how it is written, what it takes, and what it says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// Its long name, without the dashes.
    pub(crate) name: &'static str,
    /// The letter that stands for it.
    pub(crate) short: Option<char>,
    /// The placeholder of its value; a flag without one is a switch.
    pub(crate) value: Option<&'static str>,
    /// Whether each occurrence adds something. Of other flags the last one wins.
    pub(crate) repeatable: bool,
    /// What holds without it; a text that the flag would take, where there is one.
    pub(crate) default: &'static str,
    /// What it does, for `--help`.
    pub(crate) help: &'static str,
    /// The title of the group of flags that begins with it.
    pub(crate) heading: Option<&'static str>,
}

/// What most flags have in common; each names its own value.
const VALUE: Flag = Flag {
    name: "",
    short: None,
    value: None,
    repeatable: false,
    default: "",
    help: "",
    heading: None,
};

/// What switches have in common.
const SWITCH: Flag = Flag {
    default: "off",
    ..VALUE
};

impl Flag {
    /// The environment's variable that says the same: `FANFARE_…`. Questions are no settings, so
    /// they have none.
    pub(crate) fn variable(&self) -> Option<String> {
        let is_question = matches!(self.name, "explain-memory" | "help" | "version");
        let name = || self.name.to_ascii_uppercase().replace('-', "_");
        (!is_question).then(|| format!("{VARIABLE_PREFIX}{}", name()))
    }

    /// How `--help` writes it: `  -v, --verbose`, `      --path PATH`.
    pub(crate) fn usage(&self) -> String {
        let short = self
            .short
            .map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        let value = self
            .value
            .map_or(String::new(), |value| format!(" {value}"));
        format!("  {short}--{}{value}", self.name)
    }

    /// What `--help` says of it.
    pub(crate) fn description(&self) -> String {
        match (self.value, self.repeatable) {
            (None, _) => self.help.to_owned(),
            (Some(_), false) => format!("{} (default {})", self.help, self.default),
            (Some(_), true) => format!("{} (repeatable, default {})", self.help, self.default),
        }
    }
}

/// One table of several, made when this is compiled: hence the loops without iterators.
const fn joined<const N: usize>(groups: &[&[Flag]]) -> [Flag; N] {
    let (mut all, mut len) = ([VALUE; N], 0);
    let mut group = 0;
    while group < groups.len() {
        let mut index = 0;
        while index < groups[group].len() {
            all[len] = groups[group][index];
            len += 1;
            index += 1;
        }
        group += 1;
    }
    assert!(
        len == N,
        "there is a place for each, and one for each place"
    );
    all
}
