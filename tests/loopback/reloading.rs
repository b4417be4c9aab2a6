//! SIGHUP: the binary reads its settings again, and those who are connected stay.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use fanfare::Server;

use crate::binary::Process;
use crate::peer::{BINARY, CLOSE, PING, Peer, TEXT, frame, upgrade, upgrade_with};
use crate::running::config;

/// A server that reads a file, and the file.
struct Reloading {
    process: Process,
    address: std::net::SocketAddr,
    file: PathBuf,
}

impl Reloading {
    /// Starts a server with these lines in its file.
    fn start(test: &str, arguments: &[&str], lines: &str) -> Self {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.conf"));
        fs::write(&file, lines).expect("the folder is there");
        let path = file.to_str().expect("it is UTF-8");
        let arguments = [&["--config", path], arguments].concat();
        let (process, address) = Process::serve("", &arguments);
        Self {
            process,
            address,
            file,
        }
    }

    fn open(&self) -> Peer {
        Peer::open(self.address, "/ws")
    }

    /// Has the server read other lines; returns what it says of that.
    fn reload(&self, lines: &str) -> String {
        fs::write(&self.file, lines).expect("it was written before");
        self.hang_up()
    }

    fn hang_up(&self) -> String {
        self.process.signal("HUP");
        let line = self.process.line("reloaded");
        let (_, said) = line.split_once("  ").expect("a level and what it is about");
        said.to_owned()
    }

