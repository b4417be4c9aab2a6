//! Who may do what: the binary's application, behind a gate.
//!
//! The gate decides in [`Handler::on_upgrade`] and [`Handler::on_publish`], and nowhere else: what
//! the flags can do, a handler of one's own can do as well.

#[cfg(feature = "auth")]
mod credential;
mod date;
#[cfg_attr(not(feature = "auth"), path = "without_auth.rs")]
mod keyring;
#[cfg(feature = "auth")]
mod role;
#[cfg(feature = "auth")]
mod rooms;
#[cfg(feature = "auth")]
mod tickets;
#[cfg(feature = "auth")]
mod token_command;
#[cfg(feature = "auth")]
mod tokens;

use fanfare::{
    Admission, ClientId, Disconnect, Handler, Message, Outbox, Peer, Rejection, Request,
};
use log::debug;

use crate::config::{AccessSettings, Publish};
use keyring::{Grant, Keyring};

#[cfg(not(feature = "auth"))]
pub(crate) use keyring::run as token;
#[cfg(feature = "auth")]
pub(crate) use token_command::run as token;

/// An application, and who gets to it.
#[derive(Debug)]
pub(crate) struct Gate<H> {
    application: H,
    access: Access,
}

impl<H> Gate<H> {
    pub(crate) fn new(application: H, access: Access) -> Self {
        Self {
            application,
            access,
        }
    }

    /// Whether the credentials that count behind the other gate are not those that count here.
    pub(crate) fn has_other_credentials_than(&self, other: &Self) -> bool {
        self.access.keyring != other.access.keyring
    }
}

impl<H: Handler> Handler for Gate<H> {
    fn on_upgrade(
        &mut self,
        request: &Request<'_>,
        room: &str,
        peer: Peer,
    ) -> Result<Admission, Rejection> {
        let (admission, name) = self.access.admit(request, room, date::unix_seconds())?;
        if let Some(name) = name {
            debug!("let in peer={peer} room={room:?} as={name}");
        }
        Ok(admission)
    }

    fn on_publish(
        &mut self,
        request: &Request<'_>,
        room: &str,
        peer: Peer,
    ) -> Result<(), Rejection> {
        let name = self.access.permit(request, room, date::unix_seconds())?;
        if let Some(name) = name {
            debug!("publishes peer={peer} room={room:?} as={name}");
        }
        Ok(())
    }

    fn on_open(&mut self, outbox: &mut Outbox<'_>, id: ClientId, request: &Request<'_>) {
        self.application.on_open(outbox, id, request);
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: Message<'_>) {
        self.application.on_message(outbox, id, message);
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, id: ClientId, why: &Disconnect) {
        self.application.on_close(outbox, id, why);
    }
}

/// The rules. Files are read when it is loaded, and never again.
#[derive(Debug)]
pub(crate) struct Access {
    publish: Publish,
    keyring: Option<Keyring>,
    /// The server's own subprotocols, which go before `bearer`.
    subprotocols: Vec<String>,
}

impl Access {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// What is wrong, with the flag, the file and the line, and never with a secret or its hash.
    pub(crate) fn load(settings: &AccessSettings) -> Result<Self, String> {
        let keyring = Keyring::load(settings)?;
        if keyring.is_none() && settings.publish == Publish::Token {
            return Err("--publish token needs --tokens or --ticket-key".to_owned());
        }
        Ok(Self {
            publish: settings.publish,
            keyring,
            subprotocols: settings.subprotocols.clone(),
        })
    }

    /// Decides on an upgrade; with whose credential, if it was one that has a name.
    ///
    /// Where credentials are checked at all, everybody needs one; but with `--publish token`,
    /// whoever shows none may listen.
    fn admit(
        &self,
        request: &Request<'_>,
        room: &str,
        now: u64,
    ) -> Result<(Admission, Option<&str>), Rejection> {
        let listening_is_free = self.keyring.is_none() || self.publish == Publish::Token;
        let mut admission = Admission::default();
        let Some(grant) = self.grant(request, room, now)? else {
            if !listening_is_free {
                return Err(Rejection::Unauthorized);
            }
            admission.may_publish = self.publish == Publish::Any;
            return Ok((admission, None));
        };
        // Who is in a room hears it.
        if !listening_is_free && !grant.may_listen() {
            return Err(Rejection::Forbidden);
        }
        admission.may_publish = self.publish != Publish::None && grant.may_publish();
        admission.valid_for = grant.valid_for();
        admission.subprotocol = grant
            .subprotocol()
            .filter(|_| !self.speaks_one_of(request))
            .map(str::to_owned);
        Ok((admission, grant.name()))
    }

    /// Decides on publishing over HTTP; with whose credential, if it was one that has a name.
    fn permit(
        &self,
        request: &Request<'_>,
        room: &str,
        now: u64,
    ) -> Result<Option<&str>, Rejection> {
        if !self.keyring.as_ref().is_some_and(Keyring::has_tokens) {
            return Ok(None);
        }
        match self.grant(request, room, now)? {
            None => Err(Rejection::Unauthorized),
            Some(grant) if grant.may_publish() => Ok(grant.name()),
            Some(_) => Err(Rejection::Forbidden),
        }
    }

    fn grant(
        &self,
        request: &Request<'_>,
        room: &str,
        now: u64,
    ) -> Result<Option<Grant<'_>>, Rejection> {
        match &self.keyring {
            Some(keyring) => keyring.judge(request, room, now),
            None => Ok(None),
        }
    }

    /// Whether a client offers a subprotocol that the server chooses by itself.
    fn speaks_one_of(&self, request: &Request<'_>) -> bool {
        let own = |offer: &[u8]| self.subprotocols.iter().any(|own| own.as_bytes() == offer);
        request.list("sec-websocket-protocol").any(own)
    }
}

#[cfg(test)]
#[cfg(feature = "auth")]
mod tests;
