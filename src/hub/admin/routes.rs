//! What operators may ask for, and what is answered when it is nothing.

use std::net::{IpAddr, Ipv4Addr};

use crate::hub::peer::Peer;
use crate::protocol::HandshakeError;
use crate::protocol::http::{BodyError, Request, Response};

/// What lives at the operators' address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/healthz`: whether the loop turns.
    Healthz,
    /// `/readyz`: whether clients should be sent here.
    Readyz,
    /// `/metrics`: numbers for Prometheus.
    Metrics,
    /// `/rooms`: a list in JSON.
    Rooms,
    /// `/clients`: a list in JSON.
    Clients,
    /// `/publish` and `/publish/<room>`.
    Publish,
    /// Nothing.
    Unknown,
}

impl Route {
    /// All of them, in the order in which metrics list them.
    pub(in crate::hub) const ALL: [Self; 7] = [
        Self::Healthz,
        Self::Readyz,
        Self::Metrics,
        Self::Rooms,
        Self::Clients,
        Self::Publish,
        Self::Unknown,
    ];

    /// What metrics call it.
    pub(in crate::hub) const fn label(self) -> &'static str {
        match self {
            Self::Healthz => "healthz",
            Self::Readyz => "readyz",
            Self::Metrics => "metrics",
            Self::Rooms => "rooms",
            Self::Clients => "clients",
            Self::Publish => "publish",
            Self::Unknown => "unknown",
        }
    }

    /// What a path leads to. Behind `/publish` comes the room.
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            "/metrics" => Self::Metrics,
            "/rooms" => Self::Rooms,
            "/clients" => Self::Clients,
            _ if room_part(path).is_some() => Self::Publish,
            _ => Self::Unknown,
        }
    }

    /// Checks that a request may be made there.
    pub(super) fn check(self, request: &Request<'_>) -> Result<(), AdminError> {
        match (self, request.method()) {
            (Self::Unknown, _) => Err(AdminError::NotFound),
            (Self::Publish, "POST") => check_origin(request),
            // RFC 9110, section 9.3.2: HEAD is allowed where GET is.
            (Self::Publish, _) => Err(AdminError::NotPost),
            (_, "GET" | "HEAD") => Ok(()),
            _ => Err(AdminError::NotGet),
        }
    }
}

