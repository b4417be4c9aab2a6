//! The slow and the hostile clients, in one process.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token};

use crate::attack::{Attack, Then};
use crate::connection::{Connection, Heard, READ_BUFFER, other};
use crate::ledger::Deed;
use crate::plan::{ATTACKS, HOSTILE, PATIENCE, Pace, ROOMS, SLOW, TICK};
use crate::processes::{Parent, tell, tell_departure, tell_fault, tell_totals};
use crate::random::Random;
use crate::support::PONG;

/// Slow clients that come in a second, until there are enough of them.
const SLOW_ARRIVALS: f64 = 4.0;

/// The rooms of slow clients for whom the kernel holds little. What the server holds is shared by
/// all who owe it in a room, so in few rooms it is about the same at any time.
const STUCK_ROOMS: usize = 2;

/// What one who takes a trickle takes.
const SIP: usize = 64;

/// How often it does so; and how often a slow client gives a sign of life, if it does.
const PULSE: Duration = Duration::from_millis(500);

struct Actor {
    connection: Connection,
    since: Instant,
    manner: Manner,
}

enum Manner {
    /// Reads nothing, or a trickle if it sips. Either the kernel holds it all, until a Ping is not
    /// answered; or it holds little, and the client says Pong now and then, so it is not silent.
    Slow {
        sips: bool,
        pongs: bool,
        next: Instant,
    },
    Hostile(Attack, Progress),
}

/// How far an attack has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Begun,
    Sent,
    /// It was told what it must be told.
    Told,
}

struct Cast {
    address: SocketAddr,
    poll: Poll,
    actors: HashMap<u32, Actor>,
    next_id: u32,
    random: Random,
    slow: usize,
    attacks: u64,
}

/// Plays its part of the run.
pub(crate) fn play(address: SocketAddr, seed: u64, parent: &Parent) {
    let mut cast = Cast {
        address,
        poll: Poll::new().expect("the kernel has an event queue"),
        actors: HashMap::new(),
        next_id: 0,
        random: Random::new(seed),
        slow: 0,
        attacks: 0,
    };
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; READ_BUFFER];
    tell("ready");
    while !parent.has_said("go") {
        cast.turn(&mut events, &mut buffer);
    }
    let (mut arrivals, mut attacks) = (Pace::new(SLOW_ARRIVALS), Pace::new(ATTACKS));
    let mut last = Instant::now();
    while !parent.has_said("stop") {
        cast.turn(&mut events, &mut buffer);
        let elapsed = last.elapsed();
        last += elapsed;
        arrivals.pass(elapsed);
        attacks.pass(elapsed);
        while arrivals.is_due() {
            if cast.slow < SLOW {
                let kind = cast.random.below(4);
                cast.enter(Manner::Slow {
                    sips: kind < 2,
                    pongs: kind % 2 == 0,
                    next: Instant::now() + PULSE,
                });
            }
        }
        while attacks.is_due() {
            if cast.actors.len() - cast.slow < HOSTILE {
                let attack = Attack::some(&mut cast.random);
                cast.attacks += 1;
                cast.enter(Manner::Hostile(attack, Progress::Begun));
            }
        }
    }
    while cast.actors.len() > cast.slow {
        cast.turn(&mut events, &mut buffer);
    }
    tell("quiet");
    while !parent.has_said("leave") {
        cast.turn(&mut events, &mut buffer);
    }
    for (_, actor) in cast.actors.drain() {
        tell_departure(actor.connection.port, Deed::SlowAndVanished);
    }
    tell_totals(&[("attacks", cast.attacks)]);
}

impl Cast {
    fn enter(&mut self, manner: Manner) {
        let id = self.next_id;
        self.next_id += 1;
        let (token, registry) = (Token(id as usize), self.poll.registry());
        let is_slow = matches!(manner, Manner::Slow { .. });
        let is_stuck = matches!(manner, Manner::Slow { pongs: true, .. });
        let upgrades = !matches!(
            manner,
            Manner::Hostile(
                Attack {
                    upgrades: false,
                    ..
                },
                _
            )
        );
        let mut connection = Connection::new(self.address, registry, token, is_stuck)
            .expect("there are descriptors and ports");
        if upgrades {
            let rooms = if is_stuck { STUCK_ROOMS } else { ROOMS };
            connection.ask(self.random.below(rooms));
        }
        self.slow += usize::from(is_slow);
        self.actors.insert(
            id,
            Actor {
                connection,
                since: Instant::now(),
                manner,
            },
        );
    }

