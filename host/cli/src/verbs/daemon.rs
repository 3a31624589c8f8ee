//! `dhow daemon stop`.

use std::fs::File;

use anyhow::Context as _;
use dhow_api::client::Client;
use nix::fcntl::{Flock, FlockArg};

use crate::failure::Outcome;
use crate::paths::Paths;
use crate::{daemon_start, output};

/// Stops the daemon and waits until it has gone. One that does not run is fine.
pub(crate) fn stop() -> Outcome {
    let paths = Paths::prepare()?;
    if !daemon_start::is_running(&paths) {
        output::note("the daemon does not run");
        return Ok(0);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(Client::new(paths.socket()).daemon_stop())?;
    // It holds its lock until the last thing is done.
    let lock = File::open(paths.daemon_lock()).context("failed to open the daemon's lock")?;
    Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .context("failed to wait for the daemon's end")?;
    Ok(0)
}
