//! A Redis of a test's own: on a port and a Unix socket that nobody else knows, with a folder of
//! its own. It ends with the test, however that ends.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::resp::{Reply, Resp};
use crate::wait_until;

/// How long Redis may take to start, to answer, and to stop.
const LIMIT: Duration = Duration::from_secs(10);

/// Ports are taken from here upwards: below those that the kernel gives to whoever connects, so
/// that none is taken while a Redis that was killed is away.
const FIRST_PORT: u16 = 12_000;
const PORTS: u16 = 18_000;

/// A port on 127.0.0.1 that is free, and that no other test of this run has.
pub(crate) fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);

    // Runs at the same time begin at different places.
    let start = std::process::id().wrapping_mul(97) % u32::from(PORTS);
    let start = u16::try_from(start).expect("it is below PORTS");
    for _ in 0..PORTS {
        let offset = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT + start.wrapping_add(offset) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// A new folder below `target/tmp`.
pub(crate) fn new_folder(name: &str) -> PathBuf {
    static FOLDERS: AtomicU32 = AtomicU32::new(0);

    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let name = format!("{name}-{}-{number}", std::process::id());
    // A Unix socket's path must be short, and the target directory's need not be.
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
    folder
}

/// Sends a signal to a process that this test has started.
pub(crate) fn signal(child: &Child, name: &str) {
    let kill = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .status();
    assert!(kill.expect("there is a kill").success(), "it ended before");
}

/// What a Redis keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// Nothing: what it had is gone with the process.
    Nothing,
    /// What it has acknowledged (`appendonly yes`, `everysec`: the write precedes the answer).
    Everything,
}

/// A running Redis, or one that has been killed and may be started again.
pub(crate) struct RedisServer {
    child: Option<Child>,
    folder: PathBuf,
    pub(crate) port: u16,
    arguments: Vec<String>,
}

impl RedisServer {
    pub(crate) fn start(keeps: Keeps) -> Self {
        Self::start_with(keeps, &[])
    }

    /// The same with more settings: `["--maxmemory", "4mb"]`.
    pub(crate) fn start_with(keeps: Keeps, more: &[&str]) -> Self {
        let mut server = Self::reserve(keeps, more);
        server.restart();
        server
    }

    /// One that does not run yet.
    pub(crate) fn reserve(keeps: Keeps, more: &[&str]) -> Self {
        let folder = new_folder("fanfare-redis");
        let port = free_port();
        let append = if keeps == Keeps::Everything {
            "yes"
        } else {
            "no"
        };
        let mut arguments: Vec<String> = Vec::new();
        for (name, value) in [
            ("--port", port.to_string()),
            ("--bind", "127.0.0.1".to_owned()),
            ("--unixsocket", folder.join("s").display().to_string()),
            ("--dir", folder.display().to_string()),
            ("--save", String::new()),
            ("--appendonly", append.to_owned()),
            ("--daemonize", "no".to_owned()),
            ("--logfile", folder.join("log").display().to_string()),
            ("--enable-debug-command", "local".to_owned()),
            // Replicas wait for this before a copy of everything.
            ("--repl-diskless-sync-delay", "0".to_owned()),
        ] {
            arguments.extend([name.to_owned(), value]);
        }
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        Self {
            child: None,
            folder,
            port,
            arguments,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("s")
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn restart(&mut self) {
        self.restart_with(&[]);
        self.wait_for_pong();
    }

    /// Starts it with more settings, and does not wait.
    pub(crate) fn restart_with(&mut self, more: &[&str]) {
        assert!(self.child.is_none(), "it runs");
        let child = Command::new("redis-server")
            .args(&self.arguments)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("redis-server: {error}. Install it: apt-get install redis-server")
            });
        self.child = Some(child);
    }

    /// Waits until it answers to PING.
    pub(crate) fn wait_for_pong(&mut self) {
        let socket = self.socket();
        let child = self.child.as_mut().expect("it was started");
        wait_until("redis-server answers", LIMIT, || {
            if let Some(status) = child.try_wait().expect("it is our child") {
                panic!("redis-server has ended: {status}");
            }
            let mut resp = Resp::connect(&socket, LIMIT).ok()?;
            let pong = resp.call(&[b"PING"]).ok()?;
            (pong == Reply::Simple("PONG".to_owned())).then_some(())
        });
    }

    /// Kills it: SIGKILL, nothing is written any more.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    /// Stops it: connections stand, and nothing comes.
    pub(crate) fn stop(&self) {
        signal(self.child.as_ref().expect("it runs"), "STOP");
    }

