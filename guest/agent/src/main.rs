//! PID 1 of dhow's microVM: prepares the machine, then serves the host's calls over vsock.
//!
//! The agent is plain threads and blocking calls, a thread per connection: under User Mode Linux
//! every system call costs 10 µs, and an event loop would double their number. This page is the
//! table of contents: [`boot`] mounts, [`server`] accepts, [`call`] answers, [`process`] carries a
//! process's streams, [`forward`] a published port's bytes, [`archive`] archives of files, [`power`] ends it
//! all.
//!
//! Rule: a host that breaks off must never stop a container, and nothing here may panic the
//! machine for what a container or the host did.

mod archive;
mod boot;
mod call;
mod clock;
mod connect;
mod forward;
mod message;
mod power;
mod process;
mod server;

use std::sync::Arc;

use anyhow::Context;

fn main() {
    // Re-executed as a container's first process: becomes it, never returns.
    dhow_container::init_if_requested();
    if let Err(error) = run() {
        boot::complain(&error);
        power::off();
    }
}

fn run() -> anyhow::Result<()> {
    dhow_container::make_root_pivotable().context("failed to make the root mountable over")?;
    boot::raise_limits()?;
    boot::mount_system()?;
    boot::mount_data()?;
    let runtime = dhow_container::Runtime::new(boot::paths())
        .context("failed to prepare the container runtime")?;
    server::serve(&Arc::new(runtime))
}
