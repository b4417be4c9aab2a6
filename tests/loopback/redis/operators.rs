//! What operators are told of Redis.

use fanfare::{MemoryPart, ServerConfig};

use super::{joined, start};
use crate::fake_redis::FakeRedis;

#[test]
fn health_follows_what_becomes_of_redis() {
    let fake = FakeRedis::start();
    let server = start(&fake, |_| {});
    let down = (503, "backplane down\n".to_owned());
    assert_eq!(server.ask("/readyz"), down);
    let (status, body) = server.ask("/healthz");
    assert_eq!(status, 200, "the loop turns");
    assert!(body.starts_with("ok\nredis=down seconds="), "{body}");
    let redis = fake.accept().serve_from_the_start();
    server.wait_until("redis=up seconds=");
    let ready = (200, "ready\n".to_owned());
    assert_eq!(server.ask("/readyz"), ready);
    assert_eq!(server.ask("/readyz?strict=1"), ready);
    assert_eq!(server.metric("fanfare_redis_up"), 1);
    // It falls silent: what is said is heard without it.
    let stalled = redis.stall();
    server.open("/ws").check_echo();
    server.wait_until("redis=degraded seconds=");
    assert_eq!(server.ask("/readyz"), ready);
    let degraded = (503, "backplane degraded\n".to_owned());
    assert_eq!(server.ask("/readyz?strict=1"), degraded);
    assert_eq!(server.metric("fanfare_redis_degraded"), 1);
    drop(stalled);
    server.wait_until("redis=up seconds=");
    assert_eq!(server.ask("/readyz?strict=1"), ready);
}

#[test]
fn metrics_count_what_goes_through_redis() {
    let (server, _fake, redis) = joined(|_| {});
    let mut peer = server.open("/ws");
    peer.check_echo();
    redis.publish(b"hi");
    peer.expect_text("hi");
    for (name, count) in [
        ("published_total", 1),
        ("acked_total", 1),
        ("received_total", 1),
        ("gap_messages_total", 0),
        ("echo_seconds_count", 1),
    ] {
        let metric = server.metric(&format!("fanfare_redis_{name}"));
        assert!(metric >= count, "{name}: {metric}");
    }
    // Each metric is explained, and only once.
    let (_, page) = server.ask("/metrics");
    let mut heads: Vec<&str> = page.lines().filter(|l| l.starts_with("# HELP")).collect();
    let count = heads.len();
    heads.sort_unstable();
    heads.dedup();
    assert!(heads.len() == count && count > 30, "{count}");
}

/// What a server may hold with a backplane is more than without, and said.
#[test]
fn the_memory_of_a_backplane_is_accounted_for() {
    let mut config = ServerConfig::default();
    let total = |config: &ServerConfig| {
        let parts = config.worst_case_memory().into_iter();
        parts.map(|part: MemoryPart| part.bytes()).sum::<usize>()
    };
    let without = total(&config);
    config.backplane = Some("redis://h".parse().expect("it is a URL"));
    let with = total(&config);
    assert!((60 << 20..200 << 20).contains(&(with - without)));
    config.hub.limits.max_message_size *= 10;
    config.hub.max_client_buffer *= 10;
    let larger = total(&config);
    config.backplane = None;
    assert!(
        larger - total(&config) > with - without,
        "messages are larger"
    );
}
