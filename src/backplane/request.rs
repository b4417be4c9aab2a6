//! What Redis was asked, while the answer is awaited.

/// What Redis was asked. Replies have no names: they come in the order of the commands, and this
/// is what is remembered of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// `HELLO`, the first command of a link: the link's own.
    Hello,
    /// `SELECT`, the second one, if a database was named: the link's own.
    Select,
    /// `AUTH`, to a sentinel that wants it: the link's own.
    Auth,
    /// `SENTINEL GET-MASTER-ADDR-BY-NAME`: the link's own.
    Master,
    /// `PING`: the link's own.
    Ping,
    /// `HELLO 3` once more, for the role: is this still the master?
    Role,
    /// `SUBSCRIBE` or `SSUBSCRIBE` of several channels: answered when the last one is confirmed.
    Subscribe,
    /// `PUBLISH` on the control channel of the heartbeat with this number.
    Heartbeat {
        /// The number.
        beat: u64,
    },
    /// `PUBSUB NUMSUB`, or `SHARDNUMSUB`: how many hear the channel.
    CountSubscribers,
    /// `XINFO STREAM`: how the stream is.
    Look,
    /// `XRANGE` of one of our own entries: is it there?
    Find,
    /// `XREAD`.
    Read,
    /// `XADD` of the message with this number.
    Add {
        /// The number.
        seq: u64,
    },
    /// `PUBLISH` or `SPUBLISH` of the message with this number.
    Publish {
        /// The number.
        seq: u64,
    },
}
