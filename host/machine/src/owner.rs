//! The process that owns a VM: spawned with a description, told what to do a line at a time.
//!
//! It is `dhow vmm` (KVM) or `dhow devices` (UML). It ends when its standard input does, so a
//! machine cannot outlive the process that uses it, whatever way that one ends.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{oneshot, watch};

use crate::engine::Engine;
use crate::spec::{MachineSpec, NetworkCommand, OwnerCommand, OwnerEvent, VmExit};

/// Why the owner could not be used.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// The process could not be started.
    #[error("failed to start {program}")]
    Spawn {
        /// Our own executable.
        program: String,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// It does not take our lines any more.
    #[error("the process that owns the machine is gone")]
    Gone,
    /// It refused.
    #[error("{0}")]
    Refused(String),
}

/// Waiters for the answer to a `MapLayer`, by offset.
type Waiters = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<(), String>>>>>;

/// A running owner.
#[derive(Debug)]
pub(crate) struct Owner {
    stdin: Arc<tokio::sync::Mutex<Option<ChildStdin>>>,
    waiters: Waiters,
    ended: watch::Receiver<Option<VmExit>>,
    process_id: Option<u32>,
}

impl Owner {
    /// Starts the face of `program` that runs this engine and hands it the description.
    pub(crate) async fn start(
        program: &Path,
        engine: Engine,
        spec: &MachineSpec,
        log: File,
    ) -> Result<Self, OwnerError> {
        let spawn_error = |source| OwnerError::Spawn {
            program: program.display().to_string(),
            source,
        };
        let face = match engine {
            Engine::Kvm => "vmm",
            Engine::Uml => "devices",
        };
        let mut child = Command::new(program)
            .arg(face)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // A Ctrl-C on the user's terminal is for the client, not for the machine.
            .process_group(0)
            .spawn()
            .map_err(spawn_error)?;
        let mut stdin = child.stdin.take().expect("standard input is piped above");
        let stdout = child.stdout.take().expect("standard output is piped above");
        stdin.write_all(&line(spec)).await.map_err(spawn_error)?;

        let waiters = Waiters::default();
        let (sender, ended) = watch::channel(None);
        let process_id = child.id();
        tokio::spawn(follow(child, stdout, Arc::clone(&waiters), sender));
        Ok(Self {
            stdin: Arc::new(tokio::sync::Mutex::new(Some(stdin))),
            waiters,
            ended,
            process_id,
        })
    }

    /// The process's id, where it still ran when last looked at.
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.process_id
    }

    /// Has a file put on the layer disk.
    pub(crate) async fn map_layer(
        &self,
        offset: u64,
        length: u64,
        path: &Path,
    ) -> Result<(), OwnerError> {
        let (sender, answer) = oneshot::channel();
        self.waiters
            .lock()
            .expect("no panic while held")
            .insert(offset, sender);
        let command = OwnerCommand::MapLayer {
            offset,
            length,
            path: path.to_owned(),
        };
        self.send(&command).await?;
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(OwnerError::Refused(reason)),
            Err(_dropped) => Err(OwnerError::Gone),
        }
    }

    /// Has the networks behind the guest's NIC changed, after all changes asked for before.
    pub(crate) async fn network(&self, command: NetworkCommand) -> Result<(), OwnerError> {
        self.send(&OwnerCommand::Network(command)).await
    }

    /// Writes one command, all of it even where the caller gives up waiting: half a line would
    /// spoil the next one.
    async fn send(&self, command: &OwnerCommand) -> Result<(), OwnerError> {
        let bytes = line(command);
        let mut stdin = Arc::clone(&self.stdin).lock_owned().await;
        let written = tokio::spawn(async move {
            let pipe = stdin.as_mut()?;
            pipe.write_all(&bytes).await.ok()
        });
        match written.await {
            Ok(Some(())) => Ok(()),
            Ok(None) | Err(_) => Err(OwnerError::Gone),
        }
    }

    /// Tells the owner to end the VM at once.
    pub(crate) async fn end(&self) {
        self.stdin.lock().await.take();
    }

    /// Resolves once the VM and its owner have ended.
    pub(crate) async fn ended(&self) -> VmExit {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().expect("waited for Some"),
            Err(_closed) => VmExit::Failed {
                reason: "its watcher ended".to_owned(),
            },
        }
    }
}

/// One line of JSON.
fn line<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("plain data always encodes");
    bytes.push(b'\n');
    bytes
}

/// Reads the owner's lines until it ends, then says how.
async fn follow(
    mut child: Child,
    stdout: ChildStdout,
    waiters: Waiters,
    ended: watch::Sender<Option<VmExit>>,
) {
    let mut exit = None;
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        match serde_json::from_str(&text) {
            Ok(OwnerEvent::Mapped { offset }) => answer(&waiters, offset, Ok(())),
            Ok(OwnerEvent::MapFailed { offset, reason }) => answer(&waiters, offset, Err(reason)),
            Ok(OwnerEvent::Ended { exit: told }) => exit = Some(told),
            Err(error) => tracing::warn!(%text, %error, "unknown line from the machine's owner"),
        }
    }
    let status = child.wait().await;
    waiters.lock().expect("no panic while held").clear();
    let exit = exit.unwrap_or_else(|| VmExit::Failed {
        reason: match status {
            Ok(status) => format!("the process that owned the machine ended with {status}"),
            Err(error) => format!("the process that owned the machine was lost: {error}"),
        },
    });
    ended.send_replace(Some(exit));
}

fn answer(waiters: &Waiters, offset: u64, result: Result<(), String>) {
    let waiter = waiters.lock().expect("no panic while held").remove(&offset);
    if let Some(waiter) = waiter {
        // The asker may have given up; then nobody needs the answer.
        let _ = waiter.send(result);
    }
}
