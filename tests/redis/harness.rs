//! What the tests stand on must itself be right: a proxy that cuts, a ledger that notices.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::ledger::Account;
use crate::node::Node;
use crate::proxy::{Proxy, Way};
use crate::resp::Reply;
use crate::server::{Keeps, RedisServer, Sentinel};
use crate::talk::Talk;

#[test]
#[ignore = "needs redis-server: run by ./test redis"]
fn redis_is_killed_and_comes_back_with_what_it_keeps() {
    for keeps in [Keeps::Nothing, Keeps::Everything] {
        let mut redis = RedisServer::start(keeps);
        redis.tell("SET key value");
        redis.kill();
        redis.restart();
        let kept = redis.tell("GET key") == Reply::Bulk(b"value".to_vec());
        assert_eq!(kept, keeps == Keeps::Everything);
        redis.stop();
        redis.go_on();
        assert_eq!(redis.tell("PING").text(), "PONG");
    }
}

#[test]
#[ignore = "needs redis-sentinel: run by ./test redis"]
fn a_sentinel_promotes_a_replica() {
    let mut master = RedisServer::start(Keeps::Nothing);
    let replica = RedisServer::start(Keeps::Nothing);
    replica.follow(master.port);
    let sentinel = Sentinel::start(&master, 1);
    assert_eq!(sentinel.master(), master.port);
    master.kill();
    sentinel.wait_for_master(replica.port);
    assert_eq!(replica.info("role"), "master");
}

/// Two ends of a connection through a proxy.
fn through_proxy() -> (Proxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let proxy = Proxy::start(listener.local_addr().expect("it is bound"));
    let near = TcpStream::connect(proxy.address).expect("the proxy listens");
    let (far, _) = listener.accept().expect("the proxy connects");
    for stream in [&near, &far] {
        let patience = stream.set_read_timeout(Some(Duration::from_secs(10)));
        patience.expect("it is not zero");
    }
    (proxy, near, far)
}

fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("that much comes");
    bytes
}

#[test]
fn a_proxy_passes_everything_both_ways() {
    let (_proxy, mut near, mut far) = through_proxy();
    let bytes: Vec<u8> = (0..4_000_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    let sent = bytes.clone();
    let mut writer = near.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&sent).unwrap());
    // The sender is held up for a while.
    std::thread::sleep(Duration::from_millis(100));
    assert!(read(&mut far, bytes.len()) == bytes);
    sender.join().unwrap();
    far.write_all(b"answer").unwrap();
    assert_eq!(read(&mut near, 6), b"answer");
    drop(far);
    assert_eq!(near.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_proxy_cuts_by_a_reset() {
    let (proxy, mut near, mut far) = through_proxy();
    proxy.cut();
    for stream in [&mut near, &mut far] {
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    let mut again = TcpStream::connect(proxy.address).unwrap();
    assert!(again.read(&mut [0]).is_err());
    proxy.mend();
}

#[test]
fn a_hole_keeps_what_it_swallows() {
    let (proxy, mut near, mut far) = through_proxy();
    proxy.upwards(Way::Hole);
    near.write_all(b"late").unwrap();
    far.write_all(b"this way is open").unwrap();
    assert_eq!(read(&mut near, 16), b"this way is open");
    far.set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(far.read(&mut [0]).is_err());
    proxy.mend();
    far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(read(&mut far, 4), b"late");
}

#[test]
fn a_slow_way_takes_its_time() {
    for (way, len, at_least) in [
        (Way::Delay(Duration::from_millis(100)), 1, 100),
        (Way::Rate(10_000), 3000, 250),
        (Way::ByteByByte, 1000, 0),
    ] {
        let (proxy, mut near, mut far) = through_proxy();
        proxy.both_ways(way);
        let begun = Instant::now();
        near.write_all(&vec![7; len]).unwrap();
        assert_eq!(read(&mut far, len), vec![7; len]);
        let took = begun.elapsed().as_millis();
        assert!(took >= at_least, "{way:?} took {took} ms");
        assert!(took < at_least + 2000, "{way:?} took {took} ms");
    }
}

/// Two servers without Redis: each hears its own clients, and the ledger sees that nobody hears the
/// others.
#[test]
fn the_ledger_notices_who_hears_nothing() {
    let nodes = [Node::start(&[]), Node::start(&[])];
    let clients = nodes
        .each_ref()
        .map(|node| Arc::new(Client::join(node.address, "/ws")));
    let mut talk = Talk::start(Duration::from_millis(2), 64);
    for client in &clients {
        talk.add(client);
    }
    let [one, other] = clients.each_ref().map(|client| client.speaker);
    crate::wait_until("they talk", Duration::from_secs(10), || {
        (clients[0].last_of(one) > Some(100) && clients[1].last_of(other) > Some(100)).then_some(())
    });
    talk.stop();
    let said = talk.said();
    let own = Account::of(&clients[0], &[one], &said, false);
    assert!(own.heard > 100, "{own}");
    assert!(
        own.lost.is_empty() && own.doubled + own.disordered == 0,
        "{own}"
    );
    assert!(own.silence < Duration::from_secs(1), "{own}");
    let foreign = Account::of(&clients[0], &[other], &said, false);
    assert_eq!((foreign.heard, clients[0].last_of(other)), (0, None));
    // Somebody who says the same again, and leaves something out.
    for number in [said[&one].len() - 2, said[&one].len() + 3] {
        clients[0].say(number, 0);
    }
    let mut more = said.clone();
    more.get_mut(&one).unwrap().extend([Instant::now(); 4]);
    crate::wait_until("all is heard", Duration::from_secs(10), || {
        (clients[0].last_of(one) == Some(said[&one].len() + 3)).then_some(())
    });
    let own = Account::of(&clients[0], &[one], &more, false);
    assert_eq!((own.lost.len(), own.doubled), (3, 1), "{own}");
}
