//! What stands in for credentials where the feature `auth` is off: there are none.

use std::convert::Infallible;
use std::ffi::OsString;
use std::time::Duration;

use fanfare::{Rejection, Request};

use crate::Failure;
use crate::config::AccessSettings;

/// There is no such thing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Keyring {}

/// There is no such thing.
#[derive(Debug)]
pub(super) enum Grant<'k> {
    #[expect(dead_code, reason = "nobody can make it")]
    Never(Infallible, &'k str),
}

impl<'k> Grant<'k> {
    pub(super) fn name(&self) -> Option<&'k str> {
        let Self::Never(never, _) = self;
        match *never {}
    }

    pub(super) fn may_listen(&self) -> bool {
        let Self::Never(never, _) = self;
        match *never {}
    }

    pub(super) fn may_publish(&self) -> bool {
        let Self::Never(never, _) = self;
        match *never {}
    }

    pub(super) fn valid_for(&self) -> Option<Duration> {
        let Self::Never(never, _) = self;
        match *never {}
    }

    pub(super) fn subprotocol(&self) -> Option<&'static str> {
        let Self::Never(never, _) = self;
        match *never {}
    }
}

impl Keyring {
    pub(super) fn load(settings: &AccessSettings) -> Result<Option<Self>, String> {
        let missing = |flag| Err(format!("{flag}: {MISSING}"));
        match settings {
            AccessSettings {
                tokens: Some(_), ..
            } => missing("--tokens"),
            AccessSettings {
                ticket_key: Some(_),
                ..
            } => missing("--ticket-key"),
            _ => Ok(None),
        }
    }

    pub(super) fn has_tokens(&self) -> bool {
        match *self {}
    }

    pub(super) fn judge(
        &self,
        _: &Request<'_>,
        _: &str,
        _: u64,
    ) -> Result<Option<Grant<'_>>, Rejection> {
        match *self {}
    }
}

pub(crate) fn run(_: Vec<OsString>) -> Result<(), Failure> {
    Err(Failure::usage(format!("token: {MISSING}")))
}

const MISSING: &str = "this binary was built without the feature auth";
