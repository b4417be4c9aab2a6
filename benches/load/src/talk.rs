//! Who speaks when: bursts, windows and rates.

use std::time::Duration;

use crate::clients::Clients;
use crate::clock::SECOND;
use crate::failure::Failure;
use crate::options::Pace;
use crate::scenario::Company;

/// Until everything is heard that was said, once nobody speaks any more.
const DRAIN_TIMEOUT: u64 = 60 * SECOND;
/// Messages of an open loop that are said before what came is heard.
const MAX_DUE: u32 = 1000;
/// How long nothing more may come when all is heard.
const SILENCE: u64 = SECOND / 20;

/// When the publishers fall silent.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// After so long,
    pub duration: Duration,
    /// or so many messages.
    pub messages: u64,
}

/// Lets the publishers speak until the limit, and waits until all have heard everything. Says how
/// long that took, in nanoseconds.
pub fn talk(
    clients: &mut Clients,
    pace: Pace,
    limit: Limit,
    company: &mut dyn Company,
) -> Result<u64, Failure> {
    let start = clients.clock.now();
    let duration = u64::try_from(limit.duration.as_nanos()).unwrap_or(u64::MAX);
    let mut talk = Talk {
        pace,
        start,
        end: start.saturating_add(duration),
        left: limit.messages,
        next: 0,
        said: 0,
    };
    talk.begin(clients)?;
    loop {
        let now = clients.clock.now();
        let wake = company.turn(clients, now)?.min(talk.go_on(clients, now)?);
        if clients.tally.owed == 0 && talk.is_over(now) {
            return Ok(clients.clock.now() - start);
        }
        if now > talk.end.saturating_add(DRAIN_TIMEOUT) {
            let missing = clients.missing();
            return Err(Failure(format!("60 s after the last message: {missing}")));
        }
        clients.turn(wake)?;
        clients.check_progress()?;
    }
}

/// Waits a little for what must not come: the verifier notices whatever comes.
pub fn expect_silence(clients: &mut Clients, company: &mut dyn Company) -> Result<(), Failure> {
    let end = clients.clock.now() + SILENCE;
    while clients.clock.now() < end {
        let now = clients.clock.now();
        let wake = company.turn(clients, now)?.min(end);
        clients.turn(wake)?;
    }
    Ok(())
}

struct Talk {
    pace: Pace,
    start: u64,
    /// When nobody speaks any more.
    end: u64,
    /// How many messages may still be said.
    left: u64,
    /// Whose turn it is.
    next: u32,
    /// How many messages of an open loop were said.
    said: u64,
}

impl Talk {
    /// Fills the windows.
    fn begin(&mut self, clients: &mut Clients) -> Result<(), Failure> {
        clients.tally.credits.clear();
        if let Pace::Window(window) = self.pace {
            for publisher in 0..clients.publishers() {
                self.say(clients, publisher, window)?;
            }
        }
        Ok(())
    }

    /// Says what there is to say now, and when there is more.
    fn go_on(&mut self, clients: &mut Clients, now: u64) -> Result<u64, Failure> {
        match self.pace {
            Pace::Burst(count) => {
                if clients.tally.owed == 0 && !self.is_over(now) {
                    let publisher = self.take_turn(clients);
                    self.say(clients, publisher, count)?;
                }
            }
            Pace::Window(_) => {
                let mut credits = std::mem::take(&mut clients.tally.credits);
                if now < self.end {
                    for (publisher, count) in credits.drain(..) {
                        self.say(clients, publisher, count)?;
                    }
                }
                credits.clear();
                clients.tally.credits = credits;
            }
            Pace::Rate(rate) => {
                for _ in 0..MAX_DUE {
                    let due = self.due(rate);
                    if due > now || due >= self.end || self.left == 0 {
                        break;
                    }
                    let publisher = self.take_turn(clients);
                    clients.say(publisher, 1, due);
                    self.said += 1;
                    self.left -= 1;
                }
                clients.flush()?;
                clients.tally.credits.clear();
                return Ok(self.due(rate));
            }
        }
        Ok(u64::MAX)
    }

    /// Whether nothing more will be said.
    fn is_over(&self, now: u64) -> bool {
        let next = match self.pace {
            Pace::Rate(rate) => self.due(rate),
            Pace::Burst(_) | Pace::Window(_) => now,
        };
        self.left == 0 || next >= self.end
    }

    /// When the next message of an open loop is to be said.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time within the run"
    )]
    fn due(&self, rate: f64) -> u64 {
        self.start + (self.said as f64 * SECOND as f64 / rate) as u64
    }

    fn take_turn(&mut self, clients: &Clients) -> u32 {
        let publisher = self.next;
        self.next = (publisher + 1) % clients.publishers();
        publisher
    }

    /// One write of one publisher, stamped with this moment.
    fn say(&mut self, clients: &mut Clients, publisher: u32, count: u32) -> Result<(), Failure> {
        let count = u64::from(count).min(self.left);
        self.left -= count;
        let now = clients.clock.now();
        clients.say(publisher, u32::try_from(count).unwrap_or(u32::MAX), now);
        clients.flush()
    }
}
