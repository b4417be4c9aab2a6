//! A real cluster: three masters, each with a third of the slots. Whoever asks one of them for what
//! another has is told where it is.

use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::ledger::Order;
use crate::node::Node;
use crate::proxy::Proxy;
use crate::server::{Keeps, RedisServer, free_port};
use crate::stage::{Mode, Plan, Stage, in_both_modes};
use crate::{eventually, pass, wait_until};

/// How long nodes may take to know each other, or that a slot has moved.
const LIMIT: Duration = Duration::from_secs(20);

/// How many milliseconds a node is silent before the others call it failed.
const NODE_TIMEOUT: &str = "1500";

/// For how long a node is away: the others have called it failed.
const OUTAGE: Duration = Duration::from_secs(4);

/// The first slot of each node, and its last.
const SLOTS: [(u16, u16); 3] = [(0, 5460), (5461, 10_922), (10_923, 16_383)];

/// A room of each shard, in the order of the shards.
const ROOMS: [&str; 4] = ["a", "", "c", "d"];

/// The node that has the slot of each shard: of `{0}`, `{1}`, `{2}` and `{3}`.
const HOMES: [usize; 4] = [2, 1, 1, 0];

/// The node that has the slot of the stream where there are no shards.
const STREAM_HOME: usize = 2;

/// What is where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Rooms are divided among the nodes.
    Sharded,
    /// All rooms share one channel, which is all nodes' alike, or one stream.
    Plain,
}

/// What is set up beside that.
#[derive(Clone, Copy, Debug)]
struct Setting {
    layout: Layout,
    /// The nodes that the two servers are told of.
    entries: [usize; 2],
    /// Whether a slot whose node is away takes all other slots with it: Redis' default.
    is_all_or_nothing: bool,
}

impl Setting {
    fn new(layout: Layout) -> Self {
        Self {
            layout,
            entries: [0, 1],
            is_all_or_nothing: false,
        }
    }
}

/// A stage whose Redis is a cluster's first node.
struct Scene {
    stage: Stage,
    /// The second and the third.
    others: [RedisServer; 2],
    /// Who speaks in each of the rooms, one on each server.
    rooms: Vec<(&'static str, [Arc<Client>; 2])>,
}

impl Scene {
    fn start(mode: Mode, layout: Layout) -> Self {
        Self::start_with(mode, Setting::new(layout))
    }

    /// Two servers, each told of one node; in each room somebody speaks on either.
    fn start_with(mode: Mode, setting: Setting) -> Self {
        let [first, second, third] = start_cluster(setting.is_all_or_nothing);
        let flags = match setting.layout {
            Layout::Sharded => vec!["--redis-shards", "4"],
            Layout::Plain => Vec::new(),
        };
        let plan = Plan {
            nodes: 0,
            flags,
            pace: Duration::from_millis(20),
            ..Plan::new(mode)
        };
        let addresses = [first.address(), second.address(), third.address()];
        let mut stage = Stage::set_up(plan, first);
        for entry in setting.entries {
            let proxy = Proxy::start(addresses[entry]);
            let node = Node::start(&stage.plan.arguments(proxy.address));
            stage.proxies.push(proxy);
            stage.nodes.push(node);
        }
        stage.wait_until_well();
        let rooms = ROOMS.map(|room| (room, [0, 1].map(|node| stage.join_room(node, room, true))));
        stage.wait_until_heard(10);
        Self {
            stage,
            others: [second, third],
            rooms: rooms.to_vec(),
        }
    }

    fn redis(&self, node: usize) -> &RedisServer {
        match node.checked_sub(1) {
            None => &self.stage.redis,
            Some(other) => &self.others[other],
        }
    }

    fn redis_mut(&mut self, node: usize) -> &mut RedisServer {
        match node.checked_sub(1) {
            None => &mut self.stage.redis,
            Some(other) => &mut self.others[other],
        }
    }

    /// How often a server was sent to another node.
    fn moved(&self, server: usize) -> u64 {
        self.stage.nodes[server].metric("fanfare_redis_reconnects_total{reason=\"moved\"}")
    }

    /// A node is killed, is away until the others have noticed, and comes back with nothing but
    /// what it knows of the cluster. `meanwhile` is done when all have noticed.
    fn kill_and_restart(&mut self, node: usize, meanwhile: impl FnOnce(&Self)) {
        self.redis_mut(node).kill();
        pass(OUTAGE);
        let witness = self.redis((node + 1) % 3);
        let nodes = witness.tell("CLUSTER NODES").text();
        assert!(
            nodes.contains(",fail") || nodes.contains(" fail"),
            "{nodes}"
        );
        meanwhile(self);
        self.redis_mut(node).restart();
        pass(Duration::from_secs(1));
    }

    /// The servers go on telling each other what is said in this room.
    fn is_shared(&self, room: &str) {
        let mut rooms = self.rooms.iter();
        let (_, [one, other]) = rooms.find(|(name, _)| *name == room).expect("it is one");
        for (listener, speaker) in [(one, other.speaker), (other, one.speaker)] {
            let before = listener.last_of(speaker);
            eventually("the other server is heard", Duration::from_secs(2), || {
                listener.last_of(speaker) > before.map(|number| number + 10)
            });
        }
    }

