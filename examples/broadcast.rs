//! A chat with names: a handler with state per client, rooms, greetings and farewells, and a
//! thread of its own that publishes the time of day to everybody in the default room.
//!
//! `cargo run --release --example broadcast`, then open two tabs on `http://127.0.0.1:8080/` and
//! say `/name Ada`. An address as the first argument is listened at instead.

use std::collections::HashMap;
use std::sync::mpsc;
use std::time::Duration;

use fanfare::{
    ClientId, CloseCode, Disconnect, Handler, Message, MessageKind, Outbox, PublishError, Request,
    Server, ServerConfig,
};

const TEXT: MessageKind = MessageKind::Text;

/// The application: one object for all clients, called from one thread.
#[derive(Default)]
struct Chat {
    names: HashMap<ClientId, String>,
}

impl Chat {
    fn name(&self, id: ClientId) -> String {
        self.names
            .get(&id)
            .cloned()
            .unwrap_or_else(|| format!("guest {id}"))
    }

    fn tell_room(outbox: &mut Outbox<'_>, id: ClientId, text: &str) {
        if let Some(room) = outbox.room(id) {
            outbox.broadcast(room, TEXT, text.as_bytes());
        }
    }
}

impl Handler for Chat {
    fn on_open(&mut self, outbox: &mut Outbox<'_>, id: ClientId, request: &Request<'_>) {
        let others = outbox
            .room(id)
            .map_or(0, |room| outbox.members(room).len() - 1);
        let greeting = format!("welcome to {}, {others} others are here", request.path());
        outbox.send(id, TEXT, greeting.as_bytes());
    }

    fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: Message<'_>) {
        let Some(text) = message.as_text() else {
            return outbox.close(id, CloseCode::POLICY_VIOLATION, "text only, please");
        };
        if let Some(name) = text.strip_prefix("/name ") {
            let line = format!("{} is now known as {name}", self.name(id));
            self.names.insert(id, name.to_owned());
            Self::tell_room(outbox, id, &line);
        } else {
            Self::tell_room(outbox, id, &format!("{}: {text}", self.name(id)));
        }
    }

    fn on_close(&mut self, outbox: &mut Outbox<'_>, id: ClientId, why: &Disconnect) {
        let line = format!("{} has left ({why})", self.name(id));
        Self::tell_room(outbox, id, &line);
        self.names.remove(&id);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = ServerConfig::default();
    if let Some(address) = std::env::args().nth(1) {
        config.listen = vec![address.parse()?];
    }
    let mut server = Server::bind(config)?;
    server.stop_on_signals()?;
    println!("chatting at {:?}", server.local_addresses());

    let handle = server.handle();
    let (end, is_over) = mpsc::channel::<()>();
    let clock = std::thread::spawn(move || {
        for minute in 1.. {
            // The wait ends early when the server does.
            let wait = is_over.recv_timeout(Duration::from_secs(60));
            if wait != Err(mpsc::RecvTimeoutError::Timeout) {
                break;
            }
            let line = format!("open for {minute} minutes").into_bytes();
            if handle.publish("", TEXT, line) == Err(PublishError::Stopped) {
                break;
            }
        }
    });
    server.run(&mut Chat::default())?;
    drop(end);
    clock.join().map_err(|_| "the clock thread panicked")?;
    Ok(())
}
