//! Entering the network namespace of a container, and coming back.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use super::{NetworkError, Networks};
use crate::container::LookupError;
use crate::runtime::Runtime;

/// The calling thread is in another network namespace until this value goes.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    home: BorrowedFd<'a>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        move_to(self.home).expect("a thread may always go back to the machine's own namespace");
    }
}

impl Networks {
    /// Moves the calling thread into a namespace.
    pub(super) fn enter(&self, namespace: &OwnedFd) -> Result<Entered<'_>, NetworkError> {
        move_to(namespace.as_fd()).map_err(NetworkError::Enter)?;
        Ok(Entered {
            home: self.0.namespace.as_fd(),
        })
    }

    /// Moves the calling thread into a new namespace; also returns that.
    pub(super) fn enter_new(&self) -> Result<(Entered<'_>, OwnedFd), NetworkError> {
        // SAFETY: only descriptors could be pulled from under somebody, and they are not unshared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
            .map_err(NetworkError::Enter)?;
        let entered = Entered {
            home: self.0.namespace.as_fd(),
        };
        let namespace = open("/proc/thread-self/ns/net").map_err(NetworkError::Open)?;
        Ok((entered, namespace))
    }
}

fn move_to(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
}

/// Opens a namespace by its file.
pub(crate) fn open(path: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
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
        let namespace = match open(&format!("/proc/{}/ns/{kind}", found.pid)) {
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

    /// The addresses of a running container on its networks, in the order of its interfaces.
    ///
    /// # Errors
    /// [`NetworkError`] where it is not running.
    pub fn network_addresses(
        &self,
        container: &str,
    ) -> Result<Vec<std::net::IpAddr>, NetworkError> {
        let found = self.register.get(container)?;
        let connections = found.connections();
        let addresses = connections.iter().flat_map(|one| one.addresses.iter());
        Ok(addresses.copied().collect())
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
        move_to(namespace.as_fd())
    }
}
