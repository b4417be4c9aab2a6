//! The opening handshake: never an upgrade of what a strict second look refuses.

use fanfare::protocol::http::Request;
use fanfare::{Handshake, HandshakeError, OriginPattern};

use super::http_head::{check_refusal, collect};
use super::plan::{Cuts, Plan};
use super::strict_request;

/// Errors that the strict look does not know of: names of rooms, and limits.
const OF_OUR_OWN: [HandshakeError; 2] = [HandshakeError::InvalidRoom, HandshakeError::HeadTooLarge];

/// Collects a head, whole and cut, and decides on the request.
pub fn run(bytes: &[u8]) {
    let (cuts, stream) = Plan::split_off_cuts(bytes);
    let whole = collect(stream, &Cuts::WHOLE);
    assert_eq!(collect(stream, &cuts), whole, "cut at {cuts:?}");
    let Ok(Some((head, _))) = whole else { return };
    let mut handshake = Handshake::default();
    handshake.subprotocols = vec!["chat.v2".to_owned(), "chat".to_owned()];

    // 1. Where pages of any origin are let in, both looks agree.
    handshake.allowed_origins = vec![OriginPattern::Any];
    let decision = decide(&handshake, &head);
    match (&decision, strict_request::refusal(&head)) {
        (Ok(upgrade), None) => assert!(is_room(upgrade)),
        (Ok(_), Some(why)) => panic!("upgraded, although {why}: {}", head.escape_ascii()),
        (Err(error), Some(_)) => check_refusal(*error),
        (Err(error), None) => {
            assert!(
                OF_OUR_OWN.contains(error),
                "{error:?}: {}",
                head.escape_ascii()
            );
        }
    }
    // 2. Where they are not, fewer requests are upgraded, and no other.
    handshake.allowed_origins = vec![OriginPattern::SameOrigin];
    match decide(&handshake, &head) {
        Err(HandshakeError::OriginNotAllowed) => assert!(decision.is_ok()),
        same => assert_eq!(same, decision),
    }
}

/// The room and the answer that a head gets, or why not.
fn decide(handshake: &Handshake, head: &[u8]) -> Result<(String, String), HandshakeError> {
    let upgrade = handshake.accept(&Request::parse(head)?)?;
    let mut answer = Vec::new();
    upgrade.response().encode(&mut answer);
    Ok((
        upgrade.room,
        String::from_utf8(answer).expect("we answer in ASCII"),
    ))
}

/// RFC 6455, section 4.2.2: what the answer holds; and a name that can be shown.
fn is_room((room, answer): &(String, String)) -> bool {
    let fields: Vec<&str> = answer.split("\r\n").collect();
    let [status, upgrade, connection, accept, rest @ ..] = &fields[..] else {
        return false;
    };
    let is_rest = match rest {
        ["", ""] => true,
        [protocol, "", ""] => protocol.starts_with("Sec-WebSocket-Protocol: chat"),
        _ => false,
    };
    *status == "HTTP/1.1 101 Switching Protocols"
        && *upgrade == "Upgrade: websocket"
        && *connection == "Connection: Upgrade"
        && accept
            .strip_prefix("Sec-WebSocket-Accept: ")
            .is_some_and(|value| value.len() == 28)
        && is_rest
        && room.len() <= 128
        && !room.contains(char::is_control)
}
