//! Freezes and thaws every process of a container.

use std::sync::PoisonError;

use dhow_protocol::{Failure, FailureKind};

use crate::cgroup::CgroupError;
use crate::container::LookupError;
use crate::runtime::Runtime;

/// Why a container was not frozen or thawed.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// There is no such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It is frozen, or thawed, already.
    #[error("container {container} is {state}")]
    Already {
        /// The container.
        container: String,
        /// How it is.
        state: &'static str,
    },
    /// The kernel did not do it.
    #[error("failed to freeze or thaw container {container}")]
    Freeze {
        /// The container.
        container: String,
        /// Why it failed.
        #[source]
        source: CgroupError,
    },
}

impl PauseError {
    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::Lookup(error) => error.kind(),
            Self::Already { .. } => FailureKind::Conflict,
            Self::Freeze { .. } => FailureKind::Internal,
        };
        crate::failure(kind, self)
    }
}

impl Runtime {
    /// Freezes every process of a container (true), or lets them go on (false).
    ///
    /// # Errors
    /// [`PauseError`]; a container that is in that state already is a conflict, as with Docker.
    pub fn pause(&self, container: &str, frozen: bool) -> Result<(), PauseError> {
        let found = self.register.get(container)?;
        let mut is_frozen = found.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_frozen == frozen {
            let state = if frozen {
                "already paused"
            } else {
                "not paused"
            };
            return Err(PauseError::Already {
                container: container.to_owned(),
                state,
            });
        }
        found
            .cgroup
            .freeze(frozen)
            .map_err(|source| PauseError::Freeze {
                container: container.to_owned(),
                source,
            })?;
        *is_frozen = frozen;
        Ok(())
    }
}
