//! The same job on tokio-tungstenite, in its best configuration:
//!
//! - one thread (`current_thread`), a task that reads and a task that writes a client (one task
//!   with both in a `select!` was tried, and takes more);
//! - messages are `Bytes`, which are cloned without a copy, in an unbounded channel a client;
//! - a writer feeds all that is waiting, then flushes once; the sockets are asked for news when all
//!   writers have had their turn (`event_interval`), which makes more wait;
//! - no compression (it has none), small read buffers as is advised for many clients.
//!
//! `peer-tokio-tungstenite --port N [--echo]`

use futures_util::stream::SplitSink;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::{Error, Message, protocol::WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

/// Tasks that run before the sockets are asked for news, if so many are ready.
const EVENT_INTERVAL: u32 = 2000;

type Writer = SplitSink<WebSocketStream<TcpStream>, Message>;
type Clients = Arc<Mutex<Vec<(u64, UnboundedSender<Message>)>>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let port = arguments.iter().position(|word| word == "--port");
    let port = port
        .and_then(|i| arguments.get(i + 1))
        .ok_or("usage: --port N [--echo]")?;
    let echo = arguments.iter().any(|word| word == "--echo");
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse()?));
    tokio::runtime::Builder::new_current_thread()
        .event_interval(EVENT_INTERVAL)
        .enable_all()
        .build()?
        .block_on(serve(address, echo))
}

async fn serve(address: SocketAddr, echo: bool) -> Result<(), Box<dyn std::error::Error>> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // Those it accepts inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(65_535)?;
    let listener = TcpListener::from_std(socket.into())?;
    println!("listening {}", listener.local_addr()?);
    let clients = Clients::default();
    for id in 0.. {
        let (stream, _) = listener.accept().await?;
        if echo {
            tokio::spawn(echoing(stream));
        } else {
            tokio::spawn(client(stream, id, Arc::clone(&clients)));
        }
    }
    Ok(())
}

async fn upgrade(stream: TcpStream) -> Result<WebSocketStream<TcpStream>, Error> {
    let limits = WebSocketConfig::default()
        .read_buffer_size(8 << 10)
        .max_frame_size(Some(16 << 20))
        .max_message_size(Some(16 << 20));
    accept_async_with_config(stream, Some(limits)).await
}

async fn client(stream: TcpStream, id: u64, clients: Clients) -> Result<(), Error> {
    let (writer, mut reader) = upgrade(stream).await?.split();
    let (sender, receiver) = unbounded_channel();
    clients.lock().expect("nobody panics").push((id, sender));
    tokio::spawn(write(writer, receiver));
    // The answers to Pings and Closes are written by the library when it reads on.
    while let Some(Ok(message)) = reader.next().await {
        if message.is_text() || message.is_binary() {
            for (_, client) in clients.lock().expect("nobody panics").iter() {
                // A client that has left is taken from the list by its own task.
                let _ = client.send(message.clone());
            }
        }
    }
    clients
        .lock()
        .expect("nobody panics")
        .retain(|(other, _)| *other != id);
    Ok(())
}

async fn write(mut writer: Writer, mut receiver: UnboundedReceiver<Message>) -> Result<(), Error> {
    while let Some(first) = receiver.recv().await {
        let mut next = Some(first);
        while let Some(message) = next.take() {
            writer.feed(message).await?;
            next = receiver.try_recv().ok();
        }
        writer.flush().await?;
    }
    Ok(())
}

async fn echoing(stream: TcpStream) -> Result<(), Error> {
    let mut socket = upgrade(stream).await?;
    while let Some(heard) = socket.next().await {
        let mut next = Some(heard);
        while let Some(message) = next.take() {
            let message = message?;
            if message.is_text() || message.is_binary() {
                socket.feed(message).await?;
            }
            next = socket.next().now_or_never().flatten();
        }
        socket.flush().await?;
    }
    Ok(())
}