    /// What is said in each room is heard in one order on both servers.
    fn all_hear_one_order(&self) {
        for (room, clients) in &self.rooms {
            let order = Order::of(clients.iter().map(|client| &**client));
            assert!(order.common > 50, "{} heard in {room:?}", order.common);
            // Nothing is promised where the machine held up Redis.
            let nodes = self.stage.nodes.iter();
            let early: u64 = nodes.map(|n| n.metric("fanfare_redis_local_total")).sum();
            let is_one = order.elsewhere == 0 || early > 0;
            assert!(is_one, "{room:?}: {} elsewhere", order.elsewhere);
        }
    }
}

/// Three masters that know each other.
fn start_cluster(is_all_or_nothing: bool) -> [RedisServer; 3] {
    let nodes = [(); 3].map(|()| start_node(is_all_or_nothing));
    for ((node, _), (first, last)) in nodes.iter().zip(SLOTS) {
        node.tell(&format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
    }
    for (node, bus) in &nodes[1..] {
        meet(&nodes[0].0, node, *bus);
    }
    let nodes = nodes.map(|(node, _)| node);
    for node in &nodes {
        wait_until("the nodes know each other", LIMIT, || {
            let info = node.tell("CLUSTER INFO").text();
            let lines = [
                "cluster_state:ok",
                "cluster_slots_ok:16384",
                "cluster_size:3",
            ];
            lines.iter().all(|line| info.contains(line)).then_some(())
        });
    }
    nodes
}

/// A node that knows nobody yet, and the port where it speaks to others.
fn start_node(is_all_or_nothing: bool) -> (RedisServer, u16) {
    let bus = free_port();
    let port = bus.to_string();
    let settings = [
        ["--cluster-enabled", "yes"],
        ["--cluster-port", &port],
        ["--cluster-node-timeout", NODE_TIMEOUT],
        [
            "--cluster-require-full-coverage",
            if is_all_or_nothing { "yes" } else { "no" },
        ],
    ];
    let node = RedisServer::start_with(Keeps::Nothing, settings.as_flattened());
    (node, bus)
}

/// A node of a cluster makes another one's acquaintance.
fn meet(member: &RedisServer, node: &RedisServer, bus: u16) {
    member.tell(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.port));
}

/// The key of a shard's stream.
fn stream(shard: usize) -> String {
    format!("{{{shard}}}.websocket-broadcast:s")
}

/// Each shard is where the cluster says, and nowhere else; whoever asked elsewhere went there.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn rooms_are_divided_among_the_nodes() {
    in_both_modes(|mode| {
        let mut scene = Scene::start(mode, Layout::Sharded);
        pass(Duration::from_secs(2));
        for (shard, home) in HOMES.into_iter().enumerate() {
            let redis = scene.redis(home);
            let channel = format!("{{{shard}}}.websocket-broadcast");
            let subscribed = redis.tell(&format!("PUBSUB SHARDNUMSUB {channel}"));
            assert_eq!(subscribed.items()[1].integer(), 2, "{channel}");
            if mode == Mode::Stream {
                let key = stream(shard);
                let len = redis.tell(&format!("XLEN {key}")).integer();
                assert!(len > 50, "{len} entries in {key}");
            }
        }
        let away = [0, 1].map(|entry| HOMES.iter().filter(|home| **home != entry).count());
        for (server, away) in away.into_iter().enumerate() {
            assert!(scene.moved(server) >= away as u64, "server {server}");
        }
        scene.stage.nothing_was_lost();
        scene.all_hear_one_order();
    });
}

/// Without shards a channel is all nodes' alike: whichever a server is told of will do. A stream is
/// one node's, and each server goes there.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn servers_of_different_nodes_hear_each_other() {
    in_both_modes(|mode| {
        let mut scene = Scene::start(mode, Layout::Plain);
        pass(Duration::from_secs(2));
        for server in [0, 1] {
            let is_moved = scene.moved(server) > 0;
            assert_eq!(is_moved, mode == Mode::Stream, "server {server}");
        }
        scene.stage.nothing_was_lost();
        match mode {
            Mode::Stream => {
                let redis = scene.redis(STREAM_HOME);
                let len = redis.tell("XLEN websocket-broadcast:s").integer();
                assert!(len > 50, "{len} entries");
                scene.all_hear_one_order();
            }
            // Each node has an order of its own.
            Mode::PubSub => {}
        }
    });
}

/// The node of two shards is away. The rooms of the others go on as if nothing had happened.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn node_of_some_rooms_killed_and_restarted() {
    const DEAD: usize = 1;

    in_both_modes(|mode| {
        let mut scene = Scene::start(mode, Layout::Sharded);
        let shards = || ROOMS.into_iter().zip(HOMES);
        scene.kill_and_restart(DEAD, |scene| {
            for node in &scene.stage.nodes {
                assert!(!node.is_well());
                assert_eq!(node.get("/readyz").0, 200, "others are carried");
            }
            for (room, _) in shards().filter(|(_, home)| *home != DEAD) {
                scene.is_shared(room);
            }
        });
        let outcome = scene.stage.stream_loses_nothing();
        let by_a_crash = outcome.most_lost_by_a_crash();
        for (room, home) in shards() {
            let lost = outcome.lost_in(0, room) + outcome.lost_in(1, room);
            let most = if home == DEAD { by_a_crash } else { 0 };
            assert!(lost <= most, "{lost} lost in {room:?}");
        }
    });
}

