//! Sentinels, and the nodes of a cluster.

use super::*;

fn endpoint(host: &str) -> Endpoint {
    Endpoint::Tcp(host.to_owned(), 6379)
}

/// Nodes that ask three sentinels, and two servers: `redis`, the master, and `other`.
fn with_sentinels(nodes: usize) -> World {
    with_listed(nodes, &["s1", "s2", "s3"])
}

/// The same with as many sentinels as are listed.
fn with_listed(nodes: usize, listed: &[&str]) -> World {
    let mut world = World::with(nodes, |config| {
        config.target = Target::Sentinel {
            sentinels: listed.iter().map(|name| endpoint(name)).collect(),
            master: "mymaster".to_owned(),
        };
    });
    let mut other = Redis::new("other");
    other.role = "slave";
    world.redises.push(other);
    for name in listed {
        let mut sentinel = Redis::new(name);
        let master = ("redis".to_owned(), 6379);
        sentinel.masters.insert("mymaster".to_owned(), master);
        world.redises.push(sentinel);
    }
    world
}

/// A sentinel names another master from now on.
fn name(world: &mut World, sentinel: usize, master: &str) {
    let master = (master.to_owned(), 6379);
    let masters = &mut world.redises[sentinel].masters;
    masters.insert("mymaster".to_owned(), master);
}

/// Lets time pass until a sentinel is asked once more.
fn wait_until_asked(world: &mut World, sentinel: usize) {
    let (before, end) = (world.redises[sentinel].accepted, world.ms + 20 * SECOND);
    while world.redises[sentinel].accepted == before {
        assert!(world.ms < end, "nobody asks");
        world.run(1);
    }
}

fn promote(world: &mut World, sentinels: std::ops::Range<usize>) {
    world.redises[0].role = "slave";
    world.redises[1].role = "master";
    for sentinel in &mut world.redises[sentinels] {
        let master = ("other".to_owned(), 6379);
        sentinel.masters.insert("mymaster".to_owned(), master);
    }
}

#[test]
fn a_sentinel_says_where_the_master_is() {
    let mut world = with_sentinels(2);
    world.run(2 * SECOND);
    assert_eq!(world.health(0), Health::Up);
    world.run_chatting(SECOND, 10);
    world.run(10);
    world.check_all();
    assert_eq!(world.redises[2].accepted, 2, "each asks once");
    assert_eq!(world.redises[2].clients.len(), 0, "and hangs up");
    assert_eq!(world.nodes[0].events, [Event::Joined]);
}

#[test]
fn sentinels_that_are_away_are_passed_over() {
    let mut world = with_sentinels(1);
    world.redises[2].is_running = false;
    world.redises[3].is_frozen = true;
    world.run(4 * SECOND);
    assert_eq!(world.health(0), Health::Up);
    let mut world = with_sentinels(1);
    for sentinel in &mut world.redises[2..] {
        sentinel.is_running = false;
    }
    world.run(60 * SECOND);
    assert_eq!(world.health(0), Health::Down);
    let connects = world.nodes[0].connects;
    assert!(
        (150..600).contains(&connects),
        "three at a time: {connects}"
    );
    assert_eq!(
        world.nodes[0].events.len(),
        1,
        "{:?}",
        world.nodes[0].events
    );
}

#[test]
fn a_master_that_no_sentinel_knows_is_somebodys_mistake() {
    let mut world = with_sentinels(1);
    for sentinel in &mut world.redises[2..] {
        sentinel.masters.clear();
    }
    world.run(12 * SECOND);
    assert_eq!(world.nodes[0].connects, 9, "every five seconds, all three");
    let warnings: Vec<_> = world.nodes[0].events.iter().map(Event::to_string).collect();
    assert!(
        warnings.iter().any(|line| line.contains("knows no master")),
        "{warnings:?}"
    );
    assert!(warnings.len() <= 2, "{warnings:?}");
    world.redises[3]
        .masters
        .insert("mymaster".to_owned(), ("redis".to_owned(), 6379));
    world.run(8 * SECOND);
    assert_eq!(world.health(0), Health::Up);
}

