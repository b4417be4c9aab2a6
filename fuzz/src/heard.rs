//! What a connection made of a stream.

use fanfare::protocol::{CloseCode, Connection, Event, Input, MessageKind, ProtocolError};

use super::plan::{Cuts, Plan};

/// An event, without its borrows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping,
    Pong,
    /// The code, if the frame has one, and the reason.
    Close(Option<u16>, String),
}

/// What our side says to begin the closing handshake.
pub(crate) const OUR_CLOSE: (CloseCode, &str) = (CloseCode::GOING_AWAY, "restart");

/// What came of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Heard {
    pub(crate) said: Vec<Said>,
    pub(crate) error: Option<ProtocolError>,
    pub(crate) output: Vec<u8>,
}

impl From<Event<'_>> for Said {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(message) => {
                let is_text = message.as_text().is_some();
                assert_eq!(is_text, message.kind == MessageKind::Text);
                let payload = message.payload.into_owned();
                if is_text {
                    Self::Text(payload)
                } else {
                    Self::Binary(payload)
                }
            }
            Event::Ping => Self::Ping,
            Event::Pong => Self::Pong,
            Event::Close(close) => Self::Close(
                close.code.map(CloseCode::to_wire),
                close.reason.into_owned(),
            ),
        }
    }
}

impl Heard {
    /// What a new connection makes of a plan's stream, if it arrives cut like this.
    pub(crate) fn new(plan: &Plan, cuts: &Cuts) -> Self {
        let mut connection = Connection::new(plan.limits);
        let mut heard = Self::default();
        let (before, after) = plan.bytes.split_at(plan.close_at.unwrap_or_default());
        heard.receive(&mut connection, before, cuts);
        if plan.close_at.is_some() {
            connection.close(Some(OUR_CLOSE.0), OUR_CLOSE.1, &mut heard.output);
        }
        heard.receive(&mut connection, after, cuts);
        let is_over = heard.error.is_some() || matches!(heard.said.last(), Some(Said::Close(..)));
        assert_eq!(connection.is_closed(), is_over);
        assert_eq!(connection.is_open(), !is_over && plan.close_at.is_none());
        heard
    }

    /// Has a piece of an odd length read where it belongs, as far as there is such a place; returns
    /// how much of it.
    fn land(&mut self, connection: &mut Connection, piece: &[u8]) -> usize {
        const MAX_SPARE: usize = 1 << 20;

        let spare = |len| (len % 2 == 0 && len <= MAX_SPARE).then(|| vec![0xEE; len]);
        let landing = connection.landing(spare).filter(|_| piece.len() % 2 == 1);
        let Some(landing) = landing else { return 0 };
        let count = landing.len().min(piece.len());
        landing[..count].copy_from_slice(&piece[..count]);
        match connection.landed(count, &mut self.output) {
            Ok(event) => self.said.extend(event.map(Said::from)),
            Err(error) => assert_eq!(self.error.replace(error), None, "failed twice"),
        }
        count
    }

    /// Feeds a connection all of the pieces, also those behind its end, of which nothing may come.
    fn receive(&mut self, connection: &mut Connection, bytes: &[u8], cuts: &Cuts) {
        for piece in cuts.pieces(&mut bytes.to_vec()) {
            let landed = self.land(connection, piece);
            let mut input = Input::new(&mut piece[landed..]);
            loop {
                let was_closed = connection.is_closed();
                let known = (self.said.len(), self.output.len());
                match connection.receive(&mut input, &mut self.output) {
                    Ok(Some(event)) => self.said.push(event.into()),
                    Ok(None) => {}
                    Err(error) => assert_eq!(self.error.replace(error), None, "failed twice"),
                }
                let is_known = known == (self.said.len(), self.output.len());
                assert!(is_known || !was_closed, "something came behind the end");
                if is_known && input.is_empty() {
                    break;
                }
            }
        }
    }
}
