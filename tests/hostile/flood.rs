//! Clients that say too much.

use std::io::Write;
use std::ops::Range;

use crate::case::{PATH, closed, failed, frame, opens, shown};
use crate::client::{Client, LIMIT};
use crate::ground::Ground;
use crate::peer::{
    BINARY, CLOSE, Frame, PING, PONG, TEXT, close_payload, frame as masked, upgrade,
};

/// How many control frames a flood is.
const MANY: usize = 100_000;

/// What the server needs at most, whatever is done to it here.
const MAX_MEMORY: u64 = 64 << 20;

fn numbered(first: u8, numbers: Range<usize>) -> Vec<Frame> {
    numbers
        .map(|number| frame(first, number.to_be_bytes()))
        .collect()
}

fn sent(frames: &[Frame]) -> Vec<u8> {
    let bytes = frames.iter().map(|said| masked(said.first, &said.payload));
    bytes.collect::<Vec<_>>().concat()
}

fn bye() -> Vec<u8> {
    masked(CLOSE, &close_payload(1000, ""))
}

/// What a client hears that sends all of this in one go, up to a Close and the end: while it sends,
/// if `is_read`, or else when it has sent it.
fn hear_flood(ground: &Ground, bytes: &[u8], is_read: bool) -> Result<Vec<Frame>, String> {
    let mut client = Client::connect(ground.address);
    client.send(upgrade(PATH).as_bytes());
    let seen = if is_read {
        let mut writer = client.stream().try_clone().expect("a free descriptor");
        std::thread::scope(|scope| {
            // If it fails, the reader sees why.
            scope.spawn(move || writer.write_all(bytes));
            client.run(&[], &ground.pair)
        })?
    } else {
        client.send(bytes);
        client.run(&[], &ground.pair)?
    };
    let orderly = opens(Vec::new()).outcome;
    if seen.answer == orderly.answer && seen.end == orderly.end {
        Ok(seen.heard)
    } else {
        Err(format!("{seen}"))
    }
}

/// Control frames in one go: those that came before too many were in one read are answered, in
/// order, and then it is over.
fn control_flood(ground: &Ground, first: u8, is_read: bool) -> Result<(), String> {
    let flood = sent(&numbered(first, 0..MANY));
    let heard = hear_flood(ground, &flood, is_read)?;
    let pongs = heard.len().saturating_sub(1);
    let mut expected = match first {
        PING => numbered(PONG, 0..pongs.min(MANY - 1)),
        _ => Vec::new(),
    };
    expected.extend(failed(1008, "too many control frames").outcome.heard);
    same(&heard, &expected)
}

/// As many in rounds, each of which waits for what it is answered: all is legal.
fn control_rounds(ground: &Ground, first: u8) -> Result<(), String> {
    const ROUND: usize = 256;

    let mut client = Client::connect(ground.address);
    client.send(upgrade(PATH).as_bytes());
    let mut expected = Vec::new();
    for start in (0..MANY).step_by(ROUND) {
        let round = start..MANY.min(start + ROUND);
        let mut bytes = sent(&numbered(first, round.clone()));
        if first == PING {
            expected.extend(numbered(PONG, round));
        } else {
            // Who is not asked is not answered; the ping behind is.
            bytes.extend(masked(PING, b"?"));
            expected.push(frame(PONG, b"?"));
        }
        client.send(&bytes);
        client.read_until(LIMIT, |client| client.heard.len() >= expected.len());
    }
    client.send(&bye());
    expected.extend(closed(1000).outcome.heard);
    let seen = client.run(&[], &ground.pair)?;
    same(&seen.heard, &expected)
}

/// Messages in one go: the sender and the room hear them all.
fn message_flood(ground: &Ground, messages: &[Frame]) -> Result<(), String> {
    let mut heard = hear_flood(ground, &[sent(messages), bye()].concat(), true)?;
    let [room, other] = ground.pair.look()?;
    let close = heard.pop();
    same(
        &close.into_iter().collect::<Vec<_>>(),
        &closed(1000).outcome.heard,
    )?;
    same(&heard, messages)?;
    same(&room, messages)?;
    same(&other, messages)
}

fn same(heard: &[Frame], expected: &[Frame]) -> Result<(), String> {
    if heard == expected {
        return Ok(());
    }
    let behind = heard
        .iter()
        .zip(expected)
        .take_while(|(a, b)| a == b)
        .count();
    let (heard, expected) = (shown(&heard[behind..]), shown(&expected[behind..]));
    Err(format!(
        "behind {behind} frames\n  expected {expected}\n  but heard {heard}"
    ))
}

#[test]
fn floods() {
    let mut ground = Ground::start("floods", &["--max-client-buffer=16M"]);
    ground.attempt("100,000 pings in one go, read", |ground| {
        control_flood(ground, PING, true)
    });
    ground.attempt("100,000 pings in one go, not read", |ground| {
        control_flood(ground, PING, false)
    });
    ground.attempt("100,000 pongs in one go", |ground| {
        control_flood(ground, PONG, true)
    });
    ground.attempt("100,000 pings, each answered", |ground| {
        control_rounds(ground, PING)
    });
    ground.attempt("100,000 unasked pongs", |ground| {
        control_rounds(ground, PONG)
    });
    ground.attempt("20,000 messages in one go", |ground| {
        message_flood(ground, &numbered(BINARY, 0..20_000))
    });
    ground.attempt("20,000 empty messages in one go", |ground| {
        let empty = (0..20_000).map(|_| frame(TEXT, ""));
        message_flood(ground, &empty.collect::<Vec<_>>())
    });
    ground.attempt("50 of the longest messages in one go", |ground| {
        let longest = (0..50).map(|_| frame(BINARY, vec![7; 64 * 1024]));
        message_flood(ground, &longest.collect::<Vec<_>>())
    });
    let memory = ground.server.memory("VmHWM:");
    assert!(memory < MAX_MEMORY, "{memory} bytes at the most");
    ground.end();
}
