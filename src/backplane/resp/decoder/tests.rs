use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::backplane::resp::encode;

/// What Redis 7.0.15 was heard to say.
const REPLIES: [&[u8]; 25] = [
    b"+OK\r\n",
    b"+PONG\r\n",
    // HELLO, in version 2 and in version 3.
    b"*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:2\r\n\
      $2\r\nid\r\n:3\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
      $7\r\nmodules\r\n*0\r\n",
    b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n\
      $2\r\nid\r\n:3\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
      $7\r\nmodules\r\n*0\r\n",
    b"-NOPROTO unsupported protocol version\r\n",
    b"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
    // SUBSCRIBE, PUBLISH to the subscriber itself, UNSUBSCRIBE.
    b">3\r\n$9\r\nsubscribe\r\n$19\r\nwebsocket-broadcast\r\n:1\r\n",
    b">3\r\n$7\r\nmessage\r\n$19\r\nwebsocket-broadcast\r\n$2\r\nhi\r\n:1\r\n",
    b">3\r\n$11\r\nunsubscribe\r\n$19\r\nwebsocket-broadcast\r\n:1\r\n",
    b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n",
    // PUBSUB NUMSUB.
    b"*2\r\n$19\r\nwebsocket-broadcast\r\n:1\r\n",
    // XADD; XREAD with two entries, with none, and in version 2; XRANGE with none.
    b"$15\r\n1700000000000-0\r\n",
    b"%1\r\n$1\r\nk\r\n*2\r\n*2\r\n$15\r\n1700000000000-0\r\n*2\r\n$1\r\nm\r\n$5\r\nhello\r\n\
      *2\r\n$15\r\n1700000000000-1\r\n*2\r\n$1\r\nm\r\n$4\r\n\xff\x00\r\n\r\n",
    b"_\r\n",
    b"*-1\r\n",
    b"$-1\r\n",
    b"*0\r\n",
    b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
    // DEBUG PROTOCOL.
    b",3.141\r\n",
    b"~3\r\n:0\r\n:1\r\n:2\r\n",
    b"%3\r\n:0\r\n#f\r\n:1\r\n#t\r\n:2\r\n#f\r\n",
    b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n\
      $39\r\nSome real reply following the attribute\r\n",
    b">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n$40\r\nSome real reply following the push reply\r\n",
    b"=29\r\ntxt:This is a verbatim\nstring\r\n",
    b"(1234567999999999999999999999999999999\r\n",
];

fn limits() -> RespLimits {
    RespLimits::new(1024, 16)
}

/// The values of a stream, the error at its end, and whether it ends between two values.
type Heard = (Vec<Value>, Option<RespError>, bool);

/// Hears a stream that arrives in these pieces.
fn hear<'p>(limits: RespLimits, pieces: impl IntoIterator<Item = &'p [u8]>) -> Heard {
    let (mut decoder, mut values) = (Decoder::new(limits), Vec::new());
    for mut piece in pieces {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(error) => return (values, Some(error), false),
            }
        }
        assert!(piece.is_empty(), "input is left over");
    }
    let is_between = decoder.is_between_values();
    (values, None, is_between)
}

/// The values of a stream that is right.
fn values(stream: &[u8]) -> Vec<Value> {
    let (values, error, is_between) = hear(limits(), [stream]);
    assert_eq!(error, None, "{}", stream.escape_ascii());
    assert!(is_between, "{}", stream.escape_ascii());
    values
}

fn value(stream: &[u8]) -> Value {
    let [value] = values(stream).try_into().expect("it is one value");
    value
}

fn error(limits: RespLimits, stream: &[u8]) -> Option<RespError> {
    hear(limits, [stream]).1
}

/// A stream cut at these places, which need not be in order.
fn pieces<'s>(stream: &'s [u8], cuts: &[Index]) -> Vec<&'s [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.sort_unstable();
    let (mut pieces, mut begin) = (Vec::new(), 0);
    for cut in cuts {
        pieces.push(&stream[begin..cut]);
        begin = cut;
    }
    pieces.push(&stream[begin..]);
    pieces
}

/// Writes a value as Redis does; with an attribute before it, and before each one in it, if asked.
fn encode(value: &Value, with_attributes: bool, output: &mut Vec<u8>) {
    if with_attributes {
        output.extend_from_slice(b"|1\r\n$3\r\nttl\r\n*2\r\n:1\r\n|0\r\n_\r\n");
    }
    let line = |kind: u8, text: &[u8]| [&[kind], text, b"\r\n"].concat();
    let bulk = |kind: char, bytes: &[u8]| {
        let head = format!("{kind}{}\r\n", bytes.len());
        [head.as_bytes(), bytes, b"\r\n"].concat()
    };
    let mut all = |kind: char, count: usize, values: &mut dyn Iterator<Item = &Value>| {
        output.extend_from_slice(format!("{kind}{count}\r\n").as_bytes());
        values.for_each(|value| encode(value, with_attributes, output));
    };
    let written = match value {
        Value::Array(values) => return all('*', values.len(), &mut values.iter()),
        Value::Set(values) => return all('~', values.len(), &mut values.iter()),
        Value::Push(values) => return all('>', values.len(), &mut values.iter()),
        Value::Map(pairs) => {
            let mut values = pairs.iter().flat_map(|(key, value)| [key, value]);
            return all('%', pairs.len(), &mut values);
        }
        Value::Null => b"_\r\n".to_vec(),
        Value::Omitted => panic!("nobody says that"),
        Value::Simple(text) => line(b'+', text),
        Value::Error(text) if text.iter().any(|byte| b"\r\n".contains(byte)) => bulk('!', text),
        Value::Error(text) => line(b'-', text),
        Value::Integer(number) => format!(":{number}\r\n").into_bytes(),
        Value::Boolean(truth) => line(b'#', if *truth { b"t" } else { b"f" }),
        Value::Double(number) => line(b',', number),
        Value::BigNumber(number) => line(b'(', number),
        Value::Bulk(bytes) => bulk('$', bytes),
        Value::Verbatim { format, text } => bulk('=', &[format, b":".as_slice(), text].concat()),
    };
    output.extend_from_slice(&written);
}

