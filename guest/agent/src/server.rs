//! Takes the host's connections, a thread each.

use std::sync::Arc;
use std::thread;

use anyhow::Context;
use dhow_container::Runtime;
use dhow_protocol::{AGENT_PORT, READY_PORT};
use nix::sys::socket::{Backlog, listen};
use vsock::{VMADDR_CID_ANY, VMADDR_CID_HOST, VsockListener, VsockStream};

use crate::{boot, call};

/// Stack of a connection's thread, in bytes: the deepest is the parsing of an OCI configuration.
const THREAD_STACK_BYTES: usize = 512 * 1024;

/// Listens, tells the host, and serves until the machine ends.
pub(crate) fn serve(runtime: &Arc<Runtime>) -> anyhow::Result<()> {
    let listener = VsockListener::bind_with_cid_port(VMADDR_CID_ANY, AGENT_PORT)
        .context("failed to listen for the host")?;
    // The listener comes with room for 128, and a full one refuses: a crowd at a published port
    // would keep commands out. Asked for all it may have, the kernel gives net.core.somaxconn.
    listen(&listener, Backlog::MAXALLOWABLE).context("failed to widen the queue of the host")?;
    // The host waits for this connection and closes it; nothing is said on it.
    VsockStream::connect_with_cid_port(VMADDR_CID_HOST, READY_PORT)
        .context("failed to tell the host that the machine is ready")?;
    loop {
        match listener.accept() {
            Ok((stream, _host)) => spawn(runtime, stream),
            // Out of descriptors or memory: this connection is lost, the machine is not.
            Err(error) => boot::complain(&anyhow::Error::new(error).context("failed to accept")),
        }
    }
}

fn spawn(runtime: &Arc<Runtime>, stream: VsockStream) {
    let runtime = Arc::clone(runtime);
    let spawned = thread::Builder::new()
        .name("connection".to_owned())
        .stack_size(THREAD_STACK_BYTES)
        .spawn(move || {
            if let Err(error) = call::answer(&runtime, stream) {
                boot::complain(&anyhow::Error::new(error).context("a call broke off"));
            }
        });
    if let Err(error) = spawned {
        boot::complain(&anyhow::Error::new(error).context("failed to start a thread"));
    }
}
