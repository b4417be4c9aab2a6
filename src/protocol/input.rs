//! A cursor over bytes that were just read.

/// The bytes that arrived, consumed from the front.
///
/// It borrows the reader's buffer mutably, so that payloads can be unmasked in place, and hands
/// out slices with the buffer's own lifetime: an event that holds one borrows neither the
/// connection nor the cursor.
#[derive(Debug)]
pub struct Input<'i> {
    bytes: &'i mut [u8],
}

impl<'i> Input<'i> {
    /// A cursor at the first of `bytes`.
    pub fn new(bytes: &'i mut [u8]) -> Self {
        Self { bytes }
    }

    /// How many bytes are left.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether everything has been consumed.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is left, without consuming it.
    pub fn peek(&self) -> &[u8] {
        self.bytes
    }

    /// Consumes `count` bytes, or all that are left if there are fewer.
    pub fn take(&mut self, count: usize) -> &'i mut [u8] {
        let count = count.min(self.bytes.len());
        let (taken, rest) = std::mem::take(&mut self.bytes).split_at_mut(count);
        self.bytes = rest;
        taken
    }

    /// Consumes all that is left.
    pub fn take_all(&mut self) -> &'i mut [u8] {
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_outlive_the_cursor() {
        let mut bytes = *b"abcdef";
        let (first, second) = {
            let mut input = Input::new(&mut bytes);
            let first = input.take(2);
            assert_eq!(input.peek(), b"cdef");
            assert!(!input.is_empty());
            (first, input.take(100))
        };
        assert_eq!((&*first, &*second), (&b"ab"[..], &b"cdef"[..]));
    }

    #[test]
    fn an_exhausted_input_gives_empty_slices() {
        let mut bytes = *b"a";
        let mut input = Input::new(&mut bytes);
        assert_eq!(input.take_all(), b"a");
        assert!(input.is_empty() && input.take(1).is_empty() && input.take_all().is_empty());
    }
}