/// Without shards: the stream's node is away, or the one that a server is told of.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn node_of_all_rooms_killed_and_restarted() {
    in_both_modes(|mode| {
        let mut scene = Scene::start(mode, Layout::Plain);
        let dead = match mode {
            Mode::Stream => STREAM_HOME,
            Mode::PubSub => 1,
        };
        scene.kill_and_restart(dead, |scene| {
            let is_cut_off = |server: usize| scene.stage.nodes[server].get("/readyz").0 == 503;
            assert!(is_cut_off(1));
            assert_eq!(is_cut_off(0), mode == Mode::Stream);
        });
        let outcome = scene.stage.stream_loses_nothing();
        // Or the test shows nothing: nobody keeps for server 1 what server 0 said meanwhile.
        assert_eq!(outcome.lost_at(1) > 100, mode == Mode::PubSub);
    });
}

/// Redis' default: while the node of two shards is away, the others take no commands either. They
/// take what is published, but nothing for a stream.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn node_killed_and_all_slots_with_it() {
    const DEAD: usize = 1;

    in_both_modes(|mode| {
        let setting = Setting {
            is_all_or_nothing: true,
            ..Setting::new(Layout::Sharded)
        };
        let mut scene = Scene::start_with(mode, setting);
        scene.kill_and_restart(DEAD, |scene| {
            let refused = scene.redis(HOMES[0]).say(&format!("XLEN {}", stream(0)));
            assert!(refused.text().starts_with("CLUSTERDOWN"), "{refused:?}");
            for node in &scene.stage.nodes {
                assert!(!node.is_well());
            }
        });
        crate::crashes::check_loss(&mut scene.stage);
    });
}

/// A node is away for good, and its replica takes its place. One of the servers was told of no
/// other node than that.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn replica_of_a_node_takes_over() {
    const DEAD: usize = 1;

    in_both_modes(|mode| {
        let mut scene = Scene::start(mode, Layout::Sharded);
        let (replica, bus) = start_node(false);
        let master = scene.redis(DEAD).tell("CLUSTER MYID").text();
        meet(scene.redis(DEAD), &replica, bus);
        eventually("the replica knows whom to follow", LIMIT, || {
            let told = replica.say(&format!("CLUSTER REPLICATE {master}"));
            told.text() == "OK"
        });
        eventually("the replica has a copy", LIMIT, || {
            replica.info("master_link_status") == "up"
        });
        // Whoever is not known has no vote, and is given none.
        for node in [scene.redis(0), scene.redis(2), &replica] {
            eventually("all know all, and who follows whom", LIMIT, || {
                let nodes = node.tell("CLUSTER NODES").text();
                let is_known = nodes.matches("connected").count() == 4
                    && !nodes.contains("disconnected")
                    && !nodes.contains("handshake");
                is_known && nodes.contains(&format!("slave {master}"))
            });
        }
        scene.redis_mut(DEAD).kill();
        eventually("the replica is the master", LIMIT, || {
            replica.info("role") == "master"
        });
        crate::crashes::check_loss(&mut scene.stage);
    });
}

/// A slot is given to another node while everybody talks: subscriptions are ended there, and the
/// stream is taken along.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn slot_moves_to_another_node() {
    const SHARD: usize = 1;

    in_both_modes(|mode| {
        let mut scene = Scene::start(mode, Layout::Sharded);
        let (from, to) = (scene.redis(HOMES[SHARD]), scene.redis(0));
        let key = stream(SHARD);
        let slot = from.tell(&format!("CLUSTER KEYSLOT {key}")).integer();
        let [source, target] = [from, to].map(|redis| redis.tell("CLUSTER MYID").text());
        to.tell(&format!("CLUSTER SETSLOT {slot} IMPORTING {source}"));
        from.tell(&format!("CLUSTER SETSLOT {slot} MIGRATING {target}"));
        if mode == Mode::Stream {
            from.tell(&format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port));
        }
        for redis in [to, from, scene.redis(2)] {
            redis.tell(&format!("CLUSTER SETSLOT {slot} NODE {target}"));
        }
        let channel = format!("{{{SHARD}}}.websocket-broadcast");
        wait_until("both servers have followed", LIMIT, || {
            let subscribed = to.tell(&format!("PUBSUB SHARDNUMSUB {channel}"));
            (subscribed.items()[1].integer() == 2).then_some(())
        });
        let outcome = scene.stage.stream_loses_nothing();
        let elsewhere = ROOMS.into_iter().enumerate();
        for (_, room) in elsewhere.filter(|(shard, _)| *shard != SHARD) {
            let lost = outcome.lost_in(0, room) + outcome.lost_in(1, room);
            assert_eq!(lost, 0, "in {room:?}");
        }
    });
}
