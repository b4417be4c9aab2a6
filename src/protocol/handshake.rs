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
    /// Where `WebSocket`s live: `path` itself is one room, `path/<room>` are others. Default `/ws`.
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
pub(crate) fn room_name(part: &str) -> Result<String, HandshakeError> {
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
    if name.is_empty() {
        return Err(HandshakeError::InvalidRoom);
    }
    String::from_utf8(name)
        .ok()
        .filter(|name| is_room_name(name))
        .ok_or(HandshakeError::InvalidRoom)
}

/// Whether a room may be called so. The default room has no name, which is one here.
pub(crate) fn is_room_name(name: &str) -> bool {
    name.len() <= MAX_ROOM && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 6455, section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    const VALID: [(&str, &str); 5] = [
        ("Host", "example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ];

    /// A valid request but for its first line, and for one field that has these lines instead.
    fn decide(
        handshake: &Handshake,
        request_line: &str,
        (name, values): (&str, &[&str]),
    ) -> Result<Upgrade, HandshakeError> {
        let mut head = format!("{request_line}\r\n");
        let others = VALID.iter().filter(|(field, _)| *field != name);
        for (field, value) in others
            .copied()
            .chain(values.iter().map(|value| (name, *value)))
        {
            head.extend([field, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        handshake.accept(&Request::parse(head.as_bytes())?)
    }

    fn with(name: &str, values: &[&str]) -> Result<Upgrade, HandshakeError> {
        decide(&Handshake::default(), "GET /ws HTTP/1.1", (name, values))
    }

    fn get(target: &str) -> Result<Upgrade, HandshakeError> {
        decide(
            &Handshake::default(),
            &format!("GET {target} HTTP/1.1"),
            ("X", &[]),
        )
    }

    fn room(target: &str) -> Result<String, HandshakeError> {
        get(target).map(|upgrade| upgrade.room)
    }

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 6455, section 1.3.
        assert_eq!(accept(KEY.as_bytes()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_answer_by_bytes() {
        // RFC 6455, section 4.2.2.
        let encode = |upgrade: Upgrade| {
            let mut output = Vec::new();
            upgrade.response().encode(&mut output);
            String::from_utf8(output).unwrap()
        };
        assert_eq!(
            encode(get("/ws").unwrap()),
            "HTTP/1.1 101 Switching Protocols\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             \r\n"
        );
        let handshake = Handshake {
            subprotocols: vec!["chat".to_owned()],
            ..Handshake::default()
        };
        let offer: &[&str] = &["superchat, chat"];
        let line = "GET /ws HTTP/1.1";
        let upgrade = decide(&handshake, line, ("Sec-WebSocket-Protocol", offer)).unwrap();
        assert!(
            encode(upgrade)
                .ends_with("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
        );
    }

    #[test]
    fn upgrade_and_connection_are_lists_in_any_case() {
        let accepted: [(&str, &[&str]); 7] = [
            ("Upgrade", &["WebSocket"]),
            ("Upgrade", &["h2c, WEBSOCKET"]),
            ("Upgrade", &["h2c", "websocket"]),
            ("Connection", &["upgrade"]),
            ("Connection", &["keep-alive, Upgrade"]),
            ("Connection", &["keep-alive", "UPGRADE"]),
            ("Connection", &[",,Upgrade ,"]),
        ];
        for (name, values) in accepted {
            assert!(with(name, values).is_ok(), "{name}: {values:?}");
        }
        let refused: [(&str, &[&str]); 9] = [
            ("Upgrade", &[]),
            ("Upgrade", &[""]),
            ("Upgrade", &["h2c"]),
            ("Upgrade", &["websocket/13"]),
            ("Upgrade", &["web socket"]),
            ("Connection", &[]),
            ("Connection", &["close"]),
            ("Connection", &["keep-alive; Upgrade"]),
            ("Connection", &["Upgraded"]),
        ];
        for (name, values) in refused {
            let decision = with(name, values);
            assert_eq!(
                decision,
                Err(HandshakeError::UpgradeRequired),
                "{name}: {values:?}"
            );
        }
    }

    #[test]
    fn only_version_13_is_spoken() {
        let version = |values: &[&str]| with("Sec-WebSocket-Version", values).err();
        assert_eq!(version(&[" 13\t"]), None);
        let unsupported: [&[&str]; 9] = [
            &[],
            &[""],
            &["8"],
            &["0"],
            &["14"],
            &["13, 8"],
            &["013"],
            &["+13"],
            &["13.0"],
        ];
        for values in unsupported {
            assert_eq!(
                version(values),
                Some(HandshakeError::UnsupportedVersion),
                "{values:?}"
            );
        }
        for values in [["13", "13"], ["13", "8"]] {
            assert_eq!(
                version(&values),
                Some(HandshakeError::RepeatedVersion),
                "{values:?}"
            );
        }
    }

    #[test]
    fn the_key_is_one_field_of_16_bytes_in_base64() {
        let key = |values: &[&str]| with("Sec-WebSocket-Key", values);
        for len in [0, 1, 15, 17, 18, 24, 1000] {
            let value = STANDARD.encode(vec![0xA5; len]);
            assert_eq!(
                key(&[&value]),
                Err(HandshakeError::InvalidKey),
                "{len} bytes"
            );
        }
        let invalid: [&[&str]; 11] = [
            &[],
            &[""],
            &[KEY, KEY],
            &["dGhlIHNhbXBsZSBub25jZQ"],
            &["dGhlIHNhbXBsZSBub25jZQ="],
            &["dGhlIHNhbXBsZSBub25jZQ==="],
            &["dGhlIHNhbXBsZSBu b25jZQ=="],
            &["dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="],
            &["dGhlIHNhbXBsZSBub25j*Q=="],
            // The alphabet of URLs, and a character that is no ASCII.
            &["dGhlIHNhbXBsZSBub25j-_=="],
            &["dGhlIHNhbXBsZSBub25j\u{e9}=="],
        ];
        for values in invalid {
            assert_eq!(key(values), Err(HandshakeError::InvalidKey), "{values:?}");
        }
        assert!(
            key(&[&format!("\t {KEY} ")]).is_ok(),
            "space around a value is not part of it"
        );
    }

    #[test]
    fn a_key_with_trailing_bits_is_hashed_as_it_was_sent() {
        // What is hashed is the text of the key and not its bytes (RFC 6455, section 4.2.2).
        let trailing = "dGhlIHNhbXBsZSBub25jZR==";
        let upgrade = with("Sec-WebSocket-Key", &[trailing]).unwrap();
        assert_eq!(upgrade.accept, accept(trailing.as_bytes()));
        assert_ne!(upgrade.accept, accept(KEY.as_bytes()));
    }

    #[test]
    fn the_origin_is_checked_where_there_is_one() {
        let decision = |allowed: &[&str], origins: &[&str]| {
            let allowed_origins = allowed.iter().map(|text| text.parse().unwrap()).collect();
            let handshake = Handshake {
                allowed_origins,
                ..Handshake::default()
            };
            decide(&handshake, "GET /ws HTTP/1.1", ("Origin", origins)).err()
        };
        let refused = Some(HandshakeError::OriginNotAllowed);
        let cases: [(&[&str], &[&str], Option<HandshakeError>); 12] = [
            (&["same-origin"], &[], None),
            (&[], &[], None),
            (&["same-origin"], &["https://example.com"], None),
            (&["same-origin"], &["http://EXAMPLE.com"], None),
            (&["same-origin"], &["https://evil.example"], refused),
            (&["same-origin"], &["null"], refused),
            (&["same-origin"], &[""], refused),
            (&[], &["https://example.com"], refused),
            (
                &["https://a.example", "https://b.example"],
                &["https://b.example"],
                None,
            ),
            (
                &["https://a.example", "https://b.example"],
                &["https://example.com"],
                refused,
            ),
            (&["*"], &["null"], None),
            (
                &["*"],
                &["https://example.com", "https://example.com"],
                Some(HandshakeError::RepeatedOrigin),
            ),
        ];
        for (allowed, origins, expected) in cases {
            assert_eq!(
                decision(allowed, origins),
                expected,
                "{allowed:?} {origins:?}"
            );
        }
    }

    #[test]
    fn an_absolute_target_names_the_origin_that_is_the_same() {
        let line = "GET http://other.example/ws HTTP/1.1";
        let decision = |origin| decide(&Handshake::default(), line, ("Origin", &[origin])).err();
        assert_eq!(decision("http://other.example"), None);
        assert_eq!(
            decision("http://example.com"),
            Some(HandshakeError::OriginNotAllowed)
        );
    }

    #[test]
    fn the_subprotocol_is_the_first_of_ours_that_is_offered() {
        let handshake = Handshake {
            subprotocols: ["v2", "v1"].map(str::to_owned).to_vec(),
            ..Handshake::default()
        };
        let cases: [(&[&str], Option<&str>); 8] = [
            (&[], None),
            (&[""], None),
            (&["v3"], None),
            (&["v1"], Some("v1")),
            (&["v1, v2"], Some("v2")),
            (&["v1", "v3,v2"], Some("v2")),
            (&["V2, v1"], Some("v1")),
            (&["v2 v1, v20"], None),
        ];
        for (offer, expected) in cases {
            let offer = ("Sec-WebSocket-Protocol", offer);
            let upgrade = decide(&handshake, "GET /ws HTTP/1.1", offer).unwrap();
            assert_eq!(upgrade.subprotocol.as_deref(), expected, "{offer:?}");
        }
        let none_of_ours = with("Sec-WebSocket-Protocol", &["v1"]).unwrap();
        assert_eq!(none_of_ours.subprotocol, None);
    }

    #[test]
    fn a_room_is_named_by_what_follows_the_path() {
        let long = "%61".repeat(MAX_ROOM);
        let cases = [
            ("/ws", ""),
            ("/ws?room=other", ""),
            ("/ws/lobby", "lobby"),
            ("/ws/lobby?a=%zz&b=/c", "lobby"),
            ("/ws/a/b", "a/b"),
            ("/ws/a%2Fb", "a/b"),
            ("/ws/a%2fb%20+c", "a/b +c"),
            ("/ws/a/", "a/"),
            ("/ws/%C3%A9%F0%90%8D%88", "\u{e9}\u{10348}"),
            ("/ws/%2541", "%41"),
            ("/ws/..", ".."),
            (&format!("/ws/{long}"), &"a".repeat(MAX_ROOM)),
        ];
        for (target, name) in cases {
            assert_eq!(room(target).as_deref(), Ok(name), "{target}");
        }
    }

    #[test]
    fn a_room_name_that_is_none_is_refused() {
        let long = format!("/ws/{}a", "%61".repeat(MAX_ROOM));
        for target in [
            "/ws/",
            "/ws/?q",
            "/ws/%00",
            "/ws/a%0A",
            "/ws/%7f",
            "/ws/%C2%85",
            "/ws/%",
            "/ws/%4",
            "/ws/%zz",
            "/ws/%+1",
            "/ws/%-1",
            "/ws/a%2",
            "/ws/%FF",
            "/ws/%C3",
            "/ws/%C0%AF",
            "/ws/%ED%A0%80",
            &long,
        ] {
            assert_eq!(room(target), Err(HandshakeError::InvalidRoom), "{target}");
        }
    }

    #[test]
    fn only_the_path_and_what_is_below_it_is_ours() {
        let handshake = Handshake::default();
        for path in ["/ws", "/ws/", "/ws/room"] {
            assert!(handshake.owns(path), "{path}");
        }
        for path in ["/", "/wsx", "/w", "/WS", "/w%73", "//ws", "/a/ws"] {
            assert!(!handshake.owns(path), "{path}");
            assert_eq!(get(path), Err(HandshakeError::NotFound), "{path}");
        }
        let elsewhere = Handshake {
            path: "/a/b".to_owned(),
            ..Handshake::default()
        };
        assert!(elsewhere.owns("/a/b/room") && !elsewhere.owns("/ws"));
    }

    #[test]
    fn only_get_is_upgraded() {
        for method in ["POST", "HEAD", "OPTIONS", "PUT", "get", "BREW"] {
            let decision = decide(
                &Handshake::default(),
                &format!("{method} /ws HTTP/1.1"),
                ("X", &[]),
            );
            assert_eq!(decision, Err(HandshakeError::MethodNotAllowed), "{method}");
        }
    }
}
