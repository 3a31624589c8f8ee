//! The containers of this machine, and what the runtime keeps of each while it runs.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dhow_protocol::{Failure, FailureKind};

use crate::cgroup::Cgroup;
use crate::network::Connection;
use crate::plan::process::Filter;
use crate::reaper::ExitWatch;

/// The most containers at once: each has a cgroup and a mount namespace in kernel memory.
const MAX_CONTAINERS: usize = 4096;

/// The most further processes of one container at once.
const MAX_EXECS: usize = 4096;

/// The longest id, in bytes. Docker's have 64.
const MAX_ID_BYTES: usize = 128;

/// How long a place may be taken by somebody who is about to leave it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two looks meanwhile.
const BUSY_INTERVAL: Duration = Duration::from_millis(5);

/// Why a container or process cannot be found, or made under this name.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No such container runs here.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// No such process runs in the container.
    #[error("no such exec instance: {0}")]
    NoExec(String),
    /// There is one already.
    #[error("container {0} is running already")]
    AlreadyRunning(String),
    /// There is one already.
    #[error("exec instance {0} is running already")]
    ExecExists(String),
    /// It is frozen.
    #[error("container {0} is paused, unpause the container before exec")]
    Paused(String),
    /// An id that cannot be a file name.
    #[error("{0:?} is not a valid id: 1 to {MAX_ID_BYTES} letters, digits, '-' or '_'")]
    BadId(String),
    /// Too many containers or processes.
    #[error("{0} containers or exec instances are running already")]
    TooMany(usize),
}

impl LookupError {
    /// What sort of failure this is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::NotRunning(_) | Self::NoExec(_) => FailureKind::NotFound,
            Self::AlreadyRunning(_) | Self::ExecExists(_) | Self::Paused(_) => {
                FailureKind::Conflict
            }
            Self::BadId(_) => FailureKind::Invalid,
            Self::TooMany(_) => FailureKind::Internal,
        }
    }

    /// The error as the host is told it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        crate::failure(self.kind(), self)
    }
}

/// Checks an id of a container or exec, which becomes a file name.
pub(crate) fn check_id(id: &str) -> Result<(), LookupError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(plain) {
        Ok(())
    } else {
        Err(LookupError::BadId(id.chars().take(MAX_ID_BYTES).collect()))
    }
}

/// A process that the runtime started.
#[derive(Debug)]
pub(crate) struct Running {
    /// A descriptor for it.
    pub(crate) pidfd: Arc<OwnedFd>,
    /// Its terminal, if it has one.
    pub(crate) terminal: Option<OwnedFd>,
}

/// A running container.
#[derive(Debug)]
pub(crate) struct Container {
    /// Its first process.
    pub(crate) init: Running,
    /// That process's id on this machine.
    pub(crate) pid: u32,
    /// Where that process's end is told.
    pub(crate) exit: ExitWatch,
    /// Its root.
    pub(crate) root: Arc<OwnedFd>,
    /// Its devpts.
    pub(crate) devpts: Option<Arc<OwnedFd>>,
    /// Its cgroup.
    pub(crate) cgroup: Cgroup,
    /// Its system call filter, which further processes get too.
    pub(crate) seccomp: Option<Filter>,
    /// Whether one of its processes may trace others.
    pub(crate) may_trace: bool,
    /// Whether it is frozen.
    pub(crate) frozen: Mutex<bool>,
    /// Its further processes.
    pub(crate) execs: Execs,
    /// Its connections to networks, in the order of its interfaces.
    pub(crate) connections: Mutex<Vec<Connection>>,
}

/// The further processes of a container by id; one without a process is being started.
#[derive(Debug, Default)]
pub(crate) struct Execs(Mutex<HashMap<String, Option<Arc<Running>>>>);

impl Container {
    /// Keeps an exec's name until it runs; the name is free again if the value goes before.
    pub(crate) fn reserve_exec(&self, exec: &str) -> Result<ExecName<'_>, LookupError> {
        check_id(exec)?;
        let mut execs = self.execs();
        if execs.contains_key(exec) {
            return Err(LookupError::ExecExists(exec.to_owned()));
        }
        if execs.len() >= MAX_EXECS {
            return Err(LookupError::TooMany(execs.len()));
        }
        execs.insert(exec.to_owned(), None);
        Ok(ExecName {
            container: self,
            exec: exec.to_owned(),
        })
    }

    /// A further process by its name.
    pub(crate) fn exec(&self, exec: &str) -> Result<Arc<Running>, LookupError> {
        let running = self.execs().get(exec).cloned().flatten();
        running.ok_or_else(|| LookupError::NoExec(exec.to_owned()))
    }

    /// Forgets a further process that has ended.
    pub(crate) fn forget_exec(&self, exec: &str) {
        self.execs().remove(exec);
    }

    /// Its connections to networks.
    pub(crate) fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn execs(&self) -> MutexGuard<'_, HashMap<String, Option<Arc<Running>>>> {
        self.execs.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reserved name of a further process.
#[derive(Debug)]
pub(crate) struct ExecName<'a> {
    container: &'a Container,
    exec: String,
}

impl ExecName<'_> {
    /// The process runs.
    pub(crate) fn fill(self, running: Running) {
        self.container
            .execs()
            .insert(self.exec.clone(), Some(Arc::new(running)));
    }
}

