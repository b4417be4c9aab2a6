//! TLS with Redis.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use fanfare::TlsClientConfig;
use fanfare::backplane::BackplaneConfig;
use rustls::{RootCertStore, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Probe, join};
use crate::admin::with_admin;
use crate::fake_redis::{CHANNEL, FakeRedis, Talk, answer, envelope, message, now};
use crate::peer::{BINARY, DEADLINE};
use crate::running::Running;

fn file(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/tls/certificates").join(name)
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file(name)).expect("it is in PEM")
}

/// A server that speaks TLS with this host, and believes this authority.
fn start(fake: &FakeRedis, host: &str, ca: &str, own: Option<(&str, &str)>) -> Running {
    let own = own.map(|(cert, key)| (file(cert), file(key)));
    let own = own.as_ref().map(|(cert, key)| (&**cert, &**key));
    let tls = TlsClientConfig::from_pem_files(&file(ca), own).expect("they are in PEM");
    let url = format!("rediss://{host}:{}", fake.address.port());
    let backplane: BackplaneConfig = url.parse().expect("it is a URL");
    Running::start(|config| {
        config.backplane = Some(backplane);
        config.backplane_tls = Some(tls);
        with_admin(config);
    })
}

/// A Redis' side of TLS; it wants a certificate of clients if it is strict.
fn secure(stream: TcpStream, is_strict: bool) -> StreamOwned<ServerConnection, TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider knows them");
    let builder = if is_strict {
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca.pem")).expect("it is one");
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().expect("there is a root"))
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(file("server.key")).expect("it is in PEM");
    let config = builder
        .with_single_cert(vec![certificate("server.pem")], key)
        .expect("they are a pair");
    let connection = ServerConnection::new(Arc::new(config)).expect("all is set");
    StreamOwned::new(connection, stream)
}

#[test]
fn messages_go_through_tls() {
    let fake = FakeRedis::start();
    let server = start(&fake, "localhost", "ca.pem", None);
    let stream = fake.accept().into_stream();
    let mut talk = Talk::new(secure(stream, false));
    join(&server, &mut talk);
    let probe = Probe::start(server.address());
    let mut peer = server.open("/ws");
    // Many records, and more than one turn reads.
    let payload = vec![b'x'; 50_000];
    let all: Vec<u8> = (1..=40)
        .flat_map(|seq| message(CHANNEL, &envelope(7, seq, "", &payload)))
        .collect();
    talk.send(all);
    for _ in 0..40 {
        peer.expect_frame(BINARY, &payload);
    }
    peer.send_text("and back");
    let command = loop {
        let command = talk.command();
        if command[0] == b"PUBLISH" && command[1] == CHANNEL.as_bytes() {
            break command;
        }
        talk.send(answer(&command));
    };
    talk.send(answer(&command));
    peer.expect_text("and back");
    probe.check();
}

#[test]
fn a_redis_that_wants_a_certificate_gets_ours() {
    let fake = FakeRedis::start();
    let server = start(
        &fake,
        "localhost",
        "ca.pem",
        Some(("client.pem", "client.key")),
    );
    let stream = fake.accept().into_stream();
    let mut talk = Talk::new(secure(stream, true));
    join(&server, &mut talk);
    server.open("/ws/a").send_text("it serves");
}

/// Another authority, and another name: the certificate is for localhost and 127.0.0.1.
#[test]
fn who_cannot_show_that_it_is_redis_is_not_believed() {
    for (ca, address, host) in [
        ("other-ca.pem", "127.0.0.1:0", "localhost"),
        ("ca.pem", "127.0.0.2:0", "127.0.0.2"),
    ] {
        let fake = FakeRedis::on(TcpListener::bind(address).expect("a free port"));
        let server = start(&fake, host, ca, None);
        let mut stream = secure(fake.accept().into_stream(), false);
        let error = stream.read(&mut [0; 1]).expect_err("it is refused");
        assert!(error.to_string().contains("alert"), "{error}");
        check_counts(&server);
        server.open("/ws").check_echo();
    }
}

/// The failure is counted as one of TLS.
fn check_counts(server: &Running) {
    let name = "fanfare_redis_reconnects_total{reason=\"tls\"}";
    let deadline = now() + DEADLINE;
    while server.metric(name) == 0 {
        assert!(now() < deadline, "it is still waited for");
    }
}

#[test]
fn a_handshake_that_never_ends_is_left_in_time() {
    let fake = FakeRedis::start();
    let server = start(&fake, "localhost", "ca.pem", None);
    let talk = fake.accept();
    let probe = Probe::start(server.address());
    check_counts(&server);
    drop(talk);
    probe.check();
}

#[test]
fn without_an_authority_there_is_no_tls() {
    let mut config = crate::running::config();
    config.backplane = Some("rediss://localhost".parse().expect("it is a URL"));
    let error = fanfare::Server::bind(config).expect_err("whom to believe?");
    assert_eq!(
        error.to_string(),
        "backplane cannot speak TLS without the certificates of whom to believe"
    );
}
