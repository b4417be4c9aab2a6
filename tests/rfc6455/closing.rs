//! Section 7: the closing handshake, and failed connections.

use super::*;

// Section 5.5.1: the answer echoes the code; section 7.4: these may be sent.
#[test]
fn a_close_is_answered_with_its_own_code_or_1000() {
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 4999]) {
        let frames = [frame(0x88, &close(code, ""))];
        assert_heard(&frames, &[closed(code)], &echo(code));
    }
    assert_heard(&[frame(0x88, b"")], &[closed(1005)], &echo(1000));
}

// Section 5.5.1: no code of one byte; section 7.4: no reserved and no unused code.
#[test]
fn a_code_that_must_not_be_sent_fails_the_connection() {
    assert_fails(&[frame(0x88, b"\x03")], ProtocolError::CloseTooShort);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        assert_fails(&[frame(0x88, &close(code, ""))], InvalidCloseCode);
    }
}

// Section 7.1.6, and section 8.1 for the errors.
#[test]
fn the_reason_of_a_close_is_heard_and_must_be_utf_8() {
    let said = [Said::Close(1000, "adiós".to_owned())];
    assert_heard(&[frame(0x88, &close(1000, "adiós"))], &said, &echo(1000));
    for reason in [&b"\xff"[..], b"\xe2\x82", b"ok\xed\xa0\x80"] {
        let payload = [&close(1000, ""), reason].concat();
        assert_fails(&[frame(0x88, &payload)], InvalidUtf8);
    }
}

// Section 5.5.1: what follows a Close is not processed; section 5.4: a Close may interrupt.
#[test]
fn nothing_behind_a_close_is_heard_or_answered() {
    let end = frame(0x88, &close(1001, ""));
    let ping = frame(0x89, b"?");
    for later in [frame(0x81, b"late"), ping, end.clone(), vec![0xFF]] {
        assert_heard(&[end.clone(), later], &[closed(1001)], &echo(1001));
    }
    assert_heard(&[frame(0x01, b"half"), end], &[closed(1001)], &echo(1001));
}

// Section 7.1.2: after our Close we say nothing more, and wait for the peer's.
#[test]
fn a_closing_handshake_that_we_begin() {
    let end = frame(0x88, &close(1001, ""));
    let bytes = [frame(0x81, b"late"), frame(0x89, b"?"), end].concat();
    for cuts in ALL_CUTS {
        let mut connection = Connection::new(Limits::default());
        let mut output = Vec::new();
        connection.close(Some(CloseCode::GOING_AWAY), "restart", &mut output);
        connection.close(Some(CloseCode::NORMAL), "again", &mut output);
        assert_eq!(output, answer(0x88, &close(1001, "restart")));
        assert!(!connection.is_open() && !connection.is_closed());
        let heard = hear_on(&mut connection, &bytes, cuts);
        assert_eq!(heard.said, [Said::Ping, closed(1001)]);
        assert_eq!((heard.error, heard.output), (None, vec![]));
        assert!(connection.is_closed());
    }
}

// Section 5.5.1: whoever has sent a Close sends no second one, also when the peer errs.
#[test]
fn an_error_after_our_close_is_not_answered() {
    let mut connection = Connection::new(Limits::default());
    connection.close(None, "", &mut Vec::new());
    let heard = hear_on(&mut connection, &frame(0x81, b"\xff"), WHOLE);
    assert_eq!((heard.error, heard.output), (Some(InvalidUtf8), vec![]));
    assert!(connection.is_closed());
}

// Section 7.1.7: "Fail the WebSocket Connection".
#[test]
fn a_failed_connection_hears_nothing_more() {
    let mut connection = Connection::new(Limits::default());
    let mut output = Vec::new();
    connection.fail(CloseCode::POLICY_VIOLATION, "rate", &mut output);
    connection.fail(CloseCode::INTERNAL_ERROR, "", &mut output);
    assert_eq!(output, answer(0x88, &close(1008, "rate")));
    let frames = [frame(0x81, b"late"), frame(0x88, b"")].concat();
    let heard = hear_on(&mut connection, &frames, BYTEWISE);
    assert_eq!(heard, Heard::default());
}

// Section 7.4.1: 1005, 1006 and 1015 are never sent, whatever the peer says.
#[test]
fn no_close_of_ours_has_a_reserved_code() {
    for code in 0..=u16::MAX {
        let output = hear(&frame(0x88, &close(code, "")), WHOLE).output;
        let ours = u16::from_be_bytes([output[2], output[3]]);
        assert!(
            ours == code || ours == 1002,
            "{code} is answered with {ours}"
        );
        assert!(!matches!(ours, 1004..=1006 | 1015), "{code}");
    }
    for reserved in [1004, 1005, 1006, 1015] {
        assert_eq!(CloseCode::from_wire(reserved), None);
    }
}
