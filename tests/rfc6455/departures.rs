//! Where the letter of an RFC asks for something else: docs/protocol.md says why, and these tests
//! say what is done instead, so that neither changes unnoticed.

use super::*;

// Section 9.1 would have a malformed offer fail; nothing is on offer here, so nothing is read.
#[test]
fn a_malformed_offer_of_extensions_is_taken_for_none() {
    for offer in [
        "",
        ";;",
        "foo;",
        "foo; bar=",
        "foo bar",
        "foo; bar=\"a b\"",
        "\"foo\"",
        "é",
    ] {
        let field = format!("Sec-WebSocket-Extensions: {offer}\r\nHost");
        assert_eq!(answer_with("Host", &field), answer_with("", ""), "{offer}");
    }
}

// Sections 4.1 (item 10) and 4.2.1: names of subprotocols are unique tokens, one at least.
#[test]
fn a_malformed_offer_of_subprotocols_has_what_can_be_read_of_it() {
    for (offer, chosen) in [
        ("", ""),
        ("chat room", ""),
        ("chat, chat", "Sec-WebSocket-Protocol: chat\r\n"),
        ("a(b), chat", "Sec-WebSocket-Protocol: chat\r\n"),
    ] {
        let field = format!("Sec-WebSocket-Protocol: {offer}\r\nHost");
        let expected = answer_with("", "").replace("\r\n\r\n", &format!("\r\n{chosen}\r\n"));
        assert_eq!(answer_with("Host", &field), expected, "{offer}");
    }
}

// Section 5.5.2 excuses who has received a Close, and not who has sent one.
#[test]
fn no_pong_follows_our_close() {
    let mut connection = Connection::new(Limits::default());
    connection.close(Some(CloseCode::GOING_AWAY), "", &mut Vec::new());
    let heard = hear_on(&mut connection, &frame(0x89, b"?"), BYTEWISE);
    assert_eq!((heard.said, heard.output), (vec![Said::Ping], vec![]));
}

// RFC 3986, section 3.4: these are no characters of a query.
#[test]
fn a_query_may_hold_what_browsers_leave_as_it_is() {
    assert_status("/ws", "/ws?{|}^`\"<>[]\\", 101);
}

// RFC 9110, section 7.8: 100 before 101, for a body that section 10.1.1 wants and is refused here.
#[test]
fn an_expectation_is_not_answered() {
    let expectation = "Expect: 100-continue\r\nHost";
    assert_eq!(answer_with("Host", expectation), answer_with("", ""));
    let body = "Expect: 100-continue\r\nContent-Length: 1\r\nHost";
    assert_status("Host", body, 400);
}
