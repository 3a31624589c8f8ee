//! Carries datagrams into a container, one flow per client address.
//!
//! A flow is a connection to the agent on which each datagram is preceded by its length. Answers go
//! to the flow's client and to no other.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dhow_protocol::{Connect, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Target;

/// A flow without datagrams either way is forgotten after this long, as NATs do.
const FLOW_IDLE: Duration = Duration::from_secs(90);

/// Flows at once. A sender that invents source addresses pushes out the longest-idle flow and
/// cannot make us hold more. Each is one of the vsock device's 1024 streams, which TCP and commands
/// need too.
const MAX_FLOWS: usize = 192;

/// Datagrams waiting for a flow's connection; those beyond are lost, as datagrams are.
const FLOW_BUFFER_DATAGRAMS: usize = 64;

/// The largest datagram: the length on the wire is a u16.
const MAX_DATAGRAM_BYTES: usize = 65_535;

/// A datagram socket's listener needs no long wait: clients send again.
const CONNECT_WAIT_MS: u32 = 1_000;

#[derive(Debug)]
struct Flow {
    datagrams: mpsc::Sender<Bytes>,
    last_used: Instant,
}

/// Receives until aborted; flows end with it.
pub(super) async fn serve(socket: UdpSocket, target: Target) {
    let socket = Arc::new(socket);
    let mut flows: HashMap<SocketAddr, Flow> = HashMap::new();
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        // An error here is an ICMP answer to something we sent earlier: not ours to handle.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let datagram = Bytes::copy_from_slice(&buffer[..length]);
        let known = flows
            .get(&client)
            .is_some_and(|flow| !flow.datagrams.is_closed());
        if !known {
            make_room(&mut flows);
            let flow = start_flow(&socket, client, target.clone());
            flows.insert(client, flow);
        }
        if let Some(flow) = flows.get_mut(&client) {
            flow.last_used = Instant::now();
            let _lost_when_full = flow.datagrams.try_send(datagram);
        }
    }
}

fn make_room(flows: &mut HashMap<SocketAddr, Flow>) {
    if flows.len() < MAX_FLOWS {
        return;
    }
    flows.retain(|_, flow| !flow.datagrams.is_closed());
    if flows.len() < MAX_FLOWS {
        return;
    }
    let idlest = flows.iter().min_by_key(|(_, flow)| flow.last_used);
    if let Some(client) = idlest.map(|(client, _)| *client) {
        flows.remove(&client);
    }
}

fn start_flow(socket: &Arc<UdpSocket>, client: SocketAddr, target: Target) -> Flow {
    let (datagrams, receiver) = mpsc::channel(FLOW_BUFFER_DATAGRAMS);
    let socket = Arc::clone(socket);
    tokio::spawn(async move {
        if let Err(error) = carry(receiver, &socket, client, target).await {
            tracing::debug!(%error, %client, "a flow of datagrams broke");
        }
    });
    Flow {
        datagrams,
        last_used: Instant::now(),
    }
}

async fn carry(
    mut datagrams: mpsc::Receiver<Bytes>,
    socket: &UdpSocket,
    client: SocketAddr,
    target: Target,
) -> io::Result<()> {
    let request = Request::Connect(Connect {
        container: target.container,
        port: target.port.number,
        kind: target.port.protocol.socket_kind(),
        wait_ms: CONNECT_WAIT_MS,
    });
    let (_reply, inside) = target
        .guest
        .open(&request)
        .await
        .map_err(io::Error::other)?;
    let (reader, mut writer) = inside.into_split();
    let (answered, mut answers) = mpsc::channel(1);
    let answering = answer(reader, socket, client, answered);
    tokio::pin!(answering);
    loop {
        tokio::select! {
            datagram = datagrams.recv() => match datagram {
                Some(datagram) => write_datagram(&mut writer, &datagram).await?,
                None => return Ok(()),
            },
            _ = answers.recv() => {}
            outcome = &mut answering => return outcome,
            () = tokio::time::sleep(FLOW_IDLE) => return Ok(()),
        }
    }
}

/// Sends answers to the client; each one also tells that the flow is in use.
async fn answer(
    mut reader: OwnedReadHalf,
    socket: &UdpSocket,
    client: SocketAddr,
    answered: mpsc::Sender<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        let length = usize::from(reader.read_u16().await?);
        reader.read_exact(&mut buffer[..length]).await?;
        // A client that is gone answers with ICMP; that is no reason to end the flow.
        let _lost = socket.send_to(&buffer[..length], client).await;
        let _already_noted = answered.try_send(());
    }
}

async fn write_datagram(writer: &mut OwnedWriteHalf, datagram: &[u8]) -> io::Result<()> {
    let length = u16::try_from(datagram.len()).expect("UDP's length is a u16");
    let mut framed = Vec::with_capacity(size_of::<u16>() + datagram.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(datagram);
    writer.write_all(&framed).await
}
