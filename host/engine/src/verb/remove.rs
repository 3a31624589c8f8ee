//! Removes a container: its files on the host and on the data disk.

use std::fs;
use std::io;
use std::sync::Arc;

use dhow_protocol::Request;

use super::stop::StopError;
use super::to_the_end;
use crate::class::{Classified, ErrorClass};
use crate::container::{Change, Container, LookupError, Phase};
use crate::engine::Engine;
use crate::filter::{FilterError, Filters};

/// Why a container was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It runs.
    #[error(
        "cannot remove container \"/{name}\": container is {phase}: \
         stop the container before removing or force remove"
    )]
    Running {
        /// Its name.
        name: String,
        /// Where it is in its life.
        phase: &'static str,
    },
    /// Somebody else removes it.
    #[error("removal of container {0} is already in progress")]
    InProgress(String),
    /// It could not be ended.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// Its files could not be removed.
    #[error("failed to remove the container's files")]
    Files(#[source] io::Error),
}

impl Classified for RemoveError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::Running { .. } | Self::InProgress(_) => ErrorClass::Conflict,
            Self::Stop(error) => error.class(),
            Self::Files(_) => ErrorClass::Internal,
        }
    }
}

impl Engine {
    /// Removes a container; one that runs only with `force`.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub async fn remove(&self, reference: &str, force: bool) -> Result<(), RemoveError> {
        let container = self.container(reference)?;
        let engine = self.clone();
        to_the_end(async move { engine.remove_container(&container, force).await }).await
    }

    /// Removes every container that does not run and has these labels; returns their ids.
    ///
    /// # Errors
    /// [`FilterError`] on filters other than `label`.
    pub async fn prune(&self, filters: &Filters) -> Result<Vec<String>, FilterError> {
        filters.only(&["label"])?;
        let mut removed = Vec::new();
        for container in self.containers().all() {
            let record = container.record();
            let labelled = filters
                .values("label")
                .all(|wanted| Filters::label_matches(&record.config.labels, wanted));
            let id = record.id.to_string();
            if labelled && self.remove(&id, false).await.is_ok() {
                removed.push(id);
            }
        }
        Ok(removed)
    }

    async fn remove_container(
        &self,
        container: &Arc<Container>,
        force: bool,
    ) -> Result<(), RemoveError> {
        let phase = container.status().phase;
        if phase.is_active() {
            if !force {
                return Err(RemoveError::Running {
                    name: container.name().to_string(),
                    phase: phase.name(),
                });
            }
            container.stopped_by_user();
            container.request_stop(true);
            self.kill_container(container).await?;
        }
        match container.change(Change::Remove) {
            Ok(_) => self.remove_files(container).await,
            // With `force` it is gone all the same: `--rm` is removing it just now.
            Err(_) if force || container.status().phase == Phase::Removed => {
                container.until(|now| now.phase != Phase::Removing).await;
                Ok(())
            }
            Err(_) => Err(RemoveError::InProgress(container.name().to_string())),
        }
    }

    /// Removes a container that was to be removed once it has ended.
    pub(super) async fn remove_ended(&self, container: &Arc<Container>) {
        if container.change(Change::Remove).is_err() {
            return;
        }
        if let Err(error) = self.remove_files(container).await {
            tracing::warn!(container = container.id().short(), %error, "failed to remove");
        }
    }

    async fn remove_files(&self, container: &Arc<Container>) -> Result<(), RemoveError> {
        let removed = match self.remove_from_disk(container).await {
            Ok(()) => match fs::remove_dir_all(container.directory()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            let _was_removing = container.change(Change::RemoveFailed);
            return Err(RemoveError::Files(error));
        }
        self.containers().remove(container.id());
        let _was_removing = container.change(Change::Removed);
        container.hub.end();
        self.announce(container, "destroy", &[]);
        Ok(())
    }

    /// Its files on the data disk: now, or when the machine runs next. A container that never ran
    /// has none.
    async fn remove_from_disk(&self, container: &Container) -> io::Result<()> {
        let never_ran = container.status().started_at.is_none() && container.status().exits == 0;
        if never_ran && !container.record().has_files {
            return Ok(());
        }
        if let Some(lease) = self.machine().running() {
            let request = Request::Remove {
                container: container.id().to_string(),
            };
            match lease.guest().call(&request).await {
                Ok(_) => return Ok(()),
                Err(error) => tracing::debug!(%error, "removing from the data disk later"),
            }
        }
        self.machine().leftovers().add(container.id())
    }
}
