//! RESP, read and written by hand: what a client of Redis asks, and what Redis answers.

/// The words of the command that `bytes` begin with, and its length; `None` if more bytes are
/// needed.
///
/// # Panics
/// If it is none: nobody sends anything else.
pub(crate) fn command(bytes: &[u8]) -> Option<(Vec<&[u8]>, usize)> {
    let mut rest = bytes;
    let count = head(b'*', &mut rest)?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let len = head(b'$', &mut rest)?;
        let (word, behind) = rest.split_at_checked(len)?;
        let (end, behind) = behind.split_at_checked(2)?;
        assert_eq!(end, b"\r\n", "a word is longer than it says");
        words.push(word);
        rest = behind;
    }
    Some((words, bytes.len() - rest.len()))
}

/// A number behind this byte, in a line of its own.
fn head(kind: u8, rest: &mut &[u8]) -> Option<usize> {
    let (first, behind) = rest.split_first()?;
    assert_eq!(*first, kind, "no command");
    let end = behind.iter().position(|byte| *byte == b'\n')?;
    let (line, behind) = behind.split_at(end + 1);
    *rest = behind;
    let number = line.strip_suffix(b"\r\n").expect("a line ends in CR LF");
    let number = std::str::from_utf8(number).expect("a number is ASCII");
    Some(number.parse().expect("a line has a number"))
}

/// What Redis says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply(pub(crate) Vec<u8>);

impl Reply {
    pub(crate) fn ok() -> Self {
        Self::default().simple("OK")
    }

    pub(crate) fn error(text: &str) -> Self {
        Self(format!("-{text}\r\n").into_bytes())
    }

    pub(crate) fn number(number: usize) -> Self {
        Self::default().int(number)
    }

    pub(crate) fn simple(self, text: &str) -> Self {
        self.line('+', text)
    }

    pub(crate) fn int(self, number: usize) -> Self {
        self.line(':', number)
    }

    pub(crate) fn array(self, len: usize) -> Self {
        self.line('*', len)
    }

    pub(crate) fn map(self, len: usize) -> Self {
        self.line('%', len)
    }

    pub(crate) fn push(self, len: usize) -> Self {
        self.line('>', len)
    }

    pub(crate) fn null(mut self) -> Self {
        self.0.extend_from_slice(b"_\r\n");
        self
    }

    pub(crate) fn bulk(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let mut reply = self.line('$', bytes.len());
        reply.0.extend_from_slice(bytes);
        reply.0.extend_from_slice(b"\r\n");
        reply
    }

    fn line(mut self, kind: char, text: impl std::fmt::Display) -> Self {
        use std::io::Write;

        write!(self.0, "{kind}{text}\r\n").expect("a Vec takes everything");
        self
    }
}
