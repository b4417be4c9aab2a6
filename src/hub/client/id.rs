//! Who is who.

use std::fmt;

/// Names a client. Never used again, not even when its place in the tables is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId {
    index: u32,
    generation: u32,
}

impl ClientId {
    pub(in crate::hub) fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// The client's place in the hub's table: small, and free for another client once this one has
    /// been reaped. A driver keeps its socket at the same place of its own table.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// The id in one number, for those who hand it back.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The id that was [this number](Self::to_bits).
    #[expect(clippy::cast_possible_truncation, reason = "each half is cut off")]
    pub fn from_bits(bits: u64) -> Self {
        Self {
            index: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }

    pub(in crate::hub) fn index_u32(self) -> u32 {
        self.index
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_shown_with_its_place_and_its_number() {
        assert_eq!(ClientId::new(3, 14).to_string(), "3.14");
    }

    #[test]
    fn an_id_survives_being_a_number() {
        for (index, generation) in [(0, 0), (3, 14), (u32::MAX, 1), (7, u32::MAX)] {
            let id = ClientId::new(index, generation);
            assert_eq!(ClientId::from_bits(id.to_bits()), id);
        }
    }
}
