//! What a driver adds to what operators are answered: what it knows and the hub does not.

use crate::hub::Hub;

/// What a driver adds to what operators are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Supplement {
    /// Lines behind that of `/healthz`, each with its end. They do not change the status.
    pub health: String,
    /// Why no client should be sent here, in a few words: for `/readyz`.
    pub unready: Option<&'static str>,
    /// The same for those who ask strictly: for `/readyz?strict=1`.
    pub strictly_unready: Option<&'static str>,
    /// Whether so much waits to be heard that nothing should be published for now.
    pub is_clogged: bool,
    /// What follows in `/metrics`, in the text format of Prometheus, version 0.0.4.
    pub metrics: String,
}

impl Hub {
    /// From now on operators are answered this as well.
    pub fn set_supplement(&mut self, supplement: Supplement) {
        self.supplement = supplement;
    }

    /// Why no client should be sent here; `None` if they should.
    pub(super) fn unready(&self, query: Option<&str>) -> Option<&'static str> {
        if self.is_draining() {
            return Some("draining");
        }
        if self.len() >= self.config.max_connections {
            return Some("full");
        }
        let is_strict = query.is_some_and(|query| query.split('&').any(|part| part == "strict=1"));
        let Supplement {
            unready,
            strictly_unready,
            ..
        } = self.supplement;
        unready.or(strictly_unready.filter(|_| is_strict))
    }
}
