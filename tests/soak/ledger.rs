//! Why clients left: what they know they did, against what the server's log says.

use std::collections::{BTreeMap, HashMap, VecDeque};

/// What a client did, or what was done to it, as it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deed {
    /// An honest client said Close and got one.
    Left,
    /// An honest client hung up without a word.
    Vanished,
    /// An honest client was sent away. Never right.
    Dropped,
    /// Read too little, and was dropped for it.
    Slow,
    /// Read too little while it gave signs of life, and was dropped for it.
    Stuck,
    /// Read too little, and hung up at the end of the run.
    SlowAndVanished,
    /// Broke the protocol, and was told.
    Broke,
    /// Sent more Pings than anybody needs, and was told.
    Flooded,
    /// Reset the connection.
    Reset,
    /// Ended its side in the middle of something.
    CutOff,
    /// Answered no Ping, and was dropped for it.
    Silent,
    /// Was refused, or gave no cause to answer within the handshake's time.
    Refused,
    /// Asked for a page, and got it.
    Answered,
}

/// All of them, by the names that they have between processes, and the causes that each may have.
const DEEDS: [(Deed, &str, &[&str]); 13] = [
    (Deed::Left, "left", &["closed"]),
    // The kernel resets it if it has not read all.
    (Deed::Vanished, "vanished", &["gone", "reset"]),
    (Deed::Dropped, "dropped", &[]),
    (Deed::Slow, "slow", &["too_slow", "timed_out"]),
    (Deed::Stuck, "stuck", &["too_slow"]),
    (
        Deed::SlowAndVanished,
        "slow-and-vanished",
        &["gone", "reset", "too_slow", "timed_out"],
    ),
    (Deed::Broke, "broke", &["protocol"]),
    (Deed::Flooded, "flooded", &["flood"]),
    // Whoever is written to at that moment takes the error; the read behind it sees an end.
    (Deed::Reset, "reset", &["reset", "gone"]),
    (Deed::CutOff, "cut-off", &["gone"]),
    (Deed::Silent, "silent", &["timed_out"]),
    (Deed::Refused, "refused", &["refused"]),
    (Deed::Answered, "answered", &["answered"]),
];

impl Deed {
    pub(crate) fn name(self) -> &'static str {
        let entry = DEEDS.iter().find(|(deed, ..)| *deed == self);
        entry.map_or("", |(_, name, _)| name)
    }

    fn named(name: &str) -> Option<Self> {
        let entry = DEEDS.iter().find(|(_, other, _)| *other == name);
        entry.map(|(deed, ..)| *deed)
    }

    fn causes(self) -> &'static [&'static str] {
        let entry = DEEDS.iter().find(|(deed, ..)| *deed == self);
        entry.map_or(&[], |(.., causes)| causes)
    }
}

/// Departures of connections, matched one by one. A port may be used again, but not by two
/// connections at a time, so those of one port are in the same order on both sides.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Departures that the other side has not told of yet, by port.
    deeds: HashMap<u16, VecDeque<Deed>>,
    causes: HashMap<u16, VecDeque<String>>,
    /// What has matched: how often, by deed and cause.
    pub(crate) matched: BTreeMap<(Deed, String), u64>,
    /// The server's departures by cause.
    pub(crate) by_cause: BTreeMap<String, u64>,
    /// Departures that clients told of.
    pub(crate) told: u64,
}

impl Ledger {
    /// A client tells how its connection ended.
    pub(crate) fn tell(&mut self, port: u16, deed: &str) -> Result<(), String> {
        let deed = Deed::named(deed).ok_or_else(|| format!("no deed is called {deed}"))?;
        self.told += 1;
        self.deeds.entry(port).or_default().push_back(deed);
        self.settle(port)
    }

    /// Reads a line of the server's log, if it is about a departure.
    pub(crate) fn read(&mut self, line: &str) -> Result<(), String> {
        let Some((_, rest)) = line.split_once(" gone id=") else {
            return Ok(());
        };
        let port = value(rest, "peer").and_then(|peer| peer.rsplit_once(':')?.1.parse().ok());
        let (Some(port), Some(cause)) = (port, value(rest, "cause")) else {
            return Err(format!("neither a peer nor a cause in: {line}"));
        };
        *self.by_cause.entry(cause.to_owned()).or_default() += 1;
        self.causes
            .entry(port)
            .or_default()
            .push_back(cause.to_owned());
        self.settle(port)
    }

