//! The opening handshake, server's side: RFC 6455, section 4.2.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest, Sha1};

use super::error::HandshakeError;
use super::http::{Request, Response};
use super::origin::OriginPattern;

/// The longest room name in bytes, after percent-decoding.
const MAX_ROOM: usize = 128;

/// RFC 6455, section 1.3: what the key is joined with.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Keys are 16 bytes, so their last character has four bits to spare. Clients exist that leave
/// some of them set, and nothing is gained by refusing those.
const KEY_ENCODING: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Which requests are upgraded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handshake {
    /// Where WebSockets live: `path` itself is one room, `path/<room>` are others. Default `/ws`.
    pub path: String,
    /// The origins that may connect. A request without `Origin` passes: only browsers send one.
    /// Default: same origin.
    pub allowed_origins: Vec<OriginPattern>,
    /// The subprotocols on offer, the preferred one first. Default none.
    pub subprotocols: Vec<String>,
}

impl Default for Handshake {
    fn default() -> Self {
        Self {
            path: "/ws".to_owned(),
            allowed_origins: vec![OriginPattern::SameOrigin],
            subprotocols: Vec::new(),
        }
    }
}

impl Handshake {
    /// Whether this path is one of ours, rather than plain HTTP's.
    pub fn owns(&self, path: &str) -> bool {
        self.room_part(path).is_some()
    }

    /// What follows our path: nothing, or `/` and the name of a room.
    fn room_part<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.path.as_str())
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Decides on a request: the upgrade that answers it, or why not.
    ///
    /// # Errors
    /// Each requirement of RFC 6455, section 4.2.1, has its variant.
    pub fn accept(&self, request: &Request<'_>) -> Result<Upgrade, HandshakeError> {
        // 1. Where to.
        let room = self
            .room_part(request.path())
            .ok_or(HandshakeError::NotFound)?;
        if request.method() != "GET" {
            return Err(HandshakeError::MethodNotAllowed);
        }
        let room = room_name(room)?;
        // 2. RFC 6455, section 4.2.1: Upgrade, Connection, version, key.
        let mut upgrades = request.list("upgrade");
        let mut connection = request.list("connection");
        if !upgrades.any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
            || !connection.any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        {
            return Err(HandshakeError::UpgradeRequired);
        }
        let version = request.value("sec-websocket-version", HandshakeError::RepeatedVersion)?;
        if version != Some(b"13") {
            return Err(HandshakeError::UnsupportedVersion);
        }
        let key = request
            .value("sec-websocket-key", HandshakeError::InvalidKey)?
            .filter(|key| is_key(key))
            .ok_or(HandshakeError::InvalidKey)?;
        // 3. RFC 6455, section 10.2: who sent the page that asks.
        if let Some(origin) = request.value("origin", HandshakeError::RepeatedOrigin)? {
            let host = request.host();
            if !self
                .allowed_origins
                .iter()
                .any(|pattern| pattern.allows(origin, host))
            {
                return Err(HandshakeError::OriginNotAllowed);
            }
        }
        Ok(Upgrade {
            room,
            subprotocol: self.choose_subprotocol(request),
            accept: accept(key),
        })
    }

    fn choose_subprotocol(&self, request: &Request<'_>) -> Option<String> {
        let is_offered = |name: &&String| {
            request
                .list("sec-websocket-protocol")
                .any(|offered| offered == name.as_bytes())
        };
        self.subprotocols.iter().find(is_offered).cloned()
    }
}

/// A request that is upgraded, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The room that the client asked for, decoded: at most 128 bytes without control characters;
    /// empty for the room at the path itself.
    pub room: String,
    /// The subprotocol that was chosen among the client's.
    pub subprotocol: Option<String>,
    accept: String,
}

impl Upgrade {
    /// The answer that opens the connection (RFC 6455, section 4.2.2).
    pub fn response(&self) -> Response {
        let response = Response::new(101)
            .field("Upgrade", "websocket")
            .field("Connection", "Upgrade")
            .field("Sec-WebSocket-Accept", self.accept.clone());
        match &self.subprotocol {
            Some(name) => response.field("Sec-WebSocket-Protocol", name.clone()),
            None => response,
        }
    }
}

/// Whether a key is 16 bytes of base64 (RFC 6455, section 4.2.1).
fn is_key(key: &[u8]) -> bool {
    let mut nonce = [0; 18];
    KEY_ENCODING.decode_slice(key, &mut nonce) == Ok(16)
}

/// `Sec-WebSocket-Accept` for a key (RFC 6455, section 4.2.2).
fn accept(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// The name of a room from what follows the path.
fn room_name(part: &str) -> Result<String, HandshakeError> {
    let Some(encoded) = part.strip_prefix('/') else {
        return Ok(String::new());
    };
    let mut name = Vec::new();
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        name.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                let value = high
                    .zip(low)
                    .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                value.ok_or(HandshakeError::InvalidRoom)?
            }
            byte => byte,
        });
    }
    if name.is_empty() || name.len() > MAX_ROOM {
        return Err(HandshakeError::InvalidRoom);
    }
    String::from_utf8(name)
        .ok()
        .filter(|name| !name.contains(char::is_control))
        .ok_or(HandshakeError::InvalidRoom)
}
