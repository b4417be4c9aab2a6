//! The same server over TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{TryRecvError, channel};
use std::time::Duration;

use fanfare::hub::Metrics;
use fanfare::{Disconnect, ListenAddress, MessageKind, Server, ServerConfig, TlsConfig};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::peer::{BINARY, CLOSE, DEADLINE, Peer, upgrade};
use crate::running::{Event, FLOOD, LONG, Running, Witness, config, tcp_address};

type Tls = StreamOwned<ClientConnection, TcpStream>;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A message that leaves as one record or two, and of which a socket takes many.
const MIDDLING: usize = 16 * 1024;

/// Handshakes that one turn has time for.
const MAX_HANDSHAKES_PER_TURN: usize = 2;

fn file(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/tls/certificates").join(name)
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file(&format!("{name}.pem"))).expect("it is in PEM")
}

fn tls(name: &str, client_ca: Option<&str>) -> TlsConfig {
    let (cert, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
    let client_ca = client_ca.map(|name| file(&format!("{name}.pem")));
    TlsConfig::from_pem_files(&cert, &key, client_ca.as_deref()).expect("they are a pair")
}

fn start(change: impl FnOnce(&mut ServerConfig)) -> Running {
    Running::start(|config| {
        config.tls = Some(tls("server", None));
        change(config);
    })
}

/// A client's side of TLS, with a certificate of this name if there is one.
fn client(version: &'static SupportedProtocolVersion, name: Option<&str>) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca")).expect("it is a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("the provider knows it")
        .with_root_certificates(roots);
    let config = match name {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key")));
            builder
                .with_client_auth_cert(vec![certificate(name)], key.expect("it is in PEM"))
                .expect("they are a pair")
        }
    };
    let name = ServerName::try_from("localhost").expect("it is a name");
    ClientConnection::new(Arc::new(config), name).expect("all is set")
}

fn connect(address: SocketAddr, client: ClientConnection) -> Peer<Tls> {
    let socket = Peer::connect(address).stream;
    let stream = StreamOwned::new(client, socket);
    Peer { stream }
}

fn open(address: SocketAddr, version: &'static SupportedProtocolVersion) -> Peer<Tls> {
    let mut peer = connect(address, client(version, None));
    peer.upgrade("/ws");
    peer
}

/// The first bytes that a client says.
fn client_hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut client = client(VERSIONS[1], None);
    client.write_tls(&mut bytes).expect("a Vec takes it");
    bytes
}

fn refused(metrics: &Metrics) -> u64 {
    let mut causes = metrics.departures_by_cause();
    causes
        .find(|(cause, _)| *cause == "refused")
        .map_or(0, |(_, count)| count)
}

#[test]
fn everybody_in_a_room_hears_whatever_they_speak() {
    let server = start(|_| {});
    let mut peers = VERSIONS.map(|version| open(server.address(), version));
    for speaker in 0..2 {
        let text = format!("said by {speaker}");
        peers[speaker].send_text(&text);
        for peer in &mut peers {
            peer.expect_text(&text);
        }
    }
    for mut peer in peers {
        peer.send_frame(CLOSE, b"");
        peer.expect_close(1000);
        // With a close_notify: without one that is an error.
        peer.expect_end();
    }
    server.check_ends_empty();
}

#[test]
fn large_messages_arrive_unchanged() {
    const LEN: usize = 1024 * 1024;

    let server = start(|config| {
        config.hub.limits.max_message_size = LEN;
        config.hub.max_client_buffer = 8 * LEN;
    });
    for version in VERSIONS {
        let mut peer = open(server.address(), version);
        let mut state = 1_u32;
        let message: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(LEN)
        .collect();
        for _ in 0..3 {
            peer.send_frame(BINARY, &message);
            peer.expect_frame(BINARY, &message);
            peer.check_echo();
        }
    }
    server.check_ends_empty();
}

#[test]
fn who_reads_late_hears_everything() {
    let server = start(|config| config.hub.max_client_buffer = 2 * FLOOD * LONG);
    let long = vec![b'x'; LONG];
    for version in VERSIONS {
        let mut peer = open(server.address(), version);
        peer.send_text("flood me");
        server.heard("flood me");
        for _ in 0..FLOOD / 2 {
            peer.send_text("tick");
            server.heard("tick");
        }
        for _ in 0..FLOOD {
            peer.expect_frame(BINARY, &long);
        }
        for _ in 0..FLOOD / 2 {
            peer.expect_text("tick");
        }
    }
    server.check_ends_empty();
}

