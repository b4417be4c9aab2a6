use super::*;
use crate::backplane::Target;
use crate::hub::test_clock;

const MILLI: Duration = Duration::from_millis(1);
const HELLO: &[u8] = b"%1\r\n+role\r\n+master\r\n";

fn config() -> BackplaneConfig {
    BackplaneConfig::new(Target::Server(Endpoint::Tcp("redis".to_owned(), 6379)))
}

/// A link that is to be connected at this time.
fn connecting(config: &BackplaneConfig, now: Instant) -> Link {
    let to = Endpoint::Tcp("redis".to_owned(), 6379);
    let limits = RespLimits::new(1 << 20, 1);
    Link::new(Errand::Serve, to, config, limits, now)
}

/// One that has said who it is.
fn greeting(config: &BackplaneConfig, now: Instant) -> Link {
    let mut link = connecting(config, now);
    link.connected(&Greeting::new(config, 1), now);
    flush(&mut link);
    link
}

/// One that Redis knows.
fn ready(now: Instant) -> Link {
    let mut link = greeting(&config(), now);
    assert_eq!(hear(&mut link, HELLO, now), [Heard::Ready]);
    link
}

/// All that is to be written is written: how many bytes.
fn flush(link: &mut Link) -> usize {
    let len = link.output().len();
    link.written(len);
    len
}

/// What these bytes say.
fn hear(link: &mut Link, mut bytes: &[u8], now: Instant) -> Vec<Heard> {
    std::iter::from_fn(|| link.next_heard(&mut bytes, now)).collect()
}

/// The link waits until then, and for as long as its command may take on the way.
fn assert_due(link: &Link, until: Instant) {
    let deadline = link.next_deadline().unwrap();
    assert!((until..until + MILLI).contains(&deadline));
}

fn lost(why: &'static str) -> Heard {
    Heard::Lost(Loss::Unexpected(why))
}

fn subscribe(link: &mut Link, now: Instant) {
    let args: [&[u8]; 3] = [b"SUBSCRIBE", b"a", b"b"];
    link.send(Request::Subscribe, &args, now);
}

#[test]
fn it_is_greeted_once_and_known_when_all_of_it_is_answered() {
    let now = test_clock();
    let mut config = config();
    config.database = 1;
    let mut link = greeting(&config, now);
    link.connected(&Greeting::new(&config, 1), now);
    assert_eq!(flush(&mut link), 0, "said twice, it is heard once");
    assert!(!link.has_room());
    assert_eq!(hear(&mut link, HELLO, now), []);
    assert_eq!(hear(&mut link, b"+OK\r\n", now), [Heard::Ready]);
    assert!(link.has_room());
}

#[test]
fn what_comes_before_the_greeting_is_answered_is_not_taken_for_a_message() {
    let now = test_clock();
    let mut link = greeting(&config(), now);
    let push = b">3\r\n+message\r\n+a\r\n+early\r\n";
    let expected = lost("a push before the greeting");
    assert_eq!(hear(&mut link, push, now), [expected]);
    assert_eq!(hear(&mut link, HELLO, now), [], "it is given up");
}

#[test]
fn a_subscription_is_answered_when_all_of_it_is_confirmed() {
    let now = test_clock();
    let mut link = ready(now);
    subscribe(&mut link, now);
    let first = b">3\r\n+subscribe\r\n+a\r\n:1\r\n>3\r\n+message\r\n+a\r\n+hi\r\n";
    let heard = hear(&mut link, first, now);
    assert!(matches!(heard.as_slice(), [Heard::Push(_)]), "{heard:?}");
    let heard = hear(&mut link, b">3\r\n+subscribe\r\n+b\r\n:2\r\n", now);
    let is_answer = |heard: &Heard| matches!(heard, Heard::Reply(Request::Subscribe, _));
    assert!(heard.len() == 1 && is_answer(&heard[0]), "{heard:?}");
    assert!(link.is_idle());
    // One more is nobody's answer.
    let heard = hear(&mut link, b">3\r\n+subscribe\r\n+b\r\n:2\r\n", now);
    assert_eq!(heard, [lost("a subscription")]);
}

#[test]
fn a_subscription_is_not_confirmed_by_a_reply() {
    let now = test_clock();
    let mut link = ready(now);
    subscribe(&mut link, now);
    let expected = lost("a reply to SUBSCRIBE");
    assert_eq!(hear(&mut link, b"+OK\r\n", now), [expected]);
    let mut link = ready(now);
    subscribe(&mut link, now);
    let heard = hear(&mut link, b"-NOPERM no\r\n", now);
    let [Heard::Reply(Request::Subscribe, reply)] = heard.as_slice() else {
        panic!("{heard:?}");
    };
    assert!(reply.is_error());
}

