//! The end of a server that shares its rooms.

use std::time::Duration;

use fanfare::{Outcome, ServerConfig};

use super::{joined, start};
use crate::fake_redis::{FakeRedis, now};
use crate::peer::{CLOSE, close_payload};

/// How long Redis is waited for.
const FLUSH: Duration = Duration::from_secs(2);

#[test]
fn what_was_said_last_is_heard_here_and_there() {
    let (server, _fake, redis) = joined(|_| {});
    let mut peers = [(); 2].map(|()| server.open("/ws"));
    let stalled = redis.stall();
    peers[0].send_text("the last word");
    server.heard("the last word");
    server.handle.stop();
    // Not before the stop has begun: then clients would be closed too early, if ever.
    server.wait_until_draining();
    drop(stalled);
    for peer in &mut peers {
        peer.expect_text("the last word");
        peer.expect_close(1001);
        peer.send_frame(CLOSE, close_payload(1001, ""));
        peer.expect_end();
    }
    drop(peers);
    assert_eq!(redis.published(), "the last word");
    assert_eq!(server.end().outcome, Outcome::Drained);
}

/// Clients hear it without Redis, before they are closed; what Redis has not taken is lost.
#[test]
fn a_redis_that_does_not_answer_is_not_waited_for_for_ever() {
    let (server, _fake, redis) = joined(|_| {});
    let mut peer = server.open("/ws");
    let stalled = redis.stall();
    peer.send_text("the last word");
    server.heard("the last word");
    let begun = now();
    server.handle.stop();
    peer.expect_text("the last word");
    peer.expect_close(1001);
    peer.send_frame(CLOSE, close_payload(1001, ""));
    peer.expect_end();
    drop(peer);
    let ended = server.end();
    let took = begun.elapsed();
    drop(stalled);
    assert_eq!((ended.outcome, ended.clients), (Outcome::Drained, 0));
    assert!(took >= FLUSH && took < FLUSH * 2, "{took:?}");
}

/// Nothing is waited for where nothing was said.
#[test]
fn a_server_without_redis_ends_at_once() {
    let fake = FakeRedis::start();
    let server = start(&fake, |_| {});
    let peer = server.open("/ws");
    drop(peer);
    let begun = now();
    server.check_ends_empty();
    assert!(begun.elapsed() < FLUSH, "{:?}", begun.elapsed());
}

/// The deadline of the whole is that of Redis as well.
#[test]
fn the_end_does_not_wait_longer_than_it_may() {
    const SHORT: Duration = Duration::from_millis(500);

    let (server, _fake, redis) = joined(|config: &mut ServerConfig| {
        config.shutdown_timeout = SHORT;
    });
    let mut peer = server.open("/ws");
    let stalled = redis.stall();
    peer.send_text("the last word");
    server.heard("the last word");
    let begun = now();
    server.handle.stop();
    let ended = server.end();
    let took = begun.elapsed();
    drop(stalled);
    assert_eq!(ended.outcome, Outcome::TimedOut);
    assert!(took >= SHORT && took < FLUSH, "{took:?}");
    peer.expect_text("the last word");
}

/// Those who are closed little by little talk on, and are heard.
#[test]
fn a_drain_that_takes_its_time_is_flushed_at_its_end() {
    let (server, _fake, redis) = joined(|config| {
        config.drain_time = Duration::from_millis(500);
    });
    let mut peers = [(); 2].map(|()| server.open("/ws"));
    server.handle.stop();
    // Half of the time is left for the last one.
    assert_eq!(peers[0].expect_close(1012), "");
    peers[0].send_frame(CLOSE, close_payload(1012, ""));
    peers[1].send_text("the last word");
    server.heard("the last word");
    assert_eq!(redis.published(), "the last word");
    peers[1].expect_text("the last word");
    peers[1].expect_close(1012);
    drop(peers);
    assert_eq!(server.end().outcome, Outcome::Drained);
}