    fn settle(&mut self, port: u16) -> Result<(), String> {
        let (Some(deeds), Some(causes)) = (self.deeds.get_mut(&port), self.causes.get_mut(&port))
        else {
            return Ok(());
        };
        let (Some(deed), Some(cause)) = (deeds.front(), causes.front()) else {
            return Ok(());
        };
        if !deed.causes().contains(&cause.as_str()) {
            let deed = deed.name();
            return Err(format!(
                "the client at port {port} {deed}, the log says: {cause}"
            ));
        }
        if let (Some(deed), Some(cause)) = (deeds.pop_front(), causes.pop_front()) {
            *self.matched.entry((deed, cause)).or_default() += 1;
        }
        self.deeds.retain(|_, deeds| !deeds.is_empty());
        self.causes.retain(|_, causes| !causes.is_empty());
        Ok(())
    }

    /// Departures that were told of, or logged, by one side alone so far.
    pub(crate) fn unmatched(&self) -> (usize, usize) {
        (
            self.deeds.values().map(VecDeque::len).sum(),
            self.causes.values().map(VecDeque::len).sum(),
        )
    }

    /// Compares the sums with the server's last line.
    pub(crate) fn check_sums(&self, stopped: &str) -> Result<(), String> {
        let departures: u64 = self.by_cause.values().sum();
        let left = number(stopped, "left")?;
        let connections = number(stopped, "connections")?;
        if connections != departures + left || departures != self.told {
            return Err(format!(
                "{connections} connections: {departures} logged as gone, {} told of by clients, \
                 {left} left",
                self.told
            ));
        }
        // The causes that are not 0 stand behind the other figures.
        let figures = stopped
            .split(' ')
            .skip_while(|word| !word.starts_with("messages_out="));
        let causes = figures.skip(1).map(|figure| {
            let (cause, count) = figure.split_once('=')?;
            Some((cause.to_owned(), count.parse().ok()?))
        });
        let by_cause: Option<BTreeMap<String, u64>> = causes.collect();
        if by_cause.as_ref() != Some(&self.by_cause) {
            return Err(format!(
                "{:?} logged as gone, but: {stopped}",
                self.by_cause
            ));
        }
        Ok(())
    }
}

/// The value of `key=value` in a line.
pub(crate) fn value<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    let pairs = line.split(' ').filter_map(|word| word.split_once('='));
    pairs
        .into_iter()
        .find(|pair| pair.0 == key)
        .map(|pair| pair.1)
}

pub(crate) fn number(line: &str, key: &str) -> Result<u64, String> {
    let number = value(line, key).and_then(|value| value.parse().ok());
    number.ok_or_else(|| format!("no number called {key} in: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: &str = "2026-01-01T00:00:00Z DEBUG gone id=3.7 peer=127.0.0.1:4711 room=\"a b\" \
                        cause=timed_out age=1.000s messages_in=0 (no answer to a ping)";

    #[test]
    fn a_departure_must_have_a_cause_that_its_deed_explains() {
        let mut ledger = Ledger::default();
        ledger.tell(4711, "slow").expect("a deed");
        assert_eq!(ledger.unmatched(), (1, 0));
        ledger.read(GONE).expect("it explains it");
        assert_eq!(ledger.unmatched(), (0, 0));
        ledger.tell(4711, "silent").expect("a deed");
        ledger.read(GONE).expect("it explains it");
        ledger.read(GONE).expect("nothing is known of it");
        assert_eq!(ledger.unmatched(), (0, 1));
        assert!(ledger.tell(4711, "left").is_err());
        assert!(ledger.tell(4712, "dropped").is_ok());
        assert!(ledger.read(&GONE.replace("4711", "4712")).is_err());
    }

    #[test]
    fn the_sums_must_be_those_of_the_last_line() {
        let mut ledger = Ledger::default();
        ledger.read(GONE).expect("a line");
        ledger.tell(4711, "silent").expect("a deed");
        for (line, is_right) in [
            ("left=0 connections=1 messages_out=7 timed_out=1", true),
            ("left=0 connections=2 messages_out=7 timed_out=1", false),
            ("left=1 connections=1 messages_out=7 timed_out=1", false),
            ("left=0 connections=1 messages_out=7 timed_out=2", false),
            ("left=0 connections=1 messages_out=7 gone=1", false),
            (
                "left=0 connections=1 messages_out=7 timed_out=1 gone=1",
                false,
            ),
            ("left=0 connections=1 messages_out=7", false),
            ("left=0", false),
        ] {
            assert_eq!(ledger.check_sums(line).is_ok(), is_right, "{line}");
        }
    }
}
