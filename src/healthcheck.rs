//! `fanfare healthcheck [URL]`: asks a server whether it turns, for containers without curl.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Where a server is asked if nothing else is said.
const DEFAULT_URL: &str = "http://127.0.0.1:9090/healthz";

/// What is asked if the URL has no path.
const DEFAULT_PATH: &str = "/healthz";

/// How long connecting, and each step of asking, may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How long all of it may take: less than whoever checks health waits.
const DEADLINE: Duration = Duration::from_secs(5);

/// Addresses that a name may stand for, and are tried.
const MAX_ADDRESSES: usize = 4;

/// Reads that the status may take to arrive.
const MAX_READS: usize = 12;

/// What the answer of a server that turns begins with.
const HEALTHY: &[u8; 13] = b"HTTP/1.1 200 ";

const USAGE: &str = "\
Usage: fanfare healthcheck [URL]

Asks URL (http://… or unix:/path), the address in FANFARE_ADMIN, or http://127.0.0.1:9090/healthz.
Exit code 0 if the answer is 200, else 1 with one line on stderr.
";

/// What a health check came to.
pub(crate) enum Outcome {
    Healthy,
    /// A text to print on stdout.
    Help(&'static str),
    /// Why not, in one line.
    Unhealthy(String),
    /// What is wrong with the command line.
    Misused(String),
}

/// Does what the arguments behind `healthcheck` say. `admin` is the value of `FANFARE_ADMIN`.
pub(crate) fn run(arguments: &[OsString], admin: Option<OsString>) -> Outcome {
    let url = match arguments {
        [] => match admin.map(OsString::into_string) {
            Some(Ok(address)) if !address.is_empty() && address != "none" => address,
            _ => DEFAULT_URL.to_owned(),
        },
        [help] if help == "--help" || help == "-h" => return Outcome::Help(USAGE),
        [url] => match url.to_str() {
            Some(url) => url.to_owned(),
            None => return Outcome::Misused("the URL is not UTF-8".to_owned()),
        },
        _ => return Outcome::Misused("healthcheck takes one URL".to_owned()),
    };
    let target = match Target::parse(&url) {
        Ok(target) => target,
        Err(why) => return Outcome::Misused(format!("{why}: {url}")),
    };
    match target.ask_in_time() {
        Ok(start) if start == HEALTHY => Outcome::Healthy,
        Ok(start) => {
            let start = String::from_utf8_lossy(&start);
            Outcome::Unhealthy(format!("{target} is not healthy: {:?}", start.trim_end()))
        }
        Err(error) => Outcome::Unhealthy(format!("{target}: {}", reason(&error))),
    }
}

/// A timeout has another name on each system, and none that says so.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    }
}

/// Whom to ask, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Tcp { authority: String, path: String },
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { authority, path } => write!(f, "http://{authority}{path}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Target {
    /// Reads `http://host[:port][/path]`, `host:port` as in `--admin`, or `unix:/path`.
    fn parse(url: &str) -> Result<Self, &'static str> {
        if let Some(path) = url.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            let target = path.is_absolute().then_some(Self::Unix(path));
            return target.ok_or("not a path from the root");
        }
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err("only http:// and unix: are spoken"),
            None => url,
        };
        let (authority, path) = match rest.find('/') {
            Some(end) => rest.split_at(end),
            None => (rest, DEFAULT_PATH),
        };
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"@?#".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(is_plain) {
            return Err("not an address");
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("not a path");
        }
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(host, port)| port.parse::<u16>().is_ok() && !host.ends_with(':'));
        let authority = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        let path = path.to_owned();
        Ok(Self::Tcp { authority, path })
    }

    /// The first bytes of the answer. A Unix socket whose queue is full, or a server that sends a
    /// byte now and then, would be waited for longer; who asks is left to the end of the process.
    fn ask_in_time(&self) -> io::Result<Vec<u8>> {
        let (sender, receiver) = channel();
        let target = self.clone();
        // If nobody waits for it any more, it is not needed.
        std::thread::spawn(move || drop(sender.send(target.ask())));
        receiver
            .recv_timeout(DEADLINE)
            .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    /// The first bytes of the answer.
    fn ask(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                exchange(stream, "localhost", DEFAULT_PATH)
            }
            Self::Tcp { authority, path } => {
                let stream = connect(authority)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                exchange(stream, authority, path)
            }
        }
    }
}

fn connect(authority: &str) -> io::Result<TcpStream> {
    let mut last_error = io::Error::from(ErrorKind::NotFound);
    for address in authority.to_socket_addrs()?.take(MAX_ADDRESSES) {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

fn exchange(mut stream: impl Read + Write, host: &str, path: &str) -> io::Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut start = Vec::new();
    for _ in 0..MAX_READS {
        let mut buffer = [0; HEALTHY.len()];
        let room = HEALTHY.len() - start.len();
        let count = stream.read(&mut buffer[..room])?;
        start.extend_from_slice(&buffer[..count]);
        if count == 0 || start.len() == HEALTHY.len() {
            break;
        }
    }
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_whom_to_ask() {
        for (url, shown) in [
            (
                "http://127.0.0.1:9090/healthz",
                "http://127.0.0.1:9090/healthz",
            ),
            ("HTTP://a/readyz", "http://a:80/readyz"),
            ("127.0.0.1:9090", "http://127.0.0.1:9090/healthz"),
            ("[::1]:9090", "http://[::1]:9090/healthz"),
            ("http://[::1]/", "http://[::1]:80/"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(Target::parse(url).unwrap().to_string(), shown, "{url}");
        }
        for url in [
            "",
            "https://a/",
            "unix:a",
            "http://",
            "http:///x",
            "http://a@b/",
            "a b:1",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
