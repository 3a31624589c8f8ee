//! Restarts a container: for its user, stop, if it runs, and start; or because its policy says so.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::start::{StartError, Starter};
use super::stop::{StopError, StopOptions};
use super::to_the_end;
use crate::class::{Classified, ErrorClass};
use crate::container::{Container, LookupError, Phase};
use crate::engine::Engine;

/// Why a container was not restarted.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It could not be stopped.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Classified for RestartError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::Stop(error) => error.class(),
            Self::Start(error) => error.class(),
        }
    }
}

impl Engine {
    /// Restarts a container.
    ///
    /// # Errors
    /// [`RestartError`].
    pub async fn restart(&self, reference: &str, options: StopOptions) -> Result<(), RestartError> {
        let container = self.container(reference)?;
        let engine = self.clone();
        to_the_end(async move {
            match engine.stop_container(&container, &options).await {
                Ok(()) | Err(StopError::NotRunning) => {}
                Err(error) => return Err(error.into()),
            }
            engine.start_container(&container, Starter::User).await?;
            engine.announce(&container, "restart", &[]);
            Ok(())
        })
        .await
    }

    /// Starts a container that has ended again after a pause, unless somebody stops or starts it
    /// meanwhile.
    pub(super) async fn restart_after(&self, container: &Arc<Container>, pause: Duration) {
        let taken_over = container.until(|now| now.phase != Phase::Restarting);
        if timeout(pause, taken_over).await.is_ok() {
            return;
        }
        match self.start_container(container, Starter::Policy).await {
            // Somebody was quicker.
            Ok(_) | Err(StartError::AlreadyStarted | StartError::BeingRemoved) => {}
            Err(error) => {
                tracing::warn!(container = container.id().short(), %error, "not restarted");
            }
        }
    }

    /// Starts what its restart policy wants to run whenever the daemon does; to be called once, when
    /// the daemon has started.
    pub fn start_by_policy(&self) {
        for container in self.containers().all() {
            let record = container.record();
            let policy = record.host_config.restart_policy;
            let ran = record.status.started_at.is_some() && record.status.phase == Phase::Exited;
            if !ran || !policy.starts_with_daemon(record.stopped_by_user) {
                continue;
            }
            let engine = self.clone();
            tokio::spawn(async move {
                if let Err(error) = engine.start_container(&container, Starter::User).await {
                    tracing::warn!(container = container.id().short(), %error, "not started");
                }
            });
        }
    }
}
