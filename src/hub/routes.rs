//! Plain HTTP beside WebSocket.

use std::borrow::Cow;

use super::config::HubConfig;
use crate::protocol::HandshakeError;
use crate::protocol::http::{Request, Response};

/// The demo page, with the WebSocket path as it is by default.
const DEMO: &str = include_str!("../demo.html");

/// Where the demo page says which path to connect to; replaced by the configured one.
const DEMO_PATH: &str = "data-path=\"/ws\"";

/// Nothing but the page's own script and style, by their hashes, and connections to where it came
/// from: what a peer says can do no harm even if the page were wrong.
const DEMO_POLICY: &str = concat!(
    "default-src 'none'; ",
    "script-src 'sha256-zE0hHhzPkpI2GRI8UE8KOBC96AzW2OZtisd7vQvIGy8='; ",
    "style-src 'sha256-G8WMBQHlfEk+XfEvv11QgxXFielfifBmGN26PLpoemU='; ",
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
);

/// The answer to a request for anything that is not a WebSocket.
///
/// # Errors
/// 404 where nothing is, 405 for anything but GET.
pub(super) fn respond(
    config: &HubConfig,
    request: &Request<'_>,
) -> Result<Response, HandshakeError> {
    let page: fn(&HubConfig) -> Response = match request.path() {
        "/" if config.demo => |config| demo_page(&config.handshake.path),
        "/healthz" => |_| Response::text(200, "ok\n").field("Cache-Control", "no-store"),
        _ => return Err(HandshakeError::NotFound),
    };
    let page = page(config).field("Connection", "close");
    match request.method() {
        "GET" => Ok(page),
        // RFC 9110, section 9.3.2: the same without the body. Load balancers ask like that.
        "HEAD" => Ok(page.without_body()),
        _ => Err(HandshakeError::MethodNotAllowed),
    }
}

fn demo_page(path: &str) -> Response {
    let page = if DEMO_PATH.contains(&format!("\"{path}\"")) {
        Cow::Borrowed(DEMO.as_bytes())
    } else {
        // A configured path has no character that means something in HTML.
        Cow::Owned(
            DEMO.replacen(DEMO_PATH, &format!("data-path=\"{path}\""), 1)
                .into_bytes(),
        )
    };
    Response::new(200)
        .field("Content-Security-Policy", DEMO_POLICY)
        .field("Referrer-Policy", "no-referrer")
        .field("Cache-Control", "no-cache")
        .body("text/html; charset=utf-8", page)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};

    use super::*;

    fn get(config: &HubConfig, line: &str) -> (u16, String) {
        let head = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = respond(config, &Request::parse(head.as_bytes()).unwrap())
            .unwrap_or_else(Response::refusal);
        let mut bytes = Vec::new();
        response.encode(&mut bytes);
        (response.status(), String::from_utf8(bytes).unwrap())
    }

    fn element<'p>(page: &'p str, name: &str) -> &'p str {
        let (_, rest) = page
            .split_once(&format!("<{name}>"))
            .expect("the element has no attributes");
        let (content, rest) = rest.split_once(&format!("</{name}>")).unwrap();
        assert!(
            !rest.contains(&format!("<{name}")),
            "one element is what the policy allows"
        );
        content
    }

    #[test]
    fn the_policy_names_the_page_as_it_is() {
        for (name, source) in [("script", "script-src"), ("style", "style-src")] {
            let hash = STANDARD.encode(Sha256::digest(element(DEMO, name)));
            let directive = format!("{source} 'sha256-{hash}'; ");
            assert!(
                DEMO_POLICY.contains(&directive),
                "put into DEMO_POLICY: {directive}"
            );
        }
    }

    #[test]
    fn the_page_learns_where_the_websockets_are() {
        let mut config = HubConfig::default();
        assert!(get(&config, "GET /").1.contains("data-path=\"/ws\""));
        config.handshake.path = "/chat/v1".to_owned();
        let (status, page) = get(&config, "GET /?x");
        assert_eq!(status, 200);
        assert!(page.contains("data-path=\"/chat/v1\"") && !page.contains(DEMO_PATH));
    }

    #[test]
    fn health_is_ok_and_the_rest_is_not_found() {
        let config = HubConfig::default();
        assert!(get(&config, "GET /healthz").1.ends_with("\r\n\r\nok\n"));
        assert_eq!(get(&config, "GET /nothing").0, 404);
        assert_eq!(get(&config, "POST /nothing").0, 404);
        assert_eq!(get(&config, "POST /healthz").0, 405);
        let (status, head) = get(&config, "HEAD /healthz");
        assert!(
            status == 200 && head.contains("Content-Length: 3\r\n") && head.ends_with("\r\n\r\n")
        );
    }

    #[test]
    fn without_the_demo_the_root_is_not_found() {
        let config = HubConfig {
            demo: false,
            ..HubConfig::default()
        };
        assert_eq!(get(&config, "GET /").0, 404);
    }
}
