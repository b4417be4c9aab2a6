//! The table of flags, but for those of Redis.

use super::{Flag, SWITCH, VALUE};

/// What a server by itself needs.
pub(super) const SERVER: &[Flag] = &[
    Flag {
        name: "listen",
        value: Some("ADDR"),
        repeatable: true,
        default: "127.0.0.1:8080",
        help: "where to listen: host:port (port 0 lets the kernel choose), [::]:8080, unix:/path, \
               systemd",
        heading: Some("Where to listen"),
        ..VALUE
    },
    Flag {
        name: "unix-mode",
        value: Some("MODE"),
        default: "from the umask",
        help: "the mode of Unix sockets in the file system, like 660",
        ..VALUE
    },
    Flag {
        name: "reuse-port",
        help: "let other processes listen at the same TCP addresses and share what \
               comes (SO_REUSEPORT)",
        ..SWITCH
    },
    Flag {
        name: "admin",
        value: Some("ADDR"),
        default: "none",
        help: "where operators ask, apart from clients: /healthz, /readyz, /metrics, \
               /rooms, /clients, POST /publish; like 127.0.0.1:9090",
        ..VALUE
    },
    Flag {
        name: "config",
        value: Some("FILE"),
        default: "none",
        help: "more settings, one NAME = VALUE a line; flags and variables win; read \
               again on SIGHUP",
        ..VALUE
    },
    Flag {
        name: "path",
        value: Some("PATH"),
        default: "/ws",
        help: "where WebSockets live: one room at PATH, others at PATH/NAME",
        heading: Some("WebSocket"),
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
        name: "allow-origin",
        value: Some("ORIGIN"),
        repeatable: true,
        default: "same-origin",
        help: "web pages that may connect: https://example.com, https://*.example.com, \
               same-origin, or * for all; what is not a browser always may",
        heading: Some("Who may do what"),
        ..VALUE
    },
    Flag {
        name: "publish",
        value: Some("WHO"),
        default: "any",
        help: "who may send messages: any, token (those whose credential says so), \
               none",
        ..VALUE
    },
    Flag {
        name: "tokens",
        value: Some("FILE"),
        default: "none",
        help: "credentials, one NAME ROLE ROOMS SECRET-HASH a line; 'fanfare token' \
               makes them",
        ..VALUE
    },
    Flag {
        name: "token-in-query",
        help: "take credentials from the query too (?token=...), where logs of \
               proxies may keep them",
        ..SWITCH
    },
    Flag {
        name: "ticket-key",
        value: Some("FILE"),
        default: "none",
        help: "the key of tickets that an application signs for its users",
        ..VALUE
    },
    Flag {
        name: "reject-with",
        value: Some("HOW"),
        default: "status",
        help: "what a client sees that is not let in: status (401, 403) or close \
               (1008 behind an upgrade, which scripts in browsers can see)",
        ..VALUE
    },
    Flag {
        name: "max-message-size",
        value: Some("SIZE"),
        default: "64K",
        help: "the longest message; a longer one is closed with 1009",
        heading: Some("Limits"),
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
        name: "max-total-buffer",
        value: Some("SIZE"),
        default: "0",
        help: "what may be queued for all clients, shared bytes counted once; beyond, \
               the one that owes the most goes; 0 is no limit",
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
        name: "max-connections-per-ip",
        value: Some("COUNT"),
        default: "0",
        help: "connections at once from one address (IPv6: one /64); more are \
               answered with 429; 0 is no limit",
        ..VALUE
    },
    Flag {
        name: "max-handshakes",
        value: Some("COUNT"),
        default: "0",
        help: "connections at once that have not been upgraded yet; beyond, the \
               oldest goes with 503; 0 is no limit",
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
        name: "max-room-members",
        value: Some("COUNT"),
        default: "0",
        help: "members of one room; more are answered with 503; 0 is no limit",
        ..VALUE
    },
    Flag {
        name: "accept-rate",
        value: Some("RATE"),
        default: "0",
        help: "connections accepted a second; the others wait in the kernel; 0 is no \
               limit",
        ..VALUE
    },
    Flag {
        name: "message-rate",
        value: Some("RATE"),
        default: "0",
        help: "messages from one client a second; beyond, it is closed with 1008; 0 \
               is no limit",
        ..VALUE
    },
    Flag {
        name: "byte-rate",
        value: Some("RATE"),
        default: "0",
        help: "bytes from one client a second; beyond, it is closed with 1008; 0 is \
               no limit",
        ..VALUE
    },
    Flag {
        name: "slow-policy",
        value: Some("WHAT"),
        default: "close",
        help: "what becomes of a client that lags: close, drop (messages that do not \
               fit are left out), latest (it hears the newest message alone)",
        ..VALUE
    },
    Flag {
        name: "explain-memory",
        help: "print how much memory these settings allow at worst, and exit",
        ..VALUE
    },
    Flag {
        name: "ping-interval",
        value: Some("DURATION"),
        default: "25s",
        help: "silence after which a client is sent a Ping; 0 turns Pings off",
        heading: Some("Time"),
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
        name: "drain-delay",
        value: Some("DURATION"),
        default: "0",
        help: "from SIGTERM to the end of listening: /readyz answers 503 meanwhile",
        ..VALUE
    },
    Flag {
        name: "drain-time",
        value: Some("DURATION"),
        default: "0",
        help: "how long it takes to close all clients, evenly, with 1012; 0 closes \
               all at once, with 1001",
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
        name: "trusted-proxy",
        value: Some("CIDR"),
        repeatable: true,
        default: "none",
        help: "peers that are believed when they say for whom they connect \
               (X-Forwarded-For, Forwarded): 10.0.0.0/8, fd00::/8, or unix for Unix sockets",
        heading: Some("Behind a proxy"),
        ..VALUE
    },
    Flag {
        name: "proxy-protocol",
        help: "trusted proxies begin each connection with a PROXY header, version 1 \
               or 2",
        ..SWITCH
    },
    Flag {
        name: "tls-cert",
        value: Some("FILE"),
        default: "none",
        help: "the certificate chain in PEM; TLS 1.2 and 1.3 instead of plain TCP",
        heading: Some("TLS (feature tls)"),
        ..VALUE
    },
    Flag {
        name: "tls-key",
        value: Some("FILE"),
        default: "none",
        help: "the key that belongs to it, in PEM",
        ..VALUE
    },
    Flag {
        name: "tls-client-ca",
        value: Some("FILE"),
        default: "none",
        help: "clients must show a certificate that one of these has signed, in PEM",
        ..VALUE
    },
];

/// What stands last.
pub(super) const REST: &[Flag] = &[
    Flag {
        name: "verbose",
        short: Some('v'),
        repeatable: true,
        help: "log more: -v is debug, -vv is trace; RUST_LOG overrides it",
        heading: Some("The rest"),
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
