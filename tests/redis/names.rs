//! Names that nobody answers for: the loop goes on meanwhile.

use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

use crate::eventually;
use crate::node::Node;
use crate::probe::Probe;
use crate::server::new_folder;
use crate::stage::{Plan, in_both_modes};

/// A process with a name server that takes every question and answers none. It needs a mount of its
/// own, and the name server a port below 1024.
#[test]
#[ignore = "needs root: run by ./test redis"]
fn name_server_does_not_answer() {
    let server = UdpSocket::bind("127.77.0.1:53")
        .unwrap_or_else(|error| panic!("port 53 of 127.77.0.1: {error}. This test needs root"));
    server
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let folder = new_folder("fanfare-names");
    let file = folder.join("resolv.conf");
    fs::write(
        &file,
        "nameserver 127.77.0.1\noptions timeout:5 attempts:3\n",
    )
    .unwrap();
    let before = format!(
        "exec unshare --mount sh -c 'mount --bind {} /etc/resolv.conf && exec \"$0\" \"$@\"' \
         \"$0\" \"$@\";",
        file.display()
    );
    in_both_modes(|mode| {
        let plan = Plan {
            url: Some("redis://redis.example:6379".to_owned()),
            ..Plan::new(mode)
        };
        let nowhere = ([127, 0, 0, 1], 1).into();
        let node = Node::start_behind(&before, "127.0.0.1:0", &plan.arguments(nowhere));
        let probe = Probe::start(&node);
        let client = crate::client::Client::join(node.address, "/ws");
        for number in 0..40 {
            client.say(number, 64);
            std::thread::sleep(Duration::from_millis(100));
        }
        eventually("it hears itself", Duration::from_secs(1), || {
            client.last_of(client.speaker) == Some(39)
        });
        assert_eq!(node.get("/readyz").0, 503);
        assert!(node.load(Duration::from_secs(1)) < 0.05);
        probe.check();
    });
    let mut question = [0; 512];
    let (len, _) = server.recv_from(&mut question).expect("somebody has asked");
    let asked = question[..len].windows(5).any(|word| word == b"redis");
    assert!(asked, "for another name");
    let _ = fs::remove_dir_all(&folder);
}
