//! One container: what it was asked to be, where it is in its life, its streams, log and ports.
//!
//! - [`config`] – what it was asked to be
//! - [`status`] – its phases and how they change
//! - [`record`] – what of it survives the daemon
//! - [`registry`] – all of them, found by id, prefix or name
//! - [`ulimit`] – one resource limit
//!
//! Rule: phases change only through [`Container::change`], which also writes the state file; nobody
//! holds a lock of a container across an await.

pub mod config;
pub mod record;
pub mod registry;
pub mod status;
pub mod ulimit;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::id::Id;
use crate::log::LogWriter;
use crate::name::ContainerName;
use crate::port::{ContainerPort, Published};
use crate::stream::Hub;

pub use config::{ContainerConfig, HostConfig, Resources};
pub(crate) use record::Durability;
pub use record::{Record, RecordError};
pub use registry::{LookupError, Registry};
pub use status::{Change, Forbidden, Phase, Status};
pub use ulimit::{Ulimit, UlimitError};

/// A container and everything that hangs on it.
#[derive(Debug)]
pub struct Container {
    id: Id,
    directory: PathBuf,
    record: Mutex<Record>,
    status: watch::Sender<Status>,
    /// Attached clients and standard input.
    pub(crate) hub: Hub,
    /// Where its output is kept.
    pub(crate) log: LogWriter,
    /// Open ports of the current run.
    pub(crate) ports: Mutex<Option<Published>>,
    /// Whether somebody asked it to end, so that its exit is no surprise.
    stop_requested: Mutex<bool>,
}

impl Container {
    pub(crate) fn new(record: Record, directory: PathBuf) -> Self {
        let (status, _) = watch::channel(record.status.clone());
        Self {
            id: record.id.clone(),
            hub: Hub::new(),
            log: LogWriter::new(directory.join(record::LOG_FILE)),
            directory,
            record: Mutex::new(record),
            status,
            ports: Mutex::new(None),
            stop_requested: Mutex::new(false),
        }
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// Its folder.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A copy of its record, status included.
    #[must_use]
    pub fn record(&self) -> Record {
        let mut record = self.locked_record().clone();
        record.status = self.status();
        record
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> ContainerName {
        self.locked_record().name.clone()
    }

    /// Where it is in its life.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Where it is in its life, from now on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Waits for a status that will do.
    pub(crate) async fn until(&self, will_do: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.status.subscribe();
        match status.wait_for(will_do).await {
            Ok(status) => status.clone(),
            Err(_) => unreachable!("self holds the sender"),
        }
    }

    /// Changes the phase, and writes that down.
    pub(crate) fn change(&self, change: Change) -> Result<Status, Forbidden> {
        let mut outcome = Err(Forbidden { from: "unknown" });
        self.status.send_if_modified(|status| {
            outcome = status.after(change);
            if let Ok(next) = &outcome {
                *status = next.clone();
            }
            outcome.is_ok()
        });
        // Not while starting: should the daemon end now, the state before is the true one. Not once
        // removed: the folder is gone.
        let written = |phase| !matches!(phase, Phase::Starting | Phase::Removed);
        if outcome.as_ref().is_ok_and(|next| written(next.phase)) {
            self.save_or_warn();
        }
        outcome
    }

    /// Gives it another name.
    pub(crate) fn set_name(&self, name: ContainerName) {
        self.locked_record().name = name;
        self.save_or_warn();
    }

    /// Notes whether its end is asked for.
    pub(crate) fn request_stop(&self, requested: bool) {
        *self
            .stop_requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = requested;
        if requested {
            self.hub.expect_end();
        }
    }

    /// Where its ports can be reached now.
    #[must_use]
    pub fn published(&self) -> BTreeMap<ContainerPort, Vec<SocketAddr>> {
        self.locked_ports()
            .as_ref()
            .map(|published| published.addresses().clone())
            .unwrap_or_default()
    }

    /// Where its log is.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        self.log.path()
    }

    /// What is published now.
    pub(crate) fn locked_ports(&self) -> MutexGuard<'_, Option<Published>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked_record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A state file that cannot be written (disk full) must not end a running container.
    fn save_or_warn(&self) {
        if let Err(error) = self.record().save(&self.directory, Durability::DaemonEnd) {
            tracing::warn!(container = self.id.short(), %error, "failed to save container state");
        }
    }
}