#[test]
fn a_failover_leads_to_another_server() {
    let mut world = with_sentinels(2);
    world.run(3 * SECOND);
    world.run_chatting(SECOND, 5);
    world.kill();
    world.run_chatting(2 * SECOND, 5);
    promote(&mut world, 2..5);
    world.run_chatting(5 * SECOND, 5);
    world.run(100);
    world.check_all();
    assert_eq!(world.redises[1].clients.len(), 2);
    assert_eq!(world.health(0), Health::Up);
}

#[test]
fn a_sentinel_that_is_behind_is_not_believed_for_ever() {
    let mut world = with_sentinels(1);
    world.run(3 * SECOND);
    // The old master is a replica now, and lives; one sentinel has not heard of it.
    promote(&mut world, 3..5);
    world.run_chatting(10 * SECOND, 5);
    assert_eq!(world.redises[1].clients.len(), 1);
    assert_eq!(world.health(0), Health::Up);
    world.check_own(0);
}

#[test]
fn a_master_that_stalls_while_another_is_elected_is_left_for_it() {
    let mut world = with_sentinels(2);
    world.run(3 * SECOND);
    world.run_chatting(SECOND, 5);
    world.redises[0].is_frozen = true;
    world.run_chatting(2 * SECOND, 5);
    promote(&mut world, 2..5);
    world.run_chatting(12 * SECOND, 5);
    world.run(100);
    world.check_all();
    assert_eq!(world.redises[1].clients.len(), 2);
    assert_eq!(world.health(0), Health::Up);
}

/// A master that is cut off with one of two servers, and thinks that it is one still.
fn split() -> World {
    let mut world = with_sentinels(2);
    world.run(3 * SECOND);
    world.run_chatting(SECOND, 5);
    promote(&mut world, 2..5);
    world.redises[0].role = "master";
    world.cut(1);
    world.nodes[1].is_refused = false;
    world
}

#[test]
fn whoever_hears_nobody_any_more_asks_the_sentinels() {
    let mut world = split();
    // One of them may be cut off as well, and another one away.
    let master = ("redis".to_owned(), 6379);
    world.redises[2]
        .masters
        .insert("mymaster".to_owned(), master);
    world.redises[3].masters.clear();
    world.redises[3].is_running = false;
    world.run(75 * SECOND);
    assert_eq!(world.redises[0].clients.len(), 1, "one of two is not most");
    world.redises[3].is_running = true;
    let master = ("other".to_owned(), 6379);
    world.redises[3]
        .masters
        .insert("mymaster".to_owned(), master);
    world.run(20 * SECOND);
    assert_eq!(world.redises[0].clients.len(), 0);
    assert_eq!(world.redises[1].clients.len(), 2);
    assert_eq!(world.metric(0, "reconnects_total{reason=\"role\"}"), 1);
    let heard = world.nodes[1].heard.len();
    world.say(0, "0:last");
    world.run(100);
    assert_eq!(world.nodes[1].heard.len(), heard + 1);
    assert_eq!(world.health(0), Health::Up);
}

#[test]
fn a_connection_is_not_left_for_what_one_sentinel_says() {
    let mut world = with_sentinels(2);
    world.redises[1].role = "master";
    world.run(3 * SECOND);
    let asked = world.redises[3].accepted;
    let master = ("other".to_owned(), 6379);
    world.redises[4]
        .masters
        .insert("mymaster".to_owned(), master);
    world.cut(1);
    world.run(600 * SECOND);
    assert_eq!(world.redises[0].clients.len(), 1);
    assert_eq!(world.redises[1].accepted, 0);
    assert_eq!(world.redises[3].accepted - asked, 30, "and not for ever");
    assert_eq!(world.metric(0, "up"), 1);
    assert_eq!(world.nodes[0].backplane.links().count(), 1);
}