fn encoded(values: &[Value], with_attributes: bool) -> Vec<u8> {
    let mut output = Vec::new();
    for value in values {
        encode(value, with_attributes, &mut output);
    }
    output
}

/// Any value but a push.
fn any_value() -> impl Strategy<Value = Value> {
    let bytes = || vec(any::<u8>(), 0..20);
    let line = || vec(any::<u8>().prop_map(|byte| byte | 0x20), 0..20);
    let leaf = prop_oneof![
        Just(Value::Null),
        line().prop_map(Value::Simple),
        line().prop_map(Value::Error),
        bytes().prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Boolean),
        any::<f64>().prop_map(|number| Value::Double(number.to_string().into_bytes())),
        any::<i128>().prop_map(|number| Value::BigNumber(number.to_string().into_bytes())),
        bytes().prop_map(Value::Bulk),
        bytes().prop_map(|text| Value::Verbatim {
            format: *b"txt",
            text
        }),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec(inner.clone(), 0..4).prop_map(Value::Set),
            vec((inner.clone(), inner), 0..4).prop_map(Value::Map),
        ]
    })
}

/// Replies and pushes, one behind the other.
fn any_values() -> impl Strategy<Value = Vec<Value>> {
    let push = vec(any_value(), 0..4).prop_map(Value::Push);
    vec(prop_oneof![3 => any_value(), 1 => push], 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_encoded_is_decoded_however_it_is_cut(
        values in any_values(),
        with_attributes in any::<bool>(),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let stream = encoded(&values, with_attributes);
        let heard = (values, None, true);
        prop_assert_eq!(&hear(limits(), pieces(&stream, &cuts)), &heard);
        prop_assert_eq!(&hear(limits(), stream.chunks(1)), &heard);
    }

    #[test]
    fn what_is_wrong_is_as_wrong_however_it_is_cut(
        values in any_values(),
        at in any::<Index>(),
        damage in vec(any::<u8>(), 0..3),
        skipped in 0_usize..3,
        max_value in 64_usize..1024,
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let mut stream = encoded(&values, false);
        let at = at.index(stream.len() + 1);
        let end = stream.len().min(at + skipped);
        stream.splice(at..end, damage);
        let (max_depth, max_elements, max_line, max_bulk) = (3, 4, 24, 30);
        let reserve = max_value / 4;
        let small = RespLimits { max_depth, max_elements, max_line, max_bulk, max_value, reserve };
        for limits in [limits(), small] {
            let heard = hear(limits, [stream.as_slice()]);
            prop_assert_eq!(&hear(limits, pieces(&stream, &cuts)), &heard);
            prop_assert_eq!(&hear(limits, stream.chunks(1)), &heard);
        }
    }

    #[test]
    fn a_command_is_an_array_of_its_words(args in vec(vec(any::<u8>(), 0..40), 1..6)) {
        let mut stream = Vec::new();
        encode::command(&args.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut stream);
        let words = args.into_iter().map(Value::Bulk).collect();
        prop_assert_eq!(value(&stream), Value::Array(words));
    }
}

#[test]
fn every_reply_is_the_same_at_every_cut() {
    for reply in REPLIES {
        let heard = (values(reply), None, true);
        for end in 0..=reply.len() {
            for begin in 0..=end {
                let pieces = [&reply[..begin], &reply[begin..end], &reply[end..]];
                assert_eq!(
                    hear(limits(), pieces),
                    heard,
                    "{} cut at {begin} and {end}",
                    reply.escape_ascii()
                );
            }
        }
    }
}

#[test]
fn all_replies_one_behind_the_other_are_the_same_at_every_cut() {
    let stream = REPLIES.concat();
    let expected: Vec<Value> = REPLIES.into_iter().flat_map(values).collect();
    assert!(expected.len() > REPLIES.len(), "some are two");
    let heard = (expected, None, true);
    for cut in 0..=stream.len() {
        let (before, behind) = stream.split_at(cut);
        assert_eq!(hear(limits(), [before, behind]), heard, "cut at {cut}");
    }
    assert_eq!(hear(limits(), stream.chunks(1)), heard);
}

#[test]
fn every_prefix_of_a_reply_wants_more() {
    for reply in REPLIES {
        for end in 1..reply.len() {
            let (_, error, _) = hear(limits(), [&reply[..end]]);
            assert_eq!(error, None, "{}", reply[..end].escape_ascii());
        }
        let mut rest: &[u8] = &[reply, b":1\r\n"].concat();
        let mut decoder = Decoder::new(limits());
        for value in values(reply) {
            assert_eq!(decoder.decode(&mut rest), Ok(Some(value)));
        }
        assert_eq!(rest, b":1\r\n", "what follows is left");
    }
}

#[test]
fn each_type_has_its_value() {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let bulk = |text: &str| Value::Bulk(bytes(text));
    let expected: [(&[u8], Value); 25] = [
        (b"+\r\n", Value::Simple(bytes(""))),
        (b"-ERR no\r\n", Value::Error(bytes("ERR no"))),
        (b"!6\r\nERR\r\nx\r\n", Value::Error(bytes("ERR\r\nx"))),
        (b":0\r\n", Value::Integer(0)),
        (b":+7\r\n", Value::Integer(7)),
        (b":-9223372036854775808\r\n", Value::Integer(i64::MIN)),
        (b":9223372036854775807\r\n", Value::Integer(i64::MAX)),
        (b"_\r\n", Value::Null),
        (b"$-1\r\n", Value::Null),
        (b"*-1\r\n", Value::Null),
        (b"#t\r\n", Value::Boolean(true)),
        (b"#f\r\n", Value::Boolean(false)),
        (b",-inf\r\n", Value::Double(bytes("-inf"))),
        (b",1e5\r\n", Value::Double(bytes("1e5"))),
        (b"(-12\r\n", Value::BigNumber(bytes("-12"))),
        (b"$0\r\n\r\n", bulk("")),
        (b"$2\r\n\r\n\r\n", bulk("\r\n")),
        (
            b"=4\r\nmkd:\r\n",
            Value::Verbatim {
                format: *b"mkd",
                text: bytes(""),
            },
        ),
        (b"*0\r\n", Value::Array(Vec::new())),
        (b"~1\r\n$1\r\na\r\n", Value::Set(vec![bulk("a")])),
        (b">0\r\n", Value::Push(Vec::new())),
        (b"%0\r\n", Value::Map(Vec::new())),
        (
            b"%1\r\n+k\r\n*1\r\n_\r\n",
            Value::Map(vec![(
                Value::Simple(bytes("k")),
                Value::Array(vec![Value::Null]),
            )]),
        ),
        (
            b"*2\r\n*1\r\n:1\r\n*0\r\n",
            Value::Array(vec![
                Value::Array(vec![Value::Integer(1)]),
                Value::Array(Vec::new()),
            ]),
        ),
        // Attributes are not heard, wherever they stand.
        (
            b"|0\r\n|1\r\n+a\r\n%0\r\n*1\r\n|1\r\n+a\r\n*0\r\n:1\r\n",
            Value::Array(vec![Value::Integer(1)]),
        ),
    ];
    for (stream, expected) in expected {
        assert_eq!(value(stream), expected, "{}", stream.escape_ascii());
    }
}

#[test]
fn an_attribute_alone_is_no_value() {
    let (values, error, is_between) = hear(limits(), [b"|1\r\n+a\r\n:1\r\n".as_slice()]);
    assert_eq!((values, error), (Vec::new(), None));
    assert!(!is_between, "what it is about is still to come");
}

#[test]
fn what_is_no_resp_is_refused() {
    use RespError as E;
    let wrong: [(&[u8], RespError); 52] = [
        (b"x", E::UnknownType),
        (b"\r\n", E::UnknownType),
        (b"\n", E::UnknownType),
        (b"OK\r\n", E::UnknownType),
        (b" :1\r\n", E::UnknownType),
        (b"HTTP/1.1 200 OK\r\n", E::UnknownType),
        (b"\x16\x03\x01", E::UnknownType),
        // The pieces of a streamed string; that it is one is said before.
        (b";4\r\n", E::UnknownType),
        (b".\r\n", E::UnknownType),
        (b"$?\r\n", E::Streamed),
        (b"*?\r\n", E::Streamed),
        (b"%?\r\n", E::Streamed),
        (b"~?\r\n", E::Streamed),
        (b"+a\n", E::BareLineEnd),
        (b"+a\rb", E::BareLineEnd),
        (b"+a\r\r", E::BareLineEnd),
        (b":1\n", E::BareLineEnd),
        (b"$1\n", E::BareLineEnd),
        (b"$\r\n", E::InvalidLength),
        (b"$-2\r\n", E::InvalidLength),
        (b"$-0\r\n", E::InvalidLength),
        (b"$-01\r\n", E::InvalidLength),
        (b"$+1\r\n", E::InvalidLength),
        (b"$01\r\n", E::InvalidLength),
        (b"$00\r\n", E::InvalidLength),
        (b"$ 1\r\n", E::InvalidLength),
        (b"$1 \r\n", E::InvalidLength),
        (b"$1x\r\n", E::InvalidLength),
        (b"$0x1\r\n", E::InvalidLength),
        (b"*-2\r\n", E::InvalidLength),
        (b"*+1\r\n", E::InvalidLength),
        (b"*01\r\n", E::InvalidLength),
        (b"!-1\r\n", E::InvalidLength),
        (b"=-1\r\n", E::InvalidLength),
        (b"%-1\r\n", E::InvalidLength),
        (b"~-1\r\n", E::InvalidLength),
        (b">-1\r\n", E::InvalidLength),
        (b"|-1\r\n", E::InvalidLength),
        (b":\r\n", E::InvalidScalar),
        (b":-\r\n", E::InvalidScalar),
        (b":--1\r\n", E::InvalidScalar),
        (b":01\r\n", E::InvalidScalar),
        (b":1.0\r\n", E::InvalidScalar),
        (b":9223372036854775808\r\n", E::InvalidScalar),
        (b"(1x\r\n", E::InvalidScalar),
        (b",\r\n", E::InvalidScalar),
        (b",1,5\r\n", E::InvalidScalar),
        (b"#true\r\n", E::InvalidScalar),
        (b"_0\r\n", E::InvalidScalar),
        (b"=3\r\ntxt\r\n", E::InvalidVerbatim),
        (b"=4\r\ntxt.\r\n", E::InvalidVerbatim),
        (b"*1\r\n>0\r\n", E::MisplacedPush),
    ];
    for (stream, expected) in wrong {
        for pieces in [vec![stream], stream.chunks(1).collect()] {
            let (values, error, _) = hear(limits(), pieces);
            assert_eq!(error, Some(expected), "{}", stream.escape_ascii());
            assert!(values.is_empty());
        }
    }
}

#[test]
fn a_bulk_string_ends_where_it_says() {
    assert_eq!(value(b"$3\r\nabc\r\n"), Value::Bulk(b"abc".to_vec()));
    let ends: [&[u8]; 4] = [
        b"$3\r\nabcd\r\n",
        b"$3\r\nabc\n",
        b"$3\r\nabc\rd",
        b"$3\r\nab\r\n+OK\r\n",
    ];
    for stream in ends {
        let heard = error(limits(), stream);
        assert_eq!(
            heard,
            Some(RespError::BulkNotEnded),
            "{}",
            stream.escape_ascii()
        );
    }
}

#[test]
fn what_was_right_is_heard_before_the_error_and_nothing_behind_it() {
    let mut decoder = Decoder::new(limits());
    let mut input: &[u8] = b":1\r\n*2\r\n$1\r\na\r\n$x\r\n:2\r\n";
    assert_eq!(decoder.decode(&mut input), Ok(Some(Value::Integer(1))));
    assert_eq!(decoder.decode(&mut input), Err(RespError::InvalidLength));
    assert_eq!(held(&decoder), 0, "what was incomplete is let go of");
    let mut input: &[u8] = b":2\r\n";
    for _ in 0..2 {
        assert_eq!(decoder.decode(&mut input), Err(RespError::InvalidLength));
    }
    assert_eq!(input, b":2\r\n");
}

#[test]
fn a_line_has_a_bound() {
    let limits = RespLimits {
        max_line: 10,
        ..limits()
    };
    for (stream, expected) in [
        (b"+123456789\r\n".as_slice(), None),
        (b"+1234567890\r\n", Some(RespError::LineTooLong)),
        (b"+1234567890", Some(RespError::LineTooLong)),
        (b"+123456789\n", Some(RespError::BareLineEnd)),
        // The end that is none is behind the bound: nobody got there.
        (b"+1234567890\n", Some(RespError::LineTooLong)),
        (b"$0000000000", Some(RespError::LineTooLong)),
    ] {
        assert_eq!(error(limits, stream), expected);
        assert_eq!(hear(limits, stream.chunks(1)).1, expected);
    }
    assert_eq!(RespLimits::new(0, 0).max_line, 65_536);
}

#[test]
fn a_bulk_string_has_a_bound_that_is_seen_at_its_head() {
    let limits = RespLimits {
        max_bulk: 10,
        ..limits()
    };
    assert_eq!(error(limits, b"$10\r\n0123456789\r\n"), None);
    for head in [
        b"!11\r\n".as_slice(),
        b"=11\r\n",
        b"$536870913\r\n",
        b"$18446744073709551615\r\n",
        b"$18446744073709551616\r\n",
        b"$99999999999999999999999999999\r\n",
    ] {
        assert_eq!(error(limits, head), Some(RespError::BulkTooLong));
    }
    assert_eq!(RespLimits::new(1 << 20, 1).max_bulk, (1 << 20) + 65_536);
}

#[test]
fn a_bulk_string_that_is_too_long_is_passed_over() {
    let limits = RespLimits {
        max_bulk: 10,
        ..limits()
    };
    let stream = b"*2\r\n$11\r\n0123\r\n6789+\r\n$2\r\nhi\r\n:1\r\n";
    let expected = vec![
        Value::Array(vec![Value::Null, Value::Bulk(b"hi".to_vec())]),
        Value::Integer(1),
    ];
    for size in [1, 3, stream.len()] {
        assert_eq!(
            hear(limits, stream.chunks(size)),
            (expected.clone(), None, true)
        );
    }
    let mut decoder = Decoder::new(limits);
    let mut input = b"$536870912\r\n".as_slice();
    assert_eq!(decoder.decode(&mut input), Ok(None));
    let piece = vec![0; 1 << 20];
    for _ in 0..512 {
        assert_eq!(decoder.decode(&mut piece.as_slice()), Ok(None));
    }
    assert_eq!(decoder.bulk.as_ref().unwrap().bytes.capacity(), 0);
    assert_eq!(
        decoder.decode(&mut b"\r\n".as_slice()),
        Ok(Some(Value::Null))
    );
}

#[test]
fn an_aggregate_has_a_bound_that_is_seen_at_its_head() {
    let limits = RespLimits {
        max_elements: 4,
        ..limits()
    };
    for head in [b"*4\r\n", b"~4\r\n", b">4\r\n", b"%2\r\n", b"|2\r\n"] {
        assert_eq!(error(limits, head), None, "{}", head.escape_ascii());
    }
    for head in [
        b"*5\r\n".as_slice(),
        b"~5\r\n",
        b">5\r\n",
        b"%3\r\n",
        b"|3\r\n",
        b"%9223372036854775808\r\n",
        b"*18446744073709551616\r\n",
    ] {
        let heard = error(limits, head);
        assert_eq!(
            heard,
            Some(RespError::TooManyElements),
            "{}",
            head.escape_ascii()
        );
    }
    assert_eq!(RespLimits::new(0, 0).max_elements, 4096);
}

#[test]
fn an_aggregate_inside_another_that_has_too_many_elements_is_passed_over() {
    let limits = RespLimits {
        max_elements: 4,
        ..limits()
    };
    let inside = b"$2\r\nab\r\n$2000\r\n".to_vec();
    let inside = [
        inside,
        vec![b'x'; 2000],
        b"\r\n*1\r\n:1\r\n%1\r\n+a\r\n*5\r\n".to_vec(),
    ];
    let inside = [
        inside.concat(),
        b":1\r\n".repeat(5),
        b"=9\r\nno format\r\n".to_vec(),
    ]
    .concat();
    for head in ["*5", "~5"] {
        let stream = [
            b"*3\r\n+a\r\n",
            head.as_bytes(),
            b"\r\n",
            &inside,
            b"+b\r\n:7\r\n",
        ];
        let stream = stream.concat();
        let simple = |text: &str| Value::Simple(text.as_bytes().to_vec());
        let expected = vec![
            Value::Array(vec![simple("a"), Value::Null, simple("b")]),
            Value::Integer(7),
        ];
        for size in [1, 3, stream.len()] {
            let heard = hear(limits, stream.chunks(size));
            assert_eq!(heard, (expected.clone(), None, true), "{head}");
        }
    }
    let pairs = b"*1\r\n%3\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n";
    let heard = hear(limits, [pairs.as_slice()]);
    assert_eq!(heard, (vec![Value::Array(vec![Value::Null])], None, true));
    // What is wrong in it is wrong, and so is what is deeper than allowed, or more than Redis has.
    let inside: [(&[u8], RespError); 6] = [
        (b"*1\r\n*5\r\n?", RespError::UnknownType),
        (b"*1\r\n*5\r\n$1\r\nab", RespError::BulkNotEnded),
        (b"*1\r\n*5\r\n>1\r\n", RespError::MisplacedPush),
        (b"*1\r\n|5\r\n", RespError::TooManyElements),
        (b"*1\r\n*268435457\r\n", RespError::TooManyElements),
        (&b"*5\r\n".repeat(9)[4..], RespError::TooDeep),
    ];
    for (stream, expected) in inside {
        let stream = [b"*1\r\n", stream].concat();
        assert_eq!(
            error(limits, &stream),
            Some(expected),
            "{}",
            stream.escape_ascii()
        );
    }
    assert_eq!(error(limits, b"*1\r\n*268435456\r\n"), None);
}

#[test]
fn no_memory_is_taken_for_what_is_passed_over() {
    let mut decoder = Decoder::new(limits());
    let mut heads = b"*2\r\n+id\r\n*200000\r\n".as_slice();
    assert_eq!(decoder.decode(&mut heads), Ok(None));
    let before = held(&decoder);
    for _ in 0..66_666 {
        let mut elements = b"$5\r\nfield\r\n:1\r\n*2\r\n$-1\r\n!2\r\nno\r\n".as_slice();
        assert_eq!(decoder.decode(&mut elements), Ok(None));
        assert_eq!(held(&decoder), before);
    }
    let mut rest = b"_\r\n_\r\n".as_slice();
    let expected = vec![Value::Simple(b"id".to_vec()), Value::Null];
    assert_eq!(decoder.decode(&mut rest), Ok(Some(Value::Array(expected))));
}

/// An entry of a stream: a message of so many bytes, behind as many fields of 1000 bytes.
fn entry(fields: usize, len: usize) -> Value {
    let bulk = |len: usize| Value::Bulk(vec![b'x'; len]);
    let mut values = vec![bulk(1000); 2 * fields];
    values.extend([Value::Bulk(b"m".to_vec()), bulk(len)]);
    Value::Array(vec![Value::Bulk(b"12-3".to_vec()), Value::Array(values)])
}

/// The reply to `XREAD` with these entries.
fn reply(entries: &[Value]) -> Value {
    let key = Value::Bulk(b"key".to_vec());
    Value::Map(vec![(key, Value::Array(entries.to_vec()))])
}

/// A value of which the last so many elements are not kept.
fn cut(value: &Value, count: usize) -> Value {
    let elements = value.as_array().unwrap();
    let mut kept = elements[..elements.len() - count].to_vec();
    kept.push(Value::Omitted);
    Value::Array(kept)
}

#[test]
fn what_a_value_has_no_room_for_is_passed_over() {
    let fields = entry(4, 5).as_array().unwrap()[1].clone();
    let name = Value::Bulk(b"12-3".to_vec());
    let entries = [entry(0, 5), entry(4, 5), entry(0, 6)];
    let mut stream = encoded(&[reply(&entries)], false);
    let cost = |value: &Value, count| {
        let bytes = encoded(std::slice::from_ref(value), false).len();
        bytes + count * RespLimits::VALUE_COST
    };
    stream.extend_from_slice(b":7\r\n");
    let all = cost(&reply(&entries), 1 + 1 + 1 + 5 + 13 + 5);
    let third = cost(&entries[2], 5);
    let heard = |room| {
        let limits = limits();
        let limits = RespLimits {
            max_value: room + limits.reserve,
            ..limits
        };
        let heard = hear(limits, [stream.as_slice()]);
        for size in [1, 1000] {
            assert_eq!(hear(limits, stream.chunks(size)), heard);
        }
        assert_eq!((heard.1, heard.2), (None, true));
        assert_eq!(heard.0[1..], [Value::Integer(7)]);
        heard.0[0].clone()
    };
    assert_eq!(heard(all), reply(&entries));
    // The message of the last entry; the whole entry; the message of the one before.
    let last = |entry| reply(&[entries[0].clone(), entries[1].clone(), entry]);
    let last_fields = entries[2].as_array().unwrap()[1].clone();
    let without = Value::Array(vec![name.clone(), cut(&last_fields, 1)]);
    assert_eq!(heard(all - 1), last(without));
    assert_eq!(heard(all - third), last(Value::Omitted));
    // A shorter one behind one that is too long may find room, or may not.
    let without = Value::Array(vec![name, cut(&fields, 1)]);
    let kept = [entries[0].clone(), without, Value::Omitted];
    assert_eq!(heard(all - third - 1), reply(&kept));
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 64,
        ..Default::default()
    })]

    #[test]
    #[cfg_attr(miri, ignore = "it takes minutes there")]
    fn entries_of_any_length_are_kept_as_long_as_there_is_room(
        entries in vec((0..60_usize, 0..1000_usize), 1..10),
        size in 500..5000_usize,
    ) {
        let limits = RespLimits::new(1000, 1);
        let entries = entries.into_iter().map(|(fields, len)| entry(fields, len));
        let entries: Vec<Value> = entries.collect();
        let stream = encoded(&[reply(&entries)], false);
        let (mut decoder, mut heard) = (Decoder::new(limits), None);
        for mut piece in stream.chunks(size) {
            heard = decoder.decode(&mut piece).unwrap();
            prop_assert!(held(&decoder) <= 2 * limits.max_value);
        }
        let Some(Value::Map(streams)) = heard else {
            panic!("it is a map");
        };
        let heard = streams[0].1.as_array().unwrap();
        let whole = heard.iter().zip(&entries).take_while(|(heard, entry)| heard == entry).count();
        // The next one was too much, by what all of them cost.
        let cost = |entries: &[Value]| {
            let values = |entry: &Value| 3 + entry.as_array().unwrap()[1].as_array().unwrap().len();
            let count: usize = entries.iter().map(values).sum();
            encoded(&[reply(entries)], false).len() + (3 + count) * RespLimits::VALUE_COST
        };
        let room = limits.max_value - limits.reserve;
        prop_assert!(cost(&entries[..whole]) <= room);
        if let Some(next) = heard.get(whole) {
            prop_assert!(cost(&entries[..=whole]) + 2 > room);
            let last = |value: &Value| value.as_array().and_then(|all| all.last().cloned());
            let is_cut = |value: &Value| *value == Value::Omitted
                || last(value).is_some_and(|last| last == Value::Omitted);
            prop_assert!(is_cut(next) || last(next).is_some_and(|fields| is_cut(&fields)));
        } else {
            prop_assert_eq!(whole, entries.len());
        }
    }
}

