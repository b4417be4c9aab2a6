//! Clients that hang up at the worst moment: with a reset, and in order.

use crate::case::{
    Case, End, PATH, Step, case, closed, failed, nothing, open, opened, opens, raw, refused,
    unfinished, unread, visit,
};
use crate::ground::Ground;
use crate::peer::{CLOSE, PING, PONG, TEXT, close_payload, frame, upgrade};

fn then(mut steps: Vec<Step>, last: &[Step]) -> Vec<Step> {
    steps.extend_from_slice(last);
    steps
}

/// With `SO_LINGER` of zero: whatever is unread or unsent is thrown away.
fn resets() -> Vec<Case> {
    let reset = |steps| then(steps, &[Step::AwaitRoom, Step::Reset]);
    let at_once = |steps| then(steps, &[Step::Reset]);
    let half = &frame(TEXT, b"never said")[..9];
    let request = upgrade(PATH);
    let with_head = |steps: Vec<Step>| [raw(&request), vec![Step::AwaitHead], steps].concat();
    // What was read before the reset is known where it was waited for.
    let upgraded = || opens(Vec::new()).end(End::Ours);
    let bye = frame(CLOSE, &close_payload(1000, ""));
    vec![
        case("a reset at once", vec![Step::Reset], unread()),
        case("a reset behind nothing", reset(Vec::new()), unread()),
        case(
            "a reset in the request line",
            reset(raw("GET /w")),
            unread(),
        ),
        case(
            "a reset in the head",
            reset(raw(&request[..request.len() - 9])),
            unread(),
        ),
        case(
            "a reset within the head's last line end",
            reset(raw(&request[..request.len() - 1])),
            unread(),
        ),
        case("a reset behind the head", at_once(raw(&request)), unread()),
        case(
            "a reset with the 101 unread",
            reset(raw(&request)),
            unread(),
        ),
        case(
            "a reset behind the 101",
            reset(with_head(Vec::new())),
            upgraded(),
        ),
        case(
            "a reset within a frame's header",
            reset(open([0x81])),
            upgraded(),
        ),
        case(
            "a reset within a length",
            reset(open([0x82, 0xFE, 1])),
            upgraded(),
        ),
        case("a reset within a payload", reset(open(half)), upgraded()),
        case(
            "a reset within a fragmented message",
            reset(open(frame(unfinished(TEXT), b"never said"))),
            upgraded(),
        ),
        case(
            "a reset behind a message",
            then(
                open(frame(TEXT, b"said")),
                &[Step::AwaitFrames(1), Step::Reset],
            ),
            opens(Vec::new()).says("said").end(End::Ours),
        ),
        case(
            "a reset behind a ping",
            then(
                open(frame(PING, b"?")),
                &[Step::AwaitFrames(1), Step::Reset],
            ),
            opens(Vec::new()).heard(PONG, "?").end(End::Ours),
        ),
        case(
            "a reset with the answer to the close unread",
            reset(open(&bye)),
            upgraded(),
        ),
        case(
            "a reset behind the closing handshake",
            then(open(&bye), &[Step::AwaitFrames(1), Step::Reset]),
            closed(1000).end(End::Ours),
        ),
        case(
            "a reset behind a failure",
            then(open(frame(0x83, b"")), &[Step::AwaitFrames(1), Step::Reset]),
            failed(1002, "reserved opcode").end(End::Ours),
        ),
        case(
            "a reset with the failure unread",
            reset(open(frame(0x83, b""))),
            upgraded(),
        ),
        case(
            "a reset with a refusal unread",
            reset(raw("nonsense\r\n\r\n")),
            unread(),
        ),
        case(
            "a reset with a refusal under way",
            at_once(raw(vec![b'x'; 1 << 20])),
            unread(),
        ),
        case(
            "a reset with the page unread",
            reset(raw("GET / HTTP/1.1\r\nHost: test\r\n\r\n")),
            unread(),
        ),
    ]
}

/// Ends of the client's side alone. It goes on listening.
fn ends() -> Vec<Case> {
    let end = |steps| then(steps, &[Step::HalfClose]);
    let request = upgrade(PATH);
    vec![
        case("the end at once", end(Vec::new()), nothing()),
        case("the end in the request line", end(raw("GET /w")), nothing()),
        case(
            "the end in the head",
            end(raw(&request[..request.len() - 9])),
            nothing(),
        ),
        case(
            "the end behind the head",
            end(raw(&request)),
            opens(Vec::new()),
        ),
        case(
            "the end behind the 101",
            end(opened(Vec::new())),
            opens(Vec::new()),
        ),
        case(
            "the end within a frame's header",
            end(open([0x81])),
            opens(Vec::new()),
        ),
        case(
            "the end within a payload",
            end(open(&frame(TEXT, b"never said")[..9])),
            opens(Vec::new()),
        ),
        case(
            "the end within a fragmented message",
            end(open(frame(unfinished(TEXT), b"never said"))),
            opens(Vec::new()),
        ),
        case(
            "the end behind a message",
            end(open(frame(TEXT, b"said"))),
            opens(Vec::new()).says("said"),
        ),
        case(
            "the end behind a ping",
            end(open(frame(PING, b"?"))),
            opens(Vec::new()).heard(PONG, "?"),
        ),
        case(
            "the end behind the close",
            end(open(frame(CLOSE, b""))),
            closed(1000),
        ),
        case(
            "the end behind a failure",
            end(open(frame(0x83, b""))),
            failed(1002, "reserved opcode"),
        ),
        case(
            "the end behind a malformed head",
            end(raw("nonsense\r\n\r\n")),
            refused(400, "malformed request head"),
        ),
        case(
            "all of it at once, and the end",
            end(raw([request.as_bytes(), &visit()].concat())),
            closed(1000).says("hello"),
        ),
    ]
}

#[test]
fn aborts() {
    let mut ground = Ground::start("aborts", &[]);
    for cases in [resets(), ends()] {
        ground.run(cases);
    }
    ground.attempt("all resets, ten times over", |ground| {
        let mut cases = (0..10).flat_map(|_| resets());
        cases.try_for_each(|case| ground.check(&case))
    });
    ground.end();
}