    /// The status of the answer to a request with these fields.
    fn status(&self, request: impl AsRef<[u8]>) -> String {
        let mut peer = Peer::connect(self.address);
        peer.send(request);
        let head = peer.read_head();
        head["HTTP/1.1 ".len()..][..3].to_owned()
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

#[test]
fn origins_are_reloaded_and_whoever_is_there_stays() {
    let server = Reloading::start("origins", &[], "# nothing yet\n");
    let mut there = server.open();
    let request = upgrade_with("/ws", "Origin: https://example.com\r\n");
    assert_eq!(server.status(&request), "403");
    let said =
        server.reload("allow-origin = https://example.com\nallow-origin = https://*.b.com\n");
    let changed = "reloaded allowed_origins=same-origin..https://example.com,https://*.b.com";
    assert_eq!(said, changed);
    assert_eq!(server.status(&request), "101");
    there.check_echo();
    assert_eq!(server.hang_up(), "reloaded, nothing changed");
    server.reload("no-echo = off\n");
    assert_eq!(server.status(&request), "403");
    there.check_echo();
}

#[test]
fn what_a_server_offers_is_reloaded() {
    let server = Reloading::start("offers", &[], "");
    let mut there = server.open();
    assert_eq!(server.status("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "200");
    let said = server.reload("no-demo = on\npath = /chat\nsubprotocol = v2\nno-echo = yes\n");
    assert_eq!(
        said,
        "reloaded path=/ws../chat subprotocols=none..v2 demo=on..off echo=on..off"
    );
    assert_eq!(server.status("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "404");
    assert_eq!(server.status(upgrade("/ws")), "404");
    let mut other = Peer::connect(server.address);
    other.send(upgrade_with("/chat", "Sec-WebSocket-Protocol: v1, v2\r\n"));
    let head = other.read_head();
    assert!(
        head.contains("\r\nSec-WebSocket-Protocol: v2\r\n"),
        "{head}"
    );
    // They are in one room, the room of the path itself, and nobody hears itself any more.
    there.send_text("to the other");
    other.expect_text("to the other");
    other.send_text("and back");
    there.expect_text("and back");
}

#[test]
fn counts_are_reloaded_and_nobody_is_dropped() {
    let server = Reloading::start("counts", &[], "max-connections = 1\n");
    let mut a = server.open();
    assert_eq!(server.status(upgrade("/ws")), "503");
    assert_eq!(
        server.reload("max-connections = 3\nmax-rooms = 1\n"),
        "reloaded max_connections=1..3 max_rooms=65536..1"
    );
    let mut b = server.open();
    assert_eq!(server.status(upgrade("/ws/another")), "503");
    server.reload("max-connections = 1\n");
    assert_eq!(server.status(upgrade("/ws")), "503");
    a.check_echo();
    b.expect_text("are you there?");
    // Without the line there are as many as descriptors again.
    server.reload("no-echo = off\n");
    b.check_echo();
    Peer::open(server.address, "/ws/another").check_echo();
}

#[test]
fn sizes_are_reloaded_for_those_who_are_there() {
    let server = Reloading::start("sizes", &[], "max-message-size = 10\n");
    let [mut small, mut half] = [server.open(), server.open()];
    assert_eq!(
        server.reload("max-message-size = 20K\nmax-client-buffer = 100K\n"),
        "reloaded max_message_size=10..20480 max_client_buffer=1048576..102400"
    );
    let long = vec![b'x'; 20 * 1024];
    small.send_frame(BINARY, &long);
    small.expect_frame(BINARY, &long);
    half.expect_frame(BINARY, &long);
    // Of a message that has begun to arrive the rest is not waited for.
    let begun = frame(BINARY, &long);
    half.send(&begun[..1000]);
    // Whoever comes later is read later, so it has arrived.
    server.open().check_echo();
    small.expect_text("are you there?");
    half.expect_text("are you there?");
    server.reload("max-message-size = 30\n");
    half.expect_close(1009);
    small.check_echo();
    small.send_frame(TEXT, [b'x'; 31]);
    small.expect_close(1009);
}

#[test]
fn timeouts_are_reloaded_for_those_who_are_there() {
    let slow = "ping-interval = 2h\npong-timeout = 1h\nhandshake-timeout = 1h\n\
                close-timeout = 1h\n";
    let server = Reloading::start("timeouts", &[], slow);
    let mut open = server.open();
    let mut half = Peer::connect(server.address);
    half.send("GET /ws HTTP/1.1\r\n");
    let mut closing = server.open();
    closing.send_frame(CLOSE, b"");
    closing.expect_close(1000);
    let said = server.reload(
        "ping-interval = 400ms\npong-timeout = 300ms\nhandshake-timeout = 300ms\n\
         close-timeout = 200ms\nwrite-timeout = 9s\n",
    );
    assert_eq!(
        said,
        "reloaded ping_interval=7200s..400ms pong_timeout=3600s..300ms \
         handshake_timeout=3600s..300ms write_timeout=10s..9s close_timeout=3600s..200ms"
    );
    // Those who dawdle go, although they began when they had an hour.
    assert!(half.read_head().starts_with("HTTP/1.1 408 "));
    closing.expect_end();
    // A Ping, nothing else; and without a Pong the end.
    open.expect_frame(PING, b"");
    open.read_to_any_end();
    drop(half);
    server.process.signal("TERM");
    server.process.line("timed_out=1");
}

#[test]
fn the_stop_itself_is_reloaded() {
    let server = Reloading::start("stop", &[], "");
    let mut peer = server.open();
    assert_eq!(
        server.reload("drain-time = 100ms\nshutdown-timeout = 9s\n"),
        "reloaded drain_time=0ns..100ms shutdown_timeout=30s..9s"
    );
    server.process.signal("TERM");
    let line = server.process.line("stopping clients=1");
    assert!(line.ends_with("drain_delay=0ns drain_time=100ms shutdown_timeout=9s"));
    peer.expect_close(1012);
}

/// Whatever is wrong with the settings: the server goes on, and says what and where.
#[test]
fn a_bad_file_changes_nothing() {
    let server = Reloading::start("bad", &[], "max-connections = 2\n");
    let mut peer = server.open();
    let file = server.file.display().to_string();
    let long = "#".repeat(256 * 1024 + 1);
    for (lines, why) in [
        (
            "max-connections = 9\n\nmax-roms = 5\n",
            ":3: unknown setting 'max-roms', did you mean 'max-rooms'?",
        ),
        (
            "max-connections = 9\nmax-rooms = few\n",
            ":2: max-rooms: 'few' is not a count like 1000",
        ),
        (
            "max-connections = 9\nhelp = on\n",
            ":2: help cannot be set in a file",
        ),
        (&long, ": longer than 262144 bytes"),
    ] {
        let said = server.reload(lines);
        let expected = format!("{file}{why}");
        assert!(
            said.starts_with("not reloaded, everything stays as it was: "),
            "{said}"
        );
        assert!(said.ends_with(&expected), "{said}");
    }
    // Each value is fine, and together they are not.
    let said = server.reload("max-connections = 9\npong-timeout = 26s\n");
    assert!(
        said.ends_with("ping interval 25s is not longer than pong timeout 26s"),
        "{said}"
    );
    fs::remove_file(&server.file).expect("it is there");
    let said = server.hang_up();
    assert!(said.contains(&format!("cannot read {file}: ")), "{said}");
    // Two may connect, and no more.
    let second = server.open();
    assert_eq!(server.status(upgrade("/ws")), "503");
    peer.check_echo();
    drop(second);
    assert_eq!(
        server.reload("max-connections = 3\n"),
        "reloaded max_connections=2..3"
    );
}

/// Who writes a file empties it first: what it said must not be lost because of that.
#[test]
fn a_file_that_has_become_empty_changes_nothing() {
    let server = Reloading::start("empty", &[], "max-rooms = 7\n");
    for nothing in ["", "# soon\n\n"] {
        let line = server.reload(nothing);
        assert!(
            line.contains("not reloaded") && line.contains("empty"),
            "{line}"
        );
    }
    let line = server.reload("max-rooms = 8\n");
    assert!(line.contains("max_rooms=7..8"), "{line}");
}

#[test]
fn what_cannot_change_is_warned_about_by_name_each_time() {
    let server = Reloading::start("restart", &["--max-rooms", "7"], "");
    let lines = "admin = 127.0.0.1:1\nunix-mode = 600\nreuse-port = on\nverbose = on\n\
                 max-rooms = 9\nlisten = 127.0.0.1:1\n";
    fs::write(&server.file, lines).expect("it was written before");
    for _ in 0..2 {
        server.process.signal("HUP");
        for said in [
            " WARN  admin=none..127.0.0.1:1 needs a restart",
            " WARN  unix_mode=none..600 needs a restart",
            " WARN  reuse_port=off..on needs a restart",
            " WARN  log_level=INFO..DEBUG needs a restart",
        ] {
            server.process.line(said);
        }
        // A flag wins over the file: where to listen, and how many rooms.
        server.process.line("reloaded, nothing changed");
    }
    server.open().check_echo();
}

/// A server keeps the Redis that it has; which password there is now is nobody's business.
#[cfg(feature = "redis")]
#[test]
fn another_redis_needs_a_restart() {
    let before = "redis = redis://app:hunter2@127.0.0.1:1\n";
    let server = Reloading::start("redis", &[], before);
    let lines = "redis = redis://app:hunter3@127.0.0.1:1/5\nredis-mode = stream\n\
                 redis-queue-max-age = 5s\nmax-rooms = 9\nmax-message-size = 1K\n";
    fs::write(&server.file, lines).expect("it was written before");
    for max_rooms in ["max_rooms=65536..9 ", "nothing changed"] {
        server.process.signal("HUP");
        for said in [
            " WARN  redis=redis://127.0.0.1:1..redis://127.0.0.1:1/5 needs a restart",
            " WARN  redis_credentials=\"app\":(hidden)..\"app\":(hidden) needs a restart",
            " WARN  redis_mode=pubsub..stream needs a restart",
            " WARN  redis_queue_max_age=30s..5s needs a restart",
            " WARN  redis_max_message_size=65536..1024 needs a restart",
        ] {
            server.process.line(said);
        }
        let line = server.process.line("reloaded");
        assert!(format!("{line} ").contains(max_rooms), "{line}");
    }
    fs::write(&server.file, "max-rooms = 9\n").expect("it was written before");
    server.process.signal("HUP");
    server
        .process
        .line(" WARN  redis=redis://127.0.0.1:1..none needs a restart");
    server.process.line("reloaded max_message_size=1024..65536");
    let bad = server.reload("redis = redis://app:hunter2@h/x\n");
    let why = ":1: redis: the database in the URL is not a number";
    assert!(bad.contains(why) && !bad.contains("hunter2"), "{bad}");
    server.open().check_echo();
}

/// A storm of signals while two clients talk: nothing is lost, nothing comes twice, and the last
/// state of the file counts.
#[test]
fn many_signals_lose_nothing() {
    const SIGNALS: usize = 100;

    let server = Reloading::start("storm", &[], "");
    let [mut a, mut b] = [server.open(), server.open()];
    let is_over = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| {
        let talk = scope.spawn(|| {
            let mut round = 0;
            while !is_over.load(Ordering::Acquire) || round < 100 {
                let text = format!("round {round}");
                let (from, to) = if round % 2 == 0 {
                    (&mut a, &mut b)
                } else {
                    (&mut b, &mut a)
                };
                from.send_text(&text);
                from.expect_text(&text);
                to.expect_text(&text);
                round += 1;
            }
            round
        });
        for i in 0..SIGNALS {
            let lines = format!(
                "max-rooms = {}\nping-interval = {}s\n",
                1 + i % 7,
                20 + i % 5
            );
            fs::write(&server.file, lines).expect("it was written before");
            server.process.signal("HUP");
        }
        is_over.store(true, Ordering::Release);
        talk.join().expect("nothing was lost")
    });
    assert!(rounds >= 100);
    fs::write(&server.file, "max-rooms = 1000\n").expect("it was written before");
    server.process.signal("HUP");
    server.process.line("..1000");
    assert_eq!(server.hang_up(), "reloaded, nothing changed");
    a.check_echo();
}

#[test]
fn a_server_that_stops_does_not_reload() {
    let server = Reloading::start("stopping", &["--drain-delay", "20s"], "");
    let mut peer = server.open();
    server.process.signal("TERM");
    server.process.line("stopping clients=1");
    server.process.signal("HUP");
    server
        .process
        .line("SIGHUP ignored: the server is stopping");
    peer.check_echo();
    server.process.signal("TERM");
    server.process.line("stopped outcome=interrupted");
}

/// Embedders who have asked for a stop by signals keep what SIGHUP means to their process.
#[test]
fn sighup_is_caught_for_those_who_ask_for_it_alone() {
    const SIGHUP: u32 = 1;
    const SIGTERM: u32 = 15;

    let is_caught = |signal: u32| {
        let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
        let mut words = status
            .split_whitespace()
            .skip_while(|word| *word != "SigCgt:");
        let mask = words
            .nth(1)
            .and_then(|mask| u64::from_str_radix(mask, 16).ok());
        mask.expect("a mask") >> (signal - 1) & 1 == 1
    };
    let mut server = Server::bind(config()).expect("the server can listen");
    server.stop_on_signals().expect("signals can be caught");
    assert!(is_caught(SIGTERM) && !is_caught(SIGHUP));
    server.reload_on_signal().expect("signals can be caught");
    assert!(is_caught(SIGHUP) && !server.take_reload());
}

#[test]
fn variables_win_over_the_file_and_flags_over_both() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("precedence.conf");
    let lines = "allow-origin = https://file.com\nmax-rooms = 1\nsubprotocol = file\n";
    fs::write(&file, lines).expect("the folder is there");
    let path = file.to_str().expect("it is UTF-8");
    let before = format!("export FANFARE_CONFIG='{path}' FANFARE_SUBPROTOCOL=variable;");
    let arguments = ["--allow-origin", "https://flag.com"];
    let (process, address) = Process::serve(&before, &arguments);
    let ask = |origin: &str| {
        let mut peer = Peer::connect(address);
        let fields =
            format!("Origin: https://{origin}.com\r\nSec-WebSocket-Protocol: file, variable\r\n");
        peer.send(upgrade_with("/ws", &fields));
        (peer.read_head(), peer)
    };
    // The flag's origin replaces the file's, and is not added to it.
    assert!(ask("file").0.starts_with("HTTP/1.1 403 "));
    let (head, mut peer) = ask("flag");
    assert!(
        head.contains("\r\nSec-WebSocket-Protocol: variable\r\n"),
        "{head}"
    );
    // What the file alone says holds.
    let mut other = Peer::connect(address);
    other.send(upgrade("/ws/second"));
    assert!(other.read_head().starts_with("HTTP/1.1 503 "));
    peer.check_echo();
    drop(process);
    let _ = fs::remove_file(file);
}
