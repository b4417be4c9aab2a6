//! Redis is there and does nothing: connections stand, and answers do not come.

use std::time::Duration;

use crate::crashes::check_loss;
use crate::pass;
use crate::probe::Probe;
use crate::resp::Reply;
use crate::server::{Keeps, RedisServer};
use crate::stage::{Plan, Stage, in_both_modes};

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn stopped_for_ten_seconds() {
    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        let probe = Probe::start(&stage.nodes[0]);
        stage.redis.stop();
        pass(Duration::from_secs(10));
        for node in &stage.nodes {
            assert!(!node.is_well(), "nobody says that all is well");
            assert_eq!(
                node.get("/healthz").0,
                200,
                "and nobody is to be killed for it"
            );
        }
        stage.redis.go_on();
        pass(Duration::from_secs(1));
        stage.nothing_was_lost();
        probe.check();
    });
}

/// It is noticed when nobody says anything, too, and so is the end of it.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn stopped_while_nobody_speaks() {
    in_both_modes(|mode| {
        let redis = RedisServer::start(Keeps::Nothing);
        let stage = Stage::set_up(Plan::new(mode), redis);
        stage.wait_until_well();
        for _ in 0..2 {
            stage.redis.stop();
            for node in &stage.nodes {
                node.wait_until_unwell(Duration::from_secs(4));
                node.stays_unwell(Duration::from_secs(2));
            }
            stage.redis.go_on();
            stage.wait_until_well();
        }
    });
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn stopped_for_a_moment() {
    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        for millis in [100, 300, 600, 1500] {
            stage.redis.stop();
            pass(Duration::from_millis(millis));
            stage.redis.go_on();
            pass(Duration::from_millis(500));
        }
        stage.nothing_was_lost();
    });
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn clients_paused() {
    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        stage.redis.tell("CLIENT PAUSE 3000 ALL");
        pass(Duration::from_millis(3500));
        stage.redis.tell("CLIENT PAUSE 2000 WRITE");
        pass(Duration::from_millis(2500));
        stage.nothing_was_lost();
    });
}

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn asleep() {
    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        let mut resp = stage.redis.connect();
        resp.send(&[b"DEBUG", b"SLEEP", b"3"]).unwrap();
        pass(Duration::from_millis(3500));
        assert_eq!(resp.read().unwrap(), Reply::Simple("OK".to_owned()));
        stage.nothing_was_lost();
    });
}

/// A script that does not end: at first nothing is answered, then everything with BUSY.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn busy_with_a_script() {
    in_both_modes(|mode| {
        let mut stage = Stage::new(mode);
        stage.redis.tell("CONFIG SET busy-reply-threshold 500");
        let mut resp = stage.redis.connect();
        resp.send(&[b"EVAL", b"while true do end", b"0"]).unwrap();
        pass(Duration::from_secs(3));
        let busy = stage.redis.say("GET key").text();
        assert!(busy.starts_with("BUSY"), "{busy}");
        stage.redis.tell("SCRIPT KILL");
        pass(Duration::from_millis(500));
        check_loss(&mut stage);
    });
}

/// A large file: everything is answered with LOADING until it is read.
#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn loading_a_large_file() {
    in_both_modes(|mode| {
        let mut stage = Stage::start(Plan {
            keeps: Keeps::Everything,
            ..Plan::new(mode)
        });
        let script = "for i = 1, 6000 do redis.call('SET', 'key' .. i, i) end";
        let mut resp = stage.redis.connect();
        resp.call(&[b"EVAL", script.as_bytes(), b"0"]).unwrap();
        drop(resp);
        // What came while the script ran is gone through.
        stage.wait_until_heard(10);
        stage.redis.kill();
        stage.redis.restart_with(&["--key-load-delay", "500"]);
        let mut has_loaded = false;
        for _ in 0..30 {
            pass(Duration::from_millis(100));
            let socket = stage.redis.socket();
            let answer = crate::resp::Resp::connect(&socket, Duration::from_secs(10))
                .and_then(|mut resp| resp.call(&[b"GET", b"key"]));
            has_loaded |= answer.is_ok_and(|answer| answer.text().starts_with("LOADING"));
        }
        assert!(has_loaded, "the file was too small for this machine");
        stage.redis.wait_for_pong();
        check_loss(&mut stage);
    });
}
