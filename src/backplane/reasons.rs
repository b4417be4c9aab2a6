//! The closed sets of reasons that metrics and the log tell apart.

/// Why a connection that was wanted is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The name could not be resolved.
    Resolve,
    /// Nobody answers there.
    Connect,
    /// TLS failed.
    Tls,
    /// It was reset.
    Reset,
    /// Redis has ended it.
    End,
    /// Redis has not answered in time, or has been silent for too long.
    Stalled,
    /// What came is not Redis' protocol.
    Protocol,
    /// Redis is not the master, or not any longer.
    Role,
    /// Another node of the cluster has what we want.
    Moved,
    /// Redis is not ready yet: it loads, or waits for its master.
    Busy,
    /// Redis says that our settings are wrong.
    Configuration,
    /// The connection seemed fine and did not bring our own heartbeats back.
    Deaf,
    /// The sentinels know no master.
    Sentinel,
    /// The stream has lost what it has acknowledged.
    Forgotten,
}

impl Lost {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 14] = [
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Reset,
        Self::End,
        Self::Stalled,
        Self::Protocol,
        Self::Role,
        Self::Moved,
        Self::Busy,
        Self::Configuration,
        Self::Deaf,
        Self::Sentinel,
        Self::Forgotten,
    ];

    /// The word for it in metrics and in the log.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::End => "end",
            Self::Stalled => "stalled",
            Self::Protocol => "protocol",
            Self::Role => "role",
            Self::Moved => "moved",
            Self::Busy => "busy",
            Self::Configuration => "configuration",
            Self::Deaf => "deaf",
            Self::Sentinel => "sentinel",
            Self::Forgotten => "forgotten",
        }
    }
}

/// Why a message of ours was never given to Redis, or not kept until it was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// The queue is full.
    Full,
    /// It has waited for too long.
    Age,
    /// It was on its way when the connection was lost, and is raw: nobody could tell whether it
    /// comes twice.
    Raw,
    /// Redis refuses it: it is too long for it, for instance.
    Refused,
}

impl Dropped {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 4] = [Self::Full, Self::Age, Self::Raw, Self::Refused];

    /// The word for it in metrics and in the log.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Age => "age",
            Self::Raw => "raw",
            Self::Refused => "refused",
        }
    }
}

/// What somebody has to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misconfigured {
    /// The user or the password.
    Auth,
    /// What the user may do.
    Permission,
    /// The address: it is not a master's.
    Role,
    /// The stream's key holds something else.
    WrongType,
    /// Redis does not know a command: it is too old.
    Command,
    /// The number of the database.
    Database,
    /// The master's name: no sentinel knows it.
    Master,
}

impl Misconfigured {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 7] = [
        Self::Auth,
        Self::Permission,
        Self::Role,
        Self::WrongType,
        Self::Command,
        Self::Database,
        Self::Master,
    ];

    /// The word for it in metrics and in the log.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Permission => "permission",
            Self::Role => "role",
            Self::WrongType => "wrong_type",
            Self::Command => "command",
            Self::Database => "database",
            Self::Master => "master",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_lists_are_in_order_and_their_words_differ() {
        assert!((0..).zip(Lost::ALL).all(|(i, why)| why as usize == i));
        assert!((0..).zip(Dropped::ALL).all(|(i, why)| why as usize == i));
        assert!(
            (0..)
                .zip(Misconfigured::ALL)
                .all(|(i, what)| what as usize == i)
        );
        let words: [(usize, &[&str]); 3] = [
            (Lost::ALL.len(), &Lost::ALL.map(Lost::label)),
            (Dropped::ALL.len(), &Dropped::ALL.map(Dropped::label)),
            (
                Misconfigured::ALL.len(),
                &Misconfigured::ALL.map(Misconfigured::label),
            ),
        ];
        for (count, words) in words {
            assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), count);
        }
    }
}
