//! `--admin` and `fanfare healthcheck` as they are typed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::time::Duration;

use crate::peer::Peer;
use crate::process::{Process, now};

/// The binary, with this environment and nothing else.
fn fanfare(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.env_clear().envs(environment.iter().copied());
    command.args(arguments).output().expect("the binary runs")
}

/// The exit code, and stderr.
fn ends(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = fanfare(arguments, environment);
    let stderr = String::from_utf8(output.stderr).expect("it prints UTF-8");
    (output.status.code(), stderr)
}

/// Where a server tells that operators ask.
pub(crate) fn admin_address(server: &Process) -> SocketAddr {
    let start = "admin at http://";
    let line = server.line(start);
    let (_, rest) = line.split_once(start).expect("it was looked for");
    let address = rest.trim_end_matches('/').parse();
    address.unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn the_flag_opens_an_address_for_operators() {
    let (mut server, public) = Process::serve("", &["--admin", "127.0.0.1:0"]);
    let admin = admin_address(&server);
    assert_ne!(admin, public);
    let status = |address: SocketAddr| {
        let mut peer = Peer::connect(address);
        peer.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
        peer.read_head()[9..12].to_owned()
    };
    assert_eq!(
        (status(admin).as_str(), status(public).as_str()),
        ("200", "404")
    );
    server.stop();
}

#[test]
fn health_is_an_exit_code() {
    let (server, _) = Process::serve("", &["--admin", "127.0.0.1:0"]);
    let admin = admin_address(&server).to_string();
    let healthy = (Some(0), String::new());
    assert_eq!(
        ends(&["healthcheck"], &[("FANFARE_ADMIN", &admin)]),
        healthy
    );
    for path in ["", "/healthz", "/readyz", "/metrics"] {
        let url = format!("http://{admin}{path}");
        assert_eq!(ends(&["healthcheck", &url], &[]), healthy, "{url}");
    }
    let url = format!("http://{admin}/nothing");
    let (code, why) = ends(&["healthcheck", &url], &[]);
    assert_eq!(code, Some(1));
    assert_eq!(
        why,
        format!("fanfare: {url} is not healthy: \"HTTP/1.1 404\"\n")
    );
    drop(server);
    let (code, why) = ends(&["healthcheck", &admin], &[]);
    assert_eq!((code, why.lines().count()), (Some(1), 1), "{why}");
    assert!(why.contains(&admin) && why.contains("refused"), "{why}");
}

#[test]
fn health_is_asked_for_over_a_unix_socket_too() {
    let name = format!("fanfare-healthcheck-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let address = format!("unix:{}", path.display());
    let (mut server, _) = Process::serve("", &["--admin", &address]);
    server.line("admin at unix:");
    assert_eq!(
        ends(&["healthcheck", &address], &[]),
        (Some(0), String::new())
    );
    let by_environment = ends(&["healthcheck"], &[("FANFARE_ADMIN", &address)]);
    assert_eq!(by_environment, (Some(0), String::new()));
    server.stop();
    assert!(!path.exists(), "{} is still there", path.display());
    assert_eq!(ends(&["healthcheck", &address], &[]).0, Some(1));
}

#[test]
fn who_is_no_server_is_not_healthy() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
    let answers: [&[u8]; 4] = [
        b"",
        b"HTTP/1.1 2",
        b"HTTP/1.1 2000 OK\r\n",
        b"\xFF\x00\r\n\r\n",
    ];
    for answer in answers {
        std::thread::scope(|scope| {
            let serve = scope.spawn(|| {
                let (mut stream, _) = listener.accept().expect("it is asked");
                let mut head = [0; 16];
                stream.read_exact(&mut head).expect("a request comes");
                assert!(head.starts_with(b"GET / HTTP/1.1\r\n"));
                stream.write_all(answer).expect("it reads");
            });
            let (code, why) = ends(&["healthcheck", &url], &[]);
            assert_eq!(
                (code, why.lines().count()),
                (Some(1), 1),
                "{answer:?}: {why}"
            );
            serve.join().expect("it was asked");
        });
    }
}

/// A byte now and then is no answer, and a health check that goes on is none.
#[test]
fn a_health_check_ends_whatever_the_server_does() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
    std::thread::scope(|scope| {
        let serve = scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("it is asked");
            let (_never, nothing) = std::sync::mpsc::channel::<()>();
            for byte in b"HTTP/1.1 200 OK" {
                // A pace, not a wait for something.
                let _ = nothing.recv_timeout(Duration::from_millis(700));
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
            }
        });
        let begun = now();
        let (code, why) = ends(&["healthcheck", &url], &[]);
        assert_eq!(code, Some(1), "{why}");
        assert!(why.contains("no answer in time"), "{why}");
        assert!(
            begun.elapsed() < Duration::from_secs(9),
            "{:?}",
            begun.elapsed()
        );
        serve.join().expect("it ends");
    });
}

#[test]
fn a_health_check_that_cannot_be_is_a_misuse() {
    for arguments in [
        &["healthcheck", "https://127.0.0.1/"][..],
        &["healthcheck", "unix:relative"],
        &["healthcheck", ""],
        &["healthcheck", "a", "b"],
    ] {
        let (code, why) = ends(arguments, &[]);
        assert_eq!(code, Some(2), "{arguments:?}: {why}");
    }
    let help = fanfare(&["healthcheck", "--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    assert!(
        help.stdout
            .starts_with(b"Usage: fanfare healthcheck [URL]\n")
    );
}

#[test]
fn an_address_of_clients_is_none_of_operators() {
    let listen = ["--listen", "127.0.0.1:1", "--admin"];
    for (admin, why) in [
        (
            "127.0.0.1:1",
            "admin address must not be one where clients connect",
        ),
        (
            "0.0.0.0:1",
            "admin address must not be one where clients connect",
        ),
        (
            "systemd",
            "admin address cannot be systemd, whose sockets are for clients",
        ),
    ] {
        let (code, said) = ends(&[&listen[..], &[admin]].concat(), &[]);
        assert_eq!(code, Some(2), "{admin}");
        assert!(said.starts_with(&format!("fanfare: {why}\n")), "{said}");
    }
}

#[test]
fn an_admin_address_of_other_machines_is_warned_of() {
    let arguments = ["--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"];
    let server = Process::start("", &arguments, std::process::Stdio::null());
    let line = server.line("can be reached from other machines");
    assert!(line.contains("WARN") && line.contains("--tokens"), "{line}");
}