/// What values cost.
fn cost(values: &[Value]) -> usize {
    fn count(value: &Value) -> usize {
        match value {
            Value::Array(elements) => 1 + elements.iter().map(count).sum::<usize>(),
            Value::Map(pairs) => {
                let pair = |(key, value): &(Value, Value)| count(key) + count(value);
                1 + pairs.iter().map(pair).sum::<usize>()
            }
            _ => 1,
        }
    }
    let count: usize = values.iter().map(count).sum();
    encoded(values, false).len() + count * RespLimits::VALUE_COST
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

/// Limits of which one entry could use up all.
fn one_for_all() -> RespLimits {
    let limits = RespLimits::new(1 << 20, 0);
    RespLimits {
        max_value: 30_000 + limits.reserve,
        ..limits
    }
}

/// An entry that costs so much, a long message first and short fields behind it.
fn entry_that_costs(total: usize) -> Value {
    let with = |len: usize| {
        let mut fields = vec![Value::Bulk(b"m".to_vec()), Value::Bulk(vec![b'x'; len])];
        fields.extend(vec![bulk("f"); 4]);
        Value::Array(vec![bulk("12-3"), Value::Array(fields)])
    };
    // A length of five digits, in any case.
    let entry = with(10_000 + total - cost(&[with(10_000)]));
    assert_eq!(cost(std::slice::from_ref(&entry)), total);
    entry
}

/// The replies that hold entries: to `XINFO STREAM` as two versions write it, to `XRANGE`, and to
/// `XREAD` as two versions write it. Each with what it begins with before the first entry.
fn replies(first: &Value) -> [(Value, Vec<u8>); 5] {
    let second = entry(0, 5);
    let mut pairs = vec![
        (bulk("length"), Value::Integer(2)),
        (bulk("first-entry"), first.clone()),
        (bulk("last-entry"), second.clone()),
    ];
    // As many as there is room for.
    for number in pairs.len()..32 {
        let name = format!("what-a-later-version-may-tell-{number}");
        pairs.push((bulk(&name), Value::Integer(i64::MIN)));
    }
    let elements = pairs.iter().flat_map(|(key, value)| [key, value]);
    let flat = Value::Array(elements.cloned().collect());
    let entries = [vec![first.clone()], vec![second; 63]].concat();
    let entries = Value::Array(entries);
    let stream = Value::Array(vec![bulk("key"), entries.clone()]);
    let replies: [(Value, &[u8]); 5] = [
        (
            Value::Map(pairs),
            b"%32\r\n$6\r\nlength\r\n:2\r\n$11\r\nfirst-entry\r\n",
        ),
        (flat, b"*64\r\n$6\r\nlength\r\n:2\r\n$11\r\nfirst-entry\r\n"),
        (entries.clone(), b"*64\r\n"),
        (
            Value::Map(vec![(bulk("key"), entries)]),
            b"%1\r\n$3\r\nkey\r\n*64\r\n",
        ),
        (
            Value::Array(vec![stream]),
            b"*1\r\n*2\r\n$3\r\nkey\r\n*64\r\n",
        ),
    ];
    replies.map(|(reply, begin)| (reply, begin.to_vec()))
}

/// All elements of a value outside of its entries.
fn elements(value: &Value) -> Vec<&Value> {
    match value {
        Value::Map(pairs) => pairs.iter().flat_map(|(key, value)| [key, value]).collect(),
        value => value.as_array().unwrap().iter().collect(),
    }
}

#[test]
fn an_entry_leaves_room_for_what_is_around_it_however_much_it_costs() {
    let limits = one_for_all();
    let values_before = [4, 4, 1, 3, 4];
    for (index, values) in values_before.into_iter().enumerate() {
        let begin = &replies(&Value::Null)[index].1;
        let before = begin.len() + values * RespLimits::VALUE_COST;
        let edge = limits.max_value - limits.reserve - before;
        for total in edge - 100..=edge + 300 {
            let first = entry_that_costs(total);
            let (reply, begin) = &replies(&first)[index];
            let stream = encoded(std::slice::from_ref(reply), false);
            assert!(stream.starts_with(begin));
            let (heard, error, is_between) = hear(limits, [stream.as_slice()]);
            assert_eq!((error, is_between), (None, true), "{index}, {total}");
            // All of the outermost is there; of the entries, what there is room for.
            let (heard, said) = (elements(&heard[0]), elements(reply));
            assert_eq!(heard.len(), said.len());
            for (heard, said) in heard.iter().zip(&said) {
                let is_scalar = said.as_array().is_none();
                assert!(if is_scalar {
                    heard == said
                } else {
                    heard.as_array().is_some()
                });
            }
            if let Some(place) = said.iter().position(|said| **said == first) {
                let id = &heard[place].as_array().unwrap()[0];
                assert_eq!(*id, bulk("12-3"));
                assert_eq!(*heard[place] == first, total <= edge, "{index}, {total}");
            }
        }
    }
}

#[test]
fn what_is_left_to_the_outermost_has_a_bound() {
    let limits = one_for_all();
    let head = b"*1000\r\n".len() + RespLimits::VALUE_COST;
    let first = entry_that_costs(limits.max_value - limits.reserve - head);
    let begin = [b"*1000\r\n".to_vec(), encoded(&[first], false)].concat();
    let line = |len: usize| {
        [
            vec![b'+'; len - RespLimits::VALUE_COST - 2],
            b"\r\n".to_vec(),
        ]
        .concat()
    };
    for (len, expected) in [
        (limits.reserve, None),
        (limits.reserve + 1, Some(RespError::ValueTooBig)),
    ] {
        // In small parts and in one.
        let parts = [line(100).repeat(len / 100 - 1), line(100 + len % 100)].concat();
        for rest in [line(len), parts] {
            let stream = [begin.clone(), rest].concat();
            assert_eq!(error(limits, &stream), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 128,
        ..Default::default()
    })]

    #[test]
    #[cfg_attr(miri, ignore = "it takes minutes there")]
    fn no_entries_are_too_much_for_what_is_around_them(
        pairs in vec((0..60_usize, 0..20_usize, 0..1000_usize), 1..32),
        is_map in any::<bool>(),
    ) {
        let limits = one_for_all();
        let pair = |(name, fields, len): (usize, usize, usize)| {
            let value = if len < 500 { entry(fields, len) } else { Value::Integer(i64::MIN) };
            (Value::Bulk(vec![b'k'; name]), value)
        };
        let pairs: Vec<(Value, Value)> = pairs.into_iter().map(pair).collect();
        let flat = pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect();
        let reply = if is_map { Value::Map(pairs.clone()) } else { Value::Array(flat) };
        let stream = encoded(&[reply], false);
        let (heard, error, is_between) = hear(limits, [stream.as_slice()]);
        prop_assert_eq!((error, is_between), (None, true));
        let heard = elements(&heard[0]);
        prop_assert_eq!(heard.len(), 2 * pairs.len());
        for (heard, (key, _)) in heard.chunks(2).zip(&pairs) {
            prop_assert_eq!(heard[0], key);
        }
    }
}

#[test]
fn aggregates_are_nested_no_deeper_than_allowed() {
    let limits = limits();
    let deep = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
    assert_eq!(error(limits, &deep(8)), None);
    assert_eq!(error(limits, &deep(9)), Some(RespError::TooDeep));
    assert_eq!(error(limits, &deep(1 << 16)), Some(RespError::TooDeep));
    let maps = b"%1\r\n".repeat(9);
    assert_eq!(error(limits, &maps), Some(RespError::TooDeep));
    let attributes = b"|1\r\n".repeat(9);
    assert_eq!(error(limits, &attributes), Some(RespError::TooDeep));
    // What is closed does not count.
    assert_eq!(error(limits, &b"*1\r\n*0\r\n".repeat(20)), None);
}

#[test]
fn a_value_has_a_bound_in_all() {
    let cost = RespLimits::VALUE_COST;
    // An array of two: three heads of four bytes, and three bytes with their line end.
    let stream = b"*2\r\n$3\r\nabc\r\n_\r\n";
    let exact = 3 * cost + 4 + 4 + 5 + 3;
    let limits = |max_value| RespLimits {
        max_value,
        ..limits()
    };
    assert_eq!(error(limits(exact), stream), None);
    assert_eq!(
        error(limits(exact - 1), stream),
        Some(RespError::ValueTooBig)
    );
    // Each value begins anew.
    assert_eq!(
        hear(limits(exact), [stream.repeat(3).as_slice()]).0.len(),
        3
    );
    // It is seen at the head that a bulk string does not fit in.
    assert_eq!(error(limits(200), b"$100\r\n"), None);
    assert_eq!(
        error(limits(130), b"$100\r\n"),
        Some(RespError::ValueTooBig)
    );
    // Attributes are not kept, but somebody who sends them without end is no Redis.
    let attributes = b"|0\r\n".repeat(100);
    assert_eq!(
        error(limits(1000), &attributes),
        Some(RespError::ValueTooBig)
    );
}

#[test]
fn values_of_no_bytes_cost_something() {
    let limits = RespLimits::new(1024, 1);
    // 512 arrays of 4096 nulls each: 6 MB as they arrive, and 67 MB in memory.
    let nulls = [b"*4096\r\n".to_vec(), b"_\r\n".repeat(4096)].concat();
    let stream = [b"*512\r\n".to_vec(), nulls.repeat(512)].concat();
    let alone = hear(limits, [stream.as_slice()]);
    assert_eq!(alone, (Vec::new(), Some(RespError::ValueTooBig), false));
    let stream = [b"*1\r\n".to_vec(), stream].concat();
    let mut decoder = Decoder::new(limits);
    let (mut most, mut heard) = (0, None);
    for mut piece in stream.chunks(1000) {
        heard = decoder.decode(&mut piece).unwrap();
        most = most.max(held(&decoder));
    }
    assert!(most <= 2 * limits.max_value, "{most} bytes");
    let heard = heard.unwrap();
    let last = |value: &Value| value.as_array().and_then(|values| values.last().cloned());
    let inside = heard.as_array().unwrap()[0].as_array().unwrap().iter();
    let whole = inside
        .take_while(|value| last(value) == Some(Value::Null))
        .count();
    assert!((1..12).contains(&whole), "{whole}");
}

#[test]
fn the_largest_replies_that_are_asked_for_fit() {
    let (message, count) = (100_000, 128);
    let limits = RespLimits::new(message, count);
    // The longest bulk string, in each entry of the reply to XREAD, and twice in that to XINFO.
    let bulk = Value::Bulk(vec![b'x'; limits.max_bulk]);
    let entry = Value::Array(vec![
        Value::Bulk(b"18446744073709551615-18446744073709551615".to_vec()),
        Value::Array(vec![Value::Bulk(b"message".to_vec()), bulk]),
    ]);
    let entries = Value::Array(vec![entry.clone(); count]);
    let key = Value::Bulk(vec![b'k'; 512]);
    let mut stream = Vec::new();
    encode(&Value::Map(vec![(key, entries)]), false, &mut stream);
    assert_eq!(error(limits, &stream), None);
    let mut stream = Vec::new();
    let field = |name: &str, value| (Value::Bulk(name.as_bytes().to_vec()), value);
    let fields = vec![
        field("first-entry", entry.clone()),
        field("last-entry", entry),
    ];
    encode(&Value::Map(fields), false, &mut stream);
    assert_eq!(error(RespLimits::new(message, 1), &stream), None);
}

/// Bytes that a decoder holds.
fn held(decoder: &Decoder) -> usize {
    let elements = |aggregate: &Aggregate| {
        let inside: usize = aggregate.elements.iter().map(held_by).sum();
        aggregate.elements.capacity() * size_of::<Value>() + inside
    };
    let bulk = decoder.bulk.as_ref();
    decoder.line.kept.capacity()
        + bulk.map_or(0, |bulk| bulk.bytes.capacity())
        + decoder.open.iter().map(elements).sum::<usize>()
}

/// Bytes that a value holds on the heap.
fn held_by(value: &Value) -> usize {
    match value {
        Value::Null | Value::Omitted | Value::Integer(_) | Value::Boolean(_) => 0,
        Value::Simple(bytes)
        | Value::Error(bytes)
        | Value::Double(bytes)
        | Value::BigNumber(bytes)
        | Value::Bulk(bytes)
        | Value::Verbatim { text: bytes, .. } => bytes.capacity(),
        Value::Array(values) | Value::Set(values) | Value::Push(values) => {
            let inside: usize = values.iter().map(held_by).sum();
            values.capacity() * size_of::<Value>() + inside
        }
        Value::Map(pairs) => {
            let held = |(key, value): &(Value, Value)| held_by(key) + held_by(value);
            let inside: usize = pairs.iter().map(held).sum();
            pairs.capacity() * 2 * size_of::<Value>() + inside
        }
    }
}

#[test]
fn memory_grows_with_what_has_arrived() {
    const AHEAD: usize = 64 * 1024;
    let len = 1 << 20;
    let mut decoder = Decoder::new(RespLimits::new(len, 1));
    assert_eq!(decoder.decode(&mut b"$1048576\r\n".as_slice()), Ok(None));
    assert_eq!(held(&decoder), 0, "nothing has arrived");
    for arrived in 1..=len {
        assert_eq!(decoder.decode(&mut b"x".as_slice()), Ok(None));
        let held = held(&decoder);
        assert!(held <= AHEAD.max(2 * arrived), "{held} for {arrived}");
        assert!(held <= len, "{held} for {arrived}");
    }
    let value = decoder.decode(&mut b"\r\n".as_slice()).unwrap().unwrap();
    assert_eq!(held_by(&value), len, "no more than it needs");
    assert_eq!(held(&decoder), 0, "nothing is kept between values");
}

#[test]
fn no_memory_is_taken_for_elements_that_are_announced() {
    let mut decoder = Decoder::new(limits());
    assert_eq!(
        decoder.decode(&mut b"*4096\r\n".repeat(8).as_slice()),
        Ok(None)
    );
    assert!(held(&decoder) <= 8 * 16 * size_of::<Value>());
    let mut decoder = Decoder::new(RespLimits::new(1 << 20, 128));
    decoder.decode(&mut b"*4096\r\n".as_slice()).unwrap();
    for arrived in 1..4096 {
        assert_eq!(decoder.decode(&mut b":1\r\n".as_slice()), Ok(None));
        assert!(held(&decoder) <= 2 * arrived.max(8) * size_of::<Value>());
    }
}

#[test]
fn a_megabyte_in_small_pieces_costs_no_more() {
    let len = 1_000_000;
    let stream = [b"$1000000\r\n".to_vec(), vec![b'x'; len]].concat();
    for piece in [1, 4096] {
        let mut decoder = Decoder::new(RespLimits::new(len, 1));
        let (mut moved, mut before) = (0, 0);
        for mut bytes in stream.chunks(piece) {
            let taken = bytes.len();
            assert_eq!(decoder.decode(&mut bytes), Ok(None));
            assert!(bytes.is_empty(), "{taken} bytes are not shown again");
            let bulk = decoder
                .bulk
                .as_ref()
                .map(|bulk| (bulk.bytes.capacity(), bulk.bytes.len()));
            if let Some((capacity, len)) = bulk.filter(|(capacity, _)| *capacity != before) {
                // What was there may have been copied.
                (moved, before) = (moved + len, capacity);
            }
        }
        assert!(
            decoder.line.looked_at <= 16,
            "the head, and no byte of what follows"
        );
        assert!(
            moved <= 2 * len,
            "{moved} bytes copied in pieces of {piece}"
        );
    }
}

#[test]
fn a_long_line_in_small_pieces_costs_no_more() {
    let len = 60_000;
    let stream = [b"+".to_vec(), vec![b'x'; len], b"\r\n".to_vec()].concat();
    for piece in [1, 100] {
        let mut decoder = Decoder::new(limits());
        let mut value = None;
        for mut bytes in stream.chunks(piece) {
            value = decoder.decode(&mut bytes).unwrap();
        }
        assert_eq!(value, Some(Value::Simple(vec![b'x'; len])));
        assert!(decoder.line.looked_at <= stream.len());
    }
}

#[test]
fn many_elements_in_small_pieces_cost_no_more() {
    let entry = b"*2\r\n$15\r\n1700000000000-0\r\n*2\r\n$1\r\nm\r\n+hello\r\n";
    let stream = [b"*4000\r\n".to_vec(), entry.repeat(4000)].concat();
    let mut decoder = Decoder::new(RespLimits::new(1 << 20, 128));
    let mut value = None;
    for mut bytes in stream.chunks(1) {
        value = decoder.decode(&mut bytes).unwrap();
    }
    assert_eq!(
        value.and_then(|value| Some(value.as_array()?.len())),
        Some(4000)
    );
    assert!(decoder.line.looked_at <= stream.len());
}
