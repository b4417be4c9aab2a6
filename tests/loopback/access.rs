//! Who may do what, by the flags of the binary.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::binary::Process;
use crate::peer::{CLOSE, PING, PONG, Peer, close_payload, upgrade_with};
use crate::scratch::Scratch;

const NOT_ALLOWED: &str = "publishing is not allowed here";
const KEY: &str = "a-key-of-forty-characters-for-the-tests";

/// Makes a token: its line, and its secret.
fn token(name: &str, role: &str, rooms: &str) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fanfare"))
        .args(["token", name, "--role", role, "--rooms", rooms])
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(0));
    let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
    let (line, told) = (text(output.stdout), text(output.stderr));
    let secret = told.split_whitespace().last().expect("a secret");
    (line, secret.to_owned())
}

/// A ticket for so many seconds from now on; for less than none, if negative.
fn ticket(room: &str, seconds: i64, role: &str) -> String {
    let expiry = now().saturating_add_signed(seconds);
    let said = format!("{}.{expiry}.{role}", URL_SAFE_NO_PAD.encode(room));
    let mut hmac: Hmac<Sha256> = Hmac::new_from_slice(KEY.as_bytes()).expect("any key will do");
    hmac.update(said.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac.finalize().into_bytes());
    format!("{said}.{signature}")
}

#[expect(clippy::disallowed_methods, reason = "a ticket names a date")]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("it is later than 1970").as_secs()
}

fn bearer(secret: &str) -> String {
    format!("Authorization: Bearer {secret}\r\n")
}

fn pair(secret: &str) -> String {
    format!("Sec-WebSocket-Protocol: bearer, {secret}\r\n")
}

/// Asks with these fields, and returns the head of the answer.
fn ask(address: SocketAddr, path: &str, fields: &str) -> (Peer, String) {
    let mut peer = Peer::connect(address);
    peer.send(upgrade_with(path, fields));
    let head = peer.read_head();
    (peer, head)
}

fn admitted(address: SocketAddr, path: &str, fields: &str) -> Peer {
    let (peer, head) = ask(address, path, fields);
    assert!(head.starts_with("HTTP/1.1 101 "), "{path} {fields}: {head}");
    peer
}

/// Is refused with this status, and this challenge.
fn check_refused(address: SocketAddr, path: &str, fields: &str, status: u16, challenge: &str) {
    let (mut peer, head) = ask(address, path, fields);
    let expected = format!("HTTP/1.1 {status} ");
    assert!(head.starts_with(&expected), "{path} {fields}: {head}");
    let expected = format!("\r\nWWW-Authenticate: {challenge}\r\n");
    assert!(head.contains(&expected), "{path} {fields}: {head}");
    peer.read_to_end();
}

/// Whoever may only listen: hears, answers Pings, and is closed with the first message.
fn check_listens_only(mut peer: Peer) {
    peer.send_frame(PING, "there?");
    peer.expect_frame(PONG, "there?");
    peer.send_text("let me say something");
    assert_eq!(peer.expect_close(1008), NOT_ALLOWED);
    peer.expect_end();
}