/// What is encrypted already when the socket blocks is written when it takes bytes again, although
/// the hub owes the client nothing more by then.
#[test]
fn the_last_word_is_not_forgotten() {
    let mut config = config();
    config.tls = Some(tls("server", None));
    let mut server = Server::bind(config).expect("there is a port");
    // 1. How many messages there are before one is not taken.
    let (enough, peer) = stuff(&mut server, "enough", usize::MAX);
    drop(peer);
    // 2. Of so many the last one has been taken, and not written; give or take what the kernel does
    // otherwise the second time.
    for less in 0..3 {
        let room = format!("{less} less");
        let (count, mut peer) = stuff(&mut server, &room, enough - less);
        alongside(&mut server, move || {
            for _ in 0..count {
                peer.expect_frame(BINARY, [b'x'; MIDDLING]);
            }
        });
    }
}

/// Publishes messages to a client who reads none, until so many are taken, or one is not. Returns
/// how many were.
fn stuff(server: &mut Server, room: &str, max: usize) -> (usize, Peer<Tls>) {
    let address = tcp_address(&server.local_addresses()[0]);
    let path = format!("/ws/{}", room.replace(' ', "%20"));
    let peer = alongside(server, move || {
        let mut peer = connect(address, client(VERSIONS[1], None));
        peer.upgrade(&path);
        peer
    });
    let (mut witness, _events) = Witness::new();
    for count in 0..max.min(10_000) {
        let before = server.hub().metrics().bytes_sent;
        let published = server
            .handle()
            .publish(room, MessageKind::Binary, vec![b'x'; MIDDLING]);
        assert_eq!(published, Ok(()));
        server.turn(&mut witness).expect("the loop turns");
        if server.hub().metrics().bytes_sent == before {
            return (count, peer);
        }
    }
    (max, peer)
}

/// Turns the loop while something is done in another thread.
fn alongside<T: Send + 'static>(
    server: &mut Server,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (tell, told) = channel();
    let handle = server.handle();
    let thread = std::thread::spawn(move || {
        let _ = tell.send(work());
        // Nobody is there to hear it; but the loop wakes up.
        let _ = handle.publish("nowhere", MessageKind::Text, Vec::new());
    });
    let (mut witness, _events) = Witness::new();
    loop {
        server.turn(&mut witness).expect("the loop turns");
        match told.try_recv() {
            Ok(done) => return done,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                thread.join().expect("it does what it does");
                panic!("it ends without an answer");
            }
        }
    }
}

#[test]
fn who_goes_with_or_without_a_close_notify_is_gone() {
    let server = start(|_| {});
    let mut polite = open(server.address(), VERSIONS[1]);
    polite.stream.conn.send_close_notify();
    polite.stream.flush().expect("the server reads");
    assert_eq!(server.left(), (Disconnect::Gone, 0));
    polite.expect_end();
    drop(open(server.address(), VERSIONS[1]).stream.sock);
    assert_eq!(server.left(), (Disconnect::Gone, 0));
    server.check_ends_empty();
}

/// The alert is heard although more was said than anybody reads: no reset destroys it.
#[test]
fn who_speaks_no_tls_is_told_so_by_an_alert() {
    let server = start(|_| {});
    for more in [0, 200_000] {
        let mut plain = server.connect();
        plain.send(upgrade("/ws"));
        plain.send(vec![b'x'; more]);
        let heard = plain.read_to_end();
        let [21, 3, _, 0, 2, 2, _] = heard[..] else {
            panic!("a fatal alert was to come, but {heard:?}");
        };
    }
    let metrics = server.check_ends_empty();
    assert_eq!((refused(&metrics), metrics.bytes_received), (2, 0));
}

#[test]
fn half_a_handshake_ends_with_its_time_however_it_comes() {
    let server = start(|config| config.hub.handshake_timeout = Duration::from_millis(300));
    let hello = client_hello();
    // 1. Nothing, something, or nearly all of it.
    for len in [0, 1, hello.len() - 1] {
        let mut peer = server.connect();
        peer.send(&hello[..len]);
        assert_eq!(peer.read_to_any_end(), b"");
    }
    // 2. All of it, and no answer to what comes back.
    let mut peer = server.connect();
    peer.send(&hello);
    assert_ne!(peer.read_to_any_end(), b"");
    // 3. A byte now and then.
    let peer = server.connect();
    peer.set_patience(Duration::from_millis(20));
    let mut stream = &peer.stream;
    let bytes_sent = hello.iter().position(|byte| {
        let is_cut_off = stream.write_all(&[*byte]).is_err();
        let end = stream.read(&mut [0]);
        let is_waiting = end.is_err_and(|error| {
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
        });
        is_cut_off || !is_waiting
    });
    assert!(bytes_sent.is_some(), "a trickle goes on for ever");
    let metrics = server.check_ends_empty();
    assert_eq!(refused(&metrics), 5);
}

