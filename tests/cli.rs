//! The binary as its users meet it: what it prints, how it ends, what it does on a signal.
#![cfg(feature = "cli")]

#[path = "cli/redis_flags.rs"]
mod redis_flags;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// How long anything may take. Less than the timeouts that a test shows to be cut short.
const DEADLINE: Duration = Duration::from_secs(10);

/// The binary, without what the environment of the tests may say to it.
fn fanfare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

/// What the binary prints with arguments that let it end at once.
fn output(arguments: &[&str]) -> Output {
    fanfare(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the binary prints UTF-8")
}

/// A running server. It is killed when the test is done with it.
struct Running {
    child: Child,
    stderr: Receiver<String>,
    exited: Receiver<()>,
}

/// How a server ended.
struct Ended {
    exit_code: Option<i32>,
    /// The lines that it printed after the last one that was waited for.
    stderr: String,
}

impl Running {
    fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let (line, stderr) = channel();
        let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        // The thread ends, and closes the server's stderr, with the first line that nobody wants.
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .all(|text| line.send(text).is_ok());
        });
        // Nothing is ever written to stdout, so it ends with the process: a wait with a deadline.
        let (exit, exited) = channel();
        let mut stdout = child.stdout.take().expect("it is piped");
        std::thread::spawn(move || {
            let _ = stdout.read_to_end(&mut Vec::new());
            let _ = exit.send(());
        });
        Self {
            child,
            stderr,
            exited,
        }
    }

    /// Waits for a line on stderr that contains `what`.
    fn line(&self, what: &str) -> String {
        self.lines_until(what).1
    }

    /// The same, and the lines that came before it.
    fn lines_until(&self, what: &str) -> (String, String) {
        let mut seen = String::new();
        loop {
            match self.stderr.recv_timeout(DEADLINE) {
                Ok(line) if line.contains(what) => return (seen, line),
                Ok(line) => seen = seen + &line + "\n",
                Err(error) => panic!("no line with '{what}' ({error}), but:\n{seen}"),
            }
        }
    }

    /// Waits until the server answers on TCP, and returns its port. The line alone is not enough:
    /// it comes before signals are caught, so that one sent at once would kill.
    fn port(&self) -> u16 {
        let start = "listening on http://127.0.0.1:";
        let line = self.line(start);
        let (_, rest) = line.split_once(start).expect("it was looked for");
        let port = rest.split('/').next().and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("a port and a slash in: {line}"));
        let answer = ask(connect(port), "/healthz", "");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        port
    }

    /// Sends SIGTERM.
    fn terminate(&self) {
        let kill = Command::new("kill")
            .arg("-TERM")
            .arg(self.child.id().to_string())
            .status();
        assert!(
            kill.expect("there is a kill").success(),
            "the server had ended already"
        );
    }

    /// Waits for the end.
    fn end(mut self) -> Ended {
        let timed_out = self.exited.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout);
        assert!(!timed_out, "the server still runs after {DEADLINE:?}");
        let exit_code = self.child.wait().expect("it is our child").code();
        Ended {
            exit_code,
            stderr: self.stderr.iter().collect::<Vec<_>>().join("\n"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("it is not zero");
    stream
}

/// Asks for `path` and returns the head of the answer.
fn ask(mut stream: impl Read + Write, path: &str, more: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n{more}\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("the server reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap_or_else(|error| {
            panic!(
                "an answer to {path}: {error} after {:?}",
                String::from_utf8_lossy(&head)
            )
        });
        head.extend(byte);
    }
    text(&head).to_owned()
}

/// Checks that the arguments are refused with 2, in words that contain each of `said`.
fn check_refused(command: &mut Command, said: &[&str]) {
    let output = command.output().expect("the binary runs");
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{command:?} said: {stderr}");
    assert!(output.stdout.is_empty(), "{command:?} wrote to stdout");
    assert!(
        stderr.starts_with("fanfare: "),
        "{command:?} said: {stderr}"
    );
    assert!(
        stderr.ends_with("\ntry 'fanfare --help'\n"),
        "{command:?} said: {stderr}"
    );
    for said in said {
        assert!(
            stderr.contains(said),
            "{command:?} did not say '{said}' but: {stderr}"
        );
    }
}

