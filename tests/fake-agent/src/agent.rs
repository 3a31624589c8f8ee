//! One connection of the protocol after the other.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dhow_protocol::frame::{self, PREFIX_BYTES};
use dhow_protocol::{Connect, Failure, FailureKind, Reply, Request, Signal, SocketKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, UdpSocket, UnixStream};

use crate::process::{self, Launch};

/// Between two attempts to reach a port nobody listens on yet.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);

/// The processes that run, by container, or by container and exec.
#[derive(Debug, Default)]
pub(crate) struct Agent {
    processes: Mutex<BTreeMap<(String, Option<String>), u32>>,
}

/// Writes a request and reads the reply.
pub(crate) async fn ask(connection: &mut UnixStream, request: &Request) -> io::Result<Reply> {
    let message = frame::encode(request).map_err(io::Error::other)?;
    connection.write_all(&message).await?;
    let body = read_message(connection).await?;
    frame::decode(&body).map_err(io::Error::other)
}

async fn read_message(connection: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut prefix = [0; PREFIX_BYTES];
    connection.read_exact(&mut prefix).await?;
    let mut body = vec![0; frame::decode_prefix(prefix).map_err(io::Error::other)?];
    connection.read_exact(&mut body).await?;
    Ok(body)
}

async fn answer(connection: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    let message = frame::encode(reply).map_err(io::Error::other)?;
    connection.write_all(&message).await
}

fn failed(kind: FailureKind, message: &str) -> Reply {
    Reply::Failed(Failure {
        kind,
        message: message.to_owned(),
    })
}

impl Agent {
    pub(crate) async fn serve(self: Arc<Self>, mut connection: UnixStream) {
        if let Ok(body) = read_message(&mut connection).await {
            let request: Request = frame::decode(&body).expect("host and agent are of one build");
            // The host that goes away half-way is part of what tests do.
            let _host_gone = self.handle(request, connection).await;
        }
    }

    pub(crate) fn kill_all(&self) {
        for pid in self.locked().values() {
            process::signal(*pid, 9);
        }
    }

    async fn handle(&self, request: Request, mut connection: UnixStream) -> io::Result<()> {
        match request {
            Request::Run(run) => {
                let launch = Launch::of_container(&run);
                self.run((run.id, None), launch, connection).await
            }
            Request::Exec(exec) => {
                let launch = Launch::of_exec(&exec);
                let key = (exec.container, Some(exec.exec));
                self.run(key, launch, connection).await
            }
            Request::Signal(signal) => answer(&mut connection, &self.signal(signal)).await,
            Request::Connect(connect) => forward(connect, connection).await,
            Request::Pause { container, frozen } => {
                let signal = if frozen { 19 } else { 18 };
                let reply = self.signal(Signal {
                    container,
                    exec: None,
                    signal,
                    all: false,
                });
                answer(&mut connection, &reply).await
            }
            Request::Hello { .. }
            | Request::Resize(_)
            | Request::Remove { .. }
            | Request::Shutdown { .. } => answer(&mut connection, &Reply::Done).await,
        }
    }

    async fn run(
        &self,
        key: (String, Option<String>),
        launch: Launch,
        mut connection: UnixStream,
    ) -> io::Result<()> {
        let child = match launch.spawn() {
            Ok(child) => child,
            Err(error) => {
                let kind = match error.kind() {
                    io::ErrorKind::NotFound => FailureKind::CommandNotFound,
                    io::ErrorKind::PermissionDenied => FailureKind::NotExecutable,
                    _ => FailureKind::Internal,
                };
                let message = match kind {
                    // The agent's words, which are runc's: clients tell 127 by them.
                    FailureKind::CommandNotFound => {
                        format!(
                            "exec: {:?}: executable file not found in $PATH",
                            launch.program()
                        )
                    }
                    _ => error.to_string(),
                };
                return answer(&mut connection, &failed(kind, &message)).await;
            }
        };
        let pid = child.id().expect("not waited for yet");
        self.locked().insert(key.clone(), pid);
        let started = Reply::Started {
            pid,
            warnings: Vec::new(),
        };
        answer(&mut connection, &started).await?;
        let outcome = process::carry(child, connection).await;
        self.locked().remove(&key);
        outcome
    }

    fn signal(&self, signal: Signal) -> Reply {
        match self.locked().get(&(signal.container, signal.exec)) {
            Some(pid) => {
                process::signal(*pid, signal.signal);
                Reply::Done
            }
            None => failed(FailureKind::NotFound, "no such process"),
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<(String, Option<String>), u32>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn forward(connect: Connect, mut connection: UnixStream) -> io::Result<()> {
    match connect.kind {
        SocketKind::Tcp => match reach(&connect).await {
            Ok(mut inside) => {
                answer(&mut connection, &Reply::Done).await?;
                copy_bidirectional(&mut connection, &mut inside).await?;
                Ok(())
            }
            Err(_) => {
                let reply = failed(FailureKind::Refused, "nobody listens");
                answer(&mut connection, &reply).await
            }
        },
        SocketKind::Udp => {
            let inside = UdpSocket::bind("127.0.0.1:0").await?;
            inside.connect(("127.0.0.1", connect.port)).await?;
            answer(&mut connection, &Reply::Done).await?;
            forward_datagrams(connection, inside).await
        }
    }
}

async fn reach(connect: &Connect) -> io::Result<TcpStream> {
    let deadline = Instant::now() + Duration::from_millis(connect.wait_ms.into());
    loop {
        match TcpStream::connect(("127.0.0.1", connect.port)).await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(CONNECT_PAUSE).await,
            outcome => return outcome,
        }
    }
}

async fn forward_datagrams(connection: UnixStream, inside: UdpSocket) -> io::Result<()> {
    let (mut reader, mut writer) = connection.into_split();
    let inwards = async {
        loop {
            let mut datagram = vec![0; usize::from(reader.read_u16().await?)];
            reader.read_exact(&mut datagram).await?;
            inside.send(&datagram).await?;
        }
    };
    let outwards = async {
        let mut datagram = vec![0; usize::from(u16::MAX)];
        loop {
            let length = inside.recv(&mut datagram).await?;
            let prefix = u16::try_from(length).expect("the buffer's length is a u16");
            writer.write_u16(prefix).await?;
            writer.write_all(&datagram[..length]).await?;
        }
    };
    tokio::select! {
        outcome = inwards => outcome,
        outcome = outwards => outcome,
    }
}
