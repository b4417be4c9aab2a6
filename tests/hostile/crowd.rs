//! Crowds: more clients than there may be, and thousands of connections that say nothing.

use std::time::Duration;

use crate::case::{Expected, PATH, nothing, refused};
use crate::client::{Client, LIMIT};
use crate::ground::Ground;
use crate::peer::{Peer, upgrade};
use crate::process::now;

/// How long after a deadline whoever has passed it may still be there, on a busy machine.
const LATE: Duration = Duration::from_secs(10);

fn check(client: &mut Client, ground: &Ground, expected: &Expected) -> Result<(), String> {
    let seen = client.run(&[], &ground.pair)?;
    let is_expected = seen == expected.outcome;
    is_expected.then_some(()).ok_or_else(|| format!("{seen}"))
}

/// Whoever comes when all places are taken, or all rooms, is told so; and when there is room again,
/// there is.
#[test]
fn full_houses() {
    const CLIENTS: usize = 10;

    // The control pair is two of the clients, and its room is one.
    let flags = ["--max-connections=12", "--max-rooms=2"];
    let mut ground = Ground::start("full houses", &flags);
    ground.attempt("a room too many", |ground| {
        let mut second = Peer::open(ground.address, "/ws/second");
        for _ in 0..CLIENTS {
            let mut client = Client::connect(ground.address);
            client.send(upgrade("/ws/third").as_bytes());
            check(
                &mut client,
                ground,
                &refused(503, "no place for another room"),
            )?;
        }
        second.check_echo();
        drop(second);
        ground.server.wait_for("the room is free", LIMIT, || {
            let mut client = Client::connect(ground.address);
            client.send(upgrade("/ws/third").as_bytes());
            client.read_until(LIMIT, Client::is_open);
            if client.is_open() {
                Ok(())
            } else {
                Err(client.outcome().answer)
            }
        });
        Ok(())
    });
    ground.attempt("a client too many", |ground| {
        let mut others: Vec<Peer> = (0..CLIENTS)
            .map(|_| Peer::open(ground.address, "/ws/second"))
            .collect();
        for _ in 0..CLIENTS {
            let mut client = Client::connect(ground.address);
            client.send(upgrade(PATH).as_bytes());
            check(
                &mut client,
                ground,
                &refused(503, "no place for another client"),
            )?;
        }
        others.truncate(CLIENTS / 2);
        ground.server.wait_for("a place is free", LIMIT, || {
            let mut client = Client::connect(ground.address);
            client.send(upgrade(PATH).as_bytes());
            client.read_until(LIMIT, Client::is_open);
            if client.is_open() {
                Ok(())
            } else {
                Err(client.outcome().answer)
            }
        });
        Ok(())
    });
    ground.end();
}

/// Connections, all at once, of clients that send this; each must come to the same end, when the
/// handshake's time is over and not before.
fn crowd(ground: &Ground, count: usize, bytes: &[u8], expected: &Expected) -> Result<(), String> {
    let present = ground.server.descriptors();
    let begun = now();
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(ground.address);
        client.send(bytes);
        clients.push(client);
    }
    ground.server.wait_for("all of them are there", LIMIT, || {
        let there = ground.server.descriptors() - present;
        if there == count { Ok(()) } else { Err(there) }
    });
    for (number, client) in clients.iter_mut().enumerate() {
        check(client, ground, expected).map_err(|seen| format!("client {number}: {seen}"))?;
        let lasted = client.lasted;
        if lasted < HANDSHAKE {
            return Err(format!("client {number} was there for {lasted:?} only"));
        }
    }
    let lasted = begun.elapsed();
    let in_time = lasted < 2 * HANDSHAKE + LATE;
    in_time
        .then_some(())
        .ok_or_else(|| format!("it took {lasted:?}"))
}

const HANDSHAKE: Duration = Duration::from_secs(4);
const HANDSHAKE_FLAG: &str = "--handshake-timeout=4s";

/// Clients that come at a steady rate, say nothing, and are gone when their time is over: never are
/// more of them there than come in that time.
fn stream_of_clients(ground: &Ground) -> Result<(), String> {
    const RATE: usize = 200;
    const SECONDS: usize = 10;

    let present = ground.server.descriptors();
    let begun = now();
    let mut clients = Vec::new();
    let mut most = 0;
    while clients.len() < RATE * SECONDS {
        let due = Duration::from_secs(1) * u32::try_from(clients.len()).expect("it is small") / 200;
        if begun.elapsed() < due {
            wait(due.saturating_sub(begun.elapsed()));
        }
        clients.push(Client::connect(ground.address));
        most = most.max(ground.server.descriptors() - present);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        check(client, ground, &nothing()).map_err(|seen| format!("client {number}: {seen}"))?;
    }
    // A second more than their time.
    let seconds = usize::try_from(HANDSHAKE.as_secs()).expect("it is small") + 1;
    println!("of {} who came, {most} at most were there", RATE * SECONDS);
    (most <= seconds * RATE)
        .then_some(())
        .ok_or_else(|| format!("{most} were there at once"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a rate is made of time, and of nothing that could be waited for"
)]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

#[test]
#[ignore = "thousands of connections for half a minute: run by ./test hostile"]
fn crowds() {
    fanfare::server::raise_descriptor_limit().expect("the limit can be raised");
    let mut ground = Ground::start("crowds", &[HANDSHAKE_FLAG]);
    ground.attempt("5,000 who say nothing", |ground| {
        crowd(ground, 5000, b"", &nothing())
    });
    ground.attempt("5,000 who stop in the head", |ground| {
        let slow = refused(408, "request head did not arrive in time");
        crowd(ground, 5000, b"GET /ws HTTP/1.1\r\nHost: test\r\n", &slow)
    });
    ground.attempt("200 a second for 10 s who say nothing", stream_of_clients);
    ground.attempt("5,000 who reset at once", |ground| {
        for _ in 0..5000 {
            Client::connect(ground.address).reset();
        }
        Ok(())
    });
    ground.attempt("5,000 who ask and reset", |ground| {
        for _ in 0..5000 {
            let mut client = Client::connect(ground.address);
            client.send(upgrade(PATH).as_bytes());
            client.reset();
        }
        Ok(())
    });
    ground.end();
}
