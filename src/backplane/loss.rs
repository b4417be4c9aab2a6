//! Why a link is given up.

use std::fmt;

use super::action::LinkFailure;
use super::config::Endpoint;
use super::reasons::{Lost, Misconfigured};
use super::resp::RespError;

/// Bytes of a refusal by Redis that are shown.
const MAX_SHOWN: usize = 160;

/// Where an error begins to quote the command that it is about, which may be the password's.
const QUOTE: &[u8] = b", with args";

/// Why a link is given up, or was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The driver says so.
    Failed(LinkFailure),
    /// Nobody has answered in time, or has said anything for too long.
    Stalled,
    /// What came is not RESP.
    Resp(RespError),
    /// What came is RESP, and answers nothing that was asked.
    Unexpected(&'static str),
    /// Redis refuses what we want, and will do so until somebody changes something.
    Misconfigured(Misconfigured, Refusal),
    /// Redis refuses for now.
    Busy(Refusal),
    /// What hears us there is not the master, or not any longer.
    Role(Refusal),
    /// Another node has what we want.
    Moved(Endpoint),
    /// Most sentinels name another master: this one.
    Superseded(Endpoint),
    /// The slot has moved, or the channel is not ours any longer: it must be looked for.
    Unsubscribed,
    /// Our own heartbeats do not come back.
    Deaf,
    /// It has not got what it has acknowledged.
    Forgotten,
    /// A sentinel has said where the master is. Not a loss but the end of a question.
    Located(Endpoint),
    /// A sentinel does not know the master.
    UnknownMaster,
}

/// What Redis said when it refused: bytes from a peer, shown escaped and not beyond a limit, and
/// without what it quotes of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal(Vec<u8>);

impl Refusal {
    pub(super) fn new(text: &[u8]) -> Self {
        let mut windows = text.windows(QUOTE.len());
        let len = windows.position(|window| window == QUOTE);
        let len = len.unwrap_or(text.len()).min(MAX_SHOWN);
        Self(text[..len].to_vec())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl Loss {
    /// What an error of Redis means for the link that it came on. `from` is where that leads: a
    /// redirect may leave the host out.
    pub(super) fn from_error(text: &[u8], from: &Endpoint) -> Self {
        let refusal = Refusal::new(text);
        let code = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        match code {
            b"WRONGPASS" | b"NOAUTH" | b"DENIED" => {
                Self::Misconfigured(Misconfigured::Auth, refusal)
            }
            b"NOPERM" => Self::Misconfigured(Misconfigured::Permission, refusal),
            b"NOPROTO" => Self::Misconfigured(Misconfigured::Command, refusal),
            b"WRONGTYPE" => Self::Misconfigured(Misconfigured::WrongType, refusal),
            b"READONLY" => Self::Role(refusal),
            b"MOVED" | b"ASK" => redirect(text, from).map_or(Self::Busy(refusal), Self::Moved),
            b"ERR" => Self::from_plain_error(text, refusal),
            // LOADING, MASTERDOWN, BUSY, TRYAGAIN, CLUSTERDOWN, OOM, and what is not known yet.
            _ => Self::Busy(refusal),
        }
    }

    /// Errors without a code of their own.
    fn from_plain_error(text: &[u8], refusal: Refusal) -> Self {
        let says = |words: &[u8]| text.windows(words.len()).any(|window| window == words);
        if says(b"unknown command") || says(b"unknown subcommand") {
            Self::Misconfigured(Misconfigured::Command, refusal)
        } else if says(b"AUTH") || says(b"invalid password") {
            Self::Misconfigured(Misconfigured::Auth, refusal)
        } else if says(b"DB index") || says(b"SELECT is not allowed") {
            Self::Misconfigured(Misconfigured::Database, refusal)
        } else {
            Self::Busy(refusal)
        }
    }

    /// What it is counted as.
    pub(super) fn reason(&self) -> Lost {
        match self {
            Self::Failed(LinkFailure::Resolve) => Lost::Resolve,
            Self::Failed(LinkFailure::Connect) => Lost::Connect,
            Self::Failed(LinkFailure::Tls) => Lost::Tls,
            Self::Failed(LinkFailure::Reset) => Lost::Reset,
            Self::Failed(LinkFailure::End) => Lost::End,
            Self::Stalled => Lost::Stalled,
            Self::Resp(_) | Self::Unexpected(_) => Lost::Protocol,
            Self::Misconfigured(..) => Lost::Configuration,
            Self::Busy(_) => Lost::Busy,
            Self::Role(_) | Self::Superseded(_) => Lost::Role,
            Self::Moved(_) | Self::Unsubscribed => Lost::Moved,
            Self::Deaf => Lost::Deaf,
            Self::Forgotten => Lost::Forgotten,
            Self::Located(_) | Self::UnknownMaster => Lost::Sentinel,
        }
    }

    /// What somebody has to change, if anything.
    pub(super) fn misconfigured(&self) -> Option<Misconfigured> {
        match self {
            Self::Misconfigured(what, _) => Some(*what),
            Self::Role(_) => Some(Misconfigured::Role),
            Self::UnknownMaster => Some(Misconfigured::Master),
            _ => None,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(LinkFailure::Resolve) => f.write_str("its name cannot be resolved"),
            Self::Failed(LinkFailure::Connect) => f.write_str("nobody answers there"),
            Self::Failed(LinkFailure::Tls) => f.write_str("TLS failed"),
            Self::Failed(LinkFailure::Reset) => f.write_str("the connection was reset"),
            Self::Failed(LinkFailure::End) => f.write_str("it has ended the connection"),
            Self::Stalled => f.write_str("it does not answer"),
            Self::Resp(error) => write!(f, "it does not speak RESP: {error}"),
            Self::Unexpected(what) => write!(f, "it answers what was not asked: {what}"),
            Self::Misconfigured(_, refusal) | Self::Busy(refusal) => {
                write!(f, "it refuses: {refusal}")
            }
            Self::Role(refusal) => write!(f, "it is not the master: {refusal}"),
            Self::Superseded(to) => write!(f, "the sentinels name another master: {to}"),
            Self::Moved(_) => f.write_str("another node has the channel"),
            Self::Unsubscribed => f.write_str("it has ended the subscription"),
            Self::Deaf => f.write_str("what is published does not come back"),
            Self::Forgotten => f.write_str("what it has acknowledged is gone"),
            Self::Located(_) => f.write_str("the sentinel has answered"),
            Self::UnknownMaster => f.write_str("the sentinel knows no master of that name"),
        }
    }
}

/// Where `MOVED slot host:port` leads. An empty host is the one that says it.
fn redirect(text: &[u8], from: &Endpoint) -> Option<Endpoint> {
    let to = std::str::from_utf8(text).ok()?.split(' ').nth(2)?;
    let (host, port) = to.trim_end().rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    match (host, from) {
        ("", Endpoint::Tcp(host, _)) => Some(Endpoint::Tcp(host.clone(), port)),
        // A node that does not know its own name.
        ("" | "?", _) => None,
        _ => Endpoint::named(host, port),
    }
}
