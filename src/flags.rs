//! All flags, each declared once: what parses, what explains, and what README's table is compared
//! with.

/// What the names of our environment variables start with.
pub(crate) const VARIABLE_PREFIX: &str = "FANFARE_";

/// One flag: how it is written, what it takes, and what it says of itself.
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
}

/// What most flags have in common; each names its own value.
const VALUE: Flag = Flag {
    name: "",
    short: None,
    value: None,
    repeatable: false,
    default: "",
    help: "",
};

/// What switches have in common.
const SWITCH: Flag = Flag {
    default: "off",
    ..VALUE
};

/// All flags, in the order of `--help`.
pub(crate) const FLAGS: &[Flag] = &[
    Flag {
        name: "listen",
        value: Some("ADDR"),
        repeatable: true,
        default: "127.0.0.1:8080",
        help: "where to listen: host:port (port 0 lets the kernel choose), [::]:8080, unix:/path, \
               systemd",
        ..VALUE
    },
    Flag {
        name: "path",
        value: Some("PATH"),
        default: "/ws",
        help: "where WebSockets live: one room at PATH, others at PATH/NAME",
        ..VALUE
    },
    Flag {
        name: "allow-origin",
        value: Some("ORIGIN"),
        repeatable: true,
        default: "same-origin",
        help: "web pages that may connect: https://example.com, https://*.example.com, \
               same-origin, or * for all; what is not a browser always may",
        ..VALUE
    },
    Flag {
        name: "subprotocol",
        value: Some("NAME"),
        repeatable: true,
        default: "none",
        help: "a subprotocol on offer, the preferred one first",
        ..VALUE
    },
    Flag {
        name: "max-message-size",
        value: Some("SIZE"),
        default: "64K",
        help: "the longest message; a longer one is closed with 1009",
        ..VALUE
    },
    Flag {
        name: "max-client-buffer",
        value: Some("SIZE"),
        default: "1M",
        help: "what may be queued for one client before it is dropped as too slow; at least 65K \
               more than the longest message",
        ..VALUE
    },
    Flag {
        name: "max-connections",
        value: Some("COUNT"),
        default: "from the fd limit",
        help: "clients at once; more are answered with 503",
        ..VALUE
    },
    Flag {
        name: "max-rooms",
        value: Some("COUNT"),
        default: "65536",
        help: "rooms at once; whoever asks for one more is answered with 503",
        ..VALUE
    },
    Flag {
        name: "ping-interval",
        value: Some("DURATION"),
        default: "25s",
        help: "silence after which a client is sent a Ping; 0 turns Pings off",
        ..VALUE
    },
    Flag {
        name: "pong-timeout",
        value: Some("DURATION"),
        default: "10s",
        help: "silence after a Ping that ends a connection; less than the ping interval",
        ..VALUE
    },
    Flag {
        name: "handshake-timeout",
        value: Some("DURATION"),
        default: "5s",
        help: "from connecting to the end of the request",
        ..VALUE
    },
    Flag {
        name: "write-timeout",
        value: Some("DURATION"),
        default: "10s",
        help: "output without progress that drops a client as too slow",
        ..VALUE
    },
    Flag {
        name: "close-timeout",
        value: Some("DURATION"),
        default: "5s",
        help: "how long a client may take to answer our Close",
        ..VALUE
    },
    Flag {
        name: "shutdown-timeout",
        value: Some("DURATION"),
        default: "30s",
        help: "from SIGTERM or SIGINT to the exit, whoever is still connected",
        ..VALUE
    },
    Flag {
        name: "no-echo",
        help: "a client does not hear itself",
        ..SWITCH
    },
    Flag {
        name: "no-demo",
        help: "GET / answers 404 instead of the demo page",
        ..SWITCH
    },
    Flag {
        name: "verbose",
        short: Some('v'),
        repeatable: true,
        help: "log more: -v is debug, -vv is trace; RUST_LOG overrides it",
        ..SWITCH
    },
    Flag {
        name: "quiet",
        short: Some('q'),
        help: "log warnings and errors only; RUST_LOG overrides it",
        ..SWITCH
    },
    Flag {
        name: "help",
        short: Some('h'),
        help: "print this and exit",
        ..VALUE
    },
    Flag {
        name: "version",
        short: Some('V'),
        help: "print the version and the features, and exit",
        ..VALUE
    },
];

impl Flag {
    /// The environment's variable that says the same: `FANFARE_…`. `--help` and `--version` are
    /// questions, not settings, so they have none.
    pub(crate) fn variable(&self) -> Option<String> {
        let is_question = matches!(self.name, "help" | "version");
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
