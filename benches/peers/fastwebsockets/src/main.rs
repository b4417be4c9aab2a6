//! The same job on fastwebsockets, in its best configuration:
//!
//! - one thread (`current_thread`), a task that reads and a task that writes a client, on halves of
//!   the very `TcpStream`, which need no lock (hyper does the handshake and gives it back);
//! - messages are `Bytes`, which are cloned without a copy, in an unbounded channel a client;
//! - the writer writes all that is waiting into a buffer, which is flushed once; payloads over
//!   1 KiB go past it with `writev`; the sockets are asked for news when all writers had their turn
//!   (`event_interval`), which makes more wait; the library takes the mask off (`auto_apply_mask`);
//! - `simdutf8` checks text, as is its default.
//!
//! `peer-fastwebsockets --port N [--echo]`

use bytes::Bytes;
use fastwebsockets::{
    FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError, WebSocketWrite, upgrade,
};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::io::BufWriter;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Tasks that run before the sockets are asked for news, if so many are ready.
const EVENT_INTERVAL: u32 = 2000;

type Sender = UnboundedSender<Said>;
type Clients = Arc<Mutex<Vec<(u64, Sender)>>>;
type Reader = FragmentCollectorRead<OwnedReadHalf>;
type Writer = WebSocketWrite<BufWriter<OwnedWriteHalf>>;
type Outcome = Result<(), WebSocketError>;

#[derive(Clone)]
struct Said {
    opcode: OpCode,
    payload: Bytes,
}

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
        let clients = Clients::clone(&clients);
        let answer = service_fn(move |request| {
            let clients = Clients::clone(&clients);
            async move { handshake(request, id, clients, echo) }
        });
        tokio::spawn(
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .with_upgrades(),
        );
    }
    Ok(())
}

fn handshake(
    mut request: Request<Incoming>,
    id: u64,
    clients: Clients,
    echo: bool,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgraded) = upgrade::upgrade(&mut request)?;
    tokio::spawn(async move {
        let mut socket = upgraded.await?;
        socket.set_max_message_size(16 << 20 | 1);
        let (reader, writer) = socket.split(halves);
        let reader = FragmentCollectorRead::new(reader);
        if echo {
            return echoing(reader, writer).await;
        }
        let (sender, receiver) = unbounded_channel();
        clients
            .lock()
            .expect("nobody panics")
            .push((id, sender.clone()));
        tokio::spawn(write(writer, receiver));
        let outcome = read(reader, &clients, &sender).await;
        clients
            .lock()
            .expect("nobody panics")
            .retain(|(other, _)| *other != id);
        outcome
    });
    Ok(response)
}

/// Nothing follows the request before its answer, so hyper has read nothing too much.
fn halves(upgraded: TokioIo<Upgraded>) -> (OwnedReadHalf, BufWriter<OwnedWriteHalf>) {
    let parts = upgraded.into_inner().downcast::<TokioIo<TcpStream>>();
    let parts = parts.expect("it is the stream that was given to hyper");
    let (reader, writer) = parts.io.into_inner().into_split();
    (reader, BufWriter::new(writer))
}

async fn read(mut reader: Reader, clients: &Clients, own: &Sender) -> Outcome {
    loop {
        let frame = reader
            .read_frame::<_, WebSocketError>(&mut |owed: Frame<'_>| {
                let _ = own.send(said(owed));
                async { Ok(()) }
            })
            .await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => {
                let said = said(frame);
                for (_, client) in clients.lock().expect("nobody panics").iter() {
                    // A client that has left is taken from the list by its own task.
                    let _ = client.send(said.clone());
                }
            }
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}

async fn write(mut writer: Writer, mut receiver: UnboundedReceiver<Said>) -> Outcome {
    while let Some(first) = receiver.recv().await {
        let mut next = Some(first);
        while let Some(Said { opcode, payload }) = next.take() {
            writer
                .write_frame(Frame::new(true, opcode, None, Payload::Borrowed(&payload)))
                .await?;
            next = receiver.try_recv().ok();
        }
        writer.flush().await?;
        if writer.is_closed() {
            break;
        }
    }
    Ok(())
}

/// Reads and writes in one task. What was read together is written together: when there is no more.
async fn echoing(mut reader: Reader, mut writer: Writer) -> Outcome {
    let owed = Mutex::new(None);
    let owed = || owed.lock().expect("nobody panics");
    let mut unflushed = false;
    loop {
        let mut keep = |frame: Frame<'_>| {
            *owed() = Some(said(frame));
            async { Ok::<(), WebSocketError>(()) }
        };
        let mut reading = pin!(reader.read_frame(&mut keep));
        let frame = loop {
            let read = poll_fn(|context| match reading.as_mut().poll(context) {
                Poll::Ready(frame) => Poll::Ready(Some(frame)),
                Poll::Pending if unflushed || owed().is_some() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            let read = read.await;
            let answer = owed().take();
            if let Some(Said { opcode, payload }) = answer {
                writer
                    .write_frame(Frame::new(true, opcode, None, Payload::Borrowed(&payload)))
                    .await?;
            }
            if let Some(frame) = read {
                break frame?;
            }
            writer.flush().await?;
            unflushed = false;
        };
        match frame.opcode {
            OpCode::Text | OpCode::Binary => writer.write_frame(frame).await?,
            OpCode::Close => return writer.flush().await,
            _ => {}
        }
        unflushed = true;
    }
}

fn said(frame: Frame<'_>) -> Said {
    let payload = match frame.payload {
        Payload::Bytes(payload) => payload.freeze(),
        Payload::Owned(payload) => payload.into(),
        Payload::Borrowed(payload) => Bytes::copy_from_slice(payload),
        Payload::BorrowedMut(payload) => Bytes::copy_from_slice(payload),
    };
    Said {
        opcode: frame.opcode,
        payload,
    }
}