#[test]
fn a_token_is_taken_wherever_it_may_be_shown_and_never_logged() {
    let (line, secret) = token("alice", "both", "news/*,.");
    let tokens = Scratch::new("access-shown", format!("# people\n{line}"));
    let arguments = ["-vv", "--tokens", tokens.path()];
    let (mut strict, address) = Process::serve("", &arguments);
    let query = format!("/ws/news/a?token={secret}");
    // 1. Where it may be shown.
    admitted(address, "/ws", &bearer(&secret)).check_echo();
    admitted(address, "/ws/news/a", &bearer(&secret)).check_echo();
    let (mut browser, head) = ask(address, "/ws", &pair(&secret));
    assert!(
        head.contains("\r\nSec-WebSocket-Protocol: bearer\r\n"),
        "{head}"
    );
    browser.check_echo();
    drop(browser);
    // 2. Where it may not, or does not suffice.
    check_refused(address, "/ws", "", 401, "Bearer");
    check_refused(address, &query, "", 401, "Bearer");
    let invalid = "Bearer error=\"invalid_token\"";
    check_refused(address, "/ws", &bearer(&secret[1..]), 401, invalid);
    check_refused(address, "/ws", &pair("nonsense"), 401, invalid);
    let insufficient = "Bearer error=\"insufficient_scope\"";
    check_refused(address, "/ws/news", &bearer(&secret), 403, insufficient);
    let two = bearer("other") + &pair(&secret);
    check_refused(
        address,
        "/ws",
        &two,
        400,
        "Bearer error=\"invalid_request\"",
    );
    // 3. The query, if it may.
    let arguments = [&arguments[..], &["--token-in-query"]].concat();
    let (mut lenient, address) = Process::serve("", &arguments);
    admitted(address, &query, "").check_echo();
    check_refused(address, "/ws?token=nonsense", "", 401, invalid);
    // 4. The log says who came, and not by what.
    let hash = line.split("sha256:").nth(1).expect("a hash").trim();
    for process in [&mut strict, &mut lenient] {
        process.line("as=alice");
        process.stop();
        for line in &process.lines {
            let tells = [&secret[1..], "nonsense", "token=", "Bearer", hash];
            let told = tells.iter().find(|secret| line.contains(**secret));
            assert_eq!(told, None, "{line}");
        }
    }
}

#[test]
fn the_own_subprotocol_is_answered_before_bearer() {
    let (line, secret) = token("alice", "both", "*");
    let tokens = Scratch::new("access-own", line);
    let arguments = ["--tokens", tokens.path(), "--subprotocol", "chat"];
    let (_process, address) = Process::serve("", &arguments);
    for (offer, answer) in [("", "bearer"), (", chat", "chat"), (", other", "bearer")] {
        let offer = format!("Sec-WebSocket-Protocol: bearer, {secret}{offer}\r\n");
        let (mut peer, head) = ask(address, "/ws", &offer);
        let answer = format!("\r\nSec-WebSocket-Protocol: {answer}\r\n");
        assert!(head.contains(&answer), "{offer}: {head}");
        peer.check_echo();
    }
}

#[test]
fn roles_hold_where_everybody_needs_a_credential() {
    let [listener, sender] = ["subscribe", "publish"].map(|role| token(role, role, "*"));
    let tokens = Scratch::new("access-roles", listener.0.clone() + &sender.0);
    let (_process, address) = Process::serve("", &["--tokens", tokens.path()]);
    check_listens_only(admitted(address, "/ws", &bearer(&listener.1)));
    // Who is in a room hears it.
    let insufficient = "Bearer error=\"insufficient_scope\"";
    check_refused(address, "/ws", &bearer(&sender.1), 403, insufficient);
}

#[test]
fn with_publish_none_clients_listen() {
    let (mut process, address) = Process::serve("", &["-v", "--publish", "none"]);
    let mut witness = Peer::open(address, "/ws");
    check_listens_only(Peer::open(address, "/ws"));
    process.line("cause=not_allowed");
    // A large message is refused before it has come.
    let mut peer = Peer::open(address, "/ws");
    peer.send([&[0x82, 0xFF][..], &60_000_u64.to_be_bytes()[..]].concat());
    // RFC 6455, section 5.2: that length has a shorter form.
    peer.expect_close(1002);
    drop(peer);
    let mut peer = Peer::open(address, "/ws");
    peer.send([0x82, 0xFE, 0xEA, 0x60, 1, 2, 3, 4]);
    assert_eq!(peer.expect_close(1008), NOT_ALLOWED);
    // Nobody has heard anything of it.
    witness.send_frame(CLOSE, close_payload(1000, ""));
    witness.expect_close(1000);
    drop((witness, peer));
    process.stop();
}

