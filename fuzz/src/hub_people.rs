//! The application on the hub: it broadcasts, and writes down what everybody must hear.

use fanfare::{
    Broadcast, ClientId, CloseCode, Disconnect, Handler, Message, MessageKind, Outbox, Request,
};

use super::hub_member::Member;

/// What a payload of one byte of length stands for.
pub(crate) const SCALE: usize = 16;

/// The first byte of a payload tells the handler what to do: answer the sender alone,
pub(crate) const WHISPER: u8 = b'w';
/// or close its connection.
pub(crate) const LEAVE: u8 = b'l';

/// The application: broadcasts, and writes down what everybody must hear.
pub(crate) struct People {
    pub(crate) broadcast: Broadcast,
    pub(crate) echo: bool,
    pub(crate) farewell: bool,
    pub(crate) members: Vec<Member>,
    /// Messages so far, so that each is another.
    pub(crate) said: usize,
}

impl People {
    pub(crate) fn get(&mut self, id: ClientId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    /// A payload like no other, of so many times 16 bytes or a few.
    pub(crate) fn payload(&mut self, first_byte: u8, len: usize) -> Vec<u8> {
        self.said += 1;
        let mut payload = vec![first_byte];
        payload.extend(self.said.to_string().bytes());
        payload.resize(payload.len().max(len * SCALE), b'.');
        payload
    }

    /// Everybody in a room must hear this, but for `except`.
    pub(crate) fn tell(&mut self, room: &str, except: Option<ClientId>, payload: &[u8]) {
        for member in &mut self.members {
            if member.room.as_deref() == Some(room) && Some(member.id) != except {
                member.expect(payload);
            }
        }
    }
}

impl Handler for People {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, id: ClientId, request: &Request<'_>) {
        let room = outbox.room(id).expect("it is in a room");
        assert!(outbox.members(room).contains(&id));
        let name = outbox
            .room_name(room)
            .expect("its room has a name")
            .to_owned();
        assert_eq!(
            request
                .path()
                .trim_start_matches("/ws")
                .trim_start_matches('/'),
            name
        );
        let member = self.get(id).expect("it was accepted");
        assert_eq!(member.room.replace(name), None, "it opens once");
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: Message<'_>) {
        let member = self.get(id).expect("it is there");
        member.check_said(&message.payload);
        let room = member.room.clone().expect("it is open");
        match message.payload.first() {
            Some(&WHISPER) => {
                if outbox.send(id, MessageKind::Binary, b"psst") {
                    member.expect(b"psst");
                }
            }
            Some(&LEAVE) => outbox.close(id, CloseCode::NORMAL, "as you wish"),
            _ => {
                let except = (!self.echo).then_some(id);
                self.tell(&room, except, &message.payload);
                self.broadcast.on_message(outbox, id, message);
            }
        }
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, id: ClientId, _: &Disconnect) {
        let room = outbox.room(id).expect("it was in a room");
        assert!(!outbox.members(room).contains(&id));
        if self.farewell {
            let payload = self.payload(b'f', 0);
            let name = outbox
                .room_name(room)
                .expect("its room has a name")
                .to_owned();
            self.tell(&name, Some(id), &payload);
            outbox.broadcast(room, MessageKind::Binary, &payload);
        }
    }
}
