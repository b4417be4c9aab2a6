//! The application on the hub: it does what messages ask for, and says to the cast what it has said
//! to whom.

use std::rc::Rc;

use allocation_counter::opt_out;
use fanfare::{
    Admission, Broadcast, ClientId, CloseCode, Disconnect, Handler, Message, MessageKind, Outbox,
    Payload, Peer, Rejection, Request,
};

use super::cast::Cast;
use super::plan::Act;
use super::wire::{LISTENING, ROOMS};

/// The application.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) cast: Cast,
    pub(crate) broadcast: Broadcast,
}

/// The code of those whom the application closes.
const KICKED: u16 = 4000;

fn kind(text: bool) -> MessageKind {
    if text {
        MessageKind::Text
    } else {
        MessageKind::Binary
    }
}

impl App {
    /// The id of a person, who may have left.
    fn id_of(&self, who: usize) -> Option<ClientId> {
        match &self.cast.peers[who] {
            Some(peer) => Some(peer.id),
            None => self.cast.gone.get(who).copied(),
        }
    }

    fn answer(&mut self, outbox: &mut Outbox<'_>, id: ClientId, text: bool, payload: &Rc<[u8]>) {
        self.hand_over(outbox, id, text, payload, payload.into());
    }

    /// Answers with what is `said` itself, so that it need not be copied.
    fn hand_over(
        &mut self,
        outbox: &mut Outbox<'_>,
        id: ClientId,
        text: bool,
        payload: &Rc<[u8]>,
        said: Payload<'_>,
    ) {
        let is_said = outbox.send(id, kind(text), said);
        uncounted(|| self.cast.whispered(id, is_said, text, payload));
    }

    fn elsewhere(&mut self, outbox: &mut Outbox<'_>, room: usize, text: bool, payload: &Rc<[u8]>) {
        let found = outbox.find_room(ROOMS[room]);
        uncounted(|| {
            assert_eq!(found.is_some(), self.cast.members(room) > 0);
            self.cast.say(room, None, text, payload);
        });
        if let Some(found) = found {
            let members = outbox.broadcast(found, kind(text), payload);
            assert_eq!(members, uncounted(|| Some(self.cast.members(room))));
        }
    }

    fn act(&mut self, outbox: &mut Outbox<'_>, id: ClientId, act: Act, message: Message<'_>) {
        let text = message.kind == MessageKind::Text;
        let payload: Rc<[u8]> = uncounted(|| message.payload.as_ref().into());
        let room = uncounted(|| self.cast.by_id(id).1.room).expect("it is in a room");
        let echo = self.cast.settings.echo;
        match act {
            Act::Broadcast => {
                let except = (!echo).then_some(id);
                uncounted(|| self.cast.say(room, except, text, &payload));
                self.broadcast.on_message(outbox, id, message);
            }
            Act::Answer => self.hand_over(outbox, id, text, &payload, message.payload),
            Act::Both => {
                self.elsewhere(outbox, room, text, &payload);
                self.answer(outbox, id, text, &payload);
                self.elsewhere(outbox, room, text, &payload);
            }
            Act::Unicast(who) => {
                if let Some(other) = self.id_of(who) {
                    self.answer(outbox, other, text, &payload);
                }
            }
            Act::Elsewhere(room) => self.elsewhere(outbox, room, text, &payload),
            Act::Kick(who) => {
                if let Some(other) = self.id_of(who) {
                    uncounted(|| self.cast.kick(other, KICKED));
                    let code = CloseCode::from_wire(KICKED).expect("an application's code");
                    outbox.close(other, code, "as you wish");
                }
            }
        }
        uncounted(|| drop(payload));
    }
}

impl Handler for App {
    fn on_upgrade(&mut self, _: &Request<'_>, room: &str, _: Peer) -> Result<Admission, Rejection> {
        let mut admission = Admission::default();
        admission.may_publish = room != ROOMS[LISTENING];
        Ok(admission)
    }

    fn on_open(&mut self, outbox: &mut Outbox<'_>, id: ClientId, _: &Request<'_>) {
        let room = outbox.room(id).expect("it is in a room");
        let name = outbox.room_name(room).expect("its room has a name");
        let members = outbox.members(room);
        uncounted(|| {
            self.cast.note(b"open");
            let asked = self.cast.open(id);
            assert_eq!(name, ROOMS[asked]);
            assert!(members.contains(&id));
            assert_eq!(members.len(), self.cast.members(asked));
        });
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: Message<'_>) {
        let act = uncounted(|| {
            self.cast.note(&message.payload);
            self.cast.tally.delivered += 1;
            self.cast.note_large(message.payload.len(), outbox.now());
            let (who, peer) = self.cast.by_id(id);
            peer.messages += 1;
            let is_wild = peer.is_wild;
            match self.cast.next_message(who) {
                Some((text, payload, act)) => {
                    assert_eq!(message.kind, kind(text), "another kind than was sent");
                    assert!(
                        *payload == *message.payload,
                        "delivered '{}', but it said '{}'",
                        message.payload.escape_ascii(),
                        payload.escape_ascii(),
                    );
                    let (_, peer) = self.cast.by_id(id);
                    assert!(peer.is_open(), "a message behind the end");
                    act
                }
                None if is_wild => Act::Broadcast,
                None => panic!("it never said '{}'", message.payload.escape_ascii()),
            }
        });
        self.act(outbox, id, act, message);
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, id: ClientId, _: &Disconnect) {
        let room = outbox.room(id).expect("it was in a room");
        assert!(!outbox.members(room).contains(&id), "it is a member still");
        let farewell = uncounted(|| {
            let (_, peer) = self.cast.by_id(id);
            let room = peer.room.take().expect("it was let in");
            self.cast.note(b"close");
            self.cast.serial += 1;
            let payload: Rc<[u8]> = format!("f{}", self.cast.serial).into_bytes().into();
            if self.cast.settings.farewell {
                self.cast.say(room, None, true, &payload);
            }
            payload
        });
        if self.cast.settings.farewell {
            outbox.broadcast(room, MessageKind::Text, &farewell);
        }
        uncounted(|| drop(farewell));
    }
}

/// Does something in the middle of the hub's work that is not the hub's.
fn uncounted<R>(work: impl FnOnce() -> R) -> R {
    let mut result = None;
    opt_out(|| result = Some(work()));
    result.expect("the work was done")
}
