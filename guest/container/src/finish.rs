//! Clears up after a container's first process, or a further one, has ended.

use dhow_protocol::{Failure, FailureKind};

use crate::cgroup::CgroupError;
use crate::container::LookupError;
use crate::runtime::Runtime;

/// What is to be told about a container that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Whether the kernel killed a process of it for want of memory.
    pub oom_killed: bool,
}

/// Why a container was not cleared up.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// There is no such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Its cgroup cannot be deleted.
    #[error("failed to clear up after container {container}")]
    Cgroup {
        /// The container.
        container: String,
        /// Why it failed.
        #[source]
        source: CgroupError,
    },
}

impl FinishError {
    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::Lookup(error) => error.kind(),
            Self::Cgroup { .. } => FailureKind::Internal,
        };
        crate::failure(kind, self)
    }
}

impl Runtime {
    /// Clears up after a container whose first process has ended: kills what is left of it, and
    /// lets go of its cgroup, mounts and terminals. Its id may be used again afterwards.
    ///
    /// # Errors
    /// [`FinishError`]; even then the container is gone from the runtime.
    pub fn finished(&self, container: &str) -> Result<Finished, FinishError> {
        let (ended, _place) = self.register.take(container)?;
        self.networks
            .release(std::mem::take(&mut *ended.connections()));
        let oom_killed = ended.cgroup.was_out_of_memory();
        ended
            .cgroup
            .delete()
            .map_err(|source| FinishError::Cgroup {
                container: container.to_owned(),
                source,
            })?;
        Ok(Finished { oom_killed })
    }

    /// Forgets a further process that has ended; returns what is to be told about its container.
    /// A container that has been cleared up meanwhile is fine.
    pub fn exec_finished(&self, container: &str, exec: &str) -> Finished {
        let Ok(found) = self.register.get(container) else {
            return Finished { oom_killed: false };
        };
        found.forget_exec(exec);
        Finished {
            oom_killed: found.cgroup.was_out_of_memory(),
        }
    }
}
