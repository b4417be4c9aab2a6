//! The flags of Redis.

use super::{Flag, VALUE};

/// What sharing rooms with other servers needs.
pub(super) const REDIS: &[Flag] = &[
    Flag {
        name: "redis",
        value: Some("URL"),
        default: "none",
        help: "share all rooms with other servers through Redis: redis://host:6379, \
               unix:///path, redis+sentinel://host,host/master; with TLS rediss://host, \
               rediss+sentinel://host,host/master",
        heading: Some("Many servers (feature redis)"),
        ..VALUE
    },
    Flag {
        name: "redis-password-file",
        value: Some("FILE"),
        default: "none",
        help: "its password, in one line; or FANFARE_REDIS_PASSWORD: a password in the URL is \
               seen by all who see the process",
        ..VALUE
    },
    Flag {
        name: "redis-ca",
        value: Some("FILE"),
        default: "none",
        help: "who must have signed its certificate, in PEM; for rediss://",
        ..VALUE
    },
    Flag {
        name: "redis-cert",
        value: Some("FILE"),
        default: "none",
        help: "the certificate chain that is shown to Redis, in PEM, if it wants to see one",
        ..VALUE
    },
    Flag {
        name: "redis-key",
        value: Some("FILE"),
        default: "none",
        help: "the key that belongs to it, in PEM",
        ..VALUE
    },
    Flag {
        name: "redis-mode",
        value: Some("MODE"),
        default: "pubsub",
        help: "pubsub (at most once, the least delay), stream (nothing is lost that the stream \
               still holds)",
        ..VALUE
    },
    Flag {
        name: "redis-delivery",
        value: Some("ORDER"),
        default: "ordered",
        help: "when clients of one server hear each other: ordered (through Redis, so that all \
               servers hear one order), local (at once)",
        ..VALUE
    },
    Flag {
        name: "redis-format",
        value: Some("FORMAT"),
        default: "envelope",
        help: "what is published: envelope, raw (the bare payload, for programs that know no \
               envelope; the room of the path alone)",
        ..VALUE
    },
    Flag {
        name: "redis-channel",
        value: Some("NAME"),
        default: "websocket-broadcast",
        help: "the channel, and what the key of the stream begins with",
        ..VALUE
    },
    Flag {
        name: "redis-shards",
        value: Some("COUNT"),
        default: "0",
        help: "channels with hash tags to divide the rooms among, for a Redis Cluster; the same \
               for all servers; 0 is one plain channel",
        ..VALUE
    },
    Flag {
        name: "redis-queue-bytes",
        value: Some("SIZE"),
        default: "16M",
        help: "what may wait for Redis to acknowledge it; beyond, the oldest goes and is counted",
        ..VALUE
    },
    Flag {
        name: "redis-queue-max-age",
        value: Some("DURATION"),
        default: "30s",
        help: "how long it may wait; older messages go and are counted",
        ..VALUE
    },
    Flag {
        name: "redis-echo-deadline",
        value: Some("DURATION"),
        default: "250ms",
        help: "how late Redis may be before clients of one server hear each other without it",
        ..VALUE
    },
    Flag {
        name: "redis-op-timeout",
        value: Some("DURATION"),
        default: "1s",
        help: "how long connecting may take, or an answer, before the connection is given up",
        ..VALUE
    },
    Flag {
        name: "redis-stream-maxlen",
        value: Some("COUNT"),
        default: "100000",
        help: "entries that the stream is trimmed to: seconds of history times messages a second",
        ..VALUE
    },
    Flag {
        name: "redis-catchup-max",
        value: Some("COUNT"),
        default: "100000",
        help: "entries that a server may be behind in the stream before it skips to the newest",
        ..VALUE
    },
];
