//! Clients that do not listen, or hardly: they are dropped as too slow, and nobody waits for them.

use std::time::Duration;

use socket2::SockRef;

use crate::case::{End, PATH, frame, opens, shown};
use crate::client::{Client, LIMIT};
use crate::ground::Ground;
use crate::peer::{BINARY, CLOSE, Frame, close_payload, frame as masked, upgrade};
use crate::process::now;

/// Messages that are more than any kernel keeps for a client.
const MAX_MESSAGES: u8 = 250;

/// A message that is told from its neighbours.
fn message(number: u8) -> Frame {
    frame(BINARY, vec![number; 64 * 1024])
}

/// Clients with so little room in the kernel that they fall behind soon.
fn deaf(ground: &Ground, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count)
        .map(|_| Client::connect(ground.address))
        .collect();
    for client in &mut clients {
        let socket = SockRef::from(&*client.stream());
        socket
            .set_recv_buffer_size(4096)
            .expect("it is a TCP socket");
        client.send(upgrade(PATH).as_bytes());
        client.read_until(LIMIT, Client::is_open);
    }
    clients
}

/// Somebody who talks to the room until it has had enough: all who listen hear all of it.
/// Returns what was said.
fn talk(ground: &Ground, mut is_enough: impl FnMut(usize) -> bool) -> Result<Vec<Frame>, String> {
    let mut speaker = Client::connect(ground.address);
    speaker.send(upgrade(PATH).as_bytes());
    let mut said = Vec::new();
    for number in 0..MAX_MESSAGES {
        said.push(message(number));
        speaker.send(&masked(BINARY, &message(number).payload));
        speaker.read_until(LIMIT, |speaker| speaker.heard.len() == said.len());
        if speaker.heard.len() < said.len() {
            return Err(format!("the speaker does not hear message {number}"));
        }
        if is_enough(said.len()) {
            break;
        }
    }
    speaker.send(&masked(CLOSE, &close_payload(1000, "")));
    let heard = speaker.run(&[], &ground.pair)?.heard;
    let [room, other] = ground.pair.look()?;
    if heard[..heard.len() - 1] != said || room != said || other != said {
        return Err(format!("who listens has heard {}", shown(&room)));
    }
    Ok(said)
}

/// A gapless beginning of what was said, and a reset: it can be told so (1013) only where the
/// kernel has taken whole frames.
fn check_dropped(client: &mut Client, ground: &Ground, said: &[Frame]) -> Result<(), String> {
    let mut seen = client.run(&[], &ground.pair)?;
    let told = frame(CLOSE, close_payload(1013, "too slow"));
    if seen.heard.last() == Some(&told) {
        seen.heard.pop();
    }
    let is_beginning = said.starts_with(&seen.heard) && seen.heard.len() < said.len();
    if is_beginning && seen.end == End::Rst && seen.answer == opens(Vec::new()).outcome.answer {
        Ok(())
    } else {
        Err(format!("{seen}"))
    }
}

/// So many who read nothing while others talk: they owe too much, sooner or later.
fn read_nothing(ground: &Ground, count: usize) -> Result<(), String> {
    let mut clients = deaf(ground, count);
    let present = ground.server.descriptors();
    let said = talk(ground, |_| {
        // The speaker is there as well.
        ground.server.descriptors() == present + 1 - count
    })?;
    if said.len() == usize::from(MAX_MESSAGES) {
        return Err("they were not dropped".to_owned());
    }
    clients
        .iter_mut()
        .try_for_each(|client| check_dropped(client, ground, &said))
}

#[test]
fn who_owes_too_much() {
    let flags = ["--max-client-buffer=256K", "--write-timeout=60s"];
    let mut ground = Ground::start("deaf", &flags);
    ground.attempt("who reads nothing and owes too much", |ground| {
        read_nothing(ground, 1)
    });
    ground.attempt("20 who read nothing and owe too much", |ground| {
        read_nothing(ground, 20)
    });
    ground.end();
}

/// Who owes less than it may, but takes nothing of it, or a byte a second.
fn take_nothing(ground: &Ground, is_sipping: bool) -> Result<(), String> {
    // More than the kernel takes, and less than the server keeps.
    const MESSAGES: usize = 150;

    let mut client = deaf(ground, 1).pop().expect("there is one");
    let present = ground.server.descriptors();
    let begun = now();
    let said = talk(ground, |said| said == MESSAGES)?;
    let mut sipped = now();
    ground.server.wait_for("it is dropped", LIMIT, || {
        if is_sipping && sipped.elapsed() >= Duration::from_secs(1) {
            client.sip();
            sipped = now();
        }
        let left = ground.server.descriptors();
        if left < present { Ok(()) } else { Err(left) }
    });
    if begun.elapsed() < WRITE_TIMEOUT {
        return Err(format!("it was dropped after {:?}", begun.elapsed()));
    }
    check_dropped(&mut client, ground, &said)
}

const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

#[test]
fn who_takes_nothing() {
    let flags = ["--max-client-buffer=16M", "--write-timeout=2s"];
    let mut ground = Ground::start("deaf for a time", &flags);
    ground.attempt("who takes nothing of what it owes", |ground| {
        take_nothing(ground, false)
    });
    ground.attempt("who takes a byte a second", |ground| {
        take_nothing(ground, true)
    });
    ground.end();
}
