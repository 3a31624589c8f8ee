//! Ends every container: SIGTERM, a grace period, SIGKILL.

use std::time::{Duration, Instant};

use nix::libc;

use crate::cgroup::CgroupError;
use crate::container::Container;
use crate::runtime::Runtime;

/// How long killed processes have to go.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why containers may still run.
#[derive(Debug, thiserror::Error)]
pub enum ShutdownError {
    /// They cannot be killed.
    #[error("failed to kill the containers")]
    Kill(#[source] CgroupError),
}

impl Runtime {
    /// Ends every container, and writes what they left to disk.
    ///
    /// The threads that wait for the containers' ends still call [`Runtime::finished`].
    ///
    /// # Errors
    /// [`ShutdownError`] where the kernel refuses to kill them.
    pub fn shutdown(&self, grace: Duration) -> Result<(), ShutdownError> {
        let deadline = Instant::now() + grace;
        let running = self.register.all();
        for (_, container) in &running {
            // A frozen one cannot react; one that has ended is fine.
            let _thawed = container.cgroup.freeze(false);
            let _sent = container.init.signal(libc::SIGTERM);
        }
        let ended_in_time = running
            .iter()
            .all(|(_, container)| ended(container, deadline));
        if !ended_in_time {
            self.cgroups.kill_all().map_err(ShutdownError::Kill)?;
            let deadline = Instant::now() + KILL_TIMEOUT;
            for (_, container) in &running {
                let _exit = container.exit.wait_until(deadline);
            }
        }
        rustix::fs::sync();
        Ok(())
    }
}

fn ended(container: &Container, deadline: Instant) -> bool {
    container.exit.wait_until(deadline).is_some()
}
