//! A request head: collected the same however it is cut, and parsed as a naive reader would.

use fanfare::HandshakeError;
use fanfare::protocol::Input;
use fanfare::protocol::http::{HeadBuffer, MAX_FIELDS, MAX_HEAD, Request, Response};

use super::plan::{Cuts, Plan};

/// What came of collecting: the head and how many bytes it took, or an error.
pub(crate) type Collected = Result<Option<(Vec<u8>, usize)>, HandshakeError>;

/// Collects a head in three ways, and parses it.
pub fn run(bytes: &[u8]) {
    let (cuts, stream) = Plan::split_off_cuts(bytes);
    let whole = collect(stream, &Cuts::WHOLE);
    assert_eq!(collect(stream, &cuts), whole, "cut at {cuts:?}");
    assert_eq!(
        collect(stream, &Cuts::bytewise()),
        whole,
        "cut behind every byte"
    );
    match whole {
        Ok(None) => assert!(stream.len() <= MAX_HEAD, "more than a head is waited for"),
        Ok(Some((head, end))) => {
            assert!(end <= MAX_HEAD && stream[..end].ends_with(&head));
            let skipped = &stream[..end - head.len()];
            assert!(
                skipped.chunks(2).all(|line| line == b"\r\n"),
                "more than empty lines went"
            );
            parse(&head);
        }
        Err(error) => check_refusal(error),
    }
}

/// What a new buffer makes of a stream that is cut like this.
pub(crate) fn collect(stream: &[u8], cuts: &Cuts) -> Collected {
    let (mut buffer, mut taken) = (HeadBuffer::default(), 0);
    for piece in cuts.pieces(&mut stream.to_vec()) {
        taken += piece.len();
        let mut input = Input::new(piece);
        let head = buffer.receive(&mut input)?;
        taken -= input.len();
        if let Some(head) = head {
            return Ok(Some((head, taken)));
        }
        assert!(input.is_empty(), "input is left over");
        assert_eq!(buffer.is_empty(), taken == 0);
    }
    Ok(None)
}

/// Parses a whole head, and compares with its lines.
fn parse(head: &[u8]) {
    let text: Vec<u8> = head
        .strip_suffix(b"\r\n\r\n")
        .expect("it is whole")
        .to_vec();
    let mut lines = split_lines(&text);
    let request_line = lines.next().expect("there is a first line");
    let request = match Request::parse(head) {
        Ok(request) => request,
        Err(error) => return check_refusal(error),
    };
    assert!(request_line.starts_with(request.method().as_bytes()));
    assert!(request_line.ends_with(b" HTTP/1.1"));
    assert!(request.path().starts_with('/') && !request.path().contains(['?', ' ', '#']));
    assert!(
        request
            .query()
            .is_none_or(|query| !query.contains([' ', '#']))
    );
    assert!(!request.host().is_empty() && request.host().is_ascii());
    let fields: Vec<(String, Vec<u8>)> = lines.map(split_field).collect();
    assert!(fields.len() <= MAX_FIELDS);
    for (name, _) in &fields {
        let expected = fields.iter().filter(|(other, _)| other == name);
        let seen: Vec<&[u8]> = request.values(name).collect();
        assert_eq!(
            seen,
            expected.map(|(_, value)| &value[..]).collect::<Vec<_>>()
        );
    }
}

/// The lines of a head without its end.
pub(crate) fn split_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.windows(2).position(|window| window == b"\r\n");
        rest = end.map(|end| &text[end + 2..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

/// A field's name in lower case, and its value without the white space around it.
fn split_field(line: &[u8]) -> (String, Vec<u8>) {
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .expect("a field has a colon");
    let name = std::str::from_utf8(&line[..colon]).expect("a name is ASCII");
    assert!(
        name.bytes().all(|byte| byte.is_ascii_graphic()),
        "a name has odd bytes"
    );
    (
        name.to_ascii_lowercase(),
        line[colon + 1..].trim_ascii().to_vec(),
    )
}

/// A refusal is one answer, with a status for who errs, and its body is as long as it says.
pub(crate) fn check_refusal(error: HandshakeError) {
    let mut answer = Vec::new();
    Response::refusal(error).encode(&mut answer);
    let answer = String::from_utf8(answer).expect("we answer in ASCII");
    let (head, body) = answer.split_once("\r\n\r\n").expect("there is a body");
    assert!((400..600).contains(&error.status()));
    assert!(head.starts_with(&format!("HTTP/1.1 {} ", error.status())));
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())));
    assert!(head.contains("close"), "the connection is closed");
}
