//! One request, one reply, and what follows on the same connection.

use std::io::Read;
use std::net::Shutdown;
use std::time::Duration;

use dhow_container::{Process, Runtime};
use dhow_protocol::{
    Connect, ExecProcess, Failure, FailureKind, PROTOCOL_VERSION, Reply, Request, RunContainer,
    Welcome,
};
use vsock::VsockStream;

use crate::message::{self, MessageError};
use crate::process::{self, Lifetime};
use crate::{clock, forward, power};

/// How long the host has to take the reply to a shutdown before the power goes.
const LAST_REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers the request on this connection and carries what follows, to its end.
pub(crate) fn answer(runtime: &Runtime, mut stream: VsockStream) -> Result<(), MessageError> {
    let reply = match message::receive(&mut stream)? {
        Request::Run(request) => return run(runtime, stream, &request),
        Request::Exec(request) => return exec(runtime, stream, &request),
        Request::Connect(request) => return connect(runtime, stream, &request),
        Request::Shutdown { grace_ms } => return shutdown(runtime, stream, grace_ms),
        Request::Hello {
            protocol,
            unix_time_ns,
        } => hello(protocol, unix_time_ns),
        Request::Signal(request) => done(runtime.signal(&request).map_err(|error| error.failure())),
        Request::Resize(request) => done(runtime.resize(&request).map_err(|error| error.failure())),
        Request::Pause { container, frozen } => done(
            runtime
                .pause(&container, frozen)
                .map_err(|error| error.failure()),
        ),
        Request::Remove { container } => {
            done(runtime.remove(&container).map_err(|error| error.failure()))
        }
    };
    message::send(&mut stream, &reply)
}

fn done(result: Result<(), Failure>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(failure) => Reply::Failed(failure),
    }
}

fn hello(protocol: u32, unix_time_ns: u64) -> Reply {
    // A host of another version refuses us by the version in the reply; its clock is as good.
    let _ = protocol;
    if let Err(error) = clock::follow(unix_time_ns) {
        return internal(format!("failed to set the machine's clock: {error}"));
    }
    let kernel_release = match nix::sys::utsname::uname() {
        Ok(names) => names.release().to_string_lossy().into_owned(),
        Err(error) => return internal(format!("failed to ask for the kernel's name: {error}")),
    };
    let memory_bytes = nix::sys::sysinfo::sysinfo().map_or(0, |facts| facts.ram_total());
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Reply::Welcome(Welcome {
        protocol: PROTOCOL_VERSION,
        kernel_release,
        memory_bytes,
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
    })
}

fn internal(message: String) -> Reply {
    Reply::Failed(Failure {
        kind: FailureKind::Internal,
        message,
    })
}

fn run(
    runtime: &Runtime,
    mut stream: VsockStream,
    request: &RunContainer,
) -> Result<(), MessageError> {
    match runtime.run(request) {
        Ok(process) => {
            message::send(&mut stream, &started(&process))?;
            process::carry(runtime, process, &stream, Lifetime::Container(&request.id));
            Ok(())
        }
        Err(error) => message::send(&mut stream, &Reply::Failed(error.failure())),
    }
}

fn exec(
    runtime: &Runtime,
    mut stream: VsockStream,
    request: &ExecProcess,
) -> Result<(), MessageError> {
    match runtime.exec(request) {
        Ok(process) => {
            message::send(&mut stream, &started(&process))?;
            process::carry(
                runtime,
                process,
                &stream,
                Lifetime::Exec {
                    container: &request.container,
                    exec: &request.exec,
                },
            );
            Ok(())
        }
        Err(error) => message::send(&mut stream, &Reply::Failed(error.failure())),
    }
}

fn started(process: &Process) -> Reply {
    Reply::Started {
        pid: process.pid,
        warnings: process.warnings.clone(),
    }
}

fn connect(
    runtime: &Runtime,
    mut stream: VsockStream,
    request: &Connect,
) -> Result<(), MessageError> {
    let connected = runtime
        .network_namespace(&request.container)
        .map_err(|error| error.failure())
        .and_then(|namespace| forward::connect(&namespace, request, &stream));
    match connected {
        Ok(peer) => {
            message::send(&mut stream, &Reply::Done)?;
            forward::carry(peer, &stream);
            Ok(())
        }
        Err(failure) => message::send(&mut stream, &Reply::Failed(failure)),
    }
}

fn shutdown(runtime: &Runtime, mut stream: VsockStream, grace_ms: u32) -> Result<(), MessageError> {
    power::quiesce(runtime, Duration::from_millis(grace_ms.into()));
    let sent = message::send(&mut stream, &Reply::Done);
    // The power must not go before the host has read the reply: it then closes the connection.
    let waited = stream
        .shutdown(Shutdown::Write)
        .and_then(|()| stream.set_read_timeout(Some(LAST_REPLY_TIMEOUT)))
        .and_then(|()| stream.read(&mut [0]));
    drop(waited);
    power::off();
    sent
}
