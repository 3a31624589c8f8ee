//! Changes the size of a process's terminal.

use std::os::fd::AsFd;

use dhow_protocol::{Failure, FailureKind, Resize};
use rustix::io::Errno;

use crate::container::LookupError;
use crate::io::set_size;
use crate::runtime::Runtime;

/// Why a terminal kept its size.
#[derive(Debug, thiserror::Error)]
pub enum ResizeError {
    /// There is no such container or process.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The process has no terminal.
    #[error("the process has no terminal")]
    NoTerminal,
    /// The kernel refused.
    #[error("failed to resize the terminal")]
    Set(#[source] Errno),
}

impl ResizeError {
    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::Lookup(error) => error.kind(),
            Self::NoTerminal => FailureKind::Invalid,
            Self::Set(_) => FailureKind::Internal,
        };
        crate::failure(kind, self)
    }
}

impl Runtime {
    /// Changes the size of the terminal of a container's first process, or of one of its execs.
    ///
    /// # Errors
    /// [`ResizeError`].
    pub fn resize(&self, request: &Resize) -> Result<(), ResizeError> {
        let container = self.register.get(&request.container)?;
        let exec = request
            .exec
            .as_deref()
            .map(|exec| container.exec(exec))
            .transpose()?;
        let running = exec.as_deref().unwrap_or(&container.init);
        let terminal = running.terminal.as_ref().ok_or(ResizeError::NoTerminal)?;
        set_size(terminal.as_fd(), request.size).map_err(ResizeError::Set)
    }
}