#[test]
fn help_goes_to_stdout() {
    for flag in ["--help", "-h"] {
        let output = output(&[flag]);
        assert_eq!(output.status.code(), Some(0), "{flag}");
        assert!(
            output.stderr.is_empty(),
            "{flag} said: {}",
            text(&output.stderr)
        );
        let help = text(&output.stdout);
        for part in ["Usage: fanfare", "--listen ADDR", "FANFARE_", "Examples:"] {
            assert!(help.contains(part), "no '{part}' in: {help}");
        }
    }
}

/// What users read is read again by whoever changes it: `HELP=write` stores it.
#[test]
fn help_is_what_was_read_last() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/help.txt");
    let output = output(&["--help"]);
    let help = text(&output.stdout);
    if std::env::var_os("HELP").is_some_and(|verb| verb == "write") {
        std::fs::write(file, help).expect("the folder is there");
    }
    let stored = std::fs::read_to_string(file).expect("it was stored");
    let other = stored
        .lines()
        .zip(help.lines())
        .find(|(old, new)| old != new);
    assert!(
        stored == help,
        "HELP=write stores it; it begins to differ at {other:?}"
    );
}

/// The worst case is explained and nobody listens; a limit on what is owed makes it less.
#[test]
fn memory_is_explained_on_stdout() {
    let total = |flags: &[&str]| {
        let flags = [flags, &["--max-connections", "1000", "--explain-memory"]].concat();
        let output = output(&flags);
        assert!(output.status.success() && output.stderr.is_empty());
        let said = String::from_utf8(output.stdout).expect("it is text");
        for part in ["each client", "each room", "the server"] {
            assert!(said.contains(part), "{said}");
        }
        let total = said.lines().find_map(|line| line.strip_prefix("total"));
        let total = total.and_then(|total| total.trim().parse::<u64>().ok());
        total.unwrap_or_else(|| panic!("no total in: {said}"))
    };
    let without = total(&[]);
    assert!(without > 1000 << 20, "a client may owe 1 MiB: {without}");
    let limited = total(&["--max-total-buffer", "64M"]);
    assert!((64 << 20..without / 10).contains(&limited), "{limited}");
}

