//! What a credential is good for.

/// Listening, publishing, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Subscribe,
    Publish,
    Both,
}

impl Role {
    pub(super) fn from_word(word: &str) -> Option<Self> {
        match word {
            "subscribe" => Some(Self::Subscribe),
            "publish" => Some(Self::Publish),
            "both" => Some(Self::Both),
            _ => None,
        }
    }

    pub(super) fn may_listen(self) -> bool {
        matches!(self, Self::Subscribe | Self::Both)
    }

    pub(super) fn may_publish(self) -> bool {
        matches!(self, Self::Publish | Self::Both)
    }
}
