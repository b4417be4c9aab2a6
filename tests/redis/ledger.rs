//! What clients heard, against what was said.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::client::{Client, Speaker};
use crate::talk::Said;

/// How long a client may wait for what a client of the same server says, whatever Redis does: the
/// echo's deadline, and what a turn of the loop and a busy machine need.
pub(crate) const MAX_SILENCE: Duration = Duration::from_millis(300);

/// What one client heard of some speakers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) heard: usize,
    /// Messages that were said before others that it heard, and that it did not hear.
    pub(crate) lost: BTreeSet<(Speaker, usize)>,
    /// Messages that it heard again.
    pub(crate) doubled: usize,
    /// Messages that it heard behind later ones of the same speaker.
    pub(crate) disordered: usize,
    /// The longest that a message took.
    pub(crate) silence: Duration,
}

impl Account {
    /// What `client` heard of `speakers`. `is_newcomer` has missed what was said before it came,
    /// and nobody expects anything else.
    pub(crate) fn of(
        client: &Client,
        speakers: &[Speaker],
        said: &Said,
        is_newcomer: bool,
    ) -> Self {
        let mut account = Self::default();
        for &speaker in speakers {
            let empty = Vec::new();
            let times = said.get(&speaker).unwrap_or(&empty);
            let (mut seen, mut last) = (BTreeSet::new(), None);
            client.read(|log| {
                for heard in log.heard.iter().filter(|heard| heard.speaker == speaker) {
                    account.heard += 1;
                    let is_new = seen.insert(heard.number);
                    account.doubled += usize::from(!is_new);
                    account.disordered += usize::from(is_new && last > Some(heard.number));
                    last = last.max(Some(heard.number));
                    let took = heard.at.saturating_duration_since(times[heard.number]);
                    account.silence = account.silence.max(took);
                }
            });
            let first = if is_newcomer {
                seen.first().copied()
            } else {
                Some(0)
            };
            let (Some(first), Some(last)) = (first, last) else {
                continue;
            };
            let missing = (first..last).filter(|number| !seen.contains(number));
            account.lost.extend(missing.map(|number| (speaker, number)));
        }
        account
    }
}

/// In what order several clients heard what all of them did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// How many messages everybody heard: those who came first have heard more.
    pub(crate) common: usize,
    /// How many of them stood at another place for somebody than for the first, at most.
    pub(crate) elsewhere: usize,
}

impl Order {
    pub(crate) fn of<'c>(clients: impl Iterator<Item = &'c Client>) -> Self {
        let orders = clients.map(|client| {
            client.read(|log| {
                let heard = log.heard.iter();
                let heard = heard.map(|heard| (heard.speaker, heard.number));
                heard.collect::<Vec<_>>()
            })
        });
        let mut orders: Vec<Vec<_>> = orders.collect();
        let sets = orders.iter().map(|order| order.iter().copied().collect());
        let common = sets.reduce(|one: BTreeSet<_>, other| &one & &other);
        let common = common.expect("there are clients");
        for order in &mut orders {
            order.retain(|heard| common.contains(heard));
        }
        let elsewhere = orders[1..].iter().map(|order| {
            let pairs = order.iter().zip(&orders[0]);
            pairs.filter(|(a, b)| a != b).count()
        });
        Self {
            common: common.len(),
            elsewhere: elsewhere.max().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} heard, {} lost, {} doubled, {} out of order, at most {:.0} ms late",
            self.heard,
            self.lost.len(),
            self.doubled,
            self.disordered,
            self.silence.as_secs_f64() * 1e3,
        )
    }
}