#[test]
fn with_publish_token_everybody_listens_and_some_speak() {
    let (line, secret) = token("feed", "publish", "news");
    let tokens = Scratch::new("access-token", line);
    let arguments = ["--publish", "token", "--tokens", tokens.path()];
    let (_process, address) = Process::serve("", &arguments);
    let mut listener = Peer::open(address, "/ws/news");
    let mut feed = admitted(address, "/ws/news", &bearer(&secret));
    feed.send_text("it is news");
    feed.expect_text("it is news");
    listener.expect_text("it is news");
    check_listens_only(listener);
    check_listens_only(Peer::open(address, "/ws/elsewhere"));
    // Whoever shows a credential is judged by it.
    let invalid = "Bearer error=\"invalid_token\"";
    check_refused(address, "/ws/news", &bearer("x"), 401, invalid);
    let insufficient = "Bearer error=\"insufficient_scope\"";
    check_refused(
        address,
        "/ws/elsewhere",
        &bearer(&secret),
        403,
        insufficient,
    );
}

#[test]
fn a_rejection_by_close_can_be_seen_behind_the_upgrade() {
    let (line, _) = token("alice", "both", "*");
    let tokens = Scratch::new("access-close", line);
    let arguments = ["-v", "--reject-with", "close", "--tokens", tokens.path()];
    let (process, address) = Process::serve("", &arguments);
    for (fields, answered, reason) in [
        (String::new(), false, "a credential is required"),
        (
            pair("x"),
            true,
            "the credential is not valid, or has expired",
        ),
        (
            bearer("x"),
            false,
            "the credential is not valid, or has expired",
        ),
    ] {
        let (mut peer, head) = ask(address, "/ws", &fields);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        // A browser would fail the connection if its offer was not answered.
        let is_answered = head.contains("\r\nSec-WebSocket-Protocol: bearer\r\n");
        assert_eq!(is_answered, answered, "{head}");
        assert_eq!(peer.expect_close(1008), reason);
        peer.send_text("what?");
        peer.send_frame(CLOSE, close_payload(1008, ""));
        peer.expect_end();
        drop(peer);
        process.line("cause=refused");
    }
    // What is no upgrade has a status in any case.
    let mut peer = Peer::connect(address);
    peer.send("GET /ws HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(peer.read_head().starts_with("HTTP/1.1 426 "));
}

#[test]
fn a_connection_ends_with_its_ticket() {
    let key = Scratch::new("access-ticket", format!("{KEY}\n"));
    let arguments = ["-vv", "--ticket-key", key.path()];
    let (mut process, address) = Process::serve("", &arguments);
    let path = "/ws/news%2Fa.b%20%C3%A9";
    let room = "news/a.b é";
    let lasting = ticket(room, 3600, "both");
    let short = ticket(room, 2, "both");
    let mut stays = admitted(address, path, &pair(&lasting));
    let mut goes = admitted(address, path, &bearer(&short));
    goes.send_text("as long as it lasts");
    for peer in [&mut stays, &mut goes] {
        peer.expect_text("as long as it lasts");
    }
    assert_eq!(goes.expect_close(1008), "credential expired");
    goes.send_frame(CLOSE, close_payload(1008, ""));
    goes.expect_end();
    drop(goes);
    process.line("cause=expired");
    stays.check_echo();
    drop(stays);
    // It opens nothing any more; nor does one for another room, or one that was forged.
    let invalid = "Bearer error=\"invalid_token\"";
    check_refused(address, path, &bearer(&short), 401, invalid);
    check_refused(
        address,
        path,
        &bearer(&ticket(room, -1, "both")),
        401,
        invalid,
    );
    check_refused(
        address,
        path,
        &bearer(&lasting.replace("both", "Both")),
        401,
        invalid,
    );
    let insufficient = "Bearer error=\"insufficient_scope\"";
    check_refused(address, "/ws/news", &bearer(&lasting), 403, insufficient);
    check_refused(
        address,
        path,
        &bearer(&ticket(room, 60, "publish")),
        403,
        insufficient,
    );
    check_listens_only(admitted(
        address,
        path,
        &bearer(&ticket(room, 60, "subscribe")),
    ));
    // The end of time is no end.
    admitted(address, path, &bearer(&ticket(room, i64::MAX, "both"))).check_echo();
    process.stop();
    let signature = lasting.rsplit('.').next().expect("there are four parts");
    for line in &process.lines {
        assert!(!line.contains(signature) && !line.contains(KEY), "{line}");
    }
}
