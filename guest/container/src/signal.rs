//! Sends signals to a container's processes.

use dhow_protocol::{Failure, FailureKind, Signal};
use nix::libc;
use rustix::io::Errno;

use crate::cgroup::CgroupError;
use crate::container::LookupError;
use crate::runtime::Runtime;

/// The largest signal number.
const MAX_SIGNAL: i32 = 64;

/// Why a signal was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// There is no such container or process.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// There is no such signal.
    #[error("{0} is not a signal")]
    NoSignal(i32),
    /// The container's processes cannot be listed or killed.
    #[error("failed to signal every process of the container")]
    All(#[source] CgroupError),
    /// The kernel refused.
    #[error("failed to send signal {signal}")]
    Send {
        /// The signal.
        signal: i32,
        /// Why it failed.
        #[source]
        errno: Errno,
    },
}

impl SignalError {
    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::Lookup(error) => error.kind(),
            Self::NoSignal(_) => FailureKind::Invalid,
            Self::All(_) | Self::Send { .. } => FailureKind::Internal,
        };
        crate::failure(kind, self)
    }
}

impl Runtime {
    /// Sends a signal to a container's first process, to one of its execs, or to all.
    ///
    /// # Errors
    /// [`SignalError`]; a process that has ended already is one of the lookup.
    pub fn signal(&self, request: &Signal) -> Result<(), SignalError> {
        let signal = request.signal;
        if !(1..=MAX_SIGNAL).contains(&signal) {
            return Err(SignalError::NoSignal(signal));
        }
        let container = self.register.get(&request.container)?;
        if request.all && signal == libc::SIGKILL {
            return container.cgroup.kill().map_err(SignalError::All);
        }
        if request.all {
            for process in container.cgroup.processes().map_err(SignalError::All)? {
                // One that has ended meanwhile is fine.
                // SAFETY: the call touches no memory.
                let _sent = unsafe { libc::kill(process, signal) };
            }
            return Ok(());
        }
        let sent = match &request.exec {
            None => container.init.signal(signal),
            Some(exec) => container.exec(exec)?.signal(signal),
        };
        match sent {
            Ok(()) => Ok(()),
            Err(Errno::SRCH) => Err(LookupError::NotRunning(request.container.clone()).into()),
            Err(errno) => Err(SignalError::Send { signal, errno }),
        }
    }
}
