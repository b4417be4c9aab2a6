//! Web pages that pretend to be others: RFC 6455, section 10.2.

use crate::case::{Case, PATH, case, legal, raw, refused};
use crate::ground::Ground;
use crate::peer::{upgrade, upgrade_with};

const FORBIDDEN: &str = "origin not allowed";

fn with(origin: &str) -> String {
    upgrade_with(PATH, &format!("Origin: {origin}\r\n"))
}

fn forbidden(origin: &str) -> Case {
    case(
        format!("the origin '{origin}'"),
        raw(with(origin)),
        refused(403, FORBIDDEN),
    )
}

fn allowed(origin: &str) -> Case {
    legal(format!("the origin '{origin}' is allowed"), with(origin))
}

/// Of the host `test`, by default.
#[test]
fn same_origin() {
    let mut ground = Ground::start("origins", &[]);
    ground.run(
        [
            "null",
            "",
            "test",
            "//test",
            "://test",
            "http:test",
            "http:///test",
            "http://",
            "http://test/",
            "http://test/ws",
            "http://test?x",
            "http://test#x",
            "http://test.",
            "http://.test",
            "http://test.evil.example",
            "http://eviltest",
            "http://evil.test",
            "http://tes",
            "http://test:8080",
            "http://test:",
            "http://test:+80",
            "http://test:080x",
            "http://test:65616",
            "ws://test",
            "file://test",
            "chrome-extension://test",
            "javascript://test",
            "http://test@evil.example",
            "http://evil@test",
            "http://evil:80@test",
            "http://evil.example\\@test",
            "http://tést",
            "http://xn--tst-bma",
            "http://t%65st",
            "http://TEST.evil.example",
            "http://[::1]",
            "http://[test]",
            "http://127.0.0.1",
            "http://test http://evil.example",
            "http://evil.example http://test",
            "http://test, http://evil.example",
            "\u{9B}2Jhttp://test",
            "*",
            "same-origin",
        ]
        .into_iter()
        .map(forbidden)
        .collect(),
    );
    ground.run(
        [
            "http://test",
            "https://test",
            "HTTP://Test",
            "http://test:80",
            "http://test:0080",
        ]
        .into_iter()
        .map(allowed)
        .collect(),
    );
    let two =
        |other: &str| upgrade_with(PATH, &format!("Origin: http://test\r\nOrigin: {other}\r\n"));
    let repeated = refused(400, "repeated Origin field");
    ground.run(vec![
        legal("no origin is allowed", upgrade(PATH)),
        case("two origins", raw(two("http://evil.example")), repeated),
        case(
            "the same origin twice",
            raw(two("http://test")),
            refused(400, "repeated Origin field"),
        ),
        case(
            "a forwarded host is not the host",
            raw(upgrade_with(
                PATH,
                "Origin: http://evil.example\r\nX-Forwarded-Host: evil.example\r\n",
            )),
            refused(403, FORBIDDEN),
        ),
        case(
            "a referrer is no origin",
            raw(upgrade_with(
                PATH,
                "Origin: http://evil.example\r\nReferer: http://test/\r\n",
            )),
            refused(403, FORBIDDEN),
        ),
        case(
            "the host of an absolute target overrides Host",
            raw(with("http://test").replace(PATH, &format!("http://other{PATH}"))),
            refused(403, FORBIDDEN),
        ),
    ]);
    ground.end();
}

/// Of a list that the operator has given.
#[test]
fn listed_origins() {
    let flags = [
        "--allow-origin=https://example.com",
        "--allow-origin=https://*.example.net",
    ];
    let mut ground = Ground::start("listed origins", &flags);
    ground.run(
        [
            "null",
            "http://test",
            "http://example.com",
            "https://example.com:8443",
            "https://example.com:80",
            "https://example.com.",
            "https://example.com/",
            "https://example.com.evil.example",
            "https://evil-example.com",
            "https://www.example.com",
            "https://example.com@evil.example",
            "https://example.net",
            "https://.example.net",
            "https://evilexample.net",
            "https://a.example.net.evil.example",
            "https://a.example.net:444",
            "http://a.example.net",
            "https://a@b.example.net",
            "https://*.example.net",
            "https://exämple.net",
        ]
        .into_iter()
        .map(forbidden)
        .collect(),
    );
    ground.run(
        [
            "https://example.com",
            "https://example.com:443",
            "HTTPS://EXAMPLE.com",
            "https://a.example.net",
            "https://a.b.example.net:443",
        ]
        .into_iter()
        .map(allowed)
        .collect(),
    );
    ground.run(vec![legal("no origin is allowed", upgrade(PATH))]);
    ground.end();
}
