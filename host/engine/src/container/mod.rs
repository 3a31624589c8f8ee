//! One container: what it was asked to be, where it is in its life, its streams, log and ports.
//!
//! - [`config`] – what it was asked to be
//! - [`status`] – its phases and how they change
//! - [`record`] – what of it survives the daemon
//! - [`restart`] – whether it is started again when it ends
//! - [`health`] – how it is while it runs
//! - [`registry`] – all of them, found by id, prefix or name
//! - [`ulimit`] – one resource limit
//!
//! Rule: phases change only through [`Container::change`], which also writes the state file; nobody
//! holds a lock of a container across an await.

pub mod config;
pub mod health;
pub mod record;
pub mod registry;
pub mod restart;
pub mod status;
pub mod ulimit;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::id::Id;
use crate::log::LogWriter;
use crate::name::ContainerName;
use crate::network::EndpointConfig;
use crate::port::{ContainerPort, Published};
use crate::stream::Hub;
use restart::Backoff;

pub use config::{ContainerConfig, HostConfig, Resources};
pub use health::{Health, HealthCheck, HealthResult, HealthStatus};
pub(crate) use record::Durability;
pub use record::{Record, RecordError};
pub use registry::{LookupError, Registry};
pub use restart::{RestartPolicy, RestartPolicyError};
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
    /// How long its next restart waits.
    backoff: Mutex<Backoff>,
    /// How it is; `None` where nothing is checked.
    health: Mutex<Option<Health>>,
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
            backoff: Mutex::default(),
            health: Mutex::default(),
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

    /// Changes the networks it is to be on.
    pub(crate) fn set_networks(&self, change: impl FnOnce(&mut Vec<EndpointConfig>)) {
        change(&mut self.locked_record().networks);
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

    /// Notes that its user wants it ended: it stays so, past the daemon's end too.
    pub(crate) fn stopped_by_user(&self) {
        *self
            .stop_requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.locked_record().stopped_by_user = true;
        self.save_or_warn();
    }

    /// Its user starts it: what its restart policy had counted is forgotten.
    pub(crate) fn started_by_user(&self) {
        *self.locked_backoff() = Backoff::default();
        let mut record = self.locked_record();
        record.restart_count = 0;
        record.stopped_by_user = false;
    }

    /// Notes that the data disk may hold files of it.
    pub(crate) fn note_files(&self) {
        let is_new = !std::mem::replace(&mut self.locked_record().has_files, true);
        if is_new {
            self.save_or_warn();
        }
    }

    /// Counts a restart by its policy.
    pub(crate) fn count_restart(&self) {
        self.locked_record().restart_count += 1;
    }

    /// How long the restart after a run waits; `None` where there is to be none.
    pub(crate) fn restart_pause(&self, exit_code: i64, run: Duration) -> Option<Duration> {
        let stopped = *self
            .stop_requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (policy, before) = {
            let record = self.locked_record();
            (record.host_config.restart_policy, record.restart_count)
        };
        let restarts = !stopped && policy.restarts(exit_code, before);
        restarts.then(|| self.locked_backoff().next(run))
    }

    /// Changes what the host grants it.
    pub(crate) fn update_host_config(&self, update: impl FnOnce(&mut HostConfig)) {
        update(&mut self.locked_record().host_config);
        self.save_or_warn();
    }

    /// How it is; `None` where nothing is checked, or it does not run.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        self.locked_health().clone()
    }

    pub(crate) fn set_health(&self, health: Option<Health>) {
        *self.locked_health() = health;
    }

    /// Takes a check's result in; how it is now, if that is something else than before.
    pub(crate) fn note_health(
        &self,
        check: &HealthCheck,
        result: HealthResult,
        since_start: Duration,
    ) -> Option<HealthStatus> {
        let mut health = self.locked_health();
        let health = health.as_mut()?;
        health
            .note(check, result, since_start)
            .then_some(health.status)
    }

    fn locked_health(&self) -> MutexGuard<'_, Option<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked_backoff(&self) -> MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
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
