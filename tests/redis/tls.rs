//! A Redis that speaks TLS.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::Client;
use crate::node::Node;
use crate::pass;
use crate::proxy::{Proxy, Way};
use crate::server::{Keeps, RedisServer, Sentinel, free_port};
use crate::stage::{Mode, Plan, Stage, in_both_modes};

fn file(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/tls/certificates").join(name);
    path.display().to_string()
}

/// A Redis with TLS on another port, which is returned; it wants to see a certificate, or does not.
fn redis_with_tls(wants_certificate: &str) -> (RedisServer, u16) {
    let port = free_port();
    let (text, files) = (
        port.to_string(),
        ["server.pem", "server.key", "ca.pem"].map(file),
    );
    let settings = [
        ["--tls-port", &text],
        ["--tls-cert-file", &files[0]],
        ["--tls-key-file", &files[1]],
        ["--tls-ca-cert-file", &files[2]],
        ["--tls-auth-clients", wants_certificate],
    ];
    let redis = RedisServer::start_with(Keeps::Nothing, settings.as_flattened());
    (redis, port)
}

fn arguments(mode: Mode, url: String, ca: &str) -> Vec<String> {
    let plan = Plan {
        url: Some(url),
        ..Plan::new(mode)
    };
    let nowhere = ([127, 0, 0, 1], 1).into();
    let mut arguments = plan.arguments(nowhere);
    arguments.extend(["--redis-ca".to_owned(), file(ca)]);
    arguments
}

/// The same faults as without TLS, with more state to be rid of at each of them.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn faults_over_tls() {
    in_both_modes(|mode| {
        let (redis, port) = redis_with_tls("no");
        let mut stage = Stage::set_up(
            Plan {
                nodes: 0,
                ..Plan::new(mode)
            },
            redis,
        );
        for _ in 0..2 {
            let proxy = Proxy::start(([127, 0, 0, 1], port).into());
            let url = format!("rediss://{}", proxy.address);
            stage
                .nodes
                .push(Node::start(&arguments(mode, url, "ca.pem")));
            stage.proxies.push(proxy);
        }
        stage.wait_until_well();
        stage.gather();
        stage.proxies[0].both_ways(Way::ByteByByte);
        pass(Duration::from_secs(1));
        stage.proxies[0].both_ways(Way::Hole);
        pass(Duration::from_secs(3));
        stage.proxies[0].mend();
        stage.wait_until_well();
        stage.redis.kill();
        pass(Duration::from_secs(1));
        stage.redis.restart();
        crate::crashes::check_loss(&mut stage);
    });
}

/// Whoever cannot show what it is gets no password and no message.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn certificate_that_is_not_believed() {
    in_both_modes(|mode| {
        let (redis, port) = redis_with_tls("no");
        let url = format!("rediss://:secret@127.0.0.1:{port}");
        let stranger = Node::start(&arguments(mode, url, "other-ca.pem"));
        // No TLS where it should be.
        let url = format!("rediss://127.0.0.1:{}", redis.port);
        let plain = Node::start(&arguments(mode, url, "ca.pem"));
        for node in [stranger, plain] {
            node.wait_until_down(Duration::from_secs(5));
            let client = Client::join(node.address, "/ws");
            client.say(0, 64);
            crate::eventually("it hears itself", Duration::from_secs(2), || {
                client.last_of(client.speaker) == Some(0)
            });
            pass(Duration::from_secs(1));
            let load = node.load(Duration::from_secs(2));
            assert!(load < 0.05, "{load} of a core");
            let metrics = node.metrics();
            let lost = metrics.sum("fanfare_redis_reconnects_total{reason=\"tls\"}");
            assert!(lost > 0, "{}", metrics.redis());
        }
    });
}

/// A Redis that wants to see a certificate, as it does unless it is told otherwise.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn certificate_of_our_own() {
    in_both_modes(|mode| {
        let (_redis, port) = redis_with_tls("yes");
        let url = format!("rediss://localhost:{port}");
        let mut arguments = arguments(mode, url, "ca.pem");
        let without = Node::start(&arguments);
        without.wait_until_down(Duration::from_secs(5));
        let own = [
            "--redis-cert",
            &file("client.pem"),
            "--redis-key",
            &file("client.key"),
        ];
        arguments.extend(own.map(str::to_owned));
        Node::start(&arguments).wait_until_well();
        assert!(!without.is_well());
    });
}

/// TLS is spoken with the sentinel, and with the master that it names.
#[test]
#[ignore = "needs redis-sentinel: run by ./test redis"]
fn sentinel_over_tls() {
    in_both_modes(|mode| {
        let (_redis, port) = redis_with_tls("no");
        let listen = |port| {
            let [cert, key, ca] = ["server.pem", "server.key", "ca.pem"].map(file);
            format!(
                "port 0\ntls-port {port}\ntls-cert-file {cert}\ntls-key-file {key}\n\
                 tls-ca-cert-file {ca}\ntls-auth-clients no\ntls-replication yes"
            )
        };
        let sentinel = Sentinel::start_with(port, 0, listen);
        let url = format!("rediss+sentinel://127.0.0.1:{}/main", sentinel.port);
        let node = Node::start(&arguments(mode, url.clone(), "ca.pem"));
        node.wait_until_well();
        let stranger = Node::start(&arguments(mode, url, "other-ca.pem"));
        stranger.wait_until_down(Duration::from_secs(5));
        pass(Duration::from_secs(1));
        let lost = stranger.metric("fanfare_redis_reconnects_total{reason=\"tls\"}");
        assert!(lost > 0 && !stranger.is_well());
        assert!(node.is_well());
    });
}
