//! Gives the agent a container's network namespace.

use std::os::fd::{AsFd, OwnedFd};

use dhow_protocol::{Failure, FailureKind};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::container::LookupError;
use crate::runtime::Runtime;

/// Why there is no namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// There is no such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It cannot be opened.
    #[error("failed to open a namespace of the container")]
    Open(#[source] Errno),
}

impl NetworkError {
    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        crate::failure(self.kind(), self)
    }

    /// What sort of failure this is.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::Lookup(error) => error.kind(),
            Self::Open(_) => FailureKind::Internal,
        }
    }
}

impl Runtime {
    /// A descriptor of a running container's network namespace, for `setns` in a thread that is to
    /// connect to its ports. While it is open the namespace lives.
    ///
    /// # Errors
    /// [`NetworkError`]; a container whose first process has ended is not running.
    pub fn network_namespace(&self, container: &str) -> Result<OwnedFd, NetworkError> {
        self.namespace(container, "net")
    }

    /// A descriptor of one of a running container's namespaces, by the name it has in `/proc`.
    pub(crate) fn namespace(&self, container: &str, kind: &str) -> Result<OwnedFd, NetworkError> {
        let found = self.register.get(container)?;
        let gone = || LookupError::NotRunning(container.to_owned()).into();
        let path = format!("/proc/{}/ns/{kind}", found.pid);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(namespace) => namespace,
            Err(Errno::NOENT | Errno::SRCH) => return Err(gone()),
            Err(errno) => return Err(NetworkError::Open(errno)),
        };
        // The pid may have been another's by the time it was opened; if ours still is, it was not.
        let nothing = 0;
        match found.init.signal(nothing) {
            Ok(()) => Ok(namespace),
            Err(_ended) => Err(gone()),
        }
    }
}

/// For the agent's threads.
impl Runtime {
    /// Moves the calling thread into a network namespace. For a thread that ends afterwards, or
    /// that comes back with another call.
    ///
    /// # Errors
    /// The kernel's.
    pub fn enter_network(namespace: &OwnedFd) -> Result<(), Errno> {
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(namespace.as_fd(), kind)
    }
}