/// One of three that is cut off as well, or has been away, is not most of them because the others
/// do not answer.
#[test]
fn sentinels_that_do_not_answer_count() {
    let mut world = with_sentinels(2);
    world.redises[1].role = "master";
    world.run(3 * SECOND);
    name(&mut world, 2, "other");
    world.redises[3].is_running = false;
    world.redises[4].is_frozen = true;
    let asked = world.redises[2].accepted;
    world.cut(1);
    world.run(60 * SECOND);
    assert!(world.redises[2].accepted - asked >= 3, "it is asked");
    assert_eq!(world.redises[0].clients.len(), 1);
    assert_eq!(world.redises[1].accepted, 0);
    world.redises[3].is_running = true;
    name(&mut world, 3, "other");
    world.run(20 * SECOND);
    assert_eq!(world.redises[1].clients.len(), 1, "two of three are most");
}

/// Two sentinels have said where the master was, and the third does not answer: before it is given
/// up, the master dies, and there is another one.
#[test]
fn what_sentinels_said_before_there_was_another_master_does_not_lead_back() {
    let mut world = with_sentinels(2);
    world.run(3 * SECOND);
    world.redises[4].is_frozen = true;
    world.cut(1);
    wait_until_asked(&mut world, 4);
    world.kill();
    promote(&mut world, 2..4);
    world.run(900);
    assert_eq!(world.redises[1].clients.len(), 1);
    assert_eq!(world.redises[4].clients.len(), 1, "it is still asked");
    // Whoever went back there would find a server that takes everything.
    world.redises[0].role = "master";
    world.start();
    world.run(5 * SECOND);
    assert_eq!(world.redises[0].clients.len(), 0);
    assert_eq!(world.redises[1].accepted, 1);
    assert_eq!(world.metric(0, "reconnects_total{reason=\"role\"}"), 0);
    assert_eq!(world.health(0), Health::Up);
}

/// One name is listed, to which many answer. One of those is cut off, and names the old master.
#[test]
fn what_one_name_says_is_believed_the_second_time_and_does_not_lead_back() {
    let mut world = with_listed(2, &["s1"]);
    world.redises[1].role = "master";
    world.run(3 * SECOND);
    world.cut(1);
    wait_until_asked(&mut world, 2);
    for _ in 0..5 {
        for master in ["other", "redis"] {
            name(&mut world, 2, master);
            wait_until_asked(&mut world, 2);
            world.run(SECOND);
            assert_eq!(world.redises[1].accepted, 0, "not the same twice");
        }
    }
    name(&mut world, 2, "other");
    wait_until_asked(&mut world, 2);
    world.run(SECOND);
    assert_eq!(world.redises[1].accepted, 0, "once is not enough");
    wait_until_asked(&mut world, 2);
    world.run(SECOND);
    assert_eq!(world.redises[0].clients.len(), 0);
    assert_eq!(world.redises[1].clients.len(), 1);
    name(&mut world, 2, "redis");
    let asked = world.redises[2].accepted;
    world.run(300 * SECOND);
    assert!(world.redises[2].accepted - asked > 10, "it is asked on");
    assert_eq!(world.redises[0].clients.len(), 0, "it does not lead back");
    assert_eq!(world.redises[1].accepted, 1);
    assert_eq!(world.health(0), Health::Up);
}

/// The last answer to what was asked after one silence, and the first after another.
#[test]
fn what_one_name_said_long_ago_is_not_half_of_twice() {
    let mut world = with_listed(3, &["s1"]);
    world.redises[1].role = "master";
    world.nodes[2].is_unreachable = true;
    world.run(3 * SECOND);
    world.cut(1);
    for _ in 0..29 {
        wait_until_asked(&mut world, 2);
    }
    world.run(SECOND);
    name(&mut world, 2, "other");
    wait_until_asked(&mut world, 2);
    let asked = world.redises[2].accepted;
    world.run(60 * SECOND);
    assert_eq!(world.redises[2].accepted, asked, "that was the last");
    name(&mut world, 2, "redis");
    world.nodes[2].is_unreachable = false;
    world.run(15 * SECOND);
    assert_eq!(world.metric(0, "peers"), 1);
    name(&mut world, 2, "other");
    world.cut(2);
    wait_until_asked(&mut world, 2);
    world.run(SECOND);
    assert_eq!(world.redises[1].accepted, 0);
}

