//! The policy, from files to decisions.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::tokens::written_hash;
use super::*;

const NOW: u64 = 1_800_000_000;
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A file for one test, which goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("fanfare-access-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Which credentials there are.
#[derive(Clone, Copy, PartialEq)]
enum Checked {
    Nothing,
    Tokens,
    Tickets,
    Both,
}

/// The secret of a token is its role.
fn access(test: &str, publish: Publish, checked: Checked) -> Access {
    let line = |role: &str| {
        format!(
            "{role}r {role} news,.,a/* {}\n",
            written_hash(role.as_bytes())
        )
    };
    let lines: String = ["subscribe", "publish", "both"]
        .into_iter()
        .map(line)
        .collect();
    let tokens = Scratch::new(&format!("{test}-tokens"), &lines);
    let key = Scratch::new(&format!("{test}-key"), &format!("{KEY}\n"));
    let mut settings = AccessSettings {
        publish,
        subprotocols: vec!["chat".to_owned()],
        ..AccessSettings::default()
    };
    if matches!(checked, Checked::Tokens | Checked::Both) {
        settings.tokens = Some(tokens.0.clone());
    }
    if matches!(checked, Checked::Tickets | Checked::Both) {
        settings.ticket_key = Some(key.0.clone());
    }
    Access::load(&settings).unwrap()
}

fn ticket(room: &str, expiry: u64, role: &str) -> String {
    let said = format!("{}.{expiry}.{role}", URL_SAFE_NO_PAD.encode(room));
    let mut hmac: Hmac<Sha256> = Hmac::new_from_slice(KEY.as_bytes()).unwrap();
    hmac.update(said.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac.finalize().into_bytes());
    format!("{said}.{signature}")
}

/// The request that shows this credential, or none.
fn head(credential: Option<&str>) -> String {
    let field = credential.map_or(String::new(), |secret| {
        format!("Authorization: Bearer {secret}\r\n")
    });
    format!("GET /ws HTTP/1.1\r\nHost: a\r\n{field}\r\n")
}

fn admit(access: &Access, head: &str, room: &str) -> Result<Admission, Rejection> {
    let request = Request::parse(head.as_bytes()).unwrap();
    access
        .admit(&request, room, NOW)
        .map(|(admission, _)| admission)
}

/// Whether one may listen, and publish as well.
fn may(access: &Access, credential: Option<&str>, room: &str) -> Result<bool, Rejection> {
    admit(access, &head(credential), room).map(|admission| admission.may_publish)
}

fn permit(access: &Access, credential: Option<&str>, room: &str) -> Result<(), Rejection> {
    let head = head(credential);
    let request = Request::parse(head.as_bytes()).unwrap();
    access.permit(&request, room, NOW).map(|_| ())
}

#[test]
fn without_credentials_the_rule_is_the_same_for_all() {
    for (publish, may_publish) in [(Publish::Any, true), (Publish::None, false)] {
        let access = access("without", publish, Checked::Nothing);
        assert_eq!(may(&access, None, "news"), Ok(may_publish));
        assert_eq!(
            may(&access, Some("whatever"), ""),
            Ok(may_publish),
            "not looked at"
        );
        assert_eq!(permit(&access, None, "news"), Ok(()));
    }
}

#[test]
fn where_credentials_are_checked_everybody_needs_one() {
    use Rejection::{Forbidden, InvalidCredential, Unauthorized};

    for checked in [Checked::Tokens, Checked::Tickets, Checked::Both] {
        for (publish, may_publish) in [(Publish::Any, true), (Publish::None, false)] {
            let access = access("checked", publish, checked);
            assert_eq!(may(&access, None, "news"), Err(Unauthorized));
            for secret in ["", "x", "Both", "publishr"] {
                assert_eq!(may(&access, Some(secret), "news"), Err(InvalidCredential));
            }
            for (role, allowed) in [
                ("subscribe", Ok(false)),
                ("both", Ok(may_publish)),
                // Who is in a room hears it.
                ("publish", Err(Forbidden)),
            ] {
                let is_known = checked != Checked::Tickets;
                let expected = if is_known {
                    allowed
                } else {
                    Err(InvalidCredential)
                };
                assert_eq!(may(&access, Some(role), "news"), expected, "{role}");
                let is_known = checked != Checked::Tokens;
                let expected = if is_known {
                    allowed
                } else {
                    Err(InvalidCredential)
                };
                let ticket = ticket("news", NOW + 9, role);
                assert_eq!(may(&access, Some(&ticket), "news"), expected, "{role}");
            }
        }
    }
}

#[test]
fn publishing_with_a_token_leaves_listening_free() {
    use Rejection::{Forbidden, InvalidCredential};

    let access = access("token", Publish::Token, Checked::Both);
    assert_eq!(may(&access, None, "news"), Ok(false));
    assert_eq!(may(&access, None, "elsewhere"), Ok(false));
    for (role, may_publish) in [("subscribe", false), ("publish", true), ("both", true)] {
        assert_eq!(may(&access, Some(role), "news"), Ok(may_publish), "{role}");
        let ticket = ticket("news", NOW + 9, role);
        assert_eq!(
            may(&access, Some(&ticket), "news"),
            Ok(may_publish),
            "{role}"
        );
        // Whoever shows a credential is judged by it.
        assert_eq!(may(&access, Some(role), "elsewhere"), Err(Forbidden));
        assert_eq!(may(&access, Some(&ticket), "elsewhere"), Err(Forbidden));
    }
    assert_eq!(may(&access, Some("x"), "news"), Err(InvalidCredential));
    let expired = ticket("news", NOW, "both");
    assert_eq!(may(&access, Some(&expired), "news"), Err(InvalidCredential));
}

#[test]
fn a_credential_is_for_its_rooms() {
    let access = access("rooms", Publish::Any, Checked::Both);
    for (room, allowed) in [
        ("news", Ok(true)),
        ("", Ok(true)),
        ("a/b", Ok(true)),
        ("a", Err(Rejection::Forbidden)),
        ("news/a", Err(Rejection::Forbidden)),
    ] {
        assert_eq!(may(&access, Some("both"), room), allowed, "{room}");
        let own = ticket(room, NOW + 9, "both");
        assert_eq!(may(&access, Some(&own), room), Ok(true), "{room}");
        // A ticket is for one room, and no pattern.
        for other in ["*", "a/*", "."] {
            let other = ticket(other, NOW + 9, "both");
            assert_eq!(may(&access, Some(&other), room), Err(Rejection::Forbidden));
        }
    }
}

#[test]
fn only_tickets_end() {
    let access = access("ends", Publish::Any, Checked::Both);
    let valid_for = |credential: &str| {
        let admission = admit(&access, &head(Some(credential)), "news").unwrap();
        admission.valid_for
    };
    assert_eq!(valid_for("both"), None);
    let seconds = Some(Duration::from_secs(9));
    assert_eq!(valid_for(&ticket("news", NOW + 9, "subscribe")), seconds);
}

#[test]
fn bearer_is_answered_if_nothing_better_was_offered() {
    let access = access("answer", Publish::Any, Checked::Tokens);
    for (fields, answer) in [
        ("Sec-WebSocket-Protocol: bearer, both", Some("bearer")),
        ("Sec-WebSocket-Protocol: bearer, both, v2", Some("bearer")),
        ("Sec-WebSocket-Protocol: bearer, both, chat", None),
        ("Sec-WebSocket-Protocol: chat, bearer, both", None),
        ("Authorization: Bearer both", None),
    ] {
        let head = format!("GET /ws HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        let admission = admit(&access, &head, "news").unwrap();
        assert_eq!(admission.subprotocol.as_deref(), answer, "{fields}");
    }
}

#[test]
fn publishing_over_http_needs_a_token_where_there_are_tokens() {
    use Rejection::{Forbidden, InvalidCredential, Unauthorized};

    for publish in [Publish::Any, Publish::Token, Publish::None] {
        let both = access("http", publish, Checked::Both);
        assert_eq!(permit(&both, None, "news"), Err(Unauthorized));
        assert_eq!(permit(&both, Some("x"), "news"), Err(InvalidCredential));
        assert_eq!(permit(&both, Some("subscribe"), "news"), Err(Forbidden));
        assert_eq!(permit(&both, Some("publish"), "elsewhere"), Err(Forbidden));
        for role in ["publish", "both"] {
            assert_eq!(permit(&both, Some(role), "news"), Ok(()));
            assert_eq!(
                permit(&both, Some(&ticket("news", NOW + 1, role)), "news"),
                Ok(())
            );
        }
        let tickets = access("http", publish, Checked::Tickets);
        assert_eq!(permit(&tickets, None, "news"), Ok(()));
    }
}

#[test]
fn what_cannot_be_loaded_is_named_without_its_contents() {
    let load = |change: &dyn Fn(&mut AccessSettings)| {
        let mut settings = AccessSettings::default();
        change(&mut settings);
        Access::load(&settings).map(|_| ()).unwrap_err()
    };
    assert_eq!(
        load(&|settings| settings.publish = Publish::Token),
        "--publish token needs --tokens or --ticket-key"
    );
    let hash = written_hash(b"x");
    let bad = Scratch::new("bad", &format!("# who\nalice nobody * {hash}\n"));
    let said = load(&|settings| settings.tokens = Some(bad.0.clone()));
    let place = format!("--tokens: {}:2: the role is none of", bad.0.display());
    assert!(said.starts_with(&place), "{said}");
    assert!(!said.contains(&hash[7..]), "{said}");
    let short = Scratch::new("short", "guess me\n");
    let said = load(&|settings| settings.ticket_key = Some(short.0.clone()));
    assert!(
        said.starts_with("--ticket-key: ") && !said.contains("guess"),
        "{said}"
    );
    let long = Scratch::new("long", &"#".repeat((1 << 20) + 1));
    let said = load(&|settings| settings.tokens = Some(long.0.clone()));
    assert!(said.ends_with("longer than 1048576 bytes"), "{said}");
    let missing = PathBuf::from("/nonexistent/tokens");
    let said = load(&|settings| settings.tokens = Some(missing.clone()));
    assert!(
        said.starts_with("--tokens: /nonexistent/tokens: "),
        "{said}"
    );
}

#[test]
fn nothing_that_is_loaded_can_be_logged() {
    let access = access("debug", Publish::Any, Checked::Both);
    let shown = format!("{access:?}");
    assert!(
        shown.contains("Keyring") && !shown.contains("sha256"),
        "{shown}"
    );
    assert!(
        !shown.contains(KEY) && !shown.contains("subscribe"),
        "{shown}"
    );
}
