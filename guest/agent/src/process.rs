//! Carries a process's streams between its pipes or terminal and the host's connection.
//!
//! The connection's thread pumps output and waits for the end; a second thread, where the process
//! has an open standard input, feeds it. A host that breaks off only loses the output: the process
//! goes on, its output drained so that it never blocks.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use dhow_container::{Exit, Process, ProcessIo, Runtime};
use dhow_protocol::stream::{HEADER_BYTES, MAX_PAYLOAD_BYTES, StreamHeader, StreamKind};
use dhow_protocol::{ExitStatus, stream};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vsock::VsockStream;

use crate::boot;

/// How long output is still taken after a process ended while others hold its pipes open: a
/// command that left something in the background. Docker waits as long (moby,
/// `daemon/monitor.go`).
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Whose process it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lifetime<'a> {
    /// The first process of this container: with it the container ends.
    Container(&'a str),
    /// A further process of a container.
    Exec {
        /// The container.
        container: &'a str,
        /// The process's own id.
        exec: &'a str,
    },
}

/// An output of the process and the kind of frame it becomes.
struct Output {
    file: File,
    kind: StreamKind,
}

/// Carries everything until the process has ended and its output is drained, then tells the exit.
pub(crate) fn carry(
    runtime: &Runtime,
    process: Process,
    connection: &VsockStream,
    lifetime: Lifetime<'_>,
) {
    let Process {
        pidfd, io, exit, ..
    } = process;
    let (input, mut outputs) = split(io);
    if let Some(input) = input {
        feed_in_background(input, connection);
    }
    let mut host = Host {
        connection,
        broken: false,
        buffer: vec![0; BUFFER_BYTES],
    };
    let mut ended: Option<(ExitStatus, Instant)> = None;
    while ended.is_none() || !outputs.is_empty() {
        let deadline = ended.map(|(_, at)| at + DRAIN_TIMEOUT);
        let Some(ready) = wait(&outputs, ended.is_none().then_some(&pidfd), deadline) else {
            break;
        };
        let mut index = 0;
        outputs.retain_mut(|output| {
            let open = !ready.outputs[index] || host.forward(output);
            index += 1;
            open
        });
        if ready.exited {
            let status = finish(runtime, exit.wait(), lifetime);
            ended = Some((status, Instant::now()));
        }
    }
    if let Some((status, _)) = ended {
        host.tell_exit(status);
    }
    // Wakes the feeding thread; the host may have closed already.
    let _ = connection.shutdown(Shutdown::Both);
}

/// Clears up after the process and says how it ended.
fn finish(runtime: &Runtime, exit: Exit, lifetime: Lifetime<'_>) -> ExitStatus {
    let oom_killed = match lifetime {
        Lifetime::Container(id) => runtime.finished(id).map_or_else(
            |error| {
                boot::complain(&anyhow::Error::new(error).context("failed to clear up"));
                false
            },
            |finished| finished.oom_killed,
        ),
        Lifetime::Exec { container, exec } => runtime.exec_finished(container, exec).oom_killed,
    };
    ExitStatus {
        code: exit.code,
        oom_killed,
    }
}

fn split(io: ProcessIo) -> (Option<File>, Vec<Output>) {
    match io {
        ProcessIo::Pipes {
            stdin,
            stdout,
            stderr,
        } => {
            let outputs = vec![
                Output {
                    file: stdout.into(),
                    kind: StreamKind::Stdout,
                },
                Output {
                    file: stderr.into(),
                    kind: StreamKind::Stderr,
                },
            ];
            (stdin.map(File::from), outputs)
        }
        ProcessIo::Terminal { master } => {
            let input = master.try_clone().ok().map(File::from);
            (
                input,
                vec![Output {
                    file: master.into(),
                    kind: StreamKind::Stdout,
                }],
            )
        }
    }
}

/// What became ready.
struct Ready {
    outputs: Vec<bool>,
    exited: bool,
}

/// Waits for output or the end of the process; `None` once the deadline has passed.
fn wait(outputs: &[Output], pidfd: Option<&OwnedFd>, deadline: Option<Instant>) -> Option<Ready> {
    let mut polled: Vec<PollFd<'_>> = outputs
        .iter()
        .map(|output| PollFd::new(output.file.as_fd(), PollFlags::POLLIN))
        .collect();
    polled.extend(pidfd.map(|pidfd| PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)));
    let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    });
    loop {
        match poll(&mut polled, timeout) {
            Ok(0) => return None,
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(error) => {
                boot::complain(&anyhow::Error::new(error).context("failed to poll a process"));
                return None;
            }
        }
    }
    let ready = |polled: &PollFd<'_>| polled.any().unwrap_or(true);
    Some(Ready {
        outputs: polled.iter().take(outputs.len()).map(ready).collect(),
        exited: polled.get(outputs.len()).is_some_and(ready),
    })
}

/// A header and the largest payload, written at once.
const BUFFER_BYTES: usize = HEADER_BYTES + MAX_PAYLOAD_BYTES;

/// The host's end of the connection.
struct Host<'a> {
    connection: &'a VsockStream,
    broken: bool,
    buffer: Vec<u8>,
}

impl Host<'_> {
    /// Moves one read's worth of output on; false once the output has ended.
    fn forward(&mut self, output: &mut Output) -> bool {
        match output.file.read(&mut self.buffer[HEADER_BYTES..]) {
            Ok(0) => false,
            Ok(length) => {
                self.send(output.kind, length);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            // A terminal answers EIO once its last user is gone.
            Err(_) => false,
        }
    }

    /// Sends the payload that lies in the buffer.
    fn send(&mut self, kind: StreamKind, length: usize) {
        if self.broken {
            return;
        }
        let header = StreamHeader::new(kind, length).expect("the buffer bounds the payload");
        self.buffer[..HEADER_BYTES].copy_from_slice(&header.encode());
        let mut connection = self.connection;
        self.broken = connection
            .write_all(&self.buffer[..HEADER_BYTES + length])
            .is_err();
    }

    fn tell_exit(&mut self, status: ExitStatus) {
        let payload = postcard::to_slice(&status, &mut self.buffer[HEADER_BYTES..])
            .expect("an exit status is a few bytes")
            .len();
        self.send(StreamKind::Exit, payload);
    }
}

/// Feeds standard input from the host's frames, in a thread of its own.
fn feed_in_background(input: File, connection: &VsockStream) {
    let spawned = connection.try_clone().and_then(|connection| {
        thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || feed(input, connection))
    });
    if let Err(error) = spawned {
        boot::complain(&anyhow::Error::new(error).context("failed to feed standard input"));
    }
}

/// Writes frames to `input` until the empty frame or the connection's end. Input that the process
/// no longer takes is read and dropped, so that the connection stays in step.
fn feed(input: File, mut connection: VsockStream) {
    let mut input = Some(input);
    let mut header = [0; HEADER_BYTES];
    let mut payload = vec![0; MAX_PAYLOAD_BYTES];
    while connection.read_exact(&mut header).is_ok() {
        let Ok(stream::StreamHeader {
            kind: StreamKind::Stdin,
            length,
        }) = StreamHeader::decode(header)
        else {
            return;
        };
        let payload = &mut payload[..length];
        if connection.read_exact(payload).is_err() {
            return;
        }
        let taken = input
            .as_mut()
            .is_some_and(|input| input.write_all(payload).is_ok());
        if length == 0 || !taken {
            input = None;
        }
    }
}