#[test]
fn version_goes_to_stdout() {
    let output = output(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    let version = concat!("fanfare ", env!("CARGO_PKG_VERSION"), "\nfeatures: ");
    let said = text(&output.stdout);
    assert!(said.starts_with(version), "{said}");
}

/// `fanfare --help | head -1` must not end in a panic.
#[test]
fn help_survives_a_reader_who_leaves() {
    let mut child = fanfare(&["--help"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it is our child");
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn unknown_flags_are_refused_with_the_nearest_one() {
    check_refused(
        &mut fanfare(&["--lisen", "x"]),
        &["'--lisen'", "did you mean '--listen'?"],
    );
    check_refused(&mut fanfare(&["-x"]), &["unknown flag '-x'"]);
    check_refused(&mut fanfare(&["8080"]), &["8080"]);
    check_refused(&mut fanfare(&["--path"]), &["'--path'"]);
}

/// What `--tokens "$FORGOTTEN"` comes to must not be a server without credentials.
#[test]
fn a_file_that_is_named_by_nothing_is_refused() {
    for flag in [
        "--tokens",
        "--ticket-key",
        "--config",
        "--tls-cert",
        "--tls-key",
        "--tls-client-ca",
    ] {
        let said = format!("{flag}: '' names no file");
        check_refused(&mut fanfare(&[flag, ""]), &[&said]);
    }
}

#[test]
fn bad_values_are_named() {
    for (flag, value, why) in [
        ("--max-message-size", "abc", "is not a size like 64K or 1M"),
        ("--ping-interval", "25", "has no unit: write 25s or 25ms"),
        ("--close-timeout", "soon", "is not a duration like"),
        ("--max-connections", "many", "is not a count like"),
        (
            "--allow-origin",
            "example.com",
            "is not an origin like https://example.com",
        ),
        ("--listen", "8080", "is not an address like 127.0.0.1:8080"),
        ("--path", "/ws/", "path must be like /ws"),
        ("--subprotocol", "a b", "subprotocol must be a token"),
        ("--max-handshakes", "x", "is not a count like"),
        ("--accept-rate", "1:2:3", "is not a rate like"),
        ("--slow-policy", "wait", "is none of close, drop, latest"),
        ("--trusted-proxy", "proxy", "is not an address, a range"),
        ("--unix-mode", "rw", "is not a mode like 660"),
        ("--publish", "some", "is none of any, token, none"),
        ("--admin", "9090", "is not an address like"),
    ] {
        let said = format!("{flag}: '{value}'");
        check_refused(&mut fanfare(&[flag, value]), &[&said, why]);
        let variable = format!(
            "FANFARE_{}",
            flag[2..].to_ascii_uppercase().replace('-', "_")
        );
        let said = format!("{variable}: '{value}'");
        check_refused(fanfare(&[]).env(variable, value), &[&said, why]);
    }
}

#[test]
fn contradictions_are_refused() {
    let heartbeat = ["--ping-interval", "5s", "--pong-timeout", "6s"];
    let why = "ping interval 5s is not longer than pong timeout 6s";
    check_refused(&mut fanfare(&heartbeat), &[why]);
    let buffer = ["--max-message-size", "1M", "--max-client-buffer", "1M"];
    check_refused(
        &mut fanfare(&buffer),
        &["max client buffer 1048576 is too small"],
    );
    let drain = [
        "--drain-delay=5s",
        "--drain-time=6s",
        "--shutdown-timeout=11s",
    ];
    let why = "drain delay 5s and drain time 6s together are not shorter than shutdown timeout 11s";
    check_refused(&mut fanfare(&drain), &[why]);
}

#[test]
fn a_file_that_cannot_be_is_refused_with_its_line() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("refused.conf");
    let path = file.to_str().expect("it is UTF-8");
    std::fs::write(&file, "\n# rooms\nmax_rooms = 5\n").expect("the folder is there");
    let why = format!("{path}:3: unknown setting 'max_rooms', did you mean 'max-rooms'?");
    check_refused(&mut fanfare(&["--config", path]), &[&why]);
    check_refused(fanfare(&[]).env("FANFARE_CONFIG", path), &[&why]);
    std::fs::remove_file(&file).expect("it is there");
    let why = format!("cannot read {path}: No such file");
    check_refused(&mut fanfare(&["--config", path]), &[&why]);
    let folder = env!("CARGO_TARGET_TMPDIR");
    check_refused(&mut fanfare(&["--config", folder]), &["not a regular file"]);
}

#[cfg(feature = "auth")]
#[test]
fn credentials_that_cannot_be_checked_are_refused_at_start() {
    let why = "--publish token needs --tokens or --ticket-key";
    check_refused(&mut fanfare(&["--publish", "token"]), &[why]);
    let missing = ["--tokens", "/nonexistent/tokens"];
    check_refused(&mut fanfare(&missing), &["--tokens: /nonexistent/tokens: "]);
    // A file that is no key, and no tokens either.
    let this = file!();
    let key = ["--ticket-key", this];
    let why = format!("--ticket-key: {this}: longer than 4096 bytes");
    check_refused(&mut fanfare(&key), &[&why]);
    let why = format!("--tokens: {this}:1: not four fields: NAME ROLE ROOMS SECRET-HASH");
    check_refused(&mut fanfare(&["--tokens", this]), &[&why]);
}

#[cfg(feature = "auth")]
#[test]
fn a_token_is_a_line_on_stdout_and_a_secret_on_stderr() {
    use sha2::{Digest, Sha256};

    let token = ["token", "alice", "--role", "both", "--rooms", "news/*,."];
    let [first, second] = [output(&token), output(&token)].map(|output| {
        assert_eq!(output.status.code(), Some(0));
        let told = text(&output.stderr).strip_prefix("secret, shown only now: ");
        let secret = told.and_then(|told| told.strip_suffix('\n'));
        let secret = secret.expect("one line with the secret").to_owned();
        // 256 bits in base64url.
        assert_eq!(secret.len(), 43);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(secret.bytes().all(is_plain), "{secret}");
        let hash = Sha256::digest(&secret);
        let digits: Vec<String> = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let line = format!("alice both news/*,. sha256:{}\n", digits.concat());
        assert_eq!(text(&output.stdout), line);
        secret
    });
    assert_ne!(first, second);
}

#[cfg(feature = "auth")]
#[test]
fn what_makes_no_token_is_refused_and_help_is_given() {
    let help = output(&["token", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(text(&help.stdout).contains("Usage: fanfare token NAME --role ROLE"));
    for (arguments, why) in [
        (&[][..], "NAME, --role and --rooms are needed"),
        (&["a", "--role", "both"], "NAME, --role and --rooms"),
        (
            &["a", "--role", "all", "--rooms", "*"],
            "the role is none of",
        ),
        (
            &["a", "--role", "both", "--rooms", "a*"],
            "an asterisk within",
        ),
        (&["a", "--role", "both", "--rooms", "a b"], "hold spaces"),
        (&["a", "b", "--role", "both", "--rooms", "a"], "\"b\""),
        (&["#a", "--role", "both", "--rooms", "*"], "#"),
        (&["ä", "--role", "both", "--rooms", "*"], "the name is not"),
        (&["a", "--roles", "both"], "'--roles'"),
    ] {
        let arguments = [&["token"][..], arguments].concat();
        let output = output(&arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(
            stderr.starts_with("fanfare: token: ") && stderr.contains(why),
            "{stderr}"
        );
        assert!(
            stderr.ends_with("\ntry 'fanfare token --help'\n"),
            "{stderr}"
        );
        assert!(!stderr.contains("sha256"), "{stderr}");
    }
}

#[cfg(not(feature = "auth"))]
#[test]
fn without_auth_its_flags_say_so() {
    let why = "this binary was built without the feature auth";
    for flag in ["--tokens", "--ticket-key"] {
        let said = format!("{flag}: {why}");
        check_refused(&mut fanfare(&[flag, "file"]), &[&said]);
    }
    check_refused(&mut fanfare(&["token", "alice"]), &["token: ", why]);
}

#[test]
fn variables_are_used_flags_win_and_unknown_variables_are_warned_about() {
    let mut command = fanfare(&["--path", "/flag"]);
    command
        .env("FANFARE_LISTEN", "127.0.0.1:0")
        .env("FANFARE_PATH", "/variable")
        .env("FANFARE_LISTN", "secret");
    let server = Running::start(command);
    let warning = server.line("FANFARE_LISTN");
    assert!(
        warning.contains("WARN") && warning.contains("did you mean FANFARE_LISTEN?"),
        "{warning}"
    );
    assert!(!warning.contains("secret"), "{warning}");
    // The kernel's choice of a port shows that the variable was read: nobody else asked for it.
    let port = server.port();
    let answer = ask(connect(port), "/variable", "");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let answer = ask(connect(port), "/flag", "");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    server.terminate();
    let ended = server.end();
    assert_eq!(ended.exit_code, Some(0), "{}", ended.stderr);
}

#[test]
fn the_log_starts_with_what_runs_and_quiet_leaves_it_out() {
    let server = Running::start(fanfare(&[
        "--listen",
        "127.0.0.1:0",
        "--max-connections",
        "7",
    ]));
    let line = server.line("descriptor_limit=");
    let said = concat!(
        " INFO  fanfare ",
        env!("CARGO_PKG_VERSION"),
        " descriptor_limit="
    );
    assert!(line.contains(said), "{line}");
    assert!(
        line.contains(" max_connections=7 ") && line.contains(" features="),
        "{line}"
    );
    server.port();
    server.terminate();
    assert_eq!(server.end().exit_code, Some(0));

    // A port that is taken lets the server end by itself, when the line has come or not.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    // RUST_LOG has the last word: the line is info, and comes despite `-q`.
    for (rust_log, is_heard) in [("", false), ("info", true)] {
        let mut command = fanfare(&["--quiet", "--listen", &address]);
        let output = command
            .env("RUST_LOG", rust_log)
            .output()
            .expect("the binary runs");
        let stderr = text(&output.stderr);
        assert_eq!(
            stderr.contains("descriptor_limit="),
            is_heard,
            "{rust_log}: {stderr}"
        );
    }
}

#[test]
fn a_port_in_use_is_a_failure_that_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let output = output(&["-q", "--listen", &address]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let said = format!("fanfare: cannot listen on {address}: ");
    assert!(
        stderr.contains(&said) && stderr.contains("in use"),
        "{stderr}"
    );
}

/// A path for a unix socket, removed with its test. Below the system's temporary directory: the
/// target directory may be too deep for the 108 bytes of an address.
struct Socket(PathBuf);

impl Socket {
    fn new(test: &str) -> Self {
        let name = format!("fanfare-{test}-{}.sock", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn address(&self) -> String {
        format!("unix:{}", self.0.display())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_unix_socket_serves_and_is_gone_afterwards() {
    let socket = Socket::new("serves");
    let server = Running::start(fanfare(&["--listen", &socket.address()]));
    server.line(&format!("listening on {}", socket.address()));
    let stream = UnixStream::connect(&socket.0).expect("the server listens");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("it is not zero");
    let answer = ask(stream, "/healthz", "");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    server.terminate();
    let ended = server.end();
    assert_eq!(ended.exit_code, Some(0), "{}", ended.stderr);
    assert!(!socket.0.exists(), "{} is still there", socket.0.display());
}

/// A client that never answers our Close holds up the end, until an operator insists.
#[test]
fn a_second_signal_ends_at_once() {
    let arguments = ["--listen", "127.0.0.1:0", "--close-timeout", "20s"];
    let server = Running::start(fanfare(&arguments));
    let mut client = connect(server.port());
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = ask(&client, "/ws", upgrade);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    server.terminate();
    // The Close says that the first signal has been seen; two at once could be taken for one.
    let mut close = [0; 4];
    client.read_exact(&mut close).expect("a Close");
    assert_eq!(
        (close[0], &close[2..]),
        (0x88, &1001_u16.to_be_bytes()[..]),
        "{close:?}"
    );
    server.terminate();
    let ended = server.end();
    assert_eq!(ended.exit_code, Some(1), "{}", ended.stderr);
    let said = "fanfare: stopped at once by a second signal";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}

/// From peers who are not trusted no PROXY header is read, so without any there is none to read.
#[test]
fn a_proxy_protocol_needs_a_trusted_proxy() {
    let said = ["proxy protocol needs a trusted proxy"];
    check_refused(&mut fanfare(&["--proxy-protocol"]), &said);
    let said = ["--trusted-proxy: '10.0.0.0/33' is not an address"];
    check_refused(&mut fanfare(&["--trusted-proxy=10.0.0.0/33"]), &said);
}

/// An operator can see where everybody went: connections = left + the sum of the causes.
#[test]
fn the_last_line_counts_departures_by_cause() {
    let arguments = ["--listen", "127.0.0.1:0", "--shutdown-timeout", "1ms"];
    let server = Running::start(fanfare(&arguments));
    let port = server.port();
    ask(connect(port), "/nothing", "");
    ask(connect(port), "/ws", "");
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut closed = connect(port);
    ask(&closed, "/ws", upgrade);
    // A Close without a payload, masked with zeros.
    closed
        .write_all(&[0x88, 0x80, 0, 0, 0, 0])
        .expect("the server reads");
    closed
        .read_to_end(&mut Vec::new())
        .expect("an end that is no reset");
    drop(closed);
    let stays = connect(port);
    ask(&stays, "/ws", upgrade);
    server.terminate();
    let ended = server.end();
    assert_eq!(ended.exit_code, Some(0), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap_or_default();
    // `port` has asked once, too.
    let said = " INFO  stopped outcome=timeout left=1 connections=5 messages_in=0 messages_out=0 \
                closed=1 refused=2 answered=1";
    assert!(last.ends_with(said), "{last}");
}

/// The reason comes last, behind all that led to it.
#[test]
fn a_failure_comes_behind_the_log() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let output = output(&["--listen", &address]);
    let stderr = text(&output.stderr);
    let (log, failure) = stderr.split_once('\n').expect("two lines");
    assert!(log.contains(" INFO  fanfare "), "{stderr}");
    assert!(
        failure.starts_with("fanfare: cannot listen on "),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
}

/// Whoever read the log may be restarted or gone; a line that cannot be written is lost and
/// nothing else.
#[test]
fn a_closed_stderr_does_not_stop_the_server() {
    let mut server = Running::start(fanfare(&["-vv", "--listen", "127.0.0.1:0"]));
    let port = server.port();
    // From here on the reading thread ends with the next line, and stderr has no reader.
    server.stderr = channel().1;
    for _ in 0..5 {
        let answer = ask(connect(port), "/healthz", "");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    server.terminate();
    assert_eq!(server.end().exit_code, Some(0));
}

#[cfg(not(feature = "tls"))]
#[test]
fn flags_of_a_feature_that_is_not_there_say_so() {
    for flag in ["--tls-cert", "--tls-key", "--tls-client-ca"] {
        let said = format!("{flag}: this binary was built without the feature tls");
        check_refused(&mut fanfare(&[flag, "/a/file"]), &[&said]);
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_certificate_needs_its_key_and_both_must_be_good() {
    let file = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/certificates/");
        format!("{folder}{name}")
    };
    let (cert, key, ca) = (file("server.pem"), file("server.key"), file("ca.pem"));
    let other = file("renewed.key");
    let cases: [(&[&str], &str); 8] = [
        (&["--tls-cert", &cert], "--tls-cert needs --tls-key"),
        (&["--tls-key", &key], "--tls-key needs --tls-cert"),
        (&["--tls-client-ca", &ca], "needs --tls-cert and --tls-key"),
        (
            &["--tls-key", &key, "--tls-client-ca", &ca],
            "--tls-key needs --tls-cert",
        ),
        (
            &["--tls-cert", &cert, "--tls-key", &other],
            "renewed.key is not that of",
        ),
        (
            &["--tls-cert", &key, "--tls-key", &key],
            "server.key: no certificate in it",
        ),
        (
            &["--tls-cert", "/no/file", "--tls-key", &key],
            "cannot read /no/file: ",
        ),
        (
            &[
                "--tls-cert",
                &cert,
                "--tls-key",
                &key,
                "--proxy-protocol",
                "--trusted-proxy",
                "10.0.0.1",
            ],
            "--proxy-protocol contradicts --tls-cert",
        ),
    ];
    for (arguments, said) in cases {
        check_refused(&mut fanfare(arguments), &[said]);
    }
    let good = [
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
        "--listen",
        "127.0.0.1:0",
    ];
    let server = Running::start(fanfare(&good));
    server.line("listening on https://127.0.0.1:");
}
