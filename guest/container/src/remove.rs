//! Deletes what the data disk holds of a container.

use std::path::PathBuf;

use dhow_protocol::{Failure, FailureKind};

use crate::container::LookupError;
use crate::runtime::Runtime;

/// Why a container's files are still there.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// It runs, or its id is none.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// They cannot be deleted.
    #[error("failed to delete {path}")]
    Delete {
        /// The directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl RemoveError {
    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::Lookup(error) => error.kind(),
            Self::Delete { .. } => FailureKind::Internal,
        };
        crate::failure(kind, self)
    }
}

impl Runtime {
    /// Deletes what the data disk holds of a container that does not run. One that left nothing is
    /// fine.
    ///
    /// # Errors
    /// [`RemoveError`]; a running container is a conflict.
    pub fn remove(&self, container: &str) -> Result<(), RemoveError> {
        let _place = self.register.reserve(container)?;
        let path = self.folder(container);
        match std::fs::remove_dir_all(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(RemoveError::Delete { path, source }),
        }
    }
}