#[test]
fn a_reply_that_nobody_has_asked_for_ends_the_link() {
    let now = test_clock();
    assert_eq!(hear(&mut ready(now), b"+OK\r\n", now), [lost("a reply")]);
    let heard = hear(&mut ready(now), b"-LOADING later\r\n", now);
    let [Heard::Lost(Loss::Busy(_))] = heard.as_slice() else {
        panic!("{heard:?}");
    };
}

#[test]
fn what_the_link_asks_for_itself_ends_it_if_it_is_refused() {
    let now = test_clock();
    let replica = b"%1\r\n+role\r\n+replica\r\n".as_slice();
    for (request, answer, is_lost) in [
        (Request::Ping, b"+PONG\r\n".as_slice(), false),
        (Request::Ping, b"-MASTERDOWN no\r\n", true),
        (Request::Role, HELLO, false),
        (Request::Role, b"-NOAUTH no\r\n", true),
        (Request::Role, replica, true),
    ] {
        let mut link = ready(now);
        link.send(request, &[b"ASK"], now);
        let heard = hear(&mut link, answer, now);
        assert_eq!(heard.len(), usize::from(is_lost), "{request:?}: {heard:?}");
        assert!(heard.iter().all(|heard| matches!(heard, Heard::Lost(_))));
    }
}

#[test]
fn both_sides_of_the_deadlines_before_it_is_ready() {
    let (now, config) = (test_clock(), config());
    let until = now + config.op_timeout * DIALLING_STEPS;
    let mut link = connecting(&config, now);
    assert_eq!(link.advance(until.checked_sub(MILLI).unwrap()), None);
    assert_eq!(link.advance(until), Some(Heard::Lost(Loss::Stalled)));
    assert_eq!(link.next_deadline(), None);
    // A trickle of bytes does not extend it.
    let mut link = greeting(&config, now);
    let until = now + config.op_timeout;
    let late = until.checked_sub(MILLI).unwrap();
    link.revive(late);
    assert_eq!(hear(&mut link, b"%1\r\n", late), []);
    assert_eq!(link.advance(late), None);
    assert_eq!(link.advance(until), Some(Heard::Lost(Loss::Stalled)));
}

#[test]
fn who_is_silent_is_asked_and_stalls_if_it_does_not_answer() {
    let (now, timeout) = (test_clock(), config().op_timeout);
    let mut link = ready(now);
    assert_eq!(link.next_deadline(), Some(now + timeout));
    assert_eq!(link.advance(now + timeout.saturating_sub(MILLI)), None);
    assert!(link.is_idle());
    assert_eq!(link.advance(now + timeout), None);
    assert!(link.output().ends_with(b"PING\r\n"));
    assert_due(&link, now + 2 * timeout);
    assert_eq!(link.advance(now + 2 * timeout), None);
    let late = now + 2 * timeout + MILLI;
    assert_eq!(link.advance(late), Some(Heard::Stalled));
    assert!(link.is_stalled() && !link.has_room());
    assert_eq!(link.advance(now + 9 * timeout), None, "that is said once");
    // Any byte will do.
    let later = now + 10 * timeout;
    assert!(link.revive(later) && !link.revive(later));
    assert!(!link.is_stalled() && link.has_room());
    assert_due(&link, later + timeout);
}

#[test]
fn an_answer_is_waited_for_since_the_last_byte_or_since_somebody_looked() {
    let (now, timeout) = (test_clock(), config().op_timeout);
    let mut link = ready(now);
    let later = now + timeout / 2;
    link.send(Request::Ping, &[b"PING"], later);
    assert_due(&link, later + timeout);
    let heard_at = later + 3 * MILLI;
    assert!(!link.revive(heard_at));
    assert_due(&link, heard_at + timeout);
    let excused_at = heard_at + 3 * MILLI;
    link.note_reading(false, excused_at);
    assert_due(&link, excused_at + timeout);
}

#[test]
fn what_waits_and_what_is_long_may_take_longer() {
    let (now, timeout) = (test_clock(), config().op_timeout);
    let mut link = ready(now);
    let wait = Duration::from_secs(7);
    link.send_waiting(Request::Read, &[b"XREAD"], wait, now);
    assert_due(&link, now + timeout + wait);
    let mut link = ready(now);
    let long = vec![b'x'; 2 * MIN_BYTES_PER_SECOND as usize];
    link.send(Request::Publish { seq: 1 }, &[b"PUBLISH", b"a", &long], now);
    assert_due(&link, now + timeout + Duration::from_secs(2));
}

#[test]
fn no_more_answers_are_awaited_than_may_be() {
    let now = test_clock();
    let mut link = ready(now);
    for seq in 0..MAX_AWAITED as u64 {
        assert!(link.has_room(), "{seq}");
        link.send(Request::Publish { seq }, &[b"P"], now);
        flush(&mut link);
    }
    assert!(!link.has_room());
    let heard = hear(&mut link, b":1\r\n", now);
    let expected = Heard::Reply(Request::Publish { seq: 0 }, Value::Integer(1));
    assert_eq!(heard, [expected]);
    assert!(link.has_room());
}
