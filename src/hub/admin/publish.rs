//! Publishing over HTTP: from a request to what a room hears.

use std::time::Instant;

use super::connection::Publication;
use super::routes::{self, AdminError, Route};
use super::{is_last, json};
use crate::hub::client::{ClientId, Phase};
use crate::hub::handler::Handler;
use crate::hub::peer::Peer;
use crate::hub::{Hub, live};
use crate::protocol::http::{Body, BodyError, Framing, Request, expects_continue};
use crate::protocol::{HandshakeError, MessageKind, room_name};

/// From the end of a request's head to the end of its body, in handshake timeouts: 30 s unless they
/// are set. A trickle does not extend it.
const BODY_TIMEOUTS: u32 = 6;

/// RFC 9110, section 15.2.1.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Hub {
    /// Decides whether a message may be published, and reads it next.
    pub(super) fn admin_publication(
        &mut self,
        id: ClientId,
        request: &Request<'_>,
        is_all: bool,
        now: Instant,
        handler: &mut dyn Handler,
    ) -> Result<(), AdminError> {
        // 1. Where to, and who says so.
        Route::Publish.check(request)?;
        let framing = Framing::of(request)?;
        let part = routes::room_part(request.path()).unwrap_or_default();
        let room = room_name(part)?;
        let peer = self.peer(id).unwrap_or(Peer::Unix);
        let verdict = handler.on_publish(request, &room, peer);
        verdict.map_err(HandshakeError::from)?;
        // 2. How long it is. Before anything of it is read, or asked for.
        let framing = framing.ok_or(BodyError::LengthRequired)?;
        let body = Body::new(framing, self.config.limits.max_message_size)?;
        let expects = expects_continue(request)?;
        let deadline = now + self.config.handshake_timeout * BODY_TIMEOUTS;
        let Some(client) = live(&mut self.clients, id) else {
            return Ok(());
        };
        if let Phase::Admin(admin) = &mut client.phase {
            admin.expect_body(Publication {
                room,
                kind: kind(request),
                body,
                is_last: is_last(request),
            });
        }
        client.expect(deadline);
        self.arm(id, now);
        // RFC 9110, section 10.1.1: not to whoever has begun to send it.
        if expects && is_all && framing != Framing::Length(0) {
            self.tell_admin(id, CONTINUE);
        }
        Ok(())
    }

    pub(super) fn admin_publish(
        &mut self,
        id: ClientId,
        publication: Publication,
        body: Vec<u8>,
        now: Instant,
    ) {
        let Publication {
            room,
            kind,
            is_last,
            ..
        } = publication;
        if kind == MessageKind::Text && std::str::from_utf8(&body).is_err() {
            return self.refuse_admin(id, Route::Publish, AdminError::InvalidUtf8, now);
        }
        if self.supplement.is_clogged {
            // Clients are not even read. What follows is another request, so it may stay.
            let response = AdminError::Clogged.response();
            return self.answer_admin(id, Route::Publish, response, is_last, now);
        }
        let receivers = self.publish_payload(&room, kind, body.into());
        let status = if receivers == 0 { 202 } else { 201 };
        let response = json(status, format!("{{\"receivers\":{receivers}}}\n"));
        self.answer_admin(id, Route::Publish, response, is_last, now);
    }
}

/// What kind of message a body is, by its type.
fn kind(request: &Request<'_>) -> MessageKind {
    let value = request.values("content-type").next().unwrap_or_default();
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
    if essence
        .trim_ascii()
        .eq_ignore_ascii_case(b"application/octet-stream")
    {
        MessageKind::Binary
    } else {
        MessageKind::Text
    }
}
