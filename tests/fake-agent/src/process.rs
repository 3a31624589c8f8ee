//! One host process behind the protocol's stream frames.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use dhow_protocol::frame::{self, PREFIX_BYTES};
use dhow_protocol::stream::{HEADER_BYTES, StreamHeader, StreamKind};
use dhow_protocol::{ExecProcess, ExitStatus, RunContainer};
use oci_spec::runtime::{Process, Spec};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

/// Read at once from a process.
const READ_BYTES: usize = 32 * 1024;

/// What to run.
#[derive(Debug)]
pub(crate) struct Launch {
    process: Process,
    open_stdin: bool,
}

impl Launch {
    pub(crate) fn of_container(run: &RunContainer) -> Self {
        let spec: Spec = serde_json::from_str(&run.config_json).expect("a runtime-spec config");
        Self {
            process: spec.process().clone().expect("the engine writes a process"),
            open_stdin: run.open_stdin,
        }
    }

    pub(crate) fn of_exec(exec: &ExecProcess) -> Self {
        Self {
            process: serde_json::from_str(&exec.process_json).expect("a runtime-spec process"),
            open_stdin: exec.open_stdin,
        }
    }

    /// The command, as its caller wrote it.
    pub(crate) fn program(&self) -> String {
        let arguments = self.process.args().as_deref();
        arguments
            .and_then(<[_]>::first)
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn spawn(&self) -> io::Result<Child> {
        let arguments = self.process.args().clone().unwrap_or_default();
        let env = self.process.env().clone().unwrap_or_default();
        let stdin = if self.open_stdin {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        Command::new(&arguments[0])
            .args(&arguments[1..])
            .env_clear()
            .envs(env.iter().filter_map(|variable| variable.split_once('=')))
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }
}

/// Sends a signal with the system's own command: tests need no binding for it.
pub(crate) fn signal(pid: u32, number: i32) {
    let _gone = std::process::Command::new("kill")
        .arg(format!("-{number}"))
        .arg(pid.to_string())
        .stderr(Stdio::null())
        .status();
}

/// Carries the streams until the process has ended and all is said.
pub(crate) async fn carry(mut child: Child, connection: UnixStream) -> io::Result<()> {
    let (reader, mut writer) = connection.into_split();
    let stdin = child.stdin.take();
    tokio::spawn(feed(reader, stdin));
    let (sender, mut frames) = mpsc::channel::<Vec<u8>>(4);
    let stdout = child.stdout.take().expect("piped");
    let stderr = child.stderr.take().expect("piped");
    tokio::spawn(read(stdout, StreamKind::Stdout, sender.clone()));
    tokio::spawn(read(stderr, StreamKind::Stderr, sender));
    while let Some(frame) = frames.recv().await {
        writer.write_all(&frame).await?;
    }
    let status = child.wait().await?;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX);
    let exit = frame::encode(&ExitStatus {
        code,
        oom_killed: false,
    })
    .map_err(io::Error::other)?;
    writer
        .write_all(&framed(StreamKind::Exit, &exit[PREFIX_BYTES..]))
        .await
}

fn framed(kind: StreamKind, payload: &[u8]) -> Vec<u8> {
    let header = StreamHeader::new(kind, payload.len()).expect("read in small pieces");
    [&header.encode(), payload].concat()
}

async fn read(mut from: impl AsyncRead + Unpin, kind: StreamKind, frames: mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 || frames.send(framed(kind, &buffer[..count])).await.is_err() {
            return;
        }
    }
}

async fn feed(mut reader: OwnedReadHalf, stdin: Option<ChildStdin>) {
    let mut stdin = stdin;
    let mut header = [0; HEADER_BYTES];
    while reader.read_exact(&mut header).await.is_ok() {
        let header = StreamHeader::decode(header).expect("host and agent are of one build");
        let mut payload = vec![0; header.length];
        if reader.read_exact(&mut payload).await.is_err() {
            return;
        }
        if payload.is_empty() {
            stdin = None;
        } else if let Some(open) = &mut stdin
            && open.write_all(&payload).await.is_err()
        {
            stdin = None;
        }
    }
}
