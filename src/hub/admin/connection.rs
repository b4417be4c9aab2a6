//! An operator's connection: one request after another, each answered before the next is read.

use crate::hub::MAX_RECEIVE;
use crate::protocol::http::{Body, BodyError, HeadBuffer};
use crate::protocol::{HandshakeError, Input, MessageKind};

/// What an operator has said, as far as it is not answered.
#[derive(Debug, Default)]
pub(in crate::hub) struct AdminConnection {
    /// The request head that is arriving.
    head: HeadBuffer,
    /// Whose body is arriving.
    publication: Option<Publication>,
    /// Input behind a request that is being answered, from `held_from` on.
    held: Vec<u8>,
    held_from: usize,
}

/// A message whose payload is arriving, from somebody who may publish it.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) room: String,
    pub(super) kind: MessageKind,
    pub(super) body: Body,
    /// Whether the connection ends behind the answer.
    pub(super) is_last: bool,
}

/// What one look at the input came to.
pub(super) enum Arrived {
    /// The input is used up.
    Nothing,
    Head(Vec<u8>),
    NoHead(HandshakeError),
    Body(Publication, Vec<u8>),
    NoBody(BodyError),
}

/// How far the request is that is arriving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not a byte is there.
    Idle,
    Head,
    Body,
}

impl AdminConnection {
    /// Input that may be held at most: what one read brings.
    pub(in crate::hub) const MAX_HELD: usize = MAX_RECEIVE;

    pub(super) fn progress(&self) -> Progress {
        match (&self.publication, self.head.is_empty()) {
            (Some(_), _) => Progress::Body,
            (None, false) => Progress::Head,
            (None, true) => Progress::Idle,
        }
    }

    /// Reads a body next.
    pub(super) fn expect_body(&mut self, publication: Publication) {
        self.publication = Some(publication);
    }

    /// Reads up to the end of a head, or of a body.
    pub(super) fn receive(&mut self, input: &mut Input<'_>) -> Arrived {
        let Some(publication) = &mut self.publication else {
            return match self.head.receive(input) {
                Ok(Some(head)) => {
                    self.head = HeadBuffer::default();
                    Arrived::Head(head)
                }
                Ok(None) => Arrived::Nothing,
                Err(error) => Arrived::NoHead(error),
            };
        };
        match publication.body.receive(input) {
            Ok(None) => Arrived::Nothing,
            Ok(Some(body)) => match self.publication.take() {
                Some(publication) => Arrived::Body(publication, body),
                None => Arrived::Nothing,
            },
            Err(error) => Arrived::NoBody(error),
        }
    }

    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Keeps input for later; whether there was room for it.
    pub(super) fn hold(&mut self, input: &[u8]) -> bool {
        if self.held.len() - self.held_from + input.len() > Self::MAX_HELD {
            return false;
        }
        self.held.drain(..self.held_from);
        self.held_from = 0;
        self.held.extend_from_slice(input);
        true
    }

    /// Takes what was held: the bytes, and where they begin.
    pub(super) fn take_held(&mut self) -> (Vec<u8>, usize) {
        (
            std::mem::take(&mut self.held),
            std::mem::take(&mut self.held_from),
        )
    }

    /// Gives it back, from `from` on.
    pub(super) fn put_held(&mut self, held: Vec<u8>, from: usize) {
        // An idle connection owns no buffer.
        if from < held.len() {
            (self.held, self.held_from) = (held, from);
        }
    }
}