/// What names the room in a path that publishes: nothing, or `/` and its name.
pub(super) fn room_part(path: &str) -> Option<&str> {
    path.strip_prefix("/publish")
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A page that an operator looks at, wherever it came from, can make a browser POST to an address
/// that only the operator can reach. Browsers say so, and nobody else does.
fn check_origin(request: &Request<'_>) -> Result<(), AdminError> {
    match request.values("origin").next() {
        Some(_) => Err(AdminError::WebPage),
        None => Ok(()),
    }
}

/// A name that somebody else owns can be made to stand for this machine, so that a page of theirs,
/// in an operator's browser, reads what is answered here (DNS rebinding). So from this machine
/// itself it is asked by an address, or by a name that nobody can own: one without a dot.
pub(super) fn check_host(request: &Request<'_>, peer: Peer) -> Result<(), AdminError> {
    let is_local = |address: IpAddr| address.to_canonical().is_loopback();
    match peer {
        Peer::Inet(address) if is_local(address.ip()) => {}
        _ => return Ok(()),
    }
    let host = request.host();
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let is_owned = name.contains('.') && name.parse::<Ipv4Addr>().is_err();
    if is_owned && !host.starts_with('[') && !is_below_localhost(name) {
        return Err(AdminError::OtherHost);
    }
    Ok(())
}

/// RFC 6761, section 6.3.
fn is_below_localhost(name: &str) -> bool {
    let top = name.rsplit('.').next().unwrap_or_default();
    top.eq_ignore_ascii_case("localhost")
}

/// Why an operator's request is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdminError {
    /// The head is none, or whoever asks may not.
    Request(HandshakeError),
    /// The body is none.
    Body(BodyError),
    NotFound,
    NotGet,
    NotPost,
    WebPage,
    /// By a name that may be anybody's.
    OtherHost,
    /// A text that is not UTF-8.
    InvalidUtf8,
    /// Too much waits to be heard.
    Clogged,
    /// A parameter of a list that does not exist, or a value that it cannot have.
    InvalidQuery(&'static str),
}

impl From<HandshakeError> for AdminError {
    fn from(error: HandshakeError) -> Self {
        Self::Request(error)
    }
}

impl From<BodyError> for AdminError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl AdminError {
    /// The answer: one line that says why, never a word of the request's own.
    pub(super) fn response(self) -> Response {
        let (status, reason) = match self {
            Self::Request(error) => (error.status(), error.reason()),
            Self::Body(error) => (error.status(), error.reason()),
            Self::NotFound => (404, "not found"),
            Self::NotGet => (405, "only GET and HEAD are allowed"),
            Self::NotPost => (405, "only POST is allowed"),
            Self::WebPage => (403, "web pages may not publish"),
            Self::OtherHost => (421, "ask by an address, or by localhost"),
            Self::InvalidUtf8 => (400, "text that is not UTF-8"),
            Self::Clogged => (503, "too much waits to be heard"),
            Self::InvalidQuery(reason) => (400, reason),
        };
        let response = Response::text(status, format!("{reason}\n"));
        match self {
            // RFC 9110, section 15.5.6.
            Self::NotGet => response.field("Allow", "GET, HEAD"),
            Self::NotPost => response.field("Allow", "POST"),
            // What waits is heard in a moment, or it is dropped.
            Self::Clogged => response.field("Retry-After", "1"),
            // RFC 6750, section 3.
            _ if status == 401 => response.field("WWW-Authenticate", "Bearer"),
            _ => response,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> (Route, Result<(), AdminError>) {
        let head = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        let request = Request::parse(head.as_bytes()).unwrap();
        let route = Route::of(request.path());
        (route, route.check(&request))
    }

    #[test]
    fn labels_are_in_the_order_of_the_routes() {
        for (position, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, position, "{}", route.label());
        }
    }

    #[test]
    fn paths_lead_somewhere_or_nowhere() {
        for (line, route) in [
            ("GET /healthz", Route::Healthz),
            ("HEAD /readyz?x", Route::Readyz),
            ("GET /metrics", Route::Metrics),
            ("GET /rooms", Route::Rooms),
            ("GET /clients?limit=1", Route::Clients),
            ("POST /publish", Route::Publish),
            ("POST /publish/a/b", Route::Publish),
        ] {
            assert_eq!(check(line), (route, Ok(())), "{line}");
        }
        for path in [
            "/",
            "/metrics/",
            "/Metrics",
            "/publishx",
            "/ws",
            "/%6Detrics",
        ] {
            let nothing = (Route::Unknown, Err(AdminError::NotFound));
            assert_eq!(check(&format!("GET {path}")), nothing, "{path}");
            assert_eq!(check(&format!("POST {path}")), nothing, "{path}");
        }
    }

    #[test]
    fn methods_are_allowed_where_they_mean_something() {
        for line in [
            "POST /metrics",
            "PUT /rooms",
            "DELETE /clients",
            "get /healthz",
        ] {
            assert_eq!(check(line).1, Err(AdminError::NotGet), "{line}");
        }
        for line in ["GET /publish", "HEAD /publish/a", "PUT /publish"] {
            assert_eq!(check(line).1, Err(AdminError::NotPost), "{line}");
        }
    }

    #[test]
    fn a_browser_may_look_and_not_publish() {
        let check = |line: &str| {
            let head = format!("{line} HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n\r\n");
            let request = Request::parse(head.as_bytes()).unwrap();
            Route::of(request.path()).check(&request)
        };
        assert_eq!(check("POST /publish"), Err(AdminError::WebPage));
        assert_eq!(check("GET /clients"), Ok(()));
    }

    #[test]
    fn on_this_machine_a_name_that_somebody_may_own_is_none_of_ours() {
        let check = |host: &str, peer: Peer| {
            let head = format!("GET /clients HTTP/1.1\r\nHost: {host}\r\n\r\n");
            check_host(&Request::parse(head.as_bytes()).unwrap(), peer)
        };
        let inet = |address: &str| Peer::Inet((address.parse::<IpAddr>().unwrap(), 1).into());
        let local = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"].map(inet);
        for peer in local {
            for host in [
                "127.0.0.1",
                "127.0.0.1:9090",
                "10.0.0.1:9090",
                "[::1]",
                "[::ffff:127.0.0.1]:9090",
                "localhost:9090",
                "fanfare.LOCALHOST",
                "fanfare:9090",
            ] {
                assert_eq!(check(host, peer), Ok(()), "{host}");
            }
            for host in [
                "evil.example",
                "evil.example:9090",
                "localhost.evil.example",
                "127.0.0.1.evil.example:9090",
                "evil.",
                "127.0.0.1.",
            ] {
                assert_eq!(check(host, peer), Err(AdminError::OtherHost), "{host}");
            }
        }
        for peer in [inet("192.0.2.1"), inet("2001:db8::1"), Peer::Unix] {
            assert_eq!(check("fanfare.example:9090", peer), Ok(()));
        }
    }
}
