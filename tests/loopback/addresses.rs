//! Who a client is taken for, behind proxies and through dual-stack sockets, as the log shows it.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use crate::binary::Process;
use crate::peer::{DEADLINE, Peer, upgrade, upgrade_with};

const FIELD: &str = "X-Forwarded-For: 198.51.100.9, 203.0.113.7\r\n";
const LINE: &str = "PROXY TCP4 203.0.113.7 192.0.2.1 5000 80\r\n";

/// The peer of the next client that opens.
fn opened(process: &Process) -> String {
    let line = process.line("open id=");
    let (_, peer) = line.split_once("peer=").expect("it has one");
    let (peer, _) = peer.split_once(' ').expect("a room follows");
    peer.to_owned()
}

/// Asks for an upgrade with these bytes in front, and these fields.
fn ask(address: SocketAddr, before: impl AsRef<[u8]>, fields: &str) -> Peer {
    let mut peer = Peer::connect(address);
    peer.send([before.as_ref(), upgrade_with("/ws", fields).as_bytes()].concat());
    peer.expect_upgrade();
    peer
}

fn own(peer: &Peer) -> String {
    let address = peer.stream.local_addr().expect("it is connected");
    address.to_string()
}

#[test]
fn a_trusted_proxy_names_its_client() {
    let flags = ["-v", "--trusted-proxy", "127.0.0.1"];
    let (process, address) = Process::serve("", &flags);
    let _peer = ask(address, "", FIELD);
    assert_eq!(opened(&process), "203.0.113.7");
    let _peer = ask(address, "", "Forwarded: for=\"[2001:db8::1]:4711\"\r\n");
    assert_eq!(opened(&process), "[2001:db8::1]:4711");
    let peer = ask(address, "", "");
    assert_eq!(opened(&process), own(&peer));
    // It is who leaves, too.
    let mut peer = ask(address, "", FIELD);
    peer.send_frame(0x83, "");
    assert!(process.line("gone id=").contains(" peer=203.0.113.7 "));
}

#[test]
fn a_stranger_is_not_believed_and_that_is_told_once() {
    let flags = ["-v", "--trusted-proxy", "10.0.0.0/8"];
    let (mut process, address) = Process::serve("", &flags);
    for i in 0..3 {
        let peer = ask(address, "", FIELD);
        let own = own(&peer);
        assert_eq!(opened(&process), own);
        if i == 0 {
            let warning = process.line("ignored");
            let told = format!("see --trusted-proxy: peer={own} (told once)");
            assert!(
                warning.contains("WARN") && warning.contains(&told),
                "{warning}"
            );
        }
    }
    process.stop();
    let rest: Vec<String> = process.lines.iter().collect();
    assert!(
        !rest.iter().any(|line| line.contains("ignored")),
        "{rest:?}"
    );
}

#[test]
fn a_proxy_header_names_the_client() {
    let flags = ["-v", "--trusted-proxy=127.0.0.1", "--proxy-protocol"];
    let (process, address) = Process::serve("", &flags);
    let mut peer = ask(address, LINE, "");
    assert_eq!(opened(&process), "203.0.113.7:5000");
    peer.check_echo();
    // Version 2, with a TLV, a byte at a time.
    let mut block = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x29".to_vec();
    block.extend(
        "2001:db8::7"
            .parse::<std::net::Ipv6Addr>()
            .expect("it is one")
            .octets(),
    );
    block.extend([0; 16]);
    block.extend([0x13, 0x88, 0, 80, 0x04, 0, 2, 0, 0]);
    let mut peer = Peer::connect(address);
    for byte in block {
        peer.send([byte]);
    }
    peer.send(upgrade("/ws"));
    peer.expect_upgrade();
    assert_eq!(opened(&process), "[2001:db8::7]:5000");
    // The client that the header names is not trusted, so its request is not believed.
    let _peer = ask(address, LINE, FIELD);
    assert_eq!(opened(&process), "203.0.113.7:5000");
}

#[test]
fn a_trusted_peer_without_a_proxy_header_is_dropped_unanswered() {
    let flags = ["-v", "--trusted-proxy=127.0.0.1", "--proxy-protocol"];
    let (process, address) = Process::serve("", &flags);
    let mut peer = Peer::connect(address);
    peer.send("G");
    peer.expect_end();
    assert!(process.line("gone id=").contains("cause=refused"));
    process.line("trusted proxy without a PROXY header");
}

#[test]
fn a_stranger_speaks_http_where_proxies_send_headers() {
    let flags = ["-v", "--trusted-proxy=10.0.0.0/8", "--proxy-protocol"];
    let (process, address) = Process::serve("", &flags);
    let peer = ask(address, "", "");
    assert_eq!(opened(&process), own(&peer));
    let mut peer = Peer::connect(address);
    peer.send([LINE, &upgrade("/ws")].concat());
    assert!(peer.read_head().starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_proxy_on_a_unix_socket_is_trusted_by_name() {
    let name = format!("fanfare-loopback-proxied-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listen = format!("--listen=unix:{}", path.display());
    let process = Process::start(
        "",
        &[&listen, "-v", "--trusted-proxy=unix"],
        std::process::Stdio::null(),
    );
    process.line("listening on unix:");
    let stream = UnixStream::connect(&path).expect("the server listens");
    let patience = stream.set_read_timeout(Some(DEADLINE));
    patience.expect("it is not zero");
    let mut peer = Peer { stream };
    peer.send(upgrade_with("/ws", FIELD));
    peer.expect_upgrade();
    assert_eq!(opened(&process), "203.0.113.7");
}

#[test]
fn a_dual_stack_socket_serves_both_and_shows_ipv4_as_ipv4() {
    let flags = ["--listen=[::]:0", "-v"];
    let process = Process::start("", &flags, std::process::Stdio::null());
    let port = process.address().port();
    for ip in ["127.0.0.1", "::1"] {
        let ip: std::net::IpAddr = ip.parse().expect("it is one");
        let mut peer = ask((ip, port).into(), "", "");
        assert_eq!(opened(&process), own(&peer));
        peer.check_echo();
    }
}

#[test]
fn an_ipv6_literal_is_a_host_and_an_origin() {
    let process = Process::start("", &["--listen=[::1]:0", "-v"], std::process::Stdio::null());
    let address = process.address();
    let request = |origin: &str| {
        let host = format!("Host: {address}\r\nOrigin: {origin}\r\n");
        upgrade("/ws").replace("Host: test\r\n", &host)
    };
    let mut peer = Peer::connect(address);
    peer.send(request(&format!("http://{address}")));
    peer.expect_upgrade();
    let mut peer = Peer::connect(address);
    peer.send(request(&format!("http://[::2]:{}", address.port())));
    assert!(peer.read_head().starts_with("HTTP/1.1 403 "));
}