/// A turn computes for a few handshakes, and serves who talks before it goes on.
#[test]
fn a_turn_has_time_for_so_many_handshakes() {
    const CLIENTS: usize = 20;

    let mut config = config();
    config.tls = Some(tls("server", None));
    let mut server = Server::bind(config).expect("there is a port");
    let address = tcp_address(&server.local_addresses()[0]);
    let hello = client_hello();
    let clients: Vec<Peer> = (0..CLIENTS)
        .map(|_| {
            let mut peer = Peer::connect(address);
            peer.send(&hello);
            peer.stream.set_nonblocking(true).expect("it is a socket");
            peer
        })
        .collect();
    let (mut witness, _events) = Witness::new();
    let mut answered = Vec::new();
    // The first turn accepts them; that there is something to read is news to the second one.
    for _ in 0..4 {
        server.turn(&mut witness).expect("the loop turns");
        let has_answer = |peer: &&Peer| peer.stream.peek(&mut [0]).is_ok();
        answered.push(clients.iter().filter(has_answer).count());
    }
    let expected: Vec<usize> = (0..4)
        .map(|turn| CLIENTS.min(turn * MAX_HANDSHAKES_PER_TURN))
        .collect();
    assert_eq!(answered, expected);
}

#[test]
fn another_certificate_is_for_those_who_come_later() {
    let (tell, told) = channel::<Option<TlsConfig>>();
    let (started, start) = channel();
    let thread = std::thread::spawn(move || {
        let mut config = config();
        config.tls = Some(tls("server", None));
        let mut server = Server::bind(config).expect("there is a port");
        let _ = started.send((server.local_addresses(), server.handle()));
        let (mut witness, _events) = Witness::new();
        while server.outcome().is_none() {
            server.turn(&mut witness).expect("the loop turns");
            if let Ok(Some(tls)) = told.try_recv() {
                server.set_tls(tls);
            }
        }
    });
    let (addresses, handle) = start.recv_timeout(DEADLINE).expect("it starts");
    let address = tcp_address(&addresses[0]);
    let shown = |peer: &Peer<Tls>| {
        let chain = peer.stream.conn.peer_certificates().expect("it was shown");
        chain[0].clone().into_owned()
    };
    let mut early = open(address, VERSIONS[1]);
    tell.send(Some(tls("renewed", None))).expect("it runs");
    // The turn that hears this takes the certificate as well, at the latest.
    early.check_echo();
    early.check_echo();
    let mut late = open(address, VERSIONS[1]);
    assert_eq!(shown(&early), certificate("server"));
    assert_eq!(shown(&late), certificate("renewed"));
    late.send_text("all of you");
    early.expect_text("all of you");
    drop((early, late));
    handle.stop();
    thread.join().expect("it ends well");
}

#[test]
fn who_must_have_a_certificate_comes_in_with_the_right_one_alone() {
    let server = start(|config| config.tls = Some(tls("server", Some("ca"))));
    for version in VERSIONS {
        let mut known = connect(server.address(), client(version, Some("client")));
        known.upgrade("/ws");
        known.check_echo();
        for name in [None, Some("stranger")] {
            let mut unknown = connect(server.address(), client(version, name));
            // In TLS 1.3 a client thinks that all is well before it has been looked at.
            let written = unknown.stream.write_all(upgrade("/ws").as_bytes());
            let heard = written.and_then(|()| unknown.stream.read(&mut [0]));
            let error = heard.expect_err("it was to be refused");
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{name:?}: {error}");
            assert!(error.to_string().contains("alert"), "{name:?}: {error}");
        }
    }
    assert_eq!(refused(&server.check_ends_empty()), 4);
}

#[test]
fn unix_sockets_stay_plain() {
    let path = std::env::temp_dir().join(format!("fanfare-tls-{}.sock", std::process::id()));
    let server = start(|config| config.listen.push(ListenAddress::Unix(path.clone())));
    let stream = UnixStream::connect(&path).expect("the server listens");
    let patience = stream.set_read_timeout(Some(DEADLINE));
    patience.expect("it is not zero");
    let mut plain = Peer { stream };
    plain.upgrade("/ws");
    let mut secure = open(server.address(), VERSIONS[1]);
    secure.send_text("to both");
    plain.expect_text("to both");
    assert_eq!(server.event(), Event::Opened);
    drop((plain, secure));
    server.check_ends_empty();
}
