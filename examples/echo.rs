//! The smallest server: every client hears itself, and nobody else.
//!
//! `cargo run --release --example echo`, then open a WebSocket to `ws://127.0.0.1:8080/ws`.
//! `echo ADDRESS MAX_MESSAGE_SIZE MAX_CLIENT_BUFFER`, each of them optional, the sizes in bytes,
//! replaces the defaults.

use fanfare::{ClientId, Handler, Message, Outbox, Server, ServerConfig};

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: Message<'_>) {
        outbox.send(id, message.kind, message.payload);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = ServerConfig::default();
    let mut arguments = std::env::args().skip(1);
    if let Some(address) = arguments.next() {
        config.listen = vec![address.parse()?];
    }
    if let Some(size) = arguments.next() {
        config.hub.limits.max_message_size = size.parse()?;
    }
    if let Some(size) = arguments.next() {
        config.hub.max_client_buffer = size.parse()?;
    }
    let mut server = Server::bind(config)?;
    server.stop_on_signals()?;
    println!("echoing at {:?}", server.local_addresses());
    server.run(&mut Echo)?;
    Ok(())
}
