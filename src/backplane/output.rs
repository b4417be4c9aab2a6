//! What is to be written to a link.

use std::fmt;

use super::resp::encode;

/// Bytes above which a link takes no more messages until some have been written: what waits in the
/// queue is held once, and here it is a copy.
pub(super) const MAX_OUTPUT: usize = 1024 * 1024;

/// Memory that an empty output keeps.
const KEPT: usize = 64 * 1024;

/// What is to be written to a link, in one piece. Its `Debug` output hides the bytes: a password
/// may be among them.
#[derive(Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// How many of them have been written.
    written: usize,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.as_bytes().len();
        f.debug_struct("Output")
            .field("waiting", &waiting)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// Appends a command. Returns its length in bytes.
    pub(super) fn push(&mut self, args: &[&[u8]]) -> usize {
        if self.written > 0 && self.written >= self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        let before = self.bytes.len();
        encode::command(args, &mut self.bytes);
        self.bytes.len() - before
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// So many bytes have been written, or all there are if that is less.
    pub(super) fn written(&mut self, count: usize) {
        self.written = self.written.saturating_add(count).min(self.bytes.len());
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            self.written = 0;
        }
    }

    /// Whether one more message may be put here.
    pub(super) fn has_room(&self) -> bool {
        self.as_bytes().len() < MAX_OUTPUT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_gone_and_the_rest_stays_in_order() {
        let mut output = Output::default();
        let len = output.push(&[b"PING"]);
        assert_eq!(len, b"*1\r\n$4\r\nPING\r\n".len());
        output.written(5);
        output.push(&[b"A"]);
        assert_eq!(output.as_bytes(), b"4\r\nPING\r\n*1\r\n$1\r\nA\r\n");
        output.written(usize::MAX);
        assert!(output.as_bytes().is_empty());
        output.push(&[b"B"]);
        assert_eq!(output.as_bytes(), b"*1\r\n$1\r\nB\r\n");
    }

    #[test]
    fn a_password_is_not_shown() {
        let mut output = Output::default();
        output.push(&[b"AUTH", b"app", b"secret"]);
        let shown = format!("{output:?}");
        assert_eq!(shown, "Output { waiting: 35, .. }");
    }

    #[test]
    fn there_is_room_until_the_limit() {
        let mut output = Output::default();
        let (half, overhead) = (vec![0; MAX_OUTPUT / 2], 17);
        output.push(&[&half[..half.len() - overhead]]);
        assert!(output.has_room());
        output.push(&[&half]);
        assert!(!output.has_room());
        output.written(MAX_OUTPUT / 2);
        assert!(output.has_room());
        // Memory follows what is left, and does not grow with what has passed.
        for _ in 0..20 {
            output.push(&[&half]);
            output.written(half.len());
        }
        assert!(output.bytes.capacity() <= 4 * MAX_OUTPUT);
        output.written(usize::MAX);
        assert!(output.bytes.capacity() <= KEPT);
    }
}
