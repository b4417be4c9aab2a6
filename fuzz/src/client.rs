//! A client's side of the wire, by hand.

/// The masking key of all frames: that of the examples in RFC 6455, section 5.7.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame of this first byte, its length in the shortest form.
pub(crate) fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u64).to_be_bytes();
    let mut frame = match payload.len() {
        0..=125 => vec![first_byte, 0x80 | len[7]],
        126..=0xFFFF => vec![first_byte, 0x80 | 0x7E, len[6], len[7]],
        _ => [&[first_byte, 0x80 | 0x7F], &len[..]].concat(),
    };
    frame.extend(KEY);
    let start = frame.len();
    frame.extend(payload);
    for word in frame[start..].chunks_mut(KEY.len()) {
        for (byte, key) in word.iter_mut().zip(KEY) {
            *byte ^= key;
        }
    }
    frame
}

/// The stream that is written down as a row of first byte, length of the payload, payload.
///
/// Bytes that were made up seldom have a length and a mask that fit what follows; written like
/// this they always have, and what is tried out is the frames' order and what they say.
pub(crate) fn stream(mut written: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let [first_byte, len, rest @ ..] = written {
        let (payload, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        stream.extend(frame(*first_byte, payload));
        written = rest;
    }
    stream
}