impl Drop for ExecName<'_> {
    fn drop(&mut self) {
        let mut execs = self.container.execs();
        if matches!(execs.get(&self.exec), Some(None)) {
            execs.remove(&self.exec);
        }
    }
}

/// A place in the register.
#[derive(Clone, Debug)]
enum Place {
    /// Being started, cleared up, or deleted: its files belong to that thread.
    Busy,
    /// Running, or ended and not yet cleared up.
    Running(Arc<Container>),
}

/// All containers by id.
#[derive(Debug, Default)]
pub(crate) struct Register {
    places: Mutex<HashMap<String, Place>>,
}

impl Register {
    /// Keeps a place for a container that does not run; it is free again when the value goes.
    pub(crate) fn reserve(&self, id: &str) -> Result<Reserved<'_>, LookupError> {
        check_id(id)?;
        let mut places = self.places();
        if places.contains_key(id) {
            return Err(LookupError::AlreadyRunning(id.to_owned()));
        }
        if places.len() >= MAX_CONTAINERS {
            return Err(LookupError::TooMany(places.len()));
        }
        places.insert(id.to_owned(), Place::Busy);
        Ok(Reserved {
            register: self,
            id: id.to_owned(),
        })
    }

    /// As [`reserve`](Self::reserve), but waits while somebody else has the place for a while: to
    /// clear up after the container, or to read its files.
    pub(crate) fn reserve_in_turn(&self, id: &str) -> Result<Reserved<'_>, LookupError> {
        let deadline = Instant::now() + BUSY_TIMEOUT;
        loop {
            match self.reserve(id) {
                Err(LookupError::AlreadyRunning(_))
                    if self.get(id).is_err() && Instant::now() < deadline =>
                {
                    std::thread::sleep(BUSY_INTERVAL);
                }
                other => return other,
            }
        }
    }

    /// A running container.
    pub(crate) fn get(&self, id: &str) -> Result<Arc<Container>, LookupError> {
        match self.places().get(id) {
            Some(Place::Running(container)) => Ok(Arc::clone(container)),
            Some(Place::Busy) | None => Err(LookupError::NotRunning(id.to_owned())),
        }
    }

    /// Takes a running container out, to clear up after it; its place stays taken until the second
    /// value goes.
    pub(crate) fn take(&self, id: &str) -> Result<(Arc<Container>, Reserved<'_>), LookupError> {
        let mut places = self.places();
        match places.get(id) {
            Some(Place::Running(container)) => {
                let container = Arc::clone(container);
                places.insert(id.to_owned(), Place::Busy);
                Ok((
                    container,
                    Reserved {
                        register: self,
                        id: id.to_owned(),
                    },
                ))
            }
            Some(Place::Busy) | None => Err(LookupError::NotRunning(id.to_owned())),
        }
    }

    /// Every running container with its id.
    pub(crate) fn all(&self) -> Vec<(String, Arc<Container>)> {
        let running = |(id, place): (&String, &Place)| match place {
            Place::Running(container) => Some((id.clone(), Arc::clone(container))),
            Place::Busy => None,
        };
        self.places().iter().filter_map(running).collect()
    }

    fn places(&self) -> MutexGuard<'_, HashMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is kept.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    register: &'a Register,
    id: String,
}

impl Reserved<'_> {
    /// The container runs.
    pub(crate) fn fill(self, container: Container) {
        let place = Place::Running(Arc::new(container));
        self.register.places().insert(self.id.clone(), place);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut places = self.register.places();
        if matches!(places.get(&self.id), Some(Place::Busy)) {
            places.remove(&self.id);
        }
    }
}

impl Running {
    /// Sends a signal, 1 to 64.
    pub(crate) fn signal(&self, signal: i32) -> Result<(), rustix::io::Errno> {
        let nothing = std::ptr::null::<nix::libc::siginfo_t>();
        let pidfd = std::os::fd::AsRawFd::as_raw_fd(&self.pidfd.as_fd());
        // SAFETY: without a siginfo the call reads no memory.
        let result = unsafe {
            nix::libc::syscall(nix::libc::SYS_pidfd_send_signal, pidfd, signal, nothing, 0)
        };
        if result == -1 {
            Err(rustix::io::Errno::from_raw_os_error(
                nix::errno::Errno::last_raw(),
            ))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_a_start_fails() {
        let register = Register::default();

        drop(register.reserve("abc").unwrap());

        assert!(register.reserve("abc").is_ok_and(|_reserved| true));
    }

    #[test]
    fn a_container_cannot_be_started_twice() {
        let register = Register::default();
        let _reserved = register.reserve("abc").unwrap();

        let error = register.reserve("abc").unwrap_err();

        assert_eq!(error.kind(), FailureKind::Conflict);
    }

    #[test]
    fn whoever_waits_gets_the_place_when_it_is_free() {
        let register = Register::default();
        let held = register.reserve("abc").unwrap();

        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| register.reserve_in_turn("abc").map(drop));
            drop(held);
            waiting.join().unwrap().unwrap();
        });
    }

    #[test]
    fn refuses_an_id_that_is_a_path() {
        assert_eq!(check_id("../x").unwrap_err().kind(), FailureKind::Invalid);
        assert_eq!(check_id("").unwrap_err().kind(), FailureKind::Invalid);
        assert_eq!(
            check_id(&"a".repeat(129)).unwrap_err().kind(),
            FailureKind::Invalid
        );
    }
}
