//! Freezes a container's processes, and lets them go on.

use dhow_protocol::Request;

use crate::class::{Classified, ErrorClass};
use crate::container::{Change, Container, LookupError, Phase};
use crate::engine::Engine;
use crate::guest::GuestError;

/// Why a container was not frozen or thawed.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// No such container.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It does not run.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// It is frozen.
    #[error("container {0} is already paused")]
    AlreadyPaused(String),
    /// It is not frozen.
    #[error("container {0} is not paused")]
    NotPaused(String),
    /// The machine failed.
    #[error("failed to freeze or thaw the container")]
    Guest(#[source] GuestError),
}

impl Classified for PauseError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Lookup(error) => error.class(),
            Self::NotRunning(_) | Self::AlreadyPaused(_) | Self::NotPaused(_) => {
                ErrorClass::Conflict
            }
            Self::Guest(_) => ErrorClass::Internal,
        }
    }
}

impl Engine {
    /// Freezes a container.
    ///
    /// # Errors
    /// [`PauseError`].
    pub async fn pause(&self, reference: &str) -> Result<(), PauseError> {
        let container = self.container(reference)?;
        match container.status().phase {
            Phase::Running { .. } => {}
            Phase::Paused { .. } => return Err(PauseError::AlreadyPaused(reference.to_owned())),
            _ => return Err(PauseError::NotRunning(reference.to_owned())),
        }
        self.set_frozen(&container, true).await?;
        self.announce(&container, "pause", &[]);
        Ok(())
    }

    /// Lets a frozen container go on.
    ///
    /// # Errors
    /// [`PauseError`].
    pub async fn unpause(&self, reference: &str) -> Result<(), PauseError> {
        let container = self.container(reference)?;
        if !matches!(container.status().phase, Phase::Paused { .. }) {
            return Err(PauseError::NotPaused(reference.to_owned()));
        }
        self.set_frozen(&container, false).await?;
        self.announce(&container, "unpause", &[]);
        Ok(())
    }

    pub(super) async fn set_frozen(
        &self,
        container: &Container,
        frozen: bool,
    ) -> Result<(), PauseError> {
        let not_running = || PauseError::NotRunning(container.name().to_string());
        let lease = self.machine().running().ok_or_else(not_running)?;
        let request = Request::Pause {
            container: container.id().to_string(),
            frozen,
        };
        lease
            .guest()
            .call(&request)
            .await
            .map_err(PauseError::Guest)?;
        let change = if frozen {
            Change::Paused
        } else {
            Change::Resumed
        };
        container.change(change).map_err(|_ended| not_running())?;
        Ok(())
    }
}