    pub(crate) fn go_on(&self) {
        signal(self.child.as_ref().expect("it runs"), "CONT");
    }

    /// A connection of the test's own.
    pub(crate) fn connect(&self) -> Resp {
        Resp::connect(&self.socket(), LIMIT).expect("Redis runs")
    }

    /// Says one thing: `redis.say("CLIENT KILL TYPE pubsub")`. An error is an answer too.
    pub(crate) fn say(&self, command: &str) -> Reply {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        self.connect().call(&words).expect("Redis answers")
    }

    /// Says one thing, and takes no error for an answer.
    pub(crate) fn tell(&self, command: &str) -> Reply {
        match self.say(command) {
            Reply::Error(error) => panic!("{command}: {error}"),
            reply => reply,
        }
    }

    /// A figure of INFO.
    pub(crate) fn info(&self, name: &str) -> String {
        let text = self.tell("INFO everything").text();
        let value = text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key == name).then(|| value.to_owned())
        });
        value.unwrap_or_else(|| panic!("no {name} in INFO"))
    }

    /// Makes it a replica of whoever is at that port, and waits until it has a copy.
    pub(crate) fn follow(&self, port: u16) {
        self.tell(&format!("REPLICAOF 127.0.0.1 {port}"));
        wait_until("the replica has a copy", LIMIT, || {
            (self.info("master_link_status") == "up").then_some(())
        });
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(10)..] {
                eprintln!("redis {}: {line}", self.port);
            }
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A sentinel that watches one master, which it calls `main`.
pub(crate) struct Sentinel {
    child: Child,
    folder: PathBuf,
    pub(crate) port: u16,
}

impl Sentinel {
    /// Starts it, and waits until it knows `replicas` of the master.
    pub(crate) fn start(master: &RedisServer, replicas: usize) -> Self {
        Self::start_with(master.port, replicas, |port| format!("port {port}"))
    }

    /// The same for a master at that port, with the settings that have the sentinel listen at one.
    pub(crate) fn start_with(master: u16, replicas: usize, listen: impl Fn(u16) -> String) -> Self {
        let folder = new_folder("fanfare-sentinel");
        let port = free_port();
        let file = folder.join("sentinel.conf");
        let text = format!(
            "{}\nbind 127.0.0.1\nunixsocket {}\ndir {}\nlogfile {}\n\
             sentinel monitor main 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 4000\n",
            listen(port),
            folder.join("s").display(),
            folder.display(),
            folder.join("log").display(),
        );
        fs::write(&file, text).expect("its folder can be written");
        let child = Command::new("redis-sentinel")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("redis-sentinel: {error}. Install it: apt-get install redis-sentinel")
            });
        let sentinel = Self {
            child,
            folder,
            port,
        };
        wait_until("the sentinel knows the replicas", 2 * LIMIT, || {
            let known = sentinel.say(&[b"SENTINEL", b"REPLICAS", b"main"])?;
            matches!(known, Reply::Array(known) if known.len() == replicas).then_some(())
        });
        sentinel
    }

    fn say(&self, command: &[&[u8]]) -> Option<Reply> {
        let mut resp = Resp::connect(&self.folder.join("s"), LIMIT).ok()?;
        resp.call(command).ok()
    }

    /// The port of the master as it knows it.
    pub(crate) fn master(&self) -> u16 {
        let reply = self.say(&[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"main"]);
        let reply = reply.expect("the sentinel answers");
        reply.items()[1].text().parse().expect("a port")
    }

    /// Has it watch another master, as if it had found out that the one before is none.
    pub(crate) fn watch(&self, master: &RedisServer) {
        let port = master.port.to_string();
        let remove: [&[u8]; 3] = [b"SENTINEL", b"REMOVE", b"main"];
        let monitor: [&[u8]; 6] = [
            b"SENTINEL",
            b"MONITOR",
            b"main",
            b"127.0.0.1",
            port.as_bytes(),
            b"1",
        ];
        for command in [remove.as_slice(), &monitor] {
            let reply = self.say(command);
            assert_eq!(reply, Some(Reply::Simple("OK".to_owned())));
        }
    }

    /// Waits until the master is at this port.
    pub(crate) fn wait_for_master(&self, port: u16) {
        let begun = Instant::now();
        wait_until("the sentinel has promoted the replica", 3 * LIMIT, || {
            (self.master() == port).then_some(())
        });
        println!("the sentinel took {:.1?}", begun.elapsed());
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            eprintln!("{log}");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
