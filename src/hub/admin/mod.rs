//! Seeing and driving it: plain HTTP for operators, on connections of their own.
//!
//! They live in the table of clients, so that the driver reads, writes and closes them like those,
//! and are none: they count nowhere among clients, and hear no room. Requests of one connection are
//! answered in their order; while an answer is written nothing more is read.

mod connection;
mod json;
mod lists;
mod publish;
mod routes;
mod supplement;

use std::time::{Duration, Instant};

pub(in crate::hub) use connection::AdminConnection;
use connection::{Arrived, Progress};
pub(in crate::hub) use lists::MAX_LIST_BYTES;
use routes::AdminError;
pub use routes::Route;
pub use supplement::Supplement;

use super::client::{Client, ClientId, Phase};
use super::disconnect::Disconnect;
use super::handler::Handler;
use super::peer::Peer;
use super::{Hub, Refusal, live};
use crate::protocol::http::{BodyError, Framing, Request, Response};
use crate::protocol::{HandshakeError, Input};

/// Connections of operators at once; more are closed.
pub const MAX_ADMIN: usize = 32;

/// How long an operator's connection may be idle between two requests, and how long the answer to
/// one may take to be written. Longer than most monitoring systems wait between two looks.
pub(in crate::hub) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Hub {
    /// Takes in a connection to the operators' address.
    ///
    /// # Errors
    /// The driver should close the connection at once.
    ///
    /// # Panics
    /// If there are 2^32 clients.
    pub fn accept_admin(&mut self, peer: Peer, now: Instant) -> Result<ClientId, Refusal> {
        if self.admin_count >= MAX_ADMIN {
            return Err(Refusal::Full);
        }
        let id = self.next_id();
        self.clients
            .insert(Client::admin(id, peer, &self.config, now));
        self.admin_count += 1;
        self.arm(id, now);
        Ok(id)
    }

    /// Connections of operators at the moment.
    pub fn admin_count(&self) -> usize {
        self.admin_count
    }

    /// Goes on with what an operator has said already. Returns whether the driver may read more
    /// from the connection; if not, it should ask again when what is owed has been written. For
    /// those of [`accept_admin`](Self::accept_admin); clients may always be read.
    pub fn resume(&mut self, id: ClientId, now: Instant, handler: &mut dyn Handler) -> bool {
        let Some(client) = live(&mut self.clients, id) else {
            return true;
        };
        let Phase::Admin(admin) = &mut client.phase else {
            return true;
        };
        let (mut held, from) = admin.take_held();
        if client.output_ended {
            // Nobody would hear the answers; the end of the input says the rest.
            return true;
        }
        let mut input = Input::new(&mut held[from..]);
        self.serve_admin(id, &mut input, now, handler);
        let left = input.len();
        let Some(client) = live(&mut self.clients, id) else {
            return true;
        };
        let Phase::Admin(admin) = &mut client.phase else {
            return true;
        };
        let len = held.len();
        admin.put_held(held, len - left);
        client.outgoing.is_empty()
    }

    /// What [`flushed`](Self::flushed) is for clients. That one is called for every client that is
    /// told something, and should not have to ask what it is.
    #[must_use]
    pub fn flushed_admin(
        &mut self,
        id: ClientId,
        written: usize,
        blocked: bool,
        now: Instant,
    ) -> bool {
        if live(&mut self.clients, id).is_none() {
            return false;
        }
        let ends_now = self.flushed(id, written, blocked, now);
        // It was counted as if a client had heard it.
        self.metrics.bytes_sent -= written as u64;
        ends_now
    }

    /// Reads what has just arrived from an operator, and keeps what has to wait.
    pub(super) fn receive_admin(
        &mut self,
        id: ClientId,
        input: &mut Input<'_>,
        now: Instant,
        handler: &mut dyn Handler,
    ) {
        let has_held = |client: &Client| match &client.phase {
            Phase::Admin(admin) => admin.has_held(),
            _ => false,
        };
        if !live(&mut self.clients, id).is_some_and(|client| has_held(client)) {
            self.serve_admin(id, input, now, handler);
        }
        let Some(client) = live(&mut self.clients, id) else {
            return;
        };
        let Phase::Admin(admin) = &mut client.phase else {
            return;
        };
        if !admin.hold(input.take_all()) {
            // The driver was to wait.
            self.doom(id, Disconnect::Flood);
        }
    }

    /// Serves requests until the input is used up or an answer is to be written.
    fn serve_admin(
        &mut self,
        id: ClientId,
        input: &mut Input<'_>,
        now: Instant,
        handler: &mut dyn Handler,
    ) {
        loop {
            let Some(client) = live(&mut self.clients, id) else {
                return;
            };
            let Phase::Admin(admin) = &mut client.phase else {
                return;
            };
            if !client.outgoing.is_empty() {
                return;
            }
            let was_idle = admin.progress() == Progress::Idle;
            match admin.receive(input) {
                Arrived::Nothing => {
                    if was_idle && admin.progress() == Progress::Head {
                        client.expect(now + self.config.handshake_timeout);
                        self.arm(id, now);
                    }
                    return;
                }
                Arrived::Head(head) => {
                    let is_all = input.is_empty();
                    self.admin_request(id, &head, is_all, now, handler);
                }
                Arrived::NoHead(error) => {
                    self.refuse_admin(id, Route::Unknown, error.into(), now);
                }
                Arrived::Body(publication, body) => {
                    self.admin_publish(id, publication, body, now);
                }
                Arrived::NoBody(error) => {
                    self.refuse_admin(id, Route::Publish, error.into(), now);
                }
            }
        }
    }

    /// Answers a request, or asks for its body. `is_all` tells that nothing follows the head yet.
    fn admin_request(
        &mut self,
        id: ClientId,
        head: &[u8],
        is_all: bool,
        now: Instant,
        handler: &mut dyn Handler,
    ) {
        let request = match Request::parse_with_body(head) {
            Ok(request) => request,
            Err(error) => return self.refuse_admin(id, Route::Unknown, error.into(), now),
        };
        let route = Route::of(request.path());
        let peer = self.peer(id).unwrap_or(Peer::Unix);
        let is_ours = routes::check_host(&request, peer);
        let done = is_ours.and_then(|()| match route {
            Route::Publish => self.admin_publication(id, &request, is_all, now, handler),
            _ => self.admin_answer(id, route, &request, now),
        });
        if let Err(error) = done {
            let response = for_method(error.response(), &request);
            self.answer_admin(id, route, response, true, now);
        }
    }

    /// Answers a request that only wants to know something.
    fn admin_answer(
        &mut self,
        id: ClientId,
        route: Route,
        request: &Request<'_>,
        now: Instant,
    ) -> Result<(), AdminError> {
        route.check(request)?;
        let framing = Framing::of(request)?;
        let response = match route {
            Route::Healthz => Response::text(200, format!("ok\n{}", self.supplement.health)),
            Route::Readyz => match self.unready(request.query()) {
                None => Response::text(200, "ready\n"),
                Some(why) => Response::text(503, format!("{why}\n")),
            },
            Route::Metrics => {
                let mut text = String::new();
                self.write_metrics(&mut text);
                text.push_str(&self.supplement.metrics);
                Response::new(200).body(TEXT_FORMAT, text.into_bytes().into())
            }
            Route::Rooms => json(200, self.list_rooms(request.query())?),
            Route::Clients => json(200, self.list_clients(request.query(), now)?),
            Route::Publish | Route::Unknown => return Err(AdminError::NotFound),
        };
        let response = for_method(response, request);
        // A body that nobody wants is not read, so nobody knows what follows it.
        let has_body = !matches!(framing, None | Some(Framing::Length(0)));
        self.answer_admin(id, route, response, has_body || is_last(request), now);
        Ok(())
    }

    /// Refuses a request, and ends the connection: what follows may be anything.
    fn refuse_admin(&mut self, id: ClientId, route: Route, error: AdminError, now: Instant) {
        self.answer_admin(id, route, error.response(), true, now);
    }

    fn answer_admin(
        &mut self,
        id: ClientId,
        route: Route,
        response: Response,
        is_last: bool,
        now: Instant,
    ) {
        self.metrics.count_admin_request(route, response.status());
        let is_last = is_last || self.is_draining();
        let mut response = response.field("Cache-Control", "no-store");
        if is_last {
            response = response.field("Connection", "close");
        }
        let mut bytes = Vec::new();
        response.encode(&mut bytes);
        self.tell_admin(id, &bytes);
        if is_last {
            return self.last_word(id, b"", Phase::Lingering, Disconnect::Answered, now);
        }
        if let Some(client) = self.client_mut(id) {
            client.expect(now + IDLE_TIMEOUT);
            self.arm(id, now);
        }
    }

    /// Queues an answer: whatever clients may be owed, this one is bounded by itself, and by being
    /// the only one.
    fn tell_admin(&mut self, id: ClientId, bytes: &[u8]) {
        let Some(client) = live(&mut self.clients, id) else {
            return;
        };
        let said = client.outgoing.say([bytes, b""], 0, usize::MAX);
        debug_assert!(said.is_ok(), "there is no limit to exceed");
        self.dirty.name(client);
        self.said += bytes.len();
    }

    /// An operator's deadline has come.
    pub(super) fn admin_due(&mut self, id: ClientId, now: Instant) {
        let Some(client) = live(&mut self.clients, id) else {
            return;
        };
        let Phase::Admin(admin) = &client.phase else {
            return;
        };
        if !client.outgoing.is_empty() {
            return self.doom(id, Disconnect::TooSlow);
        }
        match admin.progress() {
            // Nothing was asked, so nothing is answered.
            Progress::Idle => {
                self.last_word(id, b"", Phase::Lingering, Disconnect::TimedOut, now);
            }
            Progress::Head => {
                let error = HandshakeError::TimedOut.into();
                self.refuse_admin(id, Route::Unknown, error, now);
            }
            Progress::Body => {
                self.refuse_admin(id, Route::Publish, BodyError::TimedOut.into(), now);
            }
        }
    }
}

fn json(status: u16, text: String) -> Response {
    Response::new(status).body("application/json", text.into_bytes().into())
}

/// RFC 9110, section 9.3.2: the answer to HEAD has no body.
fn for_method(response: Response, request: &Request<'_>) -> Response {
    if request.method() == "HEAD" {
        response.without_body()
    } else {
        response
    }
}

/// Whether a client wants the connection to end behind the answer (RFC 9112, section 9.6).
fn is_last(request: &Request<'_>) -> bool {
    let mut options = request.list("connection");
    options.any(|option| option.eq_ignore_ascii_case(b"close"))
}