    fn turn(&mut self, events: &mut Events, buffer: &mut [u8]) {
        match self.poll.poll(events, Some(TICK)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            done => done.expect("the event queue works"),
        }
        let mut ended = Vec::new();
        for event in events.iter() {
            let id = u32::try_from(event.token().0).expect("it was one");
            let end = self
                .actors
                .get_mut(&id)
                .and_then(|actor| actor.serve(event, buffer));
            ended.extend(end.map(|end| (id, end)));
        }
        self.look_around(&mut ended);
        for (id, end) in ended {
            let Some(actor) = self.actors.remove(&id) else {
                continue;
            };
            let port = actor.connection.port;
            self.slow -= usize::from(matches!(actor.manner, Manner::Slow { .. }));
            match end {
                Ok(deed) => tell_departure(port, deed),
                Err(what) => {
                    tell_fault(&format!("{} at port {port}: {what}", actor.manner.name()));
                }
            }
            if let Manner::Hostile(
                Attack {
                    then: Then::Reset, ..
                },
                _,
            ) = actor.manner
            {
                actor.connection.reset();
            }
        }
    }

    /// Lets the trickles flow, and sees whom the server should have dropped by now.
    fn look_around(&mut self, ended: &mut Vec<(u32, Result<Deed, String>)>) {
        let now = Instant::now();
        for (id, actor) in &mut self.actors {
            if now - actor.since > PATIENCE {
                ended.push((*id, Err(format!("still served after {PATIENCE:?}"))));
            }
            if let Some(deed) = actor.pulse(now) {
                ended.push((*id, Ok(deed)));
            }
        }
    }
}

impl Manner {
    fn name(&self) -> String {
        match self {
            Self::Slow { sips, pongs, .. } => format!("one who is slow ({sips}, {pongs})"),
            Self::Hostile(attack, progress) => {
                let Attack { deed, code, .. } = attack;
                format!("one whose attack ({deed:?}, {code:?}) is {progress:?}")
            }
        }
    }
}

fn slow_deed(pongs: bool) -> Deed {
    if pongs { Deed::Stuck } else { Deed::Slow }
}

impl Actor {
    /// What a slow client does now and then. What it has done, if that is over.
    fn pulse(&mut self, now: Instant) -> Option<Deed> {
        let Manner::Slow { sips, pongs, next } = &mut self.manner else {
            return None;
        };
        if now < *next {
            return None;
        }
        *next = now + PULSE;
        // If it fails, the connection has ended. An event need not say so: this call has taken the
        // error from the socket.
        let has_ended = *pongs && self.connection.send_frame(PONG, b"").is_err()
            || *sips && self.connection.sip(&mut [0; SIP]);
        has_ended.then_some(slow_deed(*pongs))
    }

    /// What it has done, if that is over.
    fn serve(&mut self, event: &Event, buffer: &mut [u8]) -> Option<Result<Deed, String>> {
        // If it fails, reading tells those who read.
        let is_broken = event.is_writable() && self.connection.flush().is_err();
        match &mut self.manner {
            // A reset: there is no way to be dropped but this.
            Manner::Slow { pongs, .. } => {
                (is_broken || event.is_error()).then_some(Ok(slow_deed(*pongs)))
            }
            Manner::Hostile(attack, progress) => {
                let done = act(&mut self.connection, attack, progress, event, buffer);
                done.map_err(|error| error.to_string()).transpose()
            }
        }
    }
}

fn act(
    connection: &mut Connection,
    attack: &Attack,
    progress: &mut Progress,
    event: &Event,
    buffer: &mut [u8],
) -> io::Result<Option<Deed>> {
    let mut is_open = !attack.upgrades && event.is_writable();
    let ended = connection.read(buffer, |heard| {
        let code = match heard {
            Heard::Opened => {
                is_open = true;
                return Ok(());
            }
            Heard::Message(..) => return Ok(()),
            Heard::Close(code) | Heard::Refused(code) => code,
        };
        if *progress != Progress::Sent || attack.code != Some(code) {
            return Err(other(&format!("it is told {code}")));
        }
        *progress = Progress::Told;
        Ok(())
    });
    if *progress == Progress::Begun && is_open {
        *progress = Progress::Sent;
        connection.send(&attack.bytes)?;
        match attack.then {
            Then::Wait => {}
            Then::BeSilent => connection.answers = false,
            Then::EndOutput => connection.end_output()?,
            Then::Reset => return Ok(Some(attack.deed)),
        }
    }
    let ended = match ended {
        Err(error) if error.kind() != ErrorKind::Other => true,
        ended => ended?,
    };
    if !ended {
        return Ok(None);
    }
    let expected = if attack.code.is_some() {
        Progress::Told
    } else {
        Progress::Sent
    };
    if *progress != expected {
        return Err(other(&format!("ended when {progress:?}")));
    }
    Ok(Some(attack.deed))
}
