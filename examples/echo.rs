//! The smallest server: every client hears itself, and nobody else.
//!
//! `cargo run --release --example echo`, then open a WebSocket to `ws://127.0.0.1:8080/ws`.
//! An address as the first argument is listened at instead.

use fanfare::{ClientId, Handler, Message, Outbox, Server, ServerConfig};

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, outbox: &mut Outbox<'_>, id: ClientId, message: &Message<'_>) {
        outbox.send(id, message.kind, &message.payload);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = ServerConfig::default();
    if let Some(address) = std::env::args().nth(1) {
        config.listen = vec![address.parse()?];
    }
    let mut server = Server::bind(config)?;
    server.stop_on_signals()?;
    println!("echoing at {:?}", server.local_addresses());
    server.run(&mut Echo)?;
    Ok(())
}