#[test]
fn a_sentinel_may_want_to_know_who_asks() {
    let mut world = World::with(1, |config| {
        config.credentials = Some(Credentials {
            user: "default".to_owned(),
            password: "secret".to_owned(),
        });
        config.target = Target::Sentinel {
            sentinels: vec![endpoint("s1")],
            master: "mymaster".to_owned(),
        };
    });
    let mut sentinel = Redis::new("s1");
    sentinel.password = Some("secret");
    let master = ("redis".to_owned(), 6379);
    sentinel.masters.insert("mymaster".to_owned(), master);
    world.redises.push(sentinel);
    world.redises[0].password = Some("secret");
    world.run(3 * SECOND);
    assert_eq!(world.health(0), Health::Up);
}

/// Nodes with one shard, and a cluster of two.
fn with_cluster() -> World {
    let mut world = World::with(2, |config| config.shards = Some(1));
    world.redises.push(Redis::new("other"));
    world
}

#[test]
fn a_redirect_is_followed() {
    let mut world = with_cluster();
    world.redises[0].moved = Some("other:6379");
    world.run(3 * SECOND);
    assert_eq!(world.redises[1].clients.len(), 2);
    world.run_chatting(SECOND, 10);
    // The slot goes to the other node, and the subscriptions with it.
    world.redises[0].moved = None;
    world.redises[1].moved = Some("redis:6379");
    for client in world.redises[1].clients.values_mut() {
        let channel = "$23\r\n{0}.websocket-broadcast\r\n";
        let push = format!(">3\r\n$12\r\nsunsubscribe\r\n{channel}:0\r\n");
        client.output.extend_from_slice(push.as_bytes());
    }
    world.run_chatting(4 * SECOND, 10);
    world.run(100);
    world.check_own(0);
    world.check_own(1);
    assert_eq!(world.redises[0].clients.len(), 2);
    assert_eq!(world.health(0), Health::Up);
}

#[test]
fn a_node_that_a_redirect_leads_to_is_left_when_it_fails() {
    let mut world = with_cluster();
    world.redises[0].moved = Some("other:6379");
    world.run(3 * SECOND);
    world.redises[1].kill();
    world.redises[0].moved = None;
    world.run_chatting(4 * SECOND, 10);
    world.run(10);
    world.check_all();
    assert_eq!(world.redises[0].clients.len(), 2);
}

/// Only one of the nodes was named, and that is gone: another one is known, since a shard is there.
#[test]
fn another_node_is_asked_for_the_slots_of_the_one_that_is_gone() {
    let mut world = World::with(2, |config| config.shards = Some(2));
    world.redises.push(Redis::new("other"));
    (world.redises[0].moved, world.redises[0].moved_prefix) = (Some("other:6379"), "{0}");
    world.run(3 * SECOND);
    let clients = |world: &World| [0, 1].map(|redis| world.redises[redis].clients.len());
    assert_eq!(clients(&world), [2, 2], "each has a shard");
    world.redises[0].kill();
    world.run_chatting(6 * SECOND, 10);
    world.run(100);
    world.check_all();
    assert_eq!(clients(&world), [0, 4]);
    assert_eq!(world.health(0), Health::Up);
    // It was asked without haste.
    let connects = world.nodes[0].connects;
    assert!(connects < 20, "{connects}");
}

#[test]
fn two_nodes_that_send_us_to_each_other_are_no_reason_to_run() {
    let mut world = with_cluster();
    world.redises[0].moved = Some("other:6379");
    world.redises[1].moved = Some("redis:6379");
    world.run(60 * SECOND);
    let connects = world.nodes[0].connects;
    assert!(connects < 250, "{connects}");
    assert!(
        world.nodes[0].events.is_empty(),
        "{:?}",
        world.nodes[0].events
    );
    world.redises[1].moved = None;
    world.run(5 * SECOND);
    assert_eq!(world.health(0), Health::Up);
}
