//! All that credentials are checked with.

use std::time::Duration;

use fanfare::{Rejection, Request};

use super::credential::{Credential, SUBPROTOCOL};
use super::role::Role;
use super::tickets::TicketKey;
use super::tokens::Tokens;
use crate::config::AccessSettings;

/// The tokens and the key of tickets, as far as there are any.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keyring {
    tokens: Option<Tokens>,
    ticket_key: Option<TicketKey>,
    in_query: bool,
}

/// What a valid credential allows in the room that was asked for.
#[derive(Debug)]
pub(super) struct Grant<'k> {
    name: Option<&'k str>,
    role: Role,
    valid_for: Option<Duration>,
    is_subprotocol: bool,
}

impl<'k> Grant<'k> {
    /// Whose it is: a token's name.
    pub(super) fn name(&self) -> Option<&'k str> {
        self.name
    }

    pub(super) fn may_listen(&self) -> bool {
        self.role.may_listen()
    }

    pub(super) fn may_publish(&self) -> bool {
        self.role.may_publish()
    }

    pub(super) fn valid_for(&self) -> Option<Duration> {
        self.valid_for
    }

    /// What must be answered to a client that has shown it among its subprotocols.
    pub(super) fn subprotocol(&self) -> Option<&'static str> {
        self.is_subprotocol.then_some(SUBPROTOCOL)
    }
}

impl Keyring {
    /// Reads the files that there are; `None` if no credentials are to be checked.
    ///
    /// # Errors
    /// Names the flag and the file.
    pub(super) fn load(settings: &AccessSettings) -> Result<Option<Self>, String> {
        let tokens = settings.tokens.as_deref().map(Tokens::load).transpose();
        let ticket_key = settings
            .ticket_key
            .as_deref()
            .map(TicketKey::load)
            .transpose();
        let keyring = Self {
            tokens: tokens.map_err(|why| format!("--tokens: {why}"))?,
            ticket_key: ticket_key.map_err(|why| format!("--ticket-key: {why}"))?,
            in_query: settings.token_in_query,
        };
        let is_empty = keyring.tokens.is_none() && keyring.ticket_key.is_none();
        Ok((!is_empty).then_some(keyring))
    }

    pub(super) fn has_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Judges the credential that a request shows, if it shows one.
    ///
    /// # Errors
    /// One that is unknown, forged or expired, or for another room; or several.
    pub(super) fn judge(
        &self,
        request: &Request<'_>,
        room: &str,
        now: u64,
    ) -> Result<Option<Grant<'_>>, Rejection> {
        let Some(credential) = Credential::find(request, self.in_query)? else {
            return Ok(None);
        };
        let secret = &credential.secret;
        let token = self.tokens.as_ref().and_then(|tokens| tokens.find(secret));
        let ticket = || self.ticket_key.as_ref()?.check(secret, now);
        let (name, role, valid_for, is_covered) = if let Some(token) = token {
            let name = Some(token.name.as_str());
            (name, token.role, None, token.covers(room))
        } else if let Some(ticket) = ticket() {
            let is_covered = ticket.room == room;
            (None, ticket.role, Some(ticket.valid_for), is_covered)
        } else {
            return Err(Rejection::InvalidCredential);
        };
        if !is_covered {
            return Err(Rejection::Forbidden);
        }
        Ok(Some(Grant {
            name,
            role,
            valid_for,
            is_subprotocol: credential.is_subprotocol,
        }))
    }
}
